//! The members of a connection, checked against what its connector can do: every fault with its pointer.

use super::Api;
use super::body::{Members, escape, kind, near, object};
use super::connector_body::{knows, unknown_strategy};
use super::problem::{Fault, Problem};
use crate::model::conflict::SourceOfTruth;
use crate::model::directory::{ConnectionEntity, Connector, Direction, FieldPolicy};
use crate::model::template::Template;
use crate::store::Read;
use crate::worker::{self, setup};
use axum::body::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const FEDERATION_ID_CHARS_MAX: usize = 200;
const DIRECTIONS: [&str; 3] = ["pull", "push", "both"];
const SIDES: [&str; 2] = ["remote", "local"];

/// What a body may set.
pub(super) struct Wanted {
    pub(super) connector_id: String,
    pub(super) federation_org_id: Option<String>,
    /// `Some(None)` goes back to the connector's.
    pub(super) strategy: Option<Option<String>>,
    pub(super) webhooks_enabled: Option<bool>,
    pub(super) entities: Option<Map<String, Value>>,
}

/// Reads a body without looking at other rows. `new`: required members must be there.
pub(super) fn read(bytes: &Bytes, new: bool) -> Result<Wanted, Problem> {
    let mut members = Members::new(object(bytes)?);
    let connector_id = if new { members.required("connectorId") } else { String::new() };
    if !new {
        members.fixed("connectorId", "connect the organization to the other connector too");
    }
    let federation_org_id = members.name("federationOrgId", new, FEDERATION_ID_CHARS_MAX);
    let has_strategy = members.has("strategy");
    let strategy = members.text("strategy");
    let webhooks_enabled = members.flag("webhooksEnabled");
    let entities = members.object("entities");
    members.finish()?;
    let strategy = has_strategy.then_some(strategy);
    Ok(Wanted { connector_id, federation_org_id, strategy, webhooks_enabled, entities })
}

/// Checks what a connection asks for; answers its entities in their stored form.
pub(super) fn check(
    api: &Api,
    read: &dyn Read,
    connector: &Connector,
    strategy: Option<&str>,
    entities: Option<&Map<String, Value>>,
) -> Result<BTreeMap<String, ConnectionEntity>, Problem> {
    let mut faults = Vec::new();
    let conflict = |failure: worker::Failure| Problem::conflict(&failure.code, failure.message);
    let plugin = setup::connector_plugin(&api.deps, connector).map_err(conflict)?;
    let manifest = setup::connector_manifest(&plugin).map_err(conflict)?;
    let (template, _) =
        worker::template::of_connector(read, connector, &plugin).map_err(conflict)?;
    if let Some(strategy) = strategy.filter(|name| !knows(api, name)) {
        let message = unknown_strategy(api, strategy);
        faults.push(Fault { pointer: "/strategy".to_owned(), message });
    }
    let mut checked = BTreeMap::new();
    for (name, value) in entities.into_iter().flatten() {
        let at = format!("/entities/{}", escape(name));
        if manifest.entity(name).is_none() {
            let known: Vec<&str> =
                manifest.entities.iter().map(|spec| spec.name.as_str()).collect();
            let message =
                format!("is no entity of `{}`: known are {}", plugin.name, known.join(", "));
            faults.push(Fault { pointer: at, message });
            continue;
        }
        let Value::Object(object) = value else {
            let message = format!("must be an object, not {}", kind(value));
            faults.push(Fault { pointer: at, message });
            continue;
        };
        let mut reader = Reader { api, template: &template, name, at: &at, faults: &mut faults };
        checked.insert(name.clone(), reader.entity(object.clone()));
    }
    if faults.is_empty() { Ok(checked) } else { Err(Problem::invalid(faults)) }
}

/// Reads how one entity is to be synced.
struct Reader<'a> {
    api: &'a Api,
    template: &'a Template,
    name: &'a str,
    at: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn entity(&mut self, object: Map<String, Value>) -> ConnectionEntity {
        let mut members = Members::at(self.at, object);
        let direction = match members.word("direction", &DIRECTIONS).as_deref() {
            None | Some("pull") => Direction::Pull,
            Some(_) => {
                let message = "must be `pull`: the connector cannot push this entity";
                members.fault("direction", message);
                Direction::Pull
            }
        };
        let strategy = self.strategy(&mut members);
        let source_of_truth = match members.word("sourceOfTruth", &SIDES).as_deref() {
            Some("local") => SourceOfTruth::Local,
            Some(_) => SourceOfTruth::Remote,
            None => SourceOfTruth::default(),
        };
        let fields = members.object("fields").unwrap_or_default();
        self.faults.extend(members.into_faults());
        let mut policies = BTreeMap::new();
        for (field, value) in fields {
            let at = format!("{}/fields/{}", self.at, escape(&field));
            if let Some(policy) = self.field(&field, value, &at) {
                policies.insert(field, policy);
            }
        }
        ConnectionEntity { direction, strategy, source_of_truth, fields: policies }
    }

    fn strategy(&self, members: &mut Members) -> Option<String> {
        let strategy = members.text("strategy")?;
        if !knows(self.api, &strategy) {
            members.fault("strategy", unknown_strategy(self.api, &strategy));
        }
        Some(strategy)
    }

    fn field(&mut self, field: &str, value: Value, at: &str) -> Option<FieldPolicy> {
        let targets = self.template.entities.get(self.name);
        let mut targets =
            targets.into_iter().flat_map(|entity| &entity.fields).map(|f| f.target.as_str());
        if !targets.clone().any(|target| target == field) {
            let hint = near(field, &mut targets);
            let hint = hint.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let message = format!("is no field of the connector's template{hint}");
            self.faults.push(Fault { pointer: at.to_owned(), message });
            return None;
        }
        let Value::Object(object) = value else {
            let message = format!("must be an object with `strategy`, not {}", kind(&value));
            self.faults.push(Fault { pointer: at.to_owned(), message });
            return None;
        };
        let mut members = Members::at(at, object);
        members.require("strategy");
        let strategy = self.strategy(&mut members);
        self.faults.extend(members.into_faults());
        Some(FieldPolicy { strategy: strategy? })
    }
}
