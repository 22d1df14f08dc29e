//! How a run ends: its row, its job, its request list, the watermark and the connection's health, together.

use super::{EntityPlan, Error, Plan};
use crate::clock;
use crate::model::directory::Connection;
use crate::model::job::{Job, JobState};
use crate::model::run::{PhaseTiming, Run};
use crate::model::{OrgNo, RunStatus};
use crate::store::{Store, Txn, directory, failures, jobs, runs};
use std::sync::Arc;
use std::time::Instant;

/// The job must still be the caller's: claimed by nobody else since, and not ended.
pub(super) fn check_fence(txn: &Txn, job: &Job) -> Result<(), Error> {
    match jobs::get(txn, job.id)? {
        Some(now) if now.fence == job.fence && now.state == JobState::Running => Ok(()),
        _ => Err(Error::Fenced),
    }
}

/// Ends a run whose effects are in the same transaction.
pub(super) fn end(txn: &Txn, plan: &Plan, started: Instant) -> Result<(), Error> {
    for entity in plan.entities.iter() {
        keep_watermark(txn, plan, entity)?;
    }
    runs::delete_plan(txn, plan.run.id)?;
    let mut run = (*plan.run).clone();
    run.completed_at = Some(clock::to_millis(plan.clock.now()));
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    run.phases.push(PhaseTiming { phase: "commit".to_owned(), millis });
    close(txn, plan.org, &plan.job, &run, &plan.requests, &plan.logs)
}

fn keep_watermark(txn: &Txn, plan: &Plan, entity: &EntityPlan) -> Result<(), Error> {
    let wanted = entity.watermark.as_ref().filter(|_| !plan.run.dry_run);
    match wanted.filter(|_| plan.run.status == RunStatus::Completed) {
        Some(watermark) => {
            let (org, connection) = (plan.org, plan.connection.id);
            Ok(directory::put_watermark(txn, org, connection, entity.entity, watermark)?)
        }
        None => Ok(()),
    }
}

/// Keeps the whole plan of a run that tripped a brake, and lets the run wait for a person.
pub async fn hold(plan: Plan) -> Result<(), Error> {
    let store = plan.store.clone();
    store
        .write_bulk(move |txn| {
            check_fence(txn, &plan.job)?;
            for page in plan.entities.iter().flat_map(|entity| entity.pages.clone()) {
                let bytes = (plan.page)(&plan.store, page)?.ok_or(Error::PlanGone(page))?;
                runs::put_plan_page(txn, plan.run.id, page, &bytes)?;
            }
            close(txn, plan.org, &plan.job, &plan.run, &plan.requests, &plan.logs)
        })
        .await
}

/// Ends a run that applies nothing because of what it read; its quarantine is kept, and tells why.
pub async fn abort(plan: Plan) -> Result<(), Error> {
    let store = plan.store.clone();
    store
        .write_bulk(move |txn| {
            check_fence(txn, &plan.job)?;
            for entity in plan.entities.iter().filter(|_| !plan.run.dry_run) {
                let scope = plan.scope(entity);
                for page in entity.pages.clone() {
                    for failure in &plan.read_page(page)?.failures {
                        failures::record(txn, &scope, failure, plan.run.id, plan.at)?;
                    }
                }
            }
            close(txn, plan.org, &plan.job, &plan.run, &plan.requests, &plan.logs)
        })
        .await
}

/// Ends a run that has no effects: failed, cancelled, needing a new login.
pub async fn note_failure(
    store: &Store,
    org: OrgNo,
    job: Arc<Job>,
    run: Run,
    requests: Vec<serde_json::Value>,
    logs: Vec<serde_json::Value>,
) -> Result<(), Error> {
    store
        .write(move |txn| {
            check_fence(txn, &job)?;
            close(txn, org, &job, &run, &requests, &logs)
        })
        .await
}

fn close(
    txn: &Txn,
    org: OrgNo,
    job: &Job,
    run: &Run,
    requests: &[serde_json::Value],
    logs: &[serde_json::Value],
) -> Result<(), Error> {
    runs::put(txn, org, run)?;
    runs::append_requests(txn, run.id, 0, requests)?;
    runs::append_logs(txn, run.id, 0, logs)?;
    jobs::delete(txn, job.id)?;
    if !run.dry_run
        && let Some(mut connection) = directory::connection(txn, org, run.connection)?
    {
        note_health(&mut connection, run);
        directory::put_connection(txn, &connection)?;
    }
    Ok(())
}

fn note_health(connection: &mut Connection, run: &Run) {
    match run.status {
        RunStatus::Completed | RunStatus::Partial => {
            connection.last_sync_at = run.completed_at;
            connection.consecutive_failures = 0;
        }
        RunStatus::Failed | RunStatus::NeedsReauth => {
            connection.last_error_at = run.completed_at;
            connection.last_error = run.errors.first().map(|error| error.message.clone());
            connection.consecutive_failures = connection.consecutive_failures.saturating_add(1);
        }
        RunStatus::Queued
        | RunStatus::Running
        | RunStatus::Waiting
        | RunStatus::Held
        | RunStatus::Cancelled => {}
    }
}
