//! What a run would change, page by page. A dry run stops with it, a person approves it by its hash, `commit` applies it.
//!
//! Fields are named by their position in the page's `fields`, the targets of the template.

use super::conflict::SourceOfTruth;
use super::new_rows::NewRows;
use super::record::RecordStatus;
use super::run::Counts;
use super::value::Value;
use serde::{Deserialize, Serialize};

/// The plan for one page of a listing, or for a chunk of records that the listing did not name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanPage {
    /// Ids of records that were seen and need nothing.
    pub unchanged: Vec<u64>,
    /// Records to create.
    pub created: NewRows,
    /// Changes to records that exist.
    pub rows: Vec<PlanRow>,
    pub failures: Vec<PlanFailure>,
    /// External ids that were in quarantine and passed.
    pub passed: Vec<String>,
    pub warnings: Vec<PlanWarning>,
    pub counts: Counts,
    /// Rows that the remote listed, duplicates and tombstones left out.
    pub listed: u64,
    /// Rows that said that their record is gone.
    pub tombstones: u64,
    /// Largest remote modification time, in milliseconds since the epoch.
    pub modified_max: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanRow {
    pub external_id: String,
    pub remote: RemoteState,
    pub action: Action,
}

/// The remote's side of a record, after the mapping.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RemoteState {
    /// Encoded values, one for each field.
    #[serde(with = "serde_bytes")]
    pub values: Vec<u8>,
    pub fingerprint: [u8; 16],
    pub aliases: Vec<(String, String)>,
    /// None: not told, or a word that the template does not know.
    pub status: Option<RecordStatus>,
    pub version: Option<String>,
    pub updated_at: Option<i64>,
    pub deleted: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    Update(Box<Update>),
    /// The listing was read to its end and did not name it.
    Absent {
        record: u64,
        version: u64,
        deactivates: bool,
    },
}

/// A change to a record that exists: also one that changes nothing but the link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    pub record: u64,
    /// The record's version that was compared; another one in the commit means that it moved.
    pub version: u64,
    /// Set at a first link: how it was found.
    pub first_link: Option<FirstLink>,
    /// (field, new local value).
    pub changes: Vec<(u16, Value)>,
    pub status: Option<RecordStatus>,
    /// Fields whose base becomes the remote's value.
    pub settled: Vec<u16>,
    pub conflicts: Vec<PlannedConflict>,
}

impl Update {
    /// Whether base and remote agree in all fields afterwards.
    pub fn is_clean(&self) -> bool {
        !self.conflicts.iter().any(|conflict| conflict.is_held())
    }

    pub fn changes_record(&self) -> bool {
        !self.changes.is_empty() || self.status.is_some() || self.first_link.is_some()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirstLink {
    /// By the secondary id of this kind.
    Alias(String),
    /// By the match rule of these fields.
    Rule(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedConflict {
    pub field: u16,
    pub base: Value,
    pub remote: Value,
    pub local: Value,
    pub strategy: String,
    pub source_of_truth: SourceOfTruth,
    pub resolution: Resolution,
    pub note: String,
}

impl PlannedConflict {
    pub fn is_held(&self) -> bool {
        matches!(self.resolution, Resolution::Hold)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Resolution {
    Remote,
    Local,
    Value(Value),
    Hold,
}

/// A record that goes to quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFailure {
    /// Empty where the row had none that could be read.
    pub external_id: String,
    /// Page and place among the rows without an id on it, from 1: what such a row is told apart by. Else empty.
    pub place: String,
    /// `fetch`, `validate`, `map`, `resolve`, `apply`, `push`.
    pub stage: String,
    pub code: String,
    pub message: String,
    /// JSON text without sensitive fields.
    pub payload: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanWarning {
    pub external_id: String,
    pub field: String,
    pub message: String,
}
