//! What deliveries say: asks the connector's component, in a sandbox without a way out. Must not act on it.

use super::{Deps, Failure, outbound, setup};
use crate::clock;
use crate::inbox::Opened;
use crate::model::Mode;
use crate::model::directory::Connector;
use crate::model::manifest::EntitySpec;
use crate::model::webhook::{Parsed, Reading, Refetch};
use crate::plugin::{self, ConnectorSession, Delivery, Loaded};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a component may waste on deliveries that it dies of before the others have to wait: deliveries of all connectors
/// are read one behind the other, and none may hold up the rest.
const WASTE_MAX: Duration = Duration::from_secs(2);

/// Whether single records of an entity can be fetched.
pub(super) fn fetches(plugin: &Loaded, spec: &EntitySpec) -> bool {
    plugin.abilities.fetch && spec.modes.iter().any(|mode| mode == Mode::Ids.as_str())
}

/// Reads deliveries of one connector. Each gets an answer of its own: one that kills the component stops no other.
pub async fn read(deps: &Deps, connector: &Connector, deliveries: &[Opened]) -> Reading {
    let plugin = match setup::connector_plugin(deps, connector) {
        Ok(plugin) => plugin,
        Err(Failure { code, message, .. }) => {
            let later = || Parsed::Later(code.clone(), message.clone());
            let parsed = deliveries.iter().map(|_| later()).collect();
            return Reading { parsed, ..Reading::default() };
        }
    };
    let entities = match setup::connector_manifest(&plugin) {
        Ok(manifest) => manifest.entities.iter().map(|spec| refetch(&plugin, spec)).collect(),
        Err(_) => Vec::new(),
    };
    let config = outbound::plugin_config(&connector.config).to_string();
    let (mut session, mut parsed) = (None, Vec::with_capacity(deliveries.len()));
    let mut wasted = Duration::ZERO;
    for opened in deliveries {
        if wasted >= WASTE_MAX {
            break;
        }
        let begun = Instant::now();
        parsed.push(one(deps, &plugin, &mut session, &config, opened).await);
        // A session that is over died of this delivery.
        if session.is_none() {
            wasted += begun.elapsed();
        }
    }
    Reading { parsed, entities, wasteful: wasted >= WASTE_MAX }
}

fn refetch(plugin: &Loaded, spec: &EntitySpec) -> Refetch {
    let incremental = spec.modes.iter().any(|mode| mode == Mode::Incremental.as_str());
    let mode = match (fetches(plugin, spec), incremental) {
        (true, _) => Mode::Ids,
        (false, true) => Mode::Incremental,
        (false, false) => Mode::Full,
    };
    Refetch { entity: spec.name.clone(), mode }
}

/// One delivery. A component that crashed gets one more chance, on a fresh instance.
async fn one(
    deps: &Deps,
    plugin: &Arc<Loaded>,
    session: &mut Option<ConnectorSession>,
    config: &str,
    opened: &Opened,
) -> Parsed {
    let mut result = attempt(plugin, session, config, opened).await;
    if matches!(result, Err(plugin::Error::Trap { .. })) {
        result = attempt(plugin, session, config, opened).await;
    }
    match result {
        Ok(events) => Parsed::Events(events),
        Err(error) => {
            let now = clock::to_millis(deps.clock.now());
            let Failure { code, message, .. } = Failure::of_call(&error, now);
            match error {
                // A machine that is busy says nothing about the delivery.
                plugin::Error::WallClock { .. } | plugin::Error::Start(_) => {
                    Parsed::Later(code, message)
                }
                _ => Parsed::Unreadable(code, message),
            }
        }
    }
}

async fn attempt(
    plugin: &Arc<Loaded>,
    session: &mut Option<ConnectorSession>,
    config: &str,
    opened: &Opened,
) -> Result<Vec<crate::model::webhook::HookEvent>, plugin::Error> {
    let mut open = match session.take() {
        Some(open) => open,
        None => ConnectorSession::open_pure(plugin).await?,
    };
    let delivery = Delivery { config, headers: &opened.hook.headers, body: opened.body.expose() };
    let result = open.parse(&delivery).await;
    if result.is_ok()
        || matches!(result, Err(plugin::Error::Guest(_) | plugin::Error::BadAnswer(_)))
    {
        *session = Some(open);
    }
    result
}
