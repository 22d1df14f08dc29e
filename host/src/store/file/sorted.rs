//! Inserting rows that are in order: one walk over the table instead of a search for each.

use super::Bytes;
use std::iter::Peekable;
use std::ops::Bound;

/// Rows in ascending key order. One whose key exists is replaced.
pub(super) fn put<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    table: &mut redb::Table<'_, Bytes, Bytes>,
    mut rows: Peekable<impl Iterator<Item = (K, V)>>,
) -> Result<(), redb::StorageError> {
    while let Some((first, value)) = rows.next() {
        let first = first.as_ref();
        // Replaces where the key exists; the cursor below only fills gaps.
        table.insert(first, value.as_ref())?;
        if rows.peek().is_none() {
            break;
        }
        let mut cursor = table.upper_bound_mut(Bound::Included(first))?;
        while let Some((key, value)) = rows.peek() {
            match cursor.insert_before(key.as_ref(), value.as_ref()) {
                Ok(()) => rows.next(),
                Err(redb::CursorError::Storage(error)) => return Err(error),
                Err(_) => break,
            };
        }
        cursor.close()?;
    }
    Ok(())
}
