//! Bodies of deliveries at rest: sealed, because they may hold personal data that nobody wants to keep.
//!
//! Each day has a key of its own, stored as a secret. When the last body of a key is deleted the key is destroyed, and
//! with it whatever the pages of the file still hold.

use super::{Error, Inbox};
use crate::clock::{self, Clock};
use crate::model::Place;
use crate::model::ids::HookId;
use crate::model::webhook::Hook;
use crate::secrets;
use crate::store::hooks::{self, NewHook, Seen, StoredHook};
use crate::store::{self, Read, Store, Txn, bodies};
use crate::vault::{BulkKey, Keyring, Secret};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// A delivery as its connector gets it.
pub struct Opened {
    pub id: HookId,
    pub hook: Hook,
    pub body: Secret<Vec<u8>>,
}

pub(super) struct Bodies(RwLock<Known>);

struct Known {
    current: u32,
    keys: BTreeMap<u32, Arc<BulkKey>>,
}

fn row(number: u32) -> String {
    format!("body-key-{number}")
}

fn place(row: &str) -> Place<'_> {
    Place { table: "inbox", organization: None, row, field: "key" }
}

/// What a body is sealed for.
fn bound(hook: &Hook) -> [u8; 12] {
    let mut bound = [0; 12];
    bound[..4].copy_from_slice(&hook.connector.0.to_be_bytes());
    bound[4..].copy_from_slice(&hook.received_at.to_be_bytes());
    bound
}

impl Bodies {
    pub(super) async fn open(
        store: &Store,
        keys: &Arc<Keyring>,
        clock: &Clock,
    ) -> Result<Bodies, Error> {
        let bodies = Bodies(RwLock::new(Known { current: 0, keys: BTreeMap::new() }));
        let read = store.read()?;
        if let Some((oldest, newest)) = bodies::keys(&read)? {
            for number in oldest..=newest {
                bodies.load(&read, keys, number)?;
            }
        }
        drop(read);
        if bodies.current() == 0 {
            bodies.renew(store, keys, clock::to_millis(clock.now())).await?;
        }
        Ok(bodies)
    }

    fn load(&self, read: &dyn Read, keys: &Keyring, number: u32) -> Result<(), Error> {
        if let Some(bytes) = secrets::open(read, keys, place(&row(number)))? {
            self.add(number, BulkKey::from_bytes(bytes.expose())?);
        }
        Ok(())
    }

    fn add(&self, number: u32, key: BulkKey) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.keys.insert(number, Arc::new(key));
        known.current = known.current.max(number);
    }

    fn current(&self) -> u32 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).current
    }

    fn key(&self, number: u32) -> Option<Arc<BulkKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys.get(&number).cloned()
    }

    /// A new key for what comes from now on.
    async fn renew(&self, store: &Store, keys: &Arc<Keyring>, now: i64) -> Result<(), Error> {
        let number = self.current() + 1;
        let (key, bytes) = BulkKey::generate()?;
        let keys = Arc::clone(keys);
        let written = store.write(move |txn: &Txn| -> Result<(), Error> {
            secrets::put(txn, &keys, place(&row(number)), bytes.expose(), now)?;
            Ok(bodies::put_newest(txn, number)?)
        });
        written.await?;
        self.add(number, key);
        Ok(())
    }

    /// Seals the body of a delivery and notes its key.
    pub(super) fn seal(
        &self,
        mut hook: Hook,
        seen: Option<Seen>,
        body: &[u8],
    ) -> Result<NewHook, Error> {
        hook.body_key = self.current();
        let key = self.key(hook.body_key).ok_or(Error::KeyGone)?;
        NewHook::new(hook, seen, |hook, row| Ok(key.seal_onto(row, body, &bound(hook))?))
    }

    pub(super) fn open_hook(&self, stored: StoredHook) -> Result<Opened, Error> {
        let key = self.key(stored.hook.body_key).ok_or(Error::KeyGone)?;
        let body = key.open(stored.body, &bound(&stored.hook))?;
        Ok(Opened { id: stored.id, hook: stored.hook, body })
    }
}

impl Inbox {
    /// Renews the key of bodies once a day, and destroys keys that no body needs.
    pub(super) async fn tend_keys(&self, now: i64) -> Result<(), Error> {
        let (store, keys, known) = (&self.0.store, &self.0.keys, &self.0.bodies);
        let current = known.current();
        let made_at = secrets::updated_at(&store.read()?, place(&row(current)))?;
        if made_at.is_some_and(|at| now - at >= DAY_MILLIS) {
            known.renew(store, keys, now).await?;
        }
        let inner = store.clone();
        let needed =
            tokio::task::spawn_blocking(move || hooks::oldest_body_key(&hooks::view(&inner)?));
        let needed = needed.await.map_err(|error| store::Error::Storage(error.to_string()))??;
        // What is on its way into the file is under the newest key or the one before.
        let needed = needed.unwrap_or(current).min(current);
        let gone: Vec<u32> = {
            let known = known.0.read().unwrap_or_else(PoisonError::into_inner);
            known.keys.range(..needed).map(|(number, _)| *number).collect()
        };
        if gone.is_empty() {
            return Ok(());
        }
        let doomed = gone.clone();
        let destroyed: Result<(), store::Error> = store
            .write(move |txn: &Txn| {
                for number in &doomed {
                    secrets::delete(txn, place(&row(*number)))?;
                }
                bodies::put_oldest(txn, needed)
            })
            .await;
        destroyed?;
        let mut known = known.0.write().unwrap_or_else(PoisonError::into_inner);
        gone.iter().for_each(|number| drop(known.keys.remove(number)));
        Ok(())
    }
}
