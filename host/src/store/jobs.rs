//! Rows of the queue and their indexes, kept in step. What a job means and who may claim it is decided in `queue`.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::file::{Read, Txn, scan_after};
use super::keys::{Key, Parts};
use super::tables::{
    JOBS, JOBS_DEAD, JOBS_DEAD_BY_ORGANIZATION, JOBS_READY, JOBS_RUNNING, JOBS_WAITING, Table,
};
use super::{Error, meta, rows};
use crate::model::ids::JobId;
use crate::model::job::{Job, JobState, Priority};
use crate::model::{ConnectionId, ConnectorId, OrgNo};
use redb::TableHandle as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// What a claim looks at: enough to pass over a job without reading its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    org: u32,
    connector: u32,
    connection: u32,
    pub entities: Vec<String>,
}

/// The row of a job's [`Brief`].
fn brief(job: &Job) -> Result<Vec<u8>, Error> {
    rows::to_binary(&(job.org_no.0, job.connector.0, job.connection.0, &job.entities))
}

impl Brief {
    pub fn org(&self) -> OrgNo {
        OrgNo(self.org)
    }

    pub fn connector(&self) -> ConnectorId {
        ConnectorId(self.connector)
    }

    pub fn connection(&self) -> ConnectionId {
        ConnectionId(self.connection)
    }
}

/// A job that waits to be claimed, due or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    pub job: JobId,
    pub priority: Priority,
    /// It waits for a retry and not before its time. Any other is due whatever the clock says.
    pub waits: bool,
    pub due_at: i64,
    pub brief: Brief,
}

/// The place of a sync in the line of its connection: at most one job stands in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Pending,
    Waiting,
}

/// Of the others that wait: behind the slots, each with its number.
const ASIDE: u32 = 2;

/// How a walk over jobs goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Next,
    /// Leaves out the others of this connector and priority that wait for a retry, or that do not.
    SkipLane,
    SkipConnector,
}

/// What an index entry of a job holds.
#[derive(Clone, Copy)]
enum Holds {
    Nothing,
    Number,
    /// What it touches: a [`Brief`].
    Brief,
}

struct Entry {
    table: Table,
    key: Key,
    holds: Holds,
}

impl Entry {
    fn row(&self, job: &Job) -> Result<Vec<u8>, Error> {
        match self.holds {
            Holds::Nothing => Ok(Vec::new()),
            Holds::Number => Ok(job.id.0.to_be_bytes().to_vec()),
            Holds::Brief => brief(job),
        }
    }

    fn is_at(&self, other: &Entry) -> bool {
        self.table.name() == other.table.name() && self.key == other.key
    }
}

pub fn get(read: &dyn Read, id: JobId) -> Result<Option<Job>, Error> {
    let row = read.get_row(JOBS, Key::new().u64(id.0).bytes())?;
    row.map(|row| rows::from_binary(JOBS, &row)).transpose()
}

pub fn insert(txn: &Txn, job: &Job) -> Result<(), Error> {
    txn.put(JOBS, Key::new().u64(job.id.0).bytes(), &rows::to_binary(job)?)?;
    for entry in entries(job) {
        txn.put(entry.table, entry.key.bytes(), &entry.row(job)?)?;
    }
    Ok(())
}

/// Writes a job that is there as `before`.
pub fn replace(txn: &Txn, before: &Job, now: &Job) -> Result<(), Error> {
    let (old, new) = (entries(before), entries(now));
    for entry in old.iter().filter(|entry| !new.iter().any(|other| entry.is_at(other))) {
        txn.delete(entry.table, entry.key.bytes())?;
    }
    for entry in &new {
        let row = entry.row(now)?;
        let known = old.iter().find(|other| entry.is_at(other));
        let known = known.map(|other| other.row(before)).transpose()?;
        if known.as_ref() != Some(&row) {
            txn.put(entry.table, entry.key.bytes(), &row)?;
        }
    }
    txn.put(JOBS, Key::new().u64(now.id.0).bytes(), &rows::to_binary(now)?)
}

/// Removes a job that is there as `before`.
pub fn remove(txn: &Txn, before: &Job) -> Result<(), Error> {
    for entry in entries(before) {
        txn.delete(entry.table, entry.key.bytes())?;
    }
    txn.delete(JOBS, Key::new().u64(before.id.0).bytes())
}

/// All index entries of a job: where it stands in its state.
fn entries(job: &Job) -> Vec<Entry> {
    let entry = |table, key, holds| Entry { table, key, holds };
    match job.state {
        JobState::Pending | JobState::Waiting => {
            let lane = lane(job.connector, job.priority, job.state == JobState::Waiting);
            let ready = lane.u64(time(job.due_at)).u64(job.id.0);
            let waiting = entry(JOBS_WAITING, place(job), Holds::Number);
            vec![entry(JOBS_READY, ready, Holds::Brief), waiting]
        }
        JobState::Running => vec![entry(JOBS_RUNNING, Key::new().u64(job.id.0), Holds::Brief)],
        JobState::Dead => {
            let ended = Key::new().u64(time(job.ended_at.unwrap_or(0))).u64(job.id.0);
            let by_org = Key::org(job.org_no).u64(job.id.0);
            vec![
                entry(JOBS_DEAD, ended, Holds::Nothing),
                entry(JOBS_DEAD_BY_ORGANIZATION, by_org, Holds::Nothing),
            ]
        }
    }
}

/// Jobs that wait for a retry have lanes of their own: only these are looked at by the clock, which may have been set back
/// since the others came.
fn lane(connector: ConnectorId, priority: Priority, waits: bool) -> Key {
    Key::new().u32(connector.0).u32(2 * priority as u32 + u32::from(waits))
}

/// Where a job that waits stands in the line of its connection.
fn place(job: &Job) -> Key {
    let line = line(job.org_no, job.connection);
    match job.state {
        _ if !job.merges() => line.u32(ASIDE).u64(job.id.0),
        JobState::Waiting => line.u32(Slot::Waiting as u32),
        _ => line.u32(Slot::Pending as u32),
    }
}

fn line(org: OrgNo, connection: ConnectionId) -> Key {
    Key::org(org).u32(connection.0)
}

/// Instants before the epoch have no place in a queue.
fn time(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0)
}

/// The sync that stands in this place of a connection's line.
pub fn in_slot(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
    slot: Slot,
) -> Result<Option<Job>, Error> {
    let key = line(org, connection).u32(slot as u32);
    match read.get_row(JOBS_WAITING, key.bytes())?.and_then(|row| Parts(&row).u64()) {
        Some(id) => get(read, JobId(id)),
        None => Ok(None),
    }
}

/// The first sync that others of its connection merge into: one that is pending, else one that waits for a retry.
pub fn first_in_line(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
) -> Result<Option<Job>, Error> {
    let (lower, upper) = (line(org, connection), line(org, connection).u32(ASIDE));
    let bounds = (Bound::Included(lower.bytes()), Bound::Excluded(upper.bytes()));
    let mut first = None;
    read.scan_rows(JOBS_WAITING, bounds, false, &mut |_, row| {
        first = Parts(row).u64();
        Ok(ControlFlow::Break(()))
    })?;
    first.map_or(Ok(None), |id| get(read, JobId(id)))
}

/// The live jobs of a connection: those that run, that wait to begin, and that wait for a retry.
pub fn of_connection(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
) -> Result<Vec<Job>, Error> {
    let ids = live(read, &line(org, connection), |brief| brief.connection() == connection)?;
    let found = ids.into_iter().map(|id| get(read, id)).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Live jobs: first those that run, then those that wait in lines below `prefix`.
fn live(read: &dyn Read, prefix: &Key, runs: impl Fn(&Brief) -> bool) -> Result<Vec<JobId>, Error> {
    let running = running(read)?.into_iter();
    let mut ids: Vec<JobId> = running.filter(|(_, brief)| runs(brief)).map(|(id, _)| id).collect();
    scan_after(read, JOBS_WAITING, prefix, None, &mut |_, row| {
        ids.extend(Parts(row).u64().map(JobId));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(ids)
}

/// All running jobs: as many as the caps allow.
pub fn running(read: &dyn Read) -> Result<Vec<(JobId, Brief)>, Error> {
    let mut found = Vec::new();
    scan_after(read, JOBS_RUNNING, &Key::new(), None, &mut |key, row| {
        let id = Parts(key).u64().ok_or_else(|| rows::corrupt(JOBS_RUNNING, &"bad key"))?;
        found.push((JobId(id), rows::from_binary(JOBS_RUNNING, row)?));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Visits the jobs that wait to be claimed: connector by connector, in each the best priority first, in that those that
/// wait for no retry, the earliest first.
pub fn walk_ready(read: &dyn Read, visit: &mut dyn FnMut(Ready) -> Step) -> Result<(), Error> {
    let mut from = Some(Vec::new());
    while let Some(begin) = from.take() {
        let bounds = (Bound::Included(begin.as_slice()), Bound::Unbounded);
        read.scan_rows(JOBS_READY, bounds, false, &mut |key, row| {
            let ready = ready(key, row)?;
            let (connector, priority) = (ready.brief.connector(), ready.priority);
            let lane = lane(connector, priority, ready.waits);
            from = match visit(ready) {
                Step::Next => return Ok(ControlFlow::Continue(())),
                Step::SkipLane => lane.prefix_end(),
                Step::SkipConnector => Key::new().u32(connector.0).prefix_end(),
            };
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(())
}

fn ready(key: &[u8], row: &[u8]) -> Result<Ready, Error> {
    let corrupt = || rows::corrupt(JOBS_READY, &"bad key");
    let mut parts = Parts(key.get(4..).unwrap_or_default());
    let lane = parts.u32().ok_or_else(corrupt)?;
    let priority = usize::try_from(lane / 2).ok().and_then(|at| Priority::ALL.get(at).copied());
    let (due, job) = (parts.u64().ok_or_else(corrupt)?, parts.u64().ok_or_else(corrupt)?);
    Ok(Ready {
        job: JobId(job),
        priority: priority.ok_or_else(corrupt)?,
        waits: lane % 2 == 1,
        due_at: i64::try_from(due).unwrap_or(i64::MAX),
        brief: rows::from_binary(JOBS_READY, row)?,
    })
}

/// When the next job that waits for a retry becomes due that is not due at `now`.
pub fn next_due(read: &dyn Read, now: i64) -> Result<Option<i64>, Error> {
    let mut next: Option<i64> = None;
    let mut lanes = Vec::new();
    walk_ready(read, &mut |ready| {
        lanes.extend(ready.waits.then_some((ready.brief.connector(), ready.priority)));
        Step::SkipLane
    })?;
    for (connector, priority) in lanes {
        let lane = lane(connector, priority, true);
        let later = lane.clone().u64(time(now).saturating_add(1));
        let end = lane.prefix_end();
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let bounds = (Bound::Included(later.bytes()), upper);
        read.scan_rows(JOBS_READY, bounds, false, &mut |key, _| {
            let due = Parts(key.get(8..).unwrap_or_default()).u64();
            let due = due.and_then(|due| i64::try_from(due).ok());
            next = [next, due].into_iter().flatten().min();
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(next)
}

/// Visits the jobs of an organization that live, or those that failed for good, oldest first, behind the job `after`.
pub fn scan_of_organization(
    read: &dyn Read,
    org: OrgNo,
    dead: bool,
    after: Option<JobId>,
    visit: &mut dyn FnMut(Job) -> ControlFlow<()>,
) -> Result<(), Error> {
    if !dead {
        let mut ids = live(read, &Key::org(org), |brief| brief.org() == org)?;
        ids.sort_unstable();
        for id in ids.into_iter().filter(|id| after.is_none_or(|after| *id > after)) {
            if get(read, id)?.is_some_and(|job| visit(job).is_break()) {
                break;
            }
        }
        return Ok(());
    }
    let prefix = Key::org(org);
    let after = after.map(|id| prefix.clone().u64(id.0));
    let after = after.as_ref().map(Key::bytes);
    scan_after(read, JOBS_DEAD_BY_ORGANIZATION, &prefix, after, &mut |key, _| {
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).u64().map(JobId);
        let job = get(read, id.unwrap_or_default())?;
        Ok(job.map_or(ControlFlow::Continue(()), &mut *visit))
    })
}

/// Whether an organization has `count` live jobs or more.
pub fn has_live(read: &dyn Read, org: OrgNo, count: usize) -> Result<bool, Error> {
    Ok(live(read, &Key::org(org), |brief| brief.org() == org)?.len() >= count)
}

/// The jobs that failed for good before `before`, the oldest first, at most so many.
pub fn dead(read: &dyn Read, before: i64, limit: usize) -> Result<Vec<JobId>, Error> {
    let mut found = Vec::new();
    let upper = Key::new().u64(time(before));
    let bounds = (Bound::Unbounded, Bound::Excluded(upper.bytes()));
    read.scan_rows(JOBS_DEAD, bounds, false, &mut |key, _| {
        if found.len() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        found.extend(Parts(key.get(8..).unwrap_or_default()).u64().map(JobId));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// When the oldest of the jobs that failed for good did so.
pub fn oldest_dead(read: &dyn Read) -> Result<Option<i64>, Error> {
    let mut oldest = None;
    scan_after(read, JOBS_DEAD, &Key::new(), None, &mut |key, _| {
        oldest = Parts(key).u64().and_then(|at| i64::try_from(at).ok());
        Ok(ControlFlow::Break(()))
    })?;
    Ok(oldest)
}

/// Puts the jobs of a file of an earlier program, which had no lanes for retries, into theirs.
pub(super) fn ensure_lanes(txn: &Txn) -> Result<(), Error> {
    if meta::retry_lanes(txn)? {
        return Ok(());
    }
    txn.delete_prefix(JOBS_READY, &Key::new())?;
    for job in all(txn)? {
        for entry in entries(&job).iter().filter(|entry| entry.table.name() == JOBS_READY.name()) {
            txn.put(entry.table, entry.key.bytes(), &entry.row(&job)?)?;
        }
    }
    meta::put_retry_lanes(txn)
}

/// All jobs, also those that failed for good: for who looks at everything. The queue itself walks its indexes.
pub fn all(read: &dyn Read) -> Result<Vec<Job>, Error> {
    let mut found = Vec::new();
    scan_after(read, JOBS, &Key::new(), None, &mut |_, row| {
        found.push(rows::from_binary(JOBS, row)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Where the indexes do not hold what the rows say, in words.
pub(super) fn faults(read: &dyn Read, jobs: &[Job]) -> Result<Vec<String>, Error> {
    let indexes = [JOBS_WAITING, JOBS_READY, JOBS_RUNNING, JOBS_DEAD, JOBS_DEAD_BY_ORGANIZATION];
    let mut wrong = Vec::new();
    let mut wanted = BTreeMap::new();
    for job in jobs {
        for entry in entries(job) {
            let table = entry.table.name().to_owned();
            let place = (table.clone(), entry.key.bytes().to_vec());
            if wanted.insert(place, entry.row(job)?).is_some() {
                wrong.push(format!("{} shares its place in {table}", job.id));
            }
        }
    }
    for table in indexes {
        scan_after(read, table, &Key::new(), None, &mut |key, row| {
            let place = (table.name().to_owned(), key.to_vec());
            if wanted.remove(&place).as_deref() != Some(row) {
                wrong.push(format!("{} has an entry {key:?} of no job", table.name()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let missing = wanted.into_keys();
    wrong.extend(missing.map(|(table, key)| format!("{table} has no entry {key:?}")));
    Ok(wrong)
}

/// All jobs, after a check of their indexes.
#[cfg(test)]
pub(crate) fn checked(read: &dyn Read) -> Vec<Job> {
    let jobs = all(read).expect("jobs");
    let wrong = faults(read, &jobs).expect("indexes");
    assert!(wrong.is_empty(), "{wrong:#?} of {jobs:#?}");
    jobs
}
