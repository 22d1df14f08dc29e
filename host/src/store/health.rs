//! Health of connectors and connections: the state, the runs of each day, the error log, the probes that are due.
//!
//! Every list is bounded where it is written. What the numbers mean is decided elsewhere.

use super::file::{Read, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::{HEALTH, HEALTH_DAYS, HEALTH_LOG, PROBES, Table};
use super::{Error, meta, rows};
use crate::model::health::{ConnectorHealth, Day, Line};
use crate::model::{ConnectionId, ConnectorId};
use std::ops::{Bound, ControlFlow};

/// Days that are kept.
pub const DAYS_MAX: u32 = 30;
/// Lines of one error log.
pub const LINES_MAX: usize = 100;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A connector as a whole (`None`), or one of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose(pub ConnectorId, pub Option<ConnectionId>);

impl Whose {
    fn key(self) -> Key {
        Key::new().u32(self.0.0).u32(self.1.unwrap_or_default().0)
    }
}

/// The day of an instant, in UTC, since the epoch.
pub fn day_of(at: i64) -> u32 {
    u32::try_from(at.div_euclid(DAY_MILLIS)).unwrap_or(0)
}

pub fn get(read: &dyn Read, connector: ConnectorId) -> Result<ConnectorHealth, Error> {
    let row = read.get_row(HEALTH, Key::new().u32(connector.0).bytes())?;
    row.map_or_else(|| Ok(ConnectorHealth::default()), |row| rows::from_json(HEALTH, &row))
}

/// Keeps the list of due probes in step.
pub fn put(txn: &Txn, connector: ConnectorId, health: &ConnectorHealth) -> Result<(), Error> {
    let due = |health: &ConnectorHealth| health.tripped.as_ref().map(|tripped| tripped.probe_at);
    let before = due(&get(txn, connector)?);
    if before != due(health) {
        if let Some(at) = before {
            txn.delete(PROBES, probe_key(at, connector).bytes())?;
        }
        if let Some(at) = due(health) {
            txn.put(PROBES, probe_key(at, connector).bytes(), &[])?;
        }
    }
    txn.put(HEALTH, Key::new().u32(connector.0).bytes(), &rows::to_json(health)?)
}

fn probe_key(at: i64, connector: ConnectorId) -> Key {
    Key::new().u64(u64::try_from(at).unwrap_or(0)).u32(connector.0)
}

/// Connectors whose probe is due at `now`, the longest waiting first.
pub fn due(read: &dyn Read, now: i64) -> Result<Vec<ConnectorId>, Error> {
    let upper = Key::new().u64(u64::try_from(now).unwrap_or(0).saturating_add(1));
    let bounds = (Bound::Unbounded, Bound::Excluded(upper.bytes()));
    let mut found = Vec::new();
    read.scan_rows(PROBES, bounds, false, &mut |key, _| {
        let mut parts = Parts(key);
        found.extend(parts.u64().and_then(|_| parts.u32()).map(ConnectorId));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// When the first probe behind `now` is due.
pub fn next_due(read: &dyn Read, now: i64) -> Result<Option<i64>, Error> {
    let lower = Key::new().u64(u64::try_from(now).unwrap_or(0).saturating_add(1));
    let mut next = None;
    read.scan_rows(
        PROBES,
        (Bound::Included(lower.bytes()), Bound::Unbounded),
        false,
        &mut |key, _| {
            next = Parts(key).u64().and_then(|at| i64::try_from(at).ok());
            ControlFlow::Break(())
        },
    )?;
    Ok(next)
}

/// Changes one day's row; days before the window go.
pub fn change_day(
    txn: &Txn,
    whose: Whose,
    day: u32,
    change: impl FnOnce(&mut Day),
) -> Result<(), Error> {
    let key = whose.key().u32(day);
    let row = txn.get_row(HEALTH_DAYS, key.bytes())?;
    if row.is_none() {
        let old = days_before(txn, whose, (day + 1).saturating_sub(DAYS_MAX))?;
        old.iter().try_for_each(|key| txn.delete(HEALTH_DAYS, key))?;
    }
    let mut value: Day = match row {
        Some(row) => rows::from_binary(HEALTH_DAYS, &row)?,
        None => Day::default(),
    };
    change(&mut value);
    txn.put(HEALTH_DAYS, key.bytes(), &rows::to_binary(&value)?)
}

fn days_before(read: &dyn Read, whose: Whose, day: u32) -> Result<Vec<Vec<u8>>, Error> {
    let (lower, upper) = (whose.key(), whose.key().u32(day));
    let bounds = (Bound::Included(lower.bytes()), Bound::Excluded(upper.bytes()));
    let mut found = Vec::new();
    read.scan_rows(HEALTH_DAYS, bounds, false, &mut |key, _| {
        found.push(key.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The sum of the window that ends with `today`.
pub fn window(read: &dyn Read, whose: Whose, today: u32) -> Result<Day, Error> {
    let first = whose.key().u32((today + 1).saturating_sub(DAYS_MAX));
    let end = whose.key().u32(today.saturating_add(1));
    let bounds = (Bound::Included(first.bytes()), Bound::Excluded(end.bytes()));
    let (mut sum, mut failed) = (Day::default(), None);
    read.scan_rows(HEALTH_DAYS, bounds, false, &mut |_, row| match rows::from_binary::<Day>(
        HEALTH_DAYS,
        row,
    ) {
        Ok(day) => {
            sum.good += day.good;
            sum.bad += day.bad;
            sum.down_millis += day.down_millis;
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(sum), Err)
}

/// Appends a line; the oldest beyond [`LINES_MAX`] go.
pub fn append(txn: &Txn, whose: Whose, line: &Line) -> Result<(), Error> {
    let number = meta::next(txn, "health-line")?;
    txn.put(HEALTH_LOG, whose.key().u64(number).bytes(), &rows::to_json(line)?)?;
    let mut keys = Vec::new();
    scan_prefix(txn, HEALTH_LOG, &whose.key(), &mut |key, _| {
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    })?;
    let over = keys.len().saturating_sub(LINES_MAX);
    keys.iter().take(over).try_for_each(|key| txn.delete(HEALTH_LOG, key))
}

/// The newest lines, newest first.
pub fn lines(read: &dyn Read, whose: Whose, limit: usize) -> Result<Vec<Line>, Error> {
    let prefix = whose.key();
    let end = prefix.prefix_end();
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let table: Table = HEALTH_LOG;
    let (mut found, mut failed) = (Vec::new(), None);
    read.scan_rows(table, (Bound::Included(prefix.bytes()), upper), true, &mut |_, row| {
        match rows::from_json(table, row) {
            Ok(line) => found.push(line),
            Err(error) => failed = Some(error),
        }
        let full = failed.is_some() || found.len() >= limit;
        if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(found), Err)
}
