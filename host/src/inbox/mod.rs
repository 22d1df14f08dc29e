//! Deliveries that come in: believed or not, durable before they are answered, and the log of them.
//!
//! Owns the order of the checks and their limits. Must not read what a delivery says, and must not know the queue:
//! `trigger` makes jobs of what was accepted. Forged traffic costs neither disk nor memory, and is answered alike
//! whatever is wrong.

mod acks;
mod bodies;
mod rate;
mod receive;
mod refusals;
mod target;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(crate) mod tests;
mod upkeep;

pub use bodies::Opened;
pub use receive::{Address, Answer, Arrival};
pub use refusals::Counts;
pub use target::Reception;

use crate::clock::Clock;
use crate::model::ConnectorId;
use crate::model::ids::HookId;
use crate::plugin::Registry;
use crate::secrets;
use crate::signature::Keys;
use crate::store::{self, Store, hook_outcomes, hooks};
use crate::vault::Keyring;
use acks::Acks;
use bodies::Bodies;
use rate::Rate;
use refusals::Refusals;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use target::Targets;
use tokio::sync::Notify;

/// Connectors, and addresses without a valid signature, that are counted at once.
const RATE_KEYS_MAX: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the keys of stored deliveries cannot be used: {0}")]
    Secrets(#[from] secrets::Error),
    #[error("the delivery's body does not open: {0}")]
    Vault(#[from] crate::vault::Error),
    #[error("the key of the delivery's body is gone")]
    KeyGone,
}

/// Settings, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Deliveries with a valid signature, of one connector in a minute.
    pub verified_per_minute_max: u64,
    /// Deliveries without one, and such as are too old or came before, from one address in a minute.
    pub unverified_per_minute_max: u64,
    /// Refused and repeated deliveries that get a row, of one connector and verdict in an hour; the rest is counted.
    pub refused_rows_per_hour_max: u64,
    /// How long signed ids are remembered.
    pub dedup_millis: i64,
    /// How long what is signed alike counts as the same delivery, where a scheme signs neither id nor time.
    pub dedup_bytes_millis: i64,
    pub dedup_keys_max: u64,
    pub keep_millis: i64,
    pub keep_count_max: u64,
    pub keep_bytes_max: u64,
}

/// Whether the disk has no room for more: a write that finds none ends the process.
pub type IsFull = Arc<dyn Fn() -> bool + Send + Sync>;

/// Takes deliveries in. Cheap to clone.
#[derive(Clone)]
pub struct Inbox(Arc<Inner>);

struct Inner {
    store: Store,
    keys: Arc<Keyring>,
    clock: Clock,
    options: Options,
    targets: Targets,
    /// Checked where there is no receiver, so that it takes as long.
    nobody: Keys,
    verified: Mutex<Rate<ConnectorId>>,
    unverified: Mutex<Rate<IpAddr>>,
    refusals: Mutex<Refusals>,
    acks: Mutex<Acks>,
    bodies: Bodies,
    is_full: IsFull,
    /// The disk had room after that many commits.
    roomy_at: AtomicU64,
    /// No delivery gets a number up to this one.
    floor: AtomicU64,
    bell: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    /// Opens the inbox of a data directory; makes the first key of its bodies.
    pub async fn open(
        store: Store,
        keys: Arc<Keyring>,
        clock: Clock,
        plugins: Arc<Registry>,
        is_full: IsFull,
        options: Options,
    ) -> Result<Inbox, Error> {
        let bodies = Bodies::open(&store, &keys, &clock).await?;
        // An inbox from before the state, as after a restore, must not give numbers away again that were processed.
        let floor = hook_outcomes::processed(&store.read()?)?;
        let mut filler = [0; 32];
        getrandom::fill(&mut filler).map_err(|error| store::Error::Storage(error.to_string()))?;
        let inner = Inner {
            targets: Targets::new(store.clone(), Arc::clone(&keys), plugins, filler),
            nobody: Keys::nobody(&filler),
            verified: Mutex::new(Rate::new(options.verified_per_minute_max, RATE_KEYS_MAX)),
            unverified: Mutex::new(Rate::new(options.unverified_per_minute_max, RATE_KEYS_MAX)),
            refusals: Mutex::new(Refusals::new(options.refused_rows_per_hour_max)),
            acks: Mutex::default(),
            bodies,
            is_full,
            roomy_at: AtomicU64::new(u64::MAX),
            floor: AtomicU64::new(floor.0),
            bell: Notify::new(),
            store,
            keys,
            clock,
            options,
        };
        Ok(Inbox(Arc::new(inner)))
    }

    /// Rung behind every delivery that was accepted, and by whoever wants one processed again.
    pub fn bell(&self) -> &Notify {
        &self.0.bell
    }

    /// When a delivery was answered; told once.
    pub fn take_acknowledged(&self, id: HookId) -> Option<i64> {
        lock(&self.0.acks).take(id)
    }

    /// The delivery with its body, opened for its connector.
    pub fn open_body(&self, stored: hooks::StoredHook) -> Result<Opened, Error> {
        self.0.bodies.open_hook(stored)
    }

    /// How a connector receives deliveries, as it stands now.
    pub fn reception(&self, connector: ConnectorId) -> Result<Reception, Error> {
        self.0.targets.reception(connector)
    }

    /// What was refused of a connector, or came again, since the server started.
    pub fn counts(&self, connector: ConnectorId) -> Counts {
        lock(&self.0.refusals).counts(connector)
    }

    /// Whether there is no room for a delivery. Those that share a commit share a look at the disk.
    fn is_full(&self) -> bool {
        let commits = hooks::commits(&self.0.store);
        if self.0.roomy_at.load(Ordering::Relaxed) == commits {
            return false;
        }
        let is_full = (self.0.is_full)();
        if !is_full {
            self.0.roomy_at.store(commits, Ordering::Relaxed);
        }
        is_full
    }

    fn floor(&self) -> HookId {
        HookId(self.0.floor.load(Ordering::Relaxed))
    }

    fn now(&self) -> i64 {
        crate::clock::to_millis(self.0.clock.now())
    }
}
