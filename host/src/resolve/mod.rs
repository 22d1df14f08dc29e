//! Checks a strategy's decisions and says what they mean for the record and its base.
//!
//! A strategy is foreign code: nothing of its answer is used before it was checked here. Must not decide itself.

pub mod laws;

#[cfg(test)]
mod tests;

use crate::model::{Choice, Conflict, Decision, FieldType, Value};
use crate::normalize;

/// The longest value that a strategy or a person may choose.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Longer notes are cut.
const NOTE_CHARS_MAX: usize = 500;

/// The whole answer is useless: nothing says which decision belongs to which conflict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "the strategy answered {found} decisions for {expected} conflicts; its answers cannot be used"
    )]
    WrongLength { expected: usize, found: usize },
}

/// Why one decision cannot be used. The conflict's record becomes a failure, the others go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "the strategy answered with a value of its own for `{field}`, which its manifest does not declare"
    )]
    UndeclaredValue { field: String },
    #[error("the strategy's value for `{field}` {problem}")]
    WrongType { field: String, problem: &'static str },
    #[error("the strategy's value for `{field}` is larger than {VALUE_BYTES_MAX} bytes")]
    TooLarge { field: String },
}

/// Why a value cannot be chosen for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{0}")]
    WrongType(&'static str),
    #[error("is larger than {VALUE_BYTES_MAX} bytes")]
    TooLarge,
}

/// What a checked decision does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Position of the conflict in the batch.
    pub conflict: usize,
    pub choice: Choice,
    /// The value that the field has from now on; none while a person is to decide.
    pub resolved_value: Option<Value>,
    /// Whether the local record changes. It does not where it already holds the resolved value.
    pub writes_local: bool,
    /// The base from now on: the remote value, so that the same conflict does not return until the remote changes
    /// again. None leaves the base alone.
    pub new_base: Option<Value>,
    pub note: String,
}

/// Checks the answer to a batch, decision by decision, in the order of the conflicts.
///
/// `values_declared`: whether the strategy's manifest says that it answers with values of its own.
pub fn check(
    conflicts: &[Conflict],
    decisions: Vec<Decision>,
    values_declared: bool,
) -> Result<Vec<Result<Resolved, Refused>>, Error> {
    if conflicts.len() != decisions.len() {
        return Err(Error::WrongLength { expected: conflicts.len(), found: decisions.len() });
    }
    let pairs = conflicts.iter().zip(decisions).enumerate();
    Ok(pairs
        .map(|(at, (conflict, decision))| check_one(at, conflict, decision, values_declared))
        .collect())
}

fn check_one(
    at: usize,
    conflict: &Conflict,
    decision: Decision,
    values_declared: bool,
) -> Result<Resolved, Refused> {
    let resolved_value = match &decision.choice {
        Choice::Remote => Some(conflict.remote.value.clone()),
        Choice::Local => Some(conflict.local.value.clone()),
        Choice::Value(value) => {
            check_value(conflict, value, values_declared)?;
            Some(value.clone())
        }
        Choice::Hold => None,
    };
    let writes_local =
        resolved_value.as_ref().is_some_and(|resolved| *resolved != conflict.local.value);
    let new_base = resolved_value.is_some().then(|| conflict.remote.value.clone());
    let mut note = decision.note;
    if let Some((end, _)) = note.char_indices().nth(NOTE_CHARS_MAX) {
        note.truncate(end);
    }
    let choice = decision.choice;
    Ok(Resolved { conflict: at, choice, resolved_value, writes_local, new_base, note })
}

fn check_value(conflict: &Conflict, value: &Value, values_declared: bool) -> Result<(), Refused> {
    let field = conflict.field.clone();
    if !values_declared {
        return Err(Refused::UndeclaredValue { field });
    }
    check_choice(conflict.field_type, value).map_err(|unfit| match unfit {
        Unfit::TooLarge => Refused::TooLarge { field },
        Unfit::WrongType(problem) => Refused::WrongType { field, problem },
    })
}

/// Checks a value that somebody chose for a field of this type, be it a strategy or a person.
pub fn check_choice(field_type: FieldType, value: &Value) -> Result<(), Unfit> {
    let len = match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Absent => return Err(Unfit::WrongType("is absent")),
        Value::Null | Value::Bool(_) | Value::Int(_) => 0,
    };
    if len > VALUE_BYTES_MAX {
        return Err(Unfit::TooLarge);
    }
    match normalize::type_problem(field_type, value) {
        Some(problem) => Err(Unfit::WrongType(problem)),
        None => Ok(()),
    }
}
