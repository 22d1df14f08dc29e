//! Answers that go on: events of a run and rows of the change feed as `text/event-stream`.
//!
//! A stream holds no row and no snapshot while it waits. It wakes with commits and with the progress of runs, looks
//! again, and sends what is new; a reader that is slow is asked for nothing before it has taken what it got. Whether the
//! caller may still see it is asked anew before each look. What is told is decided by the routes.

use super::access::{self, Caller, Place};
use super::problem::Problem;
use super::{Api, identity};
use crate::clock;
use crate::store::Read;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The media type of streams.
pub(super) const EVENT_STREAM: &str = "text/event-stream";
/// A reader hears something at least so often, so that it and what lies between know that the stream lives.
const HEARTBEAT_MILLIS: i64 = 15_000;
/// The least time between two looks of one stream: what comes faster is told together.
const PACE: Duration = Duration::from_millis(100);
/// After so long a browser asks again when a stream broke, in milliseconds.
const RECONNECT_MILLIS: u32 = 1_000;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How many streams are open: bounded in all and for each caller.
pub(super) struct Streams {
    open: Arc<Mutex<HashMap<String, usize>>>,
    all_max: usize,
    caller_max: usize,
}

impl Streams {
    pub(super) fn new(all_max: usize, caller_max: usize) -> Streams {
        Streams { open: Arc::default(), all_max, caller_max }
    }

    /// Takes a place, which is free again when it is dropped; 429 where all are taken.
    fn enter(&self, caller: String) -> Result<Seat, Problem> {
        const WAIT_MILLIS: i64 = 5_000;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(&caller).copied().unwrap_or_default();
        let words = match (open.values().sum::<usize>() >= self.all_max, own >= self.caller_max) {
            (true, _) => "as many streams are open as the server takes: `limits.streamsMax`",
            (_, true) => {
                "as many streams are open as one caller may have: `limits.callerStreamsMax`"
            }
            (false, false) => {
                open.insert(caller.clone(), own + 1);
                return Ok(Seat { open: Arc::clone(&self.open), caller });
            }
        };
        Err(Problem::wait("stream.too-many", WAIT_MILLIS, words))
    }
}

struct Seat {
    open: Arc<Mutex<HashMap<String, usize>>>,
    caller: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.caller) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.caller)),
        }
    }
}

/// Whether the request asks for a stream.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(EVENT_STREAM))
    })
}

/// The id of the last event that a reader has, where it had one.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(LAST_EVENT_ID)?.to_str().ok()?.trim();
    (!given.is_empty()).then(|| given.to_owned())
}

/// One event. The data are JSON, which has no line ends of its own.
pub(super) fn event(kind: &str, id: &dyn Display, data: &Value) -> String {
    format!("event: {kind}\nid: {id}\ndata: {data}\n\n")
}

/// One open stream: whose it is, and what wakes it.
pub(super) struct Watch {
    pub(super) api: Api,
    caller: Caller,
    place: Place,
    /// The parameters of the path.
    names: Vec<(String, String)>,
    commits: watch::Receiver<u64>,
    progress: watch::Receiver<u64>,
    /// When the caller's token or session ends by itself, in milliseconds since the epoch.
    until: Option<i64>,
    heartbeat_at: i64,
    looked_at: Option<Instant>,
    _seat: Seat,
}

/// Why a stream woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    Look,
    Heartbeat,
    /// The server stops.
    Over,
}

impl Watch {
    pub(super) fn open(
        api: &Api,
        caller: Caller,
        place: Place,
        names: &[(&str, &str)],
    ) -> Result<Watch, Problem> {
        let seat = api.gate.streams.enter(caller.id())?;
        let names = names.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(Watch {
            commits: api.deps.store.commits(),
            progress: api.deps.board.changes(),
            until: None,
            heartbeat_at: api.now() + HEARTBEAT_MILLIS,
            looked_at: None,
            names: names.collect(),
            api: api.clone(),
            caller,
            place,
            _seat: seat,
        })
    }

    /// Whether the caller may still see what it follows: its login may have ended and its role may have changed.
    pub(super) fn admits(&mut self, read: &dyn Read) -> bool {
        let standing = identity::standing(&self.api, read, &self.caller);
        let Ok(Some(standing)) = standing else { return false };
        self.until = standing.until;
        let store = &self.api.deps.store;
        access::reaches(store, read, &standing.grant, self.place, &self.names).is_ok()
    }

    /// Waits for the next reason to look, at least [`PACE`] behind the last look.
    pub(super) async fn wait(&mut self) -> Woken {
        let stop = self.api.stop.clone();
        let clock = self.api.deps.clock.clone();
        let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
        let (heartbeat, until) = (at(self.heartbeat_at), self.until.map_or(Timestamp::MAX, at));
        let woken = tokio::select! {
            () = stop.cancelled() => Woken::Over,
            Ok(()) = self.commits.changed() => Woken::Look,
            Ok(()) = self.progress.changed() => Woken::Look,
            () = clock.until(until) => Woken::Look,
            () = clock.until(heartbeat) => Woken::Heartbeat,
        };
        if woken == Woken::Heartbeat {
            self.heartbeat_at = clock::to_millis(clock.now()) + HEARTBEAT_MILLIS;
        }
        let rest = self.looked_at.map(|at| PACE.saturating_sub(at.elapsed())).unwrap_or_default();
        if woken != Woken::Over && !rest.is_zero() {
            tokio::select! {
                () = stop.cancelled() => return Woken::Over,
                () = tokio::time::sleep(rest) => {}
            }
        }
        woken
    }

    /// Notes that the stream looks now: what happened before is seen by this look.
    pub(super) fn looks(&mut self) {
        self.commits.mark_unchanged();
        self.progress.mark_unchanged();
        self.looked_at = Some(Instant::now());
    }
}

/// What a stream tells, piece by piece.
pub(super) trait Source: Send + 'static {
    /// The next piece, as soon as there is one; none at the end.
    fn next(&mut self) -> impl Future<Output = Option<String>> + Send;
}

/// The answer that a source fills.
pub(super) fn answer(source: impl Source) -> Response {
    let opening = format!("retry: {RECONNECT_MILLIS}\n\n");
    let pieces =
        futures_util::stream::unfold((Some(opening), source), |(first, mut source)| async {
            let piece = match first {
                Some(opening) => opening,
                None => source.next().await?,
            };
            Some((Ok::<Bytes, Infallible>(piece.into()), (None, source)))
        });
    let headers = [
        (header::CONTENT_TYPE, EVENT_STREAM),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that collect answers would hold events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

/// Tells a browser that there is nothing more, so that it does not ask again.
pub(super) fn nothing_more() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let streams = Streams::new(3, 2);
        let a1 = streams.enter("a".into()).unwrap();
        let _a2 = streams.enter("a".into()).unwrap();
        assert!(streams.enter("a".into()).is_err(), "the caller has two");
        let _b1 = streams.enter("b".into()).unwrap();
        assert!(streams.enter("b".into()).is_err(), "the server has three");
        drop(a1);
        let _b2 = streams.enter("b".into()).unwrap();
        assert!(streams.enter("c".into()).is_err());
    }

    #[test]
    fn a_stream_is_asked_for_by_its_media_type() {
        #[track_caller]
        fn check(accept: &str, expected: bool) {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(wanted(&headers), expected, "{accept}");
        }
        check("text/event-stream", true);
        check("application/json, Text/Event-Stream;q=0.5", true);
        check("application/json", false);
        check("*/*", false);
        assert!(!wanted(&HeaderMap::new()));
    }
}
