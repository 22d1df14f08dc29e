//! Runs and what they leave behind: conflict lines, outcomes per record, requests, log lines, plans that wait.

use super::file::{Read, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::records::ChangeKind;
use super::rows::Encoded;
use super::run_index::{self, Facets};
use super::tables::{PLANS, RUN_CONFLICTS, RUN_LOGS, RUN_RECORDS, RUN_REQUESTS, RUNS, Table};
use super::{Error, meta, retention, rows};
use crate::model::run::Run;
use crate::model::{OrgNo, RecordId, RunId, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::{Bound, ControlFlow};

/// One field conflict of a run and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictLine {
    pub record: RecordId,
    pub external_id: String,
    pub entity: String,
    pub field: String,
    pub base: Value,
    pub remote: Value,
    pub local: Value,
    /// None while it is held.
    pub resolved: Option<Value>,
    pub strategy: String,
    pub note: String,
}

/// [`RecordOutcome`] of a new record, borrowed: the same bytes without a copy of each text.
#[derive(Serialize)]
pub struct CreatedOutcome<'a> {
    pub record: u64,
    pub external_id: &'a str,
    pub outcome: Outcome,
    pub version: u64,
    pub note: Option<&'a str>,
}

/// What became of one record in a run; unchanged records have none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordOutcome {
    /// 0 where there is no local record (quarantine, a creation of a dry run).
    pub record: u64,
    pub external_id: String,
    pub outcome: Outcome,
    /// The record's version after it; 0 where it did not change.
    pub version: u64,
    /// The reason of a quarantine, and what would change where nothing was done.
    pub note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Created,
    Updated,
    Linked,
    Inactivated,
    Reactivated,
    Conflict,
    Quarantined,
}

impl From<ChangeKind> for Outcome {
    fn from(kind: ChangeKind) -> Outcome {
        match kind {
            ChangeKind::Created => Outcome::Created,
            ChangeKind::Updated => Outcome::Updated,
            ChangeKind::Linked => Outcome::Linked,
            ChangeKind::Inactivated => Outcome::Inactivated,
            ChangeKind::Reactivated => Outcome::Reactivated,
        }
    }
}

/// The next number of a run, or of a job that is not its run's first.
pub fn next_id(txn: &Txn) -> Result<RunId, Error> {
    meta::next(txn, "run").map(RunId)
}

pub fn get(read: &dyn Read, id: RunId) -> Result<Option<Run>, Error> {
    let row = read.get_row(RUNS, Key::new().u64(id.0).bytes())?;
    row.map(|row| from_row(&row)).transpose()
}

/// Writes a run, keeps its place in the indexes, and enters it among what ages once it is over. Whose it is, its
/// connector and its trigger never change.
pub fn put(txn: &Txn, org: OrgNo, run: &Run) -> Result<(), Error> {
    let row = rows::to_binary(&(run_index::status_no(run.status), run))?;
    let key = Key::new().u64(run.id.0);
    let before =
        txn.replace(RUNS, key.bytes(), &row, |before| before.map(status_of).transpose())?;
    run_index::note(txn, org, before?, run)?;
    retention::note_run(txn, org, run)
}

pub(super) fn from_row(row: &[u8]) -> Result<Run, Error> {
    rows::from_binary::<(u32, Run)>(RUNS, row).map(|(_, run)| run)
}

/// Whether the number ahead of a row is that of the run's status.
pub(super) fn is_true(row: &[u8]) -> Result<bool, Error> {
    Ok(status_of(row)? == run_index::status_no(from_row(row)?.status))
}

/// The number of the status ahead of a row.
fn status_of(row: &[u8]) -> Result<u32, Error> {
    let status = postcard::take_from_bytes(rows::body(RUNS, row)?);
    status.map(|(status, _)| status).map_err(|error| rows::corrupt(RUNS, &error))
}

/// The wanted runs from the newest to the oldest, below `before`, until `visit` breaks. It is also shown up to where it
/// was looked for in vain; see [`run_index::scan`].
pub fn scan_newest(
    read: &dyn Read,
    facets: &Facets,
    before: Option<RunId>,
    visit: &mut dyn FnMut(RunId, Option<Run>) -> ControlFlow<()>,
) -> Result<(), Error> {
    run_index::scan(read, facets, before, &mut |id, wanted| {
        let run = if wanted { get(read, id)? } else { None };
        Ok(visit(id, run))
    })
}

/// A list that belongs to a run: rows in order under (run, number).
fn list<T: DeserializeOwned>(
    read: &dyn Read,
    table: Table,
    run: RunId,
    from: u32,
    limit: usize,
) -> Result<Vec<(u32, T)>, Error> {
    let (prefix, lower) = (Key::new().u64(run.0), Key::new().u64(run.0).u32(from));
    let end = prefix.prefix_end();
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut found = Vec::new();
    read.scan_rows(table, (Bound::Included(lower.bytes()), upper), false, &mut |key, row| {
        let number = Parts(key.get(8..).unwrap_or_default()).u32().unwrap_or_default();
        found.push((number, rows::from_json(table, row)?));
        Ok(if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

fn add<T: Serialize>(
    txn: &Txn,
    table: Table,
    run: RunId,
    number: u32,
    value: &T,
) -> Result<(), Error> {
    txn.put(table, Key::new().u64(run.0).u32(number).bytes(), &rows::to_json(value)?)
}

pub fn put_conflict(txn: &Txn, run: RunId, number: u32, line: &ConflictLine) -> Result<(), Error> {
    add(txn, RUN_CONFLICTS, run, number, line)
}

/// Conflict lines from `from` on, with their numbers.
pub fn conflicts(
    read: &dyn Read,
    run: RunId,
    from: u32,
    limit: usize,
) -> Result<Vec<(u32, ConflictLine)>, Error> {
    list(read, RUN_CONFLICTS, run, from, limit)
}

/// One chunk of outcomes, under the page that they came from: those of new records, which are encoded already, then the
/// others.
pub fn put_outcomes(
    txn: &Txn,
    run: RunId,
    page: u32,
    mut created: Encoded,
    others: &[RecordOutcome],
) -> Result<(), Error> {
    others.iter().try_for_each(|outcome| created.push(outcome))?;
    if created.len() == 0 {
        return Ok(());
    }
    let key = Key::new().u64(run.0).u32(page);
    let mut row = rows::begin();
    created.append_to(&mut row)?;
    txn.put(RUN_RECORDS, key.bytes(), &row)
}

/// Visits the chunks of outcomes of a run, from page `from` on.
pub fn scan_outcomes(
    read: &dyn Read,
    run: RunId,
    from: u32,
    visit: &mut dyn FnMut(u32, Vec<RecordOutcome>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (prefix, lower) = (Key::new().u64(run.0), Key::new().u64(run.0).u32(from));
    let end = prefix.prefix_end();
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let bounds = (Bound::Included(lower.bytes()), upper);
    read.scan_rows(RUN_RECORDS, bounds, false, &mut |key, row| {
        let page = Parts(key.get(8..).unwrap_or_default()).u32().unwrap_or_default();
        Ok(visit(page, rows::from_binary(RUN_RECORDS, row)?))
    })
}

/// Appends to the run's request list, behind what earlier attempts left; the value is the row's JSON.
pub fn append_requests(txn: &Txn, run: RunId, lines: &[serde_json::Value]) -> Result<(), Error> {
    append(txn, RUN_REQUESTS, run, lines)
}

fn append(txn: &Txn, table: Table, run: RunId, lines: &[serde_json::Value]) -> Result<(), Error> {
    if lines.is_empty() {
        return Ok(());
    }
    let (prefix, mut from) = (Key::new().u64(run.0), 0);
    let end = prefix.prefix_end();
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    txn.scan_rows(table, (Bound::Included(prefix.bytes()), upper), true, &mut |key, _| {
        let last = Parts(key.get(8..).unwrap_or_default()).u32();
        from = last.map_or(0, |last| last.saturating_add(1));
        Ok(ControlFlow::Break(()))
    })?;
    lines.iter().zip(from..).try_for_each(|(line, at)| add(txn, table, run, at, line))
}

pub fn requests(
    read: &dyn Read,
    run: RunId,
    from: u32,
    limit: usize,
) -> Result<Vec<(u32, serde_json::Value)>, Error> {
    list(read, RUN_REQUESTS, run, from, limit)
}

/// Appends to the run's log in the same way.
pub fn append_logs(txn: &Txn, run: RunId, lines: &[serde_json::Value]) -> Result<(), Error> {
    append(txn, RUN_LOGS, run, lines)
}

pub fn logs(
    read: &dyn Read,
    run: RunId,
    from: u32,
    limit: usize,
) -> Result<Vec<(u32, serde_json::Value)>, Error> {
    list(read, RUN_LOGS, run, from, limit)
}

/// Keeps a page of the plan of a run that waits for approval.
pub fn put_plan_page(txn: &Txn, run: RunId, page: u32, bytes: &[u8]) -> Result<(), Error> {
    txn.put(PLANS, Key::new().u64(run.0).u32(page).bytes(), bytes)
}

pub fn plan_page(read: &dyn Read, run: RunId, page: u32) -> Result<Option<Vec<u8>>, Error> {
    read.get_row(PLANS, Key::new().u64(run.0).u32(page).bytes())
}

pub fn delete_plan(txn: &Txn, run: RunId) -> Result<(), Error> {
    txn.delete_prefix(PLANS, &Key::new().u64(run.0))
}

/// Removes what a held run shows of its plan, its outcomes and conflict lines: somebody approved or discarded it.
pub fn delete_shown(txn: &Txn, run: RunId) -> Result<(), Error> {
    txn.delete_prefix(RUN_RECORDS, &Key::new().u64(run.0))?;
    txn.delete_prefix(RUN_CONFLICTS, &Key::new().u64(run.0))
}

/// Whether a plan is kept for the run.
pub fn has_plan(read: &dyn Read, run: RunId) -> Result<bool, Error> {
    let mut found = false;
    scan_prefix(read, PLANS, &Key::new().u64(run.0), &mut |_, _| {
        found = true;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}
