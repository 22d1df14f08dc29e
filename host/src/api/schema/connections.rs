//! Connections: which connectors an organization uses, and how.

use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An organization's use of a connector.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Connection {
    id: String,
    organization_id: String,
    connector_id: String,
    /// What the federation calls the organization.
    federation_org_id: String,
    strategy: Option<String>,
    #[schema(format = DateTime)]
    enabled_at: String,
    /// Set when it was disconnected: the history stays, nothing runs.
    #[schema(format = DateTime)]
    disconnected_at: Option<String>,
    #[schema(format = DateTime)]
    last_sync_at: Option<String>,
    webhooks_enabled: bool,
    entities: BTreeMap<String, EntityPolicy>,
    /// Its own, which go before the connector's.
    credentials: super::connectors::CredentialsState,
    health: ConnectionHealth,
    version: u64,
}

/// How one entity is synced.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct EntityPolicy {
    #[schema(required = false)]
    direction: Direction,
    strategy: Option<String>,
    /// Whom a tie goes to.
    #[schema(required = false)]
    source_of_truth: SourceOfTruth,
    #[schema(required = false)]
    fields: BTreeMap<String, FieldPolicy>,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum Direction {
    Pull,
    Push,
    Both,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum SourceOfTruth {
    Remote,
    Local,
}

#[derive(ToSchema)]
pub(in crate::api) struct FieldPolicy {
    strategy: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ConnectionHealth {
    /// `healthy`, `degraded`, `failing` or `disconnected`.
    status: String,
    consecutive_failures: u64,
    #[schema(format = DateTime)]
    last_success_at: Option<String>,
    #[schema(format = DateTime)]
    last_error_at: Option<String>,
    last_error: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewConnection {
    #[schema(min_length = 1)]
    connector_id: String,
    #[schema(min_length = 1, max_length = 200)]
    federation_org_id: String,
    strategy: Option<String>,
    webhooks_enabled: Option<bool>,
    /// The connector's entities with their policies; those left out get the default.
    entities: Option<BTreeMap<String, EntityPolicy>>,
}

/// What is left out stays as it is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ConnectionChange {
    #[schema(max_length = 200)]
    federation_org_id: Option<String>,
    /// Null goes back to the connector's.
    strategy: Option<String>,
    webhooks_enabled: Option<bool>,
    entities: Option<BTreeMap<String, EntityPolicy>>,
}
