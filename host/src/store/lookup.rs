//! The indexes of connectors and connections, and lists page by page: nothing here reads more rows than it answers.
//!
//! `directory` keeps the rows and calls this module with each change; what an index holds is told in `tables`.

use super::directory::{connection, connector};
use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::tables::{
    CONNECTIONS, CONNECTIONS_BY_CONNECTOR, CONNECTIONS_BY_REMOTE, CONNECTIONS_FORMER,
    CONNECTIONS_LIVE, CONNECTORS, CONNECTORS_BY, ORGANIZATIONS, TEMPLATES, Table,
};
use super::{Error, meta, rows};
use crate::model::directory::{
    Connection, Connector, ConnectorStatus, Organization, StoredTemplate,
};
use crate::model::ids::TemplateId;
use crate::model::{ConnectionId, ConnectorId, OrgNo};
use serde::de::DeserializeOwned;
use std::ops::{Bound, ControlFlow};

/// What connectors are found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    Status(ConnectorStatus),
    Code(String),
    CodeAndStatus(String, ConnectorStatus),
    Template(TemplateId),
}

impl By {
    fn key(&self) -> Key {
        let status = |status: &ConnectorStatus| match status {
            ConnectorStatus::Active => 1,
            ConnectorStatus::Inactive => 2,
            ConnectorStatus::Error => 3,
        };
        match self {
            By::Status(wanted) => Key::new().u32(1).u32(status(wanted)),
            By::Code(code) => Key::new().u32(2).text(code),
            By::CodeAndStatus(code, wanted) => Key::new().u32(3).text(code).u32(status(wanted)),
            By::Template(template) => Key::new().u32(4).u32(template.0),
        }
    }

    fn all(connector: &Connector) -> Vec<By> {
        let code = connector.federation_code.clone();
        let mut all = vec![
            By::Status(connector.status),
            By::Code(code.clone()),
            By::CodeAndStatus(code, connector.status),
        ];
        all.extend(connector.template_id.map(By::Template));
        all
    }
}

/// Moves a connector's entries from what it was to what it is.
pub(super) fn index_connector(
    txn: &Txn,
    before: Option<&Connector>,
    now: &Connector,
) -> Result<(), Error> {
    for by in before.map(By::all).unwrap_or_default() {
        txn.delete(CONNECTORS_BY, by.key().u32(now.id.0).bytes())?;
    }
    for by in By::all(now) {
        txn.put(CONNECTORS_BY, by.key().u32(now.id.0).bytes(), &[1])?;
    }
    Ok(())
}

/// Moves a connection's entries from what it was to what it is. A disconnected one is found only as a former one.
pub(super) fn index_connection(
    txn: &Txn,
    before: Option<&Connection>,
    now: &Connection,
) -> Result<(), Error> {
    let live = Key::org(now.org_no).u32(now.connector_id.0);
    if let Some(before) = before {
        txn.delete(CONNECTIONS_BY_CONNECTOR, by_connector(before).bytes())?;
        txn.delete(CONNECTIONS_BY_REMOTE, by_remote(before).bytes())?;
        if before.disconnected_at.is_some() {
            txn.delete(CONNECTIONS_FORMER, former(before).bytes())?;
        } else {
            txn.delete(CONNECTIONS_LIVE, live.bytes())?;
        }
    }
    txn.put(CONNECTIONS_BY_CONNECTOR, by_connector(now).bytes(), &number(now.org_no.0))?;
    if now.disconnected_at.is_some() {
        return txn.put(CONNECTIONS_FORMER, former(now).bytes(), &number(now.id.0));
    }
    txn.put(CONNECTIONS_LIVE, live.bytes(), &number(now.id.0))?;
    txn.put(CONNECTIONS_BY_REMOTE, by_remote(now).bytes(), &number(now.org_no.0))
}

/// The live connections of a connector lie apart from the former ones.
const LIVE: u32 = 1;
const FORMER: u32 = 2;

fn by_connector(connection: &Connection) -> Key {
    let standing = if connection.disconnected_at.is_some() { FORMER } else { LIVE };
    Key::new().u32(connection.connector_id.0).u32(standing).u32(connection.id.0)
}

fn by_remote(connection: &Connection) -> Key {
    remote_prefix(connection.connector_id, &connection.federation_org_id).u32(connection.id.0)
}

fn remote_prefix(connector: ConnectorId, federation_org_id: &str) -> Key {
    Key::new().u32(connector.0).text(federation_org_id)
}

fn former(connection: &Connection) -> Key {
    former_key(connection.org_no, connection.connector_id, &connection.federation_org_id)
}

fn former_key(org: OrgNo, connector: ConnectorId, federation_org_id: &str) -> Key {
    Key::org(org).u32(connector.0).text(federation_org_id)
}

/// A row that is one number.
fn number(number: u32) -> Vec<u8> {
    let mut row = vec![1];
    row.extend_from_slice(&number.to_be_bytes());
    row
}

fn read_number(table: Table, row: &[u8]) -> Result<u32, Error> {
    Parts(rows::body(table, row)?).u32().ok_or_else(|| rows::corrupt(table, &"no number"))
}

/// Fills the indexes of a data directory that was made before they were.
pub(super) fn ensure(txn: &Txn) -> Result<(), Error> {
    if meta::directory_indexed(txn)? {
        return Ok(());
    }
    let everything = Key::new();
    for connector in rows::collect_json::<Connector>(txn, CONNECTORS, &everything)? {
        index_connector(txn, None, &connector)?;
    }
    txn.delete_prefix(CONNECTIONS_BY_CONNECTOR, &everything)?;
    for connection in rows::collect_json::<Connection>(txn, CONNECTIONS, &everything)? {
        index_connection(txn, None, &connection)?;
    }
    meta::put_directory_indexed(txn)
}

/// Sees a key and its row.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Error> + 'a;

/// Visits the rows below `prefix` behind the key `after`, at most `limit`.
fn walk(
    read: &dyn Read,
    table: Table,
    prefix: &Key,
    after: Option<&Key>,
    limit: usize,
    visit: &mut Visit<'_>,
) -> Result<(), Error> {
    let end = prefix.prefix_end();
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let lower = match after {
        Some(after) => Bound::Excluded(after.bytes()),
        None => Bound::Included(prefix.bytes()),
    };
    let mut left = limit;
    if left == 0 {
        return Ok(());
    }
    read.scan_rows(table, (lower, upper), false, &mut |key, row| {
        visit(key, row)?;
        left -= 1;
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

fn page<T: DeserializeOwned>(
    read: &dyn Read,
    table: Table,
    prefix: &Key,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<T>, Error> {
    let mut found = Vec::new();
    walk(read, table, prefix, after, limit, &mut |_, row| {
        found.push(rows::from_json(table, row)?);
        Ok(())
    })?;
    Ok(found)
}

/// Organizations behind this id, in the order of their ids.
pub fn organizations(
    read: &dyn Read,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Organization>, Error> {
    let after = after.map(|id| Key::new().text(id));
    page(read, ORGANIZATIONS, &Key::new(), after.as_ref(), limit)
}

pub fn templates(
    read: &dyn Read,
    after: Option<TemplateId>,
    limit: usize,
) -> Result<Vec<StoredTemplate>, Error> {
    let after = after.map(|id| Key::new().u32(id.0));
    page(read, TEMPLATES, &Key::new(), after.as_ref(), limit)
}

/// Connectors behind this id, in the order of their ids; `by` none means all.
pub fn connectors(
    read: &dyn Read,
    by: Option<&By>,
    after: Option<ConnectorId>,
    limit: usize,
) -> Result<Vec<Connector>, Error> {
    let Some(by) = by else {
        let after = after.map(|id| Key::new().u32(id.0));
        return page(read, CONNECTORS, &Key::new(), after.as_ref(), limit);
    };
    let ids = connector_ids(read, by, after, limit)?;
    let found = ids.into_iter().map(|id| connector(read, id)).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// The same without their rows.
pub fn connector_ids(
    read: &dyn Read,
    by: &By,
    after: Option<ConnectorId>,
    limit: usize,
) -> Result<Vec<ConnectorId>, Error> {
    let prefix = by.key();
    let after = after.map(|id| prefix.clone().u32(id.0));
    let mut found = Vec::new();
    walk(read, CONNECTORS_BY, &prefix, after.as_ref(), limit, &mut |key, _| {
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).u32();
        found.push(ConnectorId(id.ok_or_else(|| rows::corrupt(CONNECTORS_BY, &"bad key"))?));
        Ok(())
    })?;
    Ok(found)
}

/// The live connections of an organization behind this connector, in the order of the connectors.
pub fn connections_of_organization(
    read: &dyn Read,
    org: OrgNo,
    after: Option<ConnectorId>,
    limit: usize,
) -> Result<Vec<Connection>, Error> {
    let prefix = Key::org(org);
    let after = after.map(|id| prefix.clone().u32(id.0));
    let mut found = Vec::new();
    walk(read, CONNECTIONS_LIVE, &prefix, after.as_ref(), limit, &mut |_, row| {
        let id = ConnectionId(read_number(CONNECTIONS_LIVE, row)?);
        found.extend(connection(read, org, id)?);
        Ok(())
    })?;
    Ok(found)
}

/// The connectors behind this one that an organization is connected to, in the order of their ids.
pub fn connectors_of_organization(
    read: &dyn Read,
    org: OrgNo,
    after: Option<ConnectorId>,
) -> Result<Vec<Connector>, Error> {
    let connections = connections_of_organization(read, org, after, usize::MAX)?;
    let found = connections.iter().map(|connection| connector(read, connection.connector_id));
    Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The live connections of a connector behind this one, in the order of their ids.
pub fn connections_of_connector(
    read: &dyn Read,
    connector: ConnectorId,
    after: Option<ConnectionId>,
    limit: usize,
) -> Result<Vec<Connection>, Error> {
    let prefix = Key::new().u32(connector.0).u32(LIVE);
    let after = after.map(|id| prefix.clone().u32(id.0));
    by_number_behind(read, CONNECTIONS_BY_CONNECTOR, &prefix, after.as_ref(), limit)
}

/// The disconnected connections of a connector, in the order of their ids.
pub fn former_connections_of_connector(
    read: &dyn Read,
    connector: ConnectorId,
) -> Result<Vec<Connection>, Error> {
    let prefix = Key::new().u32(connector.0).u32(FORMER);
    by_number_behind(read, CONNECTIONS_BY_CONNECTOR, &prefix, None, usize::MAX)
}

/// A live connection by its connector and number alone.
pub fn connection_of_connector(
    read: &dyn Read,
    connector: ConnectorId,
    id: ConnectionId,
) -> Result<Option<Connection>, Error> {
    let key = Key::new().u32(connector.0).u32(LIVE).u32(id.0);
    match read.get_row(CONNECTIONS_BY_CONNECTOR, key.bytes())? {
        Some(row) => connection(read, OrgNo(read_number(CONNECTIONS_BY_CONNECTOR, &row)?), id),
        None => Ok(None),
    }
}

/// A disconnected connection by its connector and number alone.
pub fn former_connection_of_connector(
    read: &dyn Read,
    connector: ConnectorId,
    id: ConnectionId,
) -> Result<Option<Connection>, Error> {
    let key = Key::new().u32(connector.0).u32(FORMER).u32(id.0);
    match read.get_row(CONNECTIONS_BY_CONNECTOR, key.bytes())? {
        Some(row) => connection(read, OrgNo(read_number(CONNECTIONS_BY_CONNECTOR, &row)?), id),
        None => Ok(None),
    }
}

/// The live connections of a connector under which the remote system knows this organization: more than one where
/// several organizations share it. A delivery for it concerns them all.
pub fn connections_of_remote(
    read: &dyn Read,
    connector: ConnectorId,
    federation_org_id: &str,
) -> Result<Vec<Connection>, Error> {
    let prefix = remote_prefix(connector, federation_org_id);
    by_number_behind(read, CONNECTIONS_BY_REMOTE, &prefix, None, usize::MAX)
}

/// Connections whose number ends the key and whose organization is the row.
fn by_number_behind(
    read: &dyn Read,
    table: Table,
    prefix: &Key,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Connection>, Error> {
    let mut found = Vec::new();
    walk(read, table, prefix, after, limit, &mut |key, row| {
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).u32();
        let id = id.ok_or_else(|| rows::corrupt(table, &"bad key"))?;
        found.extend(connection(read, OrgNo(read_number(table, row)?), ConnectionId(id))?);
        Ok(())
    })?;
    Ok(found)
}

/// The live connection of an organization with a connector.
pub fn connection_between(
    read: &dyn Read,
    org: OrgNo,
    connector: ConnectorId,
) -> Result<Option<Connection>, Error> {
    numbered(read, CONNECTIONS_LIVE, org, &Key::org(org).u32(connector.0))
}

/// The connection that an organization had with a connector under this id, and gave up.
pub fn former_connection(
    read: &dyn Read,
    org: OrgNo,
    connector: ConnectorId,
    federation_org_id: &str,
) -> Result<Option<Connection>, Error> {
    numbered(read, CONNECTIONS_FORMER, org, &former_key(org, connector, federation_org_id))
}

fn numbered(
    read: &dyn Read,
    table: Table,
    org: OrgNo,
    key: &Key,
) -> Result<Option<Connection>, Error> {
    match read.get_row(table, key.bytes())? {
        Some(row) => connection(read, org, ConnectionId(read_number(table, &row)?)),
        None => Ok(None),
    }
}

/// Whether an organization has any live connection.
pub fn is_connected(read: &dyn Read, org: OrgNo) -> Result<bool, Error> {
    Ok(!connections_of_organization(read, org, None, 1)?.is_empty())
}
