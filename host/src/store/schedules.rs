//! Schedules, where each stands with its connections, and the list of its fires. What a fire means is decided above.

use super::file::{Read, Txn, scan_after, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::{SCHEDULE_FIRES, SCHEDULE_TARGETS, SCHEDULES, SCHEDULES_BY_CONNECTOR, Table};
use super::{Error, meta, rows};
use crate::model::ids::ScheduleId;
use crate::model::schedule::{Fire, Schedule, Target};
use crate::model::{ConnectionId, ConnectorId};
use serde::de::DeserializeOwned;
use std::ops::{Bound, ControlFlow};

pub fn next_id(txn: &Txn) -> Result<ScheduleId, Error> {
    let number = meta::next(txn, "schedule")?;
    u32::try_from(number).map(ScheduleId).map_err(|error| Error::Storage(error.to_string()))
}

pub fn get(read: &dyn Read, id: ScheduleId) -> Result<Option<Schedule>, Error> {
    one(read, SCHEDULES, &Key::new().u32(id.0))
}

fn one<T: DeserializeOwned>(read: &dyn Read, table: Table, key: &Key) -> Result<Option<T>, Error> {
    read.get_row(table, key.bytes())?.map(|row| rows::from_json(table, &row)).transpose()
}

/// Writes a schedule. Its connector never changes.
pub fn put(txn: &Txn, schedule: &Schedule) -> Result<(), Error> {
    txn.put(SCHEDULES_BY_CONNECTOR, by_connector(schedule).bytes(), &[])?;
    txn.put(SCHEDULES, Key::new().u32(schedule.id.0).bytes(), &rows::to_json(schedule)?)
}

/// Deletes a schedule with all that is known of its fires. Their runs stay in the history.
pub fn delete(txn: &Txn, schedule: &Schedule) -> Result<(), Error> {
    let prefix = Key::new().u32(schedule.id.0);
    txn.delete_prefix(SCHEDULE_TARGETS, &prefix)?;
    txn.delete_prefix(SCHEDULE_FIRES, &prefix)?;
    txn.delete(SCHEDULES_BY_CONNECTOR, by_connector(schedule).bytes())?;
    txn.delete(SCHEDULES, prefix.bytes())
}

fn by_connector(schedule: &Schedule) -> Key {
    Key::new().u32(schedule.connector.0).u32(schedule.id.0)
}

pub fn count(txn: &Txn) -> Result<u64, Error> {
    txn.count(SCHEDULES)
}

/// Visits all schedules behind one, in the order of their ids.
pub fn scan(
    read: &dyn Read,
    after: Option<ScheduleId>,
    visit: &mut dyn FnMut(Schedule) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let after = after.map(|id| Key::new().u32(id.0));
    let after = after.as_ref().map(Key::bytes);
    scan_after(read, SCHEDULES, &Key::new(), after, &mut |_, row| {
        visit(rows::from_json(SCHEDULES, row)?)
    })
}

pub fn all(read: &dyn Read) -> Result<Vec<Schedule>, Error> {
    rows::collect_json(read, SCHEDULES, &Key::new())
}

pub fn of_connector(read: &dyn Read, connector: ConnectorId) -> Result<Vec<Schedule>, Error> {
    let prefix = Key::new().u32(connector.0);
    let mut ids = Vec::new();
    scan_prefix(read, SCHEDULES_BY_CONNECTOR, &prefix, &mut |key, _| {
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).u32();
        ids.extend(id.map(ScheduleId));
        Ok(ControlFlow::Continue(()))
    })?;
    let found = ids.into_iter().map(|id| get(read, id)).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

pub fn target(
    read: &dyn Read,
    schedule: ScheduleId,
    connection: ConnectionId,
) -> Result<Option<Target>, Error> {
    one(read, SCHEDULE_TARGETS, &Key::new().u32(schedule.0).u32(connection.0))
}

pub fn put_target(
    txn: &Txn,
    schedule: ScheduleId,
    connection: ConnectionId,
    target: &Target,
) -> Result<(), Error> {
    let key = Key::new().u32(schedule.0).u32(connection.0);
    txn.put(SCHEDULE_TARGETS, key.bytes(), &rows::to_json(target)?)
}

/// Appends a line to the list of fires and answers its number; over `keep_max` lines the oldest go.
pub fn append_fire(
    txn: &Txn,
    schedule: ScheduleId,
    fire: Fire,
    keep_max: u64,
) -> Result<u64, Error> {
    let mut last = 0;
    scan_fires(txn, schedule, None, &mut |fire| {
        last = fire.number;
        ControlFlow::Break(())
    })?;
    let fire = Fire { number: last + 1, ..fire };
    put_fire(txn, schedule, &fire)?;
    let (mut old, prefix) = (Vec::new(), Key::new().u32(schedule.0));
    let end = prefix.clone().u64(last.saturating_add(2).saturating_sub(keep_max.max(1)));
    let bounds = (Bound::Included(prefix.bytes()), Bound::Excluded(end.bytes()));
    txn.scan_rows(SCHEDULE_FIRES, bounds, false, &mut |key, _| {
        old.push(key.to_vec());
        let full = old.len() >= PRUNED_AT_ONCE;
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    old.iter().try_for_each(|key| txn.delete(SCHEDULE_FIRES, key))?;
    Ok(fire.number)
}

/// How many lines one write takes out of the list at most: more than it adds.
const PRUNED_AT_ONCE: usize = 20;

pub fn put_fire(txn: &Txn, schedule: ScheduleId, fire: &Fire) -> Result<(), Error> {
    let key = Key::new().u32(schedule.0).u64(fire.number);
    txn.put(SCHEDULE_FIRES, key.bytes(), &rows::to_json(fire)?)
}

pub fn fire(read: &dyn Read, schedule: ScheduleId, number: u64) -> Result<Option<Fire>, Error> {
    one(read, SCHEDULE_FIRES, &Key::new().u32(schedule.0).u64(number))
}

/// Visits the fires of a schedule below a number, newest first.
pub fn scan_fires(
    read: &dyn Read,
    schedule: ScheduleId,
    before: Option<u64>,
    visit: &mut dyn FnMut(Fire) -> ControlFlow<()>,
) -> Result<(), Error> {
    let prefix = Key::new().u32(schedule.0);
    let end = prefix.clone().u64(before.unwrap_or(u64::MAX));
    let bounds = (Bound::Included(prefix.bytes()), Bound::Excluded(end.bytes()));
    read.scan_rows(SCHEDULE_FIRES, bounds, true, &mut |_, row| {
        rows::from_json(SCHEDULE_FIRES, row).map(&mut *visit)
    })
}
