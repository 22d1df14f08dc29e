//! One delivery, from its arrival to its answer. Reads as the order of the checks: signature, replay window, whether it
//! came before, rates, room on the disk, then one durable write that finds what came twice at once.

use super::target::Target;
use super::{Error, Inbox, lock};
use crate::model::access::network_of;
use crate::model::ids::HookId;
use crate::model::webhook::{Hook, Verdict};
use crate::model::{ConnectionId, ConnectorId};
use crate::signature::{Identity, Verified, Verifier, shipped};
use crate::store::hooks::{self, Appended, NewHook, Seen};
use futures_util::future::Either;
use http::HeaderMap;
use sha2::Digest as _;
use sha2::Sha256;
use std::net::IpAddr;
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// Of the headers that are kept with a delivery.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 8 << 10;
/// Say how the delivery travelled, or who the sender is to us; no connector asks.
const DROPPED_HEADERS: [&str; 14] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// Longer ids are known by a digest.
const PLAIN_ID_BYTES_MAX: usize = 64;
/// Of a digest that tells deliveries apart.
const KEY_BYTES: usize = 16;
/// When somebody who found the disk full may come again.
const FULL_WAIT_MILLIS: i64 = 60_000;
/// Shipped under this name: the form that one address takes for all connectors.
const SHARED_SCHEME: &str = "original";

/// Where a delivery was sent to.
#[derive(Clone, Copy, Debug)]
pub enum Address<'a> {
    Connector(&'a str),
    Connection(&'a str, &'a str),
    /// The address of all: the body names the connector.
    Shared,
}

pub struct Arrival<'a> {
    pub address: Address<'a>,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    pub from: Option<IpAddr>,
}

/// What the sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Durable.
    Accepted(HookId),
    /// Durable before.
    Duplicate(HookId),
    /// Somebody is there.
    Handshake,
    /// Unknown, disabled, unsigned, forged, played again: all alike.
    Refused,
    /// Too many; come again in so many milliseconds.
    Slow(i64),
    /// No room; the same.
    Full(i64),
}

/// What intake makes of a delivery.
enum Judged {
    Answered(Answer),
    /// It is believed: whether it is new is for the store to say, unless it is one that is `repeated` and counted as such.
    Wanted {
        connector: ConnectorId,
        new: Box<NewHook>,
        repeated: bool,
    },
}

/// Why a delivery goes no further.
enum Refused {
    /// The signature is not that of the connector, or there is none.
    Unverified,
    /// Signed at another time.
    Replayed,
    Handshake,
}

impl Inbox {
    /// Decides on a delivery. What is accepted is durable when the answer is there. The delivery itself is not needed for
    /// so long.
    pub fn receive<'i>(
        &'i self,
        arrival: Arrival<'_>,
    ) -> impl Future<Output = Result<Answer, Error>> + use<'i> {
        let judged = self.judge(&arrival).map(|judged| match judged {
            Judged::Answered(answer) => Either::Left(answer),
            Judged::Wanted { connector, new, repeated } => {
                let append = hooks::append(&self.0.store, self.floor(), *new);
                Either::Right((append, connector, repeated))
            }
        });
        async move {
            let (append, connector, repeated) = match judged? {
                Either::Left(answer) => return Ok(answer),
                Either::Right(wanted) => wanted,
            };
            Ok(match append.await? {
                Appended::New(id) => {
                    lock(&self.0.acks).note(id, self.now());
                    self.0.bell.notify_one();
                    Answer::Accepted(id)
                }
                Appended::Duplicate { of, .. } => {
                    if !repeated {
                        let (verdict, now) = (Verdict::Duplicate, self.now());
                        lock(&self.0.refusals).note_logged(connector, verdict, now);
                    }
                    Answer::Duplicate(of)
                }
            })
        }
    }

    fn judge(&self, arrival: &Arrival<'_>) -> Result<Judged, Error> {
        let now = self.now();
        let target = self.target(arrival)?;
        let target = target.as_deref();
        let verified = match self.verify(target, arrival) {
            Ok(verified) => verified,
            Err(refused) => {
                return Ok(Judged::Answered(self.refuse(target, arrival, &refused, now)));
            }
        };
        let Some(target) = target else { return Ok(Judged::Answered(Answer::Refused)) };
        let tolerance = target.verifier.tolerance_millis();
        let is_far = |(at, tolerance): (i64, i64)| now.abs_diff(at) > tolerance.unsigned_abs();
        if verified.signed_at.zip(tolerance).is_some_and(is_far) {
            let answer = self.refuse(Some(target), arrival, &Refused::Replayed, now);
            return Ok(Judged::Answered(answer));
        }
        let seen = self.seen(&verified, arrival.body, now);
        let mut hook = hook(target, arrival, Verdict::Accepted, now);
        // Whoever has one delivery of a connector can send it for ever: that takes no more than half of what the sender may
        // send, and not a row each.
        let known = match self.is_crowded(target.connector, now) {
            true => hooks::known(&self.0.store, target.connector, &seen, now)?,
            false => None,
        };
        if let Some(of) = known {
            if let Err(wait) = self.slow_down(arrival, now) {
                return Ok(Judged::Answered(Answer::Slow(wait)));
            }
            let noted = lock(&self.0.refusals).note(target.connector, Verdict::Duplicate, now);
            let Some(unlogged) = noted else {
                return Ok(Judged::Answered(Answer::Duplicate(of)));
            };
            hook.unlogged = unlogged;
        } else if let Err(wait) = lock(&self.0.verified).take(target.connector, now) {
            self.note_refused(target, arrival, Verdict::RateLimited, now);
            return Ok(Judged::Answered(Answer::Slow(wait)));
        }
        if self.is_full() {
            return Ok(Judged::Answered(Answer::Full(FULL_WAIT_MILLIS)));
        }
        if let Identity::Id(id) = verified.identity {
            hook.delivery_id = Some(id);
        }
        hook.headers = kept_headers(&target.verifier, arrival.headers);
        let new = self.0.bodies.seal(hook, Some(seen), arrival.body)?;
        let (connector, new) = (target.connector, Box::new(new));
        Ok(Judged::Wanted { connector, new, repeated: known.is_some() })
    }

    /// Whether it is worth a look if a delivery came before, ahead of the write that finds out anyway.
    fn is_crowded(&self, connector: ConnectorId, now: i64) -> bool {
        lock(&self.0.verified).is_half_taken(&connector, now)
            || lock(&self.0.refusals).is_over(connector, Verdict::Duplicate, now)
    }

    /// Notes a delivery whose body was not even read.
    pub fn note_oversized(&self, address: Address<'_>, from: Option<IpAddr>) -> Result<(), Error> {
        let headers = HeaderMap::new();
        let arrival = Arrival { address, headers: &headers, body: b"", from };
        if let Some(target) = self.target(&arrival)? {
            self.note_refused(&target, &arrival, Verdict::TooLarge, self.now());
        }
        Ok(())
    }

    fn target(&self, arrival: &Arrival<'_>) -> Result<Option<Arc<Target>>, Error> {
        let place = match arrival.address {
            Address::Connector(id) => id.parse().ok().map(|id: ConnectorId| (id, None)),
            Address::Connection(connector, connection) => {
                let ids = (connector.parse::<ConnectorId>(), connection.parse::<ConnectionId>());
                if let (Ok(connector), Ok(connection)) = ids {
                    Some((connector, Some(connection)))
                } else {
                    None
                }
            }
            Address::Shared => {
                let named = shipped(SHARED_SCHEME)
                    .and_then(|shared| shared.connector_named(arrival.body))
                    .and_then(|id| id.parse().ok());
                named.map(|id: ConnectorId| (id, None))
            }
        };
        let Some(place) = place else { return Ok(None) };
        let found = self.0.targets.find(place)?;
        // The shared address is for connectors whose form names them.
        let fits = |target: &Arc<Target>| {
            !matches!(arrival.address, Address::Shared)
                || target.verifier.scheme().connector.is_some()
        };
        Ok(found.filter(fits))
    }

    fn verify(&self, target: Option<&Target>, arrival: &Arrival<'_>) -> Result<Verified, Refused> {
        let (headers, body) = (arrival.headers, arrival.body);
        let Some(target) = target else {
            // Whether there is a connector shows in no time either.
            let verifier = shipped(SHARED_SCHEME);
            let _ = verifier.map(|verifier| verifier.verify(&self.0.nobody, headers, body));
            return Err(Refused::Unverified);
        };
        if target.verifier.is_handshake(headers, body) {
            return Err(Refused::Handshake);
        }
        let verified = target.verifier.verify(&target.keys, headers, body);
        let verified = verified.map_err(|_| Refused::Unverified)?;
        // A form that names its connector is valid for that one only, whatever the address.
        let named = target.verifier.connector_named(body);
        match named.is_none_or(|named| named == target.connector.to_string()) {
            true => Ok(verified),
            false => Err(Refused::Unverified),
        }
    }

    /// Counts a delivery of what nobody needs to send, by its address alone; or answers how long to wait.
    fn slow_down(&self, arrival: &Arrival<'_>, now: i64) -> Result<(), i64> {
        arrival.from.map_or(Ok(()), |from| lock(&self.0.unverified).take(network_of(from), now))
    }

    /// Answers what is not believed.
    fn refuse(
        &self,
        target: Option<&Target>,
        arrival: &Arrival<'_>,
        refused: &Refused,
        now: i64,
    ) -> Answer {
        if let Err(wait) = self.slow_down(arrival, now) {
            return Answer::Slow(wait);
        }
        let verdict = match refused {
            Refused::Handshake => return Answer::Handshake,
            Refused::Unverified => Verdict::BadSignature,
            Refused::Replayed => Verdict::Replayed,
        };
        if let Some(target) = target {
            self.note_refused(target, arrival, verdict, now);
        }
        Answer::Refused
    }

    /// Counts what was refused, and writes the first of an hour down. Nobody waits for that.
    fn note_refused(&self, target: &Target, arrival: &Arrival<'_>, verdict: Verdict, now: i64) {
        let noted = lock(&self.0.refusals).note(target.connector, verdict, now);
        let Some(unlogged) = noted else { return };
        if self.is_full() {
            return;
        }
        let hook = Hook { unlogged, ..hook(target, arrival, verdict, now) };
        let (store, floor) = (self.0.store.clone(), self.floor());
        tokio::spawn(self.0.clock.task(async move {
            let noted = async { hooks::append(&store, floor, NewHook::without_body(hook)?).await };
            if let Err(error) = noted.await {
                tracing::error!(%error, "a refused delivery was not noted");
            }
        }));
    }

    /// What a delivery is known by, and for how long. Where it says something of the time, that comes first, and an id is
    /// left as it is, since many senders count theirs up: what comes together is then written together.
    fn seen(&self, verified: &Verified, body: &[u8], now: i64) -> Seen {
        let options = &self.0.options;
        let (kind, millis) = match &verified.identity {
            Identity::Id(id) if id.len() <= PLAIN_ID_BYTES_MAX => (1, options.dedup_millis),
            Identity::Id(_) => (2, options.dedup_millis),
            Identity::Timed(_) => (3, options.dedup_millis),
            Identity::Bytes(_) => (4, options.dedup_bytes_millis),
        };
        let mut key = Vec::with_capacity(1 + PLAIN_ID_BYTES_MAX);
        key.push(kind);
        match &verified.identity {
            Identity::Id(id) if kind == 1 => key.extend_from_slice(id.as_bytes()),
            Identity::Id(id) => key.extend(Sha256::digest(id).into_iter().take(KEY_BYTES)),
            Identity::Timed(digest) | Identity::Bytes(digest) => {
                let time = verified.signed_at.map(i64::to_be_bytes);
                key.extend(
                    time.into_iter().flatten().chain(digest.iter().copied().take(KEY_BYTES)),
                );
            }
        }
        // Others than ids cover all that is signed.
        let body = match &verified.identity {
            Identity::Id(_) => XxHash3_64::oneshot(body).to_be_bytes(),
            Identity::Timed(_) | Identity::Bytes(_) => [0; 8],
        };
        Seen { key, body, until: now.saturating_add(millis) }
    }
}

fn hook(target: &Target, arrival: &Arrival<'_>, verdict: Verdict, now: i64) -> Hook {
    Hook {
        connector: target.connector,
        connection: target.connection,
        received_at: now,
        verdict,
        scheme: target.scheme.clone(),
        address: arrival.from.map(|from| from.to_string()),
        body_bytes: arrival.body.len() as u64,
        delivery_id: None,
        duplicate_of: None,
        body_differs: false,
        unlogged: 0,
        headers: Vec::new(),
        body_key: 0,
    }
}

/// What a connector may want to know of the headers; no signature and no credential.
fn kept_headers(verifier: &Verifier, headers: &HeaderMap) -> Vec<(String, String)> {
    let mut left = HEADER_BYTES_MAX;
    let mut kept = Vec::with_capacity(headers.len().min(HEADERS_MAX));
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        if DROPPED_HEADERS.contains(&name.as_str()) || verifier.is_secret(name) {
            continue;
        }
        let bytes = name.as_str().len() + value.len();
        if bytes > left || kept.len() >= HEADERS_MAX {
            break;
        }
        left -= bytes;
        kept.push((name.as_str().to_owned(), value.to_owned()));
    }
    kept
}
