//! `/conflicts`: the inbox of held conflicts, and a person's decisions.

use super::body::{Members, object};
use super::etag::tagged;
use super::paging::{Query, page_of};
use super::problem::Problem;
use super::records::by;
use super::{Api, Caller, organizations};
use crate::clock;
use crate::commit;
use crate::model::Value as Field;
use crate::model::ids::ConflictId;
use crate::store::conflicts::{self, HeldConflict};
use crate::store::{Read, Snapshot};
use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::{Value, json};
use std::collections::HashMap;

/// How many open items one list or one bulk decision looks at.
const ITEMS_MAX: usize = 10_000;

fn row(item: &HeldConflict) -> Value {
    let resolution = item.resolution.as_ref().map(|resolution| {
        json!({
            "choice": resolution.choice,
            "value": resolution.value.to_json(),
            "by": resolution.by,
            "at": clock::to_text(resolution.at),
        })
    });
    json!({
        "id": item.id,
        "organizationId": item.organization,
        "connectorId": item.connector,
        "connectionId": item.connection,
        "recordId": item.record,
        "externalId": item.external_id,
        "entity": item.entity,
        "field": item.field,
        "baseValue": item.base.to_json(),
        "remoteValue": item.remote.to_json(),
        "localValue": item.local.to_json(),
        "strategy": item.strategy,
        "note": item.note,
        "firstRunId": item.first_run,
        "lastRunId": item.last_run,
        "firstSeenAt": clock::to_text(item.first_seen_at),
        "lastSeenAt": clock::to_text(item.last_seen_at),
        "resolution": resolution,
    })
}

fn find(read: &dyn Read, id: &str) -> Result<HeldConflict, Problem> {
    let missing = || Problem::not_found(format!("there is no conflict {id:?}"));
    let id: ConflictId = id.parse().map_err(|_| missing())?;
    conflicts::get(read, id)?.ok_or_else(missing)
}

/// What a list or a bulk decision is about.
#[derive(Clone, Default)]
struct Filter {
    organization: Option<String>,
    connector: Option<String>,
    record: Option<String>,
    entity: Option<String>,
    field: Option<String>,
}

impl Filter {
    fn open(&self, read: &dyn Read) -> Result<Vec<HeldConflict>, Problem> {
        let org = match &self.organization {
            Some(id) => Some(organizations::find(read, id)?.no),
            None => None,
        };
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        let mut keep = |item: &HeldConflict| {
            is(&self.connector, &item.connector.to_string())
                && is(&self.record, &item.record.to_string())
                && is(&self.entity, &item.entity)
                && is(&self.field, &item.field)
        };
        Ok(conflicts::list_open(read, org, &mut keep, ITEMS_MAX)?)
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let known = ["organization", "connector", "record", "entity", "field"];
    let query = Query::new(parameters, &known)?;
    let get = |name: &str| query.get(name).map(str::to_owned);
    let filter = Filter {
        organization: get("organization"),
        connector: get("connector"),
        record: get("record"),
        entity: get("entity"),
        field: get("field"),
    };
    let items = api.read(move |read: &Snapshot, _| filter.open(read)).await?;
    page_of(items.iter().map(row).collect(), &query)
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = api.read(move |read, _| find(read, &id)).await?;
    Ok(tagged(found.version, row(&found)))
}

fn choice(members: &mut Members) -> (String, Option<Field>) {
    let choice = members.required("choice");
    let has_value = members.has("value");
    let value = members.take("value");
    let value = has_value.then(|| value.as_ref().map_or(Field::Null, Field::from_json));
    if !choice.is_empty() && !matches!(choice.as_str(), "remote" | "local" | "value") {
        members.fault("choice", "must be one of remote, local, value");
    }
    if choice == "value" && value.is_none() {
        members.fault("value", "is missing");
    }
    (choice, value)
}

pub(super) async fn resolve(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let known = id.clone();
    api.read(move |read, _| find(read, &known)).await?;
    let mut members = Members::new(object(&bytes)?);
    let (choice, value) = choice(&mut members);
    members.finish()?;
    let (store, now) = (api.deps.store.clone(), api.now());
    let resolved = api
        .deps
        .store
        .write(move |txn| -> Result<HeldConflict, Problem> {
            let item = find(txn, &id)?;
            let org = organizations::find(txn, &item.organization)?.no;
            let decision = (choice.as_str(), value.clone());
            Ok(commit::resolve(txn, &store, org, item.id, decision, (now, by(&caller)))?)
        })
        .await?;
    Ok(Json(row(&resolved)))
}

/// Decides all open items of a filter alike.
pub(super) async fn resolve_many(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let (choice, value) = choice(&mut members);
    let given = members.object("filter").unwrap_or_default();
    members.finish()?;
    let mut inner = Members::at("/filter", given);
    let filter = Filter {
        organization: inner.text("organizationId"),
        connector: inner.text("connectorId"),
        record: inner.text("recordId"),
        entity: inner.text("entity"),
        field: inner.text("field"),
    };
    inner.finish()?;
    let (store, now) = (api.deps.store.clone(), api.now());
    let resolved = api
        .deps
        .store
        .write(move |txn| -> Result<usize, Problem> {
            let items = filter.open(txn)?;
            for item in &items {
                let org = organizations::find(txn, &item.organization)?.no;
                let decision = (choice.as_str(), value.clone());
                commit::resolve(txn, &store, org, item.id, decision, (now, by(&caller)))?;
            }
            Ok(items.len())
        })
        .await?;
    Ok(Json(json!({ "resolved": resolved })))
}
