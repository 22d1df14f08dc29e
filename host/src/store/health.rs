//! Health of connectors and connections: how they fare, the error log, the probes that are due.
//!
//! Every list is bounded where it is written. What the numbers mean is decided elsewhere.

use super::file::{Read, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::{HEALTH, HEALTH_LOG, PROBES, Table};
use super::{Error, meta, rows};
use crate::model::health::{Health, Line};
use crate::model::{ConnectionId, ConnectorId};
use std::ops::{Bound, ControlFlow};

/// Lines of one error log.
pub const LINES_MAX: usize = 100;

/// A connector as a whole (`None`), or one of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose(pub ConnectorId, pub Option<ConnectionId>);

impl Whose {
    fn key(self) -> Key {
        Key::new().u32(self.0.0).u32(self.1.unwrap_or_default().0)
    }
}

pub fn get(read: &dyn Read, whose: Whose) -> Result<Health, Error> {
    let row = read.get_row(HEALTH, whose.key().bytes())?;
    row.map_or_else(|| Ok(Health::default()), |row| rows::from_binary(HEALTH, &row))
}

/// Changes a row, and keeps the list of due probes in step.
pub fn change<T>(
    txn: &Txn,
    whose: Whose,
    change: impl FnOnce(&mut Health) -> Result<T, Error>,
) -> Result<T, Error> {
    let due = |health: &Health| health.tripped.as_ref().map(|tripped| tripped.probe_at);
    let mut health = get(txn, whose)?;
    let before = due(&health);
    let done = change(&mut health)?;
    let after = due(&health);
    if before != after {
        if let Some(at) = before {
            txn.delete(PROBES, probe_key(at, whose.0).bytes())?;
        }
        if let Some(at) = after {
            txn.put(PROBES, probe_key(at, whose.0).bytes(), &[])?;
        }
    }
    txn.put(HEALTH, whose.key().bytes(), &rows::to_binary(&health)?)?;
    Ok(done)
}

/// The connections of a connector that have failed runs behind them since their last good one.
pub fn failing(read: &dyn Read, connector: ConnectorId) -> Result<Vec<ConnectionId>, Error> {
    let prefix = Key::new().u32(connector.0);
    let mut found = Vec::new();
    scan_prefix(read, HEALTH, &prefix, &mut |key, row| {
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).u32().filter(|id| *id != 0);
        let health: Health = rows::from_binary(HEALTH, row)?;
        found.extend(id.filter(|_| health.consecutive_failures > 0).map(ConnectionId));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
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
        Ok(ControlFlow::Continue(()))
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
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok(next)
}

/// Appends a line; the oldest beyond [`LINES_MAX`] go.
pub fn append(txn: &Txn, whose: Whose, line: &Line) -> Result<(), Error> {
    let number = meta::next(txn, "health-line")?;
    txn.put(HEALTH_LOG, whose.key().u64(number).bytes(), &rows::to_json(line)?)?;
    let mut keys = Vec::new();
    scan_prefix(txn, HEALTH_LOG, &whose.key(), &mut |key, _| {
        keys.push(key.to_vec());
        Ok(ControlFlow::Continue(()))
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
    let mut found = Vec::new();
    read.scan_rows(table, (Bound::Included(prefix.bytes()), upper), true, &mut |_, row| {
        found.push(rows::from_json(table, row)?);
        Ok(if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}
