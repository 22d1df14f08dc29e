//! A field that both sides changed, and a strategy's decision about it.

use super::value::{FieldType, Value};
use serde::{Deserialize, Serialize};

/// One field that differs on both sides from the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub entity: String,
    pub field: String,
    pub field_type: FieldType,
    /// `Absent` at a first link.
    pub base: Value,
    pub remote: Side,
    pub local: Side,
    pub source_of_truth: SourceOfTruth,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    pub value: Value,
    /// RFC 3339; none where nobody knows.
    pub modified_at: Option<String>,
    /// `person`, `system`, or none.
    pub modified_by: Option<String>,
}

/// Whom a tie goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceOfTruth {
    #[default]
    Remote,
    Local,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub choice: Choice,
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Remote,
    Local,
    /// Only from strategies that declare it.
    Value(Value),
    /// A person decides.
    Hold,
}
