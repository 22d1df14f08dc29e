//! Errors as `application/problem+json`: a stable code for programs, a sentence for people, pointers for bad bodies.

use super::request;
use crate::commit::PersonError;
use crate::store;
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    code: String,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// 0 where trying again later is no remedy.
    #[serde(skip)]
    retry_after_seconds: u32,
}

/// A problem as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    /// Finds the request in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// One thing wrong with a body.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Fault {
    /// JSON pointer to the member.
    pub(crate) pointer: String,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(status: u16, code: &str, detail: impl Into<String>) -> Problem {
        let known = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Problem {
            kind: format!("/docs/errors/{code}"),
            title: known.canonical_reason().unwrap_or("Error"),
            status,
            code: code.to_owned(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: 0,
        }
    }

    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.errors
    }

    pub(crate) fn with_faults(self, errors: Vec<Fault>) -> Problem {
        Problem { errors, ..self }
    }

    /// 429 with the time to wait.
    pub(crate) fn wait(code: &str, millis: i64, detail: &str) -> Problem {
        let seconds = u32::try_from(millis).unwrap_or(0).div_ceil(1_000).max(1);
        let detail = format!("{detail}: try again in {seconds} s");
        Problem { retry_after_seconds: seconds, ..Problem::new(429, code, detail) }
    }

    /// 503: it will go again, and about when.
    pub(crate) fn later(code: &str, seconds: u32, detail: &str) -> Problem {
        Problem { retry_after_seconds: seconds, ..Problem::new(503, code, detail) }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(404, "not-found", detail)
    }

    pub(crate) fn conflict(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(409, code, detail)
    }

    pub(crate) fn unauthorized() -> Problem {
        Problem::new(401, "unauthorized", "send a valid token as `Authorization: Bearer TOKEN`")
    }

    /// A body whose members are wrong.
    pub(crate) fn invalid(errors: Vec<Fault>) -> Problem {
        let first = errors.first().map_or("the body is wrong", |fault| fault.message.as_str());
        let detail = match errors.first().map(|fault| fault.pointer.as_str()) {
            Some(pointer) if !pointer.is_empty() => format!("{pointer}: {first}"),
            _ => first.to_owned(),
        };
        Problem { errors, ..Problem::new(422, "invalid", detail) }
    }

    pub(crate) fn invalid_at(pointer: &str, message: impl Into<String>) -> Problem {
        Problem::invalid(vec![Fault { pointer: pointer.to_owned(), message: message.into() }])
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// A bug or a broken disk: the details go to the log and not to the caller.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Problem {
        tracing::error!(%error, "a request failed inside");
        Problem::new(500, "internal", "something went wrong inside; the server's log says what")
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Problem {
        Problem::internal(&error)
    }
}

impl From<PersonError> for Problem {
    fn from(error: PersonError) -> Problem {
        let text = error.to_string();
        match error {
            PersonError::Store(error) => Problem::internal(&error),
            PersonError::NotFound => Problem::not_found(text),
            PersonError::Stale { .. } => Problem::new(412, "stale", text),
            PersonError::Decided(_) => Problem::conflict("already-decided", text),
            PersonError::Gone => Problem::new(410, "run.details-gone", text),
            PersonError::NoValue | PersonError::BadValue { .. } => {
                Problem::invalid_at("/value", text)
            }
            PersonError::BadChoice(_) => Problem::invalid_at("/choice", text),
        }
    }
}

/// What the framework refuses (a body that is too large, a path that is no UTF-8) is an answer like the others.
pub(super) async fn in_our_form(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    // The framework speaks plain text; a page for a browser is one of ours.
    let ours = kind
        .is_some_and(|kind| kind == b"application/problem+json" || kind.starts_with(b"text/html"));
    let status = response.status();
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "the body is larger than this server takes: `limits.requestBodyBytesMax`";
            Problem::new(413, "body.too-large", detail)
        }
        StatusCode::BAD_REQUEST => {
            Problem::new(400, "bad-request", "the path or the query cannot be decoded")
        }
        other => Problem::internal(&format!("an answer {other} that nothing here gives")),
    };
    problem.into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let id = request::id();
        let sent = Sent { problem: &self, request_id: id.as_deref() };
        let mut response = (status, Json(sent)).into_response();
        let kind = header::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.retry_after_seconds > 0 {
            let seconds = self.retry_after_seconds.into();
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if status == StatusCode::UNAUTHORIZED {
            let ask = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
        }
        response
    }
}
