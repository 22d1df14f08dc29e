//! Deliveries by their connector: one row for those of one commit.

use crate::model::ConnectorId;
use crate::model::ids::HookId;
use crate::store::file::{Read, Txn};
use crate::store::keys::{Key, Parts};
use crate::store::tables::HOOKS_BY_CONNECTOR;
use crate::store::{Error, rows};
use std::ops::{Bound, ControlFlow};

fn key(connector: ConnectorId, first: HookId) -> Key {
    Key::new().u32(connector.0).u64(first.0)
}

/// Notes deliveries of one connector, in the order of their numbers.
pub(super) fn put(txn: &Txn, connector: ConnectorId, ids: &[HookId]) -> Result<(), Error> {
    let Some(first) = ids.first() else { return Ok(()) };
    let mut row = rows::begin();
    let further: Vec<u64> = ids.iter().map(|id| id.0 - first.0).collect();
    rows::append(&mut row, &further)?;
    txn.put(HOOKS_BY_CONNECTOR, key(connector, *first).bytes(), &row)
}

/// The connector and the numbers of a row.
pub(in crate::store) fn decode(
    key: &[u8],
    row: &[u8],
) -> Result<(ConnectorId, Vec<HookId>), Error> {
    let mut parts = Parts(key);
    let (connector, first) = (parts.u32().unwrap_or_default(), parts.u64().unwrap_or_default());
    let further: Vec<u64> = rows::from_binary(HOOKS_BY_CONNECTOR, row)?;
    let ids = further.iter().map(|offset| HookId(first.saturating_add(*offset))).collect();
    Ok((ConnectorId(connector), ids))
}

/// Visits the numbers of a connector's deliveries before `before`, newest first. Some may be deleted.
pub(super) fn scan_newest(
    read: &dyn Read,
    connector: ConnectorId,
    before: HookId,
    visit: &mut dyn FnMut(HookId) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let (lower, upper) = (key(connector, HookId(0)), key(connector, before));
    let bounds = (Bound::Included(lower.bytes()), Bound::Excluded(upper.bytes()));
    read.scan_rows(HOOKS_BY_CONNECTOR, bounds, true, &mut |key, row| {
        let (_, ids) = decode(key, row)?;
        for id in ids.into_iter().rev().filter(|id| *id < before) {
            if visit(id)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// Deletes a connector's rows of which no delivery is behind `gone`.
pub(super) fn prune(txn: &Txn, connector: ConnectorId, gone: HookId) -> Result<(), Error> {
    let (lower, upper) = (key(connector, HookId(0)), key(connector, gone));
    let bounds = (Bound::Included(lower.bytes()), Bound::Included(upper.bytes()));
    let mut doomed = Vec::new();
    txn.scan_rows(HOOKS_BY_CONNECTOR, bounds, false, &mut |key, row| {
        let (_, ids) = decode(key, row)?;
        if ids.last().is_some_and(|last| *last > gone) {
            return Ok(ControlFlow::Break(()));
        }
        doomed.push(key.to_vec());
        Ok(ControlFlow::Continue(()))
    })?;
    doomed.iter().try_for_each(|key| txn.delete(HOOKS_BY_CONNECTOR, key))
}
