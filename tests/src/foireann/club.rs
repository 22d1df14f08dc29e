//! One club's members, as JSON texts, and the pages rendered from them.
//!
//! A row is kept as text and never interpreted beyond its `memberId`, so that a test can put any
//! JSON there, also what no typed model could hold. Serving an unchanged page is one look-up.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::generate;
use super::roster::Error;

/// Rendered pages kept per club; more start over.
const PAGES_CACHED_MAX: usize = 2_000;

/// One club's list, in the order in which it is paged.
#[derive(Default)]
pub struct Club {
    rows: Vec<Box<str>>,
    /// Row by member id; built when asked for, dropped when rows shift.
    index: Option<HashMap<Box<str>, usize>>,
    pages: HashMap<(u64, u64), Bytes>,
}

impl Club {
    pub fn new(rows: Vec<Box<str>>) -> Club {
        Club { rows, ..Club::default() }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn rows(&self) -> &[Box<str>] {
        &self.rows
    }

    /// The rows of a 1-based page, empty past the end.
    pub fn rows_of(&self, page: u64, limit: u64) -> &[Box<str>] {
        let len = self.rows.len();
        let start = usize::try_from(page.saturating_sub(1).saturating_mul(limit)).unwrap_or(len);
        let end = start.saturating_add(usize::try_from(limit).unwrap_or(len));
        &self.rows[start.min(len)..end.min(len)]
    }

    /// The list answer for a page, rendered once.
    pub fn page(&mut self, page: u64, limit: u64) -> Bytes {
        if let Some(bytes) = self.pages.get(&(page, limit)) {
            return bytes.clone();
        }
        let rows = self.rows_of(page, limit).iter().map(|row| row.as_bytes());
        let tail = Tail::of(self, page, limit);
        let bytes = Bytes::from(render(rows, &tail));
        if self.pages.len() >= PAGES_CACHED_MAX {
            self.pages.clear();
        }
        self.pages.insert((page, limit), bytes.clone());
        bytes
    }

    pub fn append(&mut self, rows: impl IntoIterator<Item = Box<str>>) {
        self.rows.extend(rows);
        self.rows_shifted();
    }

    pub fn prepend(&mut self, rows: Vec<Box<str>>) {
        self.rows.splice(0..0, rows);
        self.rows_shifted();
    }

    /// Drops the first `count` rows, so that every later row moves towards the front.
    pub fn drop_first(&mut self, count: usize) {
        self.rows.drain(..count.min(self.rows.len()));
        self.rows_shifted();
    }

    /// Moves one row to another 0-based place.
    pub fn move_row(&mut self, from: usize, to: usize) -> Result<(), Error> {
        let len = self.rows.len();
        if let Some(&row) = [from, to].iter().find(|&&row| row >= len) {
            return Err(Error::OutOfRange { row, len });
        }
        let row = self.rows.remove(from);
        self.rows.insert(to, row);
        self.rows_shifted();
        Ok(())
    }

    /// Gives one text field a new value in every `every`-th row; returns how many were changed.
    pub fn touch(&mut self, every: usize, field: &str, value: &str) -> Result<usize, Error> {
        let text = Value::from(value).to_string();
        let cause = |cause| Error::NotAnObject { id: field.to_owned(), cause };
        let raw = RawValue::from_string(text).map_err(cause)?;
        let set = BTreeMap::from([(field.to_owned(), raw)]);
        let rows: Vec<usize> = (0..self.rows.len()).step_by(every.max(1)).collect();
        for &row in &rows {
            self.patch_row(row, &set, &[])?;
        }
        Ok(rows.len())
    }

    pub(super) fn patch_row(
        &mut self,
        row: usize,
        set: &BTreeMap<String, Box<RawValue>>,
        remove: &[String],
    ) -> Result<(), Error> {
        let text = &self.rows[row];
        let cause = |cause| Error::NotAnObject { id: id_of(text).unwrap_or_default(), cause };
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(text).map_err(cause)?;
        fields.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
        fields.retain(|name, _| {
            !remove.contains(name) && !generate::DETAIL_FIELDS.contains(&name.as_str())
        });
        let id_changes = set.contains_key("memberId") || remove.iter().any(|f| f == "memberId");
        self.rows[row] = serde_json::to_string(&fields).map_err(cause)?.into_boxed_str();
        self.pages.clear();
        if id_changes {
            self.index = None;
        }
        Ok(())
    }

    pub(super) fn position(&mut self, id: &str) -> Option<usize> {
        let rows = &self.rows;
        let index = self.index.get_or_insert_with(|| {
            let id_at = |(row, text): (usize, &str)| Some((id_of(text)?.into(), row));
            rows.iter().map(|text| &**text).enumerate().filter_map(id_at).collect()
        });
        index.get(id).copied()
    }

    pub(super) fn remove_row(&mut self, row: usize) {
        self.rows.remove(row);
        self.rows_shifted();
    }

    fn rows_shifted(&mut self) {
        self.index = None;
        self.pages.clear();
    }
}

/// One list answer before it becomes bytes; faults edit it here.
pub struct Page {
    /// One JSON text per row, or whatever a fault made of it.
    pub rows: Vec<Vec<u8>>,
    pub tail: Tail,
}

/// What a list answer says besides the rows.
pub struct Tail {
    pub page: u64,
    pub per_page: u64,
    pub total_count: i64,
    pub has_more: bool,
}

impl Page {
    /// The honest answer for a 1-based page.
    pub fn of(club: &Club, page: u64, limit: u64) -> Page {
        let rows = club.rows_of(page, limit).iter().map(|row| row.as_bytes().to_vec());
        Page { rows: rows.collect(), tail: Tail::of(club, page, limit) }
    }

    pub fn render(&self) -> Vec<u8> {
        render(self.rows.iter().map(Vec::as_slice), &self.tail)
    }
}

impl Tail {
    fn of(club: &Club, page: u64, limit: u64) -> Tail {
        Tail {
            page,
            per_page: limit,
            total_count: club.len() as i64,
            has_more: page.saturating_mul(limit) < club.len() as u64,
        }
    }
}

fn render<'a>(rows: impl Iterator<Item = &'a [u8]> + Clone, tail: &Tail) -> Vec<u8> {
    let row_bytes: usize = rows.clone().map(|row| row.len() + 1).sum();
    let mut body = Vec::with_capacity(row_bytes + 120);
    body.extend_from_slice(br#"{"members":["#);
    for (position, row) in rows.enumerate() {
        if position > 0 {
            body.push(b',');
        }
        body.extend_from_slice(row);
    }
    let Tail { page, per_page, total_count, has_more } = tail;
    let _ = write!(
        body,
        r#"],"page":{page},"perPage":{per_page},"totalCount":{total_count},"hasMore":{has_more}}}"#
    );
    body
}

/// A row's `memberId`: the string's value, or another JSON value's text; none where it is missing.
pub fn id_of(row: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Id<'a> {
        #[serde(borrow, rename = "memberId")]
        id: Option<&'a RawValue>,
    }
    let text = serde_json::from_str::<Id<'_>>(row).ok()?.id?.get();
    serde_json::from_str::<String>(text).ok().or_else(|| Some(text.to_owned()))
}

/// The digits at the end of a member id, which seed its detail fields; 0 without any.
pub fn number_of(id: &str) -> u64 {
    let digits = id.len() - id.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    id[id.len() - digits..].parse().unwrap_or(0)
}
