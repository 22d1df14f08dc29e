//! Versions as ETags: an edit names the version that it saw.

use super::problem::Problem;
use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// A row with its version.
pub(crate) fn tagged(version: u64, row: Value) -> Response {
    let mut response = Json(row).into_response();
    if let Some(tag) = tag(version) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The same of a row that shows more than its version covers, such as when it was used last: it is always sent.
pub(crate) fn live(version: u64, row: Value) -> Response {
    let mut response = tagged(version, row);
    response.extensions_mut().insert(Live);
    response
}

#[derive(Clone, Copy)]
struct Live;

pub(crate) fn tag(version: u64) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{version}\"")).ok()
}

/// Answers 304 where `If-None-Match` names the version that would be answered.
pub(crate) async fn not_modified(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let known = request.headers().get(header::IF_NONE_MATCH).filter(|_| is_get).cloned();
    let response = next.run(request).await;
    let is_fixed = response.status().is_success() && response.extensions().get::<Live>().is_none();
    let Some(tag) = response.headers().get(header::ETAG).filter(|_| is_fixed) else {
        return response;
    };
    // Weak comparison, as the header asks for it.
    let same = |given: &str| given == "*" || given.trim_start_matches("W/").as_bytes() == tag;
    let known = known.as_ref().and_then(|value| value.to_str().ok());
    if !known.is_some_and(|known| known.split(',').any(|given| same(given.trim()))) {
        return response;
    }
    (StatusCode::NOT_MODIFIED, [(header::ETAG, tag.clone())]).into_response()
}

/// What `If-Match` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    Any,
    Version(u64),
    /// A tag that no row of ours can have.
    Never,
}

impl IfMatch {
    /// 428 where the header is missing.
    pub(crate) fn required(headers: &HeaderMap) -> Result<IfMatch, Problem> {
        IfMatch::optional(headers).ok_or_else(|| {
            Problem::new(428, "if-match.missing", "send `If-Match` with the ETag of the row, or *")
        })
    }

    pub(crate) fn optional(headers: &HeaderMap) -> Option<IfMatch> {
        let text = headers.get(header::IF_MATCH)?.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Some(IfMatch::Any);
        }
        let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let version = version.and_then(|version| version.parse().ok());
        Some(version.map_or(IfMatch::Never, IfMatch::Version))
    }

    /// 412 where the row is at another version.
    pub(crate) fn check(self, version: u64) -> Result<(), Problem> {
        match self {
            IfMatch::Any => Ok(()),
            IfMatch::Version(wanted) if wanted == version => Ok(()),
            IfMatch::Version(_) | IfMatch::Never => {
                let detail = format!("the row is at version {version} by now: read it again");
                Err(Problem::new(412, "stale", detail))
            }
        }
    }
}
