//! Which job may run now. One transaction: two workers never get the same job.
//!
//! Order: the better priority first, in it the organization with the fewest running jobs, then who is due the longest.
//! Only a retry waits for its time: what somebody asked for is due, also on a clock that was set back since.
//! A job grows better by one priority each time it has waited `aging_millis`, so that none waits for ever behind a
//! stream of more urgent ones.

use super::lease::begin;
use crate::model::directory::ConnectorStatus;
use crate::model::ids::JobId;
use crate::model::job::Job;
use crate::model::{ConnectorId, OrgNo};
use crate::store::jobs::{Brief, Ready, Step};
use crate::store::lookup::{self, By};
use crate::store::{self, Read, Txn, jobs};

/// How much may run at once, and how long a job waits until it counts one priority better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    pub running_max: usize,
    pub running_per_connector_max: usize,
    pub aging_millis: i64,
}

/// Takes the due job with the best priority, fair over organizations, and gives it a lease and a new fencing token. Its
/// run is running from then on.
pub fn claim(
    txn: &Txn,
    caps: Caps,
    owner: &str,
    now: i64,
    lease_millis: i64,
) -> Result<Option<Job>, store::Error> {
    match pick(txn, caps, now)? {
        Some(id) => begin(txn, id, owner, now, lease_millis),
        None => Ok(None),
    }
}

/// The job that [`claim`] would take: a look costs no commit.
///
/// It reads what runs, and of each connector that may run something the head of each priority: as a rule one entry, and
/// beyond it only jobs of organizations that have something running.
pub fn pick(read: &dyn Read, caps: Caps, now: i64) -> Result<Option<JobId>, store::Error> {
    let running: Vec<Brief> = jobs::running(read)?.into_iter().map(|(_, brief)| brief).collect();
    if running.len() >= caps.running_max {
        return Ok(None);
    }
    // Jobs of a connector in `error` wait until it is well again.
    let in_error = By::Status(ConnectorStatus::Error);
    let asleep = lookup::connector_ids(read, &in_error, None, usize::MAX)?;
    let mut choice = Choice { caps, now, running: &running, best: None };
    let mut awake = None;
    jobs::walk_ready(read, &mut |ready| {
        if ready.waits && ready.due_at > now {
            return Step::SkipLane;
        }
        let connector = ready.brief.connector();
        if awake != Some(connector) {
            if asleep.contains(&connector) || !choice.has_room(connector) {
                return Step::SkipConnector;
            }
            awake = Some(connector);
        }
        choice.offer(&ready)
    })?;
    Ok(choice.best.map(|(_, id)| id))
}

/// Smaller is sooner: priority with age, running jobs of the organization, due since, number.
type Rank = (i64, usize, i64, JobId);

struct Choice<'a> {
    caps: Caps,
    now: i64,
    running: &'a [Brief],
    best: Option<(Rank, JobId)>,
}

impl Choice<'_> {
    /// Looks at a job that is due, in the order of its lane: the longest due first.
    fn offer(&mut self, ready: &Ready) -> Step {
        // A clock that was set back makes nobody less urgent.
        let waited = self.now.saturating_sub(ready.due_at).max(0) / self.caps.aging_millis.max(1);
        let priority = (ready.priority as i64).saturating_sub(waited).max(0);
        let of_org = self.running_of(ready.brief.org());
        // Whatever comes later in the lane is at best as good as this.
        let bound = (priority, 0, ready.due_at, ready.job);
        if self.best.is_some_and(|(best, _)| best < bound) {
            return Step::SkipLane;
        }
        if self.collides(&ready.brief) {
            return Step::Next;
        }
        let rank = (priority, of_org, ready.due_at, ready.job);
        if self.best.is_none_or(|(best, _)| rank < best) {
            self.best = Some((rank, ready.job));
        }
        if of_org == 0 { Step::SkipLane } else { Step::Next }
    }

    fn running_of(&self, org: OrgNo) -> usize {
        self.running.iter().filter(|other| other.org() == org).count()
    }

    fn has_room(&self, connector: ConnectorId) -> bool {
        let same = self.running.iter().filter(|other| other.connector() == connector).count();
        same < self.caps.running_per_connector_max
    }

    /// With one that runs: same connection, or an entity of the organization that another job writes.
    fn collides(&self, job: &Brief) -> bool {
        self.running.iter().any(|other| {
            other.connection() == job.connection()
                || other.org() == job.org()
                    && other.entities.iter().any(|entity| job.entities.contains(entity))
        })
    }
}
