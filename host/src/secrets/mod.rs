//! Secrets in the store: sealed where they are written, opened where they are used, moved from key to key.
//!
//! Whatever the house keeps secret is stored through here, so that a change of the keys reaches all of it. Must not know
//! what a secret is for.

mod rotation;

pub use rotation::{Status, finish, rotate, shred, start, status};

use crate::store::{self, Read, Txn, secrets};
use crate::vault::{self, Keyring, Place, Secret};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Vault(#[from] vault::Error),
    #[error("the keys are being changed already; `syncline key status` shows how far it is")]
    Busy,
}

/// Seals and stores. A value that was there before is destroyed with the next change of the shred key.
pub fn put(
    txn: &Txn,
    keys: &Keyring,
    place: Place<'_>,
    plaintext: &[u8],
    now: i64,
) -> Result<(), Error> {
    Ok(secrets::put(txn, place, &keys.seal(place, plaintext, now)?)?)
}

pub fn open(
    read: &dyn Read,
    keys: &Keyring,
    place: Place<'_>,
) -> Result<Option<Secret<Vec<u8>>>, Error> {
    match secrets::get(read, place)? {
        Some(sealed) => Ok(Some(keys.open(place, &sealed)?)),
        None => Ok(None),
    }
}

/// When the value was set, in milliseconds since the epoch; none where there is none.
pub fn updated_at(read: &dyn Read, place: Place<'_>) -> Result<Option<i64>, store::Error> {
    Ok(secrets::get(read, place)?.map(|sealed| sealed.updated_at))
}

/// Whether there was one. What the store's file still holds of it opens until the next change of the shred key: see
/// [`shred`].
pub fn delete(txn: &Txn, place: Place<'_>) -> Result<bool, store::Error> {
    secrets::delete(txn, place)
}
