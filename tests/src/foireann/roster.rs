//! The members of each club, as JSON texts, and the pages rendered from them.
//!
//! A row is kept as text and never interpreted beyond its `memberId`, so that a test can put any
//! JSON there, also what no typed model could hold. Serving an unchanged page is one look-up.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::generate;

/// Rendered pages kept per club; more start over.
const PAGES_CACHED_MAX: usize = 2_000;

/// All clubs of one federation.
pub struct Roster {
    seed: u64,
    clubs: BTreeMap<String, Club>,
    /// Detail fields that a test has set, by member id.
    details: HashMap<String, Map<String, Value>>,
}

/// One club's list, in the order in which it is paged.
#[derive(Default)]
pub struct Club {
    rows: Vec<Box<str>>,
    /// Row by member id; built when asked for, dropped when rows shift.
    index: Option<HashMap<Box<str>, usize>>,
    pages: HashMap<(u64, u64), Bytes>,
}

/// What is wrong with an edit that a test asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no club {0}")]
    NoClub(String),
    #[error("there is no member {0}")]
    NoMember(String),
    #[error("member {id} is no JSON object: {cause}")]
    NotAnObject {
        id: String,
        cause: serde_json::Error,
    },
    #[error("row {row} is outside of the list of {len}")]
    OutOfRange { row: usize, len: usize },
}

impl Roster {
    /// Clubs of `members` generated members each; the numbers go on from club to club, so that no
    /// two clubs share an id.
    pub fn new(seed: u64, clubs: &[String], members: u64) -> Roster {
        let mut roster = Roster {
            seed,
            clubs: BTreeMap::new(),
            details: HashMap::new(),
        };
        for (position, club) in clubs.iter().enumerate() {
            roster.generate(club, members, position as u64 * members + 1);
        }
        roster
    }

    /// Replaces a club by generated members with the numbers `first..first + members`.
    pub fn generate(&mut self, club: &str, members: u64, first: u64) {
        let row = |number| generate::list_record(self.seed, number).into_boxed_str();
        let rows = (first..first + members).map(row).collect();
        self.set(club, rows);
    }

    /// Replaces a club's rows by any JSON texts; the club need not exist.
    pub fn set(&mut self, club: &str, rows: Vec<Box<str>>) {
        self.clubs.insert(
            club.to_owned(),
            Club {
                rows,
                ..Club::default()
            },
        );
    }

    pub fn club(&mut self, club: &str) -> Result<&mut Club, Error> {
        self.clubs
            .get_mut(club)
            .ok_or_else(|| Error::NoClub(club.to_owned()))
    }

    /// Club names with the number of their members, sorted.
    pub fn sizes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.clubs
            .iter()
            .map(|(name, club)| (name.as_str(), club.rows.len()))
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Sets and removes fields of a member, in one club or in each that has it. Detail fields are
    /// kept apart from the list. A `null` is stored as `null`; removing is what makes it absent.
    pub fn patch(
        &mut self,
        club: Option<&str>,
        id: &str,
        set: &BTreeMap<String, Box<RawValue>>,
        remove: &[String],
    ) -> Result<(), Error> {
        let mut found = false;
        for (name, candidate) in &mut self.clubs {
            let wanted = club.is_none_or(|club| club == name);
            if let Some(row) = wanted.then(|| candidate.position(id)).flatten() {
                candidate.patch_row(row, set, remove)?;
                found = true;
            }
        }
        if !found {
            return Err(Error::NoMember(id.to_owned()));
        }
        for field in generate::DETAIL_FIELDS {
            if let Some(value) = set.get(field) {
                let value =
                    serde_json::from_str(value.get()).map_err(|cause| Error::NotAnObject {
                        id: id.to_owned(),
                        cause,
                    })?;
                self.details
                    .entry(id.to_owned())
                    .or_default()
                    .insert(field.to_owned(), value);
            }
        }
        Ok(())
    }

    /// Takes a member out of one club or of each that has it.
    pub fn delete(&mut self, club: Option<&str>, id: &str) -> Result<(), Error> {
        let mut found = false;
        for (name, candidate) in &mut self.clubs {
            let wanted = club.is_none_or(|club| club == name);
            if let Some(row) = wanted.then(|| candidate.position(id)).flatten() {
                candidate.rows.remove(row);
                candidate.rows_shifted();
                found = true;
            }
        }
        if found {
            Ok(())
        } else {
            Err(Error::NoMember(id.to_owned()))
        }
    }

    /// The `{member}` text of a detail answer: the list fields and the detail fields.
    pub fn detail(&mut self, club: Option<&str>, id: &str) -> Option<String> {
        let wanted = |name: &str| club.is_none_or(|club| club == name);
        let row = self
            .clubs
            .iter_mut()
            .filter(|(name, _)| wanted(name))
            .find_map(|(_, club)| club.position(id).map(|row| club.rows[row].clone()))?;
        let mut fields = generate::detail_fields(self.seed, number_of(id));
        if let Some(edited) = self.details.get(id) {
            fields.extend(edited.clone());
        }
        let list_part = row.trim_end().strip_suffix('}')?;
        let detail_part = serde_json::to_string(&fields).ok()?;
        Some(format!(
            r#"{{"member":{list_part},{}}}"#,
            detail_part.strip_prefix('{')?
        ))
    }
}

impl Club {
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
        let bytes = Bytes::from(Page::of(self, page, limit).render());
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
        let cause = |cause| Error::NotAnObject {
            id: field.to_owned(),
            cause,
        };
        let raw = RawValue::from_string(text).map_err(cause)?;
        let set = BTreeMap::from([(field.to_owned(), raw)]);
        let rows: Vec<usize> = (0..self.rows.len()).step_by(every.max(1)).collect();
        for &row in &rows {
            self.patch_row(row, &set, &[])?;
        }
        Ok(rows.len())
    }

    fn patch_row(
        &mut self,
        row: usize,
        set: &BTreeMap<String, Box<RawValue>>,
        remove: &[String],
    ) -> Result<(), Error> {
        let text = &self.rows[row];
        let cause = |cause| Error::NotAnObject {
            id: id_of(text).unwrap_or_default(),
            cause,
        };
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(text).map_err(cause)?;
        fields.extend(
            set.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        fields.retain(|name, _| {
            !remove.contains(name) && !generate::DETAIL_FIELDS.contains(&name.as_str())
        });
        let id_changes = set.contains_key("memberId") || remove.iter().any(|f| f == "memberId");
        self.rows[row] = serde_json::to_string(&fields)
            .map_err(cause)?
            .into_boxed_str();
        self.pages.clear();
        if id_changes {
            self.index = None;
        }
        Ok(())
    }

    fn position(&mut self, id: &str) -> Option<usize> {
        let rows = &self.rows;
        let index = self.index.get_or_insert_with(|| {
            let id_at = |(row, text): (usize, &Box<str>)| Some((id_of(text)?.into(), row));
            rows.iter().enumerate().filter_map(id_at).collect()
        });
        index.get(id).copied()
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
    pub page: u64,
    pub per_page: u64,
    pub total_count: i64,
    pub has_more: bool,
}

impl Page {
    /// The honest answer for a 1-based page.
    pub fn of(club: &Club, page: u64, limit: u64) -> Page {
        Page {
            rows: club
                .rows_of(page, limit)
                .iter()
                .map(|row| row.as_bytes().to_vec())
                .collect(),
            page,
            per_page: limit,
            total_count: club.len() as i64,
            has_more: page.saturating_mul(limit) < club.len() as u64,
        }
    }

    pub fn render(&self) -> Vec<u8> {
        let mut body =
            Vec::with_capacity(self.rows.iter().map(|row| row.len() + 1).sum::<usize>() + 100);
        body.extend_from_slice(br#"{"members":["#);
        for (position, row) in self.rows.iter().enumerate() {
            if position > 0 {
                body.push(b',');
            }
            body.extend_from_slice(row);
        }
        let Page {
            page,
            per_page,
            total_count,
            has_more,
            ..
        } = self;
        let _ = write!(
            body,
            r#"],"page":{page},"perPage":{per_page},"totalCount":{total_count},"hasMore":{has_more}}}"#
        );
        body
    }
}

/// A row's `memberId`: the string's value, or another JSON value's text; none where it is missing.
pub fn id_of(row: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Id<'a> {
        #[serde(borrow, rename = "memberId")]
        id: Option<&'a RawValue>,
    }
    let text = serde_json::from_str::<Id<'_>>(row).ok()?.id?.get();
    serde_json::from_str::<String>(text)
        .ok()
        .or_else(|| Some(text.to_owned()))
}

/// The digits at the end of a member id, which seed its detail fields; 0 without any.
pub fn number_of(id: &str) -> u64 {
    let digits = id.len() - id.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    id[id.len() - digits..].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster() -> Roster {
        Roster::new(1, &["a".to_owned(), "b".to_owned()], 25)
    }

    fn ids(club: &Club, page: u64) -> Vec<String> {
        club.rows_of(page, 10)
            .iter()
            .filter_map(|row| id_of(row))
            .collect()
    }

    #[test]
    fn pages_are_cut_and_counted() {
        let mut roster = roster();
        let club = roster.club("a").unwrap();
        for (page, rows, has_more) in [(1, 10, true), (2, 10, true), (3, 5, false), (4, 0, false)] {
            let answer: Value = serde_json::from_slice(&club.page(page, 10)).unwrap();
            assert_eq!(
                answer["members"].as_array().unwrap().len(),
                rows,
                "page {page}"
            );
            assert_eq!(answer["hasMore"], has_more, "page {page}");
            assert_eq!(answer["totalCount"], 25);
        }
    }

    #[test]
    fn edits_show_in_the_next_answer() {
        let mut roster = roster();
        let set = BTreeMap::from([(
            "email".to_owned(),
            RawValue::from_string("\"x@example.ie\"".to_owned()).unwrap(),
        )]);
        let before = roster.club("a").unwrap().page(1, 10);
        roster
            .patch(None, "GAA-000003", &set, &["phone".to_owned()])
            .unwrap();
        let after = roster.club("a").unwrap().page(1, 10);
        assert_ne!(before, after);
        let answer: Value = serde_json::from_slice(&after).unwrap();
        assert_eq!(answer["members"][2]["email"], "x@example.ie");
        assert!(answer["members"][2].get("phone").is_none());
        assert!(roster.patch(Some("b"), "GAA-000003", &set, &[]).is_err());
    }

    #[test]
    fn rows_can_shift_between_pages() {
        let mut roster = roster();
        let club = roster.club("a").unwrap();
        club.drop_first(1);
        assert_eq!(ids(club, 2)[0], "GAA-000012");
        club.move_row(0, 23).unwrap();
        assert_eq!(ids(club, 3).last().unwrap(), "GAA-000002");
        assert!(club.move_row(0, 24).is_err());
        roster.delete(None, "GAA-000025").unwrap();
        assert_eq!(roster.club("a").unwrap().len(), 23);
    }

    #[test]
    fn the_detail_has_list_and_detail_fields() {
        let mut roster = roster();
        let set = BTreeMap::from([(
            "allergies".to_owned(),
            RawValue::from_string("\"Hazelnuts\"".to_owned()).unwrap(),
        )]);
        roster.patch(None, "GAA-000026", &set, &[]).unwrap();
        let detail: Value =
            serde_json::from_str(&roster.detail(None, "GAA-000026").unwrap()).unwrap();
        assert_eq!(detail["member"]["memberId"], "GAA-000026");
        assert_eq!(detail["member"]["allergies"], "Hazelnuts");
        assert!(detail["member"]["teams"].is_array());
        assert!(!roster.club("b").unwrap().rows()[0].contains("Hazelnuts"));
        assert!(roster.detail(Some("a"), "GAA-000026").is_none());
    }

    #[test]
    fn ids_of_any_type_are_found() {
        for (row, id) in [
            (r#"{"memberId":"GAA-1"}"#, Some("GAA-1")),
            (r#"{"memberId":9007199254740993}"#, Some("9007199254740993")),
            (r#"{"memberId":""}"#, Some("")),
            (r#"{"firstName":"\ud83d"}"#, None),
        ] {
            assert_eq!(id_of(row).as_deref(), id, "{row}");
        }
    }
}
