//! What the connector says about itself.

use serde_json::json;
use syncline_plugin_sdk::manifest::{
    Absent, Auth, Endpoint, Entity, EntityTemplate, Field, FieldMapping, FieldType, Limits, OAuth,
    OnError, StatusMapping, Template, Webhook,
};
use syncline_plugin_sdk::{ConnectorManifest, serde_json};

use crate::config::PAGE_SIZE_MAX;

pub(crate) const ENTITY: &str = "member";

/// Name, type, required, sensitive.
const FIELDS: [(&str, FieldType, bool, bool); 15] = [
    ("memberId", FieldType::Text, true, false),
    ("firstName", FieldType::Text, true, false),
    ("lastName", FieldType::Text, true, false),
    ("dateOfBirth", FieldType::Date, true, false),
    ("email", FieldType::Email, false, false),
    ("phone", FieldType::Phone, false, false),
    ("address", FieldType::Text, false, false),
    ("membershipNumber", FieldType::Text, false, false),
    ("membershipStatus", FieldType::Text, false, false),
    ("joinDate", FieldType::Date, false, false),
    ("gender", FieldType::Text, false, false),
    ("emergencyContactName", FieldType::Text, false, true),
    ("emergencyContactPhone", FieldType::Phone, false, true),
    ("medicalConditions", FieldType::Text, false, true),
    ("allergies", FieldType::Text, false, true),
];

pub(crate) fn manifest() -> ConnectorManifest {
    ConnectorManifest {
        id: "gaa-foireann",
        version: env!("CARGO_PKG_VERSION"),
        title: "GAA Foireann",
        config_schema: config_schema(),
        hosts: vec!["{baseUrl}"],
        methods: vec!["GET"],
        auth: vec![
            Auth::api_key_header("X-API-Key"),
            Auth::Basic,
            Auth::Bearer,
            Auth::OAuth2(OAuth {
                scopes: &["read:members", "read:clubs"],
                authorize_url: Some("https://auth.foireann.ie/oauth/authorize"),
                token_url: Some("https://auth.foireann.ie/oauth/token"),
                ..OAuth::DEFAULT
            }),
            Auth::None,
        ],
        endpoints: vec![
            Endpoint { name: "baseUrl", title: "Root of the API", required: true, default: None },
            Endpoint {
                name: crate::LIST.0,
                title: "Path of a club's members",
                required: false,
                default: Some(crate::LIST.1),
            },
            Endpoint {
                name: crate::DETAIL.0,
                title: "Path of one member",
                required: false,
                default: Some(crate::DETAIL.1),
            },
        ],
        entities: vec![Entity {
            name: ENTITY,
            title: "Member",
            key: "memberId",
            modes: vec!["full", "ids"],
            absent: Absent::Unknown,
            complete_listing: true,
            fields: FIELDS.iter().map(field).collect(),
            ..Entity::default()
        }],
        template: Template { entities: [(ENTITY, template())].into() },
        webhook: Some(Webhook { scheme: "original", signature: None }),
        limits: Limits { requests_per_minute: 60, records_per_page_max: PAGE_SIZE_MAX },
    }
}

fn field(&(name, kind, required, sensitive): &(&'static str, FieldType, bool, bool)) -> Field {
    Field {
        name,
        kind,
        required,
        read_only: name == "memberId",
        sensitive,
        pattern: (name == "membershipNumber").then_some(r"^\d{3}-\d{5}-\d{3}$"),
    }
}

fn template() -> EntityTemplate {
    let mapped = FIELDS.iter().filter(|(name, ..)| *name != "memberId");
    EntityTemplate {
        fields: mapped
            .map(|&(name, kind, required, _)| FieldMapping {
                source: name,
                target: name,
                kind,
                required,
                transforms: Vec::new(),
                on_error: on_error(name, required),
            })
            .collect(),
        status: Some(StatusMapping {
            source: "membershipStatus",
            active: vec!["active", "current", "registered"],
            inactive: vec!["lapsed", "inactive", "expired", "resigned", "suspended", "deceased"],
        }),
        match_rules: vec![vec!["membershipNumber"], vec!["firstName", "lastName", "dateOfBirth"]],
    }
}

/// Without what is required a row is nobody. Anything else is no reason to keep a member out: an address that looks
/// wrong may be all that the club has, and what is of another kind altogether is left as if it had not been said.
fn on_error(name: &str, required: bool) -> OnError {
    match name {
        _ if required => OnError::Fail,
        "email" | "phone" | "emergencyContactPhone" => OnError::Keep,
        _ => OnError::Skip,
    }
}

fn config_schema() -> serde_json::Value {
    let pointer = |description: &str, default: &str| json!({ "type": "string", "pattern": "^(/.*)?$", "default": default, "description": description });
    let parameter = |description: &str, default: &str| json!({ "type": "string", "minLength": 1, "default": default, "description": description });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "pageSize": {
                "type": "integer", "minimum": 1, "maximum": PAGE_SIZE_MAX, "default": 100,
                "description": "How many members to ask for in one request.",
            },
            "pageParam": parameter("Query parameter for the page number, which begins at 1.", "page"),
            "limitParam": parameter("Query parameter for the page size.", "limit"),
            "listPointer": pointer("JSON pointer to the members in a list answer.", "/members"),
            "detailPointer": pointer("JSON pointer to the member in a detail answer.", "/member"),
            "totalPointer": pointer("JSON pointer to the number of all members in a list answer.", "/totalCount"),
            "morePointer": pointer("JSON pointer to the flag that says whether more pages follow.", "/hasMore"),
            "fieldMap": {
                "type": "object", "additionalProperties": { "type": "string" }, "default": {},
                "description": "The server's field names and the names of this connector for them, \
                    such as {\"forename\": \"firstName\"}. A name that is not listed stays as it is.",
            },
            "includeHealthData": {
                "type": "boolean", "default": false,
                "description": "Whether to read emergency contacts, medical conditions and allergies. They are \
                    special-category data: leave it off without a legal ground. Where the list does not carry them, \
                    each member costs one more request.",
            },
        },
    })
}
