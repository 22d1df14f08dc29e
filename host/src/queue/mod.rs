//! The queue: who asks for a run, who may do it now, and who holds it.
//!
//! Owns merging, order, caps, leases and fencing. Must not run anything: a trigger enqueues, a worker claims. Every
//! operation takes the caller's transaction, so that a job and what belongs to it are written together.

mod claim;
#[cfg(test)]
mod tests;

pub use claim::{Caps, claim};

use crate::model::directory::Connection;
use crate::model::ids::JobId;
use crate::model::job::{Job, JobKind, JobState, Lease, merge_requests};
use crate::model::run::{EntityRequest, Run};
use crate::model::{RunId, RunStatus, Trigger};
use crate::store::{self, Txn, jobs, runs};

/// A request for a run.
#[derive(Clone, Debug)]
pub struct Request {
    pub connection: Connection,
    pub requests: Vec<EntityRequest>,
    pub trigger: Trigger,
    pub dry_run: bool,
    /// Effective policy in words, for the history.
    pub strategy: String,
    pub requested_by: String,
    /// Milliseconds since the epoch.
    pub now: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued {
    pub run: RunId,
    pub job: JobId,
    /// It was added to a job that waited already.
    pub joined: bool,
}

/// Adds a request: to the pending job of (organization, connector) if there is one, else as a new job with its run.
pub fn enqueue(txn: &Txn, request: Request) -> Result<Enqueued, store::Error> {
    if !request.dry_run
        && let Some(pending) = pending_sync(txn, &request.connection)?
    {
        return join(txn, pending, request);
    }
    let run_id = runs::next_id(txn)?;
    let kind = JobKind::Sync { requests: request.requests.clone(), dry_run: request.dry_run };
    let entities = request.requests.iter().map(|request| request.entity.clone()).collect();
    let job =
        new_job(txn, &request.connection, run_id, kind, entities, request.trigger, request.now)?;
    runs::put(txn, request.connection.org_no, &new_run(run_id, &request))?;
    Ok(Enqueued { run: run_id, job, joined: false })
}

/// Queues the commit of a held run's plan.
pub fn enqueue_apply(
    txn: &Txn,
    connection: &Connection,
    run: &Run,
    (plan_hash, by): (String, String),
    now: i64,
) -> Result<JobId, store::Error> {
    let entities = run.requests.iter().map(|request| request.entity.clone()).collect();
    let kind = JobKind::Apply { plan_hash, by };
    new_job(txn, connection, run.id, kind, entities, Trigger::Manual, now)
}

fn pending_sync(txn: &Txn, connection: &Connection) -> Result<Option<Job>, store::Error> {
    let is_pending = |job: &Job| {
        job.state == JobState::Pending
            && !job.cancel
            && job.connection == connection.id
            && matches!(job.kind, JobKind::Sync { dry_run: false, .. })
    };
    Ok(jobs::all(txn)?.into_iter().find(is_pending))
}

fn join(txn: &Txn, mut job: Job, request: Request) -> Result<Enqueued, store::Error> {
    if let JobKind::Sync { requests, .. } = &mut job.kind {
        merge_requests(requests, request.requests);
        job.entities = requests.iter().map(|request| request.entity.clone()).collect();
        job.entities.dedup();
        if let Some(mut run) = runs::get(txn, job.run)? {
            run.requests.clone_from(requests);
            runs::put(txn, job.org_no, &run)?;
        }
    }
    // The more urgent asker decides when it is due.
    job.trigger = job.trigger.min(request.trigger);
    job.due_at = job.due_at.min(request.now);
    jobs::put(txn, &job)?;
    Ok(Enqueued { run: job.run, job: job.id, joined: true })
}

fn new_job(
    txn: &Txn,
    connection: &Connection,
    run: RunId,
    kind: JobKind,
    entities: Vec<String>,
    trigger: Trigger,
    now: i64,
) -> Result<JobId, store::Error> {
    let job = Job {
        id: jobs::next_id(txn)?,
        organization: connection.organization.clone(),
        org_no: connection.org_no,
        connector: connection.connector_id,
        connection: connection.id,
        run,
        kind,
        entities,
        trigger,
        state: JobState::Pending,
        created_at: now,
        due_at: now,
        attempt: 0,
        cancel: false,
        fence: 0,
        lease: None,
    };
    jobs::put(txn, &job)?;
    Ok(job.id)
}

fn new_run(id: RunId, request: &Request) -> Run {
    Run {
        id,
        organization: request.connection.organization.clone(),
        connector: request.connection.connector_id,
        connection: request.connection.id,
        requests: request.requests.clone(),
        trigger: request.trigger,
        dry_run: request.dry_run,
        status: RunStatus::Queued,
        counts: crate::model::run::Counts::default(),
        errors: Vec::new(),
        errors_more: 0,
        strategy: request.strategy.clone(),
        plugin: None,
        strategies: Vec::new(),
        plan_hash: None,
        held_reason: None,
        listing_complete: None,
        attempt: 0,
        next_retry_at: None,
        created_at: request.now,
        started_at: None,
        completed_at: None,
        requested_by: request.requested_by.clone(),
        undone_by: None,
        undone_at: None,
        pages: 0,
        phases: Vec::new(),
    }
}

/// Extends the lease of a job that is still the caller's; false if it is not.
pub fn renew(txn: &Txn, id: JobId, fence: u64, until: i64) -> Result<bool, store::Error> {
    match jobs::get(txn, id)? {
        Some(mut job) if job.fence == fence && job.state == JobState::Running => {
            if let Some(lease) = &mut job.lease {
                lease.until = until;
            }
            jobs::put(txn, &job)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Gives a running job back untouched: it is due again at once. For a graceful stop.
pub fn release(txn: &Txn, id: JobId, fence: u64) -> Result<(), store::Error> {
    if let Some(mut job) = jobs::get(txn, id)?
        && job.fence == fence
    {
        free(&mut job);
        jobs::put(txn, &job)?;
    }
    Ok(())
}

/// At start-up: jobs that a dead process held are pending again. Answers how many.
pub fn reclaim(txn: &Txn, owner: &str) -> Result<usize, store::Error> {
    let held_by_other = |job: &Job| {
        job.state == JobState::Running
            && job.lease.as_ref().is_none_or(|lease: &Lease| lease.owner != owner)
    };
    let orphans: Vec<Job> = jobs::all(txn)?.into_iter().filter(held_by_other).collect();
    let count = orphans.len();
    for mut job in orphans {
        free(&mut job);
        jobs::put(txn, &job)?;
    }
    Ok(count)
}

fn free(job: &mut Job) {
    job.state = JobState::Pending;
    job.lease = None;
    // A worker that still believes in its claim must not commit.
    job.fence += 1;
}

/// What became of the wish to cancel a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was pending and is over.
    Now,
    /// The worker will stop it between pages.
    Asked,
    /// There is no job: the run is over already.
    TooLate,
}

/// Notes the wish to cancel a run; a pending one ends at once.
pub fn cancel(txn: &Txn, run: RunId, now: i64) -> Result<Cancelled, store::Error> {
    let Some(mut job) = jobs::all(txn)?.into_iter().find(|job| job.run == run) else {
        return Ok(Cancelled::TooLate);
    };
    if job.state == JobState::Running {
        job.cancel = true;
        jobs::put(txn, &job)?;
        return Ok(Cancelled::Asked);
    }
    jobs::delete(txn, job.id)?;
    if let Some(mut row) = runs::get(txn, run)? {
        row.status = RunStatus::Cancelled;
        row.completed_at = Some(now);
        runs::put(txn, job.org_no, &row)?;
    }
    Ok(Cancelled::Now)
}
