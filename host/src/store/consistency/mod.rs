//! Whether the rows of a data directory agree with each other: what no crash, and no failed write, may ever break.
//!
//! Reads every row, keeps what it compares in memory, and mends nothing. The tests of crashes ask it after each one.

mod feeds;
mod inbox;
mod indexes;
mod records;
mod runs;

use super::file::{Read, Snapshot};
use super::keys::{Key, Parts};
use super::tables::Table;
use super::{Error, Store, file, meta, rows};
use std::ops::ControlFlow;

/// More violations than this are a flood that tells nothing new.
const FOUND_MAX: usize = 100;

/// What is wrong, in words; empty where everything agrees.
pub fn violations(store: &Store) -> Result<Vec<String>, Error> {
    let read = store.read()?;
    let mut audit = Audit { store, read: &read, found: Vec::new() };
    match meta::check_schema(&read)? {
        Some(meta::SCHEMA) => {}
        other => audit.wrong(format!("the schema is {other:?}, not {}", meta::SCHEMA)),
    }
    audit.indexes()?;
    let effects = audit.feeds()?;
    audit.records(&effects)?;
    audit.runs(&effects)?;
    audit.queue()?;
    audit.inbox()?;
    Ok(audit.found)
}

/// Sees a key and its row.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Error> + 'a;

/// One look at everything.
struct Audit<'a> {
    store: &'a Store,
    read: &'a Snapshot,
    found: Vec<String>,
}

impl Audit<'_> {
    fn wrong(&mut self, what: String) {
        if self.found.len() < FOUND_MAX {
            self.found.push(what);
        }
    }

    /// Visits all rows of a table; the first that cannot be read ends it.
    fn each(&self, table: Table, visit: &mut Visit<'_>) -> Result<(), Error> {
        each(self.read, table, visit)
    }

    fn has(&self, table: Table, key: &Key) -> Result<bool, Error> {
        Ok(self.read.get_row(table, key.bytes())?.is_some())
    }
}

fn each(read: &dyn Read, table: Table, visit: &mut Visit<'_>) -> Result<(), Error> {
    file::scan_prefix(read, table, &Key::new(), &mut |key, row| {
        visit(key, row).map(ControlFlow::Continue)
    })
}

/// A key that begins with an organization's number and goes on with a number of 8 bytes.
fn org_and_number(table: Table, key: &[u8]) -> Result<(u32, u64), Error> {
    let mut parts = Parts(key);
    let both = parts.u32().and_then(|org| Some((org, parts.u64()?)));
    both.ok_or_else(|| rows::corrupt(table, &"bad key"))
}

#[cfg(test)]
mod tests;
