//! Sealed values, by their place, and an index of which key each is sealed under: whoever changes a key finds what is left
//! to do without looking at the rest. What is inside is none of the store's business.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::tables::{SECRETS, SECRETS_BY_KEY};
use super::{Error, meta, rows};
use crate::model::{Place, Sealed};
use std::ops::{Bound, ControlFlow};

/// The counter of all sealed values.
const ALL: &str = "secrets";
/// Set while something that was destroyed or replaced may still lie in the file under a key that exists.
const SHRED: &str = "shred-wanted";

fn key(place: Place<'_>) -> Key {
    let organization = place.organization.unwrap_or_default();
    Key::new().text(organization).text(place.table).text(place.row).text(place.field)
}

fn index(key_id: [u8; 8], key: &[u8]) -> Vec<u8> {
    [key_id.as_slice(), key].concat()
}

fn counter(key_id: [u8; 8]) -> String {
    format!("{ALL}:{}", hex::encode(key_id))
}

pub fn get(read: &dyn Read, place: Place<'_>) -> Result<Option<Sealed>, Error> {
    at(read, key(place).bytes())
}

fn at(read: &dyn Read, key: &[u8]) -> Result<Option<Sealed>, Error> {
    read.get_row(SECRETS, key)?.map(|row| rows::from_binary(SECRETS, &row)).transpose()
}

/// Stores a value. One that it replaces is destroyed with the next change of the shred key.
pub fn put(txn: &Txn, place: Place<'_>, sealed: &Sealed) -> Result<(), Error> {
    let key = key(place);
    if remove(txn, key.bytes())? {
        meta::put_number(txn, SHRED, 1)?;
    }
    insert(txn, key.bytes(), sealed)
}

/// Whether there was one. It is destroyed with the next change of the shred key.
pub fn delete(txn: &Txn, place: Place<'_>) -> Result<bool, Error> {
    let found = remove(txn, key(place).bytes())?;
    if found {
        meta::put_number(txn, SHRED, 1)?;
    }
    Ok(found)
}

fn insert(txn: &Txn, key: &[u8], sealed: &Sealed) -> Result<(), Error> {
    txn.note_directory();
    txn.put(SECRETS, key, &rows::to_binary(sealed)?)?;
    txn.put(SECRETS_BY_KEY, &index(sealed.key_id, key), &[])?;
    meta::add(txn, ALL, 1)?;
    meta::add(txn, &counter(sealed.key_id), 1)
}

fn remove(txn: &Txn, key: &[u8]) -> Result<bool, Error> {
    let Some(old) = at(txn, key)? else { return Ok(false) };
    txn.note_directory();
    txn.delete(SECRETS, key)?;
    txn.delete(SECRETS_BY_KEY, &index(old.key_id, key))?;
    meta::add(txn, ALL, -1)?;
    meta::add(txn, &counter(old.key_id), -1)?;
    Ok(true)
}

/// Passes up to `limit` values that are under another key than `current` through `rewrap`; answers how many.
pub fn rewrap<E: From<Error>>(
    txn: &Txn,
    current: [u8; 8],
    limit: usize,
    mut rewrap: impl FnMut(Place<'_>, &Sealed) -> Result<Sealed, E>,
) -> Result<usize, E> {
    let keys = others(txn, current, limit)?;
    for key in &keys {
        let place =
            place(key).ok_or_else(|| rows::corrupt(SECRETS, &"its key has another form"))?;
        if let Some(sealed) = at(txn, key)? {
            let moved = rewrap(place, &sealed)?;
            remove(txn, key)?;
            insert(txn, key, &moved)?;
        }
    }
    Ok(keys.len())
}

/// Keys of values that are under another key than `current`.
fn others(read: &dyn Read, current: [u8; 8], limit: usize) -> Result<Vec<Vec<u8>>, Error> {
    let mut found = Vec::new();
    let behind = u64::from_be_bytes(current).checked_add(1).map(u64::to_be_bytes);
    let below = (Bound::Unbounded, Bound::Excluded(current.as_slice()));
    let above = behind.as_ref().map(|from| (Bound::Included(from.as_slice()), Bound::Unbounded));
    for bounds in std::iter::once(below).chain(above) {
        read.scan_rows(SECRETS_BY_KEY, bounds, false, &mut |key, _| {
            if found.len() >= limit {
                return Ok(ControlFlow::Break(()));
            }
            found.extend(key.get(current.len()..).map(<[u8]>::to_vec));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(found)
}

fn place(key: &[u8]) -> Option<Place<'_>> {
    let mut parts = Parts(key);
    let organization = Some(parts.text()?).filter(|id| !id.is_empty());
    Some(Place { organization, table: parts.text()?, row: parts.text()?, field: parts.text()? })
}

/// How many values there are, and how many of them under this key.
pub fn counts(read: &dyn Read, key_id: [u8; 8]) -> Result<(u64, u64), Error> {
    let count = |word: &str| Ok(meta::number(read, word)?.unwrap_or(0));
    Ok((count(ALL)?, count(&counter(key_id))?))
}

/// Whether something that was destroyed or replaced waits for the next change of the shred key.
pub fn wants_shred(read: &dyn Read) -> Result<bool, Error> {
    Ok(meta::number(read, SHRED)?.unwrap_or(0) > 0)
}

/// A change of the shred key has begun that covers all that was destroyed before.
pub fn shred_begun(txn: &Txn) -> Result<(), Error> {
    meta::put_number(txn, SHRED, 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Options, Store};
    use super::*;

    fn sealed(key_id: u8, text: &str) -> Sealed {
        Sealed { key_id: [key_id; 8], updated_at: 7, bytes: text.as_bytes().to_vec() }
    }

    fn row(row: &str) -> Place<'_> {
        Place { table: "t", organization: Some("club"), row, field: "f" }
    }

    #[test]
    fn the_index_and_the_counts_follow_the_values() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(directory.path(), &Options::default()).unwrap();
        let write = |write: fn(&Txn) -> Result<(), Error>| store.write_blocking(write).unwrap();
        write(|txn| {
            put(txn, row("a"), &sealed(1, "one"))?;
            put(txn, Place { organization: None, ..row("a") }, &sealed(3, "two"))?;
            put(txn, row("c"), &sealed(2, "three"))
        });
        let read = || store.read().unwrap();
        assert_eq!(counts(&read(), [2; 8]).unwrap(), (3, 1));
        assert!(!wants_shred(&read()).unwrap(), "nothing was replaced");
        write(|txn| put(txn, row("a"), &sealed(2, "four")));
        assert_eq!(counts(&read(), [1; 8]).unwrap(), (3, 0));
        assert!(wants_shred(&read()).unwrap());
        write(|txn| {
            let moved = rewrap(txn, [2; 8], 10, |place, old| -> Result<_, Error> {
                assert_eq!((place.organization, old.key_id), (None, [3; 8]));
                Ok(Sealed { key_id: [2; 8], ..old.clone() })
            })?;
            assert_eq!(moved, 1, "what is under the key is left alone");
            assert_eq!(rewrap(txn, [2; 8], 10, |_, old| Ok::<_, Error>(old.clone()))?, 0);
            assert_eq!(rewrap(txn, [9; 8], 2, |_, old| Ok::<_, Error>(old.clone()))?, 2);
            Ok(())
        });
        assert_eq!(counts(&read(), [2; 8]).unwrap(), (3, 3));
        write(|txn| {
            assert!(delete(txn, row("a"))? && !delete(txn, row("a"))?);
            Ok(())
        });
        assert_eq!(get(&read(), row("a")).unwrap(), None);
        assert_eq!(get(&read(), row("c")).unwrap().unwrap().bytes, b"three");
        assert_eq!(counts(&read(), [2; 8]).unwrap(), (2, 2));
    }
}
