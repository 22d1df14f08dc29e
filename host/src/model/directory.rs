//! What an administrator sets up: organizations, connectors, connections, templates. Stored as JSON rows; times
//! are milliseconds since the epoch. `version` grows by one with every change and is the ETag.

use super::conflict::SourceOfTruth;
use super::ids::{ConnectionId, ConnectorId, OrgNo, TemplateId};
use super::template::Template;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A tenant (a club, a shop).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Organization {
    pub id: String,
    pub no: OrgNo,
    pub name: String,
    /// IANA name.
    pub timezone: String,
    /// ISO 3166 code: the region of phone numbers without a country code.
    pub default_region: String,
    pub created_at: i64,
    pub version: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectorStatus {
    #[default]
    Active,
    Inactive,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthType {
    #[serde(rename = "oauth2")]
    OAuth2,
    #[serde(rename = "apiKey")]
    ApiKey,
    #[serde(rename = "basic")]
    Basic,
    #[serde(rename = "bearer")]
    Bearer,
    #[serde(rename = "none")]
    None,
}

/// A configured use of a connector plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connector {
    pub id: ConnectorId,
    pub name: String,
    pub federation_code: String,
    pub plugin: String,
    pub auth_type: AuthType,
    pub endpoints: BTreeMap<String, String>,
    /// The whole object, the host's own keys included.
    pub config: serde_json::Value,
    pub sync_config: SyncConfig,
    pub template_id: Option<TemplateId>,
    pub status: ConnectorStatus,
    /// Set when it was deleted: history stays, credentials stay for a while.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deleted_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncConfig {
    pub enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timezone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub conflict_strategy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_retries: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    #[default]
    Pull,
    Push,
    Both,
}

/// Organization x connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    pub id: ConnectionId,
    pub organization: String,
    pub org_no: OrgNo,
    pub connector_id: ConnectorId,
    pub federation_org_id: String,
    pub strategy: Option<String>,
    pub webhooks_enabled: bool,
    pub entities: BTreeMap<String, ConnectionEntity>,
    pub enabled_at: i64,
    /// Set when it was disconnected: history stays, nothing runs.
    pub disconnected_at: Option<i64>,
    pub version: u64,
}

/// How one entity is synced over a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionEntity {
    #[serde(default)]
    pub direction: Direction,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub strategy: Option<String>,
    #[serde(default)]
    pub source_of_truth: SourceOfTruth,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub fields: BTreeMap<String, FieldPolicy>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldPolicy {
    pub strategy: String,
}

/// A named field mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredTemplate {
    pub id: TemplateId,
    pub name: String,
    /// The plugin whose entities it maps.
    pub plugin: String,
    pub template: Template,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: u64,
}
