//! Deliveries that came in, in a file of their own: acknowledging one never waits behind a long commit. Rows are written
//! once, numbered without gaps, and only the oldest are ever deleted.

mod append;
pub(super) mod index;
pub(super) mod seen;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use append::{Arrivals, append};
pub use seen::{Seen, forget};

use super::file::{Read, Snapshot, Txn, scan_after};
use super::keys::{Key, Parts};
use super::tables::HOOKS;
use super::{Error, Store, rows};
use crate::model::ConnectorId;
use crate::model::ids::HookId;
use crate::model::webhook::{Hook, Verdict};
use seen::Known;
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

/// About what a row takes beside the body.
const ROW_BYTES: usize = 256;
/// Bytes of the sum that a row begins with, behind its format byte.
const SUM_BYTES: usize = 8;

/// What tells the body of a delivery from others.
pub type BodyDigest = [u8; 8];

/// A delivery on its way into the file: its row is made ready before the writer takes it.
pub struct NewHook {
    hook: Hook,
    seen: Option<Seen>,
    row: Vec<u8>,
    /// Where the sealed body begins in the row.
    body_at: usize,
}

impl NewHook {
    /// `seal` appends the sealed body of the delivery to the row.
    pub fn new<E: From<Error>>(
        mut hook: Hook,
        seen: Option<Seen>,
        seal: impl FnOnce(&Hook, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<NewHook, E> {
        let body_bytes = usize::try_from(hook.body_bytes).unwrap_or_default();
        let mut row = Vec::with_capacity(if hook.has_body() { body_bytes } else { 0 } + ROW_BYTES);
        rows::begin_in(&mut row);
        row.extend_from_slice(&[0; SUM_BYTES]);
        rows::append(&mut row, &hook)?;
        let body_at = row.len();
        seal(&hook, &mut row)?;
        // They are in the row. What is left goes to the writer, which has better to do than to free it.
        hook.headers = Vec::new();
        Ok(NewHook { hook, seen, row, body_at })
    }

    pub fn without_body(hook: Hook) -> Result<NewHook, Error> {
        NewHook::new(hook, None, |_, _| Ok(()))
    }

    /// The same as a repetition of one that is known.
    fn as_duplicate(&self, known: Known) -> Result<NewHook, Error> {
        NewHook::without_body(Hook {
            verdict: Verdict::Duplicate,
            duplicate_of: Some(known.id),
            body_differs: self.seen.as_ref().is_some_and(|seen| seen.body != known.body),
            body_key: 0,
            ..self.hook.clone()
        })
    }

    fn sealed_bytes(&self) -> usize {
        self.row.len() - self.body_at
    }

    fn put_sum(&mut self, sum: u64) {
        if let Some(place) = self.row.get_mut(rows::BEGIN_BYTES..rows::BEGIN_BYTES + SUM_BYTES) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// A delivery with its sealed body.
pub struct StoredHook {
    pub id: HookId,
    pub hook: Hook,
    pub body: Vec<u8>,
}

/// What became of a [`NewHook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    New(HookId),
    /// The same was accepted before: the row says so and has no body.
    Duplicate {
        id: HookId,
        of: HookId,
    },
}

/// The newest (or oldest) delivery, and the bytes of all bodies up to and with it.
fn end(read: &dyn Read, newest: bool) -> Result<Option<(HookId, u64)>, Error> {
    let mut found = None;
    read.scan_rows(HOOKS, (Bound::Unbounded, Bound::Unbounded), newest, &mut |key, row| {
        let sum = rows::body(HOOKS, row).ok().and_then(|row| Parts(row).u64());
        found = Parts(key).u64().zip(sum);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found.map(|(id, sum)| (HookId(id), sum)))
}

/// The number of the newest delivery; 0 before the first.
pub fn last(store: &Store) -> Result<HookId, Error> {
    Ok(end(&view(store)?, true)?.map(|(id, _)| id).unwrap_or_default())
}

/// The number of the oldest delivery that is kept.
pub fn first(store: &Store) -> Result<HookId, Error> {
    Ok(end(&view(store)?, false)?.map(|(id, _)| id).unwrap_or_default())
}

/// How often deliveries were written since the store was opened.
pub fn commits(store: &Store) -> u64 {
    store.inbox_file().commit_count()
}

/// A consistent view of the deliveries.
pub fn view(store: &Store) -> Result<Snapshot, Error> {
    store.inbox_file().read()
}

/// The delivery that is known by this and not forgotten yet.
pub fn known(
    store: &Store,
    connector: ConnectorId,
    seen: &Seen,
    now: i64,
) -> Result<Option<HookId>, Error> {
    Ok(seen::find(&view(store)?, connector, seen, now)?.map(|known| known.id))
}

fn decode(id: HookId, row: &[u8]) -> Result<StoredHook, Error> {
    let row = rows::body(HOOKS, row)?;
    let row = row.get(SUM_BYTES..).ok_or_else(|| rows::corrupt(HOOKS, &"it is short"))?;
    let (hook, body) =
        postcard::take_from_bytes(row).map_err(|error| rows::corrupt(HOOKS, &error))?;
    Ok(StoredHook { id, hook, body: body.to_vec() })
}

pub fn get(read: &dyn Read, id: HookId) -> Result<Option<StoredHook>, Error> {
    let row = read.get_row(HOOKS, Key::new().u64(id.0).bytes())?;
    row.map(|row| decode(id, &row)).transpose()
}

/// Visits deliveries behind `after`, oldest first.
pub fn scan(
    read: &dyn Read,
    after: HookId,
    visit: &mut dyn FnMut(StoredHook) -> ControlFlow<()>,
) -> Result<(), Error> {
    let after = Key::new().u64(after.0);
    scan_after(read, HOOKS, &Key::new(), Some(after.bytes()), &mut |key, row| {
        decode(HookId(Parts(key).u64().unwrap_or_default()), row).map(&mut *visit)
    })
}

/// Visits the numbers of deliveries before `before`, newest first: all, or those of a connector.
pub fn scan_newest(
    read: &dyn Read,
    connector: Option<ConnectorId>,
    before: Option<HookId>,
    visit: &mut dyn FnMut(HookId) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let before = before.unwrap_or(HookId(u64::MAX));
    if let Some(connector) = connector {
        return index::scan_newest(read, connector, before, visit);
    }
    let upper = Key::new().u64(before.0);
    let bounds = (Bound::Unbounded, Bound::Excluded(upper.bytes()));
    read.scan_rows(HOOKS, bounds, true, &mut |key, _| match Parts(key).u64() {
        Some(id) => visit(HookId(id)),
        None => Ok(ControlFlow::Break(())),
    })
}

/// What may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Received at this time or later, in milliseconds since the epoch.
    pub since: i64,
    pub count_max: u64,
    pub bytes_max: u64,
    /// Nothing behind this one is deleted: it was not processed yet, or waits to be processed again.
    pub processed: HookId,
}

/// Deletes the oldest deliveries that are too old or too many, at most `limit`; answers their numbers. The newest always
/// stays: numbers are counted on from it.
pub async fn prune(store: &Store, keep: Keep, limit: usize) -> Result<Vec<HookId>, Error> {
    store
        .inbox_file()
        .write(move |txn: &Txn| {
            let surplus = surplus(txn, keep, limit)?;
            let connectors: BTreeSet<ConnectorId> =
                surplus.iter().map(|(_, connector)| *connector).collect();
            let gone: Vec<HookId> = surplus.into_iter().map(|(id, _)| id).collect();
            for id in &gone {
                txn.delete(HOOKS, Key::new().u64(id.0).bytes())?;
            }
            for connector in connectors {
                index::prune(txn, connector, gone.last().copied().unwrap_or_default())?;
            }
            Ok(gone)
        })
        .await
}

fn surplus(txn: &Txn, keep: Keep, limit: usize) -> Result<Vec<(HookId, ConnectorId)>, Error> {
    let Some((newest, total)) = end(txn, true)? else { return Ok(Vec::new()) };
    let mut left = txn.count(HOOKS)?;
    let mut found = Vec::new();
    let everything = (Bound::Unbounded, Bound::Unbounded);
    txn.scan_rows(HOOKS, everything, false, &mut |key, row| {
        let id = HookId(Parts(key).u64().unwrap_or_default());
        if id >= newest || id > keep.processed || found.len() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        let sum = rows::body(HOOKS, row).ok().and_then(|row| Parts(row).u64()).unwrap_or(total);
        let stored = decode(id, row)?;
        // Including itself: what is there from this row on.
        let bytes = total.saturating_sub(sum).saturating_add(stored.body.len() as u64);
        let stays = stored.hook.received_at >= keep.since
            && left <= keep.count_max
            && bytes <= keep.bytes_max;
        if stays {
            return Ok(ControlFlow::Break(()));
        }
        left -= 1;
        found.push((id, stored.hook.connector));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// The number of the oldest key under which a body is sealed; none where there is no body.
pub fn oldest_body_key(read: &dyn Read) -> Result<Option<u32>, Error> {
    let mut found = None;
    scan(read, HookId(0), &mut |stored| {
        found = Some(stored.hook.body_key).filter(|key| *key != 0);
        if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}
