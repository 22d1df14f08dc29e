//! `/conflicts`: the inbox of held conflicts, and a person's decisions.

use super::access::Reach;
use super::answer::Answer;
use super::audit::Act;
use super::body::{Members, object};
use super::etag::live;
use super::paging::{Gathered, IndexKey, Parameters, Query};
use super::problem::Problem;
use super::records::by;
use super::schema;
use super::{Api, Caller, organizations};
use crate::clock;
use crate::commit;
use crate::model::Value as Field;
use crate::model::access::OrgKey;
use crate::model::directory::Organization;
use crate::model::ids::ConflictId;
use crate::store::conflicts::{self, HeldConflict};
use crate::store::{Read, Snapshot};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::{Value, json};

/// How many open items one bulk decision decides.
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

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no conflict {id:?}"))
}

/// The conflict, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<HeldConflict, Problem> {
    let number: ConflictId = id.parse().map_err(|_| missing(id))?;
    conflicts::get(read, number)?.ok_or_else(|| missing(id))
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
    fn keeps(&self, item: &HeldConflict) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        is(&self.connector, &item.connector.to_string())
            && is(&self.record, &item.record.to_string())
            && is(&self.entity, &item.entity)
            && is(&self.field, &item.field)
    }

    /// What a bulk decision is about.
    fn open(&self, read: &dyn Read, reach: Reach) -> Result<Vec<HeldConflict>, Problem> {
        let org = reach.narrow(read, self.organization.as_deref())?;
        let mut keep = |item: &HeldConflict| self.keeps(item);
        Ok(conflicts::list_open(read, org, &mut keep, ITEMS_MAX)?)
    }
}

/// Conflicts that wait for a person.
#[utoipa::path(
    get, path = "/conflicts", tag = "conflicts",
    params(schema::ConflictFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Conflict>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
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
    let (mut found, after) = (Gathered::new(query.limit()?), query.cursor::<IndexKey>()?);
    api.read(move |read: &Snapshot, _| {
        let after = after.as_ref().map(|key| key.0.as_slice());
        conflicts::scan_open(
            read,
            caller.reach().narrow(read, filter.organization.as_deref())?,
            after,
            &mut |key, item| {
                let wanted = filter.keeps(&item);
                found.offer(IndexKey(key.to_vec()), item, wanted)
            },
        )?;
        query.page(found, |item| Ok(row(&item)))
    })
    .await
}

/// One conflict, also when it was decided.
#[utoipa::path(
    get, path = "/conflicts/{id}", tag = "conflicts",
    responses((status = 200, body = schema::Conflict))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = api.read(move |read, _| find(read, &id)).await?;
    Ok(live(found.version, row(&found)))
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

/// Decides a conflict.
#[utoipa::path(
    post, path = "/conflicts/{id}/resolve", tag = "conflicts",
    request_body = schema::Decision,
    responses(
        (status = 200, body = schema::Conflict),
        (status = 409, description = "`already-decided`"),
    )
)]
pub(super) async fn resolve(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let known = id.clone();
    api.read(move |read, _| find(read, &known)).await?;
    let mut members = Members::new(object(&bytes)?);
    let (choice, value) = choice(&mut members);
    members.finish()?;
    let (store, now) = (api.deps.store.clone(), api.now());
    api.commit(move |txn| {
        let item = find(txn, &id)?;
        let organization = organizations::find_owner(txn, &item.organization, item.connection)?;
        let decision = (choice.as_str(), value.clone());
        let author = (now, by(&caller));
        let resolved = commit::resolve(txn, &store, organization.no, item.id, decision, author)?;
        let act = Act::new("resolveConflict", item.id).of(&organization);
        caller.log(txn, act.with(json!({ "choice": choice, "field": item.field })))?;
        Ok(Answer::ok(row(&resolved)).tagged(resolved.version))
    })
    .await
}

/// Decides all open conflicts of a filter alike.
#[utoipa::path(
    post, path = "/conflicts/resolve", tag = "conflicts",
    request_body = schema::Decisions,
    responses(
        (status = 200, body = schema::Decided),
        (status = 404, description = "`not-found`"),
        (status = 409, description = "`already-decided`"),
    )
)]
pub(super) async fn resolve_many(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
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
    api.commit(move |txn| {
        let mut resolved = 0_usize;
        for item in filter.open(txn, caller.reach())? {
            // What a deleted organization left open is nobody's to decide.
            let owner = organizations::owner(txn, &item.organization, item.connection)?;
            let Some(owner) = owner else { continue };
            let decision = (choice.as_str(), value.clone());
            commit::resolve(txn, &store, owner.no, item.id, decision, (now, by(&caller)))?;
            resolved += 1;
        }
        let whole = |row: Organization| OrgKey { id: row.id, no: row.no };
        let one = match &filter.organization {
            Some(id) => Some(whole(organizations::find(txn, id)?)),
            None => caller.grant.organization.clone(),
        };
        let act = Act::new("resolveConflicts", "").of_key(one);
        caller.log(txn, act.with(json!({ "choice": choice, "resolved": resolved })))?;
        Ok(Answer::ok(json!({ "resolved": resolved })))
    })
    .await
}
