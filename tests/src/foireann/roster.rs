//! The members of all clubs, and the edits that tests make to them.
//!
//! Owns which club has whom and the detail fields; rows and pages are in [`super::club`].

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::club::{Club, number_of};
use super::generate;

/// All clubs of one federation.
pub struct Roster {
    seed: u64,
    clubs: BTreeMap<String, Club>,
    /// Detail fields that a test has set, by member id.
    details: HashMap<String, Map<String, Value>>,
}

/// What is wrong with an edit that a test asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no club {0}")]
    NoClub(String),
    #[error("there is no member {0}")]
    NoMember(String),
    #[error("member {id} is no JSON object: {cause}")]
    NotAnObject { id: String, cause: serde_json::Error },
    #[error("row {row} is outside of the list of {len}")]
    OutOfRange { row: usize, len: usize },
}

impl Roster {
    /// Clubs of `members` generated members each; the numbers go on from club to club, so that no
    /// two clubs share an id.
    pub fn new(seed: u64, clubs: &[String], members: u64) -> Roster {
        let mut roster = Roster { seed, clubs: BTreeMap::new(), details: HashMap::new() };
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
        self.clubs.insert(club.to_owned(), Club::new(rows));
    }

    pub fn club(&mut self, club: &str) -> Result<&mut Club, Error> {
        self.clubs.get_mut(club).ok_or_else(|| Error::NoClub(club.to_owned()))
    }

    /// Club names with the number of their members, sorted.
    pub fn sizes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.clubs.iter().map(|(name, club)| (name.as_str(), club.len()))
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
                let value = serde_json::from_str(value.get())
                    .map_err(|cause| Error::NotAnObject { id: id.to_owned(), cause })?;
                self.details.entry(id.to_owned()).or_default().insert(field.to_owned(), value);
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
                candidate.remove_row(row);
                found = true;
            }
        }
        if found { Ok(()) } else { Err(Error::NoMember(id.to_owned())) }
    }

    /// The `{member}` text of a detail answer: the list fields and the detail fields.
    pub fn detail(&mut self, club: Option<&str>, id: &str) -> Option<String> {
        let wanted = |name: &str| club.is_none_or(|club| club == name);
        let row = self
            .clubs
            .iter_mut()
            .filter(|(name, _)| wanted(name))
            .find_map(|(_, club)| club.position(id).map(|row| club.rows()[row].clone()))?;
        let mut fields = generate::detail_fields(self.seed, number_of(id));
        if let Some(edited) = self.details.get(id) {
            fields.extend(edited.clone());
        }
        let list_part = row.trim_end().strip_suffix('}')?;
        let detail_part = serde_json::to_string(&fields).ok()?;
        Some(format!(r#"{{"member":{list_part},{}}}"#, detail_part.strip_prefix('{')?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::club::id_of;
    use super::*;

    fn roster() -> Roster {
        Roster::new(1, &["a".to_owned(), "b".to_owned()], 25)
    }

    fn ids(club: &Club, page: u64) -> Vec<String> {
        club.rows_of(page, 10).iter().filter_map(|row| id_of(row)).collect()
    }

    #[test]
    fn pages_are_cut_and_counted() {
        let mut roster = roster();
        let club = roster.club("a").unwrap();
        for (page, rows, has_more) in [(1, 10, true), (2, 10, true), (3, 5, false), (4, 0, false)] {
            let answer: Value = serde_json::from_slice(&club.page(page, 10)).unwrap();
            assert_eq!(answer["members"].as_array().unwrap().len(), rows, "page {page}");
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
        roster.patch(None, "GAA-000003", &set, &["phone".to_owned()]).unwrap();
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
