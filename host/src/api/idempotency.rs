//! `Idempotency-Key`: a `POST` with a key takes effect once, and is answered alike every time.
//!
//! Reserves the key durably before the handler runs. A handler that changes rows keeps its answer in the transaction of
//! the change ([`Api::commit`]); for the others the answer is kept when it is known. A request that a crash cut off in
//! between keeps its key until it expires, since nobody can say what became of it.

use super::answer::Answer;
use super::problem::Problem;
use super::{Api, Caller};
use crate::store::idempotency::{self as rows, Answer as Kept, Digest, Request as Row};
use crate::store::{Read, Txn};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Instrument;

const HEADER: &str = "idempotency-key";
pub(super) const KEY_BYTES_MAX: usize = 255;
/// Of an answer that is kept after its effect, not with it.
const ANSWER_BYTES_MAX: usize = 4 << 20;

tokio::task_local! {
    static PENDING: Pending;
}

/// The reserved key of the request that this task answers.
#[derive(Clone)]
pub(super) struct Pending {
    digest: Digest,
    settled: Arc<AtomicBool>,
}

impl Pending {
    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The answer is durable, with its effect.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }
}

/// None where the request has no key.
pub(super) fn pending() -> Option<Pending> {
    PENDING.try_with(Clone::clone).ok()
}

/// Whose key it is: one caller's, or shared by an organization.
pub(super) fn digest(scope: &str, key: &str) -> Digest {
    let mut hash = Sha256::new();
    hash.update(scope);
    hash.update([0]);
    hash.update(key);
    hash.finalize().into()
}

/// What makes two requests the same.
///
/// Bodies hold passwords and credentials, and a plain hash of one lets whoever has the store's file guess them as fast as
/// hashes are computed. So this is an HMAC under the key as it was sent, of which the store has only the [`digest`]: a
/// random key has to be found before anything can be guessed. Keys of the vault change, and a request that is repeated
/// across a change would become another one.
pub(super) fn fingerprint(key: &str, parts: &[&[u8]]) -> Result<String, Problem> {
    // Any length of key is taken; the error of the interface cannot happen.
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes());
    let mut mac = mac.map_err(|error| Problem::internal(&error))?;
    for part in parts {
        mac.update(&part.len().to_be_bytes());
        mac.update(part);
    }
    Ok(hex::encode(mac.finalize().into_bytes()))
}

/// What an earlier request with the same key means for this one.
pub(super) enum Earlier {
    None,
    Answered(Answer),
    InFlight,
    OtherRequest,
}

impl Earlier {
    pub(super) fn find(
        read: &dyn Read,
        digest: &Digest,
        fingerprint: &str,
        since: i64,
    ) -> Result<Earlier, Problem> {
        Ok(match rows::get(read, digest)? {
            Some(row) if row.at < since => Earlier::None,
            None => Earlier::None,
            Some(row) if row.fingerprint != fingerprint => Earlier::OtherRequest,
            Some(Row { answer: Some(kept), .. }) => Earlier::Answered(Answer::again(kept)),
            Some(_) => Earlier::InFlight,
        })
    }
}

/// Takes a key, and forgets some that have expired.
pub(super) fn reserve(
    api: &Api,
    txn: &Txn,
    digest: &Digest,
    fingerprint: &str,
    now: i64,
) -> Result<(), Problem> {
    rows::prune(txn, now - api.limits.idempotency_millis, api.limits.idempotency_keys_max)?;
    let row = Row { fingerprint: fingerprint.to_owned(), at: now, answer: None };
    Ok(rows::put(txn, digest, &row)?)
}

/// Around every `POST`.
pub(super) async fn once(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = key(request.headers())?.filter(|_| request.method() == Method::POST);
    let caller = request.extensions().get::<Caller>().map(Caller::id);
    let (Some(key), Some(caller)) = (key, caller) else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let body = read(body, api.limits.component_bytes_max).await?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let fingerprint = fingerprint(&key, &[target.as_bytes(), &body])?;
    let (digest, now, inner) = (digest(&caller, &key), api.now(), api.clone());
    let earlier = api.deps.store.write(move |txn| -> Result<Earlier, Problem> {
        let since = now - inner.limits.idempotency_millis;
        let earlier = Earlier::find(txn, &digest, &fingerprint, since)?;
        if matches!(earlier, Earlier::None) {
            reserve(&inner, txn, &digest, &fingerprint, now)?;
        }
        Ok(earlier)
    });
    match earlier.await? {
        Earlier::Answered(answer) => return Ok(replayed(answer)),
        Earlier::OtherRequest => return Err(other_request()),
        Earlier::InFlight => return Err(in_flight()),
        Earlier::None => {}
    }
    let pending = Pending { digest, settled: Arc::default() };
    let request = Request::from_parts(parts, Body::from(body));
    // A task of its own: a caller that hangs up does not cut off what has begun.
    let answer = PENDING.scope(pending.clone(), async move {
        let response = next.run(request).await;
        settle(&api, &pending, response).await
    });
    tokio::spawn(answer.in_current_span()).await.map_err(|error| Problem::internal(&error))?
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let Some(key) = given.next() else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    let is_good =
        (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if !is_good || given.next().is_some() {
        let detail = format!("`Idempotency-Key` has 1 to {KEY_BYTES_MAX} visible characters, once");
        return Err(Problem::new(422, "idempotency.bad-key", detail));
    }
    Ok(Some(key.to_owned()))
}

async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    to_bytes(body, bytes_max).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
            return Problem::new(
                413,
                "body.too-large",
                "the body is larger than this server takes",
            );
        }
        Problem::new(400, "bad-body", "the body ended before its end")
    })
}

fn replayed(answer: Answer) -> Response {
    let mut response = answer.into_response();
    let yes = HeaderValue::from_static("true");
    response.headers_mut().insert("idempotency-replayed", yes);
    response
}

fn other_request() -> Problem {
    let detail = "this key was used for another request: take a new key for each request";
    Problem::new(422, "idempotency.other-request", detail)
}

fn in_flight() -> Problem {
    let detail = "a request with this key is under way or was cut off: look whether it took effect";
    Problem::conflict("idempotency.in-flight", detail)
}

/// Keeps the answer of a handler that did not do so itself; one that changed nothing gives its key back. After a fault
/// inside nobody can say whether something was changed; other refusals, such as 502 and 503, are meant to be tried again.
async fn settle(api: &Api, pending: &Pending, response: Response) -> Result<Response, Problem> {
    let status = response.status();
    let in_doubt = status == StatusCode::INTERNAL_SERVER_ERROR;
    if pending.settled.load(Ordering::Acquire) || in_doubt {
        return Ok(response);
    }
    let digest = pending.digest;
    if !status.is_success() {
        api.deps.store.write(move |txn| rows::remove(txn, &digest)).await?;
        return Ok(response);
    }
    if response.headers().get(header::CACHE_CONTROL).is_some_and(|value| value == "no-store") {
        // Not even this server keeps it: the next request with the key is the first again.
        api.deps.store.write(move |txn| rows::remove(txn, &digest)).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes =
        to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|error| Problem::internal(&error))?;
    let kept = kept(parts.status, &parts.headers, &bytes);
    api.deps.store.write(move |txn| rows::answer(txn, &digest, &kept)).await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn kept(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Kept {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Kept {
        status: status.as_u16(),
        version: text(header::ETAG).and_then(|tag| tag.trim_matches('"').parse().ok()),
        location: text(header::LOCATION).map(str::to_owned),
        body: serde_json::from_slice(body).unwrap_or_default(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_requests_apart_and_nothing_of_a_body_without_its_key() {
        let body: &[u8] = br#"{"password": "guess me"}"#;
        let of = |key: &str, parts: &[&[u8]]| fingerprint(key, parts).unwrap();
        let known = of("a key", &[b"/users", body]);
        assert_eq!(known, of("a key", &[b"/users", body]));
        assert_ne!(known, of("another key", &[b"/users", body]), "who guesses needs the key");
        assert_ne!(known, of("a key", &[b"/users", b"{}"]));
        assert_ne!(of("a key", &[b"ab", b"c"]), of("a key", &[b"a", b"bc"]));
    }
}
