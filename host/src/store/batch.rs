//! Rows of one table that are made ready before the transaction takes them: keys and values in one buffer.

use super::Error;
use super::keys::Key;

#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each key and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Batch {
    /// Room for so many rows of about so many bytes, so that they are not copied as they become more.
    pub fn with_capacity(rows: usize, bytes: usize) -> Batch {
        Batch { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(rows) }
    }

    /// Adds a row; keys must ascend.
    pub(crate) fn push(
        &mut self,
        key: &Key,
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.bytes.extend_from_slice(key.bytes());
        let key_end = self.bytes.len();
        value(&mut self.bytes)?;
        self.ends.push((key_end, self.bytes.len()));
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// (key, value) in the order in which they came.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts.zip(&self.ends).map(|(start, (key_end, end))| {
            let key = self.bytes.get(start..*key_end).unwrap_or_default();
            (key, self.bytes.get(*key_end..*end).unwrap_or_default())
        })
    }
}
