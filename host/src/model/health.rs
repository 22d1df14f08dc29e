//! How a connector fares, and what its error log holds. Times are milliseconds since the epoch.

use super::ids::RunId;
use serde::{Deserialize, Serialize};

/// The state of a connector's health; the runs themselves are counted by day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorHealth {
    /// Faults of the connector since its last good run.
    pub consecutive_faults: u32,
    pub last_success_at: Option<i64>,
    pub last_error_at: Option<i64>,
    pub last_error: Option<String>,
    /// Set while the connector is in `error`.
    pub tripped: Option<Tripped>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tripped {
    pub at: i64,
    /// When it is asked next whether it is well again.
    pub probe_at: i64,
    /// Probes that failed since it tripped.
    pub probes: u32,
}

/// One day's runs of a connector or of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    pub good: u64,
    pub bad: u64,
    /// Time in `error`.
    pub down_millis: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LineKind {
    /// A run that failed.
    Run,
    /// The connector was disabled.
    Disabled,
    /// A probe found it still sick.
    Probe,
    /// A probe found it well: it is active again.
    Recovered,
    /// A person said that it is well.
    Cleared,
}

/// One line of the error log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub at: i64,
    pub kind: LineKind,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    pub message: String,
    /// The page of the listing, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub page: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sync_id: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub organization: Option<String>,
    /// Whether it counted against the connector as a whole.
    #[serde(default)]
    pub fault: bool,
}
