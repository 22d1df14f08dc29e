//! `/organizations/{org}/records`: the local copies, edits by the caller, timelines.

use super::body::{Members, object};
use super::etag::{IfMatch, tagged};
use super::paging::{Query, page};
use super::problem::Problem;
use super::{Api, Caller, organizations};
use crate::clock;
use crate::commit::{self, Edited};
use crate::model::record::FieldMeta;
use crate::model::{ModifiedBy, OrgNo, Record, RecordId, RecordStatus, Value as Field};
use crate::store::records::{self as rows, HistoryEntry};
use crate::store::{Read, Store};
use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

const FIELDS_MAX: usize = 500;
const FIELD_NAME_CHARS_MAX: usize = 100;
const VALUE_BYTES_MAX: usize = 256 << 10;

pub(super) fn row(record: &Record) -> Value {
    let named = record.shape.iter().zip(&record.values).enumerate();
    let set = named.filter(|(_, (_, value))| **value != Field::Absent);
    let mut fields = Map::new();
    let mut meta = Map::new();
    for (at, (name, value)) in set {
        fields.insert(name.to_string(), value.to_json());
        meta.insert(name.to_string(), field_meta(record.meta_of(at)));
    }
    let mut external: Map<String, Value> = Map::new();
    external.extend(record.aliases.iter().map(|(kind, id)| (kind.clone(), json!(id))));
    for link in &record.links {
        external.insert(link.connection.to_string(), json!(link.external_id));
    }
    json!({
        "id": record.id,
        "entity": &*record.entity,
        "status": record.status,
        "version": record.version,
        "fields": fields,
        "fieldMeta": meta,
        "externalIds": external,
        "lastSyncedAt": record.synced_at.map(clock::to_text),
    })
}

fn field_meta(meta: &FieldMeta) -> Value {
    json!({ "modifiedAt": clock::to_text(meta.modified_at), "modifiedBy": author(&meta.modified_by) })
}

fn author(by: &ModifiedBy) -> Value {
    let kind = match by {
        ModifiedBy::Person(_) => "person",
        ModifiedBy::Machine(_) => "machine",
        ModifiedBy::Run(_) => "run",
    };
    json!({ "kind": kind, "name": commit::name_of(by) })
}

/// The author of an edit by this caller.
pub(super) fn by(caller: &Caller) -> ModifiedBy {
    let name = caller.name.to_string();
    if caller.machine { ModifiedBy::Machine(name) } else { ModifiedBy::Person(name) }
}

fn find(read: &dyn Read, store: &Store, org: OrgNo, id: &str) -> Result<Record, Problem> {
    let missing = || Problem::not_found(format!("there is no record {id:?}"));
    let id: RecordId = id.parse().map_err(|_| missing())?;
    rows::get(read, store, org, id)?.ok_or_else(missing)
}

pub(super) async fn list(
    State(api): State<Api>,
    Path(org): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["entity", "status", "q"])?;
    let entity = query.get("entity").map(str::to_owned);
    let status = match query.get("status") {
        None => None,
        Some("active") => Some(RecordStatus::Active),
        Some("inactive") => Some(RecordStatus::Inactive),
        Some(_) => return Err(Problem::invalid_at("?status", "must be `active` or `inactive`")),
    };
    let needle = query.get("q").map(str::to_lowercase);
    let (limit, after) = (query.limit()?, query.cursor::<RecordId>()?);
    api.read(move |read, store| {
        let organization = organizations::find(read, &org)?;
        let known = entity.as_deref().map(|name| store.entity(name));
        let entity = match known {
            None => None,
            Some(Some(entity)) => Some(entity),
            Some(None) => return Ok(page(Vec::new(), None)),
        };
        let (mut items, mut last, mut more) = (Vec::new(), None, false);
        rows::scan(read, store, organization.no, entity, after, &mut |record| {
            let wanted = status.is_none_or(|status| record.status == status)
                && needle.as_ref().is_none_or(|needle| holds(&record, needle));
            if !wanted {
                return ControlFlow::Continue(());
            }
            if items.len() == limit {
                more = true;
                return ControlFlow::Break(());
            }
            last = Some(record.id);
            items.push(row(&record));
            ControlFlow::Continue(())
        })?;
        Ok(page(items, last.filter(|_| more).map(|id| id.to_string())))
    })
    .await
}

fn holds(record: &Record, needle: &str) -> bool {
    let in_values =
        record.values.iter().any(|value| value.display().to_lowercase().contains(needle));
    let in_ids = record.links.iter().any(|link| link.external_id.to_lowercase().contains(needle));
    in_values || in_ids || record.aliases.iter().any(|(_, id)| id.to_lowercase().contains(needle))
}

pub(super) async fn show(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let found = api
        .read(move |read, store| {
            let organization = organizations::find(read, &org)?;
            find(read, store, organization.no, &id)
        })
        .await?;
    Ok(tagged(found.version, row(&found)))
}

fn fields(members: &mut Members, object: Option<Map<String, Value>>) -> Vec<(Arc<str>, Field)> {
    let object = object.unwrap_or_default();
    if object.len() > FIELDS_MAX {
        members.fault("fields", format!("at most {FIELDS_MAX} fields"));
        return Vec::new();
    }
    let mut fields = Vec::with_capacity(object.len());
    for (name, value) in object {
        let at = format!("fields/{}", super::body::escape(&name));
        if name.is_empty() || name.chars().count() > FIELD_NAME_CHARS_MAX {
            members.fault(&at, format!("a name has 1 to {FIELD_NAME_CHARS_MAX} characters"));
        } else if value.to_string().len() > VALUE_BYTES_MAX {
            members.fault(&at, format!("at most {VALUE_BYTES_MAX} bytes"));
        } else {
            fields.push((Arc::from(name), Field::from_json(&value)));
        }
    }
    fields
}

fn status(members: &mut Members) -> Option<RecordStatus> {
    match members.text("status")?.as_str() {
        "active" => Some(RecordStatus::Active),
        "inactive" => Some(RecordStatus::Inactive),
        _ => {
            members.fault("status", "must be `active` or `inactive`");
            None
        }
    }
}

pub(super) async fn create(
    State(api): State<Api>,
    Path(org): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let known = org.clone();
    let organization = api.read(move |read, _| organizations::find(read, &known)).await?;
    let mut members = Members::new(object(&bytes)?);
    let entity = members.required("entity");
    let given = members.object("fields");
    if given.is_none() {
        members.fault("fields", "is missing");
    }
    let fields = fields(&mut members, given);
    members.finish()?;
    let (store, now) = (api.deps.store.clone(), api.now());
    let created = api
        .deps
        .store
        .write(move |txn| -> Result<Record, Problem> {
            let no = store.intern_entity(txn, &entity)?;
            let edit = Edited { fields: fields.clone(), status: None, at: now, by: by(&caller) };
            Ok(commit::create(txn, &store, organization.no, no, edit)?)
        })
        .await?;
    let mut response = tagged(created.version, row(&created));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(super) async fn update(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let store = api.deps.store.clone();
    let (organization, found) = api
        .read(move |read, store| {
            let organization = organizations::find(read, &org)?;
            let found = find(read, store, organization.no, &id)?;
            Ok((organization, found))
        })
        .await?;
    let if_match = IfMatch::required(&headers)?;
    let version = match if_match {
        IfMatch::Any => None,
        IfMatch::Version(version) => Some(version),
        IfMatch::Never => {
            return Err(if_match
                .check(found.version)
                .err()
                .unwrap_or_else(|| Problem::new(412, "stale", "the row is at another version")));
        }
    };
    let mut members = Members::new(object(&bytes)?);
    let given = members.object("fields");
    let fields = fields(&mut members, given);
    let status = status(&mut members);
    members.finish()?;
    let now = api.now();
    let edited = api
        .deps
        .store
        .write(move |txn| -> Result<Record, Problem> {
            let edit = Edited { fields: fields.clone(), status, at: now, by: by(&caller) };
            Ok(commit::edit(txn, &store, organization.no, found.id, version, edit)?)
        })
        .await?;
    Ok(tagged(edited.version, row(&edited)))
}

pub(super) async fn history(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let items = api
        .read(move |read, store| {
            let organization = organizations::find(read, &org)?;
            let record = find(read, store, organization.no, &id)?;
            let entries = rows::history(read, organization.no, record.id)?;
            let mut items: Vec<Value> = entries.iter().rev().map(entry).collect();
            items.push(creation(&record));
            Ok(items)
        })
        .await?;
    super::paging::page_of(items, &query)
}

fn entry(entry: &HistoryEntry) -> Value {
    let fields: Map<String, Value> = entry
        .fields
        .iter()
        .map(|field| {
            let change = json!({
                "before": field.before.to_json(),
                "after": field.after.to_json(),
                "strategy": field.strategy,
            });
            (field.field.clone(), change)
        })
        .collect();
    json!({
        "at": clock::to_text(entry.at),
        "kind": entry.kind,
        "by": author(&entry.by),
        "runId": run_of(&entry.by),
        "version": entry.version,
        "fields": fields,
        "statusBefore": entry.status_before,
        "statusAfter": entry.status_after,
    })
}

fn creation(record: &Record) -> Value {
    json!({
        "at": clock::to_text(record.created.modified_at),
        "kind": "created",
        "by": author(&record.created.modified_by),
        "runId": run_of(&record.created.modified_by),
        "version": 1,
        "fields": {},
    })
}

fn run_of(by: &ModifiedBy) -> Option<String> {
    match by {
        ModifiedBy::Run(run) => Some(run.to_string()),
        ModifiedBy::Person(_) | ModifiedBy::Machine(_) => None,
    }
}
