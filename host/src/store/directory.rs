//! Organizations, connectors, connections and templates: few rows, read by id.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::tables::{
    CONNECTIONS, CONNECTORS, CREDENTIALS_LEFT, ORGANIZATIONS, TEMPLATES, Table, WATERMARKS,
};
use super::{Error, lookup, meta, rows};
use crate::model::directory::{Connection, Connector, Organization, StoredTemplate};
use crate::model::ids::{EntityNo, TemplateId};
use crate::model::{ConnectionId, ConnectorId, OrgNo};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::{Bound, ControlFlow};

fn one<T: DeserializeOwned>(read: &dyn Read, table: Table, key: &Key) -> Result<Option<T>, Error> {
    read.get_row(table, key.bytes())?.map(|row| rows::from_json(table, &row)).transpose()
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

pub fn put_connector(txn: &Txn, row: &Connector) -> Result<(), Error> {
    txn.note_directory();
    lookup::index_connector(txn, connector(txn, row.id)?.as_ref(), row)?;
    put(txn, CONNECTORS, &Key::new().u32(row.id.0), row)
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

/// The live connections of a connector.
pub fn connections_of(read: &dyn Read, connector: ConnectorId) -> Result<Vec<Connection>, Error> {
    lookup::connections_of_connector(read, connector, None, usize::MAX)
}

/// The live connection of an organization with a connector.
pub fn connection_between(
    read: &dyn Read,
    org: OrgNo,
    connector: ConnectorId,
) -> Result<Option<Connection>, Error> {
    lookup::connection_between(read, org, connector)
}

pub fn put_connection(txn: &Txn, row: &Connection) -> Result<(), Error> {
    txn.note_directory();
    lookup::index_connection(txn, connection(txn, row.org_no, row.id)?.as_ref(), row)?;
    put(txn, CONNECTIONS, &Key::org(row.org_no).u32(row.id.0), row)
}

pub fn next_connection_id(txn: &Txn) -> Result<ConnectionId, Error> {
    number(txn, "connection").map(ConnectionId)
}

/// Credentials that nobody uses since `at` (milliseconds since the epoch): the connector's (`None`) or a connection's.
pub fn put_left(
    txn: &Txn,
    at: i64,
    connector: ConnectorId,
    connection: Option<ConnectionId>,
) -> Result<(), Error> {
    txn.put(CREDENTIALS_LEFT, left_key(at, connector, connection).bytes(), &[])
}

pub fn delete_left(
    txn: &Txn,
    at: i64,
    connector: ConnectorId,
    connection: Option<ConnectionId>,
) -> Result<(), Error> {
    txn.delete(CREDENTIALS_LEFT, left_key(at, connector, connection).bytes())
}

/// What was left before `before`, oldest first: since when, connector, connection.
pub fn left_before(
    read: &dyn Read,
    before: i64,
    limit: usize,
) -> Result<Vec<(i64, ConnectorId, Option<ConnectionId>)>, Error> {
    let upper = Key::new().u64(u64::try_from(before).unwrap_or(0));
    let mut found = Vec::new();
    let bounds = (Bound::Unbounded, Bound::Excluded(upper.bytes()));
    read.scan_rows(CREDENTIALS_LEFT, bounds, false, &mut |key, _| {
        let mut parts = Parts(key);
        if let (Some(at), Some(connector), Some(connection)) =
            (parts.u64(), parts.u32(), parts.u32())
        {
            let connection = Some(ConnectionId(connection)).filter(|id| id.0 != 0);
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            found.push((at, ConnectorId(connector), connection));
        }
        Ok(if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

fn left_key(at: i64, connector: ConnectorId, connection: Option<ConnectionId>) -> Key {
    let at = u64::try_from(at).unwrap_or(0);
    Key::new().u64(at).u32(connector.0).u32(connection.unwrap_or_default().0)
}

pub fn template(read: &dyn Read, id: TemplateId) -> Result<Option<StoredTemplate>, Error> {
    one(read, TEMPLATES, &Key::new().u32(id.0))
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
