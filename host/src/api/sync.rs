//! `POST /sync/{entity}`: asks for a run. The run itself is the worker's.

use super::body::{Members, object};
use super::problem::Problem;
use super::{Api, Caller, connectors, organizations};
use crate::clock;
use crate::model::Mode;
use crate::model::directory::{Connector, ConnectorStatus};
use crate::model::manifest::{ConnectorManifest, EntitySpec};
use crate::model::run::{EntityRequest, Trigger};
use crate::queue::{self, Enqueued};
use crate::store::{Read, directory, runs};
use crate::worker::setup;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

const IDS_MAX: usize = 10_000;
const ID_BYTES_MAX: usize = 512;

/// A body, read but not yet compared with the connector.
struct Asked {
    organization: String,
    connector: String,
    mode: Mode,
    ids: Vec<String>,
    filters: Option<Value>,
    dry_run: bool,
    idempotency_key: Option<String>,
}

fn asked(bytes: &Bytes) -> Result<Asked, Problem> {
    let mut members = Members::new(object(bytes)?);
    let (organization, connector) =
        (members.required("organizationId"), members.required("connectorId"));
    let mode = members.text("mode").unwrap_or_else(|| "full".to_owned());
    let mode = mode.parse::<Mode>().unwrap_or_else(|()| {
        members.fault("mode", "must be one of full, incremental, ids");
        Mode::Full
    });
    let mut ids = members.list("ids").unwrap_or_default();
    ids.sort();
    ids.dedup();
    match (mode, ids.len()) {
        (Mode::Ids, 0) => members.fault("ids", "mode `ids` needs at least one id"),
        (Mode::Ids, count) if count > IDS_MAX => {
            members.fault("ids", format!("at most {IDS_MAX} ids"));
        }
        (Mode::Full | Mode::Incremental, 1..) => members.fault("ids", "only mode `ids` takes ids"),
        _ => {}
    }
    if ids.iter().any(|id| id.is_empty() || id.len() > ID_BYTES_MAX || id.contains('\0')) {
        members.fault("ids", format!("an id has 1 to {ID_BYTES_MAX} bytes"));
    }
    let filters = members.object("filters");
    let filters = filters.filter(|filters| !filters.is_empty());
    let dry_run = members.flag("dryRun").unwrap_or(false);
    let idempotency_key = members.text("idempotencyKey");
    members.finish()?;
    let filters = filters.map(check_filters).transpose()?;
    Ok(Asked { organization, connector, mode, ids, filters, dry_run, idempotency_key })
}

fn check_filters(filters: Map<String, Value>) -> Result<Value, Problem> {
    let mut members = Members::at("/filters", filters.clone());
    for name in ["modifiedAfter", "modifiedBefore"] {
        if let Some(text) = members.text(name)
            && text.parse::<jiff::Timestamp>().is_err()
        {
            members.fault(name, "must be an RFC 3339 instant such as 2026-02-28T00:00:00Z");
        }
    }
    members.list("status");
    members.finish()?;
    Ok(Value::Object(filters))
}

pub(super) async fn start(
    State(api): State<Api>,
    Path(entity): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let asked = asked(&bytes)?;
    let fingerprint = fingerprint(&entity, &bytes);
    let (inner, now) = (api.clone(), api.now());
    let answer = api
        .deps
        .store
        .write(move |txn| -> Result<Value, Problem> {
            let organization = organizations::find(txn, &asked.organization)
                .map_err(|_| Problem::not_found("there is no such organization"))?;
            let connector = connectors::find(txn, &asked.connector)
                .map_err(|_| Problem::not_found("there is no such connector"))?;
            let connection = directory::connection_between(txn, organization.no, connector.id)?
                .ok_or_else(|| Problem::not_found("the organization is not connected to it"))?;
            let key = asked.idempotency_key.as_deref();
            if let Some(key) = key
                && let Some(seen) = runs::idempotent(txn, organization.no, key)?
            {
                if seen.fingerprint != fingerprint {
                    let message = "this key was used for another request";
                    return Err(Problem::invalid_at("/idempotencyKey", message));
                }
                let enqueued = Enqueued { run: seen.run, job: seen.job, joined: false };
                return view(txn, &enqueued, &entity, &asked);
            }
            let requests = requests(&inner, &connector, &entity, &asked)?;
            let default = &inner.deps.options.strategy_default;
            let request = queue::Request {
                strategy: setup::policy_words(&connector, &connection, default),
                connection,
                requests,
                trigger: Trigger::Manual,
                dry_run: asked.dry_run,
                requested_by: caller.name.to_string(),
                now,
            };
            let enqueued = queue::enqueue(txn, request)?;
            if let Some(key) = key {
                let seen = runs::Idempotent {
                    fingerprint: fingerprint.clone(),
                    run: enqueued.run,
                    job: enqueued.job,
                    at: now,
                };
                runs::put_idempotent(txn, organization.no, key, &seen)?;
            }
            view(txn, &enqueued, &entity, &asked)
        })
        .await?;
    api.deps.bell.notify_one();
    let location = format!("/api/v1/sync/status/{}", answer["syncId"].as_str().unwrap_or_default());
    let mut response = (StatusCode::ACCEPTED, Json(answer)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn fingerprint(entity: &str, bytes: &Bytes) -> String {
    let mut hash = Sha256::new();
    hash.update(entity);
    hash.update([0]);
    hash.update(bytes);
    hex::encode(hash.finalize())
}

fn view(
    read: &dyn Read,
    enqueued: &Enqueued,
    entity: &str,
    asked: &Asked,
) -> Result<Value, Problem> {
    let run = runs::get(read, enqueued.run)?;
    let status = run.as_ref().map(|run| run.status);
    let started_at = run.and_then(|run| run.started_at).map(clock::to_text);
    let mut view = json!({
        "syncId": enqueued.run,
        "jobId": enqueued.job,
        "status": status,
        "mode": asked.mode,
        "entity": entity,
        "joined": enqueued.joined,
    });
    if let (Some(started_at), Some(object)) = (started_at, view.as_object_mut()) {
        object.insert("startedAt".to_owned(), json!(started_at));
    }
    Ok(view)
}

/// What the body asks for, entity by entity, as far as the connector can do it.
fn requests(
    api: &Api,
    connector: &Connector,
    entity: &str,
    asked: &Asked,
) -> Result<Vec<EntityRequest>, Problem> {
    if connector.status != ConnectorStatus::Active {
        let detail = "the connector is not active: clear its errors or switch it on first";
        return Err(Problem::conflict("connector.not-active", detail));
    }
    let plugin = setup::connector_plugin(&api.deps, connector)
        .map_err(|failure| Problem::conflict(&failure.code, failure.message))?;
    let manifest = setup::connector_manifest(&plugin)
        .map_err(|failure| Problem::conflict(&failure.code, failure.message))?;
    let specs = specs(manifest, entity)?;
    let mode = asked.mode.as_str();
    for spec in &specs {
        let fetches = asked.mode != Mode::Ids || plugin.abilities.fetch;
        if !fetches || !spec.modes.iter().any(|known| known == mode) {
            let message =
                format!("{} can be synced in these modes: {}", spec.name, spec.modes.join(", "));
            return Err(Problem::invalid_at("/mode", message));
        }
    }
    let request = |spec: &&EntitySpec| EntityRequest {
        entity: spec.name.clone(),
        mode: asked.mode,
        ids: asked.ids.clone(),
        filters: asked.filters.clone(),
    };
    Ok(specs.iter().map(request).collect())
}

fn specs<'a>(
    manifest: &'a ConnectorManifest,
    entity: &str,
) -> Result<Vec<&'a EntitySpec>, Problem> {
    if entity == "all" {
        return Ok(in_order(&manifest.entities));
    }
    match manifest.entity(entity) {
        Some(spec) => Ok(vec![spec]),
        None => Err(Problem::not_found(format!("the connector has no entity {entity:?}"))),
    }
}

/// Entities that others refer to come first; a circle keeps the manifest's order.
fn in_order(entities: &[EntitySpec]) -> Vec<&EntitySpec> {
    let mut waiting: Vec<&EntitySpec> = entities.iter().collect();
    let mut ordered: Vec<&EntitySpec> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let waits = |spec: &EntitySpec, waiting: &[&EntitySpec]| {
            let waits_for = |entity: &str| waiting.iter().any(|other| other.name == entity);
            spec.references.iter().any(|r| r.entity != spec.name && waits_for(&r.entity))
        };
        let at = waiting.iter().position(|spec| !waits(spec, &waiting)).unwrap_or(0);
        ordered.push(waiting.remove(at));
    }
    ordered
}
