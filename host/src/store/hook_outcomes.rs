//! What deliveries came to: beside the jobs that they asked for, so that one transaction holds both. Also how far
//! deliveries were processed, and which events were seen.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::tables::{
    HOOK_EVENTS, HOOK_EVENTS_BY_TIME, HOOK_OUTCOMES, HOOKS_BY_ORGANIZATION, HOOKS_DUE,
};
use super::{Error, meta, rows};
use crate::model::ids::HookId;
use crate::model::webhook::{HookDue, Outcome};
use crate::model::{ConnectorId, OrgNo};
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

const PROCESSED: &str = "hooks-processed";
const DIGEST_BYTES: usize = 16;

/// The delivery up to which all were processed, or put off with a row of their own.
pub fn processed(read: &dyn Read) -> Result<HookId, Error> {
    Ok(HookId(meta::number(read, PROCESSED)?.unwrap_or(0)))
}

pub fn put_processed(txn: &Txn, id: HookId) -> Result<(), Error> {
    meta::put_number(txn, PROCESSED, id.0)
}

fn key(id: HookId) -> Key {
    Key::new().u64(id.0)
}

pub fn outcome(read: &dyn Read, id: HookId) -> Result<Option<Outcome>, Error> {
    let row = read.get_row(HOOK_OUTCOMES, key(id).bytes())?;
    row.map(|row| rows::from_binary(HOOK_OUTCOMES, &row)).transpose()
}

/// Writes what deliveries came to, this time. `orgs` holds those that they concerned before, too.
pub fn put_outcomes(txn: &Txn, mut outcomes: Vec<(HookId, Outcome)>) -> Result<(), Error> {
    outcomes.sort_unstable_by_key(|(id, _)| *id);
    let (mut rows, mut by_organization) = (Vec::with_capacity(outcomes.len()), BTreeSet::new());
    for (id, outcome) in &mut outcomes {
        outcome.orgs.extend(outcome.events.iter().flat_map(|event| event.orgs.iter().copied()));
        by_organization.extend(outcome.orgs.iter().map(|org| (*org, *id)));
        rows.push((id.0.to_be_bytes(), rows::to_binary(outcome)?));
    }
    txn.put_sorted(HOOK_OUTCOMES, rows.into_iter())?;
    let entries = by_organization.into_iter();
    let entries = entries.map(|(org, id)| (Key::org(org).u64(id.0), []));
    txn.put_sorted(HOOKS_BY_ORGANIZATION, entries)
}

/// Whether a delivery concerned an organization.
pub fn concerned(read: &dyn Read, org: OrgNo, id: HookId) -> Result<bool, Error> {
    Ok(read.get_row(HOOKS_BY_ORGANIZATION, Key::org(org).u64(id.0).bytes())?.is_some())
}

/// Visits the deliveries that concerned an organization, before `before`, newest first.
pub fn scan_newest(
    read: &dyn Read,
    org: OrgNo,
    before: Option<HookId>,
    visit: &mut dyn FnMut(HookId) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let prefix = Key::org(org);
    let upper = prefix.clone().u64(before.map_or(u64::MAX, |before| before.0));
    let bounds = (Bound::Included(prefix.bytes()), Bound::Excluded(upper.bytes()));
    read.scan_rows(HOOKS_BY_ORGANIZATION, bounds, true, &mut |key, _| {
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).u64();
        id.map(HookId).map_or(Ok(ControlFlow::Break(())), &mut *visit)
    })
}

pub fn due(read: &dyn Read, id: HookId) -> Result<Option<HookDue>, Error> {
    let row = read.get_row(HOOKS_DUE, key(id).bytes())?;
    row.map(|row| decode_due(&row)).transpose()
}

/// The time stands before the rest, so that a look for what is due decodes nothing else.
pub fn put_due(txn: &Txn, id: HookId, due: &HookDue) -> Result<(), Error> {
    let mut row = rows::begin();
    row.extend_from_slice(&u64::try_from(due.due_at).unwrap_or_default().to_be_bytes());
    rows::append(&mut row, due)?;
    txn.put(HOOKS_DUE, key(id).bytes(), &row)
}

fn decode_due(row: &[u8]) -> Result<HookDue, Error> {
    let rest = rows::body(HOOKS_DUE, row)?.get(size_of::<u64>()..).unwrap_or_default();
    postcard::from_bytes(rest).map_err(|error| rows::corrupt(HOOKS_DUE, &error))
}

pub fn delete_due(txn: &Txn, id: HookId) -> Result<(), Error> {
    txn.delete(HOOKS_DUE, key(id).bytes())
}

/// The oldest delivery that is to be processed again.
pub fn first_due(read: &dyn Read) -> Result<Option<HookId>, Error> {
    let mut first = None;
    read.scan_rows(HOOKS_DUE, (Bound::Unbounded, Bound::Unbounded), false, &mut |key, _| {
        first = Parts(key).u64().map(HookId);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// Deliveries that are to be processed again.
#[derive(Debug, Default)]
pub struct AllDue {
    pub now: Vec<(HookId, HookDue)>,
    /// When the first of the others is due.
    pub next: Option<i64>,
}

/// Deliveries that are to be processed again by `now`, in their order, at most `limit`.
pub fn all_due(read: &dyn Read, now: i64, limit: usize) -> Result<AllDue, Error> {
    let mut due = AllDue::default();
    let everything = (Bound::Unbounded, Bound::Unbounded);
    read.scan_rows(HOOKS_DUE, everything, false, &mut |key, row| {
        let at = rows::body(HOOKS_DUE, row).ok().and_then(|row| Parts(row).u64());
        let at = at.and_then(|at| i64::try_from(at).ok()).unwrap_or_default();
        if at > now {
            due.next = Some(due.next.map_or(at, |next| next.min(at)));
        } else if due.now.len() < limit {
            let id = HookId(Parts(key).u64().unwrap_or_default());
            due.now.push((id, decode_due(row)?));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(due)
}

/// Forgets what deliveries before `oldest` came to, which are deleted themselves. At most `limit`; answers how many.
pub fn delete_before(txn: &Txn, oldest: HookId, limit: usize) -> Result<usize, Error> {
    let (mut gone, upper) = (Vec::new(), key(oldest));
    let bounds = (Bound::Unbounded, Bound::Excluded(upper.bytes()));
    txn.scan_rows(HOOK_OUTCOMES, bounds, false, &mut |key, _| {
        gone.extend(Parts(key).u64().map(HookId));
        Ok(if gone.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    for id in &gone {
        for org in outcome(txn, *id)?.into_iter().flat_map(|outcome| outcome.orgs) {
            txn.delete(HOOKS_BY_ORGANIZATION, Key::org(org).u64(id.0).bytes())?;
        }
        txn.delete(HOOK_OUTCOMES, key(*id).bytes())?;
        txn.delete(HOOKS_DUE, key(*id).bytes())?;
    }
    Ok(gone.len())
}

/// Notes an event until a time (milliseconds since the epoch); false where it was noted before and is not forgotten.
pub fn note_event(
    txn: &Txn,
    connector: ConnectorId,
    digest: &[u8; DIGEST_BYTES],
    now: i64,
    until: i64,
) -> Result<bool, Error> {
    let key = Key::new().u32(connector.0).raw(digest);
    let until = u64::try_from(until).unwrap_or_default();
    if let Some(row) = txn.get_row(HOOK_EVENTS, key.bytes())? {
        let known = Parts(rows::body(HOOK_EVENTS, &row)?).u64().unwrap_or_default();
        if i64::try_from(known).unwrap_or(i64::MAX) > now {
            return Ok(false);
        }
        let old = Key::new().u64(known).u32(connector.0).raw(digest);
        txn.delete(HOOK_EVENTS_BY_TIME, old.bytes())?;
    }
    let mut row = rows::begin();
    row.extend_from_slice(&until.to_be_bytes());
    txn.put(HOOK_EVENTS, key.bytes(), &row)?;
    let by_time = Key::new().u64(until).u32(connector.0).raw(digest);
    txn.put(HOOK_EVENTS_BY_TIME, by_time.bytes(), &[])?;
    Ok(true)
}

/// Forgets events that have run out, and beyond `count_max` those that run out first. At most `limit`; answers how many.
pub fn forget_events(txn: &Txn, now: i64, count_max: u64, limit: usize) -> Result<usize, Error> {
    let mut surplus = txn.count(HOOK_EVENTS)?.saturating_sub(count_max);
    let now = u64::try_from(now).unwrap_or_default();
    let mut gone = Vec::new();
    let everything = (Bound::Unbounded, Bound::Unbounded);
    txn.scan_rows(HOOK_EVENTS_BY_TIME, everything, false, &mut |key, _| {
        let has_run_out = Parts(key).u64().is_some_and(|until| until <= now);
        if gone.len() >= limit || (!has_run_out && surplus == 0) {
            return Ok(ControlFlow::Break(()));
        }
        surplus = surplus.saturating_sub(1);
        gone.push(key.to_vec());
        Ok(ControlFlow::Continue(()))
    })?;
    for key in &gone {
        txn.delete(HOOK_EVENTS_BY_TIME, key)?;
        txn.delete(HOOK_EVENTS, key.get(size_of::<u64>()..).unwrap_or_default())?;
    }
    Ok(gone.len())
}
