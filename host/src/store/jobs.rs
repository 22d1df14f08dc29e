//! Rows of the queue and their indexes, kept in step. What a job means and who may claim it is decided in `queue`.

use super::file::{Read, Txn, scan_after};
use super::keys::{Key, Parts};
use super::tables::{
    JOBS, JOBS_BY_CONNECTION, JOBS_BY_ORGANIZATION, JOBS_DEAD, JOBS_READY, JOBS_RUNNING, Table,
};
use super::{Error, meta, rows};
use crate::model::ids::JobId;
use crate::model::job::{Job, JobKind, JobState, Priority};
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

impl Brief {
    pub fn of(job: &Job) -> Brief {
        Brief {
            org: job.org_no.0,
            connector: job.connector.0,
            connection: job.connection.0,
            entities: job.entities.clone(),
        }
    }

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
    pub due_at: i64,
    pub brief: Brief,
}

/// The place of a sync in the line of its connection: at most one job stands in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Pending,
    Waiting,
}

/// Of jobs that were begun and given back: behind the slots, each with its number.
const GIVEN_BACK: u32 = 2;
const LIVE: u32 = 1;
const DEAD: u32 = 2;

/// How a walk over jobs goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Next,
    /// Leaves out the others of this connector and priority.
    SkipLane,
    SkipConnector,
    Stop,
}

type Entry = (Table, Key, Vec<u8>);

pub fn next_id(txn: &Txn) -> Result<JobId, Error> {
    meta::next(txn, "job").map(JobId)
}

pub fn get(read: &dyn Read, id: JobId) -> Result<Option<Job>, Error> {
    let row = read.get_row(JOBS, Key::new().u64(id.0).bytes())?;
    row.map(|row| rows::from_json(JOBS, &row)).transpose()
}

pub fn insert(txn: &Txn, job: &Job) -> Result<(), Error> {
    txn.put(JOBS, Key::new().u64(job.id.0).bytes(), &rows::to_json(job)?)?;
    for (table, key, value) in entries(job)? {
        txn.put(table, key.bytes(), &value)?;
    }
    Ok(())
}

/// Writes a job that is there as `before`.
pub fn replace(txn: &Txn, before: &Job, now: &Job) -> Result<(), Error> {
    let (old, new) = (entries(before)?, entries(now)?);
    let is = |a: &Entry, b: &Entry| a.0.name() == b.0.name() && a.1 == b.1;
    for entry in old.iter().filter(|entry| !new.iter().any(|other| is(entry, other))) {
        txn.delete(entry.0, entry.1.bytes())?;
    }
    for entry in &new {
        let kept = old.iter().any(|other| is(entry, other) && entry.2 == other.2);
        if !kept {
            txn.put(entry.0, entry.1.bytes(), &entry.2)?;
        }
    }
    txn.put(JOBS, Key::new().u64(now.id.0).bytes(), &rows::to_json(now)?)
}

/// Removes a job that is there as `before`.
pub fn remove(txn: &Txn, before: &Job) -> Result<(), Error> {
    for (table, key, _) in entries(before)? {
        txn.delete(table, key.bytes())?;
    }
    txn.delete(JOBS, Key::new().u64(before.id.0).bytes())
}

/// All index entries of a job.
fn entries(job: &Job) -> Result<Vec<Entry>, Error> {
    let standing = if job.state == JobState::Dead { DEAD } else { LIVE };
    let by_org = Key::org(job.org_no).u32(standing).u64(job.id.0);
    let mut entries = vec![(JOBS_BY_ORGANIZATION, by_org, vec![])];
    let slot = match job.state {
        JobState::Pending => Some(Slot::Pending),
        JobState::Waiting => Some(Slot::Waiting),
        JobState::Running | JobState::Dead => None,
    };
    if let Some(slot) = slot {
        let lane = lane(job.connector, job.priority);
        let ready = lane.u64(time(job.due_at)).u64(job.id.0);
        entries.push((JOBS_READY, ready, rows::to_binary(&Brief::of(job))?));
        if let Some(key) = place(job, slot) {
            entries.push((JOBS_BY_CONNECTION, key, job.id.0.to_be_bytes().to_vec()));
        }
    }
    let id = Key::new().u64(job.id.0);
    match job.state {
        JobState::Running => entries.push((JOBS_RUNNING, id, rows::to_binary(&Brief::of(job))?)),
        JobState::Dead => {
            let ended = Key::new().u64(time(job.ended_at.unwrap_or(0)));
            entries.push((JOBS_DEAD, ended.u64(job.id.0), vec![]));
        }
        JobState::Pending | JobState::Waiting => {}
    }
    Ok(entries)
}

fn lane(connector: ConnectorId, priority: Priority) -> Key {
    Key::new().u32(connector.0).u32(priority as u32)
}

/// Where a sync with effects stands in the line of its connection.
fn place(job: &Job, slot: Slot) -> Option<Key> {
    let of_connection = Key::new().u32(job.connection.0);
    match job.kind {
        JobKind::Sync { dry_run: false, .. } if job.begun => {
            Some(of_connection.u32(GIVEN_BACK).u64(job.id.0))
        }
        JobKind::Sync { dry_run: false, .. } => Some(slot_key(job.connection, slot)),
        JobKind::Sync { .. } | JobKind::Apply { .. } => None,
    }
}

fn slot_key(connection: ConnectionId, slot: Slot) -> Key {
    Key::new().u32(connection.0).u32(slot as u32)
}

/// Instants before the epoch have no place in a queue.
fn time(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0)
}

/// The sync that stands in this place of a connection's line.
pub fn in_slot(
    read: &dyn Read,
    connection: ConnectionId,
    slot: Slot,
) -> Result<Option<Job>, Error> {
    let row = read.get_row(JOBS_BY_CONNECTION, slot_key(connection, slot).bytes())?;
    match row.and_then(|row| Parts(&row).u64()) {
        Some(id) => get(read, JobId(id)),
        None => Ok(None),
    }
}

/// The live syncs of a connection: those that run, that wait to begin, and that wait for a retry.
pub fn of_connection(read: &dyn Read, connection: ConnectionId) -> Result<Vec<Job>, Error> {
    let mut ids: Vec<JobId> = running(read)?
        .into_iter()
        .filter(|(_, brief)| brief.connection() == connection)
        .map(|(id, _)| id)
        .collect();
    let prefix = Key::new().u32(connection.0);
    scan_after(read, JOBS_BY_CONNECTION, &prefix, None, &mut |_, row| {
        ids.extend(Parts(row).u64().map(JobId));
        ControlFlow::Continue(())
    })?;
    let found = ids.into_iter().map(|id| get(read, id)).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// All running jobs: as many as the caps allow.
pub fn running(read: &dyn Read) -> Result<Vec<(JobId, Brief)>, Error> {
    let mut found = Vec::new();
    let mut failed = None;
    scan_after(read, JOBS_RUNNING, &Key::new(), None, &mut |key, row| {
        match (Parts(key).u64(), rows::from_binary(JOBS_RUNNING, row)) {
            (Some(id), Ok(brief)) => found.push((JobId(id), brief)),
            (None, _) => failed = Some(rows::corrupt(JOBS_RUNNING, &"bad key")),
            (_, Err(error)) => failed = Some(error),
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(found), Err)
}

/// Visits the jobs that wait to be claimed: connector by connector, in each the best priority first, in that the
/// earliest first.
pub fn walk_ready(read: &dyn Read, visit: &mut dyn FnMut(Ready) -> Step) -> Result<(), Error> {
    let mut from = Some(Vec::new());
    while let Some(begin) = from.take() {
        let mut failed = None;
        let bounds = (Bound::Included(begin.as_slice()), Bound::Unbounded);
        read.scan_rows(JOBS_READY, bounds, false, &mut |key, row| {
            let ready = match ready(key, row) {
                Ok(ready) => ready,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            };
            let (connector, priority) = (ready.brief.connector(), ready.priority);
            let skipped = match visit(ready) {
                Step::Next => return ControlFlow::Continue(()),
                Step::Stop => None,
                Step::SkipLane => lane(connector, priority).prefix_end(),
                Step::SkipConnector => Key::new().u32(connector.0).prefix_end(),
            };
            from = skipped;
            ControlFlow::Break(())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

fn ready(key: &[u8], row: &[u8]) -> Result<Ready, Error> {
    let corrupt = || rows::corrupt(JOBS_READY, &"bad key");
    let mut parts = Parts(key.get(4..).unwrap_or_default());
    let priority = parts.u32().and_then(|at| Priority::ALL.get(usize::try_from(at).ok()?).copied());
    let (due, job) = (parts.u64().ok_or_else(corrupt)?, parts.u64().ok_or_else(corrupt)?);
    Ok(Ready {
        job: JobId(job),
        priority: priority.ok_or_else(corrupt)?,
        due_at: i64::try_from(due).unwrap_or(i64::MAX),
        brief: rows::from_binary(JOBS_READY, row)?,
    })
}

/// When the next job becomes due that is not due at `now`.
pub fn next_due(read: &dyn Read, now: i64) -> Result<Option<i64>, Error> {
    let mut next: Option<i64> = None;
    let mut lanes = Vec::new();
    walk_ready(read, &mut |ready| {
        lanes.push((ready.brief.connector(), ready.priority));
        Step::SkipLane
    })?;
    for (connector, priority) in lanes {
        let lane = lane(connector, priority);
        let later = lane.clone().u64(time(now).saturating_add(1));
        let end = lane.prefix_end();
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let bounds = (Bound::Included(later.bytes()), upper);
        read.scan_rows(JOBS_READY, bounds, false, &mut |key, _| {
            let due = Parts(key.get(8..).unwrap_or_default()).u64();
            let due = due.and_then(|due| i64::try_from(due).ok());
            next = [next, due].into_iter().flatten().min();
            ControlFlow::Break(())
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
    let prefix = Key::org(org).u32(if dead { DEAD } else { LIVE });
    let after = after.map(|id| prefix.clone().u64(id.0));
    let after = after.as_ref().map(Key::bytes);
    let mut failed = None;
    scan_after(read, JOBS_BY_ORGANIZATION, &prefix, after, &mut |key, _| {
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).u64().map(JobId);
        match get(read, id.unwrap_or_default()) {
            Ok(Some(job)) => visit(job),
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Whether an organization has `count` live jobs or more.
pub fn has_live(read: &dyn Read, org: OrgNo, count: usize) -> Result<bool, Error> {
    let mut seen = 0;
    scan_after(read, JOBS_BY_ORGANIZATION, &Key::org(org).u32(LIVE), None, &mut |_, _| {
        seen += 1;
        if seen >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(seen >= count)
}

/// The jobs that failed for good before `before`, the oldest first, at most so many.
pub fn dead(read: &dyn Read, before: i64, limit: usize) -> Result<Vec<JobId>, Error> {
    let mut found = Vec::new();
    let upper = Key::new().u64(time(before));
    let bounds = (Bound::Unbounded, Bound::Excluded(upper.bytes()));
    read.scan_rows(JOBS_DEAD, bounds, false, &mut |key, _| {
        if found.len() >= limit {
            return ControlFlow::Break(());
        }
        found.extend(Parts(key.get(8..).unwrap_or_default()).u64().map(JobId));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// When the oldest of the jobs that failed for good did so.
pub fn oldest_dead(read: &dyn Read) -> Result<Option<i64>, Error> {
    let mut oldest = None;
    scan_after(read, JOBS_DEAD, &Key::new(), None, &mut |key, _| {
        oldest = Parts(key).u64().and_then(|at| i64::try_from(at).ok());
        ControlFlow::Break(())
    })?;
    Ok(oldest)
}

/// All jobs, also those that failed for good: for who looks at everything. The queue itself walks its indexes.
pub fn all(read: &dyn Read) -> Result<Vec<Job>, Error> {
    let (mut found, mut failed) = (Vec::new(), None);
    scan_after(read, JOBS, &Key::new(), None, &mut |_, row| match rows::from_json(JOBS, row) {
        Ok(job) => {
            found.push(job);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(found), Err)
}

/// Where the indexes do not hold what the rows say, in words.
pub(super) fn faults(read: &dyn Read, jobs: &[Job]) -> Result<Vec<String>, Error> {
    let indexes = [JOBS_BY_ORGANIZATION, JOBS_BY_CONNECTION, JOBS_READY, JOBS_RUNNING, JOBS_DEAD];
    let mut wrong = Vec::new();
    let mut wanted = BTreeMap::new();
    for job in jobs {
        for (table, key, row) in entries(job)? {
            let place = (table.name().to_owned(), key.bytes().to_vec());
            if wanted.insert(place, row).is_some() {
                wrong.push(format!("{} shares its place in {}", job.id, table.name()));
            }
        }
    }
    for table in indexes {
        scan_after(read, table, &Key::new(), None, &mut |key, row| {
            let place = (table.name().to_owned(), key.to_vec());
            if wanted.remove(&place).as_deref() != Some(row) {
                wrong.push(format!("{} has an entry {key:?} of no job", table.name()));
            }
            ControlFlow::Continue(())
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
