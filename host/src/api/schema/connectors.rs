//! Connectors: configured uses of a plugin.

use super::Object;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A configured use of a connector plugin.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Connector {
    id: String,
    name: String,
    /// Groups connectors; need not be unique.
    federation_code: String,
    plugin: String,
    auth_type: AuthType,
    /// This, `config` and `credentials` are shown to callers who are not bound to one organization.
    #[schema(required = false)]
    endpoints: BTreeMap<String, String>,
    #[schema(required = false)]
    config: Object,
    sync_config: SyncConfig,
    template_id: Option<String>,
    status: ConnectorStatus,
    #[schema(required = false)]
    credentials: CredentialsState,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// Since when it is switched off for good.
    #[schema(format = DateTime)]
    deleted_at: Option<String>,
    version: u64,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum ConnectorStatus {
    Active,
    Inactive,
    Error,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum AuthType {
    Oauth2,
    ApiKey,
    Basic,
    Bearer,
    None,
}

/// All that is shown of credentials.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct CredentialsState {
    set: bool,
    #[schema(format = DateTime)]
    updated_at: Option<String>,
    /// Of an authorization, as are the other members.
    #[schema(format = DateTime)]
    authorized_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    refresh_expires_at: Option<String>,
    needs_reauth: Option<bool>,
    /// Why it cannot be used.
    reason: Option<String>,
}

/// Whose authorization it is: the connector's, or that of one connection.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AuthorizationOf {
    connection_id: Option<String>,
}

/// Open the address in a browser. Both address and state are missing in a replay by its `Idempotency-Key`.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AuthorizationStarted {
    authorization_url: Option<String>,
    state: Option<String>,
    #[schema(format = DateTime)]
    expires_at: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Authorization {
    connector_id: String,
    connection_id: Option<String>,
    #[schema(format = DateTime)]
    authorized_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    refresh_expires_at: Option<String>,
    needs_reauth: bool,
    reason: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Authorized {
    connector_id: String,
    connection_id: Option<String>,
    #[schema(format = DateTime)]
    authorized_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// Platforms may add parameters of their own.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct CallbackParameters {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// Which authorizations need a person, and which soon will.
#[derive(ToSchema)]
pub(in crate::api) struct Authorizations {
    blocked: Vec<BlockedAuthorization>,
    expiring: Vec<ExpiringAuthorization>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct BlockedAuthorization {
    connection_id: Option<String>,
    needs_reauth: bool,
    reason: String,
    #[schema(format = DateTime)]
    at: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ExpiringAuthorization {
    connection_id: Option<String>,
    #[schema(format = DateTime)]
    refresh_expires_at: String,
    days_left: i64,
}

/// When and how the connector's syncs run.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SyncConfig {
    enabled: bool,
    /// Cron with five fields, or `@daily` and the like.
    schedule: Option<String>,
    /// IANA time zone.
    timezone: Option<String>,
    conflict_strategy: Option<String>,
    max_retries: Option<u32>,
}

/// What is left out stays as it is, of a new connector as it is by default; null takes a member away.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SyncChange {
    enabled: Option<bool>,
    schedule: Option<String>,
    timezone: Option<String>,
    conflict_strategy: Option<String>,
    max_retries: Option<u32>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewConnector {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(min_length = 1, max_length = 64)]
    federation_code: String,
    #[schema(min_length = 1)]
    plugin: String,
    auth_type: AuthType,
    /// By the names that the plugin asks for.
    endpoints: Option<BTreeMap<String, String>>,
    /// The plugin's own settings, and the host's `requestsPerMinute`, `batchRecords`, `authIn`.
    config: Option<Object>,
    /// Sealed before anything is stored, and never read back.
    credentials: Option<Object>,
    sync_config: Option<SyncChange>,
    template_id: Option<String>,
}

/// What is left out stays as it is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ConnectorChange {
    #[schema(max_length = 200)]
    name: Option<String>,
    #[schema(max_length = 64)]
    federation_code: Option<String>,
    endpoints: Option<BTreeMap<String, String>>,
    config: Option<Object>,
    sync_config: Option<SyncChange>,
    /// Null goes back to the plugin's own template.
    template_id: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct ConnectorFilter {
    #[param(inline)]
    status: Option<ConnectorStatus>,
    federation_code: Option<String>,
}

/// `{apiKey}`, `{username, password}` or `{token}`, after the connector's `authType`.
#[derive(ToSchema)]
#[serde(transparent)]
pub(in crate::api) struct Credentials(Object);

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct CheckRequest {
    /// Whose connection is tried; the first one if it is left out.
    organization_id: Option<String>,
}

/// What one cheap authenticated call found.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct CheckReport {
    ok: bool,
    latency_ms: u64,
    error: Option<CheckError>,
}

#[derive(ToSchema)]
pub(in crate::api) struct CheckError {
    code: String,
    message: String,
}

#[derive(ToSchema)]
pub(in crate::api) struct StatusChange {
    status: SwitchedStatus,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum SwitchedStatus {
    Active,
    Inactive,
}

/// Over the real runs of the last 30 days; rates in percent, null before the first.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ConnectorHealth {
    /// `healthy`, `degraded`, `error` or `inactive`.
    status: String,
    consecutive_failures: u64,
    #[schema(format = DateTime)]
    last_success_at: Option<String>,
    #[schema(format = DateTime)]
    last_sync_at: Option<String>,
    #[schema(format = DateTime)]
    last_error_at: Option<String>,
    last_error: Option<String>,
    /// Since when it is in `error`.
    #[schema(format = DateTime)]
    disabled_at: Option<String>,
    #[schema(format = DateTime)]
    next_probe_at: Option<String>,
    uptime: Option<f64>,
    success_rate: Option<f64>,
    error_rate: Option<f64>,
    /// How many runs the rates are made of.
    runs: u64,
    authorizations: Authorizations,
    errors: Vec<HealthLine>,
}

/// Of one connection, over the same time.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ConnectionFare {
    /// `healthy`, `degraded`, `failing` or `disconnected`.
    status: String,
    consecutive_failures: u64,
    #[schema(format = DateTime)]
    last_success_at: Option<String>,
    #[schema(format = DateTime)]
    last_sync_at: Option<String>,
    #[schema(format = DateTime)]
    last_error_at: Option<String>,
    last_error: Option<String>,
    uptime: Option<f64>,
    success_rate: Option<f64>,
    error_rate: Option<f64>,
    runs: u64,
    errors: Vec<HealthLine>,
}

/// An error, or a step of what was done about errors.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct HealthLine {
    #[schema(format = DateTime)]
    at: String,
    kind: String,
    code: Option<String>,
    message: String,
    page: Option<u64>,
    sync_id: Option<String>,
    organization_id: Option<String>,
    /// Whether it counted against the connector as a whole.
    fault: bool,
}
