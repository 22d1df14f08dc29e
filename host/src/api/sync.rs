//! `POST /sync/{entity}`: asks for a run. The run itself is the worker's.

use super::answer::Answer;
use super::audit::Act;
use super::body::{Members, object};
use super::idempotency::{Earlier, KEY_BYTES_MAX, digest, fingerprint, reserve};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller, connectors};
use crate::ask::{self, Refusal};
use crate::clock;
use crate::model::Mode;
use crate::model::directory::Connector;
use crate::model::run::{EntityRequest, Trigger};
use crate::queue::{self, Enqueued};
use crate::retry;
use crate::store::{Read, directory, idempotency as kept, runs};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

const IDS_MAX: usize = 10_000;
const ID_BYTES_MAX: usize = 512;
/// When a full queue is worth another try.
const FULL_MILLIS: i64 = 60_000;

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
    let long = |key: &String| key.is_empty() || key.len() > KEY_BYTES_MAX;
    if idempotency_key.as_ref().is_some_and(long) {
        members.fault("idempotencyKey", format!("1 to {KEY_BYTES_MAX} bytes"));
    }
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

/// Asks for a run of one entity, or of `all`.
#[utoipa::path(
    post, path = "/sync/{entity}", tag = "sync",
    request_body = schema::SyncRequest,
    responses(
        (status = 202, body = schema::SyncAccepted, headers(("Location", description = "The run"))),
        (status = 409, description = "`connector.not-active`, `plugin.missing`"),
        (status = 429, description = "`queue.full`"),
    )
)]
pub(super) async fn start(
    State(api): State<Api>,
    Path(entity): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let asked = asked(&bytes)?;
    let parts: [&[u8]; 2] = [entity.as_bytes(), &bytes];
    let key = asked.idempotency_key.as_deref();
    let fingerprint = key.map(|key| fingerprint(key, &parts)).transpose()?.unwrap_or_default();
    let (inner, now) = (api.clone(), api.now());
    let answer = api
        .commit(move |txn| {
            let missing = |what: &str| Problem::not_found(format!("there is no such {what}"));
            let reach = caller.reach();
            let organization = reach
                .organization(txn, &asked.organization)
                .map_err(|_| missing("organization"))?;
            let connector =
                connectors::find(txn, &asked.connector).map_err(|_| missing("connector"))?;
            let connection = directory::connection_between(txn, organization.no, connector.id)?
                .ok_or_else(|| Problem::not_found("the organization is not connected to it"))?;
            // The key in the body is shared by all callers of the organization.
            let scope = organization.no.to_string();
            let key = asked.idempotency_key.as_deref().map(|key| digest(&scope, key));
            if let Some(key) = &key {
                let since = now - inner.limits.idempotency_millis;
                match Earlier::find(txn, key, &fingerprint, since)? {
                    Earlier::Answered(answer) => return Ok(answer),
                    Earlier::None => reserve(&inner, txn, key, &fingerprint, now)?,
                    Earlier::InFlight | Earlier::OtherRequest => {
                        let message = "this key was used for another request";
                        return Err(Problem::invalid_at("/idempotencyKey", message));
                    }
                }
            }
            let requests = requests(&inner, &connector, &entity, &asked)?;
            let default = &inner.deps.options.strategy_default;
            let request = queue::Request {
                strategy: ask::policy_words(&connector, &connection, default),
                connection,
                requests,
                trigger: Trigger::Manual,
                dry_run: asked.dry_run,
                requested_by: caller.name.to_string(),
                max_retries: retry::retries_max(&connector),
                now,
            };
            check_room(txn, &request, inner.deps.options.queued_jobs_max)?;
            let enqueued = queue::enqueue(txn, request)?;
            let answer = Answer::accepted(accepted(txn, &enqueued, &entity, asked.mode)?)
                .at(format!("/api/v1/sync/status/{}", enqueued.run));
            if let Some(key) = &key {
                kept::answer(txn, key, answer.kept())?;
            }
            let act = Act::new("startSync", enqueued.run).of(&organization);
            let mode = asked.mode.as_str();
            let what = json!({ "entity": entity, "mode": mode, "dryRun": asked.dry_run });
            caller.log(txn, act.with(what))?;
            Ok(answer)
        })
        .await?;
    api.deps.bell.notify_one();
    Ok(answer)
}

/// 429 where the organization's queue is full.
pub(super) fn check_room(
    read: &dyn Read,
    request: &queue::Request,
    jobs_max: usize,
) -> Result<(), Problem> {
    if queue::has_room(read, request, jobs_max)? {
        return Ok(());
    }
    let detail = format!("{jobs_max} jobs of this organization are in the queue already");
    Err(Problem::wait("queue.full", FULL_MILLIS, &detail))
}

/// What somebody is told who asked for a run.
pub(super) fn accepted(
    read: &dyn Read,
    enqueued: &Enqueued,
    entity: &str,
    mode: Mode,
) -> Result<Value, Problem> {
    let run = runs::get(read, enqueued.run)?;
    let status = run.as_ref().map(|run| run.status);
    let started_at = run.and_then(|run| run.started_at).map(clock::to_text);
    let mut view = json!({
        "syncId": enqueued.run,
        "jobId": enqueued.job,
        "status": status,
        "mode": mode,
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
    ask::standing(connector).map_err(refused)?;
    let (mode, ids, filters) = (asked.mode, asked.ids.as_slice(), asked.filters.as_ref());
    let wish = ask::Wish { entity, mode, ids, filters };
    ask::requests(&api.deps.plugins, connector, wish).map_err(refused)
}

/// A refusal as an answer.
pub(super) fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::UnknownEntity(_) => Problem::not_found(refusal.to_string()),
        Refusal::Mode { .. } => Problem::invalid_at("/mode", refusal.to_string()),
        Refusal::NotActive
        | Refusal::Disabled
        | Refusal::PluginMissing(_)
        | Refusal::NotAConnector(_) => Problem::conflict(refusal.code(), refusal.to_string()),
    }
}
