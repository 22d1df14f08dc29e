//! The change of a key, while everything goes on.
//!
//! Each step is durable before the next one begins, so that a crash at any moment leaves keys for every row:
//!
//! 1. the new key is written before the old one into its file;
//! 2. its check value is stored beside the old one's;
//! 3. it seals what is new;
//! 4. in bounded transactions, what is under other keys comes under it;
//! 5. when nothing is left, in one transaction with that look, its check value stands alone;
//! 6. the old key leaves its file, which is overwritten as it was.
//!
//! A start finds two keys in a file, or rows under an older key, and goes on at step 2.

use super::Error;
use crate::clock::{self, Clock};
use crate::crash_point;
use crate::model::secret::KeyCheck;
use crate::store::{Store, Txn, meta, secrets};
use crate::vault::{Half, Keyring};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Sealed values that come under the new key in one transaction.
const BATCH: usize = 128;

/// What `key status` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The master key in use.
    pub master: String,
    /// Milliseconds since the epoch.
    pub created_at: Option<i64>,
    pub source: &'static str,
    pub sealed: u64,
    pub under_current: u64,
    pub rotating: bool,
    /// Older master keys that were handed in and that nothing needs any more.
    pub spare: usize,
}

pub fn status(store: &Store, keys: &Keyring) -> Result<Status, Error> {
    let read = store.read()?;
    let checks = meta::key_checks(&read)?.unwrap_or_default();
    let (sealed, under_current) = secrets::counts(&read, *keys.current_id()?.as_bytes())?;
    let master = keys.master_id().map(|id| id.to_string()).unwrap_or_default();
    let rotating = checks.len() > 1
        || sealed != under_current
        || (keys.can_write(Half::Master) && keys.count(Half::Master) > 1);
    let spare = keys.count(Half::Master).saturating_sub(1);
    Ok(Status {
        created_at: checks.iter().find(|check| check.master == master).map(|c| c.created_at),
        source: keys.source().as_str(),
        sealed,
        under_current,
        rotating,
        spare: if rotating { 0 } else { spare },
        master,
    })
}

/// At start: brings the files in order, and admits the first key of each file where it is new. Blocks.
pub fn start(store: &Store, keys: &Keyring, now: i64) -> Result<(), Error> {
    keys.mend()?;
    let checks = meta::key_checks(&store.read()?)?.unwrap_or_default();
    let check = keys.check(now)?;
    if checks.iter().any(|known| known.master == check.master && known.shred == check.shred) {
        return Ok(());
    }
    store.write_blocking(move |txn| admit(txn, check.clone()))
}

/// Whether a change is under way, or one that a crash interrupted.
fn is_changing(store: &Store, keys: &Keyring) -> Result<bool, Error> {
    let read = store.read()?;
    let several = |half| keys.can_write(half) && keys.count(half) > 1;
    Ok(several(Half::Master)
        || several(Half::Shred)
        || meta::key_checks(&read)?.unwrap_or_default().len() > 1)
}

/// Steps 1 to 3 for a new master key; [`finish`] does the rest.
pub async fn rotate(store: &Store, keys: &Arc<Keyring>, clock: &Clock) -> Result<(), Error> {
    let turn = keys.turn().try_lock_owned().map_err(|_| Error::Busy)?;
    if is_changing(store, keys)? {
        return Err(Error::Busy);
    }
    let (store, keys, own) = (store.clone(), Arc::clone(keys), clock.clone());
    let change = async move { begin(&store, &keys, Half::Master, &own).await };
    to_its_end(turn, clock, change).await
}

/// A new shred key, from its making to the destruction of the old one: what was deleted before can then be opened by
/// nobody. Does nothing where nothing was deleted.
pub async fn shred(store: &Store, keys: &Arc<Keyring>, clock: &Clock) -> Result<(), Error> {
    let turn = keys.turn().lock_owned().await;
    if !secrets::wants_shred(&store.read()?)? {
        return Ok(());
    }
    let (store, keys, own) = (store.clone(), Arc::clone(keys), clock.clone());
    let change = async move {
        begin(&store, &keys, Half::Shred, &own).await?;
        complete(&store, &keys, &own).await
    };
    to_its_end(turn, clock, change).await
}

/// Steps 4 to 6 of whatever change is under way. Nothing where none is.
pub async fn finish(store: &Store, keys: &Arc<Keyring>, clock: &Clock) -> Result<(), Error> {
    let turn = keys.turn().lock_owned().await;
    if !is_changing(store, keys)? {
        return Ok(());
    }
    let (store, keys, own) = (store.clone(), Arc::clone(keys), clock.clone());
    let change = async move { complete(&store, &keys, &own).await };
    to_its_end(turn, clock, change).await
}

/// Steps that belong together, in a task that has the turn: who waits for them may go away at any moment, and must
/// neither cut them off nor give the turn to another while a file is being written.
async fn to_its_end(
    turn: OwnedMutexGuard<()>,
    clock: &Clock,
    change: impl Future<Output = Result<(), Error>> + Send + 'static,
) -> Result<(), Error> {
    let task = tokio::spawn(clock.task(async move {
        let changed = change.await;
        drop(turn);
        changed
    }));
    task.await.map_err(|error| crate::store::Error::Storage(error.to_string()))?
}

async fn complete(store: &Store, keys: &Arc<Keyring>, clock: &Clock) -> Result<(), Error> {
    while !settle(store, keys).await? {
        crash_point::reached("keys:rewrapped");
    }
    crash_point::reached("keys:settled");
    let (inner, now) = (Arc::clone(keys), clock::to_millis(clock.now()));
    let retired = tokio::task::spawn_blocking(move || inner.retire(now)).await;
    Ok(retired.map_err(|error| crate::store::Error::Storage(error.to_string()))??)
}

async fn begin(store: &Store, keys: &Arc<Keyring>, half: Half, clock: &Clock) -> Result<(), Error> {
    let now = clock::to_millis(clock.now());
    let inner = Arc::clone(keys);
    // Key files are written with fsync.
    let prepared = tokio::task::spawn_blocking(move || inner.prepare(half)).await;
    let prepared = prepared.map_err(|error| crate::store::Error::Storage(error.to_string()))??;
    crash_point::reached("keys:written");
    let kept = match half {
        Half::Master => None,
        Half::Shred => meta::key_checks(&store.read()?)?
            .and_then(|checks| checks.first().map(|check| check.created_at)),
    };
    let check = keys.check_of(&prepared, kept.unwrap_or(now))?;
    let admitted = store.write(move |txn| {
        if half == Half::Shred {
            secrets::shred_begun(txn)?;
        }
        admit(txn, check.clone())
    });
    admitted.await?;
    crash_point::reached("keys:admitted");
    keys.adopt(prepared);
    crash_point::reached("keys:adopted");
    Ok(())
}

/// The newest check value stands first.
fn admit(txn: &Txn, check: KeyCheck) -> Result<(), Error> {
    let mut checks = vec![check];
    checks.extend(meta::key_checks(txn)?.unwrap_or_default());
    Ok(meta::put_key_checks(txn, &checks)?)
}

/// One transaction of step 4, or step 5. True when nothing is left to do.
async fn settle(store: &Store, keys: &Arc<Keyring>) -> Result<bool, Error> {
    let keys = Arc::clone(keys);
    store
        .write(move |txn| -> Result<bool, Error> {
            let current = *keys.current_id()?.as_bytes();
            let moved = secrets::rewrap(txn, current, BATCH, |place, sealed| {
                Ok::<_, Error>(keys.rewrap(place, sealed)?)
            })?;
            if moved > 0 {
                return Ok(false);
            }
            let mut checks = meta::key_checks(txn)?.unwrap_or_default();
            if checks.len() > 1 {
                let current = keys.check(0)?;
                checks
                    .retain(|check| check.master == current.master && check.shred == current.shred);
                checks.truncate(1);
                meta::put_key_checks(txn, &checks)?;
            }
            Ok(true)
        })
        .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
