//! Which job may run now. One transaction: two workers never get the same job.

use crate::model::job::{Job, JobState, Lease};
use crate::model::{OrgNo, Trigger};
use crate::store::{self, Txn, jobs};

/// How much may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    pub running_max: usize,
    pub running_per_connector_max: usize,
}

/// Takes the due job with the best priority, fair over organizations, and gives it a lease and a new fencing token.
pub fn claim(
    txn: &Txn,
    caps: Caps,
    owner: &str,
    now: i64,
    lease_millis: i64,
) -> Result<Option<Job>, store::Error> {
    let all = jobs::all(txn)?;
    let Some(index) = choose(&all, caps, now) else {
        return Ok(None);
    };
    let Some(mut job) = all.into_iter().nth(index) else {
        return Ok(None);
    };
    job.state = JobState::Running;
    job.fence += 1;
    job.lease = Some(Lease { owner: owner.to_owned(), until: now + lease_millis });
    jobs::put(txn, &job)?;
    Ok(Some(job))
}

/// The index of the job to run next. Pure.
pub(super) fn choose(all: &[Job], caps: Caps, now: i64) -> Option<usize> {
    let running: Vec<&Job> = all.iter().filter(|job| job.state == JobState::Running).collect();
    if running.len() >= caps.running_max {
        return None;
    }
    let of_org = |org: OrgNo| running.iter().filter(|job| job.org_no == org).count();
    let may_run = |job: &&(usize, &Job)| {
        let job = job.1;
        job.state == JobState::Pending && job.due_at <= now && fits(job, &running, caps)
    };
    let pending: Vec<(usize, &Job)> = all.iter().enumerate().collect();
    let best = pending
        .iter()
        .filter(may_run)
        .min_by_key(|(_, job)| (priority(job.trigger), of_org(job.org_no), job.due_at, job.id));
    best.map(|(index, _)| *index)
}

/// Whether a job collides with one that runs: same connection, connector at its cap, or an entity of the organization
/// that another job writes.
fn fits(job: &Job, running: &[&Job], caps: Caps) -> bool {
    let same_connector = running.iter().filter(|other| other.connector == job.connector).count();
    let collides = running.iter().any(|other| {
        other.connection == job.connection
            || other.org_no == job.org_no
                && other.entities.iter().any(|entity| job.entities.contains(entity))
    });
    !collides && same_connector < caps.running_per_connector_max
}

/// Lower is sooner.
fn priority(trigger: Trigger) -> u8 {
    match trigger {
        Trigger::Manual => 0,
        Trigger::Webhook => 1,
        Trigger::Scheduled | Trigger::Retry => 2,
    }
}
