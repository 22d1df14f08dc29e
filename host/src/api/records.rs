//! `/organizations/{org}/records`: the local copies, edits by the caller, timelines.

use super::answer::Answer;
use super::audit::Act;
use super::body::{Members, object};
use super::etag::{IfMatch, tagged};
use super::paging::{Gathered, Parameters, Query, page_of};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller, organizations};
use crate::clock;
use crate::commit::{self, Edited};
use crate::model::record::FieldMeta;
use crate::model::{ModifiedBy, OrgNo, Record, RecordId, RecordStatus, Value as Field};
use crate::store::records::{self as rows, Cause, HistoryEntry};
use crate::store::{Read, Store};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Of a record that was just created.
const FIRST_VERSION: u64 = 1;
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

pub(super) fn author(by: &ModifiedBy) -> Value {
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

pub(super) fn find(
    read: &dyn Read,
    store: &Store,
    org: OrgNo,
    id: &str,
) -> Result<Record, Problem> {
    let missing = || Problem::not_found(format!("there is no record {id:?}"));
    let id: RecordId = id.parse().map_err(|_| missing())?;
    rows::get(read, store, org, id)?.ok_or_else(missing)
}

/// Local records.
#[utoipa::path(
    get, path = "/organizations/{org}/records", tag = "records",
    params(schema::RecordFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Record>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(org): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["entity", "status", "q"])?;
    let entity = query.get("entity").map(str::to_owned);
    let status = match query.word("status", &["active", "inactive"])? {
        None => None,
        Some("active") => Some(RecordStatus::Active),
        Some(_) => Some(RecordStatus::Inactive),
    };
    let needle = query.get("q").map(str::to_lowercase);
    let (mut found, after) = (Gathered::new(query.limit()?), query.cursor::<RecordId>()?);
    api.read(move |read, store| {
        let organization = organizations::find(read, &org)?;
        let known = entity.as_deref().map(|name| store.entity(name));
        let entity = match known {
            None => None,
            Some(Some(entity)) => Some(entity),
            Some(None) => return page_of(Vec::new(), &query),
        };
        rows::scan(read, store, organization.no, entity, after, &mut |record| {
            let wanted = status.is_none_or(|status| record.status == status)
                && needle.as_ref().is_none_or(|needle| holds(&record, needle));
            Ok(found.offer(record.id, record, wanted))
        })?;
        query.page(found, |record| Ok(row(&record)))
    })
    .await
}

fn holds(record: &Record, needle: &str) -> bool {
    let in_values =
        record.values.iter().any(|value| value.display().to_lowercase().contains(needle));
    let in_ids = record.links.iter().any(|link| link.external_id.to_lowercase().contains(needle));
    in_values || in_ids || record.aliases.iter().any(|(_, id)| id.to_lowercase().contains(needle))
}

/// One record.
#[utoipa::path(
    get, path = "/organizations/{org}/records/{id}", tag = "records",
    responses((status = 200, body = schema::Record))
)]
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

/// The entities of all active connector plugins.
fn known_entities(api: &Api) -> BTreeSet<String> {
    let asks = api.deps.plugins.list().into_iter().filter_map(|info| info.asks);
    asks.flat_map(|asks| asks.entities).collect()
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

/// What an edit touched, for the audit log. The values themselves are personal, and kept in the record's history.
fn touched(fields: &[(Arc<str>, Field)], status: Option<RecordStatus>) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
    json!({ "fields": names, "status": status })
}

/// Creates a record that no federation knows yet.
#[utoipa::path(
    post, path = "/organizations/{org}/records", tag = "records",
    request_body = schema::NewRecord,
    responses((status = 201, body = schema::Record))
)]
pub(super) async fn create(
    State(api): State<Api>,
    Path(org): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let known = org.clone();
    let organization = api.read(move |read, _| organizations::find(read, &known)).await?;
    let mut members = Members::new(object(&bytes)?);
    let entity = members.required("entity");
    let given = members.object("fields");
    if given.is_none() {
        members.fault("fields", "is missing");
    }
    let fields = fields(&mut members, given);
    let known = known_entities(&api);
    if !entity.is_empty() && !known.contains(&entity) && api.deps.store.entity(&entity).is_none() {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        members.fault("entity", format!("no connector has it; known are {known}"));
    }
    members.finish()?;
    let (store, now) = (api.deps.store.clone(), api.now());
    api.commit(move |txn| {
        let no = store.intern_entity(txn, &entity)?;
        let edit =
            Edited { fields: fields.clone(), status: None, at: now, by: by(&caller), cause: None };
        let created = commit::create(txn, &store, organization.no, no, edit)?;
        let act = Act::new("createRecord", created.id).of(&organization);
        caller.log(txn, act.with(touched(&fields, None)))?;
        Ok(Answer::created(created.version, row(&created)))
    })
    .await
}

/// Edits a record, as a change made here.
#[utoipa::path(
    patch, path = "/organizations/{org}/records/{id}", tag = "records",
    request_body = schema::RecordChange,
    responses((status = 200, body = schema::Record))
)]
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
            let edit =
                Edited { fields: fields.clone(), status, at: now, by: by(&caller), cause: None };
            let record = commit::edit(txn, &store, organization.no, found.id, version, edit)?;
            let act = Act::new("editRecord", record.id).of(&organization);
            caller.log(txn, act.with(touched(&fields, status)))?;
            Ok(record)
        })
        .await?;
    Ok(tagged(edited.version, row(&edited)))
}

/// The changes of a record, newest first.
#[utoipa::path(
    get, path = "/organizations/{org}/records/{id}/history", tag = "records",
    params(schema::Paging),
    responses((status = 200, body = schema::Page<schema::HistoryEntry>))
)]
pub(super) async fn history(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let (mut found, before) = (Gathered::new(query.limit()?), query.cursor::<u64>()?);
    api.read(move |read, store| {
        let organization = organizations::find(read, &org)?;
        let record = find(read, store, organization.no, &id)?;
        let mut flow = ControlFlow::Continue(());
        rows::scan_history(read, organization.no, record.id, before, &mut |change| {
            flow = found.offer(change.version, entry(&change), true);
            flow
        })?;
        if flow.is_continue() && before != Some(FIRST_VERSION) {
            // The creation has no entry of its own. Breaking here or not is the same: it is the last.
            let _ = found.offer(FIRST_VERSION, creation(&record), true);
        }
        query.page(found, Ok)
    })
    .await
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
        "undoOf": match entry.cause {
            Some(Cause::Undo(run)) => Some(run),
            _ => None,
        },
        "conflictId": match entry.cause {
            Some(Cause::Conflict(conflict)) => Some(conflict),
            _ => None,
        },
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

pub(super) fn run_of(by: &ModifiedBy) -> Option<String> {
    match by {
        ModifiedBy::Run(run) => Some(run.to_string()),
        ModifiedBy::Person(_) | ModifiedBy::Machine(_) => None,
    }
}
