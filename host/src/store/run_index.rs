//! Which runs: an index for each thing that a list of runs filters by, and the intersection of several, from the newest
//! run to the oldest. Its cost is the rows that are answered, and what lies between two indexes, not the rows there are.

use super::Error;
use super::file::{Read, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::{RUNS, RUNS_BY};
use crate::model::run::Run;
use crate::model::{ConnectorId, OrgNo, RunId, RunStatus, Trigger};
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

/// What a list is narrowed to: all of it at once. Several statuses are any of them.
#[derive(Clone, Debug, Default)]
pub struct Facets {
    pub org: Option<OrgNo>,
    pub connector: Option<ConnectorId>,
    pub trigger: Option<Trigger>,
    pub statuses: Vec<RunStatus>,
}

/// The first part of a key of `RUNS_BY`.
const ORG: u32 = 1;
const CONNECTOR: u32 = 2;
const TRIGGER: u32 = 3;
const STATUS: u32 = 4;
/// In how many lists each run is.
pub(super) const LISTS: u64 = 4;

fn list(kind: u32, value: u32) -> Key {
    Key::new().u32(kind).u32(value)
}

/// Numbers in keys: they stay what they are.
fn trigger_no(trigger: Trigger) -> u32 {
    match trigger {
        Trigger::Manual => 1,
        Trigger::Webhook => 2,
        Trigger::Scheduled => 3,
        Trigger::Retry => 4,
    }
}

pub(super) fn status_no(status: RunStatus) -> u32 {
    match status {
        RunStatus::Queued => 1,
        RunStatus::Running => 2,
        RunStatus::Waiting => 3,
        RunStatus::Completed => 4,
        RunStatus::Partial => 5,
        RunStatus::Failed => 6,
        RunStatus::Held => 7,
        RunStatus::Cancelled => 8,
        RunStatus::NeedsReauth => 9,
    }
}

/// Enters a run into its lists, or moves it from the status with the number `before` to the one that it has.
pub(super) fn note(txn: &Txn, org: OrgNo, before: Option<u32>, run: &Run) -> Result<(), Error> {
    let now = status_no(run.status);
    match before {
        Some(before) if before == now => return Ok(()),
        Some(before) => txn.delete(RUNS_BY, list(STATUS, before).u64(run.id.0).bytes())?,
        None => {
            for list in fixed(org, run) {
                txn.put(RUNS_BY, list.u64(run.id.0).bytes(), &[])?;
            }
        }
    }
    txn.put(RUNS_BY, list(STATUS, now).u64(run.id.0).bytes(), &[])
}

/// The lists that a run stays in.
fn fixed(org: OrgNo, run: &Run) -> [Key; 3] {
    let trigger = trigger_no(run.trigger);
    [list(ORG, org.0), list(CONNECTOR, run.connector.0), list(TRIGGER, trigger)]
}

/// Takes a run out of all its lists.
pub(super) fn forget(txn: &Txn, org: OrgNo, run: &Run) -> Result<(), Error> {
    let status = list(STATUS, status_no(run.status));
    for list in fixed(org, run).into_iter().chain([status]) {
        txn.delete(RUNS_BY, list.u64(run.id.0).bytes())?;
    }
    Ok(())
}

/// Whether a run is in the lists that it names itself: all but that of its organization.
pub(super) fn is_listed(read: &dyn Read, run: &Run) -> Result<bool, Error> {
    let status = list(STATUS, status_no(run.status));
    let (connector, trigger) = (run.connector.0, trigger_no(run.trigger));
    for list in [list(CONNECTOR, connector), list(TRIGGER, trigger), status] {
        if read.get_row(RUNS_BY, list.u64(run.id.0).bytes())?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The numbers of the organizations that have runs.
pub(super) fn organizations(read: &dyn Read) -> Result<BTreeSet<u32>, Error> {
    let (prefix, mut found) = (Key::new().u32(ORG), BTreeSet::new());
    scan_prefix(read, RUNS_BY, &prefix, &mut |key, _| {
        found.extend(Parts(key.get(prefix.len()..).unwrap_or_default()).u32());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

impl Facets {
    pub fn of_organization(org: OrgNo) -> Facets {
        Facets { org: Some(org), ..Facets::default() }
    }

    /// The lists that a run must be in: in one of each.
    fn lists(&self) -> Vec<Vec<Key>> {
        let mut lists = Vec::new();
        lists.extend(self.org.map(|org| vec![list(ORG, org.0)]));
        lists.extend(self.connector.map(|connector| vec![list(CONNECTOR, connector.0)]));
        lists.extend(self.trigger.map(|trigger| vec![list(TRIGGER, trigger_no(trigger))]));
        if !self.statuses.is_empty() {
            lists.push(self.statuses.iter().map(|of| list(STATUS, status_no(*of))).collect());
        }
        lists
    }
}

/// Visits a run's id, and whether it is wanted, until it breaks or fails.
type Visit<'a> = &'a mut dyn FnMut(RunId, bool) -> Result<ControlFlow<()>, Error>;

/// Visits the ids of the wanted runs below `before`, newest first, each with true. With false it visits where it looked
/// at lists that did not meet: from that id on upwards there is no further one.
pub fn scan(
    read: &dyn Read,
    facets: &Facets,
    before: Option<RunId>,
    visit: Visit<'_>,
) -> Result<(), Error> {
    let lists = facets.lists();
    let below = before.map_or(u64::MAX, |run| run.0);
    match lists.as_slice() {
        [] => all_below(read, RUNS, &Key::new(), below, visit),
        [one] if one.len() == 1 => match one.first() {
            Some(list) => all_below(read, RUNS_BY, list, below, visit),
            None => Ok(()),
        },
        lists => meet(read, lists, below, visit),
    }
}

fn all_below(
    read: &dyn Read,
    table: super::tables::Table,
    list: &Key,
    below: u64,
    visit: Visit<'_>,
) -> Result<(), Error> {
    let upper = list.clone().u64(below);
    let bounds = (Bound::Included(list.bytes()), Bound::Excluded(upper.bytes()));
    read.scan_rows(table, bounds, true, &mut |key, _| match run_of(list, key) {
        Some(run) => visit(RunId(run), true),
        None => Ok(ControlFlow::Continue(())),
    })
}

/// Goes down through all lists at once: each names its next run, and the lowest of them is where the others look next.
fn meet(
    read: &dyn Read,
    lists: &[Vec<Key>],
    mut below: u64,
    visit: Visit<'_>,
) -> Result<(), Error> {
    loop {
        let (mut met, mut agreed) = (None::<u64>, 0);
        for list in lists.iter().cycle() {
            let limit = met.map_or(below, |met| met.saturating_add(1));
            let Some(next) = next_below(read, list, limit)? else { return Ok(()) };
            if met == Some(next) {
                agreed += 1;
            } else {
                if met.is_some() && visit(RunId(next.saturating_add(1)), false)?.is_break() {
                    return Ok(());
                }
                (met, agreed) = (Some(next), 1);
            }
            if agreed == lists.len() {
                break;
            }
        }
        let Some(met) = met else { return Ok(()) };
        if visit(RunId(met), true)?.is_break() {
            return Ok(());
        }
        below = met;
    }
}

/// The newest run below a limit in any of these.
fn next_below(read: &dyn Read, any: &[Key], limit: u64) -> Result<Option<u64>, Error> {
    let mut newest = None;
    for list in any {
        let upper = list.clone().u64(limit);
        let bounds = (Bound::Included(list.bytes()), Bound::Excluded(upper.bytes()));
        let mut found = None;
        read.scan_rows(RUNS_BY, bounds, true, &mut |key, _| {
            found = run_of(list, key);
            Ok(ControlFlow::Break(()))
        })?;
        newest = newest.max(found);
    }
    Ok(newest)
}

fn run_of(list: &Key, key: &[u8]) -> Option<u64> {
    Parts(key.get(list.len()..)?).u64()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests;
