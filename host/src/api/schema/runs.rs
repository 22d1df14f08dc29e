//! Syncs, runs and what they leave behind, and the queue.

use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// What a sync is asked to do.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SyncRequest {
    #[schema(min_length = 1)]
    organization_id: String,
    #[schema(min_length = 1)]
    connector_id: String,
    /// `full` if it is left out.
    mode: Option<Mode>,
    /// External ids, with mode `ids` only.
    #[schema(max_items = 10000)]
    ids: Option<Vec<String>>,
    filters: Option<SyncFilters>,
    dry_run: Option<bool>,
    /// The same as the header `Idempotency-Key`, but shared by all callers of the organization.
    #[schema(min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum Mode {
    Full,
    Incremental,
    Ids,
}

/// What the connector cannot do is refused rather than ignored.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SyncFilters {
    #[schema(format = DateTime)]
    modified_after: Option<String>,
    #[schema(format = DateTime)]
    modified_before: Option<String>,
    status: Option<Vec<String>>,
}

/// The run that a request became or joined.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SyncAccepted {
    sync_id: String,
    job_id: String,
    status: RunStatus,
    mode: Mode,
    entity: String,
    /// Whether a run that waited already does it too.
    joined: bool,
    #[schema(format = DateTime)]
    started_at: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum RunStatus {
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

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum Trigger {
    Manual,
    Webhook,
    Scheduled,
    Retry,
}

/// One execution of a sync.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Run {
    sync_id: String,
    organization_id: String,
    connector_id: String,
    connection_id: String,
    entity: String,
    mode: Option<Mode>,
    trigger: Trigger,
    /// The policy in words.
    strategy: String,
    /// Every strategy component that decided something.
    strategies: Vec<PluginRef>,
    dry_run: bool,
    status: RunStatus,
    counts: Counts,
    errors: Vec<RunError>,
    /// How many errors are not listed.
    errors_more: u64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    completed_at: Option<String>,
    attempt: u32,
    /// While it waits for a retry.
    #[schema(format = DateTime)]
    next_retry_at: Option<String>,
    /// Retries that count, the planned one included.
    retry_count: u32,
    max_retries: u32,
    /// The run that made its retry needless, or that took over what it asked for.
    superseded_by: Option<String>,
    job_id: Option<String>,
    /// How long its requests waited: for rate limits, a free connection, the next attempt.
    waited_ms: u64,
    plugin: Option<PluginRef>,
    /// The mapping that it used.
    template: Option<TemplateRef>,
    /// While it runs.
    progress: Option<Progress>,
    /// What an approval names.
    plan_hash: Option<String>,
    /// Which brake tripped; of a dry run, which one would hold the run itself.
    held_reason: Option<String>,
    listing_complete: Option<bool>,
    phases: Vec<Phase>,
    requested_by: String,
    undone_by: Option<String>,
    #[schema(format = DateTime)]
    undone_at: Option<String>,
    /// Since when its requests, log and outcomes are kept no longer, and so it cannot be undone.
    #[schema(format = DateTime)]
    details_gone_at: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct PluginRef {
    name: String,
    sha256: String,
}

#[derive(ToSchema)]
pub(in crate::api) struct TemplateRef {
    /// Null for the plugin's own, whose version is the plugin's sha256.
    id: Option<String>,
    version: Option<u64>,
    name: String,
}

/// Records, unless the guide says otherwise.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Counts {
    fetched: u64,
    valid: u64,
    invalid: u64,
    created: u64,
    updated: u64,
    unchanged: u64,
    linked: u64,
    conflicts_detected: u64,
    conflicts_resolved: u64,
    conflicts_held: u64,
    deactivated: u64,
    reactivated: u64,
    quarantined: u64,
    pushed: u64,
    warnings: u64,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct RunError {
    code: String,
    message: String,
    page: Option<u64>,
    record_id: Option<String>,
    #[schema(format = DateTime)]
    at: String,
}

#[derive(ToSchema)]
pub(in crate::api) struct Progress {
    phase: String,
    page: u64,
    fetched: u64,
    /// As the remote claims.
    total: Option<u64>,
    /// What its requests wait for, if they do.
    waiting: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Phase {
    phase: String,
    millis: u64,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct RunFilter {
    organization: Option<String>,
    connector: Option<String>,
    #[param(inline)]
    trigger: Option<Trigger>,
    /// One status, or several with commas between them.
    status: Option<String>,
    /// RFC 3339.
    #[param(format = DateTime)]
    since: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ExportFormat {
    /// `json` if it is left out.
    #[param(inline)]
    format: Option<Format>,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum Format {
    Json,
    /// One JSON object on each line.
    Ndjson,
    Csv,
}

#[derive(ToSchema)]
pub(in crate::api) struct RunsExport {
    items: Vec<Run>,
}

#[derive(ToSchema)]
pub(in crate::api) struct RunExport {
    run: Run,
    conflicts: Vec<ConflictLine>,
    records: Vec<RecordOutcome>,
}

/// A field that both sides had changed.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ConflictLine {
    record_id: String,
    external_id: String,
    entity: String,
    field: String,
    base_value: Value,
    remote_value: Value,
    local_value: Value,
    /// Null where it is held.
    resolved_value: Value,
    held: bool,
    strategy: String,
    note: String,
}

/// What became of one record; unchanged ones have no row.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct RecordOutcome {
    record_id: Option<String>,
    external_id: String,
    outcome: Outcome,
    /// The record's version after it; null where it did not change.
    version: Option<u64>,
    note: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum Outcome {
    Created,
    Updated,
    Linked,
    Inactivated,
    Reactivated,
    Conflict,
    Quarantined,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct OutcomeFilter {
    #[param(inline)]
    outcome: Option<Outcome>,
}

/// One request as it left the house, without secrets.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct RequestLine {
    #[schema(format = DateTime)]
    at: String,
    method: String,
    url: String,
    /// 1 is the first.
    attempt: u32,
    /// How many redirects were followed to get here.
    redirects: u32,
    /// How long the host waited before this attempt.
    waited_ms: u64,
    duration_ms: u64,
    /// Of the decoded body, as far as it was read.
    bytes: u64,
    /// Null when no answer came.
    status: Option<u16>,
    /// Why there is no answer, or no whole one.
    failure: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct LogLine {
    #[schema(format = DateTime)]
    at: Option<String>,
    /// `error`, `warn`, `info` or `debug`.
    level: String,
    /// `host` or `plugin`.
    source: String,
    message: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PlanApproval {
    /// The run's `planHash`, as it was looked at.
    #[schema(min_length = 1)]
    plan_hash: String,
}

/// What an undo put back, and what it left.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Undone {
    sync_id: String,
    status: RunStatus,
    undone_by: Option<String>,
    #[schema(format = DateTime)]
    undone_at: Option<String>,
    /// How many records.
    reverted: u64,
    skipped: Vec<Skipped>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Skipped {
    record_id: String,
    field: String,
    reason: String,
}

/// A job that waits, runs, or failed for good.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Job {
    job_id: String,
    sync_id: String,
    connector_id: String,
    connection_id: String,
    kind: JobKind,
    entities: Vec<String>,
    trigger: Trigger,
    priority: Priority,
    state: JobState,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    due_at: String,
    /// Attempts so far, the one under way included.
    attempt: u32,
    /// Retries that count, the planned one included.
    retry_count: u32,
    max_retries: u32,
    /// While it waits for a retry.
    #[schema(format = DateTime)]
    next_retry_at: Option<String>,
    /// Why its last attempt failed.
    error: Option<JobError>,
    /// When it failed for good.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Somebody asked to cancel it.
    cancel: bool,
    lease: Option<Lease>,
}

#[derive(ToSchema)]
pub(in crate::api) struct JobError {
    code: String,
    message: String,
}

/// What is done first.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum Priority {
    Manual,
    Webhook,
    Scheduled,
    Backfill,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum JobKind {
    DryRun,
    Sync,
    Apply,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum JobState {
    Pending,
    Waiting,
    Running,
    Dead,
}

#[derive(ToSchema)]
pub(in crate::api) struct Lease {
    #[schema(format = DateTime)]
    until: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct QueueFilter {
    #[param(inline)]
    state: Option<JobState>,
}
