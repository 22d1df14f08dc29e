//! The rows of a page as they came: numbers for the cells, one string for all texts. Nothing is copied for a row that
//! needs no look: see [`PackedRow::said`].
//!
//! The contract (`wit/types.wit`, `page`) says how rows are packed.

use super::remote::RemoteRow;
use super::value::Cell;
use std::borrow::Cow;

/// The cells of a row before its aliases: id, time of its last change, version, whether it is deleted.
const HEAD: usize = 4;
/// Bits of a cell that tell its kind; the others are the length of its text.
const KIND_BITS: u32 = 3;

/// Rows of one page, all of the same width.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Kind of each column of aliases.
    alias_kinds: Vec<String>,
    /// How many fields a row has.
    fields: usize,
    cells: Vec<u32>,
    texts: String,
    /// Where each row begins.
    starts: Vec<Start>,
    /// Of all cells: the longest text in bytes, and whether any is JSON.
    longest: usize,
    has_json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Start {
    cell: usize,
    text: usize,
}

/// Why cells and texts are no rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpackable {
    #[error("{cells} cells are no rows of {width}")]
    Width { cells: usize, width: usize },
    #[error("row {row}: cell {cell} is of no known kind, or its text does not fit")]
    Cell { row: usize, cell: usize },
    #[error("the rows end {0} bytes before their texts do")]
    Texts(usize),
}

impl Rows {
    /// Takes rows as a component packed them. Afterwards every cell can be read; what it says is not looked at.
    pub fn new(
        alias_kinds: Vec<String>,
        fields: usize,
        cells: Vec<u32>,
        texts: String,
    ) -> Result<Rows, Unpackable> {
        let rows = Rows { alias_kinds, fields, cells, texts, ..Rows::default() };
        let (mut longest, mut has_json) = (0, false);
        let width = rows.width();
        if !rows.cells.len().is_multiple_of(width) {
            return Err(Unpackable::Width { cells: rows.cells.len(), width });
        }
        let mut starts = Vec::with_capacity(rows.cells.len() / width);
        let mut text = 0;
        for (row, cells) in rows.cells.chunks_exact(width).enumerate() {
            starts.push(Start { cell: row * width, text });
            for (cell, packed) in cells.iter().enumerate() {
                let end = text + length(*packed);
                let fits =
                    rows.texts.get(text..end).is_some_and(|own| read(*packed, own).is_some());
                longest = longest.max(end - text);
                has_json |= kind(*packed) == JSON;
                if !fits {
                    return Err(Unpackable::Cell { row, cell });
                }
                text = end;
            }
        }
        if text != rows.texts.len() {
            return Err(Unpackable::Texts(rows.texts.len() - text));
        }
        Ok(Rows { starts, longest, has_json, ..rows })
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub fn texts(&self) -> &str {
        &self.texts
    }

    /// Bytes of the longest text.
    pub fn longest(&self) -> usize {
        self.longest
    }

    pub fn has_json(&self) -> bool {
        self.has_json
    }

    pub fn alias_kinds(&self) -> &[String] {
        &self.alias_kinds
    }

    pub fn iter(&self) -> impl Iterator<Item = PackedRow<'_>> {
        self.starts.iter().map(|start| self.row(*start))
    }

    /// One row without aliases, packed as a component packs it.
    pub fn of(row: &RemoteRow) -> Rows {
        let mut rows = Rows { fields: row.values.len(), ..Rows::default() };
        let version = row.version.as_deref().map_or(Cell::Absent, Cell::Text);
        let updated_at = row.updated_at.as_deref().map_or(Cell::Absent, Cell::Text);
        let head = [Cell::Text(&row.id), updated_at, version, Cell::Bool(row.deleted)];
        for cell in head.into_iter().chain(row.values.iter().map(Cell::from)) {
            let (kind, text) = match cell {
                Cell::Absent => (ABSENT, Cow::Borrowed("")),
                Cell::Null => (NULL, Cow::Borrowed("")),
                Cell::Text(text) => (TEXT, Cow::Borrowed(text)),
                Cell::Bool(false) => (FALSE, Cow::Borrowed("")),
                Cell::Bool(true) => (TRUE, Cow::Borrowed("")),
                Cell::Int(number) => (INT, Cow::Owned(number.to_string())),
                Cell::Json(text) => (JSON, Cow::Borrowed(text)),
            };
            rows.texts.push_str(&text);
            rows.cells.push(packed(kind, &text));
        }
        rows.starts.push(Start { cell: 0, text: 0 });
        rows
    }

    /// The rows, unpacked.
    pub fn to_vec(&self) -> Vec<RemoteRow> {
        self.iter().map(|row| row.unpack()).collect()
    }

    /// Drops the rows that are not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(PackedRow<'_>) -> bool) {
        let starts = std::mem::take(&mut self.starts);
        self.starts = starts.into_iter().filter(|start| keep(self.row(*start))).collect();
    }

    /// Adds a row that is gone: its id, and nothing else.
    pub fn push_tombstone(&mut self, id: &str) {
        self.starts.push(Start { cell: self.cells.len(), text: self.texts.len() });
        self.texts.push_str(id);
        let absent = std::iter::repeat_n(ABSENT, self.width() - HEAD);
        self.cells.extend([packed(TEXT, id), ABSENT, ABSENT, TRUE].into_iter().chain(absent));
    }

    fn row(&self, start: Start) -> PackedRow<'_> {
        let cells = self.cells.get(start.cell..start.cell + self.width()).unwrap_or_default();
        let texts = self.texts.get(start.text..).unwrap_or_default();
        PackedRow { rows: self, cells, texts }
    }

    fn width(&self) -> usize {
        HEAD + self.alias_kinds.len() + self.fields
    }
}

/// One row, where it came.
#[derive(Clone, Copy, Debug)]
pub struct PackedRow<'a> {
    rows: &'a Rows,
    cells: &'a [u32],
    /// From the row's first text on.
    texts: &'a str,
}

impl<'a> PackedRow<'a> {
    pub fn id(&self) -> &'a str {
        self.texts.get(..self.cells.first().map_or(0, |cell| length(*cell))).unwrap_or_default()
    }

    /// As the remote gave it: should be RFC 3339.
    pub fn updated_at(&self) -> Option<&'a str> {
        text(self.cells().nth(1)?)
    }

    pub fn version(&self) -> Option<&'a str> {
        text(self.cells().nth(2)?)
    }

    pub fn is_deleted(&self) -> bool {
        self.cells.get(3).is_some_and(|cell| *cell == TRUE)
    }

    /// Kind and value of each column of aliases.
    pub fn aliases(&self) -> impl Iterator<Item = (&'a str, Cell<'a>)> {
        self.rows.alias_kinds.iter().map(String::as_str).zip(self.cells().skip(HEAD))
    }

    /// The values, in the order of the page's fields.
    pub fn values(&self) -> impl Iterator<Item = Cell<'a>> {
        self.cells().skip(HEAD + self.rows.alias_kinds.len())
    }

    /// All that the row says, but who it is and when it changed, as bytes that are equal where it says the same.
    pub fn said(&self) -> (&'a [u32], &'a str) {
        let (name, cells) = self.cells.split_at_checked(2).unwrap_or_default();
        let start: usize = name.iter().map(|cell| length(*cell)).sum();
        let bytes: usize = cells.iter().map(|cell| length(*cell)).sum();
        (cells, self.texts.get(start..start + bytes).unwrap_or_default())
    }

    pub fn unpack(&self) -> RemoteRow {
        let alias =
            |(kind, value): (&str, Cell<'_>)| Some((kind.to_owned(), text(value)?.to_owned()));
        RemoteRow {
            id: self.id().to_owned(),
            aliases: self.aliases().filter_map(alias).collect(),
            updated_at: self.updated_at().map(str::to_owned),
            version: self.version().map(str::to_owned),
            deleted: self.is_deleted(),
            values: self.values().map(Cell::to_value).collect(),
        }
    }

    /// The cells of the row's head: id, time of its last change, version, whether it is deleted.
    pub fn head(&self) -> impl Iterator<Item = Cell<'a>> {
        self.cells().take(HEAD)
    }

    fn cells(&self) -> impl Iterator<Item = Cell<'a>> {
        let mut rest = self.texts;
        self.cells.iter().map(move |packed| {
            let (own, behind) = rest.split_at_checked(length(*packed)).unwrap_or_default();
            rest = behind;
            read(*packed, own).unwrap_or(Cell::Absent)
        })
    }
}

const ABSENT: u32 = 0;
const NULL: u32 = 1;
const TEXT: u32 = 2;
const FALSE: u32 = 3;
const TRUE: u32 = 4;
const INT: u32 = 5;
const JSON: u32 = 6;

fn packed(kind: u32, text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX) << KIND_BITS | kind
}

fn kind(cell: u32) -> u32 {
    cell & ((1 << KIND_BITS) - 1)
}

fn length(cell: u32) -> usize {
    (cell >> KIND_BITS) as usize
}

fn text(cell: Cell<'_>) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

/// None for a kind that there is not, a kind without a text that has one, and digits that are no 64-bit integer.
fn read(packed: u32, text: &str) -> Option<Cell<'_>> {
    let bare = |cell| text.is_empty().then_some(cell);
    match kind(packed) {
        ABSENT => bare(Cell::Absent),
        NULL => bare(Cell::Null),
        TEXT => Some(Cell::Text(text)),
        FALSE => bare(Cell::Bool(false)),
        TRUE => bare(Cell::Bool(true)),
        INT => text.parse().ok().map(Cell::Int),
        JSON => Some(Cell::Json(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

    /// Two rows of one alias and two fields.
    fn rows() -> Rows {
        let cells = vec![
            1 << 3 | 2,
            0,
            0,
            3,
            2 << 3 | 2,
            3 << 3 | 2,
            1, //
            1 << 3 | 2,
            4 << 3 | 2,
            1 << 3 | 2,
            4,
            0,
            2 << 3 | 5,
            2 << 3 | 6,
        ];
        let texts = "aN1Ó2bnow!7-1{}".to_owned();
        Rows::new(vec!["n".to_owned()], 2, cells, texts).unwrap()
    }

    #[test]
    fn rows_are_read_as_they_were_packed() {
        let unpacked = rows().to_vec();
        let first = RemoteRow {
            id: "a".to_owned(),
            aliases: vec![("n".to_owned(), "N1".to_owned())],
            values: vec![Value::Text("Ó2".to_owned()), Value::Null],
            ..RemoteRow::default()
        };
        let second = RemoteRow {
            id: "b".to_owned(),
            updated_at: Some("now!".to_owned()),
            version: Some("7".to_owned()),
            deleted: true,
            values: vec![Value::Int(-1), Value::Json("{}".to_owned())],
            ..RemoteRow::default()
        };
        assert_eq!(unpacked, [first, second]);
    }

    #[test]
    fn what_a_row_says_is_without_its_id_and_time() {
        let rows = rows();
        let said: Vec<_> = rows.iter().map(|row| row.said()).collect();
        assert_eq!(said[0], (&[0, 3, 2 << 3 | 2, 3 << 3 | 2, 1][..], "N1Ó2"));
        assert_eq!(said[1], (&[1 << 3 | 2, 4, 0, 2 << 3 | 5, 2 << 3 | 6][..], "7-1{}"));
    }

    #[test]
    fn rows_come_and_go() {
        let mut rows = rows();
        rows.retain(|row| row.id() != "a");
        rows.push_tombstone("é");
        let ids: Vec<_> = rows.iter().map(|row| (row.id(), row.is_deleted())).collect();
        assert_eq!(ids, [("b", true), ("é", true)]);
        let wanted = RemoteRow {
            id: "é".to_owned(),
            deleted: true,
            values: vec![Value::Absent; 2],
            ..RemoteRow::default()
        };
        assert_eq!(rows.to_vec().pop(), Some(wanted));
    }

    #[track_caller]
    fn check(cells: &[u32], texts: &str, wanted: Option<Unpackable>) {
        let rows = Rows::new(Vec::new(), 1, cells.to_vec(), texts.to_owned());
        assert_eq!(rows.err(), wanted, "{cells:?} {texts:?}");
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let id = 1 << 3 | 2;
        let bad = |row, cell| Some(Unpackable::Cell { row, cell });
        check(&[], "", None);
        check(&[id, 0, 0, 3, id], "ab", None);
        check(&[id, 0, 0, 3], "a", Some(Unpackable::Width { cells: 4, width: 5 }));
        check(&[id, 0, 0, 3, id], "a", bad(0, 4));
        check(&[id, 0, 0, 3, id], "abc", Some(Unpackable::Texts(1)));
        check(&[id, 0, 0, 3, 1 << 3], "ab", bad(0, 4));
        check(&[id, 0, 0, 3, 7], "a", bad(0, 4));
        check(&[id, 0, 0, 3, id | 5], "ab", bad(0, 4));
        check(&[id, 0, 0, 3, id], "aé", bad(0, 4));
        check(&[id, 0, 0, 3, u32::MAX], "ab", bad(0, 4));
    }
}
