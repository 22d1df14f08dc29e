//! What a plugin says of itself: the JSON that `describe` returns, documented in `docs/plugin-manifest.md`.
//!
//! Unknown members are refused: a manifest is a contract, and a typo in it must not be silence.

use super::template::Template;
use super::value::FieldType;
use super::webhook::SignatureScheme;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Manifest {
    Connector(Box<ConnectorManifest>),
    Strategy(StrategyManifest),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectorManifest {
    pub id: String,
    pub version: String,
    pub title: String,
    /// JSON Schema (2020-12) of the connector's own config.
    pub config_schema: serde_json::Value,
    /// `{endpointName}` (the host of that endpoint) or an origin such as `https://api.example.org`.
    pub hosts: Vec<String>,
    pub methods: Vec<String>,
    pub auth: Vec<AuthSpec>,
    #[serde(default)]
    pub endpoints: Vec<EndpointSpec>,
    pub entities: Vec<EntitySpec>,
    pub template: Template,
    #[serde(default)]
    pub webhook: Option<WebhookSpec>,
    #[serde(default)]
    pub limits: ManifestLimits,
}

impl ConnectorManifest {
    pub fn entity(&self, name: &str) -> Option<&EntitySpec> {
        self.entities.iter().find(|entity| entity.name == name)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StrategyManifest {
    pub id: String,
    pub version: String,
    pub title: String,
    /// Other names under which it may be configured.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whether it may answer with a value of its own.
    #[serde(default)]
    pub values: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum AuthSpec {
    #[serde(rename_all = "camelCase")]
    ApiKey {
        #[serde(default)]
        header: Option<String>,
        #[serde(default)]
        query: Option<String>,
    },
    Basic {},
    Bearer {},
    #[serde(rename = "oauth2")]
    OAuth2(OAuthSpec),
    None {},
}

/// How the remote does OAuth 2. Addresses may begin with an endpoint in braces, such as `{baseUrl}/oauth/token`; an
/// endpoint that is configured under the name of the member goes before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OAuthSpec {
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub authorize_url: Option<String>,
    #[serde(default)]
    pub token_url: Option<String>,
    #[serde(default)]
    pub revoke_url: Option<String>,
    /// The `iss` that the remote adds to its answers (RFC 9207); declared, it must be there.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Whether requests carry a code challenge (S256).
    #[serde(default = "yes")]
    pub pkce: bool,
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// The parameter of the callback that names the organization, compared with `federationOrgId`.
    #[serde(default)]
    pub organization_parameter: Option<String>,
    /// Further parameters of the authorization request.
    #[serde(default)]
    pub authorize_parameters: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

/// How the client proves itself to the token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// `client_secret_basic`
    #[default]
    Basic,
    /// `client_secret_post`
    Post,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSpec {
    pub name: String,
    pub title: String,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub default: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntitySpec {
    pub name: String,
    pub title: String,
    /// Which remote field the external id comes from (for people).
    pub key: String,
    pub modes: Vec<String>,
    #[serde(default)]
    pub filters: Vec<String>,
    /// What a field that is missing in a row means.
    #[serde(default)]
    pub absent: AbsentMeans,
    /// Whether a listing that was read to its end holds every record, so that absence means "gone".
    #[serde(default)]
    pub complete_listing: bool,
    pub fields: Vec<FieldSpec>,
    #[serde(default)]
    pub references: Vec<ReferenceSpec>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AbsentMeans {
    #[default]
    Unknown,
    Null,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldSpec {
    pub name: String,
    #[serde(rename = "type", default)]
    pub field_type: FieldType,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub sensitive: bool,
    /// A value that does not match is kept, with a warning.
    #[serde(default)]
    pub pattern: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReferenceSpec {
    pub field: String,
    pub entity: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookSpec {
    /// One of the schemes that ship with the host, or the name of `signature`.
    pub scheme: String,
    /// A scheme of the connector's own.
    #[serde(default)]
    pub signature: Option<SignatureScheme>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestLimits {
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    #[serde(default)]
    pub records_per_page_max: Option<u32>,
}
