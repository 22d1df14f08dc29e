//! What the connector says about itself.

use syncline_plugin_sdk::ConnectorManifest;
use syncline_plugin_sdk::manifest::{
    Absent, Auth, Endpoint, Entity, EntityTemplate, Field, FieldMapping, FieldType, Limits,
    OnError, StatusMapping, Template, Transform,
};

use crate::member::FIELDS;

pub(crate) const ENTITY: &str = "member";

pub(crate) fn manifest() -> ConnectorManifest {
    ConnectorManifest {
        id: "csv-members",
        version: env!("CARGO_PKG_VERSION"),
        title: "Members CSV",
        hosts: vec!["{baseUrl}"],
        methods: vec!["GET"],
        auth: vec![Auth::None, Auth::Basic, Auth::Bearer, Auth::api_key_header("X-API-Key")],
        endpoints: vec![Endpoint {
            name: "baseUrl",
            title: "Address of the CSV file",
            required: true,
            default: None,
        }],
        entities: vec![Entity {
            name: ENTITY,
            title: "Member",
            key: "memberId",
            modes: vec!["full"],
            absent: Absent::Unknown,
            complete_listing: true,
            fields: FIELDS.iter().map(|&name| field(name)).collect(),
            ..Entity::default()
        }],
        template: Template { entities: [(ENTITY, template())].into() },
        limits: Limits { requests_per_minute: 60, records_per_page_max: 1000 },
        ..ConnectorManifest::default()
    }
}

fn is_required(name: &str) -> bool {
    matches!(name, "firstName" | "lastName" | "dateOfBirth")
}

fn kind(name: &str) -> FieldType {
    match name {
        "email" => FieldType::Email,
        "phone" => FieldType::Phone,
        _ => FieldType::Text,
    }
}

fn field(name: &'static str) -> Field {
    Field {
        name,
        // Dates are text here: the file may write them day first, and the template reads them.
        kind: kind(name),
        required: is_required(name) || name == "memberId",
        read_only: name == "memberId",
        sensitive: false,
        pattern: (name == "membershipNumber").then_some(r"^\d{3}-\d{5}-\d{3}$"),
    }
}

fn template() -> EntityTemplate {
    let mapped = FIELDS.iter().filter(|name| **name != "memberId");
    EntityTemplate {
        fields: mapped.map(|&name| mapping(name)).collect(),
        status: Some(StatusMapping {
            source: "membershipStatus",
            active: vec!["active", "current", "registered"],
            inactive: vec!["lapsed", "inactive", "expired", "resigned", "suspended", "deceased"],
        }),
        match_rules: vec![vec!["membershipNumber"], vec!["firstName", "lastName", "dateOfBirth"]],
    }
}

fn mapping(name: &'static str) -> FieldMapping {
    let is_date = matches!(name, "dateOfBirth" | "joinDate");
    let mut transforms = vec![Transform::Trim];
    if is_date {
        transforms.push(Transform::ParseDate);
    } else if name == "gender" {
        let words = [("male", "male"), ("m", "male"), ("female", "female"), ("f", "female")];
        transforms.push(Transform::Map(words.into()));
    }
    FieldMapping {
        source: name,
        target: name,
        kind: if is_date { FieldType::Date } else { kind(name) },
        required: is_required(name),
        transforms,
        // Without what is required a row is nobody; anything else is no reason to keep a member out.
        on_error: match name {
            _ if is_required(name) => OnError::Fail,
            "email" | "phone" => OnError::Keep,
            _ => OnError::Skip,
        },
    }
}
