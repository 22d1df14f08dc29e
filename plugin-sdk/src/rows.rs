//! Rows as they cross the boundary: numbers for the cells, one string for all texts. The contract (`wit/types.wit`, `page`)
//! says how they are packed.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::Row;
use crate::value::{Cell, Value};

/// The cells of a row before its aliases: id, time of its last change, version, whether it is deleted.
const HEAD: usize = 4;
/// Bits of a cell that tell its kind; the others are the length of its text.
const KIND_BITS: u32 = 3;

const ABSENT: u32 = 0;
const NULL: u32 = 1;
const TEXT: u32 = 2;
const FALSE: u32 = 3;
const TRUE: u32 = 4;
const INTEGER: u32 = 5;
const JSON: u32 = 6;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rows {
    pub(crate) alias_kinds: Vec<String>,
    pub(crate) cells: Vec<u32>,
    pub(crate) texts: String,
}

type Aliases<'a> = [(Cow<'a, str>, Cow<'a, str>)];

impl Rows {
    pub(crate) fn push(&mut self, cell: Cell<'_>) {
        let start = self.texts.len();
        let kind = match cell {
            Cell::Absent => ABSENT,
            Cell::Null => NULL,
            Cell::Boolean(false) => FALSE,
            Cell::Boolean(true) => TRUE,
            Cell::Text(text) => {
                self.texts.push_str(text);
                TEXT
            }
            Cell::Json(json) => {
                self.texts.push_str(json);
                JSON
            }
            Cell::Integer(number) => {
                // Writing to a string cannot fail.
                let _ = write!(self.texts, "{number}");
                INTEGER
            }
        };
        // A text too long for its cell is too long for the host as well, which refuses lengths that do not add up.
        let length = u32::try_from(self.texts.len() - start).unwrap_or(u32::MAX);
        self.cells.push(length << KIND_BITS | kind);
    }

    /// Adds columns for aliases of kinds that no row had so far. Aliases have no texts in the rows before, so that only
    /// their cells move.
    pub(crate) fn make_room_for(&mut self, aliases: &Aliases<'_>, fields: usize) {
        for (at, (kind, _)) in aliases.iter().enumerate() {
            let before = aliases.iter().take(at).filter(|(other, _)| other == kind).count();
            if self.alias_kinds.iter().filter(|known| *known == kind).count() > before {
                continue;
            }
            let width = self.width(fields);
            let place = HEAD + self.alias_kinds.len();
            self.alias_kinds.push(kind.clone().into_owned());
            let mut cells = Vec::with_capacity(self.cells.len() / width * (width + 1));
            for row in self.cells.chunks(width) {
                let (head, values) = row.split_at(place.min(row.len()));
                cells.extend_from_slice(head);
                cells.push(ABSENT);
                cells.extend_from_slice(values);
            }
            self.cells = cells;
        }
    }

    /// One cell for each kind: the first alias of the kind in its first column, the second in its second.
    pub(crate) fn push_aliases(&mut self, aliases: &Aliases<'_>) {
        for column in 0..self.alias_kinds.len() {
            let alias = self.alias_kinds.get(column).and_then(|kind| {
                let earlier = self.alias_kinds.iter().take(column).filter(|other| *other == kind);
                aliases.iter().filter(|(other, _)| other == kind).nth(earlier.count())
            });
            self.push(alias.map_or(Cell::Absent, |(_, value)| Cell::Text(value)));
        }
    }

    pub(crate) fn unpack(&self, fields: usize) -> Vec<Row> {
        let mut rest = self.texts.as_str();
        let mut next = |cell: u32| {
            let length = usize::try_from(cell >> KIND_BITS).unwrap_or(usize::MAX);
            let (text, behind) = rest.split_at_checked(length).unwrap_or_default();
            rest = behind;
            match cell & ((1 << KIND_BITS) - 1) {
                NULL => Value::Null,
                TEXT => Value::Text(text.to_owned()),
                FALSE => Value::Boolean(false),
                TRUE => Value::Boolean(true),
                INTEGER => text.parse().map_or(Value::Absent, Value::Integer),
                JSON => Value::Json(text.to_owned()),
                _ => Value::Absent,
            }
        };
        let text = |value: Value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        };
        let row = |cells: &[u32]| {
            let mut values = cells.iter().map(|cell| next(*cell));
            let mut head = || values.next().unwrap_or_default();
            let (id, updated_at, version, deleted) = (head(), head(), head(), head());
            let aliases = self.alias_kinds.iter().map(|kind| Some((kind.clone(), text(head())?)));
            Row {
                id: text(id).unwrap_or_default(),
                updated_at: text(updated_at),
                version: text(version),
                deleted: deleted == Value::Boolean(true),
                aliases: aliases.collect::<Vec<_>>().into_iter().flatten().collect(),
                values: values.collect(),
            }
        };
        self.cells.chunks(self.width(fields)).map(row).collect()
    }

    fn width(&self, fields: usize) -> usize {
        HEAD + self.alias_kinds.len() + fields
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{Page, PageBuilder, Row, Value};

    fn row(id: &str, aliases: &[(&str, &str)], values: Vec<Value>) -> Row {
        let owned = |(kind, value): &(&str, &str)| ((*kind).to_owned(), (*value).to_owned());
        let aliases = aliases.iter().map(owned).collect();
        Row { id: id.to_owned(), aliases, values, ..Row::default() }
    }

    fn page(rows: Vec<Row>) -> Page {
        let mut page = PageBuilder::new(&["a", "b"]).build();
        page.set_rows(rows).unwrap();
        page
    }

    #[track_caller]
    fn check(rows: Vec<Row>) {
        assert_eq!(page(rows.clone()).rows(), rows);
    }

    #[test]
    fn rows_come_back() {
        check(vec![]);
        check(vec![
            row("1", &[], vec![Value::Absent, Value::Null]),
            row("", &[], vec!["Ó".into(), "".into()]),
            Row {
                updated_at: Some("2026-02-28T10:00:00Z".to_owned()),
                version: Some("7".to_owned()),
                deleted: true,
                ..row("3", &[], vec![true.into(), false.into()])
            },
            row("4", &[], vec![i64::MIN.into(), Value::Json("{}".to_owned())]),
        ]);
    }

    #[test]
    fn kinds_of_aliases_may_come_late_and_twice() {
        let value = || vec!["x".into(), "y".into()];
        check(vec![
            row("1", &[], value()),
            row("2", &[("k", "é")], value()),
            row("3", &[], value()),
            row("4", &[("k", "1"), ("k", "2"), ("l", "3")], value()),
            row("5", &[("l", "4")], value()),
        ]);
    }

    #[test]
    fn a_row_has_a_value_for_each_field() {
        let mut page = PageBuilder::new(&["a", "b"]);
        assert!(page.row("1").values(vec!["x".into()]).is_err());
        assert!(page.row("2").values(vec!["x".into(), "y".into()]).is_ok());
        let ids: Vec<String> = page.build().rows().into_iter().map(|row| row.id).collect();
        assert_eq!(ids, ["2"]);
    }
}
