//! Values of rows: a format byte, then postcard (many and hot) or JSON (few and growing).

use super::Error;
use super::file::{Read, scan_prefix};
use super::keys::Key;
use super::tables::Table;
use redb::TableHandle;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::ControlFlow;

/// The format that this program writes. A reader of a later format knows the earlier ones.
const FORMAT: u8 = 1;

pub(crate) fn to_binary<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut row = Vec::with_capacity(BINARY_BYTES);
    append_binary(&mut row, value)?;
    Ok(row)
}

/// Appends the row of a value.
pub(crate) fn append_binary<T: Serialize>(row: &mut Vec<u8>, value: &T) -> Result<(), Error> {
    row.push(FORMAT);
    append(row, value)
}

/// About what a binary row takes.
const BINARY_BYTES: usize = 256;
/// About what a row of JSON takes.
const JSON_BYTES: usize = 512;

/// Of the format, before the value.
pub(crate) const BEGIN_BYTES: usize = 1;

/// A row with nothing in it yet.
pub(crate) fn begin() -> Vec<u8> {
    vec![FORMAT]
}

/// The same in a buffer that is large enough for the row.
pub(crate) fn begin_in(row: &mut Vec<u8>) {
    row.push(FORMAT);
}

/// Appends a value to a row that is begun.
pub(crate) fn append<T: Serialize + ?Sized>(row: &mut Vec<u8>, value: &T) -> Result<(), Error> {
    let written = postcard::to_io(value, row);
    written.map(drop).map_err(|error| Error::Storage(error.to_string()))
}

/// The values of a list, encoded as they come.
#[derive(Default)]
pub struct Encoded {
    count: usize,
    bytes: Vec<u8>,
}

impl Encoded {
    /// Room for rows of about so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Encoded {
        Encoded { count: 0, bytes: Vec::with_capacity(bytes) }
    }

    pub(crate) fn push<T: Serialize>(&mut self, value: &T) -> Result<(), Error> {
        self.count += 1;
        append(&mut self.bytes, value)
    }

    pub(crate) fn extend(&mut self, more: &Encoded) {
        self.count += more.count;
        self.bytes.extend_from_slice(&more.bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
    }

    /// Appends what the list as a whole would be encoded to.
    pub(crate) fn append_to(&self, row: &mut Vec<u8>) -> Result<(), Error> {
        append(row, &self.count)?;
        row.extend_from_slice(&self.bytes);
        Ok(())
    }
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(JSON_BYTES);
    bytes.push(FORMAT);
    serde_json::to_writer(&mut bytes, value).map_err(|error| Error::Storage(error.to_string()))?;
    Ok(bytes)
}

/// The value behind the format byte.
pub(crate) fn body(table: Table, bytes: &[u8]) -> Result<&[u8], Error> {
    match bytes.split_first() {
        Some((&FORMAT, body)) => Ok(body),
        Some((other, _)) => Err(corrupt(table, &format!("format {other} is not known"))),
        None => Err(corrupt(table, &"it is empty")),
    }
}

pub(crate) fn from_binary<'a, T: serde::Deserialize<'a>>(
    table: Table,
    bytes: &'a [u8],
) -> Result<T, Error> {
    postcard::from_bytes(body(table, bytes)?).map_err(|error| corrupt(table, &error))
}

pub(crate) fn from_json<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body(table, bytes)?).map_err(|error| corrupt(table, &error))
}

/// The values of all rows whose key starts with `prefix`, in key order.
pub(crate) fn collect_json<T: DeserializeOwned>(
    read: &dyn Read,
    table: Table,
    prefix: &Key,
) -> Result<Vec<T>, Error> {
    let mut found = Vec::new();
    scan_prefix(read, table, prefix, &mut |_, row| {
        found.push(from_json(table, row)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

pub(crate) fn corrupt(table: Table, reason: &dyn std::fmt::Display) -> Error {
    Error::Corrupt { table: table.name().to_owned(), reason: reason.to_string() }
}
