//! The members of a connector, checked against its plugin's manifest: every fault with its pointer.

use super::body::{Members, escape, near, unfit};
use super::problem::{Fault, Problem};
use super::{Api, organizations};
use crate::credentials::{self, Given};
use crate::cron;
use crate::egress::Egress;
use crate::model::directory::{AuthType, Connector, SyncConfig};
use crate::model::ids::TemplateId;
use crate::model::manifest::{AuthSpec, ConnectorManifest};
use crate::oauth::{ENDPOINTS, Overlay};
use crate::signature;
use crate::store::{Read, directory};
use crate::worker::{outbound, setup};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const NAME_CHARS_MAX: usize = 200;
const CODE_CHARS_MAX: usize = 64;
const URL_CHARS_MAX: usize = 2_000;
const RETRIES_MAX: u64 = 20;
/// Of the host's own numbers in `config`.
const NUMBER_MAX: u64 = 10_000_000;

/// What a body says; `None` leaves a member as it is.
pub(super) struct Wanted {
    pub name: Option<String>,
    pub federation_code: Option<String>,
    pub plugin: Option<String>,
    pub auth_type: Option<AuthType>,
    pub endpoints: Option<BTreeMap<String, String>>,
    pub config: Option<Value>,
    pub credentials: Option<Given>,
    pub sync_config: SyncChange,
    /// `Some(None)` goes back to the plugin's own template.
    pub template_id: Option<Option<TemplateId>>,
}

/// What a body says of `syncConfig`: each member for itself, where `Some(None)` takes one away.
#[derive(Clone, Default)]
pub(super) struct SyncChange {
    enabled: Option<bool>,
    schedule: Option<Option<String>>,
    timezone: Option<Option<String>>,
    conflict_strategy: Option<Option<String>>,
    max_retries: Option<Option<u32>>,
}

impl SyncChange {
    /// Laid over what is there.
    pub(super) fn over(&self, found: SyncConfig) -> SyncConfig {
        SyncConfig {
            enabled: self.enabled.unwrap_or(found.enabled),
            schedule: self.schedule.clone().unwrap_or(found.schedule),
            timezone: self.timezone.clone().unwrap_or(found.timezone),
            conflict_strategy: self.conflict_strategy.clone().unwrap_or(found.conflict_strategy),
            max_retries: self.max_retries.unwrap_or(found.max_retries),
        }
    }
}

/// Reads a body without looking at other rows. `new`: required members must be there.
pub(super) fn read(object: Map<String, Value>, new: bool) -> Result<Wanted, Problem> {
    let mut members = Members::new(object);
    let name = members.name("name", new, NAME_CHARS_MAX);
    let federation_code = members.name("federationCode", new, CODE_CHARS_MAX);
    let plugin = if new { Some(members.required("plugin")) } else { None };
    let auth_type = if new { auth_type(&mut members) } else { None };
    if !new {
        members.fixed("plugin", "create another connector for it");
        members.fixed("authType", "create another connector for it");
        members.fixed("credentials", "PUT them to /connectors/{id}/credentials");
        members.fixed("status", "POST it to /connectors/{id}/status");
    }
    let endpoints = members.texts("endpoints");
    let config = members.object("config").map(Value::Object);
    let credentials =
        if new { members.object("credentials").map(Value::Object).map(Given::new) } else { None };
    let sync_config = sync_config(&mut members);
    let has_template = members.has("templateId");
    let template_id = template_id(&mut members);
    let is_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if federation_code.as_ref().is_some_and(|code| !code.chars().all(is_code)) {
        members.fault("federationCode", "must consist of letters, digits, `_` or `-`");
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

const AUTH_TYPES: [&str; 5] = ["oauth2", "apiKey", "basic", "bearer", "none"];

fn auth_type(members: &mut Members) -> Option<AuthType> {
    members.require("authType");
    let text = members.word("authType", &AUTH_TYPES)?;
    serde_json::from_value(Value::String(text)).ok()
}

fn template_id(members: &mut Members) -> Option<TemplateId> {
    let text = members.text("templateId")?;
    let id = text.parse();
    if id.is_err() {
        members.fault("templateId", format!("there is no template {text:?}"));
    }
    id.ok()
}

fn sync_config(members: &mut Members) -> SyncChange {
    let Some(object) = members.object("syncConfig") else { return SyncChange::default() };
    let mut inner = Members::at("/syncConfig", object);
    let named =
        ["schedule", "timezone", "conflictStrategy", "maxRetries"].map(|name| inner.has(name));
    let [has_schedule, has_timezone, has_strategy, has_retries] = named;
    let enabled = inner.flag("enabled");
    let schedule = inner.text("schedule");
    let timezone = inner.text("timezone");
    let conflict_strategy = inner.text("conflictStrategy");
    let max_retries = inner.number("maxRetries", 0..=RETRIES_MAX);
    if let Some(Err(error)) = schedule.as_deref().map(cron::parse) {
        inner.fault("schedule", error.to_string());
    }
    if let Some(zone) = timezone.as_deref().filter(|zone| !organizations::is_zone(zone)) {
        let message = format!("{zone:?} is no IANA time zone such as `Europe/Dublin`");
        inner.fault("timezone", message);
    }
    members.faults.extend(inner.into_faults());
    let max_retries = max_retries.and_then(|retries| u32::try_from(retries).ok());
    SyncChange {
        enabled,
        schedule: has_schedule.then_some(schedule),
        timezone: has_timezone.then_some(timezone),
        conflict_strategy: has_strategy.then_some(conflict_strategy),
        max_retries: has_retries.then_some(max_retries),
    }
}

/// Checks a connector as it would be stored.
pub(super) fn check(
    api: &Api,
    read: &dyn Read,
    connector: &Connector,
    credentials: Option<&Given>,
) -> Result<(), Problem> {
    let mut members = Members::new(Map::new());
    let Some(plugin) = api.deps.plugins.connector(&connector.plugin) else {
        let message = format!("there is no active connector plugin {:?}", connector.plugin);
        return Err(Problem::invalid_at("/plugin", message));
    };
    let manifest = setup::connector_manifest(&plugin)
        .map_err(|failure| Problem::invalid_at("/plugin", failure.message))?;
    check_auth(&mut members, manifest, connector, credentials);
    check_endpoints(&mut members, &api.deps.egress, manifest, connector);
    check_config(&mut members, manifest, connector, plugin.abilities.webhook)?;
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
    credentials: Option<&Given>,
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
    let offered = manifest.auth.iter().any(matches);
    if !offered {
        members.fault("authType", format!("the plugin `{}` does not offer it", connector.plugin));
    }
    if let Some(credentials) = credentials
        && offered
        && let Err(problem) = check_credentials("/credentials", connector.auth_type, credentials)
    {
        members.faults.extend(problem.into_faults());
    }
}

/// Whether credentials have what the auth type needs; never repeats a value. `at`: where in the body they are.
pub(super) fn check_credentials(
    at: &str,
    auth_type: AuthType,
    credentials: &Given,
) -> Result<(), Problem> {
    let faults = credentials::faults(auth_type, credentials);
    if faults.is_empty() {
        return Ok(());
    }
    let fault = |(member, message): (String, String)| Fault {
        pointer: if member.is_empty() {
            at.to_owned()
        } else {
            format!("{at}/{}", escape(&member))
        },
        message,
    };
    Err(Problem::invalid(faults.into_iter().map(fault).collect()))
}

fn check_endpoints(
    members: &mut Members,
    egress: &Egress,
    manifest: &ConnectorManifest,
    connector: &Connector,
) {
    let is_oauth = connector.auth_type == AuthType::OAuth2;
    let of_oauth: &[&str] = if is_oauth { &ENDPOINTS } else { &[] };
    let known = || {
        let declared = manifest.endpoints.iter().map(|spec| spec.name.as_str());
        declared.chain(of_oauth.iter().copied())
    };
    for (name, text) in &connector.endpoints {
        let member = format!("endpoints/{}", escape(name));
        if !known().any(|known| known == name) {
            let hint = match near(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", known().collect::<Vec<_>>().join(", ")),
            };
            members.fault(&member, format!("is not known: {hint}"));
        } else if let Some(message) = endpoint_fault(name, text, egress) {
            members.fault(&member, message);
        }
    }
    for spec in manifest.endpoints.iter().filter(|spec| spec.required) {
        if spec.default.is_none() && !connector.endpoints.contains_key(&spec.name) {
            members
                .fault(&format!("endpoints/{}", spec.name), format!("is missing: {}", spec.title));
        }
    }
}

/// What is wrong with a URL, or with a path template such as `/items/{id}`; none if nothing is.
fn endpoint_fault(name: &str, text: &str, egress: &Egress) -> Option<String> {
    if let Some(message) = unfit(text, URL_CHARS_MAX) {
        return Some(message);
    }
    // `baseUrl`, `tokenUrl`: the name tells where no path template can stand.
    if !name.ends_with("Url") && !text.contains("://") {
        let braces = text.chars().try_fold(false, |open, c| match (open, c) {
            (false, '{') => Some(true),
            (true, '}') => Some(false),
            (true, '{') | (false, '}') => None,
            (open, _) => Some(open),
        });
        return match braces {
            Some(false) if text.starts_with('/') && !text.contains(['#', ' ']) => None,
            _ => Some("must be an https URL, or a path such as `/items/{id}`".to_owned()),
        };
    }
    let url = match text.parse::<url::Url>() {
        Ok(url) => url,
        Err(error) => return Some(format!("is no URL such as https://api.example.org: {error}")),
    };
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Some("must be a URL that begins with https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        let message = "must not hold a user name or password: they belong into the credentials";
        return Some(message.to_owned());
    }
    if url.fragment().is_some() {
        return Some("must not have a fragment, the part behind `#`".to_owned());
    }
    egress.permits(&url).err()
}

fn check_config(
    members: &mut Members,
    manifest: &ConnectorManifest,
    connector: &Connector,
    takes_webhooks: bool,
) -> Result<(), Problem> {
    let schema = jsonschema::validator_for(&manifest.config_schema)
        .map_err(|error| Problem::internal(&error))?;
    let config = outbound::plugin_config(&connector.config);
    for error in schema.iter_errors(&config) {
        members.fault(&format!("config{}", error.instance_path()), error.to_string());
    }
    for key in ["requestsPerMinute", "batchRecords"] {
        let value = connector.config.get(key);
        if value.is_some_and(|value| !value.as_u64().is_some_and(|n| (1..=NUMBER_MAX).contains(&n)))
        {
            let message = format!("must be a whole number from 1 to {NUMBER_MAX}");
            members.fault(&format!("config/{key}"), message);
        }
    }
    if let Err(error) = Overlay::of(&connector.config) {
        members.fault("config/oauth", error);
    }
    let auth_in = connector.config.get("authIn");
    if auth_in.is_some_and(|value| !matches!(value.as_str(), Some("header" | "query"))) {
        members.fault("config/authIn", "must be `header` or `query`");
    }
    if let Some(scheme) = connector.config.get("webhookScheme")
        && let Some(message) = scheme_fault(scheme, manifest, takes_webhooks)
    {
        members.fault("config/webhookScheme", message);
    }
    Ok(())
}

/// What is wrong with the name of a signature scheme; none if nothing is.
fn scheme_fault(
    value: &Value,
    manifest: &ConnectorManifest,
    takes_webhooks: bool,
) -> Option<String> {
    if !takes_webhooks {
        return Some(format!("the plugin `{}` takes no webhooks", manifest.id));
    }
    let own = manifest.webhook.as_ref().map(|webhook| webhook.scheme.as_str());
    let known = || signature::NAMES.iter().copied().chain(own);
    match value.as_str() {
        Some(name) if known().any(|known| known == name) => None,
        Some(name) => {
            let mut names: Vec<&str> = known().collect();
            names.sort_unstable();
            names.dedup();
            let hint = near(name, known())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Some(format!("must be one of {}{hint}", names.join(", ")))
        }
        None => Some("must be the name of a signature scheme".to_owned()),
    }
}

fn check_sync(members: &mut Members, api: &Api, sync: &SyncConfig) {
    if let Some(strategy) = sync.conflict_strategy.as_deref().filter(|name| !knows(api, name)) {
        members.fault("syncConfig/conflictStrategy", unknown_strategy(api, strategy));
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
