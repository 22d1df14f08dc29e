//! Numbers for names that many rows repeat: entities, and the field-name lists ("shapes") that records share.
//!
//! Rows are never changed or removed. A record's shape only ever grows at its end, so that a position in it means the
//! same field for ever.

use super::file::{Read, Snapshot, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::Table;
use super::{Error, meta, rows};
use crate::model::record::Shape;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};

/// All lists of one table in memory, both ways.
pub struct Names {
    table: Table,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    by_number: HashMap<u32, Shape>,
    by_names: HashMap<Shape, u32>,
}

impl Names {
    pub(crate) fn load(read: &Snapshot, table: Table) -> Result<Names, Error> {
        let mut known = Known::default();
        scan_prefix(read, table, &Key::new(), &mut |key, value| {
            let names: Vec<String> = rows::from_binary(table, value)?;
            let number = Parts(key).u32().ok_or_else(|| rows::corrupt(table, &"bad key"))?;
            known.insert(number, shape(&names));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Names { table, known: RwLock::new(known) })
    }

    /// The list behind a number.
    pub fn get(&self, number: u32) -> Result<Shape, Error> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .by_number
            .get(&number)
            .cloned()
            .ok_or_else(|| rows::corrupt(self.table, &format!("{number} is missing")))
    }

    /// The number of a list that was written before.
    pub fn number(&self, names: &Shape) -> Option<u32> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).by_names.get(names).copied()
    }

    /// The number of a list, with its row written if it is new.
    pub fn intern(&self, txn: &Txn, names: &Shape) -> Result<u32, Error> {
        let row = rows::to_binary(&names.iter().map(|name| &**name).collect::<Vec<&str>>())?;
        if let Some(number) = self.number(names) {
            // Memory may be ahead of the file: the transaction that brought the number may have been aborted.
            let stored = txn.get_row(self.table, Key::new().u32(number).bytes())?;
            if stored.is_some_and(|stored| stored == row) {
                return Ok(number);
            }
        }
        let sequence = redb::TableHandle::name(&self.table).to_owned();
        let number = u32::try_from(meta::next(txn, &sequence)?)
            .map_err(|error| rows::corrupt(self.table, &error))?;
        txn.put(self.table, Key::new().u32(number).bytes(), &row)?;
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, Arc::clone(names));
        Ok(number)
    }
}

impl Known {
    fn insert(&mut self, number: u32, names: Shape) {
        self.by_names.insert(Arc::clone(&names), number);
        self.by_number.insert(number, names);
    }
}

/// A list of names in the form in which records share it.
pub fn shape<S: AsRef<str>>(names: &[S]) -> Shape {
    names.iter().map(|name| Arc::from(name.as_ref())).collect()
}
