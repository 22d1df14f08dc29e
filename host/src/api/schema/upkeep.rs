//! The master key, channels of notification, and what they told.

use super::Object;
use utoipa::{IntoParams, ToSchema};

/// How far the secrets are under the newest key.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct KeyStatus {
    key_id: String,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    /// Where the key comes from.
    source: String,
    sealed: Sealed,
    /// Whether a change of keys is under way.
    rotating: bool,
    /// Older keys that were handed in and that nothing needs any more.
    spare_keys: u64,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Sealed {
    total: u64,
    under_current: u64,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum ChannelKind {
    Email,
    Slack,
    Webhook,
}

/// A way by which people are told.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Channel {
    id: String,
    name: String,
    kind: ChannelKind,
    enabled: bool,
    disabled_reason: Option<String>,
    /// Null tells of all organizations.
    organization_id: Option<String>,
    /// Null tells of everything.
    events: Option<Vec<String>>,
    quiet_hours: Option<QuietHours>,
    /// After the kind; of a secret only whether it is set.
    config: Object,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    version: u64,
}

/// When a channel keeps still, every day.
#[derive(ToSchema)]
pub(in crate::api) struct QuietHours {
    /// `22:00`
    #[schema(min_length = 1)]
    from: String,
    #[schema(min_length = 1)]
    to: String,
    /// IANA time zone; that of the organization if it is left out.
    timezone: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewChannel {
    #[schema(min_length = 1)]
    name: String,
    kind: ChannelKind,
    organization_id: Option<String>,
    enabled: Option<bool>,
    #[schema(min_items = 1)]
    events: Option<Vec<String>>,
    quiet_hours: Option<QuietHours>,
    /// `{host, port, tls, username?, password?, from, to}`, `{url}` or `{url, secret}`, after the kind.
    config: Object,
}

/// What is left out stays as it is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ChannelChange {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    enabled: Option<bool>,
    /// Null tells of everything.
    #[schema(min_items = 1)]
    events: Option<Vec<String>>,
    quiet_hours: Option<QuietHours>,
    config: Option<Object>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ChannelFilter {
    organization: Option<String>,
    #[param(inline)]
    kind: Option<ChannelKind>,
}

/// What the receiver said.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ChannelTest {
    ok: bool,
    delivery_id: String,
    latency_ms: Option<u64>,
    answer: Option<String>,
    error: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct DeliveryFilter {
    organization: Option<String>,
    channel: Option<String>,
    #[param(inline)]
    state: Option<DeliveryState>,
    /// A kind of event such as `runFailed`.
    event: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum DeliveryState {
    Collecting,
    Pending,
    Sent,
    Failed,
    Cancelled,
}

/// One message.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Delivery {
    id: String,
    channel_id: String,
    organization_id: Option<String>,
    /// Whether it went to the admins of the organization.
    to_admins: bool,
    state: DeliveryState,
    events: Vec<String>,
    event_count: u64,
    subject: Option<String>,
    attempts: u64,
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    last_error: Option<String>,
    /// What the receiver said.
    answer: Option<String>,
    latency_ms: Option<u64>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}
