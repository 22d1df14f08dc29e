//! The members of a connector, checked against its plugin's manifest: every fault with its pointer.

use super::body::{Members, escape};
use super::problem::Problem;
use super::{Api, organizations};
use crate::credentials;
use crate::model::directory::{AuthType, Connector, SyncConfig};
use crate::model::ids::TemplateId;
use crate::model::manifest::{AuthSpec, ConnectorManifest};
use crate::store::{Read, directory};
use crate::worker::setup;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const NAME_CHARS_MAX: usize = 200;
const CODE_CHARS_MAX: usize = 64;

/// What a body says; `None` leaves a member as it is.
pub(super) struct Wanted {
    pub name: Option<String>,
    pub federation_code: Option<String>,
    pub plugin: Option<String>,
    pub auth_type: Option<AuthType>,
    pub endpoints: Option<BTreeMap<String, String>>,
    pub config: Option<Value>,
    pub credentials: Option<Value>,
    pub sync_config: Option<SyncConfig>,
    /// `Some(None)` goes back to the plugin's own template.
    pub template_id: Option<Option<TemplateId>>,
}

/// Reads a body without looking at other rows. `new`: required members must be there.
pub(super) fn read(object: Map<String, Value>, new: bool) -> Result<Wanted, Problem> {
    let mut members = Members::new(object);
    let text = |members: &mut Members, name| {
        if new { Some(members.required(name)) } else { members.text(name) }
    };
    let name = text(&mut members, "name");
    let federation_code = text(&mut members, "federationCode");
    let plugin = if new { Some(members.required("plugin")) } else { None };
    let auth_type = if new { auth_type(&mut members) } else { None };
    let endpoints = members.texts("endpoints");
    let config = members.object("config").map(Value::Object);
    let credentials = if new { members.object("credentials").map(Value::Object) } else { None };
    let sync_config = members.typed("syncConfig");
    let has_template = members.has("templateId");
    let template_id = members.typed::<TemplateId>("templateId");
    if name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
        members.fault("name", format!("at most {NAME_CHARS_MAX} characters"));
    }
    let bad_code = |code: &String| {
        !code.is_empty()
            && (code.len() > CODE_CHARS_MAX
                || !code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
    };
    if federation_code.as_ref().is_some_and(bad_code) {
        let message = format!("at most {CODE_CHARS_MAX} letters, digits, `_` or `-`");
        members.fault("federationCode", message);
    }
    members.finish()?;
    let template_id = has_template.then_some(template_id);
    Ok(Wanted {
        name,
        federation_code,
        plugin,
        auth_type,
        endpoints,
        config,
        credentials,
        sync_config,
        template_id,
    })
}

fn auth_type(members: &mut Members) -> Option<AuthType> {
    let text = members.required("authType");
    match serde_json::from_value(Value::String(text.clone())) {
        Ok(auth_type) => Some(auth_type),
        Err(_) => {
            if !text.is_empty() {
                let message = "must be one of oauth2, apiKey, basic, bearer, none";
                members.fault("authType", message);
            }
            None
        }
    }
}

/// Checks a connector as it would be stored.
pub(super) fn check(
    api: &Api,
    read: &dyn Read,
    connector: &Connector,
    credentials: Option<&Value>,
) -> Result<(), Problem> {
    let mut members = Members::new(Map::new());
    let Some(plugin) = api.deps.plugins.connector(&connector.plugin) else {
        let message = format!("there is no active connector plugin {:?}", connector.plugin);
        return Err(Problem::invalid_at("/plugin", message));
    };
    let manifest = setup::connector_manifest(&plugin)
        .map_err(|failure| Problem::invalid_at("/plugin", failure.message))?;
    check_auth(&mut members, manifest, connector, credentials);
    check_endpoints(&mut members, manifest, connector);
    check_config(&mut members, manifest, connector)?;
    check_sync(&mut members, api, &connector.sync_config);
    if let Some(id) = connector.template_id {
        match directory::template(read, id)? {
            Some(template) if template.plugin == connector.plugin => {}
            Some(template) => members.fault(
                "templateId",
                format!("{id} is a template for the plugin `{}`", template.plugin),
            ),
            None => members.fault("templateId", format!("there is no template {id}")),
        }
    }
    members.finish()
}

fn check_auth(
    members: &mut Members,
    manifest: &ConnectorManifest,
    connector: &Connector,
    credentials: Option<&Value>,
) {
    let matches = |spec: &AuthSpec| {
        matches!(
            (spec, connector.auth_type),
            (AuthSpec::ApiKey { .. }, AuthType::ApiKey)
                | (AuthSpec::Basic {}, AuthType::Basic)
                | (AuthSpec::Bearer {}, AuthType::Bearer)
                | (AuthSpec::OAuth2 { .. }, AuthType::OAuth2)
                | (AuthSpec::None {}, AuthType::None)
        )
    };
    if !manifest.auth.iter().any(matches) {
        members.fault("authType", format!("the plugin `{}` does not offer it", connector.plugin));
    }
    if let Some(credentials) = credentials
        && let Err(error) = credentials::check(connector.auth_type, credentials)
    {
        members.fault("credentials", error.to_string());
    }
}

fn check_endpoints(members: &mut Members, manifest: &ConnectorManifest, connector: &Connector) {
    for (name, url) in &connector.endpoints {
        let member = format!("endpoints/{}", escape(name));
        if !manifest.endpoints.iter().any(|spec| spec.name == *name) {
            let known: Vec<&str> =
                manifest.endpoints.iter().map(|spec| spec.name.as_str()).collect();
            members.fault(&member, format!("is not known: known are {}", known.join(", ")));
        } else if name == "baseUrl" || url.contains("://") {
            match url.parse::<url::Url>() {
                Ok(url) if matches!(url.scheme(), "https" | "http") && url.has_host() => {}
                Ok(_) => members.fault(&member, "must be an https URL"),
                Err(error) => members.fault(&member, format!("is no URL: {error}")),
            }
        }
    }
    for spec in manifest.endpoints.iter().filter(|spec| spec.required) {
        if spec.default.is_none() && !connector.endpoints.contains_key(&spec.name) {
            members
                .fault(&format!("endpoints/{}", spec.name), format!("is missing: {}", spec.title));
        }
    }
}

fn check_config(
    members: &mut Members,
    manifest: &ConnectorManifest,
    connector: &Connector,
) -> Result<(), Problem> {
    let schema = jsonschema::validator_for(&manifest.config_schema)
        .map_err(|error| Problem::internal(&error))?;
    let config = setup::plugin_config(&connector.config);
    for error in schema.iter_errors(&config) {
        members.fault(&format!("config{}", error.instance_path()), error.to_string());
    }
    let number = |key: &str| connector.config.get(key).filter(|value| !value.is_u64());
    for key in ["requestsPerMinute", "batchRecords"] {
        if number(key).is_some() || connector.config.get(key) == Some(&json!(0)) {
            members.fault(&format!("config/{key}"), "must be a positive number");
        }
    }
    let auth_in = connector.config.get("authIn");
    if auth_in.is_some_and(|value| !matches!(value.as_str(), Some("header" | "query"))) {
        members.fault("config/authIn", "must be `header` or `query`");
    }
    Ok(())
}

fn check_sync(members: &mut Members, api: &Api, sync: &SyncConfig) {
    if let Some(strategy) = sync.conflict_strategy.as_deref().filter(|name| !knows(api, name)) {
        members.fault("syncConfig/conflictStrategy", unknown_strategy(api, strategy));
    }
    if let Some(zone) = sync.timezone.as_deref().filter(|zone| !organizations::is_zone(zone)) {
        let message = format!("{zone:?} is no IANA time zone such as `Europe/Dublin`");
        members.fault("syncConfig/timezone", message);
    }
}

pub(super) fn knows(api: &Api, strategy: &str) -> bool {
    api.deps.plugins.strategy(strategy).is_some()
}

pub(super) fn unknown_strategy(api: &Api, strategy: &str) -> String {
    let infos = api.deps.plugins.list();
    let active = infos.iter().filter(|info| info.kind == Some(crate::plugin::Kind::Strategy));
    let names: Vec<&str> = active.map(|info| info.name.as_str()).collect();
    format!("there is no active strategy {strategy:?}; active are {}", names.join(", "))
}
