//! `/sync/failures/{id}/retry` and `/sync/retry`: has records of the quarantine read again.
//!
//! A retry asks for a run and closes nothing: the run does, where the record is well. Where the connector cannot fetch
//! single records, or a failure has no id, the entity is listed again whole.

use super::answer::Answer;
use super::audit::Act;
use super::body::{Members, object};
use super::problem::Problem;
use super::{Api, Caller, failures, schema, sync};
use crate::ask;
use crate::model::access::OrgKey;
use crate::model::directory::{Connection, Connector, Organization};
use crate::model::ids::ConnectionId;
use crate::model::job::Priority;
use crate::model::run::{EntityRequest, Trigger};
use crate::model::{Mode, OrgNo};
use crate::queue::{self, Enqueued};
use crate::retry;
use crate::store::failures::Failure;
use crate::store::{self, Read, Txn, directory};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// How many failures one request retries; the answer says whether there are more.
const FAILURES_MAX: usize = 10_000;

/// The failures of one connection that are retried together, by entity.
#[derive(Clone)]
struct Group {
    organization: Organization,
    connection: ConnectionId,
    entities: BTreeMap<String, Wanted>,
}

#[derive(Clone, Default)]
struct Wanted {
    ids: Vec<String>,
    count: usize,
    /// A row without an id is among them.
    nameless: bool,
}

impl Group {
    fn new(read: &dyn Read, failure: &Failure) -> Result<Option<Group>, store::Error> {
        let organization = directory::organization(read, &failure.organization)?;
        let (connection, entities) = (failure.connection, BTreeMap::new());
        Ok(organization.map(|organization| Group { organization, connection, entities }))
    }

    fn add(&mut self, failure: &Failure) {
        let wanted = self.entities.entry(failure.entity.clone()).or_default();
        wanted.count += 1;
        match failure.external_id.trim() {
            "" => wanted.nameless = true,
            id => wanted.ids.push(id.to_owned()),
        }
    }

    fn count(&self) -> usize {
        self.entities.values().map(|wanted| wanted.count).sum()
    }
}

/// What was asked for, and how it is done.
struct Asked {
    connection: Connection,
    requests: Vec<EntityRequest>,
    enqueued: Enqueued,
}

/// Asks for one run that reads the failures of a group again.
fn enqueue(
    api: &Api,
    txn: &Txn,
    group: &Group,
    (caller, priority): (&Caller, Priority),
) -> Result<Asked, Problem> {
    let gone = || Problem::conflict("connection.ended", "the connection has ended");
    let connection = directory::connection(txn, group.organization.no, group.connection)?
        .filter(|connection| connection.disconnected_at.is_none())
        .ok_or_else(gone)?;
    let connector = directory::connector(txn, connection.connector_id)?.ok_or_else(gone)?;
    let requests = requests(api, &connector, group)?;
    let request = queue::Request {
        strategy: ask::policy_words(&connector, &connection, &api.deps.options.strategy_default),
        connection: connection.clone(),
        requests: requests.clone(),
        trigger: Trigger::Retry,
        dry_run: false,
        requested_by: caller.name.to_string(),
        max_retries: retry::retries_max(&connector),
        now: api.now(),
    };
    sync::check_room(txn, &request, api.deps.options.queued_jobs_max)?;
    let enqueued = queue::enqueue_as(txn, request, priority)?;
    Ok(Asked { connection, requests, enqueued })
}

fn requests(
    api: &Api,
    connector: &Connector,
    group: &Group,
) -> Result<Vec<EntityRequest>, Problem> {
    ask::standing(connector).map_err(sync::refused)?;
    let plugin = ask::plugin(&api.deps.plugins, connector).map_err(sync::refused)?;
    let manifest = ask::manifest(&plugin).map_err(sync::refused)?;
    let mut requests = Vec::new();
    for (entity, wanted) in &group.entities {
        let modes = manifest.entity(entity).map(|spec| spec.modes.as_slice()).unwrap_or_default();
        let has = |mode: Mode| modes.iter().any(|known| known == mode.as_str());
        let by_ids = plugin.abilities.fetch && has(Mode::Ids) && !wanted.nameless;
        let (mode, ids) = match by_ids {
            true => (Mode::Ids, wanted.ids.clone()),
            false => (Mode::Full, Vec::new()),
        };
        if !has(mode) {
            let detail = format!("the connector can neither fetch nor list {entity} any more");
            return Err(Problem::conflict("entity.unknown", detail));
        }
        let mut ids = ids;
        ids.sort();
        ids.dedup();
        requests.push(EntityRequest { entity: entity.clone(), mode, ids, filters: None });
    }
    Ok(requests)
}

/// Has one record read again.
#[utoipa::path(
    post, path = "/sync/failures/{id}/retry", tag = "failures",
    responses(
        (status = 202, body = schema::SyncAccepted, headers(("Location", description = "The run"))),
        (status = 409, description = "`failure.resolved`, `connector.not-active`, `connector.error`, `connection.ended`, `plugin.missing`"),
        (status = 429, description = "`queue.full`"),
    )
)]
pub(super) async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Answer, Problem> {
    let inner = api.clone();
    let answer = api
        .commit(move |txn| {
            let failure = failures::find(txn, &id)?;
            if let Some(run) = failure.resolved_by {
                let detail = format!("{run} read the record well: there is nothing to retry");
                return Err(Problem::conflict("failure.resolved", detail));
            }
            let mut group = Group::new(txn, &failure)?.ok_or_else(|| failures::missing(&id))?;
            group.add(&failure);
            let asked = enqueue(&inner, txn, &group, (&caller, Priority::Manual))?;
            let mode = asked.requests.first().map_or(Mode::Full, |request| request.mode);
            let act = Act::new("retryFailure", failure.id).of(&group.organization);
            caller.log(txn, act.with(json!({ "syncId": asked.enqueued.run })))?;
            let run = asked.enqueued.run;
            let view = sync::accepted(txn, &asked.enqueued, &failure.entity, mode)?;
            Ok(Answer::accepted(view).at(format!("/api/v1/sync/status/{run}")))
        })
        .await?;
    api.deps.bell.notify_one();
    Ok(answer)
}

/// Which failures are meant; none of the members means all.
#[derive(Clone, Default)]
struct Filter {
    organization: Option<String>,
    connector: Option<String>,
    entity: Option<String>,
    stage: Option<String>,
    code: Option<String>,
}

impl Filter {
    fn keeps(&self, failure: &Failure) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        is(&self.connector, &failure.connector.to_string())
            && is(&self.entity, &failure.entity)
            && is(&self.stage, &failure.stage)
            && is(&self.code, &failure.code)
    }
}

/// The open failures of a filter, by connection, and whether there are more.
fn gather(
    read: &dyn Read,
    org: Option<OrgNo>,
    filter: &Filter,
) -> Result<(Vec<Group>, bool), Problem> {
    let mut found: Vec<Failure> = Vec::new();
    store::failures::scan_open(read, org, None, &mut |_, failure| {
        if filter.keeps(&failure) {
            found.push(failure);
        }
        if found.len() > FAILURES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let more = found.len() > FAILURES_MAX;
    found.truncate(FAILURES_MAX);
    let mut groups: BTreeMap<ConnectionId, Group> = BTreeMap::new();
    for failure in &found {
        if !groups.contains_key(&failure.connection)
            && let Some(group) = Group::new(read, failure)?
        {
            groups.insert(failure.connection, group);
        }
        if let Some(group) = groups.get_mut(&failure.connection) {
            group.add(failure);
        }
    }
    Ok((groups.into_values().collect(), more))
}

/// Has all records of a filter read again: one run for each connection.
#[utoipa::path(
    post, path = "/sync/retry", tag = "failures",
    request_body = schema::Retries,
    responses(
        (status = 202, body = schema::Retried),
        (status = 404, description = "`not-found`"),
    )
)]
pub(super) async fn many(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let given = members.object("filter").unwrap_or_default();
    members.finish()?;
    let mut inner = Members::at("/filter", given);
    let filter = Filter {
        organization: inner.text("organizationId"),
        connector: inner.text("connectorId"),
        entity: inner.text("entity"),
        stage: inner.text("stage"),
        code: inner.text("code"),
    };
    inner.finish()?;
    let (reach, known) = (caller.reach(), filter.clone());
    // A scan has no place on the thread that writes.
    let (groups, more) = api
        .read(move |read, _| {
            if let Some(id) = &known.connector {
                reach.connector(read, id)?;
            }
            gather(read, reach.narrow(read, known.organization.as_deref())?, &known)
        })
        .await?;
    let work = api.clone();
    let answer = api
        .commit(move |txn| {
            let (mut jobs, mut skipped, mut retried) = (Vec::new(), Vec::new(), 0);
            for group in &groups {
                match enqueue(&work, txn, group, (&caller, Priority::Backfill)) {
                    Ok(asked) => {
                        retried += group.count();
                        jobs.push(job(group, &asked));
                    }
                    Err(problem) if problem.status().is_server_error() => return Err(problem),
                    Err(problem) => skipped.push(json!({
                        "organizationId": group.organization.id,
                        "connectionId": group.connection,
                        "failures": group.count(),
                        "code": problem.code(),
                        "message": problem.detail(),
                    })),
                }
            }
            let whole = |row: &Organization| OrgKey { id: row.id.clone(), no: row.no };
            let one = match (&filter.organization, groups.first()) {
                (Some(_), Some(group)) => Some(whole(&group.organization)),
                _ => caller.grant.organization.clone(),
            };
            let act = Act::new("retryFailures", "").of_key(one);
            caller.log(txn, act.with(json!({ "retried": retried, "runs": jobs.len() })))?;
            Ok(Answer::accepted(json!({
                "retried": retried, "jobs": jobs, "skipped": skipped, "more": more,
            })))
        })
        .await?;
    api.deps.bell.notify_one();
    Ok(answer)
}

fn job(group: &Group, asked: &Asked) -> Value {
    let entities = asked.requests.iter().map(|request| {
        let count = group.entities.get(&request.entity).map_or(0, |wanted| wanted.count);
        json!({ "entity": request.entity, "mode": request.mode, "failures": count })
    });
    json!({
        "syncId": asked.enqueued.run,
        "jobId": asked.enqueued.job,
        "joined": asked.enqueued.joined,
        "organizationId": group.organization.id,
        "connectorId": asked.connection.connector_id,
        "connectionId": group.connection,
        "failures": group.count(),
        "entities": entities.collect::<Vec<_>>(),
    })
}
