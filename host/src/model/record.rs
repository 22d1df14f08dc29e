//! The local copy of a record.

use super::ids::{ConnectionId, RecordId, RunId};
use super::value::Value;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The field names of a record, in order. Records of one template share one shape.
pub type Shape = Arc<[Arc<str>]>;

/// A local record. `values[i]` and `meta_of(i)` belong to the field `shape[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub id: RecordId,
    pub entity: Arc<str>,
    pub status: RecordStatus,
    /// Grows by one with every change; the ETag.
    pub version: u64,
    pub shape: Shape,
    pub values: Vec<Value>,
    /// When and by whom the fields were set that `field_meta` does not name.
    pub created: FieldMeta,
    /// (position in the shape, meta) of fields that were changed later.
    pub field_meta: Vec<(u16, FieldMeta)>,
    /// Under which ids the connections know it.
    pub links: Vec<LinkRef>,
    /// Secondary ids: (kind, value).
    pub aliases: Vec<(String, String)>,
    /// Milliseconds since the epoch of the last run that wrote it.
    pub synced_at: Option<i64>,
}

impl Record {
    pub fn position(&self, field: &str) -> Option<usize> {
        self.shape.iter().position(|name| &**name == field)
    }

    pub fn value(&self, field: &str) -> &Value {
        const ABSENT: &Value = &Value::Absent;
        self.position(field).and_then(|at| self.values.get(at)).unwrap_or(ABSENT)
    }

    pub fn meta_of(&self, position: usize) -> &FieldMeta {
        self.field_meta
            .iter()
            .find(|(at, _)| usize::from(*at) == position)
            .map_or(&self.created, |(_, meta)| meta)
    }

    pub fn is_linked_by(&self, connection: ConnectionId) -> bool {
        self.links.iter().any(|link| link.connection == connection)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRef {
    pub connection: ConnectionId,
    pub external_id: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordStatus {
    #[default]
    Active,
    Inactive,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldMeta {
    /// Milliseconds since the epoch.
    pub modified_at: i64,
    pub modified_by: ModifiedBy,
}

/// Who set a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModifiedBy {
    /// A person, through the console or the API; the text names the account or token.
    Person(String),
    /// A program's token.
    Machine(String),
    /// A run.
    Run(RunId),
}

impl ModifiedBy {
    /// The word that strategies see.
    pub fn class(&self) -> &'static str {
        match self {
            ModifiedBy::Person(_) => "person",
            ModifiedBy::Machine(_) | ModifiedBy::Run(_) => "system",
        }
    }
}
