//! Undo of a run: an edit by a person that puts back what the run changed and nobody touched since.
//!
//! Bases and links stay, so that the next sync does not do it again until the remote changes.

use super::person::{Edited, PersonError, edit, name_of};
use crate::model::{ModifiedBy, OrgNo, Record, RecordId, RecordStatus, RunId, Value};
use crate::store::records::{self, Cause, FieldHistory, HistoryEntry};
use crate::store::runs::{self, Outcome, RecordOutcome};
use crate::store::{self, Store, Txn};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What an undo did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UndoReport {
    /// Records that were put back, in part or in whole.
    pub reverted: u64,
    /// (record, field or `status`, why) of what was left alone.
    pub skipped: Vec<(RecordId, String, String)>,
}

/// Puts back what `run` did. The run must be over and must not have been undone.
pub fn undo(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    run: RunId,
    (at, by): (i64, ModifiedBy),
) -> Result<UndoReport, PersonError> {
    let mut target = runs::get(txn, run)?.ok_or(PersonError::NotFound)?;
    if let Some(who) = &target.undone_by {
        return Err(PersonError::Decided(format!("the run was undone by {who}")));
    }
    if !target.took_effect() {
        return Err(PersonError::Decided(format!(
            "a run that is {} changed nothing",
            target.status
        )));
    }
    if target.details_gone_at.is_some() {
        return Err(PersonError::Gone);
    }
    let mut pages = Vec::new();
    runs::scan_outcomes(txn, run, 0, &mut |_, outcomes| {
        pages.push(outcomes);
        ControlFlow::Continue(())
    })?;
    let mut report = UndoReport::default();
    for outcome in pages.into_iter().flatten().filter(|outcome| outcome.version > 0) {
        undo_one(txn, store, org, run, &outcome, (at, &by), &mut report)?;
    }
    target.undone_by = Some(name_of(&by));
    target.undone_at = Some(at);
    runs::put(txn, org, &target)?;
    Ok(report)
}

fn undo_one(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    run: RunId,
    outcome: &RecordOutcome,
    (at, by): (i64, &ModifiedBy),
    report: &mut UndoReport,
) -> Result<(), PersonError> {
    let id = RecordId(outcome.record);
    let Some(record) = records::get(txn, store, org, id)? else { return Ok(()) };
    let cause = Some(Cause::Undo(run));
    let mut change = Edited { fields: Vec::new(), status: None, at, by: by.clone(), cause };
    if outcome.outcome == Outcome::Created {
        match edited_since(txn, org, &record, outcome.version)? {
            None => change.status = Some(RecordStatus::Inactive),
            Some(who) => report.skipped.push((id, "status".to_owned(), who)),
        }
    } else if let Some(entry) = records::history_at(txn, org, id, outcome.version)? {
        for field in &entry.fields {
            match before_if_untouched(&record, field, run) {
                Some(before) => change.fields.push((Arc::from(field.field.as_str()), before)),
                None => report.skipped.push((id, field.field.clone(), changed_since())),
            }
        }
        change.status = status_before(&record, &entry, &mut report.skipped);
    } else {
        let why = "what it was before is kept no longer".to_owned();
        report.skipped.push((id, "*".to_owned(), why));
    }
    if !change.fields.is_empty() || change.status.is_some() {
        edit(txn, store, org, id, None, change)?;
        report.reverted += 1;
    }
    Ok(())
}

fn changed_since() -> String {
    "it was changed since".to_owned()
}

/// Why the creation of a record is not undone: somebody edited it since.
fn edited_since(
    txn: &Txn,
    org: OrgNo,
    record: &Record,
    version: u64,
) -> Result<Option<String>, store::Error> {
    if record.version == version {
        return Ok(None);
    }
    let history = records::history(txn, org, record.id)?;
    let person = history.iter().find(|entry| matches!(entry.by, ModifiedBy::Person(_)));
    Ok(person.map(|entry| format!("the record was edited since by {}", name_of(&entry.by))))
}

fn before_if_untouched(record: &Record, field: &FieldHistory, run: RunId) -> Option<Value> {
    let position = record.position(&field.field)?;
    let untouched = record.values.get(position) == Some(&field.after)
        && record.meta_of(position).modified_by == ModifiedBy::Run(run);
    untouched.then(|| field.before.clone())
}

fn status_before(
    record: &Record,
    entry: &HistoryEntry,
    skipped: &mut Vec<(RecordId, String, String)>,
) -> Option<RecordStatus> {
    if entry.status_before == entry.status_after {
        return None;
    }
    if record.status != entry.status_after {
        skipped.push((record.id, "status".to_owned(), changed_since()));
        return None;
    }
    Some(entry.status_before)
}
