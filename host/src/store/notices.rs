//! The outbox of events: written in the transaction of what happened, emptied by the dispatcher.
//!
//! Bounded: over the maximum the oldest events become counts, by kind and organization.

use super::file::{Read, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::{EVENTS, EVENTS_COLLAPSED, Table};
use super::{Error, meta, rows};
use crate::model::notice::{Event, Raised};
use std::ops::ControlFlow;

/// Events that may wait in full; the dispatcher empties the outbox within moments while it runs.
pub const EVENTS_MAX: u64 = 10_000;

/// Appends an event.
pub fn raise(txn: &Txn, event: Event) -> Result<(), Error> {
    let number = meta::next(txn, "event")?;
    let row = Raised { event, times: 1 };
    txn.put(EVENTS, Key::new().u64(number).bytes(), &rows::to_json(&row)?)?;
    match first(txn)? {
        Some((oldest, row)) if number - oldest >= EVENTS_MAX => collapse(txn, oldest, row),
        _ => Ok(()),
    }
}

fn first(read: &dyn Read) -> Result<Option<(u64, Raised)>, Error> {
    Ok(scan(read, EVENTS, 1)?.into_iter().next().map(|(key, row)| (number_of(&key), row)))
}

/// Adds an event to the count of its kind and organization.
fn collapse(txn: &Txn, number: u64, oldest: Raised) -> Result<(), Error> {
    let organization = oldest.event.organization.as_deref().unwrap_or_default();
    let key = Key::new().text(oldest.event.kind.as_str()).text(organization);
    let known = txn.get_row(EVENTS_COLLAPSED, key.bytes())?;
    let known = known.map(|row| rows::from_json::<Raised>(EVENTS_COLLAPSED, &row)).transpose()?;
    let times = known.map_or(0, |known| known.times).saturating_add(oldest.times);
    let row = rows::to_json(&Raised { event: oldest.event, times })?;
    txn.put(EVENTS_COLLAPSED, key.bytes(), &row)?;
    txn.delete(EVENTS, Key::new().u64(number).bytes())
}

/// Whether anything waits.
pub fn any_raised(read: &dyn Read) -> Result<bool, Error> {
    Ok(!scan(read, EVENTS, 1)?.is_empty() || !scan(read, EVENTS_COLLAPSED, 1)?.is_empty())
}

/// Takes up to `limit` events out of the outbox, counts first, then the oldest.
pub fn take_raised(txn: &Txn, limit: usize) -> Result<Vec<Raised>, Error> {
    let mut taken = Vec::new();
    for table in [EVENTS_COLLAPSED, EVENTS] {
        for (key, row) in scan(txn, table, limit.saturating_sub(taken.len()))? {
            txn.delete(table, &key)?;
            taken.push(row);
        }
    }
    Ok(taken)
}

fn scan(read: &dyn Read, table: Table, limit: usize) -> Result<Vec<(Vec<u8>, Raised)>, Error> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    scan_prefix(read, table, &Key::new(), &mut |key, row| {
        found.push((key.to_vec(), rows::from_json(table, row)?));
        Ok(if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

fn number_of(key: &[u8]) -> u64 {
    Parts(key).u64().unwrap_or_default()
}
