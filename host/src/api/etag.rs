//! Versions as ETags: an edit names the version that it saw.

use super::problem::Problem;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// A row with its version.
pub(crate) fn tagged(version: u64, row: Value) -> Response {
    let mut response = Json(row).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
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
