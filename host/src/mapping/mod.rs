//! From a connector's rows to values of the local shape, as a template says.
//!
//! Owns compiling templates, transforms, type checks and what becomes of a row that does not fit. Values keep their
//! form unless a transform says otherwise; names are never re-cased. Must not compare with local records.
//!
//! A template is compiled once per run, bound to the field names of each page, and then applied to its rows.

mod bind;
mod compile;
mod steps;
mod transform;

#[cfg(test)]
mod tests;

pub use bind::{Bound, Room};

use crate::model::manifest::AbsentMeans;
use crate::model::{Cell, FieldType, RecordStatus, Value};
use std::sync::Arc;

/// A template compiled against the entity that a connector describes.
#[derive(Debug)]
pub struct Mapper {
    fields: Vec<Field>,
    types: Vec<FieldType>,
    plans: Vec<compile::Plan>,
    match_rules: Vec<Vec<usize>>,
    status: Option<compile::StatusPlan>,
    absent: AbsentMeans,
    /// Source fields whose values may be shown in a failure.
    open_sources: Vec<String>,
}

/// A field of the local shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Arc<str>,
    pub field_type: FieldType,
    /// A record whose value is blank or of another type is invalid.
    pub required: bool,
    /// Made of a sensitive source field: its value never appears in logs or failures.
    pub sensitive: bool,
}

impl Mapper {
    /// The local fields in the order of the template: the shape of the values of [`Mapped`].
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The types of [`fields`](Self::fields), as `detect` takes them.
    pub fn types(&self) -> &[FieldType] {
        &self.types
    }

    /// The match rules in order, each as positions of [`fields`](Self::fields).
    pub fn match_rules(&self) -> &[Vec<usize>] {
        &self.match_rules
    }
}

/// Something in a template that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// JSON pointer into the entity's template.
    pub pointer: String,
    pub message: String,
}

/// A row in the local shape. Borrows from the page what no transform changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped<'a> {
    pub external_id: &'a str,
    /// Secondary ids: (kind, value).
    pub aliases: Vec<(&'a str, &'a str)>,
    /// When the remote changed it, in milliseconds since the epoch; none where it does not say so in a form that can be
    /// read.
    pub updated_at: Option<i64>,
    pub version: Option<&'a str>,
    /// A tombstone: all its values are absent.
    pub deleted: bool,
    /// None where the row does not tell: the record keeps its status.
    pub status: Option<RecordStatus>,
    /// By position of [`Mapper::fields`].
    pub values: Vec<Given<'a>>,
    pub warnings: Vec<Warning>,
}

/// A mapped value.
#[derive(Clone, Debug, PartialEq)]
pub enum Given<'a> {
    /// As it came.
    AsIs(Cell<'a>),
    /// By a transform.
    Made(Value),
}

impl Given<'_> {
    pub fn cell(&self) -> Cell<'_> {
        match self {
            Given::AsIs(cell) => *cell,
            Given::Made(value) => value.into(),
        }
    }
}

/// A value that is doubtful: kept, or left out where the template says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The local field; the source field for the status; empty for the row's time.
    pub field: Arc<str>,
    /// Stable: `type`, `transform`, `email`, `phone`, `pattern`, `unknownStatus`, `updatedAt`.
    pub code: &'static str,
    pub message: String,
}

/// A row that cannot become a record, for the quarantine.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    pub external_id: String,
    pub reasons: Vec<Reason>,
    /// The row as it came, by source field, sensitive fields redacted.
    pub payload: serde_json::Value,
}

/// One reason why a row is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The local field; empty for the row's id.
    pub field: Arc<str>,
    /// Stable: `required`, `type`, `transform`, `email`, `phone`, `missingId`.
    pub code: &'static str,
    /// Never repeats the value.
    pub message: String,
}
