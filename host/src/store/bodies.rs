//! Which keys of stored bodies there are; the keys themselves are secrets.

use super::file::{Read, Txn};
use super::{Error, meta};

const OLDEST: &str = "body-key-oldest";
const NEWEST: &str = "body-key-newest";

/// The numbers of the oldest and the newest key; none before the first.
pub fn keys(read: &dyn Read) -> Result<Option<(u32, u32)>, Error> {
    let number = |word| -> Result<Option<u32>, Error> {
        Ok(meta::number(read, word)?.and_then(|number| u32::try_from(number).ok()))
    };
    match number(NEWEST)? {
        Some(newest) => Ok(Some((number(OLDEST)?.unwrap_or(1), newest))),
        None => Ok(None),
    }
}

pub fn put_newest(txn: &Txn, number: u32) -> Result<(), Error> {
    meta::put_number(txn, NEWEST, number.into())
}

pub fn put_oldest(txn: &Txn, number: u32) -> Result<(), Error> {
    meta::put_number(txn, OLDEST, number.into())
}
