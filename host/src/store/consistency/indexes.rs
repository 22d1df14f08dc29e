//! Indexes have as many entries as what they list has rows, and the audit log is a whole chain.

use super::Audit;
use crate::model::channel::Delivery;
use crate::model::directory::Connection;
use crate::store::tables::{
    AUDIT, CONFLICTS, CONFLICTS_OPEN, CONNECTIONS, CONNECTIONS_BY_CONNECTOR, CONNECTIONS_BY_REMOTE,
    CONNECTIONS_FORMER, CONNECTIONS_LIVE, FAILURES, FAILURES_OPEN, IDEMPOTENCY,
    IDEMPOTENCY_BY_TIME, NOTICES, NOTICES_BY_CHANNEL, NOTICES_DUE, RUNS, RUNS_BY, SECRETS,
    SECRETS_BY_KEY, SESSIONS, SESSIONS_BY_USER, TOKEN_IDS, TOKENS, TOKENS_BY_ORGANIZATION, Table,
    USERS, USERS_BY_EMAIL, USERS_BY_ORGANIZATION,
};
use crate::store::{Error, audit, conflicts::HeldConflict, failures::Failure, rows, run_index};
use redb::TableHandle as _;
use serde::de::DeserializeOwned;

/// A table, and the indexes that list each of its rows once.
const WHOLE: &[(Table, &[Table])] = &[
    (TOKENS, &[TOKEN_IDS, TOKENS_BY_ORGANIZATION]),
    (USERS, &[USERS_BY_EMAIL, USERS_BY_ORGANIZATION]),
    (SESSIONS, &[SESSIONS_BY_USER]),
    (SECRETS, &[SECRETS_BY_KEY]),
    (IDEMPOTENCY, &[IDEMPOTENCY_BY_TIME]),
    (NOTICES, &[NOTICES_BY_CHANNEL]),
    (CONNECTIONS, &[CONNECTIONS_BY_CONNECTOR]),
];

impl Audit<'_> {
    pub(super) fn indexes(&mut self) -> Result<(), Error> {
        for (table, indexes) in WHOLE {
            let rows = self.count(*table, |_| Ok(true))?;
            for index in *indexes {
                self.listed(*index, rows)?;
            }
        }
        // By organization, connector, trigger and status.
        let runs = self.count(RUNS, |_| Ok(true))?;
        self.listed(RUNS_BY, runs * run_index::LISTS)?;
        let live = self.count_of(CONNECTIONS, |row: Connection| row.disconnected_at.is_none())?;
        self.listed(CONNECTIONS_LIVE, live)?;
        self.listed(CONNECTIONS_BY_REMOTE, live)?;
        let former = self.count_of(CONNECTIONS, |row: Connection| row.disconnected_at.is_some())?;
        self.listed(CONNECTIONS_FORMER, former)?;
        let due = self.count_of(NOTICES, |row: Delivery| row.due_at.is_some())?;
        self.listed(NOTICES_DUE, due)?;
        // One open item for each key: the index holds one row for a key, and every open item must be in it.
        let open = self.count_of(CONFLICTS, |row: HeldConflict| row.resolution.is_none())?;
        self.listed(CONFLICTS_OPEN, open)?;
        let open = self.count_of(FAILURES, |row: Failure| row.resolved_at.is_none())?;
        self.listed(FAILURES_OPEN, open)?;
        let verdict = audit::verify(self.read)?;
        if let Some((seq, why)) = verdict.bad {
            self.wrong(format!("{} {seq}: {why}", AUDIT.name()));
        }
        Ok(())
    }

    fn listed(&mut self, index: Table, wanted: u64) -> Result<(), Error> {
        let entries = self.count(index, |_| Ok(true))?;
        if entries != wanted {
            self.wrong(format!("{} has {entries} entries for {wanted} rows", index.name()));
        }
        Ok(())
    }

    fn count_of<T: DeserializeOwned>(
        &self,
        table: Table,
        wanted: impl Fn(T) -> bool,
    ) -> Result<u64, Error> {
        self.count(table, |row| Ok(wanted(rows::from_json(table, row)?)))
    }

    fn count(
        &self,
        table: Table,
        wanted: impl Fn(&[u8]) -> Result<bool, Error>,
    ) -> Result<u64, Error> {
        let mut count = 0;
        self.each(table, &mut |_, row| {
            count += u64::from(wanted(row)?);
            Ok(())
        })?;
        Ok(count)
    }
}
