//! Organizations, connectors, connections, templates, credentials and tokens: few rows, read by id.

use super::file::{Read, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::{
    CONNECTIONS, CONNECTIONS_BY_CONNECTOR, CONNECTORS, CREDENTIALS, ORGANIZATIONS, TEMPLATES,
    TOKENS, Table, WATERMARKS,
};
use super::{Error, meta, rows};
use crate::model::directory::{
    Connection, Connector, Organization, SealedCredentials, StoredTemplate, Token,
};
use crate::model::ids::{EntityNo, TemplateId};
use crate::model::{ConnectionId, ConnectorId, OrgNo};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

fn one<T: DeserializeOwned>(read: &dyn Read, table: Table, key: &Key) -> Result<Option<T>, Error> {
    read.get_row(table, key.bytes())?.map(|row| rows::from_json(table, &row)).transpose()
}

fn all<T: DeserializeOwned>(read: &dyn Read, table: Table, prefix: &Key) -> Result<Vec<T>, Error> {
    let mut found = Vec::new();
    let mut failed = None;
    scan_prefix(read, table, prefix, &mut |_, row| {
        match rows::from_json(table, row) {
            Ok(value) => found.push(value),
            Err(error) => failed = Some(error),
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(found), Err)
}

fn put<T: Serialize>(txn: &Txn, table: Table, key: &Key, value: &T) -> Result<(), Error> {
    txn.put(table, key.bytes(), &rows::to_json(value)?)
}

fn number(txn: &Txn, sequence: &str) -> Result<u32, Error> {
    u32::try_from(meta::next(txn, sequence)?).map_err(|error| Error::Storage(error.to_string()))
}

pub fn organization(read: &dyn Read, id: &str) -> Result<Option<Organization>, Error> {
    one(read, ORGANIZATIONS, &Key::new().text(id))
}

/// All organizations in the order of their ids.
pub fn organizations(read: &dyn Read) -> Result<Vec<Organization>, Error> {
    all(read, ORGANIZATIONS, &Key::new())
}

pub fn put_organization(txn: &Txn, organization: &Organization) -> Result<(), Error> {
    put(txn, ORGANIZATIONS, &Key::new().text(&organization.id), organization)
}

pub fn delete_organization(txn: &Txn, id: &str) -> Result<(), Error> {
    txn.delete(ORGANIZATIONS, Key::new().text(id).bytes())
}

pub fn next_org_no(txn: &Txn) -> Result<OrgNo, Error> {
    number(txn, "organization").map(OrgNo)
}

pub fn connector(read: &dyn Read, id: ConnectorId) -> Result<Option<Connector>, Error> {
    one(read, CONNECTORS, &Key::new().u32(id.0))
}

pub fn connectors(read: &dyn Read) -> Result<Vec<Connector>, Error> {
    all(read, CONNECTORS, &Key::new())
}

pub fn put_connector(txn: &Txn, connector: &Connector) -> Result<(), Error> {
    put(txn, CONNECTORS, &Key::new().u32(connector.id.0), connector)
}

pub fn next_connector_id(txn: &Txn) -> Result<ConnectorId, Error> {
    number(txn, "connector").map(ConnectorId)
}

pub fn connection(
    read: &dyn Read,
    org: OrgNo,
    id: ConnectionId,
) -> Result<Option<Connection>, Error> {
    one(read, CONNECTIONS, &Key::org(org).u32(id.0))
}

/// The connections of an organization, disconnected ones included.
pub fn connections(read: &dyn Read, org: OrgNo) -> Result<Vec<Connection>, Error> {
    all(read, CONNECTIONS, &Key::org(org))
}

/// The connections of a connector, disconnected ones included.
pub fn connections_of(read: &dyn Read, connector: ConnectorId) -> Result<Vec<Connection>, Error> {
    let mut ids = Vec::new();
    scan_prefix(read, CONNECTIONS_BY_CONNECTOR, &Key::new().u32(connector.0), &mut |key, row| {
        let mut parts = Parts(key);
        let id = parts.u32().and_then(|_| parts.u32());
        let org = rows::body(CONNECTIONS_BY_CONNECTOR, row).ok().and_then(|row| Parts(row).u32());
        ids.extend(org.zip(id));
        ControlFlow::Continue(())
    })?;
    let mut found = Vec::with_capacity(ids.len());
    for (org, id) in ids {
        found.extend(connection(read, OrgNo(org), ConnectionId(id))?);
    }
    Ok(found)
}

/// The live connection of an organization with a connector.
pub fn connection_between(
    read: &dyn Read,
    org: OrgNo,
    connector: ConnectorId,
) -> Result<Option<Connection>, Error> {
    let mut found = connections(read, org)?.into_iter();
    Ok(found.find(|row| row.connector_id == connector && row.disconnected_at.is_none()))
}

pub fn put_connection(txn: &Txn, connection: &Connection) -> Result<(), Error> {
    let by_connector = Key::new().u32(connection.connector_id.0).u32(connection.id.0);
    let mut org = vec![1];
    org.extend_from_slice(&connection.org_no.0.to_be_bytes());
    txn.put(CONNECTIONS_BY_CONNECTOR, by_connector.bytes(), &org)?;
    let key = Key::org(connection.org_no).u32(connection.id.0);
    put(txn, CONNECTIONS, &key, connection)
}

pub fn next_connection_id(txn: &Txn) -> Result<ConnectionId, Error> {
    number(txn, "connection").map(ConnectionId)
}

/// Of the connection if it has its own, else (`None`) the connector's.
pub fn credentials(
    read: &dyn Read,
    connector: ConnectorId,
    connection: Option<ConnectionId>,
) -> Result<Option<SealedCredentials>, Error> {
    one(read, CREDENTIALS, &credentials_key(connector, connection))
}

pub fn put_credentials(
    txn: &Txn,
    connector: ConnectorId,
    connection: Option<ConnectionId>,
    sealed: &SealedCredentials,
) -> Result<(), Error> {
    put(txn, CREDENTIALS, &credentials_key(connector, connection), sealed)
}

fn credentials_key(connector: ConnectorId, connection: Option<ConnectionId>) -> Key {
    Key::new().u32(connector.0).u32(connection.unwrap_or_default().0)
}

pub fn template(read: &dyn Read, id: TemplateId) -> Result<Option<StoredTemplate>, Error> {
    one(read, TEMPLATES, &Key::new().u32(id.0))
}

pub fn templates(read: &dyn Read) -> Result<Vec<StoredTemplate>, Error> {
    all(read, TEMPLATES, &Key::new())
}

pub fn put_template(txn: &Txn, template: &StoredTemplate) -> Result<(), Error> {
    put(txn, TEMPLATES, &Key::new().u32(template.id.0), template)
}

pub fn delete_template(txn: &Txn, id: TemplateId) -> Result<(), Error> {
    txn.delete(TEMPLATES, Key::new().u32(id.0).bytes())
}

pub fn next_template_id(txn: &Txn) -> Result<TemplateId, Error> {
    number(txn, "template").map(TemplateId)
}

/// The token with this sha256.
pub fn token(read: &dyn Read, hash: &[u8; 32]) -> Result<Option<Token>, Error> {
    read.get_row(TOKENS, hash)?.map(|row| rows::from_json(TOKENS, &row)).transpose()
}

pub fn put_token(txn: &Txn, hash: &[u8; 32], token: &Token) -> Result<(), Error> {
    txn.put(TOKENS, hash, &rows::to_json(token)?)
}

/// Where the last completed run of a connection's entity ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watermark {
    /// Largest remote modification time seen, in milliseconds since the epoch.
    pub modified: Option<i64>,
    /// The remote's own token.
    pub checkpoint: Option<String>,
}

pub fn watermark(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
) -> Result<Watermark, Error> {
    let key = Key::org(org).u32(connection.0).entity(entity);
    Ok(one(read, WATERMARKS, &key)?.unwrap_or_default())
}

pub fn put_watermark(
    txn: &Txn,
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
    watermark: &Watermark,
) -> Result<(), Error> {
    put(txn, WATERMARKS, &Key::org(org).u32(connection.0).entity(entity), watermark)
}
