//! The schema version, the check values of the keys, the head of the audit log, and counters.

use super::file::{Read, Txn};
use super::keys::Key;
use super::tables::META;
use super::{Error, rows};
use crate::model::secret::KeyCheck;

/// The schema that this program writes.
pub const SCHEMA: u64 = 1;

/// Sets the schema of a new file, and refuses a file of a newer program.
pub(crate) fn migrate(txn: &Txn) -> Result<(), Error> {
    if check_schema(txn)?.is_none() {
        put_number(txn, "schema", SCHEMA)?;
    }
    super::jobs::ensure_lanes(txn)?;
    super::lookup::ensure(txn)
}

/// Whether jobs that wait for a retry stand in lanes of their own.
pub(super) fn retry_lanes(read: &dyn Read) -> Result<bool, Error> {
    Ok(number(read, "retry-lanes")?.is_some())
}

pub(super) fn put_retry_lanes(txn: &Txn) -> Result<(), Error> {
    put_number(txn, "retry-lanes", 1)
}

/// Whether the indexes of connectors and connections were filled.
pub(super) fn directory_indexed(read: &dyn Read) -> Result<bool, Error> {
    Ok(number(read, "directory-indexed")?.is_some())
}

pub(super) fn put_directory_indexed(txn: &Txn) -> Result<(), Error> {
    put_number(txn, "directory-indexed", 1)
}

/// The file's schema, which must be one that this program knows; none in a new file.
pub(crate) fn check_schema(read: &dyn Read) -> Result<Option<u64>, Error> {
    match number(read, "schema")? {
        Some(found) if found > SCHEMA => Err(Error::NewerSchema { found, known: SCHEMA }),
        found => Ok(found),
    }
}

pub(crate) fn number(read: &dyn Read, word: &str) -> Result<Option<u64>, Error> {
    read.get_row(META, Key::new().text(word).bytes())?
        .map(|bytes| rows::from_binary(META, &bytes))
        .transpose()
}

pub(crate) fn put_number(txn: &Txn, word: &str, number: u64) -> Result<(), Error> {
    txn.put(META, Key::new().text(word).bytes(), &rows::to_binary(&number)?)
}

/// Whether people were told that the disk is low (1) or full (2); 0 where all is well.
pub fn disk_told(read: &dyn Read) -> Result<u64, Error> {
    Ok(number(read, "disk-told")?.unwrap_or(0))
}

pub fn put_disk_told(txn: &Txn, told: u64) -> Result<(), Error> {
    put_number(txn, "disk-told", told)
}

/// The next number of a sequence, from 1.
pub(crate) fn next(txn: &Txn, sequence: &str) -> Result<u64, Error> {
    reserve(txn, sequence, 1)
}

/// Takes `count` numbers of a sequence and answers the first.
pub(crate) fn reserve(txn: &Txn, sequence: &str, count: u64) -> Result<u64, Error> {
    let word = format!("next:{sequence}");
    let first = number(txn, &word)?.unwrap_or(1);
    put_number(txn, &word, first + count)?;
    Ok(first)
}

/// The last number that a sequence gave away; 0 before the first.
pub(crate) fn last(read: &dyn Read, sequence: &str) -> Result<u64, Error> {
    Ok(number(read, &format!("next:{sequence}"))?.unwrap_or(1) - 1)
}

/// Adds to a counter that starts at 0 and never falls below.
pub(crate) fn add(txn: &Txn, word: &str, change: i64) -> Result<(), Error> {
    let before = number(txn, word)?.unwrap_or(0);
    put_number(txn, word, before.saturating_add_signed(change))
}

/// The sealed constants by which wrong keys are recognized: one for every key that a row may be sealed under.
pub fn key_checks(read: &dyn Read) -> Result<Option<Vec<KeyCheck>>, Error> {
    read.get_row(META, Key::new().text("key-checks").bytes())?
        .map(|bytes| rows::from_binary(META, &bytes))
        .transpose()
}

pub fn put_key_checks(txn: &Txn, checks: &[KeyCheck]) -> Result<(), Error> {
    txn.put(META, Key::new().text("key-checks").bytes(), &rows::to_binary(&checks)?)
}

/// Number and hash of the newest entry of the audit log; zeros before the first.
pub(crate) fn audit_head(read: &dyn Read) -> Result<(u64, [u8; 32]), Error> {
    let row = read.get_row(META, Key::new().text("audit-head").bytes())?;
    let head = row.map(|row| rows::from_binary(META, &row)).transpose()?;
    Ok(head.unwrap_or_default())
}

pub(crate) fn put_audit_head(txn: &Txn, seq: u64, hash: &[u8; 32]) -> Result<(), Error> {
    let head = rows::to_binary(&(seq, hash))?;
    txn.put(META, Key::new().text("audit-head").bytes(), &head)
}
