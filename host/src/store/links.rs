//! Links: under which external id a connection knows a record, and the base of each of its fields.
//!
//! The base is kept as the difference from the record: a field without an override has the record's value as its base.
//! A first sync therefore stores every value once. Whoever changes a record's field adds the override first
//! ([`keep_bases`]); `Absent` as an override means that there is no base yet.

use super::batch::Batch;
use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::tables::LINKS;
use super::{Error, Store, directory, rows};
use crate::model::ids::EntityNo;
use crate::model::record::Shape;
use crate::model::{ConnectionId, OrgNo, Record, RecordId, RecordStatus, Value};
use serde::{Deserialize, Serialize};
use std::ops::{Bound, ControlFlow};

/// The remote's values as they were when base and remote last agreed in all fields; all zero where they do not.
pub type Fingerprint = [u8; 16];

/// The first fields of a [`Link`], in its order: what most records need of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub record: u64,
    pub fingerprint: Fingerprint,
    pub present: bool,
}

/// [`Head`] repeats how this begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    pub record: u64,
    pub fingerprint: Fingerprint,
    /// Whether the remote had it when it was last looked at.
    pub present: bool,
    /// What the remote's status meant, where it was known.
    pub remote_status: Option<RecordStatus>,
    pub version: Option<String>,
    /// Milliseconds since the epoch.
    pub remote_updated_at: Option<i64>,
    pub linked_by: LinkedBy,
    /// Shape of the fields that the base covers.
    pub fields: u32,
    /// (position in the record's shape, base) where the base differs from the record.
    pub overrides: Vec<(u16, Value)>,
}

impl Link {
    pub fn record_id(&self) -> RecordId {
        RecordId(self.record)
    }

    pub fn head(&self) -> Head {
        Head { record: self.record, fingerprint: self.fingerprint, present: self.present }
    }

    /// The base of the field at `position` of the record; none where the two sides never agreed on one.
    pub fn base<'a>(
        &'a self,
        covered: &Shape,
        record: &'a Record,
        position: usize,
    ) -> Option<&'a Value> {
        let name = record.shape.get(position)?;
        if !covered.contains(name) {
            return None;
        }
        let overridden = self.overrides.iter().find(|(at, _)| usize::from(*at) == position);
        let base = match overridden {
            Some((_, base)) => base,
            None => record.values.get(position)?,
        };
        (*base != Value::Absent).then_some(base)
    }
}

/// How the link came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LinkedBy {
    /// The run created the record.
    Created,
    /// A secondary id of this kind.
    Alias(String),
    /// A match rule, by its fields.
    Rule(String),
}

fn prefix(org: OrgNo, connection: ConnectionId, entity: EntityNo) -> Key {
    Key::org(org).u32(connection.0).entity(entity)
}

pub(crate) fn key(
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
    external_id: &str,
) -> Key {
    prefix(org, connection, entity).text(external_id)
}

pub fn get(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
    external_id: &str,
) -> Result<Option<Link>, Error> {
    read.get_row(LINKS, key(org, connection, entity, external_id).bytes())?
        .map(|row| rows::from_binary(LINKS, &row))
        .transpose()
}

pub fn put(
    txn: &Txn,
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
    external_id: &str,
    link: &Link,
) -> Result<(), Error> {
    txn.put(LINKS, key(org, connection, entity, external_id).bytes(), &rows::to_binary(link)?)
}

/// Makes the row of a new link; external ids must ascend.
pub fn add_new(
    batch: &mut Batch,
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
    external_id: &str,
    link: &Link,
) -> Result<(), Error> {
    let key = key(org, connection, entity, external_id);
    batch.push(&key, |row| rows::append_binary(row, link))
}

pub fn put_new(txn: &Txn, batch: &Batch) -> Result<(), Error> {
    txn.put_sorted(LINKS, batch.rows())
}

/// Which of these new links are there already, by their place in the batch.
pub fn taken(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
    batch: &Batch,
) -> Result<Vec<usize>, Error> {
    let skip = prefix(org, connection, entity).len();
    let rests = batch.rows().map(|(key, _)| key.get(skip..).unwrap_or_default());
    let ids: Vec<&str> = rests.map(|rest| Parts(rest).text().unwrap_or_default()).collect();
    let found = heads_sorted(read, org, connection, entity, &ids)?;
    Ok((0..).zip(found).filter_map(|(at, head)| head.map(|_| at)).collect())
}

pub fn delete(
    txn: &Txn,
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
    external_id: &str,
) -> Result<(), Error> {
    txn.delete(LINKS, key(org, connection, entity, external_id).bytes())
}

/// The heads of the links of ascending external ids, by one walk over the table where the ids lie close together, else
/// one by one. Equal ids get the same head.
pub fn heads_sorted(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
    external_ids: &[&str],
) -> Result<Vec<Option<Head>>, Error> {
    let mut found: Vec<Option<Head>> = vec![None; external_ids.len()];
    let (Some(first), Some(last)) = (external_ids.first(), external_ids.last()) else {
        return Ok(found);
    };
    // A page that is spread over a large table is cheaper to look up id by id.
    let walk_max = external_ids.len() * 8;
    let (mut at, mut walked) = (0, 0);
    let (lower, upper) = (key(org, connection, entity, first), key(org, connection, entity, last));
    let skip = prefix(org, connection, entity).len();
    let bounds = (Bound::Included(lower.bytes()), Bound::Included(upper.bytes()));
    read.scan_rows(LINKS, bounds, false, &mut |key, row| {
        let stored = Parts(key.get(skip..).unwrap_or_default()).text_bytes().unwrap_or_default();
        let wanted = |at: usize| external_ids.get(at).map(|id| id.as_bytes());
        while wanted(at).is_some_and(|wanted| wanted < stored) {
            at += 1;
        }
        if wanted(at) == Some(stored) {
            let head = head(row)?;
            while wanted(at) == Some(stored) {
                found.get_mut(at).into_iter().for_each(|slot| *slot = Some(head));
                at += 1;
            }
        }
        walked += 1;
        let done = walked >= walk_max || at >= external_ids.len();
        Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    if walked >= walk_max {
        for (id, slot) in external_ids.iter().zip(&mut found).skip(at) {
            *slot = get(read, org, connection, entity, id)?.map(|link| link.head());
        }
    }
    Ok(found)
}

/// Visits all links of a connection's entity in the order of their external ids.
pub fn scan(
    read: &dyn Read,
    org: OrgNo,
    connection: ConnectionId,
    entity: EntityNo,
    visit: &mut dyn FnMut(&str, Head) -> ControlFlow<()>,
) -> Result<(), Error> {
    let prefix = prefix(org, connection, entity);
    super::file::scan_prefix(read, LINKS, &prefix, &mut |key, row| {
        let head = head(row)?;
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).text();
        Ok(visit(id.ok_or_else(|| rows::corrupt(LINKS, &"bad key"))?, head))
    })
}

/// A link's row begins with its head; the rest is not looked at.
fn head(row: &[u8]) -> Result<Head, Error> {
    let (head, _) = postcard::take_from_bytes(rows::body(LINKS, row)?)
        .map_err(|error| rows::corrupt(LINKS, &error))?;
    Ok(head)
}

/// Whether another live connection of the organization still lists the record as active: then its absence here says
/// nothing about the record.
pub fn listed_elsewhere(
    read: &dyn Read,
    org: OrgNo,
    record: &Record,
    own: ConnectionId,
) -> Result<bool, Error> {
    for other in record.links.iter().filter(|link| link.connection != own) {
        let id = other.external_id.as_str();
        let link = get(read, org, other.connection, record.id.entity(), id)?;
        let lists = link.is_some_and(|link| {
            link.record == record.id.0
                && link.present
                && link.remote_status != Some(RecordStatus::Inactive)
        });
        let connection = directory::connection(read, org, other.connection)?;
        if lists && connection.is_some_and(|connection| connection.disconnected_at.is_none()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Before a record's fields change: every link but `own` whose base was the record's value keeps it as an override.
pub(crate) fn keep_bases(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    before: &Record,
    after: &Record,
    own: Option<ConnectionId>,
) -> Result<(), Error> {
    let changed: Vec<usize> = (0..after.shape.len())
        .filter(|at| {
            before.values.get(*at).unwrap_or(&Value::Absent)
                != after.values.get(*at).unwrap_or(&Value::Absent)
        })
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    for link_ref in before.links.iter().filter(|link| Some(link.connection) != own) {
        let (connection, id) = (link_ref.connection, &link_ref.external_id);
        let Some(mut link) = get(txn, org, connection, before.id.entity(), id)? else {
            continue;
        };
        let covered = store.shapes().get(link.fields)?;
        for position in &changed {
            let Some(name) = after.shape.get(*position) else { continue };
            let Ok(at) = u16::try_from(*position) else { continue };
            let has = link.overrides.iter().any(|(other, _)| *other == at);
            if covered.contains(name) && !has {
                let base = before.values.get(*position).cloned().unwrap_or_default();
                link.overrides.push((at, base));
            }
        }
        put(txn, org, connection, before.id.entity(), id, &link)?;
    }
    Ok(())
}
