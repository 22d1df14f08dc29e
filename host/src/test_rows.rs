//! Rows that unit tests begin with: what a test cares about it sets itself (`..test_rows::connector()`).

use crate::model::directory::{AuthType, Connection, Connector, ConnectorStatus, SyncConfig};
use crate::model::{ConnectionId, ConnectorId, OrgNo};
use std::collections::BTreeMap;

/// The first connector: enabled, active, without credentials and without a schedule of its own.
pub(crate) fn connector() -> Connector {
    Connector {
        id: ConnectorId(1),
        name: "one".to_owned(),
        federation_code: "f".to_owned(),
        plugin: "p".to_owned(),
        auth_type: AuthType::None,
        endpoints: BTreeMap::new(),
        config: serde_json::json!({}),
        sync_config: SyncConfig {
            enabled: true,
            schedule: None,
            timezone: None,
            conflict_strategy: None,
            max_retries: None,
        },
        template_id: None,
        status: ConnectorStatus::Active,
        deleted_at: None,
        created_at: 0,
        updated_at: 0,
        version: 1,
    }
}

/// The connection of organization `org-NO` to the first connector.
pub(crate) fn connection(no: u32) -> Connection {
    Connection {
        id: ConnectionId(no),
        organization: format!("org-{no}"),
        org_no: OrgNo(no),
        connector_id: ConnectorId(1),
        federation_org_id: format!("remote-{no}"),
        strategy: None,
        webhooks_enabled: true,
        entities: BTreeMap::new(),
        enabled_at: 0,
        disconnected_at: None,
        version: 1,
    }
}
