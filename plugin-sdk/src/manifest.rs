//! What a plugin says about itself; `docs/plugin-manifest.md` explains every member.
//!
//! Plain data, written as literals; `..Default::default()` fills what is usual.

use serde::Serialize;
use serde_json::Value as Json;

/// The whole manifest, as the host reads it.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Manifest {
    Connector(ConnectorManifest),
    Strategy(StrategyManifest),
}

impl Manifest {
    /// The JSON text that `describe` returns.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Only maps with keys that are not text could fail, and there are none.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a strategy is.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyManifest {
    pub id: &'static str,
    pub version: &'static str,
    pub title: &'static str,
    /// Other names under which it is known.
    pub aliases: Vec<&'static str>,
    /// Whether it may answer with a value of its own.
    pub values: bool,
}

/// What a connector is and asks for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorManifest {
    pub id: &'static str,
    pub version: &'static str,
    pub title: &'static str,
    /// JSON Schema (draft 2020-12) of the config: an object that allows no additional properties.
    pub config_schema: Json,
    /// Origins to be granted: `{baseUrl}` stands for the origin of that endpoint.
    pub hosts: Vec<&'static str>,
    pub methods: Vec<&'static str>,
    pub auth: Vec<Auth>,
    pub endpoints: Vec<Endpoint>,
    pub entities: Vec<Entity>,
    pub template: Template,
    pub webhook: Option<Webhook>,
    pub limits: Limits,
}

impl Default for ConnectorManifest {
    fn default() -> Self {
        Self {
            id: "",
            version: "",
            title: "",
            config_schema: serde_json::json!({ "type": "object", "additionalProperties": false }),
            hosts: vec!["{baseUrl}"],
            methods: vec!["GET"],
            auth: vec![Auth::None],
            endpoints: Vec::new(),
            entities: Vec::new(),
            template: Template::default(),
            webhook: None,
            limits: Limits::default(),
        }
    }
}

/// A way to authenticate; the host does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Auth {
    /// A key in a header or in a query parameter: set one of them.
    ApiKey {
        #[serde(skip_serializing_if = "Option::is_none")]
        header: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        query: Option<&'static str>,
    },
    Basic,
    Bearer,
    #[serde(rename = "oauth2")]
    OAuth2 {
        scopes: &'static [&'static str],
    },
    None,
}

impl Auth {
    /// A key in this header.
    #[must_use]
    pub const fn api_key_header(name: &'static str) -> Self {
        Self::ApiKey { header: Some(name), query: None }
    }

    /// A key in this query parameter.
    #[must_use]
    pub const fn api_key_query(name: &'static str) -> Self {
        Self::ApiKey { header: None, query: Some(name) }
    }
}

/// A URL or path template that an operator may set.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub name: &'static str,
    pub title: &'static str,
    pub required: bool,
    pub default: Option<&'static str>,
}

/// A record type of the remote.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entity {
    pub name: &'static str,
    pub title: &'static str,
    /// The field that holds the external id.
    pub key: &'static str,
    /// `full`, `incremental`, `ids`.
    pub modes: Vec<&'static str>,
    /// `modifiedAfter`, `modifiedBefore`, `status`.
    pub filters: Vec<&'static str>,
    pub absent: Absent,
    /// Whether a listing read to its end names every record that exists.
    pub complete_listing: bool,
    pub fields: Vec<Field>,
    pub references: Vec<Reference>,
}

/// What it means that a record lacks a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Absent {
    #[default]
    Unknown,
    Null,
}

/// A field of an entity.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    pub name: &'static str,
    #[serde(rename = "type")]
    pub kind: FieldType,
    pub required: bool,
    pub read_only: bool,
    /// Health data and the like: hidden in logs and lists.
    pub sensitive: bool,
    /// A regular expression that good values match; others are kept with a warning.
    pub pattern: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FieldType {
    #[default]
    Text,
    Email,
    Phone,
    Date,
    Instant,
    Decimal,
    Integer,
    Boolean,
    Json,
}

/// A field that holds the external id of another record.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    pub field: &'static str,
    pub entity: &'static str,
}

/// The default field mapping, by entity.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    pub entities: std::collections::BTreeMap<&'static str, EntityTemplate>,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityTemplate {
    pub fields: Vec<FieldMapping>,
    /// How the remote's status decides whether a record is active.
    pub status: Option<StatusMapping>,
    /// Rules to find a local record, in order: each is a set of local fields that must all be equal.
    #[serde(rename = "match")]
    pub match_rules: Vec<Vec<&'static str>>,
}

/// One field: where it comes from, where it goes, what happens on the way.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldMapping {
    pub source: &'static str,
    pub target: &'static str,
    #[serde(rename = "type")]
    pub kind: FieldType,
    pub required: bool,
    pub transforms: Vec<Transform>,
    pub on_error: OnError,
}

/// What to do with a value that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OnError {
    /// The record goes to quarantine.
    #[default]
    Fail,
    /// The field is left out with a warning.
    Skip,
}

/// A step on a value's way from the remote to the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Transform {
    Trim,
    Lower,
    Upper,
    /// The date of a date or instant.
    DateOnly,
    /// ISO or `DD/MM/YYYY` to ISO; an ambiguous order is day first.
    ParseDate,
    /// Replaces values; keys are compared without regard to case.
    Map(std::collections::BTreeMap<&'static str, &'static str>),
    /// For a blank value.
    Default(&'static str),
    Const(&'static str),
    /// To at most this many characters.
    Truncate(u32),
    /// Appends other source fields.
    Concat {
        with: Vec<&'static str>,
        sep: &'static str,
    },
}

/// Which values of a source field mean active or inactive; any other keeps the record's status.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusMapping {
    pub source: &'static str,
    pub active: Vec<&'static str>,
    pub inactive: Vec<&'static str>,
}

/// How deliveries are signed by default.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    pub scheme: &'static str,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    pub requests_per_minute: u32,
    pub records_per_page_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_per_minute: 60, records_per_page_max: 1000 }
    }
}
