//! Records, their history, and the change feed.

use super::Object;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// The local copy of a record.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Record {
    id: String,
    entity: String,
    status: RecordStatus,
    version: u64,
    fields: Object,
    field_meta: BTreeMap<String, FieldMeta>,
    /// By connection, and secondary ids under their own kind.
    external_ids: BTreeMap<String, String>,
    #[schema(format = DateTime)]
    last_synced_at: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum RecordStatus {
    Active,
    Inactive,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct FieldMeta {
    #[schema(format = DateTime)]
    modified_at: String,
    modified_by: Author,
}

/// Who made a change.
#[derive(ToSchema)]
pub(in crate::api) struct Author {
    kind: AuthorKind,
    name: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum AuthorKind {
    Person,
    Machine,
    Run,
}

#[derive(ToSchema)]
pub(in crate::api) struct NewRecord {
    #[schema(min_length = 1)]
    entity: String,
    fields: Object,
}

/// Names only the fields that change.
#[derive(ToSchema)]
pub(in crate::api) struct RecordChange {
    fields: Option<Object>,
    status: Option<RecordStatus>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct RecordFilter {
    entity: Option<String>,
    #[param(inline)]
    status: Option<RecordStatus>,
    /// A text that a value or an id holds, without regard to case.
    q: Option<String>,
}

/// One change of a record; the newest comes first.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct HistoryEntry {
    #[schema(format = DateTime)]
    at: String,
    kind: ChangeKind,
    by: Author,
    run_id: Option<String>,
    /// The record's version after the change.
    version: u64,
    fields: BTreeMap<String, FieldChange>,
    status_before: Option<RecordStatus>,
    status_after: Option<RecordStatus>,
    /// The run that a person took back with it.
    undo_of: Option<String>,
    /// The item of the conflict inbox that a person decided with it.
    conflict_id: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct WhyFilter {
    /// One field; all that have a value if it is left out.
    field: Option<String>,
}

/// Why the fields of a record are what they are.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Why {
    record_id: String,
    entity: String,
    status: RecordStatus,
    version: u64,
    fields: Vec<WhyField>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct WhyField {
    field: String,
    value: serde_json::Value,
    way: Way,
    #[schema(format = DateTime)]
    set_at: String,
    set_by: Author,
    run_id: Option<String>,
    /// Whether that run can still be looked at; null where it was no run.
    run_kept: Option<bool>,
    /// The run that was taken back.
    undo_of: Option<String>,
    /// What stood here before it.
    before: serde_json::Value,
    /// What both sides had last agreed on when it was set.
    base: serde_json::Value,
    /// What the other side held then.
    remote: serde_json::Value,
    /// What stood here then.
    local: serde_json::Value,
    /// The last conflict about the field, also where it left the value as it was.
    decision: Option<WhyDecision>,
    /// What each connection holds as agreed now.
    agreed: Vec<Agreed>,
    /// The same for people.
    explanation: String,
}

/// How a value came to be.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum Way {
    /// With the record.
    Created,
    /// Only the other side had changed it.
    Remote,
    /// When the record was first linked.
    Linked,
    /// A strategy decided.
    Conflict,
    /// A person decided a held conflict.
    Decision,
    Edit,
    Undo,
    /// It is kept no longer.
    Unknown,
}

/// A conflict and how it ended.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct WhyDecision {
    run_id: String,
    conflict_id: Option<String>,
    strategy: String,
    note: String,
    base_value: serde_json::Value,
    remote_value: serde_json::Value,
    local_value: serde_json::Value,
    resolved_value: serde_json::Value,
    held: bool,
    /// `remote`, `local`, `value` or `superseded` where it was in the inbox.
    choice: Option<String>,
    by: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Agreed {
    connection_id: String,
    connector_id: Option<String>,
    external_id: String,
    base: serde_json::Value,
}

#[derive(ToSchema)]
pub(in crate::api) struct FieldChange {
    before: serde_json::Value,
    after: serde_json::Value,
    /// Which one decided, if one did.
    strategy: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum ChangeKind {
    Created,
    Updated,
    Inactivated,
    Reactivated,
    Linked,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ChangeFilter {
    /// The `seq` of the last row that the caller has, or `latest`.
    #[param(pattern = "^([0-9]+|latest)$")]
    after: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::api) struct LastEventId {
    /// The id of the last event that the caller has, where a stream broke.
    #[param(rename = "Last-Event-ID")]
    last_event_id: Option<String>,
}

/// One event of a `text/event-stream`, by its lines. A stream begins with a `retry` that stands alone.
#[derive(ToSchema)]
pub(in crate::api) struct Event {
    event: Option<String>,
    id: Option<String>,
    /// JSON.
    data: Option<String>,
    retry: Option<u64>,
}

/// One row of the feed: that a record changed, and which fields.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Change {
    seq: u64,
    record_id: String,
    entity: String,
    kind: ChangeKind,
    fields: Vec<String>,
    run_id: Option<String>,
    #[schema(format = DateTime)]
    at: String,
}

/// A page of the feed.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Changes {
    items: Vec<Change>,
    #[schema(required)]
    next_cursor: Option<String>,
    /// The `after` that continues, also when there was nothing new.
    next_after: u64,
}
