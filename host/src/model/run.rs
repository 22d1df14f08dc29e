//! Runs: what was asked, how it stands, what it counted.

use super::ids::{ConnectionId, ConnectorId, JobId, RunId, TemplateId};
use super::json_text;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunStatus {
    Queued,
    Running,
    Waiting,
    Completed,
    Partial,
    Failed,
    Held,
    Cancelled,
    NeedsReauth,
}

impl RunStatus {
    pub fn is_final(self) -> bool {
        !matches!(self, RunStatus::Queued | RunStatus::Running | RunStatus::Waiting)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Queued => "queued",
            RunStatus::Running => "running",
            RunStatus::Waiting => "waiting",
            RunStatus::Completed => "completed",
            RunStatus::Partial => "partial",
            RunStatus::Failed => "failed",
            RunStatus::Held => "held",
            RunStatus::Cancelled => "cancelled",
            RunStatus::NeedsReauth => "needsReauth",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    Manual,
    Webhook,
    Scheduled,
    Retry,
}

impl Trigger {
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Manual => "manual",
            Trigger::Webhook => "webhook",
            Trigger::Scheduled => "scheduled",
            Trigger::Retry => "retry",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Ids,
    Incremental,
    Full,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Ids => "ids",
            Mode::Incremental => "incremental",
            Mode::Full => "full",
        }
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Mode, ()> {
        match text {
            "ids" => Ok(Mode::Ids),
            "incremental" => Ok(Mode::Incremental),
            "full" => Ok(Mode::Full),
            _ => Err(()),
        }
    }
}

/// What a run did, or would do if it is a dry run. One number for each word of the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    pub fetched: u64,
    pub valid: u64,
    pub invalid: u64,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub linked: u64,
    pub conflicts_detected: u64,
    pub conflicts_resolved: u64,
    pub conflicts_held: u64,
    pub deactivated: u64,
    pub reactivated: u64,
    pub quarantined: u64,
    pub pushed: u64,
    pub warnings: u64,
}

/// One thing that went wrong, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunError {
    pub code: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub page: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record_id: Option<String>,
    /// RFC 3339.
    pub at: String,
}

/// What a run asks of one entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityRequest {
    pub entity: String,
    pub mode: Mode,
    #[serde(default)]
    pub ids: Vec<String>,
    /// JSON object, already checked.
    #[serde(default, with = "json_text")]
    pub filters: Option<serde_json::Value>,
}

/// A filter of the host's own, with mode `ids`: only records that the connection knows. What is said to be gone is asked
/// for so, since asking for a stranger could bring one in that is somebody else's. Nobody can send it.
pub const ONLY_LINKED: &str = "onlyLinked";

impl EntityRequest {
    /// These records, as far as they are known.
    pub fn only_linked(entity: &str, ids: Vec<String>) -> EntityRequest {
        let filters = Some(serde_json::json!({ ONLY_LINKED: true }));
        EntityRequest { entity: entity.to_owned(), mode: Mode::Ids, ids, filters }
    }

    pub fn is_only_linked(&self) -> bool {
        self.filters.as_ref().is_some_and(|filters| filters.get(ONLY_LINKED).is_some())
    }
}

/// A run as it is stored, in binary: a history entry. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub organization: String,
    pub connector: ConnectorId,
    pub connection: ConnectionId,
    pub requests: Vec<EntityRequest>,
    pub trigger: Trigger,
    pub dry_run: bool,
    pub status: RunStatus,
    pub counts: Counts,
    /// At most `run_errors_max`; `errors_more` counts the rest.
    #[serde(with = "json_text")]
    pub errors: Vec<RunError>,
    pub errors_more: u64,
    /// The effective policy: strategy names by scope, in words.
    pub strategy: String,
    pub plugin: Option<PluginRef>,
    /// The field mapping that it used.
    pub template: Option<TemplateRef>,
    /// Every strategy component that decided something in this run.
    pub strategies: Vec<PluginRef>,
    pub plan_hash: Option<String>,
    /// Why it is held, in words.
    pub held_reason: Option<String>,
    pub listing_complete: Option<bool>,
    /// From 1; 0 before the first.
    pub attempt: u32,
    /// Only while it waits for a retry.
    pub next_retry_at: Option<i64>,
    /// Retries so far that count, the planned one included.
    pub retry_count: u32,
    /// How many are allowed, as the connector and the settings said when it began.
    pub max_retries: u32,
    /// The job that asks for it, or that it was.
    pub job: Option<JobId>,
    /// The run that made a retry of this one needless, or that took over what it asked for.
    pub superseded_by: Option<RunId>,
    /// How long its requests waited for others: the rate limit, a free connection, the next attempt.
    pub waited_millis: u64,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub completed_at: Option<i64>,
    pub requested_by: String,
    /// Who undid it, and when.
    pub undone_by: Option<String>,
    pub undone_at: Option<i64>,
    /// Since when its requests, log and outcomes are kept no longer, and so it cannot be undone.
    pub details_gone_at: Option<i64>,
    /// Pages of its plan.
    pub pages: u32,
    /// The first of them of each request's entity, in the order of `requests`.
    pub page_starts: Vec<u32>,
    pub phases: Vec<PhaseTiming>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRef {
    pub name: String,
    pub sha256: String,
}

/// A template as it stood when a run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRef {
    /// None: the plugin's own, whose version is the plugin's sha256.
    pub id: Option<TemplateId>,
    pub version: Option<u64>,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTiming {
    pub phase: String,
    pub millis: u64,
}

impl Run {
    /// Whether records changed, or may have: also a run that is called failed may have applied the smaller part.
    pub fn took_effect(&self) -> bool {
        let counts = &self.counts;
        let applied = counts.created
            + counts.updated
            + counts.linked
            + counts.deactivated
            + counts.reactivated;
        match self.status {
            _ if self.dry_run => false,
            RunStatus::Completed | RunStatus::Partial => true,
            RunStatus::Failed => applied > 0,
            _ => false,
        }
    }
}
