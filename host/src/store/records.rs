//! Records and their timeline. Whoever changes a field here keeps the bases of the record's links as they were.

use super::batch::Batch;
use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::names::Names;
use super::tables::{HISTORY, RECORDS};
use super::{Error, Store, counts, identity, links, meta, rows};
use crate::model::ids::{ConflictId, EntityNo};
use crate::model::record::{FieldMeta, LinkRef, Shape};
use crate::model::value::encode_list;
use crate::model::{
    Cell, ConnectionId, ModifiedBy, OrgNo, Record, RecordId, RecordStatus, RunId, Value,
};
use serde::{Deserialize, Serialize};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// A record's row without its values, which follow as a list of their own.
#[derive(Serialize, Deserialize)]
struct Head {
    status: RecordStatus,
    version: u64,
    shape: u32,
    created: MetaRow,
    field_meta: Vec<(u16, MetaRow)>,
    links: Vec<(u32, String)>,
    aliases: Vec<(String, String)>,
    synced_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct MetaRow {
    at: i64,
    by: ByRow,
}

#[derive(Serialize, Deserialize)]
enum ByRow {
    Run(u64),
    Person(String),
    Machine(String),
}

/// A record that a run creates: everything but its id and the id of its run, with the values already encoded.
pub struct NewRecord<'a> {
    pub status: RecordStatus,
    /// From [`encode_list`], as many as the shape has names.
    pub values: &'a [u8],
    pub connection: ConnectionId,
    pub external_id: &'a str,
    pub aliases: &'a [(&'a str, &'a str)],
}

/// One change of a record: a row of its timeline, and its before-image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Milliseconds since the epoch.
    pub at: i64,
    pub by: ModifiedBy,
    pub kind: ChangeKind,
    /// The record's version after the change.
    pub version: u64,
    pub fields: Vec<FieldHistory>,
    pub status_before: RecordStatus,
    pub status_after: RecordStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// What a person did, where it was no plain edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Took a run back.
    Undo(RunId),
    /// Decided an item of the conflict inbox.
    Conflict(ConflictId),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldHistory {
    pub field: String,
    pub before: Value,
    pub after: Value,
    /// Which strategy decided, if it was a conflict.
    pub strategy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    Created,
    Updated,
    Inactivated,
    Reactivated,
    Linked,
}

/// A change to one record, to be applied by [`apply`].
#[derive(Clone, Debug)]
pub struct Change {
    pub kind: ChangeKind,
    pub fields: Vec<(Arc<str>, Value, Option<String>)>,
    pub status: Option<RecordStatus>,
    pub at: i64,
    pub by: ModifiedBy,
    pub cause: Option<Cause>,
    /// The connection whose link the caller writes itself; the bases of all others stay as they were.
    pub own_link: Option<ConnectionId>,
    /// A link that the record wins.
    pub new_link: Option<LinkRef>,
    /// Secondary ids as they are now: they replace those of the same kinds.
    pub aliases: Vec<(String, String)>,
}

pub fn decode_values(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    postcard::from_bytes(bytes).map_err(|error| rows::corrupt(RECORDS, &error))
}

pub fn get(
    read: &dyn Read,
    store: &Store,
    org: OrgNo,
    id: RecordId,
) -> Result<Option<Record>, Error> {
    let Some(row) = read.get_row(RECORDS, Key::org(org).u64(id.0).bytes())? else {
        return Ok(None);
    };
    decode(store, id, &row).map(Some)
}

/// Records of one entity or of all, in the order of their ids, behind `after`, until `visit` breaks or fails.
pub fn scan(
    read: &dyn Read,
    store: &Store,
    org: OrgNo,
    entity: Option<EntityNo>,
    after: Option<RecordId>,
    visit: &mut dyn FnMut(Record) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let bound = |other: u64, sequence: u64| {
        Key::org(org).u64(entity.map_or(other, |entity| RecordId::new(entity, sequence).0))
    };
    let (first, last) = (bound(0, 0), bound(u64::MAX, u64::MAX));
    let from = after.map(|id| Key::org(org).u64(id.0));
    let lower = match &from {
        Some(key) => Bound::Excluded(key.bytes()),
        None => Bound::Included(first.bytes()),
    };
    read.scan_rows(RECORDS, (lower, Bound::Included(last.bytes())), false, &mut |key, row| {
        let mut parts = Parts(key);
        let id = parts.u32().and_then(|_| parts.u64()).map(RecordId).unwrap_or_default();
        visit(decode(store, id, row)?)
    })
}

fn decode(store: &Store, id: RecordId, row: &[u8]) -> Result<Record, Error> {
    let corrupt = |error: postcard::Error| rows::corrupt(RECORDS, &error);
    let (head, values): (Head, &[u8]) =
        postcard::take_from_bytes(rows::body(RECORDS, row)?).map_err(corrupt)?;
    let mut values = decode_values(values)?;
    let shape = store.shapes().get(head.shape)?;
    values.resize(shape.len(), Value::Absent);
    let link =
        |(connection, external_id)| LinkRef { connection: ConnectionId(connection), external_id };
    Ok(Record {
        id,
        entity: store.entity_name(id.entity())?,
        status: head.status,
        version: head.version,
        shape,
        values,
        created: head.created.into(),
        field_meta: head.field_meta.into_iter().map(|(at, meta)| (at, meta.into())).collect(),
        links: head.links.into_iter().map(link).collect(),
        aliases: head.aliases,
        synced_at: head.synced_at,
    })
}

fn encode(shape: u32, record: &Record) -> Result<Vec<u8>, Error> {
    let head = Head {
        status: record.status,
        version: record.version,
        shape,
        created: MetaRow::from(&record.created),
        field_meta: record.field_meta.iter().map(|(at, meta)| (*at, meta.into())).collect(),
        links: record.links.iter().map(|l| (l.connection.0, l.external_id.clone())).collect(),
        aliases: record.aliases.clone(),
        synced_at: record.synced_at,
    };
    let mut row = rows::to_binary(&head)?;
    encode_list(record.values.iter().map(Cell::from), &mut row);
    Ok(row)
}

/// The number that the next new record of any entity gets.
pub fn next_sequence(read: &dyn Read) -> Result<u64, Error> {
    Ok(meta::last(read, "record")? + 1)
}

/// Takes the numbers that new records of this transaction were given, from [`next_sequence`] on.
pub fn reserve(txn: &Txn, count: u64) -> Result<(), Error> {
    if count > 0 {
        meta::reserve(txn, "record", count)?;
    }
    Ok(())
}

/// Makes the row of a new record; ids must ascend.
pub fn add_new(
    batch: &mut Batch,
    org: OrgNo,
    id: RecordId,
    shape: u32,
    new: &NewRecord<'_>,
    at: i64,
    run: RunId,
) -> Result<(), Error> {
    batch.push(&Key::org(org).u64(id.0), |row| encode_new(row, shape, new, at, run))
}

pub fn put_new(txn: &Txn, batch: &Batch) -> Result<(), Error> {
    txn.put_sorted(RECORDS, batch.rows())
}

/// [`Head`] of a new record, borrowed: the same bytes without a copy of each text.
#[derive(Serialize)]
struct NewHead<'a> {
    status: RecordStatus,
    version: u64,
    shape: u32,
    created: MetaRow,
    field_meta: &'a [(u16, MetaRow)],
    links: &'a [(u32, &'a str)],
    aliases: &'a [(&'a str, &'a str)],
    synced_at: Option<i64>,
}

fn encode_new(
    row: &mut Vec<u8>,
    shape: u32,
    new: &NewRecord<'_>,
    at: i64,
    run: RunId,
) -> Result<(), Error> {
    let head = NewHead {
        status: new.status,
        version: 1,
        shape,
        created: MetaRow { at, by: ByRow::Run(run.0) },
        field_meta: &[],
        links: &[(new.connection.0, new.external_id)],
        aliases: new.aliases,
        synced_at: Some(at),
    };
    rows::append_binary(row, &head)?;
    row.extend_from_slice(new.values);
    Ok(())
}

/// Writes a record as it is, without looking at what was there.
pub(crate) fn put(txn: &Txn, shapes: &Names, org: OrgNo, record: &Record) -> Result<(), Error> {
    let shape = shapes.intern(txn, &record.shape)?;
    txn.put(RECORDS, Key::org(org).u64(record.id.0).bytes(), &encode(shape, record)?)
}

/// Creates a record that did not come from a run.
pub fn create(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    entity: EntityNo,
    fields: Vec<(Arc<str>, Value)>,
    meta: FieldMeta,
) -> Result<Record, Error> {
    let (shape, values): (Vec<Arc<str>>, Vec<Value>) = fields.into_iter().unzip();
    let record = Record {
        id: RecordId::new(entity, meta::next(txn, "record")?),
        entity: store.entity_name(entity)?,
        status: RecordStatus::Active,
        version: 1,
        shape: Shape::from(shape),
        values,
        created: meta,
        field_meta: Vec::new(),
        links: Vec::new(),
        aliases: Vec::new(),
        synced_at: None,
    };
    put(txn, store.shapes(), org, &record)?;
    identity::add_record(txn, org, &record)?;
    counts::add(txn, org, None, entity, 1, 1)?;
    Ok(record)
}

/// Applies a change: the record, its timeline, the identity index, the counters; bases of other links stay.
pub fn apply(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    record: &mut Record,
    change: Change,
) -> Result<HistoryEntry, Error> {
    let before = record.clone();
    let meta = FieldMeta { modified_at: change.at, modified_by: change.by.clone() };
    let mut fields = Vec::with_capacity(change.fields.len());
    for (field, after, strategy) in change.fields {
        let position = position_or_grow(record, &field);
        let slot = record.values.get_mut(position);
        let old = slot.map(|slot| std::mem::replace(slot, after.clone())).unwrap_or_default();
        set_meta(record, position, meta.clone());
        fields.push(FieldHistory { field: field.to_string(), before: old, after, strategy });
    }
    record.status = change.status.unwrap_or(record.status);
    record.version += 1;
    record.links.extend(change.new_link);
    if !change.aliases.is_empty() {
        record.aliases.retain(|(kind, _)| !change.aliases.iter().any(|(new, _)| new == kind));
        record.aliases.extend(change.aliases);
    }
    if matches!(change.by, ModifiedBy::Run(_)) {
        record.synced_at = Some(change.at);
    }
    links::keep_bases(txn, store, org, &before, record, change.own_link)?;
    identity::move_record(txn, org, &before, record)?;
    counts::status_changed(txn, org, &before, record)?;
    put(txn, store.shapes(), org, record)?;
    let entry = HistoryEntry {
        at: change.at,
        by: change.by,
        kind: change.kind,
        version: record.version,
        fields,
        status_before: before.status,
        status_after: record.status,
        cause: change.cause,
    };
    let key = Key::org(org).u64(record.id.0).u64(record.version);
    txn.put(HISTORY, key.bytes(), &rows::to_json(&entry)?)?;
    Ok(entry)
}

/// The timeline of a record, oldest first. Its creation by a run is in the record itself.
pub fn history(read: &dyn Read, org: OrgNo, id: RecordId) -> Result<Vec<HistoryEntry>, Error> {
    rows::collect_json(read, HISTORY, &Key::org(org).u64(id.0))
}

/// Visits a record's timeline from the newest entry to the oldest, below a version where there is one.
pub fn scan_history(
    read: &dyn Read,
    org: OrgNo,
    id: RecordId,
    before: Option<u64>,
    visit: &mut dyn FnMut(HistoryEntry) -> ControlFlow<()>,
) -> Result<(), Error> {
    let prefix = Key::org(org).u64(id.0);
    let upper = prefix.clone().u64(before.unwrap_or(u64::MAX));
    let bounds = (Bound::Included(prefix.bytes()), Bound::Excluded(upper.bytes()));
    read.scan_rows(HISTORY, bounds, true, &mut |_, row| {
        rows::from_json(HISTORY, row).map(&mut *visit)
    })
}

/// One entry of the timeline by the version that it made.
pub fn history_at(
    read: &dyn Read,
    org: OrgNo,
    id: RecordId,
    version: u64,
) -> Result<Option<HistoryEntry>, Error> {
    let key = Key::org(org).u64(id.0).u64(version);
    read.get_row(HISTORY, key.bytes())?.map(|row| rows::from_json(HISTORY, &row)).transpose()
}

fn position_or_grow(record: &mut Record, field: &Arc<str>) -> usize {
    if let Some(position) = record.position(field) {
        return position;
    }
    record.shape = record.shape.iter().chain([field]).cloned().collect();
    record.values.resize(record.shape.len(), Value::Absent);
    record.shape.len() - 1
}

fn set_meta(record: &mut Record, position: usize, meta: FieldMeta) {
    let Ok(at) = u16::try_from(position) else { return };
    record.field_meta.retain(|(other, _)| *other != at);
    record.field_meta.push((at, meta));
}

impl From<MetaRow> for FieldMeta {
    fn from(row: MetaRow) -> FieldMeta {
        let modified_by = match row.by {
            ByRow::Run(run) => ModifiedBy::Run(RunId(run)),
            ByRow::Person(name) => ModifiedBy::Person(name),
            ByRow::Machine(name) => ModifiedBy::Machine(name),
        };
        FieldMeta { modified_at: row.at, modified_by }
    }
}

impl From<&FieldMeta> for MetaRow {
    fn from(meta: &FieldMeta) -> MetaRow {
        let by = match &meta.modified_by {
            ModifiedBy::Run(run) => ByRow::Run(run.0),
            ModifiedBy::Person(name) => ByRow::Person(name.clone()),
            ModifiedBy::Machine(name) => ByRow::Machine(name.clone()),
        };
        MetaRow { at: meta.modified_at, by }
    }
}
