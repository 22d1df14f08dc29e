//! The members as a CSV export, with the defects of real ones.
//!
//! Owns the two header spellings and the switchable defects. The export is made per request: it
//! is not a fast path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::club::{id_of, number_of};
use super::generate;

/// How the export looks. The defaults make a clean file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CsvStyle {
    pub header: Header,
    /// A byte order mark in front.
    pub bom: bool,
    /// Lines end with CR LF.
    pub crlf: bool,
    /// Every n-th row has stray quotes inside an unquoted cell.
    pub stray_quotes_every: Option<usize>,
    /// Every n-th row has no identifier.
    pub empty_identifier_every: Option<usize>,
    /// Every n-th row has one cell too few.
    pub short_row_every: Option<usize>,
    /// Blank lines at the end.
    pub blank_lines: usize,
}

/// Which names the columns have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Header {
    /// `identifier,Forename,Surname,...`: the club's export.
    #[default]
    Export,
    /// `memberId,firstName,lastName,...`: the names of the API.
    Api,
}

const EXPORT_COLUMNS: [&str; 15] = [
    "identifier",
    "Forename",
    "Surname",
    "Irish Forename",
    "Irish Surname",
    "gender",
    "DOB",
    "email",
    "Mobile Number",
    "Address1",
    "Address2",
    "Town",
    "Postcode",
    "Membership Type",
    "Player",
];
const API_COLUMNS: [&str; 11] = [
    "memberId",
    "firstName",
    "lastName",
    "dateOfBirth",
    "gender",
    "email",
    "phone",
    "address",
    "membershipNumber",
    "membershipStatus",
    "joinDate",
];

/// The file's bytes for a club's rows. Rows that are no JSON object are left out.
pub fn render(rows: &[Box<str>], seed: u64, style: &CsvStyle) -> Vec<u8> {
    let end = if style.crlf { "\r\n" } else { "\n" };
    let mut file = String::new();
    if style.bom {
        file.push('\u{FEFF}');
    }
    let columns: &[&str] = match style.header {
        Header::Export => &EXPORT_COLUMNS,
        Header::Api => &API_COLUMNS,
    };
    file.push_str(&columns.join(","));
    file.push_str(end);
    for (position, row) in rows.iter().enumerate() {
        let Ok(member) = serde_json::from_str(row) else {
            continue;
        };
        let id = id_of(row).unwrap_or_default();
        let mut cells = cells(&member, &id, seed, style.header);
        let hit = |every: Option<usize>| every.is_some_and(|n| n > 0 && (position + 1) % n == 0);
        if hit(style.empty_identifier_every) {
            cells[0].clear();
        }
        let mut cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        if hit(style.stray_quotes_every) {
            cells[1] = format!("{} \"Óg\" ", cells[1].trim_matches('"'));
        }
        if hit(style.short_row_every) {
            cells.pop();
        }
        file.push_str(&cells.join(","));
        file.push_str(end);
    }
    file.push_str(&end.repeat(style.blank_lines));
    file.into_bytes()
}

fn cells(member: &BTreeMap<String, Value>, id: &str, seed: u64, header: Header) -> Vec<String> {
    let field = |name: &str| match member.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let gender = generate::gender(seed, number_of(id)).to_owned();
    if header == Header::Api {
        let cell = |name: &&str| match *name {
            "memberId" => id.to_owned(),
            "gender" => gender.clone(),
            name => field(name),
        };
        return API_COLUMNS.iter().map(cell).collect();
    }
    let address = field("address");
    let mut parts = address.split(", ").map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let (street, town, county, postcode) = (part(), part(), part(), part());
    let is_irish = |name: &str| name.chars().any(|letter| "áéíóúÁÉÍÓÚ".contains(letter));
    let irish = |name: String| if is_irish(&name) { name } else { String::new() };
    vec![
        id.to_owned(),
        field("firstName"),
        field("lastName"),
        irish(field("firstName")),
        irish(field("lastName")),
        gender,
        field("dateOfBirth"),
        field("email"),
        field("phone"),
        street,
        county,
        town,
        postcode,
        if field("membershipStatus") == "Active" { "Full" } else { "Social" }.to_owned(),
        "Yes".to_owned(),
    ]
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(style: &CsvStyle) -> String {
        let rows: Vec<Box<str>> =
            (1..=6).map(|number| generate::list_record(1, number).into_boxed_str()).collect();
        String::from_utf8(render(&rows, 1, style)).unwrap()
    }

    #[test]
    fn a_clean_file_has_all_columns_in_each_row() {
        let text = file(&CsvStyle::default());
        assert!(text.starts_with("identifier,Forename,Surname,"));
        assert_eq!(text.lines().count(), 7);
        let api = file(&CsvStyle { header: Header::Api, ..CsvStyle::default() });
        assert!(api.lines().nth(1).unwrap().starts_with("GAA-000001,"));
        assert!(api.contains(", Co. "), "addresses are one quoted cell");
    }

    #[test]
    fn defects_are_switched_on_one_by_one() {
        let on = |change: fn(&mut CsvStyle)| {
            let mut style = CsvStyle::default();
            change(&mut style);
            file(&style)
        };
        assert!(on(|s| s.bom = true).starts_with('\u{FEFF}'));
        assert_eq!(on(|s| s.crlf = true).matches("\r\n").count(), 7);
        assert_eq!(on(|s| s.stray_quotes_every = Some(3)).matches(" \"Óg\" ").count(), 2);
        let empty = on(|s| s.empty_identifier_every = Some(2));
        assert_eq!(empty.lines().filter(|line| line.starts_with(',')).count(), 3);
        assert!(on(|s| s.blank_lines = 2).ends_with("\n\n\n"));
        assert_ne!(on(|s| s.short_row_every = Some(1)), file(&CsvStyle::default()));
    }
}
