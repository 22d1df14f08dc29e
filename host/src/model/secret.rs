//! Where a sealed value lives, and what is kept of it.

use serde::{Deserialize, Serialize};

/// A sealed value opens at its place and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub table: &'a str,
    /// `None` for what belongs to the whole installation, such as a connector's own credentials.
    pub organization: Option<&'a str>,
    pub row: &'a str,
    pub field: &'a str,
}

/// A sealed value as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Of the wrapping key.
    pub key_id: [u8; 8],
    /// Milliseconds since the epoch: when the value was set. A change of the key leaves it as it is.
    pub updated_at: i64,
    pub bytes: Vec<u8>,
}

/// The sealed constant by which a wrong key is recognized, for one wrapping key in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCheck {
    /// Id of the master key, as text.
    pub master: String,
    /// Id of the shred key, as text.
    pub shred: String,
    /// Milliseconds since the epoch: when the master key came into use.
    pub created_at: i64,
    pub sealed: Vec<u8>,
}
