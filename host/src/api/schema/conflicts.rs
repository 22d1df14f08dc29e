//! The inbox of held conflicts, and the quarantine.

use super::runs::Mode;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// A conflict that waits for a person, or waited.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Conflict {
    id: String,
    organization_id: String,
    connector_id: String,
    connection_id: String,
    record_id: String,
    external_id: String,
    entity: String,
    field: String,
    base_value: Value,
    remote_value: Value,
    local_value: Value,
    strategy: String,
    note: String,
    first_run_id: String,
    last_run_id: String,
    #[schema(format = DateTime)]
    first_seen_at: String,
    #[schema(format = DateTime)]
    last_seen_at: String,
    resolution: Option<Resolution>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Resolution {
    /// `remote`, `local`, `value`, or `superseded` by a later run that found no conflict.
    choice: String,
    value: Value,
    by: String,
    #[schema(format = DateTime)]
    at: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ConflictFilter {
    organization: Option<String>,
    connector: Option<String>,
    record: Option<String>,
    entity: Option<String>,
    field: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Decision {
    choice: Choice,
    /// Needed where the choice is `value`.
    value: Option<Value>,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum Choice {
    Remote,
    Local,
    Value,
}

/// One decision for all open conflicts of a filter.
#[derive(ToSchema)]
pub(in crate::api) struct Decisions {
    choice: Choice,
    value: Option<Value>,
    filter: Option<DecisionFilter>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct DecisionFilter {
    organization_id: Option<String>,
    connector_id: Option<String>,
    record_id: Option<String>,
    entity: Option<String>,
    field: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Decided {
    /// How many conflicts.
    resolved: u64,
}

/// Has failures retried.
#[derive(ToSchema)]
pub(in crate::api) struct Retries {
    /// Without members: all open failures.
    filter: Option<RetryFilter>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct RetryFilter {
    organization_id: Option<String>,
    connector_id: Option<String>,
    entity: Option<String>,
    stage: Option<String>,
    code: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Retried {
    /// How many failures.
    retried: u64,
    /// The runs that read them again, one for each connection.
    jobs: Vec<RetryJob>,
    /// Failures of connections that cannot run now.
    skipped: Vec<RetrySkipped>,
    /// Whether the filter matches more than one request retries.
    more: bool,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct RetryJob {
    sync_id: String,
    job_id: String,
    /// Whether a run that waited already does it too.
    joined: bool,
    organization_id: String,
    connector_id: String,
    connection_id: String,
    failures: u64,
    entities: Vec<RetryEntity>,
}

#[derive(ToSchema)]
pub(in crate::api) struct RetryEntity {
    entity: String,
    /// `full` where the connector cannot fetch single records, or one of them has no id.
    mode: Mode,
    failures: u64,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct RetrySkipped {
    organization_id: String,
    connection_id: String,
    failures: u64,
    code: String,
    message: String,
}

/// A record that could not be processed, and why.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Failure {
    id: String,
    organization_id: String,
    connector_id: String,
    connection_id: String,
    entity: String,
    external_id: String,
    /// `fetch`, `validate`, `map`, `resolve`, `apply` or `push`.
    stage: String,
    code: String,
    message: String,
    /// Where in the listing the record was.
    place: Option<String>,
    /// The record as it came, without sensitive fields.
    payload: Value,
    attempts: u32,
    first_run_id: String,
    run_id: String,
    #[schema(format = DateTime)]
    first_seen_at: String,
    #[schema(format = DateTime)]
    last_seen_at: String,
    #[schema(format = DateTime)]
    resolved_at: Option<String>,
    resolved_by: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct FailureFilter {
    organization: Option<String>,
    connector: Option<String>,
    entity: Option<String>,
    stage: Option<String>,
    code: Option<String>,
}
