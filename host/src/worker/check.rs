//! One cheap authenticated call that proves a connector's settings and credentials.

use super::requests::RequestLog;
use super::setup::{self, Parties};
use super::{Deps, Failure, outbound};
use crate::clock;
use crate::model::OrgNo;
use crate::model::directory::{Connection, Connector, Organization};
use crate::plugin;
use crate::plugin::ConnectorSession;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

pub struct CheckReport {
    pub latency_millis: u64,
    pub error: Option<Failure>,
}

/// Checks a connector, for one of its connections if it has any.
pub async fn check(
    deps: &Deps,
    connector: Connector,
    connection: Option<Connection>,
) -> CheckReport {
    let started = Instant::now();
    let result = call(deps, connector, connection).await;
    let latency_millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    CheckReport { latency_millis, error: result.err() }
}

async fn call(
    deps: &Deps,
    connector: Connector,
    connection: Option<Connection>,
) -> Result<(), Failure> {
    let plugin = setup::connector_plugin(deps, &connector)?;
    let manifest = setup::connector_manifest(&plugin)?;
    let connection = connection.unwrap_or_else(|| unconnected(&connector));
    let organization = unnamed(&connection);
    let parties = Parties { organization, connection, connector };
    let log = RequestLog::default();
    let cancel = CancellationToken::new();
    let client = outbound::outbound(deps, &parties, manifest, &log, true, &cancel)?;
    let now = clock::to_text(clock::to_millis(deps.clock.now()));
    let context = outbound::context(deps, &parties, manifest, now)?;
    let waits = client.waits();
    let fail = |error: plugin::Error| {
        let now = clock::to_millis(deps.clock.now());
        outbound::explained(deps, &parties, Failure::of_call(&error, now).or_rate_limit(&waits))
    };
    let mut session = ConnectorSession::open(&plugin, client).await.map_err(fail)?;
    session.check(&context).await.map_err(fail)
}

/// Stands in for a connection while a connector has none: without an id on the remote side.
fn unconnected(connector: &Connector) -> Connection {
    Connection {
        id: crate::model::ConnectionId(0),
        organization: String::new(),
        org_no: OrgNo(0),
        connector_id: connector.id,
        federation_org_id: String::new(),
        strategy: None,
        webhooks_enabled: false,
        entities: std::collections::BTreeMap::new(),
        enabled_at: 0,
        disconnected_at: None,
        version: 0,
    }
}

fn unnamed(connection: &Connection) -> Organization {
    Organization {
        id: connection.organization.clone(),
        no: connection.org_no,
        name: String::new(),
        timezone: "UTC".to_owned(),
        default_region: String::new(),
        created_at: 0,
        version: 0,
    }
}
