//! Values of rows: a format byte, then postcard (many and hot) or JSON (few and growing).

use super::Error;
use super::tables::Table;
use redb::TableHandle;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format that this program writes. A reader of a later format knows the earlier ones.
const FORMAT: u8 = 1;

pub(crate) fn to_binary<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    postcard::to_extend(value, vec![FORMAT]).map_err(|error| Error::Storage(error.to_string()))
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![FORMAT];
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

pub(crate) fn corrupt(table: Table, reason: &dyn std::fmt::Display) -> Error {
    Error::Corrupt { table: table.name().to_owned(), reason: reason.to_string() }
}
