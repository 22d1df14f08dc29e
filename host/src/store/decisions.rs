//! Where the last conflict about a field was decided: from a record's field to the line of a run, or to the item of the
//! inbox that a person closed.

use super::file::{Read, Txn};
use super::keys::Key;
use super::tables::DECISIONS;
use super::{Error, conflicts, rows, runs};
use crate::model::ids::ConflictId;
use crate::model::{OrgNo, RecordId, RunId};
use conflicts::HeldConflict;
use runs::ConflictLine;
use serde::{Deserialize, Serialize};

/// A pointer. What it points to may be gone: it is kept for a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// A run and the number of its conflict line: decided by a strategy, or held.
    Line(u64, u32),
    /// By a person, in the inbox.
    Item(u64),
}

/// The decision with what it was about.
#[derive(Clone, Debug, PartialEq)]
pub enum Decided {
    ByRun(RunId, ConflictLine),
    ByPerson(HeldConflict),
}

fn key(org: OrgNo, record: RecordId, field: &str) -> Key {
    Key::org(org).u64(record.0).text(field)
}

pub fn note(
    txn: &Txn,
    org: OrgNo,
    record: RecordId,
    field: &str,
    decision: Decision,
) -> Result<(), Error> {
    txn.put(DECISIONS, key(org, record, field).bytes(), &rows::to_binary(&decision)?)
}

fn get(
    read: &dyn Read,
    org: OrgNo,
    record: RecordId,
    field: &str,
) -> Result<Option<Decision>, Error> {
    let row = read.get_row(DECISIONS, key(org, record, field).bytes())?;
    row.map(|row| rows::from_binary(DECISIONS, &row)).transpose()
}

/// The last decision about a field, as far as it is still kept.
pub fn last(
    read: &dyn Read,
    org: OrgNo,
    record: RecordId,
    field: &str,
) -> Result<Option<Decided>, Error> {
    Ok(match get(read, org, record, field)? {
        None => None,
        Some(Decision::Line(run, number)) => {
            let line = runs::conflicts(read, RunId(run), number, 1)?;
            let line = line.into_iter().find(|(at, line)| *at == number && line.field == field);
            line.map(|(_, line)| Decided::ByRun(RunId(run), line))
        }
        Some(Decision::Item(id)) => conflicts::get(read, ConflictId(id))?.map(Decided::ByPerson),
    })
}

/// Removes the pointer to a line that goes, unless there is a newer one.
pub(super) fn forget_line(
    txn: &Txn,
    org: OrgNo,
    line: &ConflictLine,
    run: RunId,
    number: u32,
) -> Result<(), Error> {
    forget(txn, org, (line.record, &line.field), Decision::Line(run.0, number))
}

/// The same for an item of the inbox.
pub(super) fn forget_item(txn: &Txn, org: OrgNo, item: &HeldConflict) -> Result<(), Error> {
    forget(txn, org, (item.record, &item.field), Decision::Item(item.id.0))
}

fn forget(
    txn: &Txn,
    org: OrgNo,
    (record, field): (RecordId, &str),
    gone: Decision,
) -> Result<(), Error> {
    if get(txn, org, record, field)? == Some(gone) {
        txn.delete(DECISIONS, key(org, record, field).bytes())?;
    }
    Ok(())
}
