//! Between generated types and the SDK's: moves, no copies of text.

use super::connector::syncline::plugin::{http as wire_http, types as wire};
use super::strategy::exports::syncline::plugin::resolve;
use super::webhook::exports::syncline::plugin::webhook as hook;
use crate::http::{Failure, Request, Response};
use crate::rows::Rows;
use crate::{
    Author, Choice, ConfigIssue, Conflict, Decision, Error, Event, EventKind, Page, Reject, Side,
    SourceOfTruth, Value,
};

impl From<Value> for wire::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Absent => Self::Absent,
            Value::Null => Self::Null,
            Value::Text(text) => Self::Text(text),
            Value::Boolean(boolean) => Self::Boolean(boolean),
            Value::Integer(integer) => Self::Integer(integer),
            Value::Json(json) => Self::Json(json),
        }
    }
}

impl From<wire::Value> for Value {
    fn from(value: wire::Value) -> Self {
        match value {
            wire::Value::Absent => Self::Absent,
            wire::Value::Null => Self::Null,
            wire::Value::Text(text) => Self::Text(text),
            wire::Value::Boolean(boolean) => Self::Boolean(boolean),
            wire::Value::Integer(integer) => Self::Integer(integer),
            wire::Value::Json(json) => Self::Json(json),
        }
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Auth(message) => Self::Auth(message),
            Error::RateLimited(seconds) => Self::RateLimited(seconds),
            Error::Unavailable(message) => Self::Unavailable(message),
            Error::Config(issues) => Self::Config(issues.into_iter().map(Into::into).collect()),
            Error::BadResponse(message) => Self::BadResponse(message),
            Error::CursorExpired => Self::CursorExpired,
            Error::NotFound(message) => Self::NotFound(message),
            Error::Unsupported(message) => Self::Unsupported(message),
            Error::Other(message) => Self::Other(message),
        }
    }
}

impl From<ConfigIssue> for wire::ConfigIssue {
    fn from(ConfigIssue { pointer, message }: ConfigIssue) -> Self {
        Self { pointer, message }
    }
}

impl From<Page> for wire::Page {
    fn from(page: Page) -> Self {
        let Rows { alias_kinds, cells, texts } = page.rows;
        Self {
            fields: page.fields,
            alias_kinds,
            cells,
            texts,
            next: page.next,
            checkpoint: page.checkpoint,
            total: page.total,
            rejects: page.rejects.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Reject> for wire::Reject {
    fn from(Reject { id, reason, raw }: Reject) -> Self {
        Self { id, reason, raw }
    }
}

impl From<Event> for hook::Event {
    fn from(event: Event) -> Self {
        let Event { organization, entity, id, kind, event_id } = event;
        let (kind, merged_into) = match kind {
            EventKind::Created => ("created", None),
            EventKind::Updated => ("updated", None),
            EventKind::Deleted => ("deleted", None),
            EventKind::Merged { into } => ("merged", Some(into)),
        };
        Self { organization, entity, id, kind: kind.to_owned(), event_id, merged_into }
    }
}

impl From<resolve::Conflict> for Conflict {
    fn from(conflict: resolve::Conflict) -> Self {
        Self {
            entity: conflict.entity,
            field: conflict.field,
            field_type: conflict.field_type,
            base: conflict.base.into(),
            remote: conflict.remote.into(),
            local: conflict.local.into(),
            source_of_truth: match conflict.source_of_truth.as_str() {
                "local" => SourceOfTruth::Local,
                _ => SourceOfTruth::Remote,
            },
        }
    }
}

impl From<resolve::Side> for Side {
    fn from(side: resolve::Side) -> Self {
        let modified_by = match side.modified_by.as_deref() {
            Some("person") => Author::Person,
            Some("system") => Author::System,
            _ => Author::Unknown,
        };
        Self { value: side.value.into(), modified_at: side.modified_at, modified_by }
    }
}

impl From<Decision> for resolve::Decision {
    fn from(decision: Decision) -> Self {
        let choice = match decision.choice {
            Choice::Remote => resolve::Choice::Remote,
            Choice::Local => resolve::Choice::Local,
            Choice::Value(value) => resolve::Choice::Value(value.into()),
            Choice::Hold => resolve::Choice::Hold,
        };
        Self { choice, note: decision.note }
    }
}

impl From<Request> for wire_http::Request {
    fn from(request: Request) -> Self {
        let headers = request.headers.into_iter();
        Self {
            method: request.method,
            url: request.url,
            headers: headers.map(|(name, value)| wire_http::Header { name, value }).collect(),
            body: request.body,
            idempotency: request.idempotency,
        }
    }
}

impl From<wire_http::Response> for Response {
    fn from(response: wire_http::Response) -> Self {
        let headers = response.headers.into_iter();
        Self {
            status: response.status,
            headers: headers.map(|header| (header.name, header.value)).collect(),
            body: response.body,
        }
    }
}

impl From<wire_http::Failure> for Failure {
    fn from(failure: wire_http::Failure) -> Self {
        match failure {
            wire_http::Failure::Denied(reason) => Self::Denied(reason),
            wire_http::Failure::Timeout => Self::Timeout,
            wire_http::Failure::TooLarge(bytes) => Self::TooLarge(bytes),
            wire_http::Failure::Network(reason) => Self::Network(reason),
            wire_http::Failure::Stopped => Self::Stopped,
        }
    }
}
