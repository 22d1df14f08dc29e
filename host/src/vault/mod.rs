//! Secrets at rest: the master key, the sealing of single values under it, and the hashes of tokens. Owns the byte
//! layout of a sealed value. Must not store anything, log anything, or know what a secret is for.

mod key;
mod seal;
mod secret;
mod token;

pub use key::{CREDENTIAL_NAME, KEY_VARIABLE, KeyId, KeySource, MasterKey, locate};
pub use seal::Place;
pub use secret::Secret;
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
        "{0} exists already; a master key is never overwritten, because everything sealed with it would be lost"
    )]
    KeyExists(PathBuf),
    #[error("{path} can be read by others (mode {mode:03o}); run `chmod 600 {path}`", path = path.display())]
    KeyExposed { path: PathBuf, mode: u32 },
    #[error(
        "{origin} does not hold a master key: {reason}; expected one line of the form \
         `syncline-key-1.<key id>.<key>`"
    )]
    KeyMalformed { origin: String, reason: &'static str },
    #[error("the key file {path} cannot be used: {source}", path = path.display())]
    KeyFile { path: PathBuf, source: std::io::Error },
    #[error(
        "the credentials were sealed with master key {sealed_with}, but the key in use is {in_use}; put the key \
         file {sealed_with} back in place"
    )]
    WrongKey { sealed_with: KeyId, in_use: KeyId },
    #[error(
        "the sealed value does not open: it was altered, or it belongs to another row or field"
    )]
    Damaged,
    #[error(
        "the sealed value has format version {0}, which this program does not know; use a newer one"
    )]
    UnknownVersion(u8),
    #[error("the operating system gave no random bytes: {0}")]
    NoRandom(getrandom::Error),
}

/// Bytes from the operating system's generator.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::NoRandom)?;
    Ok(bytes)
}
