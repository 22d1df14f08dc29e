//! Organizations, templates and plugins.

use super::Object;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A tenant: a club, a shop.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Organization {
    id: String,
    name: String,
    /// IANA time zone.
    timezone: String,
    /// ISO 3166 code: the region of phone numbers without a country code.
    default_region: String,
    #[schema(format = DateTime)]
    created_at: String,
    version: u64,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewOrganization {
    /// Letters, digits, `-`, `_` or `.`; given by the server if it is left out.
    #[schema(min_length = 1, max_length = 64)]
    id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// IANA time zone; `UTC` if it is left out.
    timezone: Option<String>,
    /// ISO 3166 code; `IE` if it is left out.
    default_region: Option<String>,
}

/// What is left out stays as it is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct OrganizationChange {
    #[schema(max_length = 200)]
    name: Option<String>,
    timezone: Option<String>,
    default_region: Option<String>,
}

/// A field mapping of one's own.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Template {
    id: String,
    name: String,
    /// The plugin whose entities it maps.
    plugin: String,
    entities: BTreeMap<String, EntityTemplate>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    version: u64,
}

/// The mapping in use, in a form that can be stored as a template of one's own.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct UsedTemplate {
    /// Null for the plugin's own.
    template_id: Option<String>,
    version: serde_json::Value,
    name: Option<String>,
    plugin: String,
    entities: BTreeMap<String, EntityTemplate>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PreviewRequest {
    /// May be left out where the template maps only one.
    entity: Option<String>,
    /// For the region of phone numbers in match keys.
    organization_id: Option<String>,
    /// By the names of the source.
    #[schema(min_items = 1, max_items = 100)]
    records: Vec<Object>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewPreviewRequest {
    #[schema(min_length = 1)]
    plugin: String,
    /// The plugin's own template if it is left out.
    entities: Option<BTreeMap<String, EntityTemplate>>,
    entity: Option<String>,
    organization_id: Option<String>,
    #[schema(min_items = 1, max_items = 100)]
    records: Vec<Object>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Preview {
    entity: String,
    counts: PreviewCounts,
    items: Vec<Previewed>,
}

#[derive(ToSchema)]
pub(in crate::api) struct PreviewCounts {
    mapped: u64,
    rejected: u64,
}

/// What becomes of one sample.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Previewed {
    external_id: Option<String>,
    /// `mapped` or `rejected`.
    outcome: String,
    status: Option<String>,
    fields: Object,
    errors: Vec<PreviewFault>,
    warnings: Vec<PreviewFault>,
    match_keys: Vec<MatchKey>,
}

#[derive(ToSchema)]
pub(in crate::api) struct PreviewFault {
    field: String,
    code: String,
    message: String,
}

/// What a match rule would look for.
#[derive(ToSchema)]
pub(in crate::api) struct MatchKey {
    fields: Vec<String>,
    /// Null where one of the fields is blank: the rule finds nobody.
    key: Option<Vec<String>>,
}

#[derive(ToSchema)]
pub(in crate::api) struct NewTemplate {
    #[schema(min_length = 1)]
    name: String,
    #[schema(min_length = 1)]
    plugin: String,
    entities: BTreeMap<String, EntityTemplate>,
}

/// How one entity is mapped. The guide for administrators lists the transforms.
#[derive(ToSchema)]
pub(in crate::api) struct EntityTemplate {
    fields: Vec<FieldMapping>,
    status: Option<StatusMapping>,
    /// Match rules in order: a record that agrees on all fields of a rule is the same record.
    #[serde(rename = "match")]
    match_rules: Option<Vec<Vec<String>>>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct FieldMapping {
    /// Left out for a field that its transforms compute.
    source: Option<String>,
    target: String,
    #[serde(rename = "type")]
    #[schema(required = false)]
    field_type: FieldType,
    /// A blank value makes the record invalid.
    #[schema(required = false)]
    required: bool,
    /// Steps on the value, in order: a word, or an object with one member.
    #[schema(required = false)]
    transforms: Vec<serde_json::Value>,
    /// `fail`: the record is invalid; `skip`: the value is left out; `keep`: it is kept as given; `{"default": ...}`.
    #[schema(required = false)]
    on_error: serde_json::Value,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum FieldType {
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

/// How a source field decides whether the record is active.
#[derive(ToSchema)]
pub(in crate::api) struct StatusMapping {
    source: String,
    active: Vec<String>,
    inactive: Vec<String>,
}

/// One component.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Plugin {
    name: String,
    /// Null for a file that is no plugin.
    kind: Option<PluginKind>,
    version: Option<String>,
    title: Option<String>,
    sha256: String,
    bytes: u64,
    state: PluginState,
    /// Why it was rejected.
    reason: Option<String>,
    /// `embedded` or the file's name.
    source: String,
    #[schema(format = DateTime)]
    approved_at: Option<String>,
    approved_by: Option<String>,
    asks: Option<Asks>,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum PluginKind {
    Connector,
    Strategy,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum PluginState {
    Pending,
    Active,
    Inactive,
    Rejected,
}

/// One component, with its manifest if it is active.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PluginDetail {
    name: String,
    kind: Option<PluginKind>,
    version: Option<String>,
    title: Option<String>,
    sha256: String,
    bytes: u64,
    state: PluginState,
    reason: Option<String>,
    source: String,
    #[schema(format = DateTime)]
    approved_at: Option<String>,
    approved_by: Option<String>,
    asks: Option<Asks>,
    manifest: Option<Object>,
}

/// What a component wants to be allowed.
#[derive(ToSchema)]
pub(in crate::api) struct Asks {
    /// Version of the contract that it was built for.
    api: String,
    abilities: Vec<String>,
    hosts: Vec<String>,
    methods: Vec<String>,
    auth: Vec<String>,
    entities: Vec<String>,
    limits: Object,
    aliases: Vec<String>,
    /// Strategies: whether it may answer with values of its own.
    values: bool,
}

/// All components, after a reload.
#[derive(ToSchema)]
pub(in crate::api) struct Plugins {
    items: Vec<Plugin>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Approval {
    /// Needed where several versions wait.
    sha256: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Activation {
    #[schema(min_length = 1)]
    sha256: String,
}
