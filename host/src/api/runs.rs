//! `/sync/status`: runs, and what a person can do with one.

use super::access::Reach;
use super::answer::Answer;
use super::audit::Act;
use super::body::{Members, object};
use super::paging::{Gathered, Parameters, Query};
use super::problem::Problem;
use super::records::by;
use super::schema;
use super::{Api, Caller, organizations};
use crate::clock;
use crate::commit;
use crate::model::run::Run;
use crate::model::{OrgNo, RunId, RunStatus, Trigger};
use crate::queue::{self, Cancelled};
use crate::store::run_index::Facets;
use crate::store::{Read, Snapshot, directory, runs};
use crate::worker::progress::View;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};
use std::ops::ControlFlow;

pub(super) fn row(run: &Run, progress: Option<View>) -> Value {
    let text = |at: Option<i64>| at.map(clock::to_text);
    let entity = match run.requests.as_slice() {
        [first, more @ ..] if more.iter().all(|other| other.entity == first.entity) => {
            first.entity.clone()
        }
        _ => "all".to_owned(),
    };
    let mode = run.requests.iter().map(|request| request.mode).max();
    let counts = match &progress {
        Some(view) if run.status == RunStatus::Running => view.counts,
        _ => run.counts,
    };
    let waited = progress.as_ref().map_or(run.waited_millis, |view| view.waited_millis);
    let shown = progress.map(|view| {
        json!({
            "phase": view.phase,
            "page": view.page,
            "fetched": view.counts.fetched,
            "total": view.total,
            "waiting": view.waiting,
        })
    });
    json!({
        "syncId": run.id,
        "organizationId": run.organization,
        "connectorId": run.connector,
        "connectionId": run.connection,
        "entity": entity,
        "mode": mode,
        "trigger": run.trigger,
        "strategy": run.strategy,
        "strategies": run.strategies,
        "dryRun": run.dry_run,
        "status": run.status,
        "counts": counts,
        "errors": run.errors,
        "errorsMore": run.errors_more,
        "createdAt": clock::to_text(run.created_at),
        "startedAt": text(run.started_at),
        "completedAt": text(run.completed_at),
        "attempt": run.attempt,
        "nextRetryAt": text(run.next_retry_at),
        "retryCount": run.retry_count,
        "maxRetries": run.max_retries,
        "supersededBy": run.superseded_by,
        "jobId": run.job,
        "waitedMs": waited,
        "plugin": run.plugin,
        "template": run.template,
        "progress": shown,
        "planHash": run.plan_hash,
        "heldReason": run.held_reason,
        "listingComplete": run.listing_complete,
        "phases": run.phases,
        "requestedBy": run.requested_by,
        "undoneBy": run.undone_by,
        "undoneAt": text(run.undone_at),
        "detailsGoneAt": text(run.details_gone_at),
    })
}

/// 410 where what a run left beside its conflict lines is kept no longer.
pub(super) fn with_details(run: &Run) -> Result<(), Problem> {
    match run.details_gone_at {
        None => Ok(()),
        Some(at) => {
            let detail = format!(
                "requests, log and outcomes of {} went on {}: `retention.runDetailsDays`",
                run.id,
                clock::to_text(at)
            );
            Err(Problem::new(410, "run.details-gone", detail))
        }
    }
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no run {id:?}"))
}

/// The run, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<Run, Problem> {
    let number: RunId = id.parse().map_err(|_| missing(id))?;
    runs::get(read, number)?.ok_or_else(|| missing(id))
}

pub(super) const FILTERS: [&str; 5] = ["organization", "connector", "trigger", "status", "since"];

const TRIGGERS: [Trigger; 4] =
    [Trigger::Manual, Trigger::Webhook, Trigger::Scheduled, Trigger::Retry];

/// One status, or several with commas between them.
fn statuses(text: &str) -> Result<Vec<RunStatus>, Problem> {
    let status = |word: &str| {
        serde_json::from_value(Value::String(word.to_owned()))
            .map_err(|_| Problem::invalid_at("?status", format!("{word:?} is no status of a run")))
    };
    text.split(',').map(status).collect()
}

/// The runs that a list's filters ask for, newest first.
pub(super) struct Filter {
    facets: Facets,
    since: Option<i64>,
}

impl Filter {
    pub(super) fn new(read: &dyn Read, reach: Reach, query: &Query) -> Result<Filter, Problem> {
        let org = reach.narrow(read, query.get("organization"))?;
        let connector = match query.get("connector") {
            Some(id) => Some(reach.connector(read, id)?.id),
            None => None,
        };
        let trigger = query.word("trigger", &TRIGGERS.map(Trigger::as_str))?;
        let trigger = TRIGGERS.into_iter().find(|known| Some(known.as_str()) == trigger);
        let statuses = query.get("status").map(statuses).transpose()?.unwrap_or_default();
        let since = query.parsed::<jiff::Timestamp>("since", "an RFC 3339 instant")?;
        let facets = Facets { org, connector, trigger, statuses };
        Ok(Filter { facets, since: since.map(clock::to_millis) })
    }

    /// Visits the wanted runs below `before`, each by index; without a run where it was looked for in vain.
    pub(super) fn scan(
        &self,
        read: &Snapshot,
        before: Option<RunId>,
        visit: &mut dyn FnMut(RunId, Option<Run>) -> ControlFlow<()>,
    ) -> Result<(), Problem> {
        Ok(runs::scan_newest(read, &self.facets, before, &mut |id, run| {
            // Numbers are given away in the order of time.
            let is_early = |run: &Run| self.since.is_some_and(|since| run.created_at < since);
            if run.as_ref().is_some_and(is_early) {
                return ControlFlow::Break(());
            }
            visit(id, run)
        })?)
    }
}

/// Runs, newest first.
#[utoipa::path(
    get, path = "/sync/status", tag = "runs",
    params(schema::RunFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Run>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &FILTERS)?;
    let (mut found, before) = (Gathered::new(query.limit()?), query.cursor::<RunId>()?);
    let board = api.deps.board.clone();
    api.read(move |read, _| {
        let filter = Filter::new(read, caller.reach(), &query)?;
        filter.scan(read, before, &mut |id, run| {
            let wanted = run.is_some();
            found.offer(id, run, wanted)
        })?;
        query.page(found, |run: Option<Run>| {
            Ok(run.map_or(Value::Null, |run| row(&run, board.view(run.id))))
        })
    })
    .await
}

/// One run.
#[utoipa::path(
    get, path = "/sync/status/{id}", tag = "runs",
    responses((status = 200, body = schema::Run))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    // First the board, then the row: a run that ends in between shows as ended.
    let view = id.parse().ok().and_then(|id| api.deps.board.view(id));
    let run = api.read(move |read, _| find(read, &id)).await?;
    Ok(Json(row(&run, view)))
}

/// Cancels a run that waits, runs or is held.
#[utoipa::path(
    post, path = "/sync/status/{id}/cancel", tag = "runs",
    responses((status = 202, body = schema::Run), (status = 409, description = "`run.over`"))
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Answer, Problem> {
    let now = api.now();
    let known = id.clone();
    let answer = api
        .commit(move |txn| {
            let run = find(txn, &id)?;
            let organization = organizations::find_owner(txn, &run.organization, run.connection)?;
            let act = Act::new("cancelRun", run.id).of(&organization);
            if run.status == RunStatus::Held {
                let ended =
                    Run { status: RunStatus::Cancelled, completed_at: Some(now), ..run.clone() };
                runs::put(txn, organization.no, &ended)?;
                runs::delete_plan(txn, run.id)?;
                runs::delete_shown(txn, run.id)?;
                caller.log(txn, act)?;
                return Ok(Answer::accepted(row(&ended, None)));
            }
            match queue::cancel(txn, run.id, now)? {
                Cancelled::TooLate => {
                    let detail = format!("the run is {} already", run.status);
                    Err(Problem::conflict("run.over", detail))
                }
                Cancelled::Now | Cancelled::Asked => {
                    caller.log(txn, act)?;
                    Ok(Answer::accepted(row(&find(txn, &id)?, None)))
                }
            }
        })
        .await?;
    if let Ok(run) = known.parse() {
        api.pool.cancel(run);
    }
    Ok(answer)
}

/// Lets a held run apply the plan of this hash.
#[utoipa::path(
    post, path = "/sync/status/{id}/approve", tag = "runs",
    request_body = schema::PlanApproval,
    responses(
        (status = 202, body = schema::Run),
        (status = 409, description = "`run.not-held`, `plan.other-hash`, `plan.stale`"),
    )
)]
pub(super) async fn approve(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let plan_hash = members.required("planHash");
    members.finish()?;
    let now = api.now();
    let answer = api
        .commit(move |txn| {
            let mut run = find(txn, &id)?;
            if run.status != RunStatus::Held {
                let detail = format!("the run is {}, not held", run.status);
                return Err(Problem::conflict("run.not-held", detail));
            }
            if run.plan_hash.as_deref() != Some(plan_hash.as_str()) {
                let detail = "the hash is not that of the plan: look at the run again";
                return Err(Problem::conflict("plan.other-hash", detail));
            }
            let organization = organizations::find_owner(txn, &run.organization, run.connection)?;
            if let Some(newer) = newer_run(txn, organization.no, &run)? {
                let detail = format!("{newer} changed the records since: sync again");
                return Err(Problem::conflict("plan.stale", detail));
            }
            let connection = directory::connection(txn, organization.no, run.connection)?
                .ok_or_else(|| Problem::not_found("the connection is gone"))?;
            let who = caller.name.to_string();
            let job = queue::enqueue_apply(txn, &connection, &run, (plan_hash.clone(), who), now)?;
            run.job = Some(job);
            run.status = RunStatus::Queued;
            run.completed_at = None;
            runs::put(txn, organization.no, &run)?;
            // From here on it tells what it did, which may be other than the plan: records may have moved.
            runs::delete_shown(txn, run.id)?;
            let act = Act::new("approveRun", run.id).of(&organization);
            caller.log(txn, act.with(json!({ "planHash": plan_hash })))?;
            Ok(Answer::accepted(row(&run, None)))
        })
        .await?;
    api.deps.bell.notify_one();
    Ok(answer)
}

/// A later run of the same connection that changed records.
fn newer_run(read: &dyn Read, org: OrgNo, held: &Run) -> Result<Option<RunId>, Problem> {
    let mut newer = None;
    let facets = Facets { connector: Some(held.connector), ..Facets::of_organization(org) };
    runs::scan_newest(read, &facets, None, &mut |id, run| {
        let of_same = |run: &Run| run.connection == held.connection && run.took_effect();
        if id > held.id && run.as_ref().is_some_and(of_same) {
            newer = Some(id);
        }
        if id <= held.id { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(newer)
}

/// Puts back what a run changed, except what was edited since.
#[utoipa::path(
    post, path = "/sync/status/{id}/undo", tag = "runs",
    responses(
        (status = 200, body = schema::Undone),
        (status = 410, description = "`run.details-gone`"),
    )
)]
pub(super) async fn undo(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Answer, Problem> {
    let (store, now) = (api.deps.store.clone(), api.now());
    api.commit_bulk(move |txn| {
        let run = find(txn, &id)?;
        let organization = organizations::find_owner(txn, &run.organization, run.connection)?;
        let report = commit::undo(txn, &store, organization.no, run.id, (now, by(&caller)))?;
        let act = Act::new("undoRun", run.id).of(&organization);
        caller.log(txn, act.with(json!({ "reverted": report.reverted })))?;
        let run = find(txn, &id)?;
        let skipped = report.skipped.iter().map(|(record, field, reason)| {
            json!({ "recordId": record, "field": field, "reason": reason })
        });
        Ok(Answer::ok(json!({
            "syncId": run.id,
            "status": run.status,
            "undoneBy": run.undone_by,
            "undoneAt": run.undone_at.map(clock::to_text),
            "reverted": report.reverted,
            "skipped": skipped.collect::<Vec<_>>(),
        })))
    })
    .await
}
