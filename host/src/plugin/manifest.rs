//! Is a manifest true to its form, and does it make sense on its own?
//!
//! Owns the checks beyond the model's types. Must not know any vendor or entity.

use super::limits::Limits;
use super::load::{Abilities, Kind};
use crate::mapping::Mapper;
use crate::model::manifest::{
    ConnectorManifest, EntitySpec, Manifest, StrategyManifest, WebhookSpec,
};
use crate::model::template::EntityTemplate;
use crate::signature::{self, Verifier};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// `ids` is a mode of its own ability, `fetch`.
const MODES: [&str; 3] = ["full", "incremental", "ids"];
const FILTERS: [&str; 3] = ["modifiedAfter", "modifiedBefore", "status"];
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const NAME_BYTES_MAX: usize = 64;

/// Where a manifest is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFault {
    /// JSON pointer; empty for the whole.
    pub pointer: String,
    pub reason: String,
}

type Check = Result<(), ManifestFault>;

fn fault<T>(pointer: impl Into<String>, reason: impl Into<String>) -> Result<T, ManifestFault> {
    Err(ManifestFault { pointer: pointer.into(), reason: reason.into() })
}

/// The text of `describe` as a manifest of the kind that the exports show.
pub(super) fn read(
    kind: Kind,
    abilities: Abilities,
    text: &str,
    limits: &Limits,
) -> Result<Manifest, ManifestFault> {
    if text.len() > limits.manifest_bytes_max {
        return fault("", format!("{} bytes, at most {}", text.len(), limits.manifest_bytes_max));
    }
    let mut json: Json = match serde_json::from_str(text) {
        Ok(json) => json,
        Err(error) => return fault("", format!("not JSON: {error}")),
    };
    let said = json.as_object_mut().and_then(|members| members.remove("kind"));
    if said.as_ref().and_then(Json::as_str) != Some(kind.as_str()) {
        return fault("/kind", format!("must be \"{}\", as the exports say", kind.as_str()));
    }
    match kind {
        Kind::Connector => {
            let manifest: ConnectorManifest = parse(json)?;
            check_connector(&manifest, abilities)?;
            Ok(Manifest::Connector(Box::new(manifest)))
        }
        Kind::Strategy => {
            let manifest: StrategyManifest = parse(json)?;
            check_strategy(&manifest)?;
            Ok(Manifest::Strategy(manifest))
        }
    }
}

fn parse<T: DeserializeOwned>(json: Json) -> Result<T, ManifestFault> {
    serde_path_to_error::deserialize(json).map_err(|error| ManifestFault {
        pointer: pointer(error.path()),
        reason: error.inner().to_string(),
    })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path.iter() {
        let step = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&step);
    }
    pointer
}

fn check_strategy(manifest: &StrategyManifest) -> Check {
    check_head(&manifest.id, &manifest.version, &manifest.title)?;
    check_names("/aliases", &manifest.aliases)
}

fn check_connector(manifest: &ConnectorManifest, abilities: Abilities) -> Check {
    check_head(&manifest.id, &manifest.version, &manifest.title)?;
    check_config_schema(&manifest.config_schema)?;
    let endpoints: Vec<&str> =
        manifest.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    check_names("/endpoints", &endpoints)?;
    for (index, host) in manifest.hosts.iter().enumerate() {
        check_host(&format!("/hosts/{index}"), host, &endpoints)?;
    }
    check_words("/methods", &manifest.methods, &METHODS)?;
    if manifest.auth.is_empty() {
        return fault("/auth", "at least one kind is needed; `{\"kind\": \"none\"}` is one");
    }
    if manifest.entities.is_empty() {
        return fault("/entities", "a connector needs at least one entity");
    }
    let entities: Vec<&str> = manifest.entities.iter().map(|entity| entity.name.as_str()).collect();
    check_names("/entities", &entities)?;
    for (index, entity) in manifest.entities.iter().enumerate() {
        let pointer = format!("/entities/{index}");
        check_entity(&pointer, entity, &entities)?;
        if !abilities.fetch && entity.modes.iter().any(|mode| mode == "ids") {
            let reason = "`ids` needs the export `syncline:plugin/fetch`, which is missing";
            return fault(pointer + "/modes", reason);
        }
    }
    for (name, template) in &manifest.template.entities {
        let pointer = format!("/template/entities/{name}");
        match manifest.entity(name) {
            Some(entity) => check_template(&pointer, template, entity)?,
            None => return fault(pointer, "there is no such entity"),
        }
    }
    if let Some(webhook) = &manifest.webhook {
        check_webhook(webhook, abilities)?;
    }
    if manifest.limits.records_per_page_max == Some(0) {
        return fault("/limits/recordsPerPageMax", "must be at least 1");
    }
    if manifest.limits.requests_per_minute == Some(0) {
        return fault("/limits/requestsPerMinute", "must be at least 1");
    }
    Ok(())
}

/// A scheme that the host has, or one that the manifest brings along and that fits together.
fn check_webhook(webhook: &WebhookSpec, abilities: Abilities) -> Check {
    if !abilities.webhook {
        let reason = "needs the export `syncline:plugin/webhook`, which is missing";
        return fault("/webhook", reason);
    }
    let is_shipped = signature::shipped(&webhook.scheme).is_some();
    match &webhook.signature {
        None if is_shipped => Ok(()),
        None => {
            let names = signature::NAMES.join(", ");
            let reason = format!("`{}` is none of {names}", shown(&webhook.scheme));
            fault("/webhook/scheme", reason)
        }
        Some(_) if is_shipped => {
            fault("/webhook/scheme", "a scheme of its own needs a name of its own")
        }
        Some(own) => {
            check_name("/webhook/scheme", &webhook.scheme)?;
            match Verifier::new(own) {
                Ok(_) => Ok(()),
                Err((pointer, reason)) => fault(format!("/webhook/signature{pointer}"), reason),
            }
        }
    }
}

fn check_head(id: &str, version: &str, title: &str) -> Check {
    check_name("/id", id)?;
    let numbers: Vec<&str> = version.split('.').collect();
    let is_number = |part: &&str| part.parse::<u32>().is_ok();
    if numbers.len() != 3 || !numbers.iter().all(is_number) {
        return fault("/version", format!("`{version}` is not of the form 1.2.3"));
    }
    if title.trim().is_empty() || title.len() > 200 || title.contains(char::is_control) {
        return fault("/title", "must be one line of 1 to 200 bytes");
    }
    Ok(())
}

/// A word that can stand in a file name, a URL and a key.
fn check_name(pointer: &str, name: &str) -> Check {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || !name.chars().all(is_word)
    {
        let reason = format!("`{}` is not a name of letters, digits, - and _", shown(name));
        return fault(pointer, reason);
    }
    Ok(())
}

fn check_names<T: AsRef<str>>(pointer: &str, names: &[T]) -> Check {
    let mut seen = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        check_name(&pointer, name.as_ref())?;
        if !seen.insert(name.as_ref()) {
            return fault(pointer, format!("`{}` occurs twice", name.as_ref()));
        }
    }
    Ok(())
}

fn check_config_schema(schema: &Json) -> Check {
    if !schema.is_object() {
        return fault("/configSchema", "must be a JSON Schema object");
    }
    match jsonschema::draft202012::new(schema) {
        Ok(_) => Ok(()),
        Err(error) => fault(
            format!("/configSchema{}", error.instance_path()),
            format!("not a valid JSON Schema: {error}"),
        ),
    }
}

fn check_host(pointer: &str, host: &str, endpoints: &[&str]) -> Check {
    if let Some(name) = host.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return match endpoints.contains(&name) {
            true => Ok(()),
            false => fault(pointer, format!("there is no endpoint `{}`", shown(name))),
        };
    }
    let is_origin = url::Url::parse(host).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.path() == "/"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    match is_origin && !host.contains('*') {
        true => Ok(()),
        false => fault(
            pointer,
            format!(
                "`{}` is neither `{{endpoint}}` nor an origin such as https://api.example.org",
                shown(host)
            ),
        ),
    }
}

fn check_entity(pointer: &str, entity: &EntitySpec, entities: &[&str]) -> Check {
    if !entity.modes.iter().any(|mode| mode == "full") {
        return fault(format!("{pointer}/modes"), "must contain `full`");
    }
    check_words(&format!("{pointer}/modes"), &entity.modes, &MODES)?;
    check_words(&format!("{pointer}/filters"), &entity.filters, &FILTERS)?;
    if entity.fields.is_empty() {
        return fault(format!("{pointer}/fields"), "an entity needs at least one field");
    }
    let mut seen = BTreeSet::new();
    for (index, field) in entity.fields.iter().enumerate() {
        let pointer = format!("{pointer}/fields/{index}");
        if field.name.is_empty() || field.name.len() > 200 || field.name.contains(char::is_control)
        {
            return fault(pointer + "/name", "must have 1 to 200 bytes without control characters");
        }
        if !seen.insert(field.name.as_str()) {
            return fault(pointer + "/name", format!("`{}` occurs twice", field.name));
        }
        if let Some(Err(error)) = field.pattern.as_deref().map(regex::Regex::new) {
            return fault(pointer + "/pattern", error.to_string().replace('\n', " "));
        }
    }
    for (index, reference) in entity.references.iter().enumerate() {
        let pointer = format!("{pointer}/references/{index}");
        if !seen.contains(reference.field.as_str()) {
            return fault(
                pointer + "/field",
                format!("there is no field `{}`", shown(&reference.field)),
            );
        }
        if !entities.contains(&reference.entity.as_str()) {
            return fault(
                pointer + "/entity",
                format!("there is no entity `{}`", shown(&reference.entity)),
            );
        }
    }
    Ok(())
}

fn check_words(pointer: &str, words: &[String], known: &[&str]) -> Check {
    for (index, word) in words.iter().enumerate() {
        if !known.contains(&word.as_str()) {
            return fault(
                format!("{pointer}/{index}"),
                format!("`{}` is none of {known:?}", shown(word)),
            );
        }
    }
    Ok(())
}

/// The default template must be one that a run can use, and its targets are names of their own.
fn check_template(pointer: &str, template: &EntityTemplate, entity: &EntitySpec) -> Check {
    for (index, mapping) in template.fields.iter().enumerate() {
        check_name(&format!("{pointer}/fields/{index}/target"), &mapping.target)?;
    }
    match Mapper::compile(template, entity) {
        Ok(_) => Ok(()),
        Err(issues) => match issues.into_iter().next() {
            Some(issue) => fault(format!("{pointer}{}", issue.pointer), issue.message),
            None => Ok(()),
        },
    }
}

fn shown(text: &str) -> String {
    super::imports::log::clean(text, 80)
}
