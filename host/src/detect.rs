//! The three-way rule: what to do with each field of a record, given what both sides last agreed on.
//!
//! Owns the rule and nothing else: it changes no value and decides no conflict. Values are compared as `normalize`
//! compares them and are never copied. Everywhere here an `Absent` base means that there is none (a first link), and
//! an `Absent` remote that the remote did not say.

#[cfg(test)]
mod tests;

use crate::model::{FieldType, Value};
use crate::normalize::Normalizer;

/// What the three-way rule says of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldOutcome {
    /// Neither side changed, or the remote did not say, or both are blank at a first link.
    Same,
    /// Only the remote changed.
    TakeRemote,
    /// Only the local side changed.
    KeepLocal,
    /// Both hold the same: changed alike, or found equal at a first link. The base advances.
    Converged,
    /// Both changed, differently; or both hold something else at a first link.
    Conflict,
    /// First link: the local side is blank and takes the remote's value.
    FillLocal,
    /// First link: the remote is blank and the local value stays.
    KeepBlankRemote,
}

/// The outcome for one field.
pub fn three_way(
    normalizer: &Normalizer,
    field_type: FieldType,
    base: &Value,
    local: &Value,
    remote: &Value,
) -> FieldOutcome {
    let same = |left: &Value, right: &Value| normalizer.equal(field_type, left, right);
    if matches!(remote, Value::Absent) {
        return FieldOutcome::Same;
    }
    if matches!(base, Value::Absent) {
        let blank = |value: &Value| same(value, &Value::Null);
        return match (blank(local), blank(remote)) {
            (true, true) => FieldOutcome::Same,
            (true, false) => FieldOutcome::FillLocal,
            (false, true) => FieldOutcome::KeepBlankRemote,
            (false, false) if same(local, remote) => FieldOutcome::Converged,
            (false, false) => FieldOutcome::Conflict,
        };
    }
    match (same(local, base), same(remote, base)) {
        (true, true) => FieldOutcome::Same,
        (true, false) => FieldOutcome::TakeRemote,
        (false, true) => FieldOutcome::KeepLocal,
        (false, false) if same(local, remote) => FieldOutcome::Converged,
        (false, false) => FieldOutcome::Conflict,
    }
}

/// What to do with a record, as positions of its fields in ascending order. A field that is `Same` is in no list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detected {
    /// The local side takes the remote's value; the base becomes it too.
    pub changes: Vec<usize>,
    /// A strategy decides.
    pub conflicts: Vec<usize>,
    /// Only the base moves, to the remote's value.
    pub converged: Vec<usize>,
    /// The local value stays, and can be pushed. The base stays, or becomes the remote's blank at a first link.
    pub kept: Vec<usize>,
}

impl Detected {
    /// Whether neither the record nor its bases change.
    pub fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.conflicts.is_empty() && self.converged.is_empty()
    }
}

/// The three-way rule over all fields of a record, each judged by itself.
///
/// `base` and `local` give the value at a position of `types`; `remote` follows `types`, and a value that is missing
/// at its end counts as absent.
pub fn detect<'a>(
    normalizer: &Normalizer,
    types: &[FieldType],
    base: impl Fn(usize) -> &'a Value,
    local: impl Fn(usize) -> &'a Value,
    remote: &[Value],
) -> Detected {
    let mut detected = Detected::default();
    for (at, (field_type, remote)) in types.iter().zip(remote).enumerate() {
        match three_way(normalizer, *field_type, base(at), local(at), remote) {
            FieldOutcome::Same => {}
            FieldOutcome::TakeRemote | FieldOutcome::FillLocal => detected.changes.push(at),
            FieldOutcome::KeepLocal | FieldOutcome::KeepBlankRemote => detected.kept.push(at),
            FieldOutcome::Converged => detected.converged.push(at),
            FieldOutcome::Conflict => detected.conflicts.push(at),
        }
    }
    detected
}

/// Whether the remote says nothing new: every value equals its base or is absent. Then [`detect`] finds nothing but
/// local edits to keep, and a run that only pulls need not look at the local values.
pub fn is_unchanged<'a>(
    normalizer: &Normalizer,
    types: &[FieldType],
    base: impl Fn(usize) -> &'a Value,
    remote: &[Value],
) -> bool {
    types.iter().zip(remote).enumerate().all(|(at, (field_type, remote))| {
        let base = base(at);
        matches!(remote, Value::Absent)
            || (!matches!(base, Value::Absent) && normalizer.equal(*field_type, base, remote))
    })
}
