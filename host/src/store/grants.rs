//! Rows of OAuth: what was granted, by holder, and the authorizations under way, by the hash of their state.

use super::file::{Read, Txn, scan_prefix};
use super::keys::Key;
use super::tables::{OAUTH_ATTEMPTS, OAUTH_GRANTS};
use super::{Error, meta, rows};
use crate::model::ConnectorId;
use crate::model::oauth::{Attempt, Grant, Holder};
use std::ops::ControlFlow;

fn key(holder: &Holder) -> Key {
    Key::new().u32(holder.connector.0).u32(holder.connection_id().unwrap_or_default().0)
}

pub fn get(read: &dyn Read, holder: &Holder) -> Result<Option<Grant>, Error> {
    let row = read.get_row(OAUTH_GRANTS, key(holder).bytes())?;
    row.map(|row| rows::from_json(OAUTH_GRANTS, &row)).transpose()
}

pub fn put(txn: &Txn, grant: &Grant) -> Result<(), Error> {
    txn.put(OAUTH_GRANTS, key(&grant.holder).bytes(), &rows::to_json(grant)?)
}

pub fn delete(txn: &Txn, holder: &Holder) -> Result<(), Error> {
    txn.delete(OAUTH_GRANTS, key(holder).bytes())
}

/// A number that no set of tokens had before.
pub fn next_generation(txn: &Txn) -> Result<u64, Error> {
    meta::next(txn, "oauth-grant")
}

/// The connector's own grant and those of its connections.
pub fn of_connector(read: &dyn Read, connector: ConnectorId) -> Result<Vec<Grant>, Error> {
    rows::collect_json(read, OAUTH_GRANTS, &Key::new().u32(connector.0))
}

/// Every grant: at most one for each connector and connection. For the daily look.
pub fn all(read: &dyn Read) -> Result<Vec<Grant>, Error> {
    rows::collect_json(read, OAUTH_GRANTS, &Key::new())
}

pub fn put_attempt(txn: &Txn, state: &[u8; 32], attempt: &Attempt) -> Result<(), Error> {
    txn.put(OAUTH_ATTEMPTS, state, &rows::to_json(attempt)?)
}

/// Takes the attempt of this state out, so that nobody can take it again.
pub fn take_attempt(txn: &Txn, state: &[u8; 32]) -> Result<Option<Attempt>, Error> {
    let Some(row) = txn.get_row(OAUTH_ATTEMPTS, state)? else { return Ok(None) };
    txn.delete(OAUTH_ATTEMPTS, state)?;
    rows::from_json(OAUTH_ATTEMPTS, &row).map(Some)
}

/// Forgets the attempts that expired, and the oldest ones until fewer than `keep_max` are left.
pub fn prune_attempts(txn: &Txn, now: i64, keep_max: usize) -> Result<(), Error> {
    let (mut live, mut gone) = (Vec::new(), Vec::new());
    scan_prefix(txn, OAUTH_ATTEMPTS, &Key::new(), &mut |state, row| {
        match rows::from_json::<Attempt>(OAUTH_ATTEMPTS, row) {
            Ok(attempt) if attempt.expires_at > now => {
                live.push((attempt.created_at, state.to_vec()));
            }
            Ok(_) | Err(_) => gone.push(state.to_vec()),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    live.sort_unstable();
    let surplus = (live.len() + 1).saturating_sub(keep_max);
    gone.extend(live.into_iter().take(surplus).map(|(_, state)| state));
    gone.iter().try_for_each(|state| txn.delete(OAUTH_ATTEMPTS, state))
}
