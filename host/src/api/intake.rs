//! `/webhooks/...`: where remote systems send their deliveries. No login: the signature says who it is.
//!
//! Owns how a body is read and what is answered; `inbox` decides. Whatever is refused gets the same answer.

use super::problem::Problem;
use super::seats::Seat;
use super::{identity, schema};
use crate::inbox::{self, Address, Answer, Arrival, Inbox};
use axum::Json;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// In which the room for bodies is counted.
const KIB: usize = 1 << 10;
/// So much of a body always has room, whatever others send: most deliveries are smaller. With the number of connections
/// it is bounded all the same.
const FREE_BYTES: usize = 16 << 10;
/// Of a body that is too large so much is read and dropped.
const LINGER_BYTES_MAX: usize = 4 << 20;
/// When somebody who found no room for a body may come again.
const BUSY_WAIT_SECONDS: u32 = 1;
/// The same for all, so that nothing is learned from it; made once.
static REFUSED: LazyLock<Bytes> = LazyLock::new(|| {
    let detail = "the address is not in use, or the signature is not valid";
    let problem = Problem::new(401, "webhook.refused", detail);
    serde_json::to_vec(&problem).unwrap_or_default().into()
});

/// How bodies are received. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    body_bytes_max: usize,
    body_max: Duration,
    room: Arc<Semaphore>,
}

impl Intake {
    /// `bodies_bytes_max`: of all bodies that are being received.
    pub fn new(body_bytes_max: usize, bodies_bytes_max: usize, body_max: Duration) -> Intake {
        let permits = (bodies_bytes_max / KIB).min(Semaphore::MAX_PERMITS);
        Intake { body_bytes_max, body_max, room: Arc::new(Semaphore::new(permits)) }
    }

    /// The whole body, and the room that it takes. `asks_first`: the sender waits to hear whether its body is wanted.
    async fn read(&self, mut body: Body, asks_first: bool) -> Result<(Bytes, Room), Unread> {
        let deadline = Instant::now() + self.body_max;
        let read = timeout_at(deadline, self.collect(&mut body)).await.unwrap_or(Err(Unread::Slow));
        if matches!(read, Err(Unread::TooLarge)) && !asks_first {
            // Whoever is still sending does not see an answer.
            let _ = timeout_at(deadline, linger(&mut body)).await;
        }
        read
    }

    /// Room is taken as bytes come, and not as they are announced: who is slow takes little.
    async fn collect(&self, body: &mut Body) -> Result<(Bytes, Room), Unread> {
        let mut room = Room(None);
        let mut whole = Vec::new();
        let mut size = body.size_hint().lower();
        while size <= self.body_bytes_max as u64 {
            let Some(frame) = body.frame().await else { return Ok((whole.into(), room)) };
            let Ok(part) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
            size = size.max((whole.len() + part.len()) as u64);
            room.grow(&self.room, whole.len() + part.len())?;
            if whole.is_empty() && body.is_end_stream() && size <= self.body_bytes_max as u64 {
                return Ok((part, room));
            }
            whole.extend_from_slice(&part);
        }
        Err(Unread::TooLarge)
    }
}

/// What deliveries come in by: all that these routes need, so that a request takes hold of nothing else.
pub(super) struct Door {
    pub(super) inbox: Inbox,
    pub(super) intake: Intake,
}

async fn linger(body: &mut Body) {
    let mut left = LINGER_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await
        && let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len))
    {
        left = less;
    }
}

/// Of one body, until it is dropped.
struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    fn grow(&mut self, all: &Arc<Semaphore>, bytes: usize) -> Result<(), Unread> {
        let wanted = bytes.saturating_sub(FREE_BYTES).div_ceil(KIB);
        let missing = wanted.saturating_sub(self.0.as_ref().map_or(0, |held| held.num_permits()));
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let more = Arc::clone(all).try_acquire_many_owned(missing).map_err(|_| Unread::Busy)?;
        match &mut self.0 {
            Some(held) => held.merge(more),
            None => self.0 = Some(more),
        }
        Ok(())
    }
}

/// Why there is no body.
enum Unread {
    TooLarge,
    Slow,
    Broken,
    Busy,
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        let problem = match self {
            Unread::TooLarge => {
                let detail = "the body is larger than a delivery may be: `webhook.bodyBytesMax`";
                Problem::new(413, "body.too-large", detail)
            }
            Unread::Slow => {
                let detail = "the body took too long: `webhook.bodySecondsMax`";
                Problem::new(408, "body.slow", detail)
            }
            Unread::Broken => Problem::new(400, "bad-body", "the body ended before its end"),
            Unread::Busy => {
                let detail = "too many bodies are being received: try again";
                Problem::later("webhook.busy", BUSY_WAIT_SECONDS, detail)
            }
        };
        let mut response = problem.into_response();
        // What was not read cannot be told from the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// Takes a delivery for a connector.
#[utoipa::path(
    post, path = "/webhooks/{connectorId}", tag = "intake",
    security(()),
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
        description = "As the remote system signs it; any content type"),
    responses(
        (status = 200, body = schema::Received),
        (status = 401, description = "`webhook.refused`: unknown, disabled, unsigned, forged or played again"),
        (status = 408, description = "`body.slow`"),
        (status = 429, description = "`webhook.rate`"),
        (status = 503, description = "`disk.full`, `webhook.busy`"),
    )
)]
pub(super) async fn connector(
    State(door): State<Arc<Door>>,
    named: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    // What is no text is no address in use either.
    let connector = named.map(|Path(connector)| connector).unwrap_or_default();
    receive(&door, Address::Connector(&connector), request).await
}

/// Takes a delivery for one connection, signed with the secret of its own credentials.
#[utoipa::path(
    post, path = "/webhooks/{connectorId}/{connectionId}", tag = "intake",
    security(()),
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
        description = "As the remote system signs it; any content type"),
    responses(
        (status = 200, body = schema::Received),
        (status = 401, description = "`webhook.refused`: unknown, disabled, unsigned, forged or played again"),
        (status = 408, description = "`body.slow`"),
        (status = 429, description = "`webhook.rate`"),
        (status = 503, description = "`disk.full`, `webhook.busy`"),
    )
)]
pub(super) async fn connection(
    State(door): State<Arc<Door>>,
    named: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let (connector, connection) = named.map(|Path(both)| both).unwrap_or_default();
    receive(&door, Address::Connection(&connector, &connection), request).await
}

/// Takes a delivery in the form that names its connector and signs itself.
#[utoipa::path(
    post, path = "/webhooks/federation", tag = "intake",
    security(()),
    request_body = schema::SignedEvent,
    responses(
        (status = 200, body = schema::Received),
        (status = 401, description = "`webhook.refused`: unknown, disabled, unsigned, forged or played again"),
        (status = 408, description = "`body.slow`"),
        (status = 429, description = "`webhook.rate`"),
        (status = 503, description = "`disk.full`, `webhook.busy`"),
    )
)]
pub(super) async fn federation(State(door): State<Arc<Door>>, request: Request) -> Response {
    receive(&door, Address::Shared, request).await
}

/// Says that deliveries are taken.
#[utoipa::path(
    get, path = "/webhooks/federation", tag = "intake",
    security(()),
    responses((status = 200, body = schema::Listening))
)]
pub(super) async fn listening() -> Json<Value> {
    Json(json!({ "status": "active" }))
}

async fn receive(door: &Door, address: Address<'_>, request: Request) -> Response {
    let from = identity::address(request.extensions());
    let (parts, body) = request.into_parts();
    let asks_first = parts.headers.contains_key(header::EXPECT);
    let mut reading = pin!(door.intake.read(body, asks_first));
    let read = match reading.as_mut().now_or_never() {
        Some(read) => read,
        // It did not come with its head: its sender is waited for.
        None => {
            let seat = parts.extensions.get::<Arc<Seat>>();
            let _waiting = seat.map(|seat| seat.waiting());
            reading.await
        }
    };
    match read {
        Ok((body, _room)) => {
            let arrival = Arrival { address, headers: &parts.headers, body: &body, from };
            let deciding = door.inbox.receive(arrival);
            // What is not held until the answer, the connection uses again.
            drop((parts, body));
            told(deciding.await)
        }
        Err(unread) => {
            if matches!(unread, Unread::TooLarge)
                && let Err(error) = door.inbox.note_oversized(address, from)
            {
                return Problem::internal(&error).into_response();
            }
            unread.into_response()
        }
    }
}

fn told(answer: Result<Answer, inbox::Error>) -> Response {
    match answer {
        Ok(Answer::Accepted(id)) => received("accepted", &format!(r#","deliveryId":"{id}""#)),
        Ok(Answer::Duplicate(id)) => received("duplicate", &format!(r#","deliveryId":"{id}""#)),
        Ok(Answer::Handshake) => received("listening", ""),
        Ok(Answer::Refused) => {
            let kind = [(header::CONTENT_TYPE, "application/problem+json")];
            (StatusCode::UNAUTHORIZED, kind, REFUSED.clone()).into_response()
        }
        Ok(Answer::Slow(millis)) => {
            Problem::wait("webhook.rate", millis, "too many deliveries in a minute").into_response()
        }
        Ok(Answer::Full(millis)) => {
            let seconds = u32::try_from(millis / 1_000).unwrap_or(u32::MAX);
            let detail =
                "the disk of the data directory is full: nothing is taken in until there is room";
            Problem::later("disk.full", seconds, detail).into_response()
        }
        Err(error) => Problem::internal(&error).into_response(),
    }
}

fn received(status: &str, more: &str) -> Response {
    let body = format!(r#"{{"status":"{status}"{more}}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
