//! Deliveries that came in, in a file of their own: acknowledging one never waits behind a long commit. Rows are written
//! once, numbered without gaps, and only the oldest are ever deleted.

use super::file::{Read, Snapshot, Txn, scan_after};
use super::keys::{Key, Parts};
use super::tables::{HOOKS, HOOKS_BY_CONNECTOR, HOOKS_SEEN, HOOKS_SEEN_BY_TIME};
use super::{Error, Store, rows};
use crate::crash_point::{Bug, planted};
use crate::model::ConnectorId;
use crate::model::ids::HookId;
use crate::model::webhook::Hook;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// Bytes of the sum that a row begins with, behind its format byte.
const SUM_BYTES: usize = 8;

/// What tells a delivery from others.
pub type Digest = [u8; 16];
/// What tells its body from others.
pub type BodyDigest = [u8; 8];

/// What a delivery is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub digest: Digest,
    /// Compared where the digest does not cover the body; constant where it does.
    pub body: BodyDigest,
    /// Milliseconds since the epoch: then it is forgotten.
    pub until: i64,
}

/// A delivery on its way into the file.
pub struct NewHook {
    pub hook: Hook,
    /// The sealed body.
    pub body: Vec<u8>,
    pub seen: Option<Seen>,
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

/// Stores a delivery together with what it is known by, and answers when both are durable. `floor`: a number that no
/// delivery may have any more.
pub async fn append(store: &Store, floor: HookId, new: Arc<NewHook>) -> Result<Appended, Error> {
    if planted(Bug::HookBeforeCommit) {
        return append_and_tell_early(store, floor, new).await;
    }
    if planted(Bug::DedupApart) {
        return append_in_two_parts(store, floor, new).await;
    }
    store.inbox_file().write(move |txn: &Txn| put(txn, floor, &new)).await
}

/// The planted bug: answers from inside the transaction.
async fn append_and_tell_early(
    store: &Store,
    floor: HookId,
    new: Arc<NewHook>,
) -> Result<Appended, Error> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    drop(store.inbox_file().queue(move |txn: &Txn| {
        let appended = put(txn, floor, &new)?;
        tell.take().map(|tell| tell.send(appended));
        Ok(())
    }));
    told.await.map_err(|_| Error::Closed)
}

/// The planted bug: what a delivery is known by comes in a transaction of its own.
async fn append_in_two_parts(
    store: &Store,
    floor: HookId,
    new: Arc<NewHook>,
) -> Result<Appended, Error> {
    let unknown = Arc::clone(&new);
    let first = move |txn: &Txn| {
        let NewHook { hook, body, seen } = &*unknown;
        if let Some(known) = seen
            && let Some((of, _)) = self::seen(txn, hook.connector, &known.digest, hook.received_at)?
        {
            return Ok((Appended::Duplicate { id: of, of }, None));
        }
        let id = insert(txn, floor, hook, body)?;
        Ok((Appended::New(id), Some(id)))
    };
    let (appended, id) = store.inbox_file().write::<_, Error, _>(first).await?;
    let second = move |txn: &Txn| match (&new.seen, id) {
        (Some(seen), Some(id)) => remember(txn, new.hook.connector, seen, id),
        _ => Ok(()),
    };
    store.inbox_file().write::<_, Error, _>(second).await?;
    Ok(appended)
}

fn put(txn: &Txn, floor: HookId, new: &NewHook) -> Result<Appended, Error> {
    let now = new.hook.received_at;
    let connector = new.hook.connector;
    if let Some(known) = &new.seen
        && let Some((of, body)) = seen(txn, connector, &known.digest, now)?
    {
        let hook = Hook {
            verdict: crate::model::webhook::Verdict::Duplicate,
            duplicate_of: Some(of),
            body_differs: body != known.body,
            headers: Vec::new(),
            body_key: 0,
            ..new.hook.clone()
        };
        let id = insert(txn, floor, &hook, &[])?;
        return Ok(Appended::Duplicate { id, of });
    }
    let id = insert(txn, floor, &new.hook, &new.body)?;
    if let Some(seen) = &new.seen {
        remember(txn, connector, seen, id)?;
    }
    Ok(Appended::New(id))
}

/// Notes what a delivery is known by.
fn remember(
    txn: &Txn,
    connector: ConnectorId,
    Seen { digest, body, until }: &Seen,
    id: HookId,
) -> Result<(), Error> {
    let key = Key::new().u32(connector.0).raw(digest);
    if let Some(old) = txn.get_row(HOOKS_SEEN, key.bytes())? {
        let old = Parts(rows::body(HOOKS_SEEN, &old)?).u64().unwrap_or_default();
        txn.delete(HOOKS_SEEN_BY_TIME, by_time(old, connector, digest).bytes())?;
    }
    let until = u64::try_from(*until).unwrap_or_default();
    let mut row = rows::begin();
    row.extend_from_slice(&until.to_be_bytes());
    row.extend_from_slice(&id.0.to_be_bytes());
    row.extend_from_slice(body);
    txn.put(HOOKS_SEEN, key.bytes(), &row)?;
    txn.put(HOOKS_SEEN_BY_TIME, by_time(until, connector, digest).bytes(), &[])
}

fn by_time(until: u64, connector: ConnectorId, digest: &[u8]) -> Key {
    Key::new().u64(until).u32(connector.0).raw(digest)
}

/// The delivery that is known by this digest and not forgotten yet, and the digest of its body.
fn seen(
    read: &dyn Read,
    connector: ConnectorId,
    digest: &Digest,
    now: i64,
) -> Result<Option<(HookId, BodyDigest)>, Error> {
    let key = Key::new().u32(connector.0).raw(digest);
    let Some(row) = read.get_row(HOOKS_SEEN, key.bytes())? else { return Ok(None) };
    let mut parts = Parts(rows::body(HOOKS_SEEN, &row)?);
    let (until, id) = (parts.u64().unwrap_or_default(), parts.u64().unwrap_or_default());
    let body = parts.0.first_chunk().copied().unwrap_or_default();
    Ok((i64::try_from(until).unwrap_or(i64::MAX) > now).then_some((HookId(id), body)))
}

fn insert(txn: &Txn, floor: HookId, hook: &Hook, body: &[u8]) -> Result<HookId, Error> {
    let (last, sum) = end(txn, true)?.unwrap_or_default();
    let id = HookId(last.0.max(floor.0) + 1);
    let sum = sum.saturating_add(body.len() as u64);
    let mut row = Vec::with_capacity(body.len() + 160);
    row.extend(rows::begin());
    row.extend_from_slice(&sum.to_be_bytes());
    rows::append(&mut row, hook)?;
    row.extend_from_slice(body);
    txn.put(HOOKS, Key::new().u64(id.0).bytes(), &row)?;
    let by_connector = Key::new().u32(hook.connector.0).u64(id.0);
    txn.put(HOOKS_BY_CONNECTOR, by_connector.bytes(), &[])?;
    Ok(id)
}

/// The newest (or oldest) delivery, and the bytes of all bodies up to and with it.
fn end(read: &dyn Read, newest: bool) -> Result<Option<(HookId, u64)>, Error> {
    let mut found = None;
    read.scan_rows(HOOKS, (Bound::Unbounded, Bound::Unbounded), newest, &mut |key, row| {
        let sum = rows::body(HOOKS, row).ok().and_then(|row| Parts(row).u64());
        found = Parts(key).u64().zip(sum);
        ControlFlow::Break(())
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

/// A consistent view of the deliveries.
pub fn view(store: &Store) -> Result<Snapshot, Error> {
    store.inbox_file().read()
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
    let (mut failed, after) = (None, Key::new().u64(after.0));
    scan_after(read, HOOKS, &Key::new(), Some(after.bytes()), &mut |key, row| match decode(
        HookId(Parts(key).u64().unwrap_or_default()),
        row,
    ) {
        Ok(found) => visit(found),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Visits the numbers of deliveries before `before`, newest first: all, or those of a connector.
pub fn scan_newest(
    read: &dyn Read,
    connector: Option<ConnectorId>,
    before: Option<HookId>,
    visit: &mut dyn FnMut(HookId) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (table, prefix) = match connector {
        None => (HOOKS, Key::new()),
        Some(connector) => (HOOKS_BY_CONNECTOR, Key::new().u32(connector.0)),
    };
    let upper = prefix.clone().u64(before.map_or(u64::MAX, |before| before.0));
    let bounds = (Bound::Included(prefix.bytes()), Bound::Excluded(upper.bytes()));
    read.scan_rows(table, bounds, true, &mut |key, _| match Parts(
        key.get(prefix.len()..).unwrap_or_default(),
    )
    .u64()
    {
        Some(id) => visit(HookId(id)),
        None => ControlFlow::Break(()),
    })
}

/// What may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Received at this time or later, in milliseconds since the epoch.
    pub since: i64,
    pub count_max: u64,
    pub bytes_max: u64,
    /// Nothing behind this one is deleted: it was not processed yet.
    pub processed: HookId,
}

/// Deletes the oldest deliveries that are too old or too many, at most `limit`; answers their numbers. The newest always
/// stays: numbers are counted on from it.
pub async fn prune(store: &Store, keep: Keep, limit: usize) -> Result<Vec<HookId>, Error> {
    store
        .inbox_file()
        .write(move |txn: &Txn| {
            let mut gone = Vec::new();
            for (id, connector) in surplus(txn, keep, limit)? {
                txn.delete(HOOKS, Key::new().u64(id.0).bytes())?;
                let by_connector = Key::new().u32(connector.0).u64(id.0);
                txn.delete(HOOKS_BY_CONNECTOR, by_connector.bytes())?;
                gone.push(id);
            }
            Ok(gone)
        })
        .await
}

fn surplus(txn: &Txn, keep: Keep, limit: usize) -> Result<Vec<(HookId, ConnectorId)>, Error> {
    let Some((newest, total)) = end(txn, true)? else { return Ok(Vec::new()) };
    let mut left = txn.count(HOOKS)?;
    let (mut found, mut failed) = (Vec::new(), None);
    let everything = (Bound::Unbounded, Bound::Unbounded);
    txn.scan_rows(HOOKS, everything, false, &mut |key, row| {
        let id = HookId(Parts(key).u64().unwrap_or_default());
        if id >= newest || id > keep.processed || found.len() >= limit {
            return ControlFlow::Break(());
        }
        let sum = rows::body(HOOKS, row).ok().and_then(|row| Parts(row).u64()).unwrap_or(total);
        match decode(id, row) {
            Ok(stored) => {
                // Including itself: what is there from this row on.
                let bytes = total.saturating_sub(sum).saturating_add(stored.body.len() as u64);
                let stays = stored.hook.received_at >= keep.since
                    && left <= keep.count_max
                    && bytes <= keep.bytes_max;
                if stays {
                    return ControlFlow::Break(());
                }
                left -= 1;
                found.push((id, stored.hook.connector));
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(found), Err)
}

/// Forgets what deliveries were known by: what has run out, and beyond `count_max` what runs out first. At most `limit`;
/// answers how many.
pub async fn forget(store: &Store, now: i64, count_max: u64, limit: usize) -> Result<usize, Error> {
    store
        .inbox_file()
        .write(move |txn: &Txn| {
            super::hook_outcomes::forget_in(
                txn,
                (HOOKS_SEEN, HOOKS_SEEN_BY_TIME),
                now,
                count_max,
                limit,
            )
        })
        .await
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
