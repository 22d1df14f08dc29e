//! One row of the file as a member.

use syncline_plugin_sdk::{PageBuilder, Result, Value};

use crate::csv::Record;
use crate::header::{Column, Header};

/// The fields of a row, in order.
pub(crate) const FIELDS: [&str; 14] = [
    "memberId",
    "firstName",
    "lastName",
    "dateOfBirth",
    "email",
    "phone",
    "address",
    "membershipNumber",
    "membershipStatus",
    "joinDate",
    "gender",
    "irishFirstName",
    "irishLastName",
    "membershipType",
];

/// Kind of the alias under which the membership number is known.
const MEMBERSHIP_NUMBER_KIND: &str = "membershipNumber";

/// What an address is put together from, where it is not in one column.
const ADDRESS_PARTS: [Column; 6] = [
    Column::Address1,
    Column::Address2,
    Column::Address3,
    Column::Town,
    Column::County,
    Column::Postcode,
];

/// Adds the row, or a reject that says why it cannot be one.
pub(crate) fn add(record: &Record<'_>, header: &Header, page: &mut PageBuilder) -> Result<()> {
    let row = Row { record, header };
    let number = row.text(Column::MembershipNumber);
    let id_column =
        if header.position(Column::Id).is_some() { Column::Id } else { Column::MembershipNumber };
    let Some(id) = row.text(id_column) else {
        page.reject(None, "the identifier is empty", record.raw);
        return Ok(());
    };
    // Surplus cells mean that some cell holds a delimiter without quotes: nobody knows which ones moved.
    if record.cells.iter().skip(header.cells).any(|cell| !cell.trim().is_empty()) {
        let reason =
            format!("the row has {} cells for {} columns", record.cells.len(), header.cells);
        page.reject(Some(id.to_owned()), reason, record.raw);
        return Ok(());
    }
    let values = vec![
        Value::from(id),
        row.value(Column::FirstName),
        row.value(Column::LastName),
        row.value(Column::DateOfBirth),
        row.value(Column::Email),
        row.value(Column::Phone),
        row.address(),
        row.value(Column::MembershipNumber),
        row.value(Column::MembershipStatus),
        row.value(Column::JoinDate),
        row.value(Column::Gender),
        row.value(Column::IrishFirstName),
        row.value(Column::IrishLastName),
        row.value(Column::MembershipType),
    ];
    let mut builder = page.row(id).updated_at(row.text(Column::UpdatedAt));
    if let Some(number) = number {
        builder = builder.alias(MEMBERSHIP_NUMBER_KIND, number);
    }
    builder.values(values)
}

#[derive(Clone, Copy)]
struct Row<'a> {
    record: &'a Record<'a>,
    header: &'a Header,
}

impl<'a> Row<'a> {
    /// The cell as given; `None` where the file or the row has no such cell.
    fn cell(&self, column: Column) -> Option<&'a str> {
        self.header
            .position(column)
            .and_then(|position| self.record.cells.get(position))
            .map(String::as_str)
    }

    /// The trimmed cell; `None` where it is missing or blank.
    fn text(&self, column: Column) -> Option<&'a str> {
        self.cell(column).map(str::trim).filter(|text| !text.is_empty())
    }

    /// A blank cell says that there is nothing; a missing column says nothing.
    fn value(&self, column: Column) -> Value {
        match self.cell(column) {
            None => Value::Absent,
            Some(cell) if cell.trim().is_empty() => Value::Null,
            Some(cell) => Value::from(cell),
        }
    }

    /// One line, as the Foireann-style API has it.
    fn address(&self) -> Value {
        if self.header.position(Column::Address).is_some() {
            return self.value(Column::Address);
        }
        if ADDRESS_PARTS.iter().all(|column| self.cell(*column).is_none()) {
            return Value::Absent;
        }
        let parts: Vec<&str> =
            ADDRESS_PARTS.iter().filter_map(|column| self.text(*column)).collect();
        if parts.is_empty() { Value::Null } else { Value::Text(parts.join(", ")) }
    }
}
