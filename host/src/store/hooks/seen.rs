//! What deliveries are known by, until it is forgotten.

use super::BodyDigest;
use crate::model::ConnectorId;
use crate::model::ids::HookId;
use crate::store::file::{Read, Txn};
use crate::store::keys::{Key, Parts};
use crate::store::tables::{HOOKS_SEEN, HOOKS_SEEN_BY_TIME};
use crate::store::{Error, Store, rows};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// To which the time is rounded up under which rows are found to be forgotten.
const TIME_MILLIS: u64 = 1_000;

/// Of a row: when it is forgotten, the delivery's number, and the digest of its body.
const ROW_BYTES: usize = rows::BEGIN_BYTES + 8 + 8 + size_of::<BodyDigest>();

/// What a delivery is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What tells it from others of its connector; at most 255 bytes, with the connector before them.
    pub key: Vec<u8>,
    /// Compared where the key does not cover the body; constant where it does.
    pub body: BodyDigest,
    /// Milliseconds since the epoch: then it is forgotten.
    pub until: i64,
}

/// The delivery that is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: HookId,
    pub(super) body: BodyDigest,
    until: u64,
}

impl Known {
    fn decode(row: &[u8]) -> Result<Known, Error> {
        let mut parts = Parts(rows::body(HOOKS_SEEN, row)?);
        let (until, id) = (parts.u64().unwrap_or_default(), parts.u64().unwrap_or_default());
        let body = parts.0.first_chunk().copied().unwrap_or_default();
        Ok(Known { id: HookId(id), body, until })
    }

    fn holds(&self, now: i64) -> bool {
        i64::try_from(self.until).unwrap_or(i64::MAX) > now
    }

    /// The time under which it is found.
    fn time(&self) -> u64 {
        self.until.div_ceil(TIME_MILLIS).saturating_mul(TIME_MILLIS)
    }
}

fn key(connector: ConnectorId, seen: &Seen) -> Key {
    Key::new().u32(connector.0).raw(&seen.key)
}

/// The delivery that is known by this and not forgotten yet.
pub(super) fn find(
    read: &dyn Read,
    connector: ConnectorId,
    seen: &Seen,
    now: i64,
) -> Result<Option<Known>, Error> {
    let row = read.get_row(HOOKS_SEEN, key(connector, seen).bytes())?;
    let known = row.map(|row| Known::decode(&row)).transpose()?;
    Ok(known.filter(|known| known.holds(now)))
}

/// What one commit remembers: its keys by the time when they are forgotten, so that it takes one row to find them all.
#[derive(Default)]
pub(super) struct Remembered(BTreeMap<u64, (HookId, Vec<u8>)>);

impl Remembered {
    /// Notes what a delivery is known by. One that is known by the same already, and not forgotten, stays and is the
    /// answer.
    pub(super) fn add(
        &mut self,
        txn: &Txn,
        connector: ConnectorId,
        seen: &Seen,
        (id, now): (HookId, i64),
    ) -> Result<Option<Known>, Error> {
        let until = u64::try_from(seen.until).unwrap_or_default();
        let known = Known { id, body: seen.body, until };
        let mut row = Vec::with_capacity(ROW_BYTES);
        rows::begin_in(&mut row);
        row.extend_from_slice(&until.to_be_bytes());
        row.extend_from_slice(&id.0.to_be_bytes());
        row.extend_from_slice(&seen.body);
        let key = key(connector, seen);
        // Almost nothing is there already: to look first would be a second way through the table.
        let old = |old: Option<&[u8]>| old.map(<[u8]>::to_vec);
        if let Some(old) = txn.replace(HOOKS_SEEN, key.bytes(), &row, old)? {
            let known = Known::decode(&old)?;
            if known.holds(now) {
                txn.put(HOOKS_SEEN, key.bytes(), &old)?;
                return Ok(Some(known));
            }
        }
        let (_, keys) = self.0.entry(known.time()).or_insert_with(|| (id, rows::begin()));
        keys.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
        keys.extend_from_slice(key.bytes());
        Ok(None)
    }

    pub(super) fn put(self, txn: &Txn) -> Result<(), Error> {
        for (time, (first, keys)) in self.0 {
            txn.put(HOOKS_SEEN_BY_TIME, Key::new().u64(time).u64(first.0).bytes(), &keys)?;
        }
        Ok(())
    }
}

/// The keys that a row of the index holds.
pub(in crate::store) fn keys(row: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let mut rest = rows::body(HOOKS_SEEN_BY_TIME, row)?;
    let mut keys = Vec::new();
    while let Some((length, behind)) = rest.split_first() {
        let split = behind.split_at_checked(usize::from(*length));
        let (key, behind) =
            split.ok_or_else(|| rows::corrupt(HOOKS_SEEN_BY_TIME, &"it is short"))?;
        keys.push(key);
        rest = behind;
    }
    Ok(keys)
}

/// Forgets what deliveries were known by: what has run out, and beyond `count_max` what runs out first. About `limit` at
/// once; answers whether there may be more.
pub async fn forget(store: &Store, now: i64, count_max: u64, limit: usize) -> Result<bool, Error> {
    let now = u64::try_from(now).unwrap_or_default();
    let forget = move |txn: &Txn| {
        let mut gone = 0;
        while gone < limit {
            let Some((index, keys)) = oldest(txn)? else { return Ok(false) };
            let time = Parts(&index).u64().unwrap_or_default();
            if time > now && txn.count(HOOKS_SEEN)? <= count_max {
                return Ok(false);
            }
            for key in self::keys(&keys)? {
                let row = txn.get_row(HOOKS_SEEN, key)?;
                let known = row.map(|row| Known::decode(&row)).transpose()?;
                // What was remembered anew has another row of the index.
                if known.is_some_and(|known| known.time() == time) {
                    txn.delete(HOOKS_SEEN, key)?;
                }
                gone += 1;
            }
            txn.delete(HOOKS_SEEN_BY_TIME, &index)?;
        }
        Ok(true)
    };
    store.inbox_file().write(forget).await
}

/// A row of the index: its key and what it holds.
type IndexRow = (Vec<u8>, Vec<u8>);

/// The one that is due first.
fn oldest(txn: &Txn) -> Result<Option<IndexRow>, Error> {
    let mut found = None;
    let everything = (Bound::Unbounded, Bound::Unbounded);
    txn.scan_rows(HOOKS_SEEN_BY_TIME, everything, false, &mut |key, row| {
        found = Some((key.to_vec(), row.to_vec()));
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}
