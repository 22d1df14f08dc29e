//! Quarantine: records that could not be processed, at most one open item for each (connection, entity, id, stage).

use super::file::{Read, Txn, scan_after, scan_prefix};
use super::keys::Key;
use super::retention::{self, Class};
use super::tables::{FAILURES, FAILURES_OPEN};
use super::{Error, meta, rows};
use crate::model::ids::{EntityNo, FailureId};
use crate::model::plan::PlanFailure;
use crate::model::{ConnectionId, ConnectorId, OrgNo, RunId};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// An item of the quarantine. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub id: FailureId,
    pub organization: String,
    pub connector: ConnectorId,
    pub connection: ConnectionId,
    pub entity: String,
    pub external_id: String,
    /// Of a row without an id: page and place on it, such as `3/2`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    pub stage: String,
    pub code: String,
    pub message: String,
    pub payload: serde_json::Value,
    pub attempts: u32,
    pub first_run: RunId,
    pub last_run: RunId,
    pub first_seen_at: i64,
    pub last_seen_at: i64,
    pub resolved_at: Option<i64>,
    pub resolved_by: Option<RunId>,
}

/// Where an item belongs.
#[derive(Clone, Debug)]
pub struct Scope {
    pub org: OrgNo,
    pub organization: String,
    pub connector: ConnectorId,
    pub connection: ConnectionId,
    pub entity: EntityNo,
    pub entity_name: String,
}

fn record_prefix(scope: &Scope, external_id: &str) -> Key {
    Key::org(scope.org).u32(scope.connection.0).entity(scope.entity).text(external_id)
}

pub fn get(read: &dyn Read, id: FailureId) -> Result<Option<Failure>, Error> {
    let row = read.get_row(FAILURES, Key::new().u64(id.0).bytes())?;
    row.map(|row| rows::from_json(FAILURES, &row)).transpose()
}

/// Records a failure: a new item, or one more attempt of the open one.
pub fn record(
    txn: &Txn,
    scope: &Scope,
    new: &PlanFailure,
    run: RunId,
    at: i64,
) -> Result<(), Error> {
    let name = if new.external_id.trim().is_empty() {
        nameless(&new.place)
    } else {
        new.external_id.clone()
    };
    let key = record_prefix(scope, &name).text(&new.stage);
    let known = match txn.get_row(FAILURES_OPEN, key.bytes())? {
        Some(row) => get(txn, FailureId(rows::from_binary(FAILURES_OPEN, &row)?))?,
        None => None,
    };
    let payload = serde_json::from_str(&new.payload)
        .unwrap_or_else(|_| serde_json::Value::String(new.payload.clone()));
    let failure = Failure {
        id: known.as_ref().map_or_else(|| next_id(txn), |known| Ok(known.id))?,
        organization: scope.organization.clone(),
        connector: scope.connector,
        connection: scope.connection,
        entity: scope.entity_name.clone(),
        external_id: new.external_id.clone(),
        place: new.place.clone(),
        stage: new.stage.clone(),
        code: new.code.clone(),
        message: new.message.clone(),
        payload,
        attempts: known.as_ref().map_or(1, |known| known.attempts.saturating_add(1)),
        first_run: known.as_ref().map_or(run, |known| known.first_run),
        last_run: run,
        first_seen_at: known.as_ref().map_or(at, |known| known.first_seen_at),
        last_seen_at: at,
        resolved_at: None,
        resolved_by: None,
    };
    txn.put(FAILURES_OPEN, key.bytes(), &rows::to_binary(&failure.id.0)?)?;
    txn.put(FAILURES, Key::new().u64(failure.id.0).bytes(), &rows::to_json(&failure)?)
}

/// What stands for the id of a row without one. No id of a remote system begins with this sign.
fn nameless(place: &str) -> String {
    format!("\u{1}{place}")
}

fn next_id(txn: &Txn) -> Result<FailureId, Error> {
    meta::next(txn, "failure").map(FailureId)
}

/// Whether a connection's entity has any open item: lets a run skip [`resolve`] record by record.
pub fn any_open(read: &dyn Read, scope: &Scope) -> Result<bool, Error> {
    let prefix = Key::org(scope.org).u32(scope.connection.0).entity(scope.entity);
    let mut any = false;
    scan_prefix(read, FAILURES_OPEN, &prefix, &mut |_, _| {
        any = true;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(any)
}

/// Closes the open items of a record that passed.
pub fn resolve(
    txn: &Txn,
    scope: &Scope,
    external_id: &str,
    run: RunId,
    at: i64,
) -> Result<(), Error> {
    let prefix = record_prefix(scope, external_id);
    let mut ids = Vec::new();
    scan_prefix(txn, FAILURES_OPEN, &prefix, &mut |_, row| {
        ids.extend(rows::from_binary::<u64>(FAILURES_OPEN, row).ok());
        Ok(ControlFlow::Continue(()))
    })?;
    if ids.is_empty() {
        return Ok(());
    }
    txn.delete_prefix(FAILURES_OPEN, &prefix)?;
    for id in ids {
        if let Some(mut failure) = get(txn, FailureId(id))? {
            failure.resolved_at = Some(at);
            failure.resolved_by = Some(run);
            txn.put(FAILURES, Key::new().u64(id).bytes(), &rows::to_json(&failure)?)?;
            retention::note(txn, Class::Failures, at, scope.org, id)?;
        }
    }
    Ok(())
}

/// The external ids of a connection's entity that have open items; a row without one goes by its place.
pub fn open_ids(read: &dyn Read, scope: &Scope) -> Result<Vec<String>, Error> {
    let prefix = Key::org(scope.org).u32(scope.connection.0).entity(scope.entity);
    let mut ids = Vec::new();
    scan_prefix(read, FAILURES_OPEN, &prefix, &mut |key, _| {
        let id = super::keys::Parts(key.get(prefix.len()..).unwrap_or_default()).text();
        ids.extend(id.map(str::to_owned));
        Ok(ControlFlow::Continue(()))
    })?;
    ids.dedup();
    Ok(ids)
}

/// Visits the open items of one organization or of all with their keys, behind the key `after` where there is one.
pub fn scan_open(
    read: &dyn Read,
    org: Option<OrgNo>,
    after: Option<&[u8]>,
    visit: &mut dyn FnMut(&[u8], Failure) -> ControlFlow<()>,
) -> Result<(), Error> {
    let prefix = org.map(Key::org).unwrap_or_default();
    scan_after(read, FAILURES_OPEN, &prefix, after, &mut |key, row| {
        let item = get(read, FailureId(rows::from_binary(FAILURES_OPEN, row)?))?;
        Ok(item.map_or(ControlFlow::Continue(()), |item| visit(key, item)))
    })
}
