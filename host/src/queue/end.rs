//! What becomes of a job when its attempt has ended: it is gone, waits for a retry, or is kept as one that failed for
//! good; and what becomes of it when it is cancelled.

use super::{Request, absorb, enqueue, requests_of};
use crate::clock;
use crate::model::directory::ConnectorStatus;
use crate::model::ids::JobId;
use crate::model::job::{Job, JobError, JobKind, JobState, covers};
use crate::model::run::{Run, RunError};
use crate::model::{RunId, RunStatus, Trigger};
use crate::retry;
use crate::store::jobs::Slot;
use crate::store::{self, Txn, directory, jobs, runs};

/// Ends a job together with its run, whose row is as it shall stand: one that failed for good is kept, any other is
/// gone. `job` is as [`super::holder`] answered.
pub fn finish(txn: &Txn, job: &Job, run: &Run) -> Result<(), store::Error> {
    runs::put(txn, job.org_no, run)?;
    let now = run.completed_at.unwrap_or(run.created_at);
    if run.status == RunStatus::Failed && !run.dry_run {
        let error = first_error(run);
        let dead = Job {
            state: JobState::Dead,
            lease: None,
            attempt: job.attempt + 1,
            error,
            ended_at: Some(now),
            ..job.clone()
        };
        return jobs::replace(txn, job, &dead);
    }
    jobs::remove(txn, job)?;
    match run.status {
        RunStatus::Completed if !run.dry_run => withdraw(txn, job, run, now),
        RunStatus::Cancelled => bring_back(txn, job, run, now),
        _ => Ok(()),
    }
}

fn first_error(run: &Run) -> Option<JobError> {
    let error = run.errors.first()?;
    Some(JobError { code: error.code.clone(), message: error.message.clone() })
}

/// When an attempt that failed is followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Postponed {
    pub due_at: i64,
    /// Whether it uses one of the run's retries.
    pub counts: bool,
    /// The remote system or the rate limit named the time: nobody may come before it.
    pub told: bool,
}

/// Lets a job wait for its next attempt, and answers its run as it stands then. Where another run of the connection
/// waits already, that one takes over what this one asks for.
pub fn postpone(txn: &Txn, job: &Job, run: Run, postponed: Postponed) -> Result<Run, store::Error> {
    if let Some(waiting) = jobs::in_slot(txn, job.org_no, job.connection, Slot::Waiting)? {
        return hand_over(txn, job, run, waiting, postponed);
    }
    let error = first_error(&run);
    let waiting = Job {
        state: JobState::Waiting,
        due_at: postponed.due_at,
        attempt: job.attempt + 1,
        retry_count: job.retry_count + u32::from(postponed.counts),
        uncounted: job.uncounted + u32::from(!postponed.counts),
        by_person: false,
        begun: false,
        lease: None,
        error,
        ..job.clone()
    };
    let run = Run {
        status: RunStatus::Waiting,
        completed_at: None,
        next_retry_at: Some(waiting.due_at),
        retry_count: waiting.retry_count,
        ..run
    };
    jobs::replace(txn, job, &waiting)?;
    runs::put(txn, job.org_no, &run)?;
    Ok(run)
}

fn hand_over(
    txn: &Txn,
    job: &Job,
    mut run: Run,
    before: Job,
    postponed: Postponed,
) -> Result<Run, store::Error> {
    let mut waiting = before.clone();
    let more = absorb(&mut waiting, run.requests.clone(), job.webhooks_only);
    if !job.webhooks_only {
        // All of it is among the run's requests.
        absorb(&mut waiting, job.from_webhooks.clone(), true);
    }
    if more {
        // As where somebody joins it.
        (waiting.retry_count, waiting.uncounted) = (0, 0);
    }
    if postponed.told {
        waiting.due_at = waiting.due_at.max(postponed.due_at);
    }
    waiting.trigger = waiting.trigger.min(job.trigger);
    waiting.priority = waiting.priority.min(job.priority);
    jobs::replace(txn, &before, &waiting)?;
    if let Some(mut other) = runs::get(txn, waiting.run)? {
        if let Some(requests) = requests_of(&waiting) {
            other.requests.clone_from(requests);
        }
        (other.retry_count, other.next_retry_at) = (waiting.retry_count, Some(waiting.due_at));
        runs::put(txn, job.org_no, &other)?;
    }
    let message =
        format!("{} waits for a retry and takes over what this run asked for", waiting.run);
    supersede(&mut run, RunStatus::Failed, waiting.run, message);
    jobs::remove(txn, job)?;
    runs::put(txn, job.org_no, &run)?;
    Ok(run)
}

fn supersede(run: &mut Run, status: RunStatus, by: RunId, message: String) {
    let at = run.completed_at.unwrap_or(run.created_at);
    run.status = status;
    run.next_retry_at = None;
    run.superseded_by = Some(by);
    run.errors.push(RunError {
        code: "run.superseded".to_owned(),
        message,
        page: None,
        record_id: None,
        at: clock::to_text(at),
    });
}

/// A run that succeeded makes a retry of the same, or of less, needless. Not one that somebody asked for while it was under
/// way, because it may have read before what the asker means; nor does a plan that was made before it was approved.
fn withdraw(txn: &Txn, job: &Job, run: &Run, now: i64) -> Result<(), store::Error> {
    let Some(waiting) = jobs::in_slot(txn, job.org_no, job.connection, Slot::Waiting)? else {
        return Ok(());
    };
    if waiting.behind == Some(job.id) || !matches!(job.kind, JobKind::Sync { .. }) {
        return Ok(());
    }
    let wanted = requests_of(&waiting).map_or(&[][..], Vec::as_slice);
    if !covers(&run.requests, wanted) {
        return Ok(());
    }
    jobs::remove(txn, &waiting)?;
    if let Some(mut other) = runs::get(txn, waiting.run)? {
        other.completed_at = Some(now);
        let message = format!("{} did the same with success: the retry is not needed", run.id);
        supersede(&mut other, RunStatus::Cancelled, run.id, message);
        runs::put(txn, waiting.org_no, &other)?;
    }
    Ok(())
}

/// What became of the wish to cancel a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was waiting and is over.
    Now,
    /// The worker will stop it between pages.
    Asked,
    /// There is no job: the run is over already.
    TooLate,
}

/// Notes the wish to cancel a run; one that waits ends at once.
///
/// What webhooks brought into a run that others asked for goes on as a run of its own. A run that only webhooks asked
/// for ends whole: whoever cancels it means that, and its deliveries can be replayed.
pub fn cancel(txn: &Txn, run: RunId, now: i64) -> Result<Cancelled, store::Error> {
    let row = runs::get(txn, run)?;
    let job = match row.as_ref().and_then(|row| row.job) {
        Some(id) => jobs::get(txn, id)?,
        None => None,
    };
    let (Some(mut row), Some(before)) = (row, job) else { return Ok(Cancelled::TooLate) };
    match before.state {
        JobState::Dead => Ok(Cancelled::TooLate),
        JobState::Running => {
            jobs::replace(txn, &before, &Job { cancel: true, ..before.clone() })?;
            Ok(Cancelled::Asked)
        }
        JobState::Pending | JobState::Waiting => {
            row.status = RunStatus::Cancelled;
            row.completed_at = Some(now);
            row.next_retry_at = None;
            finish(txn, &before, &row)?;
            Ok(Cancelled::Now)
        }
    }
}

/// Asks anew for what webhooks brought into a cancelled job.
fn bring_back(txn: &Txn, job: &Job, run: &Run, now: i64) -> Result<(), store::Error> {
    if job.from_webhooks.is_empty() {
        return Ok(());
    }
    let connection = directory::connection(txn, job.org_no, job.connection)?;
    let connection = connection.filter(|row| row.disconnected_at.is_none());
    let connector = directory::connector(txn, job.connector)?;
    let connector = connector.filter(|row| row.status != ConnectorStatus::Inactive);
    if let (Some(connection), Some(connector)) = (connection, connector) {
        let request = Request {
            connection,
            requests: job.from_webhooks.clone(),
            trigger: Trigger::Webhook,
            dry_run: false,
            strategy: run.strategy.clone(),
            requested_by: "webhook".to_owned(),
            max_retries: retry::retries_max(&connector),
            now,
        };
        enqueue(txn, request)?;
    }
    Ok(())
}

/// Removes jobs that failed for good before `before`, the oldest first, at most so many; answers how many.
pub fn prune(txn: &Txn, before: i64, limit: usize) -> Result<usize, store::Error> {
    let old: Vec<JobId> = jobs::dead(txn, before, limit)?;
    for id in &old {
        if let Some(job) = jobs::get(txn, *id)? {
            jobs::remove(txn, &job)?;
        }
    }
    Ok(old.len())
}
