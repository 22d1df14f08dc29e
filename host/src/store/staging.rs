//! Scratch of runs in progress: pages of the plan in the making, and how far the listing was read. A crash repeats what
//! is not here; deleting the file costs a run its progress and nothing else.
//!
//! Only one worker stages a run: whoever claimed its job later locks an earlier one out.

use super::file::{Read as _, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::{STAGED_CURSORS, STAGED_HOLDERS, STAGED_PAGES};
use super::{Error, Store, rows};
use crate::crash_point::{Bug, planted};
use crate::model::RunId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::ControlFlow;

/// How much of a page one row holds: a row takes a power of two in the file, and this fills one. A page in one row would
/// be written with up to as much again behind it.
const PART_BYTES: usize = (64 << 10) - 64;

/// How many parts a page of a first sync has, or somewhat more.
const PARTS_EXPECTED: usize = 8;

/// A worker's claim on the scratch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub run: RunId,
    /// The fencing number of its job.
    pub fence: u64,
}

impl Holder {
    fn key(self) -> Key {
        Key::new().u64(self.run.0)
    }
}

/// Makes `holder` the one who stages the run; what is staged is kept, or forgotten.
pub fn take(store: &Store, holder: Holder, keep: bool) -> Result<(), Error> {
    store.staging_file().write_blocking(move |txn: &Txn| {
        check(txn, holder, |held| held <= holder.fence)?;
        if !keep {
            forget(txn, &holder.key())?;
        }
        txn.put(STAGED_HOLDERS, holder.key().bytes(), &holder.fence.to_be_bytes())
    })
}

/// Queues pages and the position behind them for one commit, in the order of the calls; the answer comes when they are
/// durable.
pub fn append<P: Serialize>(
    store: &Store,
    holder: Holder,
    pages: Vec<(u32, Vec<u8>)>,
    position: &P,
) -> Result<impl Future<Output = Result<(), Error>> + Send + use<P>, Error> {
    let position = rows::to_json(position)?;
    Ok(store.staging_file().queue(move |txn: &Txn| {
        check(txn, holder, |held| held == holder.fence)?;
        for (page, bytes) in &pages {
            // A page that is replaced may have become shorter.
            txn.delete_prefix(STAGED_PAGES, &holder.key().u32(*page))?;
            for (part, bytes) in (0..).zip(bytes.chunks(PART_BYTES)) {
                txn.put(STAGED_PAGES, holder.key().u32(*page).u32(part).bytes(), bytes)?;
            }
        }
        txn.put(STAGED_CURSORS, holder.key().bytes(), &position)
    }))
}

fn check(txn: &Txn, holder: Holder, may: impl Fn(u64) -> bool) -> Result<(), Error> {
    let row = txn.get_row(STAGED_HOLDERS, holder.key().bytes())?;
    let held = row.and_then(|row| Parts(&row).u64()).unwrap_or(0);
    let may = may(held) || planted(Bug::IgnoreFence);
    if may { Ok(()) } else { Err(Error::Overtaken) }
}

fn forget(txn: &Txn, run: &Key) -> Result<(), Error> {
    txn.delete_prefix(STAGED_PAGES, run)?;
    txn.delete(STAGED_CURSORS, run.bytes())
}

pub fn page(store: &Store, run: RunId, page: u32) -> Result<Option<Vec<u8>>, Error> {
    let mut found: Option<Vec<u8>> = None;
    let prefix = Key::new().u64(run.0).u32(page);
    scan_prefix(&store.staging_file().read()?, STAGED_PAGES, &prefix, &mut |_, part| {
        // One part that is full is seldom alone.
        let room = if part.len() == PART_BYTES { PARTS_EXPECTED * PART_BYTES } else { part.len() };
        found.get_or_insert_with(|| Vec::with_capacity(room)).extend_from_slice(part);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

pub fn position<P: DeserializeOwned>(store: &Store, run: RunId) -> Result<Option<P>, Error> {
    store
        .staging_file()
        .read()?
        .get_row(STAGED_CURSORS, Key::new().u64(run.0).bytes())?
        .map(|row| rows::from_json(STAGED_CURSORS, &row))
        .transpose()
}

/// Forgets a run, unless somebody else stages it by now.
pub fn clear(store: &Store, holder: Holder) -> Result<(), Error> {
    let cleared = store.staging_file().write_blocking(move |txn: &Txn| {
        check(txn, holder, |held| held <= holder.fence)?;
        forget(txn, &holder.key())?;
        txn.delete(STAGED_HOLDERS, holder.key().bytes())
    });
    match cleared {
        Err(Error::Overtaken) => Ok(()),
        other => other,
    }
}

/// All runs of which something is staged, each with who stages it.
pub fn holders(store: &Store) -> Result<Vec<Holder>, Error> {
    let (mut found, read) = (Vec::new(), store.staging_file().read()?);
    scan_prefix(&read, STAGED_HOLDERS, &Key::new(), &mut |key, row| {
        let holder = Parts(key).u64().zip(Parts(row).u64());
        found.extend(holder.map(|(run, fence)| Holder { run: RunId(run), fence }));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    #[test]
    fn pages_longer_than_a_row_come_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Options::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let holder = |run: u64| Holder { run: RunId(run), fence: 1 };
        let stage = |run: u64, number: u32, bytes: &[u8]| {
            let pages = vec![(number, bytes.to_vec())];
            runtime.block_on(append(&store, holder(run), pages, &number).unwrap()).unwrap();
        };
        take(&store, holder(1), false).unwrap();
        take(&store, holder(2), false).unwrap();
        let long: Vec<u8> = (0..=u8::MAX).cycle().take(3 * PART_BYTES + 7).collect();
        let exact = vec![1; PART_BYTES];
        stage(1, 0, &long);
        stage(1, 1, &exact);
        stage(2, 0, b"another run");
        assert_eq!(page(&store, RunId(1), 0).unwrap(), Some(long));
        assert_eq!(page(&store, RunId(1), 1).unwrap(), Some(exact));
        assert_eq!(page(&store, RunId(1), 2).unwrap(), None);
        // A page that was planned again may be shorter.
        stage(1, 0, b"short");
        assert_eq!(page(&store, RunId(1), 0).unwrap(), Some(b"short".to_vec()));
        assert_eq!(position::<u32>(&store, RunId(1)).unwrap(), Some(0));
        clear(&store, holder(1)).unwrap();
        assert_eq!(page(&store, RunId(1), 1).unwrap(), None);
        assert_eq!(page(&store, RunId(2), 0).unwrap(), Some(b"another run".to_vec()));
    }

    #[test]
    fn a_worker_that_lost_its_run_stages_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Options::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (old, new) = (1, 2);
        let holder = |fence: u64| Holder { run: RunId(7), fence };
        let stage = |fence: u64, bytes: &[u8]| {
            let pages = vec![(0, bytes.to_vec())];
            runtime.block_on(append(&store, holder(fence), pages, &0).unwrap())
        };
        assert!(matches!(stage(old, b"x"), Err(Error::Overtaken)), "it has not taken it yet");
        take(&store, holder(old), false).unwrap();
        stage(old, b"old").unwrap();
        take(&store, holder(new), true).unwrap();
        assert!(matches!(stage(old, b"late"), Err(Error::Overtaken)));
        assert!(matches!(take(&store, holder(old), false), Err(Error::Overtaken)));
        clear(&store, holder(old)).unwrap();
        assert_eq!(page(&store, RunId(7), 0).unwrap(), Some(b"old".to_vec()), "kept for the new");
        stage(new, b"new").unwrap();
        assert_eq!(holders(&store).unwrap(), [holder(new)]);
        clear(&store, holder(new)).unwrap();
        assert_eq!(page(&store, RunId(7), 0).unwrap(), None);
        assert!(holders(&store).unwrap().is_empty());
    }
}
