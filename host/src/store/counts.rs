//! How many records an organization has, and how many a connection is linked to: what brakes compare with.

use super::file::{Read, Txn};
use super::keys::Key;
use super::tables::COUNTS;
use super::{Error, rows};
use crate::model::ids::EntityNo;
use crate::model::{ConnectionId, OrgNo, Record, RecordStatus};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub records: u64,
    pub active: u64,
}

fn key(org: OrgNo, connection: Option<ConnectionId>, entity: EntityNo) -> Key {
    Key::org(org).u32(connection.unwrap_or_default().0).entity(entity)
}

/// Of the whole organization, or of one connection's links.
pub fn get(
    read: &dyn Read,
    org: OrgNo,
    connection: Option<ConnectionId>,
    entity: EntityNo,
) -> Result<Counts, Error> {
    read.get_row(COUNTS, key(org, connection, entity).bytes())?
        .map_or_else(|| Ok(Counts::default()), |row| rows::from_binary(COUNTS, &row))
}

pub(crate) fn add(
    txn: &Txn,
    org: OrgNo,
    connection: Option<ConnectionId>,
    entity: EntityNo,
    records: i64,
    active: i64,
) -> Result<(), Error> {
    if records == 0 && active == 0 {
        return Ok(());
    }
    let mut counts = get(txn, org, connection, entity)?;
    counts.records = counts.records.saturating_add_signed(records);
    counts.active = counts.active.saturating_add_signed(active);
    txn.put(COUNTS, key(org, connection, entity).bytes(), &rows::to_binary(&counts)?)
}

/// Follows a record whose status or links changed.
pub(crate) fn status_changed(
    txn: &Txn,
    org: OrgNo,
    before: &Record,
    after: &Record,
) -> Result<(), Error> {
    let active = |record: &Record| i64::from(record.status == RecordStatus::Active);
    let entity = after.id.entity();
    add(txn, org, None, entity, 0, active(after) - active(before))?;
    if before.links == after.links && before.status == after.status {
        return Ok(());
    }
    for link in &before.links {
        add(txn, org, Some(link.connection), entity, -1, -active(before))?;
    }
    for link in &after.links {
        add(txn, org, Some(link.connection), entity, 1, active(after))?;
    }
    Ok(())
}
