//! Deliveries that tell of changes in the books of many companies at once: CloudEvents, and the form that came before.
//!
//! Both name a company (the remote's id of an organization) with each event, so that one delivery may concern several.

use serde_json::{Map, Value};

use crate::{Error, Event, EventKind, Result};

/// The events of a delivery in either form of Intuit's notifications: an array of CloudEvents (`qbo.customer.updated.v1`
/// with `intuitaccountid` and `intuitentityid`), or `eventNotifications`.
///
/// `entity` translates the remote's name of an entity, in lower case, or answers `None` for one that the connector does
/// not know: its events are left out, and so is what has not the form of an event. An error means that nothing in the
/// delivery has it.
pub fn notifications(body: &[u8], entity: impl Fn(&str) -> Option<String>) -> Result<Vec<Event>> {
    let unreadable = |reason: String| Error::BadResponse(format!("the body: {reason}"));
    let body: Value =
        serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))?;
    let found: Vec<Option<Found>> = match &body {
        Value::Array(events) => events.iter().map(cloud_event).collect(),
        Value::Object(body) => match body.get("eventNotifications") {
            Some(Value::Array(companies)) => companies.iter().flat_map(company).collect(),
            _ => vec![cloud_event(&Value::Object(body.clone()))],
        },
        _ => return Err(unreadable("it is neither a list nor an object".to_owned())),
    };
    if !found.is_empty() && found.iter().all(Option::is_none) {
        return Err(unreadable("nothing in it has the form of an event".to_owned()));
    }
    let known = found.into_iter().flatten();
    Ok(known.filter_map(|found| found.event(&entity)).collect())
}

/// What both forms say.
struct Found {
    company: String,
    entity: String,
    id: String,
    operation: String,
    /// Of a merge: the record that is no more.
    merged: Option<String>,
    event_id: Option<String>,
}

impl Found {
    fn event(self, entity: &impl Fn(&str) -> Option<String>) -> Option<Event> {
        let Found { company, id, merged, event_id, .. } = self;
        let entity = entity(&self.entity.to_ascii_lowercase())?;
        let (id, kind) = match (self.operation.to_ascii_lowercase().as_str(), merged) {
            ("create" | "created", _) => (id, EventKind::Created),
            ("delete" | "deleted", _) => (id, EventKind::Deleted),
            ("merge" | "merged", Some(gone)) => (gone, EventKind::Merged { into: id }),
            // Voided, mailed, and what may come: the record says what it is now.
            _ => (id, EventKind::Updated),
        };
        Some(Event { organization: Some(company), entity, id, kind, event_id })
    }
}

fn cloud_event(event: &Value) -> Option<Found> {
    let mut kind = event.get("type")?.as_str()?.split('.').skip(1);
    let (entity, operation) = (kind.next()?.to_owned(), kind.next()?.to_owned());
    Some(Found {
        company: text(event.get("intuitaccountid"))?,
        entity,
        id: text(event.get("intuitentityid"))?,
        operation,
        merged: event.get("data").and_then(|data| text(data.get("deletedid"))),
        event_id: text(event.get("id")),
    })
}

/// One company of the older form; a list that cannot be read counts as one event.
fn company(company: &Value) -> Vec<Option<Found>> {
    let realm = text(company.get("realmId"));
    match company.pointer("/dataChangeEvent/entities") {
        Some(Value::Array(changes)) => {
            changes.iter().map(|change| legacy(realm.as_ref()?, change.as_object()?)).collect()
        }
        _ => vec![None],
    }
}

fn legacy(company: &str, change: &Map<String, Value>) -> Option<Found> {
    let [entity, id, operation] =
        [text(change.get("name"))?, text(change.get("id"))?, text(change.get("operation"))?];
    // There is no id: an event is what happened to which record, and when.
    let when = text(change.get("lastUpdated"));
    let event_id = when.map(|when| format!("{entity}:{id}:{operation}:{when}"));
    let merged = text(change.get("deletedId"));
    Some(Found { company: company.to_owned(), entity, id, operation, merged, event_id })
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: &Value) -> Result<Vec<Event>> {
        let known = |name: &str| (name == "customer").then(|| "client".to_owned());
        notifications(body.to_string().as_bytes(), known)
    }

    fn event(company: &str, id: &str, kind: EventKind, event_id: &str) -> Event {
        Event {
            organization: Some(company.to_owned()),
            entity: "client".to_owned(),
            id: id.to_owned(),
            kind,
            event_id: Some(event_id.to_owned()),
        }
    }

    #[test]
    fn cloud_events_of_several_companies_are_read() {
        let one = |id: &str, kind: &str, company: &str| {
            json!({
                "specversion": "1.0", "id": id, "source": "intuit.dsnjkx", "type": kind,
                "datacontenttype": "application/json", "time": "2026-07-01T10:00:00Z",
                "intuitentityid": "12", "intuitaccountid": company, "data": {},
            })
        };
        let mut merged = one("e4", "qbo.customer.merged.v1", "1");
        merged["data"] = json!({"deletedid": "9"});
        let events = read(&json!([
            one("e1", "qbo.customer.created.v1", "1"),
            one("e2", "qbo.customer.voided.v1", "2"),
            one("e3", "qbo.newthing.created.v1", "1"),
            merged,
            {"specversion": "1.0"},
        ]));
        let expected = [
            event("1", "12", EventKind::Created, "e1"),
            event("2", "12", EventKind::Updated, "e2"),
            event("1", "9", EventKind::Merged { into: "12".to_owned() }, "e4"),
        ];
        assert_eq!(events.unwrap(), expected);
        let alone = read(&one("e5", "qbo.customer.deleted.v1", "1")).unwrap();
        assert_eq!(alone, [event("1", "12", EventKind::Deleted, "e5")]);
    }

    #[test]
    fn the_older_form_is_read_and_its_events_told_apart() {
        let change = |name: &str, id: &str, operation: &str| json!({"name": name, "id": id, "operation": operation, "lastUpdated": "2026-07-01T10:00:00.000Z"});
        let mut merge = change("Customer", "12", "Merge");
        merge["deletedId"] = json!("9");
        let events = read(&json!({"eventNotifications": [
            {"realmId": "1", "dataChangeEvent": {"entities": [
                change("Customer", "12", "Create"), change("Preferences", "1", "Update"), merge,
            ]}},
            {"realmId": 2, "dataChangeEvent": {"entities": [change("Customer", "7", "Delete")]}},
            {"realmId": "3"},
        ]}));
        let id = |id: &str, operation: &str| {
            format!("Customer:{id}:{operation}:2026-07-01T10:00:00.000Z")
        };
        let expected = [
            event("1", "12", EventKind::Created, &id("12", "Create")),
            event("1", "9", EventKind::Merged { into: "12".to_owned() }, &id("12", "Merge")),
            event("2", "7", EventKind::Deleted, &id("7", "Delete")),
        ];
        assert_eq!(events.unwrap(), expected);
    }

    #[test]
    fn what_is_no_notification_is_refused() {
        for body in
            [json!(7), json!("text"), json!({}), json!([{}]), json!({"eventNotifications": 1})]
        {
            assert!(matches!(read(&body), Err(Error::BadResponse(_))), "{body}");
        }
        assert!(notifications(b"{", |_| None).is_err());
        assert_eq!(read(&json!([])).unwrap(), []);
        assert_eq!(read(&json!({"eventNotifications": []})).unwrap(), []);
    }
}
