//! The header line: which column holds what.

use syncline_plugin_sdk::{Error, Result, log};

use crate::{csv, text};

/// What a column may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Id,
    MembershipNumber,
    FirstName,
    LastName,
    DateOfBirth,
    Email,
    Phone,
    Address,
    Address1,
    Address2,
    Address3,
    Town,
    County,
    Postcode,
    MembershipStatus,
    JoinDate,
    Gender,
    IrishFirstName,
    IrishLastName,
    MembershipType,
    UpdatedAt,
}

/// The headers seen in the wild, normalized.
const KNOWN: [(Column, &[&str]); 21] = [
    (Column::Id, &["identifier", "memberid", "foireannid", "externalid", "id"]),
    (Column::MembershipNumber, &["membershipnumber", "membershipno", "membernumber"]),
    (Column::FirstName, &["forename", "firstname", "givenname", "forenames"]),
    (Column::LastName, &["surname", "lastname", "familyname"]),
    (Column::DateOfBirth, &["dob", "dateofbirth", "birthdate"]),
    (Column::Email, &["email", "emailaddress"]),
    (
        Column::Phone,
        &["mobilenumber", "phone", "mobile", "phonenumber", "mobilephone", "telephone"],
    ),
    (Column::Address, &["address", "fulladdress"]),
    (Column::Address1, &["address1", "addressline1", "street"]),
    (Column::Address2, &["address2", "addressline2"]),
    (Column::Address3, &["address3", "addressline3"]),
    (Column::Town, &["town", "city", "towncity"]),
    (Column::County, &["county"]),
    (
        Column::Postcode,
        &["postcode", "eircode", "zip", "zipcode", "postcodeeircodezip", "postcodeeircode"],
    ),
    (Column::MembershipStatus, &["membershipstatus", "status"]),
    (Column::JoinDate, &["joindate", "datejoined", "joined", "registrationdate"]),
    (Column::Gender, &["gender", "sex"]),
    (Column::IrishFirstName, &["irishforename", "irishfirstname"]),
    (Column::IrishLastName, &["irishsurname", "irishlastname"]),
    (Column::MembershipType, &["membershiptype", "membertype"]),
    (Column::UpdatedAt, &["updatedat", "lastmodified", "lastupdated"]),
];

/// Spreadsheets may write this line first, to name the delimiter.
const SEPARATOR_LINE: &str = "sep=";

/// A header line that can be used.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) delimiter: char,
    /// How many cells the line has.
    pub(crate) cells: usize,
    /// Where the rows begin.
    pub(crate) end: usize,
    /// Column and its position, each column once.
    columns: Vec<(Column, usize)>,
    unknown: Vec<String>,
    repeated: Vec<String>,
}

impl Header {
    /// Reads the first line that is not blank. Fails unless there are columns for an id and for both names.
    pub(crate) fn read(file: &str) -> Result<Self> {
        let start = skip_blank_lines(file, 0);
        let line = line_at(file, start);
        let (start, named) = match line.get(..SEPARATOR_LINE.len()) {
            Some(head) if head.eq_ignore_ascii_case(SEPARATOR_LINE) => {
                (skip_blank_lines(file, start + line.len()), line.chars().nth(SEPARATOR_LINE.len()))
            }
            _ => (start, None),
        };
        let delimiter = named.unwrap_or_else(|| guess_delimiter(line_at(file, start)));
        let record = csv::record(file, start, delimiter, None)
            .ok_or_else(|| Error::BadResponse("the file is empty".to_owned()))?;
        let mut header = Self {
            delimiter,
            cells: record.cells.len(),
            end: record.end,
            columns: Vec::new(),
            unknown: Vec::new(),
            repeated: Vec::new(),
        };
        for (position, cell) in record.cells.iter().enumerate() {
            let name = text::normalized(cell);
            match KNOWN.iter().find(|(_, names)| names.contains(&name.as_str())) {
                Some((column, _)) if header.position(*column).is_none() => {
                    header.columns.push((*column, position))
                }
                Some(_) => header.repeated.push(cell.trim().to_owned()),
                None if name.is_empty() => {}
                None => header.unknown.push(cell.trim().to_owned()),
            }
        }
        header.require(&record.cells)?;
        Ok(header)
    }

    /// Where a column is; `None` where the file has none.
    pub(crate) fn position(&self, column: Column) -> Option<usize> {
        self.columns.iter().find(|(other, _)| *other == column).map(|(_, position)| *position)
    }

    /// Says once what is ignored.
    pub(crate) fn report(&self) {
        if !self.unknown.is_empty() {
            log::info!("columns that are not known are ignored: {}", self.unknown.join(", "));
        }
        if !self.repeated.is_empty() {
            log::warn!(
                "columns that come twice are ignored after the first: {}",
                self.repeated.join(", ")
            );
        }
    }

    fn require(&self, cells: &[String]) -> Result<()> {
        let mut missing = Vec::new();
        if self.position(Column::Id).or_else(|| self.position(Column::MembershipNumber)).is_none() {
            missing.push("an id (`identifier`, `memberId` or `Membership Number`)");
        }
        if self.position(Column::FirstName).is_none() {
            missing.push("a first name (`Forename` or `First Name`)");
        }
        if self.position(Column::LastName).is_none() {
            missing.push("a last name (`Surname` or `Last Name`)");
        }
        if missing.is_empty() {
            return Ok(());
        }
        let found: Vec<String> =
            cells.iter().take(50).map(|cell| cell.trim().chars().take(60).collect()).collect();
        Err(Error::BadResponse(format!(
            "the file has no column for {}; its first line is: {}",
            missing.join(" nor for "),
            found.join(" | ")
        )))
    }
}

fn line_at(file: &str, at: usize) -> &str {
    file.get(at..).and_then(|rest| rest.split(['\n', '\r']).next()).unwrap_or_default()
}

fn skip_blank_lines(file: &str, at: usize) -> usize {
    let rest = file.get(at..).unwrap_or_default();
    file.len() - rest.trim_start_matches(['\n', '\r', ' ']).len()
}

/// The most frequent of the usual delimiters outside quotes; a comma where there is none.
fn guess_delimiter(line: &str) -> char {
    let outside = || line.split('"').step_by(2);
    let count =
        |delimiter: char| outside().map(|part| part.matches(delimiter).count()).sum::<usize>();
    let candidates = ['\t', ';', ','].map(|delimiter| (count(delimiter), delimiter));
    candidates
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .max_by_key(|(count, _)| *count)
        .map_or(',', |(_, found)| found)
}
