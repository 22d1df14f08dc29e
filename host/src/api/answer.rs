//! What a change answers: status, version, location, row. Kept with the change where the request has an idempotency key.

use super::Api;
use super::etag::tag;
use super::idempotency::{self, Pending};
use super::problem::Problem;
use crate::store::idempotency::Answer as Kept;
use crate::store::{Txn, idempotency as rows};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// An answer that can be given again.
#[derive(Clone)]
pub(crate) struct Answer {
    kept: Kept,
    /// Members that only the first answer has.
    secrets: Vec<(&'static str, String)>,
}

impl Answer {
    pub(crate) fn ok(body: Value) -> Answer {
        Answer::new(StatusCode::OK, body)
    }

    pub(crate) fn created(version: u64, body: Value) -> Answer {
        Answer::new(StatusCode::CREATED, body).tagged(version)
    }

    /// What goes on behind the answer.
    pub(crate) fn accepted(body: Value) -> Answer {
        Answer::new(StatusCode::ACCEPTED, body)
    }

    fn new(status: StatusCode, body: Value) -> Answer {
        let kept = Kept { status: status.as_u16(), version: None, location: None, body };
        Answer { kept, secrets: Vec::new() }
    }

    pub(crate) fn tagged(mut self, version: u64) -> Answer {
        self.kept.version = Some(version);
        self
    }

    pub(crate) fn at(mut self, location: String) -> Answer {
        self.kept.location = Some(location);
        self
    }

    /// Adds a member that is never stored: a replay shows the row without it.
    pub(crate) fn with_secret(mut self, member: &'static str, secret: &str) -> Answer {
        self.secrets.push((member, secret.to_owned()));
        self
    }

    pub(crate) fn again(kept: Kept) -> Answer {
        Answer { kept, secrets: Vec::new() }
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Kept { status, version, location, mut body } = self.kept;
        let no_store = (!self.secrets.is_empty()).then(|| HeaderValue::from_static("no-store"));
        for (member, secret) in self.secrets {
            if let Some(row) = body.as_object_mut() {
                row.insert(member.to_owned(), Value::String(secret));
            }
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        let mut response = match status {
            StatusCode::NO_CONTENT => status.into_response(),
            _ => (status, Json(body)).into_response(),
        };
        let location = location.and_then(|location| HeaderValue::from_str(&location).ok());
        let named = [
            (header::ETAG, version.and_then(tag)),
            (header::LOCATION, location),
            (header::CACHE_CONTROL, no_store),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl Api {
    /// A change with its answer: where the request has an idempotency key, one transaction holds both.
    pub(super) async fn commit<F>(&self, write: F) -> Result<Answer, Problem>
    where
        F: FnMut(&Txn) -> Result<Answer, Problem> + Send + 'static,
    {
        let pending = idempotency::pending();
        let answer = self.deps.store.write(keeping(pending.clone(), write)).await?;
        pending.iter().for_each(Pending::settle);
        Ok(answer)
    }

    /// The same for a change that takes long.
    pub(super) async fn commit_bulk<F>(&self, write: F) -> Result<Answer, Problem>
    where
        F: FnMut(&Txn) -> Result<Answer, Problem> + Send + 'static,
    {
        let pending = idempotency::pending();
        let answer = self.deps.store.write_bulk(keeping(pending.clone(), write)).await?;
        pending.iter().for_each(Pending::settle);
        Ok(answer)
    }
}

fn keeping(
    pending: Option<Pending>,
    mut write: impl FnMut(&Txn) -> Result<Answer, Problem>,
) -> impl FnMut(&Txn) -> Result<Answer, Problem> {
    move |txn| {
        let answer = write(txn)?;
        if let Some(pending) = &pending {
            rows::answer(txn, pending.digest(), answer.kept())?;
        }
        Ok(answer)
    }
}
