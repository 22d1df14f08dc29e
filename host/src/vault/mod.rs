//! Secrets at rest: the keys, the sealing of single values under them, and the hashes of tokens and passwords. Owns the
//! byte layout of a sealed value and the key files. Must not store a value, log anything, or know what a secret is for.
//!
//! A value is sealed under a data key of its own. The data key is wrapped by a key that takes two halves: the master key,
//! which is kept apart from the data, and the shred key, which lies in the data directory and is replaced whenever secrets
//! are destroyed. What the store's file still holds of a deleted secret then opens with nothing that exists.

mod bulk;
mod file;
mod key;
mod keyring;
mod password;
mod seal;
mod secret;
mod source;
mod token;

pub use crate::model::Place;
pub use bulk::BulkKey;
pub use key::KeyId;
pub use keyring::{Half, Keyring, Prepared, SHRED_FILE, new_master_line};
pub use password::{PASSWORD_BYTES_MAX, hash_password, password_fault, verify_password};
pub use secret::Secret;
pub use source::{CREDENTIAL_NAME, KEY_VARIABLE, KeySource, locate};
pub use token::TokenHash;

use std::path::PathBuf;

/// Why a key cannot be used or a sealed value cannot be opened. No message contains key or secret bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "there is no master key at {0}; `syncline init` makes one, and if this directory already holds sealed \
         credentials, put their key file back in place"
    )]
    KeyMissing(PathBuf),
    #[error(
        "there is no shred key at {0}; it belongs to state.redb: restore both from the same backup"
    )]
    ShredMissing(PathBuf),
    #[error(
        "{0} exists already; a master key is never overwritten, because everything sealed with it would be lost"
    )]
    KeyExists(PathBuf),
    #[error("{path} can be read by others (mode {mode:03o}); run `chmod 600 {path}`", path = path.display())]
    KeyExposed { path: PathBuf, mode: u32 },
    #[error(
        "{origin} does not hold a master key: {reason}; expected lines of the form \
         `syncline-key-1.<key id>.<key>`, or `syncline-shred-1...` in a shred key's file"
    )]
    KeyMalformed { origin: String, reason: &'static str },
    #[error("the key file {path} cannot be used: {source}", path = path.display())]
    KeyFile { path: PathBuf, source: std::io::Error },
    #[error(
        "the master key does not belong to this data directory: secrets are sealed under master key {wanted}, and \
         the key given is {have}; put the key file back that holds {wanted}"
    )]
    ForeignMaster { wanted: String, have: String },
    #[error("{0} does not belong to this state.redb: restore both from the same backup")]
    ForeignShred(PathBuf),
    #[error(
        "the value was sealed under wrapping key {0}, which is none of those in use: the keys were changed or mixed up"
    )]
    UnknownKey(KeyId),
    #[error(
        "the sealed value does not open: it was altered, or it belongs to another row or field"
    )]
    Damaged,
    #[error(
        "the sealed value has format version {0}, which this program does not know; use a newer one"
    )]
    UnknownVersion(u8),
    #[error(
        "the master key comes from the service manager or the environment and cannot be written from here: put a new \
         line from `syncline key generate` before the old one, restart, and take the old line away when `syncline key \
         status` says that nothing needs it"
    )]
    NotOurs,
    #[error("the operating system gave no random bytes: {0}")]
    NoRandom(getrandom::Error),
    #[error("the password cannot be hashed: {0}")]
    Password(argon2::Error),
}

/// Bytes from the operating system's generator.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::NoRandom)?;
    Ok(bytes)
}
