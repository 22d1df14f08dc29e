//! The remote's side of one row on its way into the plan, borrowed from the page: most rows are packed or dropped without
//! a copy of their texts.

use crate::mapping::{Given, Mapped};
use crate::model::new_rows::NewRow;
use crate::model::plan::{PlanRow, RemoteState};
use crate::model::value::encode_list;
use crate::model::{Cell, RecordStatus};
use crate::store::links::Fingerprint;
use std::borrow::Cow;

pub(super) struct Remote<'a> {
    pub(super) external_id: &'a str,
    pub(super) fingerprint: Fingerprint,
    /// By position of the template's fields.
    pub(super) values: &'a [Given<'a>],
    /// Secondary ids: (kind, value).
    pub(super) aliases: Cow<'a, [(&'a str, &'a str)]>,
    pub(super) status: Option<RecordStatus>,
    pub(super) version: Option<&'a str>,
    /// Milliseconds since the epoch.
    pub(super) updated_at: Option<i64>,
    pub(super) deleted: bool,
}

impl<'a> Remote<'a> {
    pub(super) fn of_mapped(mapped: &'a Mapped<'_>, fingerprint: Fingerprint) -> Remote<'a> {
        Remote {
            external_id: mapped.external_id,
            fingerprint,
            values: &mapped.values,
            aliases: Cow::Borrowed(&mapped.aliases),
            status: mapped.status,
            version: mapped.version,
            updated_at: mapped.updated_at,
            deleted: mapped.deleted,
        }
    }

    /// A row that was planned before, with its values decoded.
    pub(super) fn of_row(row: &'a PlanRow, values: &'a [Given<'a>]) -> Remote<'a> {
        let state = &row.remote;
        Remote {
            external_id: &row.external_id,
            fingerprint: state.fingerprint,
            values,
            aliases: state.aliases.iter().map(|(kind, id)| (kind.as_str(), id.as_str())).collect(),
            status: state.status,
            version: state.version.as_deref(),
            updated_at: state.updated_at,
            deleted: state.deleted,
        }
    }

    /// The same of a row that was to be created.
    pub(super) fn of_new(row: &'a NewRow<'_>, values: &'a [Given<'a>]) -> Remote<'a> {
        Remote {
            external_id: row.external_id,
            fingerprint: row.fingerprint,
            values,
            aliases: Cow::Borrowed(&row.aliases),
            status: row.status,
            version: row.version,
            updated_at: row.updated_at,
            deleted: false,
        }
    }

    pub(super) fn encode_values(&self, into: &mut Vec<u8>) {
        encode_list(self.values.iter().map(Given::cell), into);
    }

    /// For the plan of a record that exists.
    pub(super) fn state(&self) -> RemoteState {
        let mut values = Vec::with_capacity(self.values.len() * 24);
        self.encode_values(&mut values);
        let owned = |(kind, id): &(&str, &str)| ((*kind).to_owned(), (*id).to_owned());
        RemoteState {
            values,
            fingerprint: self.fingerprint,
            aliases: self.aliases.iter().map(owned).collect(),
            status: self.status,
            version: self.version.map(str::to_owned),
            updated_at: self.updated_at,
            deleted: self.deleted,
        }
    }

    /// For the plan of a record that does not exist; `encoded` are the values.
    pub(super) fn new_row<'b>(
        &'b self,
        match_keys: &'b [(u8, String)],
        encoded: &'b [u8],
    ) -> NewRow<'b> {
        let absent = (0..).zip(self.values).filter(|(_, value)| value.cell() == Cell::Absent);
        NewRow {
            external_id: self.external_id,
            values: encoded,
            fingerprint: self.fingerprint,
            aliases: Cow::Borrowed(&self.aliases),
            match_keys: match_keys.iter().map(|(rule, key)| (*rule, key.as_str())).collect(),
            status: self.status,
            version: self.version,
            updated_at: self.updated_at,
            absent: absent.map(|(at, _)| at).collect(),
        }
    }
}
