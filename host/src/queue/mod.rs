//! The queue: who asks for a run, who may do it now, who holds it, and what becomes of it.
//!
//! Owns merging, order, caps, leases, fencing and the line of retries. Must not run anything: a trigger enqueues, a
//! worker claims. Every operation takes the caller's transaction, so that a job and what belongs to it are written
//! together.

mod claim;
mod end;
mod lease;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use claim::{Caps, claim, pick};
pub use end::{Cancelled, Postponed, cancel, finish, postpone, prune};
pub use lease::{Held, hold_on, holder, reclaim, release};

use crate::model::directory::Connection;
use crate::model::ids::JobId;
use crate::model::job::{Job, JobKind, JobState, Priority, merge_requests};
use crate::model::run::{Counts, EntityRequest, Run};
use crate::model::{OrgNo, RunId, RunStatus, Trigger};
use crate::store::{self, Read, Txn, jobs, runs};

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
    /// How often a new run may be tried again.
    pub max_retries: u32,
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

/// Adds a request: to the sync of the connection that waits already if there is one, else as a new job with its run.
///
/// A sync that waits for a retry is joined too. A person makes it due at once; machines leave its time as it is, and are
/// served with it.
pub fn enqueue(txn: &Txn, request: Request) -> Result<Enqueued, store::Error> {
    let priority = Priority::of(request.trigger);
    enqueue_as(txn, request, priority)
}

/// The same where what asks is more or less urgent than its trigger says.
pub fn enqueue_as(
    txn: &Txn,
    request: Request,
    priority: Priority,
) -> Result<Enqueued, store::Error> {
    if let Some(waiting) = to_join(txn, &request)? {
        return join(txn, waiting, request, priority);
    }
    let run_id = runs::next_id(txn)?;
    let id = JobId(run_id.0);
    let kind = JobKind::Sync { requests: request.requests.clone(), dry_run: request.dry_run };
    let job = Job {
        trigger: request.trigger,
        priority,
        by_person: request.trigger == Trigger::Manual,
        webhooks_only: request.trigger == Trigger::Webhook,
        ..new_job(id, &request.connection, run_id, kind, &request.requests, request.now)
    };
    jobs::insert(txn, &job)?;
    runs::put(txn, request.connection.org_no, &new_run(run_id, job.id, &request))?;
    Ok(Enqueued { run: run_id, job: job.id, joined: false })
}

/// Queues the commit of a held run's plan.
pub fn enqueue_apply(
    txn: &Txn,
    connection: &Connection,
    run: &Run,
    (plan_hash, by): (String, String),
    now: i64,
) -> Result<JobId, store::Error> {
    let kind = JobKind::Apply { plan_hash, by };
    // The number of the run is that of the job which planned it, and nobody may take the one for the other.
    let id = JobId(runs::next_id(txn)?.0);
    let job = new_job(id, connection, run.id, kind, &run.requests, now);
    jobs::insert(txn, &job)?;
    Ok(job.id)
}

/// Whether a person's request may come in: an organization has at most so many live jobs. What joins one that waits
/// always may. Machines need no such bound, since their requests are at most one job for each connection.
pub fn has_room(read: &dyn Read, request: &Request, jobs_max: usize) -> Result<bool, store::Error> {
    let org: OrgNo = request.connection.org_no;
    Ok(to_join(read, request)?.is_some() || !jobs::has_live(read, org, jobs_max)?)
}

fn to_join(read: &dyn Read, request: &Request) -> Result<Option<Job>, store::Error> {
    if request.dry_run {
        return Ok(None);
    }
    jobs::first_in_line(read, request.connection.org_no, request.connection.id)
}

fn join(
    txn: &Txn,
    before: Job,
    request: Request,
    priority: Priority,
) -> Result<Enqueued, store::Error> {
    let mut job = before.clone();
    let mut run = runs::get(txn, job.run)?;
    let more = absorb(&mut job, request.requests, request.trigger == Trigger::Webhook);
    // The more urgent asker decides.
    job.trigger = job.trigger.min(request.trigger);
    job.priority = job.priority.min(priority);
    if matches!(request.trigger, Trigger::Manual | Trigger::Retry) {
        job.by_person |= request.trigger == Trigger::Manual;
        job.due_at = job.due_at.min(request.now);
        job.state = JobState::Pending;
    }
    if job.state == JobState::Waiting {
        let others = jobs::of_connection(txn, job.org_no, job.connection)?;
        let running = others.iter().find(|other| other.state == JobState::Running);
        job.behind = running.map(|running| running.id).or(job.behind);
    }
    if more {
        // What it did not ask for before has its retries before it.
        (job.retry_count, job.uncounted) = (0, 0);
    }
    if let Some(run) = &mut run {
        if let Some(requests) = requests_of(&job) {
            run.requests.clone_from(requests);
        }
        run.retry_count = job.retry_count;
        if job.state == JobState::Pending {
            (run.status, run.next_retry_at) = (RunStatus::Queued, None);
        }
        runs::put(txn, job.org_no, run)?;
    }
    jobs::replace(txn, &before, &job)?;
    Ok(Enqueued { run: job.run, job: job.id, joined: true })
}

/// Takes requests into a sync; true if it asks for more than before.
fn absorb(job: &mut Job, new: Vec<EntityRequest>, by_webhook: bool) -> bool {
    let JobKind::Sync { requests, .. } = &mut job.kind else { return false };
    match (job.webhooks_only, by_webhook) {
        (true, true) | (false, false) => {}
        (true, false) => {
            job.from_webhooks.clone_from(requests);
            job.webhooks_only = false;
        }
        (false, true) => merge_requests(&mut job.from_webhooks, new.clone()),
    }
    let before = requests.clone();
    merge_requests(requests, new);
    let more = *requests != before;
    if more {
        job.entities = entities(requests);
    }
    more
}

fn requests_of(job: &Job) -> Option<&Vec<EntityRequest>> {
    match &job.kind {
        JobKind::Sync { requests, .. } => Some(requests),
        JobKind::Apply { .. } => None,
    }
}

/// The entities of requests, each once.
fn entities(requests: &[EntityRequest]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for request in requests {
        if !names.contains(&request.entity) {
            names.push(request.entity.clone());
        }
    }
    names
}

fn new_job(
    id: JobId,
    connection: &Connection,
    run: RunId,
    kind: JobKind,
    requests: &[EntityRequest],
    now: i64,
) -> Job {
    Job {
        id,
        organization: connection.organization.clone(),
        org_no: connection.org_no,
        connector: connection.connector_id,
        connection: connection.id,
        run,
        kind,
        entities: entities(requests),
        trigger: Trigger::Manual,
        priority: Priority::Manual,
        state: JobState::Pending,
        created_at: now,
        due_at: now,
        attempt: 0,
        retry_count: 0,
        uncounted: 0,
        begun: false,
        by_person: true,
        webhooks_only: false,
        from_webhooks: Vec::new(),
        behind: None,
        cancel: false,
        fence: 0,
        lease: None,
        error: None,
        ended_at: None,
    }
}

fn new_run(id: RunId, job: JobId, request: &Request) -> Run {
    Run {
        id,
        organization: request.connection.organization.clone(),
        connector: request.connection.connector_id,
        connection: request.connection.id,
        requests: request.requests.clone(),
        trigger: request.trigger,
        dry_run: request.dry_run,
        status: RunStatus::Queued,
        counts: Counts::default(),
        errors: Vec::new(),
        errors_more: 0,
        strategy: request.strategy.clone(),
        plugin: None,
        template: None,
        strategies: Vec::new(),
        plan_hash: None,
        held_reason: None,
        listing_complete: None,
        attempt: 0,
        next_retry_at: None,
        retry_count: 0,
        max_retries: request.max_retries,
        job: Some(job),
        superseded_by: None,
        waited_millis: 0,
        created_at: request.now,
        started_at: None,
        completed_at: None,
        requested_by: request.requested_by.clone(),
        undone_by: None,
        undone_at: None,
        details_gone_at: None,
        pages: 0,
        page_starts: Vec::new(),
        phases: Vec::new(),
    }
}
