//! Records that a run creates, packed as they are staged: a first sync plans nothing else, and the commit makes its rows
//! of them without a copy of each text.

use super::record::RecordStatus;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A remote record without a local one, after the mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewRow<'a> {
    pub external_id: &'a str,
    /// Encoded values, one for each field.
    #[serde(with = "serde_bytes")]
    pub values: &'a [u8],
    pub fingerprint: [u8; 16],
    /// Secondary ids: (kind, value).
    #[serde(borrow)]
    pub aliases: Cow<'a, [(&'a str, &'a str)]>,
    /// (number of the match rule, key), for the index.
    #[serde(borrow)]
    pub match_keys: Vec<(u8, &'a str)>,
    /// None: not told, or a word that the template does not know.
    pub status: Option<RecordStatus>,
    pub version: Option<&'a str>,
    pub updated_at: Option<i64>,
    /// Fields that the remote did not name.
    pub absent: Vec<u16>,
}

/// The new rows of one page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewRows {
    count: usize,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

impl NewRows {
    /// Room for rows of so many bytes.
    pub fn with_capacity(bytes: usize) -> NewRows {
        NewRows { count: 0, bytes: Vec::with_capacity(bytes) }
    }

    /// Bytes of all rows.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn push(&mut self, row: &NewRow<'_>) -> Result<(), postcard::Error> {
        postcard::to_io(row, &mut self.bytes)?;
        self.count += 1;
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The rows in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Result<NewRow<'_>, postcard::Error>> {
        let mut rest = self.bytes.as_slice();
        (0..self.count).map(move |_| {
            let (row, behind) = postcard::take_from_bytes(rest)?;
            rest = behind;
            Ok(row)
        })
    }

    /// Takes out the rows at these places.
    pub fn take(&mut self, places: &[usize]) -> Result<NewRows, postcard::Error> {
        let (mut kept, mut taken) = (NewRows::default(), NewRows::default());
        for (at, row) in self.iter().enumerate() {
            let to = if places.contains(&at) { &mut taken } else { &mut kept };
            to.push(&row?)?;
        }
        *self = kept;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(id: &'a str, values: &'a [u8]) -> NewRow<'a> {
        NewRow {
            external_id: id,
            values,
            fingerprint: [7; 16],
            aliases: Cow::Owned(vec![("number", id)]),
            match_keys: vec![(0, "key"), (1, "")],
            status: Some(RecordStatus::Active),
            version: None,
            updated_at: Some(-1),
            absent: vec![3],
        }
    }

    fn ids(rows: &NewRows) -> Vec<&str> {
        rows.iter().map(|row| row.unwrap().external_id).collect()
    }

    #[test]
    fn rows_are_read_as_they_were_packed() {
        let mut rows = NewRows::default();
        for (id, values) in [("a", &[0, 1, 255][..]), ("", &[]), ("Ó", &[9; 300])] {
            rows.push(&row(id, values)).unwrap();
        }
        let staged = postcard::to_stdvec(&rows).unwrap();
        let back: NewRows = postcard::from_bytes(&staged).unwrap();
        assert_eq!(back.len(), 3);
        let read: Vec<NewRow<'_>> = back.iter().map(Result::unwrap).collect();
        assert_eq!(read, [row("a", &[0, 1, 255]), row("", &[]), row("Ó", &[9; 300])]);
    }

    #[test]
    fn rows_are_taken_out_by_their_place() {
        let mut rows = NewRows::default();
        ["a", "b", "c"].iter().for_each(|id| rows.push(&row(id, b"x")).unwrap());
        let taken = rows.take(&[2, 0, 9]).unwrap();
        assert_eq!((ids(&rows), ids(&taken)), (vec!["b"], vec!["a", "c"]));
    }

    #[test]
    fn damaged_rows_are_an_error() {
        let mut rows = NewRows::default();
        rows.push(&row("a", b"x")).unwrap();
        rows.bytes.truncate(3);
        assert!(rows.iter().any(|row| row.is_err()));
    }
}
