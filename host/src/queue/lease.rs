//! Who holds a job, and until when. A lease that nobody renews ends, and with it the holder's right to commit: each claim
//! and each taking back makes the fencing number larger, and every commit compares it.

use crate::crash_point::{Bug, planted};
use crate::model::RunStatus;
use crate::model::ids::JobId;
use crate::model::job::{Job, JobKind, JobState, Lease};
use crate::store::{self, Read, Txn, jobs, runs};

/// Makes a job that waits a running one.
pub(super) fn begin(
    txn: &Txn,
    id: JobId,
    owner: &str,
    now: i64,
    lease_millis: i64,
) -> Result<Option<Job>, store::Error> {
    let Some(before) = jobs::get(txn, id)? else { return Ok(None) };
    let until = now.saturating_add(lease_millis);
    let job = Job {
        state: JobState::Running,
        fence: before.fence + 1,
        begun: true,
        behind: None,
        lease: Some(Lease { owner: owner.to_owned(), until }),
        ..before.clone()
    };
    jobs::replace(txn, &before, &job)?;
    if let Some(mut run) = runs::get(txn, job.run)? {
        run.status = RunStatus::Running;
        run.started_at = Some(run.started_at.unwrap_or(now));
        run.next_retry_at = None;
        run.attempt = job.attempt + 1;
        // Those of earlier attempts are in its log. What was said of the listing of an approved plan stays true of it.
        if matches!(job.kind, JobKind::Sync { .. }) {
            run.errors.clear();
            run.errors_more = 0;
        }
        runs::put(txn, job.org_no, &run)?;
    }
    Ok(Some(job))
}

/// The job as it stands, if the caller's claim still holds: nobody claimed it since, and it has not ended.
pub fn holder(read: &dyn Read, job: &Job) -> Result<Option<Job>, store::Error> {
    let now = jobs::get(read, job.id)?;
    if planted(Bug::IgnoreFence) {
        return Ok(now.filter(|now| now.state == JobState::Running));
    }
    Ok(now.filter(|now| now.fence == job.fence && now.state == JobState::Running))
}

/// What a round over the leases found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Of the caller's claims: those that hold no longer.
    pub lost: Vec<JobId>,
    /// How many jobs wait again because nobody renewed their lease.
    pub freed: usize,
}

/// Renews the caller's claims, each named by its job and fencing number, until `until`; then takes back every job whose
/// lease has ended.
pub fn hold_on(
    txn: &Txn,
    claims: &[(JobId, u64)],
    now: i64,
    until: i64,
) -> Result<Held, store::Error> {
    let mut held = Held::default();
    for (id, fence) in claims {
        match jobs::get(txn, *id)? {
            Some(before) if before.fence == *fence && before.state == JobState::Running => {
                let mut job = before.clone();
                if let Some(lease) = &mut job.lease {
                    lease.until = until;
                }
                jobs::replace(txn, &before, &job)?;
            }
            _ => held.lost.push(*id),
        }
    }
    held.freed = free_where(txn, &|lease| lease.until <= now)?;
    Ok(held)
}

/// Gives a running job back untouched: it is due again at once. For a graceful stop; no attempt is used.
pub fn release(txn: &Txn, id: JobId, fence: u64) -> Result<(), store::Error> {
    match jobs::get(txn, id)? {
        Some(job) if job.fence == fence && job.state == JobState::Running => free(txn, job),
        _ => Ok(()),
    }
}

/// At start-up: jobs that a dead process held wait again. Answers how many. It reads no job that waits, however many
/// there are.
pub fn reclaim(txn: &Txn, owner: &str) -> Result<usize, store::Error> {
    free_where(txn, &|lease| lease.owner != owner)
}

fn free_where(txn: &Txn, ended: &dyn Fn(&Lease) -> bool) -> Result<usize, store::Error> {
    let mut count = 0;
    for (id, _) in jobs::running(txn)? {
        let job = jobs::get(txn, id)?.filter(|job| job.lease.as_ref().is_none_or(ended));
        if let Some(job) = job {
            free(txn, job)?;
            count += 1;
        }
    }
    Ok(count)
}

fn free(txn: &Txn, before: Job) -> Result<(), store::Error> {
    let mut job = before.clone();
    job.state = JobState::Pending;
    job.lease = None;
    // A worker that still believes in its claim must not commit.
    job.fence += 1;
    if let Some(mut run) = runs::get(txn, job.run)? {
        run.status = RunStatus::Queued;
        runs::put(txn, job.org_no, &run)?;
    }
    jobs::replace(txn, &before, &job)
}
