//! `/sync/schedules`: when connections are synced by themselves.

use super::access::Reach;
use super::answer::Answer;
use super::audit::Act;
use super::etag::{IfMatch, live};
use super::paging::{Gathered, Parameters, Query};
use super::problem::Problem;
use super::schedule_body::{self as body, Wanted};
use super::schedule_view::row;
use super::schema;
use super::{Api, Caller, connectors};
use crate::ask::{self, Refusal, Wish};
use crate::clock;
use crate::model::access::OrgKey;
use crate::model::directory::Connector;
use crate::model::ids::ScheduleId;
use crate::model::schedule::{Overlap, Schedule};
use crate::model::{Mode, OrgNo};
use crate::store::{self, Read, Txn, directory, schedules};
use crate::trigger::{Options, drift};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

/// Schedules of one installation: every look goes through all of them.
const SCHEDULES_MAX: u64 = 5_000;

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no schedule {id:?}"))
}

/// The schedule, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<Schedule, Problem> {
    let number: ScheduleId = id.parse().map_err(|_| missing(id))?;
    schedules::get(read, number)?.ok_or_else(|| missing(id))
}

/// Whether a caller sees a schedule: its organization's, and those for all that are for it too.
pub(super) fn seen(read: &dyn Read, reach: Reach, schedule: &Schedule) -> Result<bool, Problem> {
    match reach {
        Reach::All => Ok(true),
        Reach::One(own) => Ok(concerns(read, schedule, own)?),
    }
}

fn concerns(read: &dyn Read, schedule: &Schedule, org: OrgNo) -> Result<bool, store::Error> {
    match &schedule.organization {
        Some(own) => Ok(own.no == org),
        None => Ok(directory::connection_between(read, org, schedule.connector)?.is_some()),
    }
}

/// 403 unless the caller manages the schedule: one for many organizations is the platform's.
pub(super) fn managed(reach: Reach, schedule: &Schedule) -> Result<(), Problem> {
    let own = |own: OrgNo| schedule.organization.as_ref().is_some_and(|org| org.no == own);
    match reach {
        Reach::All => Ok(()),
        Reach::One(org) if own(org) => Ok(()),
        Reach::One(_) => {
            let detail = "this schedule is for all organizations of its connector and takes a platformAdmin; make one \
                          for your own";
            Err(Problem::new(403, "forbidden", detail))
        }
    }
}

/// Schedules in the order of their creation, also those that connectors have by themselves.
#[utoipa::path(
    get, path = "/sync/schedules", tag = "schedules",
    params(schema::ScheduleFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Schedule>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["organization", "connector"])?;
    let (mut found, after) = (Gathered::new(query.limit()?), query.cursor::<ScheduleId>()?);
    let (organization, connector) =
        (query.get("organization").map(str::to_owned), query.get("connector").map(str::to_owned));
    let now = api.now();
    api.read(move |read, _| {
        let reach = caller.reach();
        let org = reach.narrow(read, organization.as_deref())?;
        let connector = connector.map(|id| reach.connector(read, &id)).transpose()?;
        schedules::scan(read, after, &mut |schedule| {
            let wanted = org.map_or(Ok(true), |org| concerns(read, &schedule, org))?;
            let of = connector.as_ref().is_none_or(|found| found.id == schedule.connector);
            Ok(found.offer(schedule.id, schedule, wanted && of))
        })?;
        query.page(found, |schedule| row(read, reach, &schedule, now))
    })
    .await
}

/// One schedule, with how it kept up over the last seven days.
#[utoipa::path(
    get, path = "/sync/schedules/{id}", tag = "schedules",
    responses((status = 200, body = schema::Schedule))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let now = api.now();
    api.read(move |read, _| {
        let (found, reach) = (find(read, &id)?, caller.reach());
        let mut row = row(read, reach, &found, now)?;
        let org = match reach {
            Reach::All => None,
            Reach::One(own) => Some(own),
        };
        let drift = drift(read, found.id, org, now)?;
        row["drift"] = json!({
            "since": clock::to_text(drift.since),
            "expected": drift.expected,
            "fired": drift.fired,
            "caughtUp": drift.caught_up,
            "overlapped": drift.overlapped,
            "skipped": drift.skipped,
            "missed": drift.missed,
            "queueWaitMsMax": drift.queue_wait_millis_max,
            "runMsMax": drift.run_millis_max,
        });
        Ok(live(found.version, row))
    })
    .await
}

/// Creates a schedule: for one organization, or without one for all connections of a connector.
#[utoipa::path(
    post, path = "/sync/schedules", tag = "schedules",
    request_body = schema::NewSchedule,
    responses(
        (status = 201, body = schema::Schedule),
        (status = 409, description = "`schedule.too-many`, `plugin.missing`"),
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let wanted = body::read(&bytes, true)?;
    let (inner, now) = (api.clone(), api.now());
    let answer = api
        .commit(move |txn| {
            if schedules::count(txn)? >= SCHEDULES_MAX {
                let detail = format!("there are {SCHEDULES_MAX} schedules already: delete one");
                return Err(Problem::conflict("schedule.too-many", detail));
            }
            let reach = caller.reach();
            let (organization, connector) = parties(txn, reach, &wanted)?;
            let mut schedule = blank(&connector, organization, inner.scheduler.options(), now);
            body::apply(&mut schedule, wanted.clone(), inner.scheduler.options(), now)?;
            check(&inner, &connector, &schedule)?;
            schedule.id = schedules::next_id(txn)?;
            schedules::put(txn, &schedule)?;
            let row = row(txn, reach, &schedule, now)?;
            let act = Act::new("createSchedule", schedule.id).of_key(schedule.organization.clone());
            caller.log(txn, act.with(row.clone()))?;
            Ok(Answer::created(schedule.version, row))
        })
        .await?;
    api.scheduler.ring();
    Ok(answer)
}

/// Whose a new schedule is, and of which connector.
fn parties(
    read: &dyn Read,
    reach: Reach,
    wanted: &Wanted,
) -> Result<(Option<OrgKey>, Connector), Problem> {
    let named = wanted.connector.as_deref().unwrap_or_default();
    let unknown =
        |_| Problem::invalid_at("/connectorId", format!("there is no connector {named:?}"));
    let Some(id) = wanted.organization.as_ref().and_then(Option::as_deref) else {
        return match reach {
            Reach::All => Ok((None, connectors::find(read, named).map_err(unknown)?)),
            Reach::One(_) => {
                let message = "is missing: a schedule for all organizations takes a platformAdmin";
                Err(Problem::invalid_at("/organizationId", message))
            }
        };
    };
    let organization = reach.organization(read, id).map_err(|_| {
        Problem::invalid_at("/organizationId", format!("there is no organization {id:?}"))
    })?;
    let connector = reach.connector(read, named).map_err(unknown)?;
    if directory::connection_between(read, organization.no, connector.id)?.is_none() {
        let message = format!("is not connected to {}: connect the two first", connector.id);
        return Err(Problem::invalid_at("/organizationId", message));
    }
    Ok((Some(OrgKey { id: organization.id, no: organization.no }), connector))
}

fn blank(
    connector: &Connector,
    organization: Option<OrgKey>,
    options: &Options,
    now: i64,
) -> Schedule {
    Schedule {
        id: ScheduleId::default(),
        name: connector.name.clone(),
        organization,
        connector: connector.id,
        entity: ask::ALL.to_owned(),
        mode: Mode::Full,
        cron: String::new(),
        timezone: None,
        overlap: Overlap::Skip,
        catch_up_millis: options.catch_up_millis,
        jitter_millis: options.jitter_millis,
        enabled: true,
        generated: false,
        paused: None,
        armed_at: now,
        created_at: now,
        updated_at: now,
        version: 1,
    }
}

/// Whether the connector can do what the schedule asks for.
fn check(api: &Api, connector: &Connector, schedule: &Schedule) -> Result<(), Problem> {
    let wish = Wish { entity: &schedule.entity, mode: schedule.mode, ids: &[], filters: None };
    let refused = |refusal: Refusal| match refusal {
        Refusal::UnknownEntity(_) => {
            Problem::invalid_at("/entity", format!("{refusal}; `all` stands for all that it has"))
        }
        Refusal::Mode { .. } => Problem::invalid_at("/mode", refusal.to_string()),
        other => Problem::conflict(other.code(), other.to_string()),
    };
    ask::requests(&api.deps.plugins, connector, wish).map(drop).map_err(refused)
}

/// Changes a schedule. What the body leaves out stays as it is, and null goes back to the default.
#[utoipa::path(
    put, path = "/sync/schedules/{id}", tag = "schedules",
    request_body = schema::ScheduleChange,
    responses(
        (status = 200, body = schema::Schedule),
        (status = 409, description = "`plugin.missing`"),
    )
)]
pub(super) async fn replace(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let (known, reach) = (id.clone(), caller.reach());
    api.read(move |read, _| managed(reach, &find(read, &known)?)).await?;
    let if_match = IfMatch::required(&headers)?;
    let wanted = body::read(&bytes, false)?;
    let inner = api.clone();
    let change = move |txn: &Txn, schedule: &mut Schedule, now: i64| {
        fixed(&wanted, schedule)?;
        let before = schedule.clone();
        body::apply(schedule, wanted.clone(), inner.scheduler.options(), now)?;
        if (&before.entity, before.mode) != (&schedule.entity, schedule.mode) {
            let connector = connectors::find(txn, &schedule.connector.to_string())?;
            check(&inner, &connector, schedule)?;
        }
        Ok(())
    };
    changed(api, id, (caller, "updateSchedule"), Some(if_match), change).await
}

/// Whose a schedule is does not change.
fn fixed(wanted: &Wanted, schedule: &Schedule) -> Result<(), Problem> {
    let message = "cannot be changed: create another schedule";
    let other = |named: &String| *named != schedule.connector.to_string();
    if wanted.connector.as_ref().is_some_and(other) {
        return Err(Problem::invalid_at("/connectorId", message));
    }
    let own = schedule.organization.as_ref().map(|own| own.id.as_str());
    if wanted.organization.as_ref().is_some_and(|named| named.as_deref() != own) {
        return Err(Problem::invalid_at("/organizationId", message));
    }
    Ok(())
}

/// A change of a schedule with its audit entry.
pub(super) async fn changed(
    api: Api,
    id: String,
    (caller, action): (Caller, &'static str),
    if_match: Option<IfMatch>,
    change: impl Fn(&Txn, &mut Schedule, i64) -> Result<(), Problem> + Send + 'static,
) -> Result<Answer, Problem> {
    let now = api.now();
    let answer = api
        .commit(move |txn| {
            let mut schedule = find(txn, &id)?;
            let reach = caller.reach();
            managed(reach, &schedule)?;
            if let Some(if_match) = if_match {
                if_match.check(schedule.version)?;
            }
            let before = row(txn, reach, &schedule, now)?;
            change(txn, &mut schedule, now)?;
            schedule.version += 1;
            schedule.updated_at = now;
            schedules::put(txn, &schedule)?;
            let after = row(txn, reach, &schedule, now)?;
            let act = Act::new(action, schedule.id).of_key(schedule.organization.clone());
            caller.log(txn, act.changed(&before, &after))?;
            Ok(Answer::ok(after).tagged(schedule.version))
        })
        .await?;
    api.scheduler.ring();
    Ok(answer)
}

/// Deletes a schedule with the list of its fires; its runs stay in the history.
#[utoipa::path(
    delete, path = "/sync/schedules/{id}", tag = "schedules",
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "`schedule.generated`"),
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (known, reach) = (id.clone(), caller.reach());
    api.read(move |read, _| managed(reach, &find(read, &known)?)).await?;
    let (if_match, now) = (IfMatch::required(&headers)?, api.now());
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let schedule = find(txn, &id)?;
            if_match.check(schedule.version)?;
            if schedule.generated {
                let detail = format!(
                    "the schedule belongs to its connector: PATCH /connectors/{} with `syncConfig.enabled` false, or \
                     pause the schedule",
                    schedule.connector
                );
                return Err(Problem::conflict("schedule.generated", detail));
            }
            let act = Act::new("deleteSchedule", schedule.id).of_key(schedule.organization.clone());
            caller.log(txn, act.removed(row(txn, caller.reach(), &schedule, now)?))?;
            Ok(schedules::delete(txn, &schedule)?)
        })
        .await?;
    api.scheduler.ring();
    Ok(StatusCode::NO_CONTENT.into_response())
}
