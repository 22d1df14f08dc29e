//! Who receives: the scheme and the opened secrets behind an address, kept in memory until the directory changes.

use super::Error;
use crate::credentials;
use crate::model::directory::{Connector, ConnectorStatus};
use crate::model::manifest::{Manifest, WebhookSpec};
use crate::model::{ConnectionId, ConnectorId};
use crate::plugin::{Loaded, Registry};
use crate::signature::{Keys, SecretFault, Verifier, shipped};
use crate::store::{Read, Store, directory, lookup};
use crate::vault::{Keyring, Secret};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Addresses that lead nowhere are remembered too, so that they take as long; so many at once.
const KNOWN_MAX: usize = 10_000;

/// An address: a connector's, or that of one of its connections.
pub(super) type Place = (ConnectorId, Option<ConnectionId>);

pub(super) struct Target {
    pub(super) connector: ConnectorId,
    pub(super) connection: Option<ConnectionId>,
    pub(super) scheme: String,
    pub(super) verifier: Arc<Verifier>,
    pub(super) keys: Keys,
    plugin: Arc<Loaded>,
    plugin_name: String,
}

/// How a connector receives, for people.
pub struct Reception {
    /// None where it takes no deliveries.
    pub scheme: Option<String>,
    pub secret_set: bool,
    pub previous_set: bool,
    pub ready: bool,
    /// Why nothing can be received, or which secret is left out, in words.
    pub problem: Option<String>,
}

pub(super) struct Targets {
    store: Store,
    keys: Arc<Keyring>,
    plugins: Arc<Registry>,
    filler: [u8; 32],
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// Of the directory when all of them were read.
    generation: u64,
    targets: HashMap<Place, Option<Arc<Target>>>,
}

impl Targets {
    pub(super) fn new(
        store: Store,
        keys: Arc<Keyring>,
        plugins: Arc<Registry>,
        filler: [u8; 32],
    ) -> Targets {
        Targets { store, keys, plugins, filler, known: RwLock::default() }
    }

    /// Who receives at an address; none where nobody does.
    pub(super) fn find(&self, place: Place) -> Result<Option<Arc<Target>>, Error> {
        let generation = self.store.directory_generation();
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.generation == generation
                && let Some(found) = known.targets.get(&place)
                && found.as_ref().is_none_or(|target| self.is_current(target))
            {
                return Ok(found.clone());
            }
        }
        let found = self.load(place)?.map(Arc::new);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.generation != generation || known.targets.len() >= KNOWN_MAX {
            known.targets.clear();
        }
        known.generation = generation;
        known.targets.insert(place, found.clone());
        Ok(found)
    }

    /// A plugin is replaced without a word to the store.
    fn is_current(&self, target: &Target) -> bool {
        let serving = self.plugins.connector(&target.plugin_name);
        serving.is_some_and(|serving| Arc::ptr_eq(&serving, &target.plugin))
    }

    fn load(&self, (connector, connection): Place) -> Result<Option<Target>, Error> {
        let read = self.store.read()?;
        let Some(row) = directory::connector(&read, connector)? else { return Ok(None) };
        if row.status == ConnectorStatus::Inactive {
            return Ok(None);
        }
        let own = match connection {
            None => None,
            Some(id) => match lookup::connection_of_connector(&read, connector, id)? {
                Some(own) => Some(own),
                None => return Ok(None),
            },
        };
        let Some((plugin, scheme, verifier)) = self.scheme(&row) else { return Ok(None) };
        let own = own.as_ref().map(|own| (own.organization.as_str(), own.id));
        let secrets = self.secrets(&read, connector, own);
        let texts: Vec<&str> = secrets.iter().map(|secret| secret.expose().as_str()).collect();
        let (keys, wrong) = Keys::fitting(verifier.scheme(), &texts, &self.filler);
        if let Some(fault) = wrong.map(left_out) {
            tracing::warn!(%connector, fault, "a webhook secret does not fit the scheme");
        }
        let Some(keys) = keys else { return Ok(None) };
        let plugin_name = row.plugin;
        Ok(Some(Target { connector, connection, scheme, verifier, keys, plugin, plugin_name }))
    }

    /// The secrets of a place. Those that cannot be opened are as good as none.
    fn secrets(
        &self,
        read: &dyn Read,
        connector: ConnectorId,
        own: Option<(&str, ConnectionId)>,
    ) -> Vec<Secret<String>> {
        let opened = credentials::webhook_secrets(read, &self.keys, connector, own);
        opened.unwrap_or_else(|error| {
            tracing::error!(%connector, %error, "the webhook secret cannot be opened");
            Vec::new()
        })
    }

    /// The plugin and its scheme, as the connector's settings choose it.
    fn scheme(&self, row: &Connector) -> Option<(Arc<Loaded>, String, Arc<Verifier>)> {
        let plugin = self.plugins.connector(&row.plugin)?;
        if !plugin.abilities.webhook {
            return None;
        }
        let Manifest::Connector(manifest) = &plugin.manifest else { return None };
        let (name, verifier) = chosen(&row.config, manifest.webhook.as_ref())?;
        Some((Arc::clone(&plugin), name, verifier))
    }

    pub(super) fn reception(&self, connector: ConnectorId) -> Result<Reception, Error> {
        let read = self.store.read()?;
        let none = Reception {
            scheme: None,
            secret_set: false,
            previous_set: false,
            ready: false,
            problem: None,
        };
        let problem = |words: &str| Some(words.to_owned());
        let Some(row) = directory::connector(&read, connector)? else { return Ok(none) };
        let Some((_, scheme, verifier)) = self.scheme(&row) else {
            let problem = problem("the connector's plugin takes no webhooks, or is not active");
            return Ok(Reception { problem, ..none });
        };
        let secrets = self.secrets(&read, connector, None);
        let texts: Vec<&str> = secrets.iter().map(|secret| secret.expose().as_str()).collect();
        let (keys, wrong) = Keys::fitting(verifier.scheme(), &texts, &self.filler);
        let is_off = row.status == ConnectorStatus::Inactive;
        Ok(Reception {
            scheme: Some(scheme),
            secret_set: !texts.is_empty(),
            previous_set: texts.len() > 1,
            ready: keys.is_some() && !is_off,
            problem: match wrong {
                Some(wrong) => Some(left_out(wrong)),
                None if texts.is_empty() => problem("no `webhookSecret` is set in the credentials"),
                None if is_off => problem("the connector is not active"),
                None => None,
            },
        })
    }
}

/// Why a secret, by its place among them, does not count.
fn left_out((place, fault): (usize, SecretFault)) -> String {
    let name = if place == 0 { "webhookSecret" } else { "webhookSecretPrevious" };
    format!("`{name}` is left out: {fault}")
}

/// The scheme that the settings name, else the manifest's default.
fn chosen(
    config: &serde_json::Value,
    spec: Option<&WebhookSpec>,
) -> Option<(String, Arc<Verifier>)> {
    let wanted = config.get("webhookScheme").and_then(serde_json::Value::as_str);
    let name = wanted.or_else(|| spec.map(|spec| spec.scheme.as_str()))?;
    let own = spec.filter(|spec| spec.scheme == name).and_then(|spec| spec.signature.as_ref());
    let verifier = match own {
        Some(own) => Arc::new(Verifier::new(own).ok()?),
        None => shipped(name)?,
    };
    Some((name.to_owned(), verifier))
}
