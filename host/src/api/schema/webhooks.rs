//! Deliveries: what is sent in, and the log.

use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// The form that names its connector and signs itself.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SignedEvent {
    connector_id: String,
    federation_org_id: String,
    member_id: String,
    event: SignedEventKind,
    /// Hex of the HMAC-SHA256 over the compact JSON of the four other members, keys sorted.
    signature: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum SignedEventKind {
    Created,
    Updated,
    Deleted,
}

/// A delivery was taken.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Received {
    /// `accepted`, `duplicate`, or `listening` where somebody only wanted to know.
    status: String,
    /// Of a duplicate: the delivery that it repeats.
    delivery_id: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Listening {
    /// `active`
    status: String,
}

/// A delivery in the log.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Hook {
    id: String,
    connector_id: String,
    /// Set where it was sent to the address of one connection.
    connection_id: Option<String>,
    scheme: String,
    verdict: HookVerdict,
    /// `pending`, `waiting` for another attempt, or `ended`.
    status: String,
    #[schema(format = DateTime)]
    received_at: String,
    /// When the sender had its answer; null where a crash came between, and for what was not accepted.
    #[schema(format = DateTime)]
    acknowledged_at: Option<String>,
    /// From the receipt to the answer.
    acknowledged_ms: Option<i64>,
    #[schema(format = DateTime)]
    processed_at: Option<String>,
    /// From the receipt to the jobs.
    processed_ms: Option<i64>,
    /// Of the sender; for callers of all organizations.
    address: Option<String>,
    body_bytes: u64,
    /// The sender's own id, as the signature covers it.
    delivery_id: Option<String>,
    duplicate_of: Option<String>,
    /// Of a duplicate: its signed id is that of an earlier delivery, and its body another one.
    body_differs: bool,
    /// Refused or repeated deliveries of this kind since the last one that got a row.
    unlogged: u64,
    /// Of the records that it names.
    external_ids: Vec<String>,
    events: Vec<HookEvent>,
    /// Events beyond those that are listed.
    events_more: u64,
    runs: Vec<HookRun>,
    error: Option<HookError>,
    attempts: u32,
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    replays: u32,
    replayed_by: Option<String>,
    replayable: bool,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum HookVerdict {
    Accepted,
    Duplicate,
    BadSignature,
    Replayed,
    RateLimited,
    TooLarge,
    UnknownOrganization,
    UnknownEvent,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct HookEvent {
    /// The remote's id of the organization.
    organization: Option<String>,
    entity: String,
    external_id: String,
    /// `created`, `updated`, `deleted`, `merged`.
    kind: String,
    event_id: Option<String>,
    /// `queued`, `duplicate`, `unknownOrganization`, `unknownEntity`, `switchedOff`.
    result: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct HookRun {
    sync_id: String,
    organization_id: String,
    connection_id: String,
}

#[derive(ToSchema)]
pub(in crate::api) struct HookError {
    code: String,
    message: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct HookFilter {
    organization: Option<String>,
    connector: Option<String>,
    verdict: Option<HookVerdict>,
    /// Received at this time or later.
    #[param(format = DateTime)]
    since: Option<String>,
}

/// How a connector receives deliveries.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Reception {
    /// Where to point the remote system.
    url: String,
    /// The signature scheme in force; null where the connector takes no deliveries.
    scheme: Option<String>,
    /// What `config.webhookScheme` may choose among.
    schemes: Vec<String>,
    ready: bool,
    /// Why nothing can be received, or which secret is left out.
    problem: Option<String>,
    secret: ReceptionSecret,
    /// What was refused or came again since the server started, by verdict.
    refused: BTreeMap<String, u64>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ReceptionSecret {
    set: bool,
    previous_set: bool,
}
