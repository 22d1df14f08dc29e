//! The schema version, the check value of the master key, and counters.

use super::file::{Read, Txn};
use super::keys::Key;
use super::tables::META;
use super::{Error, rows};

/// The schema that this program writes.
pub const SCHEMA: u64 = 1;

/// Sets the schema of a new file, and refuses a file of a newer program.
pub(crate) fn migrate(txn: &Txn) -> Result<(), Error> {
    match check_schema(txn)? {
        None => put_number(txn, "schema", SCHEMA),
        Some(_) => Ok(()),
    }
}

/// The file's schema, which must be one that this program knows; none in a new file.
pub(crate) fn check_schema(read: &dyn Read) -> Result<Option<u64>, Error> {
    match number(read, "schema")? {
        Some(found) if found > SCHEMA => Err(Error::NewerSchema { found, known: SCHEMA }),
        found => Ok(found),
    }
}

fn number(read: &dyn Read, word: &str) -> Result<Option<u64>, Error> {
    read.get_row(META, Key::new().text(word).bytes())?
        .map(|bytes| rows::from_binary(META, &bytes))
        .transpose()
}

fn put_number(txn: &Txn, word: &str, number: u64) -> Result<(), Error> {
    txn.put(META, Key::new().text(word).bytes(), &rows::to_binary(&number)?)
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

/// The sealed constant by which a wrong master key is recognised.
pub fn key_check(read: &dyn Read) -> Result<Option<Vec<u8>>, Error> {
    read.get_row(META, Key::new().text("key-check").bytes())?
        .map(|bytes| rows::from_binary(META, &bytes))
        .transpose()
}

pub fn put_key_check(txn: &Txn, check: &[u8]) -> Result<(), Error> {
    txn.put(META, Key::new().text("key-check").bytes(), &rows::to_binary(&check)?)
}
