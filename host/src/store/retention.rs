//! What goes when it is old enough: an index by class and age over what ended, and its removal a bounded piece at a time.
//!
//! Whoever ends something enters it here, in the same transaction. Nothing is looked for: the oldest entry is the first.
//! How long each class is kept is decided by the caller.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::tables::{
    AGING, CHANGES, CONFLICTS, FAILURES, HISTORY, PLANS, RUN_CONFLICTS, RUN_LOGS, RUN_RECORDS,
    RUN_REQUESTS, RUNS, Table,
};
use super::{Error, channels, conflicts, decisions, failures, feed, meta, rows, run_index, runs};
use crate::model::ids::{ConflictId, DeliveryId, FailureId};
use crate::model::run::Run;
use crate::model::{OrgNo, RunId, RunStatus};
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

/// What is kept for a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Requests, log lines and per-record outcomes of a run: what its undo needs.
    RunDetails,
    /// The run itself with its conflict lines; entered when its details have gone.
    Runs,
    /// Timelines of records: before-images.
    History,
    /// The change feed.
    Changes,
    /// Items of the conflict inbox that are decided.
    Conflicts,
    /// Items of the quarantine that are closed.
    Failures,
    /// Messages to people that are over.
    Notices,
}

impl Class {
    pub const ALL: [Class; 7] = [
        Class::RunDetails,
        Class::Runs,
        Class::History,
        Class::Changes,
        Class::Conflicts,
        Class::Failures,
        Class::Notices,
    ];

    /// Numbers in keys: they stay what they are.
    fn number(self) -> u32 {
        match self {
            Class::RunDetails => 1,
            Class::Runs => 2,
            Class::History => 3,
            Class::Changes => 4,
            Class::Conflicts => 5,
            Class::Failures => 6,
            Class::Notices => 7,
        }
    }

    fn prefix(self) -> Key {
        Key::new().u32(self.number())
    }
}

/// How far one call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Rows that went.
    pub rows: usize,
    /// There is more that is old enough.
    pub more: bool,
}

/// An entry of the index.
struct Aged {
    key: Vec<u8>,
    at: i64,
    value: Vec<u8>,
}

impl Aged {
    /// What it is about, behind class and time.
    fn parts(&self) -> Parts<'_> {
        Parts(self.key.get(12..).unwrap_or_default())
    }

    fn org(&self) -> Result<OrgNo, Error> {
        rows::from_binary(AGING, &self.value).map(OrgNo)
    }
}

fn key(class: Class, at: i64) -> Key {
    class.prefix().u64(u64::try_from(at).unwrap_or(0))
}

/// Enters a row that ended at `at`; `number` names it in its class.
pub(super) fn note(txn: &Txn, class: Class, at: i64, org: OrgNo, number: u64) -> Result<(), Error> {
    txn.put(AGING, key(class, at).u64(number).bytes(), &rows::to_binary(&org.0)?)
}

/// Enters a run that is over. A held one is not: it waits for a person as long as it takes.
pub(super) fn note_run(txn: &Txn, org: OrgNo, run: &Run) -> Result<(), Error> {
    let Some((class, at)) = run_goes(run) else { return Ok(()) };
    note(txn, class, at, org, run.id.0)
}

/// What of a run goes next, and by when it ended.
fn run_goes(run: &Run) -> Option<(Class, i64)> {
    let class = if run.details_gone_at.is_none() { Class::RunDetails } else { Class::Runs };
    run.completed_at.filter(|_| is_over(run)).map(|at| (class, at))
}

/// Whether a run will go where it should.
pub(super) fn has_run(read: &dyn Read, run: &Run) -> Result<bool, Error> {
    let Some((class, at)) = run_goes(run) else { return Ok(true) };
    Ok(read.get_row(AGING, key(class, at).u64(run.id.0).bytes())?.is_some())
}

fn is_over(run: &Run) -> bool {
    run.status.is_final() && run.status != RunStatus::Held
}

/// Enters a chunk of the change feed, and the (record, version) of the timeline entries that were written with it.
pub(super) fn note_changes(
    txn: &Txn,
    at: i64,
    org: OrgNo,
    (first, count): (u64, u64),
    entries: &[(u64, u64)],
) -> Result<(), Error> {
    let key_of = |class| key(class, at).u32(org.0).u64(first);
    txn.put(AGING, key_of(Class::Changes).bytes(), &rows::to_binary(&count)?)?;
    if entries.is_empty() {
        return Ok(());
    }
    txn.put(AGING, key_of(Class::History).bytes(), &rows::to_binary(&entries)?)
}

/// Whether anything of a class is older than `before`: a look that costs no write.
pub fn any_before(read: &dyn Read, class: Class, before: i64) -> Result<bool, Error> {
    Ok(oldest(read, class, before)?.is_some())
}

fn oldest(read: &dyn Read, class: Class, before: i64) -> Result<Option<Aged>, Error> {
    let (lower, upper) = (class.prefix(), key(class, before));
    let bounds = (Bound::Included(lower.bytes()), Bound::Excluded(upper.bytes()));
    let mut found = None;
    read.scan_rows(AGING, bounds, false, &mut |key, value| {
        let at = Parts(key.get(4..).unwrap_or_default()).u64().unwrap_or_default();
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        found = Some(Aged { key: key.to_vec(), at, value: value.to_vec() });
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// Removes what ended before `before`, oldest first, about `rows_max` rows at most: one chunk may go over it.
pub fn prune(
    txn: &Txn,
    class: Class,
    before: i64,
    now: i64,
    rows_max: usize,
) -> Result<Pruned, Error> {
    let mut rows = 0;
    while rows < rows_max {
        let Some(aged) = oldest(txn, class, before)? else {
            return Ok(Pruned { rows, more: false });
        };
        note_pruned(txn, class, aged.at)?;
        let room = rows_max - rows;
        let (gone, whole) = remove(txn, class, &aged, now, room)?;
        rows += gone;
        if whole {
            txn.delete(AGING, &aged.key)?;
            rows += 1;
        }
    }
    Ok(Pruned { rows, more: any_before(txn, class, before)? })
}

fn pruned_word(class: Class) -> String {
    format!("pruned:{}", class.number())
}

fn note_pruned(txn: &Txn, class: Class, at: i64) -> Result<(), Error> {
    if pruned_to(txn, class)?.is_some_and(|known| at <= known) {
        return Ok(());
    }
    meta::put_number(txn, &pruned_word(class), u64::try_from(at).unwrap_or(0))
}

/// Until when (milliseconds since the epoch) rows of a class ended that have gone, or are going; none before the first.
pub(super) fn pruned_to(read: &dyn Read, class: Class) -> Result<Option<i64>, Error> {
    let at = meta::number(read, &pruned_word(class))?;
    Ok(at.map(|at| i64::try_from(at).unwrap_or(i64::MAX)))
}

/// The (organization, record, version) of all timeline entries that will go.
pub(super) fn timelines(read: &dyn Read) -> Result<BTreeSet<(u32, u64, u64)>, Error> {
    let mut found = BTreeSet::new();
    super::file::scan_prefix(read, AGING, &Class::History.prefix(), &mut |key, value| {
        let org = Parts(key.get(12..).unwrap_or_default()).u32().unwrap_or_default();
        let entries: Vec<(u64, u64)> = rows::from_binary(AGING, value)?;
        found.extend(entries.into_iter().map(|(record, version)| (org, record, version)));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Answers how many rows went, and whether all of it did.
fn remove(
    txn: &Txn,
    class: Class,
    aged: &Aged,
    now: i64,
    room: usize,
) -> Result<(usize, bool), Error> {
    let number = || aged.parts().u64().unwrap_or_default();
    match class {
        Class::RunDetails => run_details(txn, aged, RunId(number()), now, room),
        Class::Runs => run(txn, aged, RunId(number()), room),
        Class::History => history(txn, aged),
        Class::Changes => changes(txn, aged),
        Class::Conflicts => conflict(txn, aged, ConflictId(number())),
        Class::Failures => failure(txn, aged, FailureId(number())),
        Class::Notices => notice(txn, DeliveryId(number())),
    }
}

/// The run that an entry is about, if it ended when the entry says: one that was taken up again has another entry.
fn ended_run(txn: &Txn, aged: &Aged, id: RunId) -> Result<Option<Run>, Error> {
    let run = runs::get(txn, id)?;
    Ok(run.filter(|run| is_over(run) && run.completed_at == Some(aged.at)))
}

fn run_details(
    txn: &Txn,
    aged: &Aged,
    id: RunId,
    now: i64,
    room: usize,
) -> Result<(usize, bool), Error> {
    let Some(run) = ended_run(txn, aged, id)? else { return Ok((0, true)) };
    let (gone, whole) = details(txn, id, room)?;
    if whole && run.details_gone_at.is_none() {
        runs::put(txn, aged.org()?, &Run { details_gone_at: Some(now), ..run })?;
    }
    Ok((gone, whole))
}

fn details(txn: &Txn, id: RunId, room: usize) -> Result<(usize, bool), Error> {
    of_run(txn, &[RUN_REQUESTS, RUN_LOGS, RUN_RECORDS, PLANS], id, room)
}

fn of_run(txn: &Txn, tables: &[Table], id: RunId, room: usize) -> Result<(usize, bool), Error> {
    let mut gone = 0;
    for table in tables {
        gone += txn.delete_some(*table, &Key::new().u64(id.0), room - gone)?;
        if gone >= room {
            return Ok((gone, false));
        }
    }
    Ok((gone, true))
}

fn run(txn: &Txn, aged: &Aged, id: RunId, room: usize) -> Result<(usize, bool), Error> {
    let Some(run) = ended_run(txn, aged, id)? else { return Ok((0, true)) };
    let org = aged.org()?;
    let (mut gone, whole) = details(txn, id, room)?;
    if !whole {
        return Ok((gone, false));
    }
    for (number, line) in runs::conflicts(txn, id, 0, room - gone)? {
        decisions::forget_line(txn, org, &line, id, number)?;
        txn.delete(RUN_CONFLICTS, Key::new().u64(id.0).u32(number).bytes())?;
        gone += 1;
    }
    if gone >= room {
        return Ok((gone, false));
    }
    run_index::forget(txn, org, &run)?;
    txn.delete(RUNS, Key::new().u64(id.0).bytes())?;
    Ok((gone + 1, true))
}

fn history(txn: &Txn, aged: &Aged) -> Result<(usize, bool), Error> {
    let org = OrgNo(aged.parts().u32().unwrap_or_default());
    let entries: Vec<(u64, u64)> = rows::from_binary(AGING, &aged.value)?;
    for (record, version) in &entries {
        txn.delete(HISTORY, Key::org(org).u64(*record).u64(*version).bytes())?;
    }
    Ok((entries.len(), true))
}

fn changes(txn: &Txn, aged: &Aged) -> Result<(usize, bool), Error> {
    let mut parts = aged.parts();
    let org = OrgNo(parts.u32().unwrap_or_default());
    let first = parts.u64().unwrap_or_default();
    let count: u64 = rows::from_binary(AGING, &aged.value)?;
    feed::forget_up_to(txn, org, (first + count).saturating_sub(1))?;
    txn.delete(CHANGES, Key::org(org).u64(first).bytes())?;
    Ok((1, true))
}

fn conflict(txn: &Txn, aged: &Aged, id: ConflictId) -> Result<(usize, bool), Error> {
    let Some(item) = conflicts::get(txn, id)?.filter(|item| item.resolution.is_some()) else {
        return Ok((0, true));
    };
    decisions::forget_item(txn, aged.org()?, &item)?;
    txn.delete(CONFLICTS, Key::new().u64(id.0).bytes())?;
    Ok((1, true))
}

fn failure(txn: &Txn, aged: &Aged, id: FailureId) -> Result<(usize, bool), Error> {
    let closed = failures::get(txn, id)?.filter(|item| item.resolved_at == Some(aged.at));
    if closed.is_some() {
        txn.delete(FAILURES, Key::new().u64(id.0).bytes())?;
    }
    Ok((usize::from(closed.is_some()), true))
}

fn notice(txn: &Txn, id: DeliveryId) -> Result<(usize, bool), Error> {
    match channels::delivery(txn, id)?.filter(crate::model::channel::Delivery::is_over) {
        Some(delivery) => channels::delete_delivery(txn, &delivery).map(|()| (1, true)),
        None => Ok((0, true)),
    }
}

/// The rows of the index; for tests, which hold them against what there is.
#[cfg(test)]
pub(super) fn count(read: &dyn Read) -> Result<usize, Error> {
    let mut count = 0;
    super::file::scan_prefix(read, AGING, &Key::new(), &mut |_, _| {
        count += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(count)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
