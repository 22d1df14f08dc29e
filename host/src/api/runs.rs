//! `/sync/status`: runs, and what a person can do with one.

use super::body::{Members, object};
use super::paging::{Query, page};
use super::problem::Problem;
use super::records::by;
use super::{Api, Caller, connectors, organizations};
use crate::clock;
use crate::commit;
use crate::model::run::Run;
use crate::model::{OrgNo, RunId, RunStatus};
use crate::queue::{self, Cancelled};
use crate::store::{Read, Snapshot, directory, runs};
use crate::worker::progress::View;
use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ops::ControlFlow;

pub(super) fn row(run: &Run, progress: Option<View>) -> Value {
    let text = |at: Option<i64>| at.map(clock::to_text);
    let entity = match run.requests.as_slice() {
        [one] => one.entity.clone(),
        _ => "all".to_owned(),
    };
    let mode = run.requests.iter().map(|request| request.mode).max();
    let counts = match &progress {
        Some(view) if run.status == RunStatus::Running => view.counts,
        _ => run.counts,
    };
    let shown = progress.map(|view| {
        json!({
            "phase": view.phase,
            "page": view.page,
            "fetched": view.counts.fetched,
            "total": view.total,
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
        "plugin": run.plugin,
        "progress": shown,
        "planHash": run.plan_hash,
        "heldReason": run.held_reason,
        "listingComplete": run.listing_complete,
        "phases": run.phases,
        "requestedBy": run.requested_by,
        "undoneBy": run.undone_by,
        "undoneAt": text(run.undone_at),
    })
}

/// The run, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<Run, Problem> {
    let missing = || Problem::not_found(format!("there is no run {id:?}"));
    let id: RunId = id.parse().map_err(|_| missing())?;
    runs::get(read, id)?.ok_or_else(missing)
}

pub(super) const FILTERS: [&str; 5] = ["organization", "connector", "trigger", "status", "since"];

/// The runs that a list's filters ask for, newest first.
pub(super) struct Filter {
    org: Option<OrgNo>,
    connector: Option<crate::model::ConnectorId>,
    trigger: Option<String>,
    status: Option<Vec<String>>,
    since: Option<i64>,
}

impl Filter {
    pub(super) fn new(read: &dyn Read, query: &Query) -> Result<Filter, Problem> {
        let org = match query.get("organization") {
            Some(id) => Some(organizations::find(read, id)?.no),
            None => None,
        };
        let connector = match query.get("connector") {
            Some(id) => Some(connectors::find(read, id)?.id),
            None => None,
        };
        let since = query.parsed::<jiff::Timestamp>("since", "an RFC 3339 instant")?;
        Ok(Filter {
            org,
            connector,
            trigger: query.get("trigger").map(str::to_owned),
            status: query.get("status").map(|text| text.split(',').map(str::to_owned).collect()),
            since: since.map(clock::to_millis),
        })
    }

    fn keeps(&self, run: &Run) -> bool {
        self.connector.is_none_or(|connector| run.connector == connector)
            && self.trigger.as_ref().is_none_or(|trigger| run.trigger.as_str() == trigger)
            && self.since.is_none_or(|since| run.created_at >= since)
            && self
                .status
                .as_ref()
                .is_none_or(|wanted| wanted.iter().any(|status| status == run.status.as_str()))
    }

    /// At most `limit` runs below `before`, and whether there are more.
    pub(super) fn runs(
        &self,
        read: &Snapshot,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<(Vec<Run>, bool), Problem> {
        let (mut found, mut more) = (Vec::new(), false);
        runs::scan_newest(read, self.org, before, &mut |run| {
            if self.since.is_some_and(|since| run.created_at < since) {
                return ControlFlow::Break(());
            }
            if self.keeps(&run) {
                if found.len() == limit {
                    more = true;
                    return ControlFlow::Break(());
                }
                found.push(run);
            }
            ControlFlow::Continue(())
        })?;
        Ok((found, more))
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &FILTERS)?;
    let (limit, before) = (query.limit()?, query.cursor::<RunId>()?);
    let board = api.deps.board.clone();
    api.read(move |read, _| {
        let (found, more) = Filter::new(read, &query)?.runs(read, before, limit)?;
        let next = found.last().filter(|_| more).map(|run| run.id.to_string());
        Ok(page(found.iter().map(|run| row(run, board.view(run.id))).collect(), next))
    })
    .await
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    // First the board, then the row: a run that ends in between shows as ended.
    let view = id.parse().ok().and_then(|id| api.deps.board.view(id));
    let run = api.read(move |read, _| find(read, &id)).await?;
    Ok(Json(row(&run, view)))
}

pub(super) async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let now = api.now();
    let (run, outcome) = api
        .deps
        .store
        .write(move |txn| -> Result<_, Problem> {
            let run = find(txn, &id)?;
            if run.status == RunStatus::Held {
                let ended =
                    Run { status: RunStatus::Cancelled, completed_at: Some(now), ..run.clone() };
                let organization = organizations::find(txn, &run.organization)?;
                runs::put(txn, organization.no, &ended)?;
                runs::delete_plan(txn, run.id)?;
                return Ok((run, Cancelled::Now));
            }
            let outcome = queue::cancel(txn, run.id, now)?;
            Ok((run, outcome))
        })
        .await?;
    match outcome {
        Cancelled::TooLate => {
            let detail = format!("the run is {} already", run.status);
            Err(Problem::conflict("run.over", detail))
        }
        Cancelled::Now | Cancelled::Asked => {
            api.pool.cancel(run.id);
            let id = run.id.to_string();
            let now = api.read(move |read, _| find(read, &id)).await?;
            Ok((StatusCode::ACCEPTED, Json(row(&now, None))).into_response())
        }
    }
}

pub(super) async fn approve(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let plan_hash = members.required("planHash");
    members.finish()?;
    let now = api.now();
    let approved = api
        .deps
        .store
        .write(move |txn| -> Result<Run, Problem> {
            let mut run = find(txn, &id)?;
            if run.status != RunStatus::Held {
                let detail = format!("the run is {}, not held", run.status);
                return Err(Problem::conflict("run.not-held", detail));
            }
            if run.plan_hash.as_deref() != Some(plan_hash.as_str()) {
                let detail = "the hash is not that of the plan: look at the run again";
                return Err(Problem::conflict("plan.other-hash", detail));
            }
            let organization = organizations::find(txn, &run.organization)?;
            if let Some(newer) = newer_run(txn, organization.no, &run)? {
                let detail = format!("{newer} changed the records since: sync again");
                return Err(Problem::conflict("plan.stale", detail));
            }
            let connection = directory::connection(txn, organization.no, run.connection)?
                .ok_or_else(|| Problem::not_found("the connection is gone"))?;
            let who = caller.name.to_string();
            queue::enqueue_apply(txn, &connection, &run, (plan_hash.clone(), who), now)?;
            run.status = RunStatus::Queued;
            run.completed_at = None;
            runs::put(txn, organization.no, &run)?;
            Ok(run)
        })
        .await?;
    api.deps.bell.notify_one();
    Ok((StatusCode::ACCEPTED, Json(row(&approved, None))).into_response())
}

/// A later run of the same connection that changed records.
fn newer_run(read: &dyn Read, org: OrgNo, held: &Run) -> Result<Option<RunId>, Problem> {
    let mut newer = None;
    runs::scan_newest(read, Some(org), None, &mut |run| {
        if run.id <= held.id {
            return ControlFlow::Break(());
        }
        if run.connection == held.connection && run.took_effect() {
            newer = Some(run.id);
        }
        ControlFlow::Continue(())
    })?;
    Ok(newer)
}

pub(super) async fn undo(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let (store, now) = (api.deps.store.clone(), api.now());
    let (run, report) = api
        .deps
        .store
        .write_bulk(move |txn| -> Result<_, Problem> {
            let run = find(txn, &id)?;
            let organization = organizations::find(txn, &run.organization)?;
            let report = commit::undo(txn, &store, organization.no, run.id, (now, by(&caller)))?;
            Ok((find(txn, &id)?, report))
        })
        .await?;
    let skipped = report.skipped.iter().map(
        |(record, field, reason)| json!({ "recordId": record, "field": field, "reason": reason }),
    );
    Ok(Json(json!({
        "syncId": run.id,
        "status": run.status,
        "undoneBy": run.undone_by,
        "undoneAt": run.undone_at.map(clock::to_text),
        "reverted": report.reverted,
        "skipped": skipped.collect::<Vec<_>>(),
    })))
}
