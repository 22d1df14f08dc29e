//! What a run may be asked for, whoever asks: entity and mode become the requests of a job, as far as the connector can
//! do it. Must not enqueue: what belongs into the same transaction is the asker's affair.

use crate::model::Mode;
use crate::model::directory::{Connection, Connector, ConnectorStatus};
use crate::model::manifest::{ConnectorManifest, EntitySpec, Manifest};
use crate::model::run::EntityRequest;
use crate::plugin::{Loaded, Registry};
use serde_json::Value;
use std::sync::Arc;

/// The word for every entity of a connector.
pub const ALL: &str = "all";

/// Why a run cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the connector is not active: switch it on first")]
    NotActive,
    #[error(
        "the connector was disabled after consecutive faults: its health says which; mend the cause, then clear its errors, or wait until a probe finds it well"
    )]
    Disabled,
    #[error("the plugin `{0}` is not active: approve it")]
    PluginMissing(String),
    #[error("`{0}` is a strategy")]
    NotAConnector(String),
    #[error("the connector has no entity {0:?}")]
    UnknownEntity(String),
    #[error("{entity} can be synced in these modes: {modes}")]
    Mode { entity: String, modes: String },
}

impl Refusal {
    /// A page of `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotActive => "connector.not-active",
            Refusal::Disabled => "connector.error",
            Refusal::PluginMissing(_) => "plugin.missing",
            Refusal::NotAConnector(_) => "plugin.kind",
            Refusal::UnknownEntity(_) => "entity.unknown",
            Refusal::Mode { .. } => "entity.mode",
        }
    }
}

/// What somebody wants to have synced.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Or [`ALL`].
    pub entity: &'a str,
    pub mode: Mode,
    pub ids: &'a [String],
    pub filters: Option<&'a Value>,
}

/// Whether runs of a connector may be asked for as it stands.
pub fn standing(connector: &Connector) -> Result<(), Refusal> {
    match connector.status {
        ConnectorStatus::Active => Ok(()),
        ConnectorStatus::Inactive => Err(Refusal::NotActive),
        ConnectorStatus::Error => Err(Refusal::Disabled),
    }
}

pub fn plugin(plugins: &Registry, connector: &Connector) -> Result<Arc<Loaded>, Refusal> {
    let missing = || Refusal::PluginMissing(connector.plugin.clone());
    plugins.connector(&connector.plugin).ok_or_else(missing)
}

pub fn manifest(plugin: &Loaded) -> Result<&ConnectorManifest, Refusal> {
    match &plugin.manifest {
        Manifest::Connector(manifest) => Ok(manifest),
        Manifest::Strategy(_) => Err(Refusal::NotAConnector(plugin.name.clone())),
    }
}

/// The wish, entity by entity, whatever the connector's status.
pub fn requests(
    plugins: &Registry,
    connector: &Connector,
    wish: Wish<'_>,
) -> Result<Vec<EntityRequest>, Refusal> {
    let plugin = plugin(plugins, connector)?;
    let specs = specs(manifest(&plugin)?, wish.entity)?;
    let mode = wish.mode.as_str();
    for spec in &specs {
        let fetches = wish.mode != Mode::Ids || plugin.abilities.fetch;
        if !fetches || !spec.modes.iter().any(|known| known == mode) {
            let (entity, modes) = (spec.name.clone(), spec.modes.join(", "));
            return Err(Refusal::Mode { entity, modes });
        }
    }
    let request = |spec: &&EntitySpec| EntityRequest {
        entity: spec.name.clone(),
        mode: wish.mode,
        ids: wish.ids.to_vec(),
        filters: wish.filters.cloned(),
    };
    Ok(specs.iter().map(request).collect())
}

fn specs<'a>(
    manifest: &'a ConnectorManifest,
    entity: &str,
) -> Result<Vec<&'a EntitySpec>, Refusal> {
    if entity == ALL {
        return Ok(in_order(&manifest.entities));
    }
    match manifest.entity(entity) {
        Some(spec) => Ok(vec![spec]),
        None => Err(Refusal::UnknownEntity(entity.to_owned())),
    }
}

/// Entities that others refer to come first; a circle keeps the manifest's order.
fn in_order(entities: &[EntitySpec]) -> Vec<&EntitySpec> {
    let mut waiting: Vec<&EntitySpec> = entities.iter().collect();
    let mut ordered: Vec<&EntitySpec> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let waits = |spec: &EntitySpec, waiting: &[&EntitySpec]| {
            let waits_for = |entity: &str| waiting.iter().any(|other| other.name == entity);
            spec.references.iter().any(|r| r.entity != spec.name && waits_for(&r.entity))
        };
        let at = waiting.iter().position(|spec| !waits(spec, &waiting)).unwrap_or(0);
        ordered.push(waiting.remove(at));
    }
    ordered
}

/// What the history says of the policies: names by scope. `default` stands where nobody names one.
pub fn policy_words(connector: &Connector, connection: &Connection, default: &str) -> String {
    let base = connection
        .strategy
        .as_deref()
        .or(connector.sync_config.conflict_strategy.as_deref())
        .unwrap_or(default);
    let mut words = vec![base.to_owned()];
    for (entity, policy) in &connection.entities {
        words.extend(policy.strategy.as_ref().map(|strategy| format!("{entity}: {strategy}")));
        let of_fields = policy.fields.iter();
        words.extend(of_fields.map(|(field, p)| format!("{entity}.{field}: {}", p.strategy)));
    }
    words.join(", ")
}
