//! Between the types of the contract and the model: what goes in, and what comes out of small calls.
//!
//! Nothing that a guest returns is believed. Pages are checked in `page`.

use super::exports::syncline::plugin::{pull, resolve, webhook};
use super::syncline::plugin::{http, types};
use crate::model::conflict::SourceOfTruth;
use crate::model::http::{HttpFailure, HttpRequest, HttpResponse};
use crate::model::remote::{CallContext, PageRequest};
use crate::model::webhook::HookEvent;
use crate::model::{Choice, Conflict, Decision, GuestError, Side, Value};
use crate::plugin::imports::log::clean;
use crate::plugin::limits::Limits;
use crate::plugin::session::Delivery;

/// How many settings a connector may complain about at once.
const CONFIG_ISSUES_MAX: usize = 50;

pub(super) fn context(context: &CallContext) -> types::Context {
    types::Context {
        config: context.config.clone(),
        endpoints: context.endpoints.clone(),
        organization: context.organization.clone(),
        started_at: context.started_at.clone(),
        extras: context.extras.clone(),
    }
}

pub(super) fn page_request(call: &CallContext, request: &PageRequest) -> pull::PageRequest {
    pull::PageRequest {
        context: context(call),
        entity: request.entity.clone(),
        mode: request.mode.clone(),
        since: request.since.clone(),
        checkpoint: request.checkpoint.clone(),
        filters: request.filters.clone(),
        cursor: request.cursor.clone(),
        records_max: request.records_max,
    }
}

pub(super) fn value(value: types::Value) -> Value {
    match value {
        types::Value::Absent => Value::Absent,
        types::Value::Null => Value::Null,
        types::Value::Text(text) => Value::Text(text),
        types::Value::Boolean(flag) => Value::Bool(flag),
        types::Value::Integer(number) => Value::Int(number),
        types::Value::Json(text) => Value::Json(text),
    }
}

fn value_in(value: &Value) -> types::Value {
    match value {
        Value::Absent => types::Value::Absent,
        Value::Null => types::Value::Null,
        Value::Text(text) => types::Value::Text(text.clone()),
        Value::Bool(flag) => types::Value::Boolean(*flag),
        Value::Int(number) => types::Value::Integer(*number),
        Value::Json(text) => types::Value::Json(text.clone()),
    }
}

pub(super) fn guest_error(error: types::Error, limits: &Limits) -> GuestError {
    let cut = |text: String| clean(&text, limits.message_bytes_max);
    match error {
        types::Error::Auth(text) => GuestError::Auth(cut(text)),
        types::Error::RateLimited(seconds) => GuestError::RateLimited(seconds),
        types::Error::Unavailable(text) => GuestError::Unavailable(cut(text)),
        types::Error::Config(issues) => GuestError::Config(
            issues
                .into_iter()
                .take(CONFIG_ISSUES_MAX)
                .map(|issue| (cut(issue.pointer), cut(issue.message)))
                .collect(),
        ),
        types::Error::BadResponse(text) => GuestError::BadResponse(cut(text)),
        types::Error::CursorExpired => GuestError::CursorExpired,
        types::Error::NotFound(text) => GuestError::NotFound(cut(text)),
        types::Error::Unsupported(text) => GuestError::Unsupported(cut(text)),
        types::Error::Other(text) => GuestError::Other(cut(text)),
    }
}

pub(super) fn request(request: http::Request) -> HttpRequest {
    HttpRequest {
        method: request.method,
        url: request.url,
        headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        body: request.body,
        idempotency: request.idempotency,
    }
}

pub(super) fn response(response: HttpResponse) -> http::Response {
    http::Response {
        status: response.status,
        headers: response
            .headers
            .into_iter()
            .map(|(name, value)| http::Header { name, value })
            .collect(),
        body: response.body.into(),
    }
}

pub(super) fn http_failure(failure: HttpFailure) -> http::Failure {
    match failure {
        HttpFailure::Denied(text) => http::Failure::Denied(text),
        HttpFailure::Timeout => http::Failure::Timeout,
        HttpFailure::TooLarge(bytes) => http::Failure::TooLarge(bytes),
        HttpFailure::Network(text) => http::Failure::Network(text),
        HttpFailure::Stopped => http::Failure::Stopped,
    }
}

pub(super) fn delivery(delivery: &Delivery<'_>) -> webhook::Delivery {
    webhook::Delivery {
        config: delivery.config.to_owned(),
        headers: delivery.headers.to_vec(),
        body: delivery.body.to_vec(),
    }
}

/// As many as allowed, with ids that a record can have; or how the answer breaks the contract.
pub(super) fn events(
    events: Vec<webhook::Event>,
    limits: &Limits,
) -> Result<Vec<HookEvent>, String> {
    if events.len() > limits.events_per_delivery_max {
        return Err(format!("{} events, at most {}", events.len(), limits.events_per_delivery_max));
    }
    let fits = |text: &str| {
        (1..=limits.id_bytes_max).contains(&text.len()) && !text.contains(char::is_control)
    };
    let event = |(number, event): (usize, webhook::Event)| {
        let event = HookEvent {
            organization: event.organization,
            entity: event.entity,
            id: event.id,
            kind: event.kind,
            event_id: event.event_id,
            merged_into: event.merged_into,
        };
        let optional = [&event.organization, &event.event_id, &event.merged_into];
        let optional = optional.into_iter().flatten().all(|text| fits(text));
        if optional && fits(&event.entity) && fits(&event.id) && fits(&event.kind) {
            return Ok(event);
        }
        Err(format!(
            "event {number} has an empty text, one of more than {} bytes, or control characters",
            limits.id_bytes_max
        ))
    };
    events.into_iter().enumerate().map(event).collect()
}

pub(super) fn conflict(conflict: &Conflict) -> resolve::Conflict {
    resolve::Conflict {
        entity: conflict.entity.clone(),
        field: conflict.field.clone(),
        field_type: conflict.field_type.as_str().to_owned(),
        base: value_in(&conflict.base),
        remote: side(&conflict.remote),
        local: side(&conflict.local),
        source_of_truth: match conflict.source_of_truth {
            SourceOfTruth::Remote => "remote".to_owned(),
            SourceOfTruth::Local => "local".to_owned(),
        },
    }
}

fn side(side: &Side) -> resolve::Side {
    resolve::Side {
        value: value_in(&side.value),
        modified_at: side.modified_at.clone(),
        modified_by: side.modified_by.clone(),
    }
}

/// One decision for each conflict, values only from strategies that declare them. Whether a value fits its field is
/// checked where decisions are applied.
pub(super) fn decisions(
    answer: Vec<resolve::Decision>,
    conflicts: usize,
    values_declared: bool,
    limits: &Limits,
) -> Result<Vec<Decision>, String> {
    if answer.len() != conflicts {
        return Err(format!("{} decisions for {conflicts} conflicts", answer.len()));
    }
    let decide = |(number, decision): (usize, resolve::Decision)| {
        let choice = match decision.choice {
            resolve::Choice::Remote => Choice::Remote,
            resolve::Choice::Local => Choice::Local,
            resolve::Choice::Hold => Choice::Hold,
            resolve::Choice::Value(_) if !values_declared => {
                return Err(format!(
                    "decision {number} is a value of its own, which the manifest does not declare"
                ));
            }
            resolve::Choice::Value(own) => {
                let own = value(own);
                match super::page::value_fault(&own, limits) {
                    None => Choice::Value(own),
                    Some(fault) => return Err(format!("the value of decision {number} {fault}")),
                }
            }
        };
        Ok(Decision { choice, note: clean(&decision.note, limits.message_bytes_max) })
    };
    answer.into_iter().enumerate().map(decide).collect()
}
