//! The conflict inbox: held conflicts, at most one open item for each (connection, record, field).

use super::file::{Read, Txn, scan_after, scan_prefix};
use super::keys::{Key, Parts};
use super::retention::{self, Class};
use super::tables::{CONFLICTS, CONFLICTS_OPEN};
use super::{Error, meta, rows};
use crate::model::ids::ConflictId;
use crate::model::{ConnectionId, ConnectorId, FieldType, OrgNo, RecordId, RunId, Value};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// An item of the inbox. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldConflict {
    pub id: ConflictId,
    pub organization: String,
    pub connector: ConnectorId,
    pub connection: ConnectionId,
    pub record: RecordId,
    pub external_id: String,
    pub entity: String,
    pub field: String,
    pub field_type: FieldType,
    pub base: Value,
    pub remote: Value,
    pub local: Value,
    pub strategy: String,
    pub note: String,
    pub first_run: RunId,
    pub last_run: RunId,
    pub first_seen_at: i64,
    pub last_seen_at: i64,
    pub resolution: Option<Resolution>,
    pub version: u64,
}

/// How an item was closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// `remote`, `local`, `value`, or `superseded` when a later run found no conflict any more.
    pub choice: String,
    pub value: Value,
    pub by: String,
    pub at: i64,
}

fn open_key(org: OrgNo, connection: ConnectionId, record: RecordId, field: &str) -> Key {
    Key::org(org).u32(connection.0).u64(record.0).text(field)
}

pub fn get(read: &dyn Read, id: ConflictId) -> Result<Option<HeldConflict>, Error> {
    let row = read.get_row(CONFLICTS, Key::new().u64(id.0).bytes())?;
    row.map(|row| rows::from_json(CONFLICTS, &row)).transpose()
}

pub fn open_item(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
    record: RecordId,
    field: &str,
) -> Result<Option<HeldConflict>, Error> {
    let key = open_key(org, connection, record, field);
    match read.get_row(CONFLICTS_OPEN, key.bytes())? {
        Some(row) => get(read, rows::from_binary::<u64>(CONFLICTS_OPEN, &row).map(ConflictId)?),
        None => Ok(None),
    }
}

pub fn next_id(txn: &Txn) -> Result<ConflictId, Error> {
    meta::next(txn, "conflict").map(ConflictId)
}

/// Writes an item; it is in the list of open ones as long as it has no resolution.
pub fn put(txn: &Txn, org: OrgNo, item: &HeldConflict) -> Result<(), Error> {
    txn.put(CONFLICTS, Key::new().u64(item.id.0).bytes(), &rows::to_json(item)?)?;
    let key = open_key(org, item.connection, item.record, &item.field);
    match &item.resolution {
        None => txn.put(CONFLICTS_OPEN, key.bytes(), &rows::to_binary(&item.id.0)?),
        Some(resolution) => {
            txn.delete(CONFLICTS_OPEN, key.bytes())?;
            retention::note(txn, Class::Conflicts, resolution.at, org, item.id.0)
        }
    }
}

/// The open items of one record.
pub fn open_of_record(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
    record: RecordId,
) -> Result<Vec<HeldConflict>, Error> {
    let prefix = Key::org(org).u32(connection.0).u64(record.0);
    collect(read, &prefix, &mut |_| true, usize::MAX)
}

/// Open items of one organization or of all, in the order of (organization, connection, record, field).
pub fn list_open(
    read: &dyn Read,
    org: Option<OrgNo>,
    keep: &mut dyn FnMut(&HeldConflict) -> bool,
    limit: usize,
) -> Result<Vec<HeldConflict>, Error> {
    collect(read, &org.map(Key::org).unwrap_or_default(), keep, limit)
}

fn collect(
    read: &dyn Read,
    prefix: &Key,
    keep: &mut dyn FnMut(&HeldConflict) -> bool,
    limit: usize,
) -> Result<Vec<HeldConflict>, Error> {
    let mut found = Vec::new();
    scan_prefix(read, CONFLICTS_OPEN, prefix, &mut |_, row| {
        let id = ConflictId(rows::from_binary(CONFLICTS_OPEN, row)?);
        found.extend(get(read, id)?.filter(&mut *keep));
        Ok(if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

/// Visits open items in the same order with their keys in it, behind the key `after` where there is one.
pub fn scan_open(
    read: &dyn Read,
    org: Option<OrgNo>,
    after: Option<&[u8]>,
    visit: &mut dyn FnMut(&[u8], HeldConflict) -> ControlFlow<()>,
) -> Result<(), Error> {
    let prefix = org.map(Key::org).unwrap_or_default();
    scan_after(read, CONFLICTS_OPEN, &prefix, after, &mut |key, row| {
        let item = get(read, ConflictId(rows::from_binary(CONFLICTS_OPEN, row)?))?;
        Ok(item.map_or(ControlFlow::Continue(()), |item| visit(key, item)))
    })
}

/// Whether a connection has any open item.
pub fn any_open(read: &dyn Read, org: OrgNo, connection: ConnectionId) -> Result<bool, Error> {
    let mut any = false;
    let prefix = Key::org(org).u32(connection.0);
    scan_prefix(read, CONFLICTS_OPEN, &prefix, &mut |_, _| {
        any = true;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(any)
}

/// How many items are open, of one organization or of all.
pub fn count_open(read: &dyn Read, org: Option<OrgNo>) -> Result<u64, Error> {
    let mut count = 0;
    let prefix = org.map(Key::org).unwrap_or_default();
    scan_prefix(read, CONFLICTS_OPEN, &prefix, &mut |key, _| {
        count += u64::from(Parts(key).u32().is_some());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(count)
}
