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
    OAuth2(OAuth),
    None,
}

/// How the remote does OAuth 2. Addresses may begin with an endpoint in braces, such as `{baseUrl}/oauth/token`; an
/// operator can set each of them as an endpoint of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuth {
    pub scopes: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_url: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_url: Option<&'static str>,
    /// The `iss` that the remote adds to its answers (RFC 9207). Leave it out where it adds none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<&'static str>,
    /// Whether requests carry a code challenge; false only for a remote that cannot read one.
    #[serde(skip_serializing_if = "is_true")]
    pub pkce: bool,
    #[serde(skip_serializing_if = "ClientAuth::is_default")]
    pub client_auth: ClientAuth,
    /// The parameter of the callback that names the organization, such as `realmId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_parameter: Option<&'static str>,
    /// Further parameters of the authorization request, such as `("access_type", "offline")`.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "as_object")]
    pub authorize_parameters: &'static [(&'static str, &'static str)],
}

impl OAuth {
    /// What most remotes do: PKCE, and HTTP Basic for the client. Constant, so that a manifest can lay over it.
    pub const DEFAULT: Self = Self {
        scopes: &[],
        authorize_url: None,
        token_url: None,
        revoke_url: None,
        issuer: None,
        pkce: true,
        client_auth: ClientAuth::Basic,
        organization_parameter: None,
        authorize_parameters: &[],
    };
}

impl Default for OAuth {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How the client proves itself to the token endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// `client_secret_basic`
    #[default]
    Basic,
    /// `client_secret_post`
    Post,
}

impl ClientAuth {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_true(flag: &bool) -> bool {
    *flag
}

fn as_object<S: serde::Serializer>(
    pairs: &&'static [(&'static str, &'static str)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
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
    /// Empty for a field that its transforms compute.
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
    /// The field is left out with a warning: the record keeps the value that it has.
    Skip,
    /// The value is kept as it came, with a warning.
    Keep,
    /// This text takes its place, with a warning.
    Default(&'static str),
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
    /// Capitals at the beginning of words, unless the text has both cases already.
    Title,
    StripHtml,
    /// The first match of a regular expression, or of one of its groups.
    Regex {
        pattern: &'static str,
        group: usize,
    },
    /// `street`, `town`, `region` or `postcode` of an address in one line.
    AddressPart(&'static str),
    /// `male`, `female`, `other`.
    Gender,
    /// The two letters of ISO 3166.
    Country,
    /// Refuses what is no e-mail address.
    Email,
    /// E.164, for numbers without a country code in this region.
    Phone {
        region: &'static str,
    },
    /// A date written in this `strptime` form.
    ParseDateAs(&'static str),
    /// A date in this `strftime` form.
    FormatDate(&'static str),
    /// The day of an instant in this zone.
    DateInZone(&'static str),
    ParseInstant {
        format: &'static str,
        zone: &'static str,
    },
    /// `decimal` is `.` or `,`.
    ParseDecimal {
        decimal: &'static str,
    },
    ParseInteger,
    /// Empty lists stand for the usual words.
    ParseBoolean {
        #[serde(rename = "true")]
        yes: Vec<&'static str>,
        #[serde(rename = "false")]
        no: Vec<&'static str>,
    },
    /// `mode` is `halfUp`, `halfEven`, `down` or `up`.
    Round {
        places: u32,
        mode: &'static str,
    },
    Split {
        sep: &'static str,
    },
    Join {
        sep: &'static str,
    },
    /// The first item of a list that is not blank.
    First,
    /// The value at a JSON pointer.
    Pointer(&'static str),
    /// Maps each item of a list.
    Each {
        fields: Vec<ItemMapping>,
    },
}

/// One member of a mapped item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemMapping {
    /// A member of the item, or a JSON pointer into it.
    pub source: &'static str,
    pub target: &'static str,
    pub transforms: Vec<Transform>,
}

/// Which values of a source field mean active or inactive; any other keeps the record's status.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusMapping {
    pub source: &'static str,
    pub active: Vec<&'static str>,
    pub inactive: Vec<&'static str>,
}

/// How deliveries are signed by default. A connector that says so exports `webhook`.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// One of the host's schemes (`standard`, `github`, ...), or the name of `signature`.
    pub scheme: &'static str,
    /// A scheme of the connector's own; its members are in `docs/plugin-manifest.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Json>,
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
