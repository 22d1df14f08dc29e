//! Channels, and the messages to them: rows, the order in which they are due, and the groups that still collect.

use super::file::{Read, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::retention::{self, Class};
use super::tables::{CHANNELS, NOTICE_GROUPS, NOTICES, NOTICES_BY_CHANNEL, NOTICES_DUE};
use super::{Error, meta, rows};
use crate::model::OrgNo;
use crate::model::channel::{Channel, Delivery};
use crate::model::ids::{ChannelId, DeliveryId};
use serde::{Deserialize, Serialize};
use std::ops::{Bound, ControlFlow};

/// Messages that the log keeps; over it the oldest that are over go.
pub const NOTICES_KEPT_MAX: u64 = 5_000;
/// How many rows one write takes out of the log at most.
const PRUNED_AT_ONCE: usize = 50;

pub fn next_channel_id(txn: &Txn) -> Result<ChannelId, Error> {
    let number = meta::next(txn, "channel")?;
    u32::try_from(number).map(ChannelId).map_err(|error| Error::Storage(error.to_string()))
}

pub fn channel(read: &dyn Read, id: ChannelId) -> Result<Option<Channel>, Error> {
    let row = read.get_row(CHANNELS, Key::new().u32(id.0).bytes())?;
    row.map(|row| rows::from_json(CHANNELS, &row)).transpose()
}

/// All channels, oldest first: few rows.
pub fn channels(read: &dyn Read) -> Result<Vec<Channel>, Error> {
    rows::collect_json(read, CHANNELS, &Key::new())
}

pub fn put_channel(txn: &Txn, channel: &Channel) -> Result<(), Error> {
    txn.put(CHANNELS, Key::new().u32(channel.id.0).bytes(), &rows::to_json(channel)?)
}

/// Deletes the channel and its groups; its messages stay in the log.
pub fn delete_channel(txn: &Txn, id: ChannelId) -> Result<(), Error> {
    txn.delete_prefix(NOTICE_GROUPS, &Key::new().u32(id.0))?;
    txn.delete(CHANNELS, Key::new().u32(id.0).bytes())
}

pub fn next_delivery_id(txn: &Txn) -> Result<DeliveryId, Error> {
    meta::next(txn, "notice").map(DeliveryId)
}

pub fn delivery(read: &dyn Read, id: DeliveryId) -> Result<Option<Delivery>, Error> {
    let row = read.get_row(NOTICES, Key::new().u64(id.0).bytes())?;
    row.map(|row| rows::from_json(NOTICES, &row)).transpose()
}

/// Writes a message and keeps its place in the order of what is due.
pub fn put_delivery(txn: &Txn, delivery: &Delivery) -> Result<(), Error> {
    unlist(txn, delivery.id)?;
    let number = Key::new().u64(delivery.id.0);
    txn.put(NOTICES, number.bytes(), &rows::to_json(delivery)?)?;
    txn.put(NOTICES_BY_CHANNEL, by_channel(delivery.channel, delivery.id).bytes(), &[])?;
    if let Some(at) = delivery.due_at {
        let value = rows::to_binary(&delivery.channel.0)?;
        txn.put(NOTICES_DUE, due_key(at, delivery.id).bytes(), &value)?;
    }
    match delivery.ended_at.filter(|_| delivery.is_over()) {
        Some(at) => retention::note(txn, Class::Notices, at, OrgNo::default(), delivery.id.0),
        None => Ok(()),
    }
}

/// Removes a message that another one took over.
pub fn delete_delivery(txn: &Txn, delivery: &Delivery) -> Result<(), Error> {
    unlist(txn, delivery.id)?;
    txn.delete(NOTICES_BY_CHANNEL, by_channel(delivery.channel, delivery.id).bytes())?;
    txn.delete(NOTICES, Key::new().u64(delivery.id.0).bytes())
}

fn unlist(txn: &Txn, id: DeliveryId) -> Result<(), Error> {
    match delivery(txn, id)?.and_then(|before| before.due_at) {
        Some(at) => txn.delete(NOTICES_DUE, due_key(at, id).bytes()),
        None => Ok(()),
    }
}

fn by_channel(channel: ChannelId, id: DeliveryId) -> Key {
    Key::new().u32(channel.0).u64(id.0)
}

fn due_key(at: i64, id: DeliveryId) -> Key {
    Key::new().u64(u64::try_from(at).unwrap_or(0)).u64(id.0)
}

/// Makes everything that waits for a channel due now: what it waits for may have changed with the channel.
pub fn hurry(txn: &Txn, channel: ChannelId, now: i64) -> Result<(), Error> {
    let mut waiting = Vec::new();
    scan_due(txn, &mut |at, id, of| {
        waiting.extend((of == channel && at > now).then_some(id));
        ControlFlow::Continue(())
    })?;
    for id in waiting {
        if let Some(mut delivery) = delivery(txn, id)? {
            delivery.due_at = Some(now);
            put_delivery(txn, &delivery)?;
        }
    }
    Ok(())
}

/// Visits the messages that are not over with the time at which each is due, earliest first.
pub fn scan_due(
    read: &dyn Read,
    visit: &mut dyn FnMut(i64, DeliveryId, ChannelId) -> ControlFlow<()>,
) -> Result<(), Error> {
    scan_prefix(read, NOTICES_DUE, &Key::new(), &mut |key, row| {
        let mut parts = Parts(key);
        let (at, id) = (parts.u64().unwrap_or_default(), parts.u64().unwrap_or_default());
        let channel = ChannelId(rows::from_binary(NOTICES_DUE, row)?);
        Ok(visit(i64::try_from(at).unwrap_or(i64::MAX), DeliveryId(id), channel))
    })
}

/// Messages from the newest to the oldest, below `before`, of one channel or of all, until `visit` breaks.
pub fn scan_newest(
    read: &dyn Read,
    channel: Option<ChannelId>,
    before: Option<DeliveryId>,
    visit: &mut dyn FnMut(Delivery) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (table, prefix) = match channel {
        Some(channel) => (NOTICES_BY_CHANNEL, Key::new().u32(channel.0)),
        None => (NOTICES, Key::new()),
    };
    let upper = prefix.clone().u64(before.map_or(u64::MAX, |id| id.0));
    let bounds = (Bound::Included(prefix.bytes()), Bound::Excluded(upper.bytes()));
    read.scan_rows(table, bounds, true, &mut |key, row| {
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).u64().map(DeliveryId);
        let found = match channel {
            None => Some(rows::from_json(NOTICES, row)?),
            Some(_) => delivery(read, id.unwrap_or_default())?,
        };
        Ok(found.map_or(ControlFlow::Continue(()), &mut *visit))
    })
}

/// Takes the oldest messages that are over out of a log that has grown too long.
pub fn prune(txn: &Txn) -> Result<(), Error> {
    let newest = meta::last(txn, "notice")?;
    let mut old = Vec::new();
    let upper = Key::new().u64(newest.saturating_sub(NOTICES_KEPT_MAX));
    let bounds = (Bound::Unbounded, Bound::Excluded(upper.bytes()));
    txn.scan_rows(NOTICES, bounds, false, &mut |_, row| {
        old.extend(Some(rows::from_json(NOTICES, row)?).filter(Delivery::is_over));
        let full = old.len() >= PRUNED_AT_ONCE;
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    old.iter().try_for_each(|delivery| delete_delivery(txn, delivery))
}

/// The state of one group of events of a channel: by kind, or all that the quiet hours hold back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Before this time a further event of the group is collected rather than told at once.
    pub until: i64,
    /// The message that collects.
    pub collecting: Option<DeliveryId>,
}

/// An audience is an organization; 0 stands for the channel's own recipients.
fn group_key(channel: ChannelId, name: &str, audience: Option<OrgNo>) -> Key {
    Key::new().u32(channel.0).text(name).u32(audience.unwrap_or_default().0)
}

pub fn group(
    read: &dyn Read,
    channel: ChannelId,
    name: &str,
    audience: Option<OrgNo>,
) -> Result<Group, Error> {
    let row = read.get_row(NOTICE_GROUPS, group_key(channel, name, audience).bytes())?;
    Ok(row.map(|row| rows::from_json(NOTICE_GROUPS, &row)).transpose()?.unwrap_or_default())
}

pub fn put_group(
    txn: &Txn,
    channel: ChannelId,
    name: &str,
    audience: Option<OrgNo>,
    group: Group,
) -> Result<(), Error> {
    let key = group_key(channel, name, audience);
    txn.put(NOTICE_GROUPS, key.bytes(), &rows::to_json(&group)?)
}
