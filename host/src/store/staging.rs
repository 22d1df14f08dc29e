//! Scratch of runs in progress: pages of the plan in the making, and how far the listing was read. A crash repeats what
//! is not here; deleting the file costs a run its progress and nothing else.

use super::file::{Read, Txn};
use super::keys::Key;
use super::tables::{STAGED_CURSORS, STAGED_PAGES};
use super::{Error, Store, rows};
use crate::model::RunId;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Queues pages and the position behind them for one commit, in the order of the calls; the answer comes when they are
/// durable.
pub fn append<P: Serialize>(
    store: &Store,
    run: RunId,
    pages: Vec<(u32, Vec<u8>)>,
    position: &P,
) -> Result<impl Future<Output = Result<(), Error>> + Send + use<P>, Error> {
    let position = rows::to_json(position)?;
    Ok(store.staging_file().queue(move |txn: &Txn| {
        for (page, bytes) in &pages {
            txn.put(STAGED_PAGES, Key::new().u64(run.0).u32(*page).bytes(), bytes)?;
        }
        txn.put(STAGED_CURSORS, Key::new().u64(run.0).bytes(), &position)
    }))
}

pub fn page(store: &Store, run: RunId, page: u32) -> Result<Option<Vec<u8>>, Error> {
    store.staging_file().read()?.get_row(STAGED_PAGES, Key::new().u64(run.0).u32(page).bytes())
}

pub fn position<P: DeserializeOwned>(store: &Store, run: RunId) -> Result<Option<P>, Error> {
    store
        .staging_file()
        .read()?
        .get_row(STAGED_CURSORS, Key::new().u64(run.0).bytes())?
        .map(|row| rows::from_json(STAGED_CURSORS, &row))
        .transpose()
}

/// Forgets a run.
pub fn clear(store: &Store, run: RunId) -> Result<(), Error> {
    store.staging_file().write_blocking(move |txn: &Txn| {
        txn.delete_prefix(STAGED_PAGES, &Key::new().u64(run.0))?;
        txn.delete(STAGED_CURSORS, Key::new().u64(run.0).bytes())
    })
}
