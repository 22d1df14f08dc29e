//! What a delivery says: one event, or several under `events`, each with club, member and what happened.

use serde::Deserialize;
use syncline_plugin_sdk::serde_json::{self, Value};
use syncline_plugin_sdk::{Error, Event, EventKind, Result};

use crate::manifest::ENTITY;

/// An event as it is written, in the form that signs itself and in the plain one. Members that only one of them has are
/// optional.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default, alias = "clubId")]
    federation_org_id: Value,
    member_id: Value,
    event: String,
    #[serde(default)]
    event_id: Value,
}

pub(crate) fn events(body: &[u8]) -> Result<Vec<Event>> {
    let unreadable = |error: serde_json::Error| Error::BadResponse(format!("the body: {error}"));
    let body: Value = serde_json::from_slice(body).map_err(unreadable)?;
    let written = match body {
        Value::Array(several) => several,
        Value::Object(mut one) => match one.remove("events") {
            Some(Value::Array(several)) => several,
            Some(_) => return Err(Error::BadResponse("`events` is not a list".to_owned())),
            None => vec![Value::Object(one)],
        },
        _ => return Err(Error::BadResponse("the body is not a JSON object".to_owned())),
    };
    let mut events = Vec::with_capacity(written.len());
    for one in written {
        let one: Written = serde_json::from_value(one).map_err(unreadable)?;
        events.extend(event(one)?);
    }
    Ok(events)
}

/// None for a kind that nobody here knows.
fn event(written: Written) -> Result<Option<Event>> {
    let kind = match written.event.trim().rsplit('.').next().unwrap_or_default() {
        "created" => EventKind::Created,
        "updated" => EventKind::Updated,
        "deleted" => EventKind::Deleted,
        _ => return Ok(None),
    };
    let id = text(written.member_id).ok_or_else(|| {
        Error::BadResponse("`memberId` is neither a text nor a number".to_owned())
    })?;
    Ok(Some(Event {
        organization: text(written.federation_org_id),
        entity: ENTITY.to_owned(),
        id,
        kind,
        event_id: text(written.event_id),
    }))
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
