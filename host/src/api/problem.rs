//! Errors as `application/problem+json`: a stable code for programs, a sentence for people, pointers for bad bodies.

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
        }
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
            PersonError::NoValue => Problem::invalid_at("/value", text),
            PersonError::BadChoice(_) => Problem::invalid_at("/choice", text),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = header::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            let ask = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
        }
        response
    }
}
