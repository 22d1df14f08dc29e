//! From events to messages: which channels are told, what becomes one message, and when it is due.
//!
//! The first event of a kind goes out at once; what follows within the window is collected and goes out as one message
//! at its end. In the quiet hours of a channel everything that is not urgent is collected, of all kinds together.
//! Everything here happens in the caller's transaction and takes the time as an argument.

use super::{quiet, recipients};
use crate::model::OrgNo;
use crate::model::access::OrgKey;
use crate::model::channel::{Channel, Delivery, DeliveryState, Sink};
use crate::model::ids::DeliveryId;
use crate::model::notice::{EventKind, Raised};
use crate::store::channels::{self, Group};
use crate::store::{Error, Txn, directory, notices};

/// Events that one transaction takes out of the outbox at most.
const ROUTED_AT_ONCE: usize = 200;
/// The group of what quiet hours hold back; no kind of event has this name.
const QUIET: &str = "quiet";

/// A receiver that is left alone for a while, as long as its channel is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Down {
    pub(super) until: i64,
    pub(super) version: u64,
    /// In a row.
    pub(super) failures: u32,
}

/// Whom a message to a channel is for.
struct Target<'a> {
    channel: &'a Channel,
    /// The admins of this organization instead of the channel's own recipients.
    audience: Option<OrgKey>,
}

impl Target<'_> {
    fn audience_no(&self) -> Option<OrgNo> {
        self.audience.as_ref().map(|organization| organization.no)
    }
}

/// Moves events from the outbox into messages; answers how many.
pub(super) fn route(txn: &Txn, now: i64, window_millis: i64) -> Result<usize, Error> {
    let taken = notices::take_raised(txn, ROUTED_AT_ONCE)?;
    let channels = if taken.is_empty() { Vec::new() } else { channels::channels(txn)? };
    let count = taken.len();
    for raised in taken {
        for target in targets(txn, &channels, &raised)? {
            place(txn, &target, raised.clone(), now, window_millis)?;
        }
    }
    if count > 0 {
        channels::prune(txn)?;
    }
    Ok(count)
}

/// All channels that asked for the event. An organization without a channel of its own hears of failed runs all the
/// same: the first e-mail channel of the installation writes to its admins, if it has any.
fn targets<'a>(
    txn: &Txn,
    channels: &'a [Channel],
    raised: &Raised,
) -> Result<Vec<Target<'a>>, Error> {
    let wanting = channels.iter().filter(|channel| channel.wants(&raised.event));
    let mut targets: Vec<Target<'a>> =
        wanting.map(|channel| Target { channel, audience: None }).collect();
    let id = raised.event.organization.as_deref();
    let id = id.filter(|_| raised.event.kind == EventKind::RunFailed);
    let organization = id.map(|id| directory::organization(txn, id)).transpose()?.flatten();
    let Some(organization) = organization else {
        return Ok(targets);
    };
    let of_its_own = |channel: &Channel| channel.enabled && channel.belongs_to(organization.no);
    let fallback = |channel: &&Channel| {
        channel.enabled && channel.organization.is_none() && matches!(channel.sink, Sink::Email(_))
    };
    if !channels.iter().any(of_its_own)
        && let Some(channel) = channels.iter().find(fallback)
        && !recipients::admins_of(txn, organization.no)?.is_empty()
    {
        let audience = OrgKey { id: organization.id, no: organization.no };
        targets.push(Target { channel, audience: Some(audience) });
    }
    Ok(targets)
}

fn quiet_until(channel: &Channel, now: i64) -> Option<i64> {
    channel.quiet_hours.as_ref().and_then(|hours| quiet::ends(hours, now))
}

fn place(
    txn: &Txn,
    target: &Target<'_>,
    raised: Raised,
    now: i64,
    window_millis: i64,
) -> Result<(), Error> {
    let kind = raised.event.kind;
    let quiet = quiet_until(target.channel, now).filter(|_| !kind.is_urgent());
    let name = quiet.map_or(kind.as_str(), |_| QUIET);
    let mut group = channels::group(txn, target.channel.id, name, target.audience_no())?;
    let collecting = group.collecting.map(|id| channels::delivery(txn, id)).transpose()?.flatten();
    if let Some(mut delivery) =
        collecting.filter(|delivery| delivery.state == DeliveryState::Collecting)
    {
        delivery.add(raised);
        return channels::put_delivery(txn, &delivery);
    }
    let id = channels::next_delivery_id(txn)?;
    let mut delivery = Delivery::new(id, target.channel, target.audience.clone(), now);
    delivery.add(raised);
    if let Some(end) = quiet {
        collect(&mut delivery, &mut group, end);
    } else if now < group.until {
        let until = group.until;
        collect(&mut delivery, &mut group, until);
    } else {
        group = Group { until: now.saturating_add(window_millis), collecting: None };
    }
    channels::put_group(txn, target.channel.id, name, target.audience_no(), group)?;
    channels::put_delivery(txn, &delivery)
}

fn collect(delivery: &mut Delivery, group: &mut Group, until: i64) {
    delivery.state = DeliveryState::Collecting;
    delivery.due_at = Some(until);
    group.collecting = Some(delivery.id);
}

/// A message that is due, with its channel, closed to further events and ready to be sent. None where it waits on, was
/// taken over by another one, or is over. `down`: the channel's receiver did not take a message and is left alone so long.
pub(super) fn seal(
    txn: &Txn,
    id: DeliveryId,
    down: Option<Down>,
    now: i64,
    window_millis: i64,
) -> Result<Option<(Delivery, Channel)>, Error> {
    let Some(mut delivery) = channels::delivery(txn, id)?.filter(|delivery| !delivery.is_over())
    else {
        return Ok(None);
    };
    let channel = channels::channel(txn, delivery.channel)?.filter(|channel| channel.enabled);
    let Some(channel) = channel else {
        delivery.end(DeliveryState::Cancelled, now);
        channels::put_delivery(txn, &delivery)?;
        return Ok(None);
    };
    if let Some(end) = quiet_until(&channel, now).filter(|_| !delivery.is_urgent()) {
        hold_back(txn, delivery, end)?;
        return Ok(None);
    }
    let down = down.filter(|down| down.until > now && down.version == channel.version);
    if let Some(down) = down {
        postpone(txn, delivery, down.until)?;
        return Ok(None);
    }
    if !delivery.was_tried() {
        open_window(txn, &delivery, now.saturating_add(window_millis))?;
    }
    delivery.state = DeliveryState::Pending;
    // Before it is sent: after a crash it is tried again under its id, and neither grows nor joins another one.
    delivery.first_attempt_at = delivery.first_attempt_at.or(Some(now));
    channels::put_delivery(txn, &delivery)?;
    Ok(Some((delivery, channel)))
}

/// What was not tried yet joins what the quiet hours hold back; what was tried keeps its id and waits by itself.
fn hold_back(txn: &Txn, mut delivery: Delivery, end: i64) -> Result<(), Error> {
    let audience = audience_no(&delivery);
    let mut group = channels::group(txn, delivery.channel, QUIET, audience)?;
    let held = group.collecting.filter(|id| *id != delivery.id);
    let held = held.map(|id| channels::delivery(txn, id)).transpose()?.flatten();
    let held = held.filter(|held| held.state == DeliveryState::Collecting);
    match held {
        _ if delivery.was_tried() => {
            delivery.due_at = Some(end);
            channels::put_delivery(txn, &delivery)
        }
        Some(mut held) => {
            channels::delete_delivery(txn, &delivery)?;
            held.absorb(delivery);
            channels::put_delivery(txn, &held)
        }
        None => {
            collect(&mut delivery, &mut group, end);
            let channel = delivery.channel;
            channels::put_group(txn, channel, QUIET, audience, group)?;
            channels::put_delivery(txn, &delivery)
        }
    }
}

/// Waits with the receiver, collecting meanwhile, so that an outage of days leaves few messages behind.
fn postpone(txn: &Txn, mut delivery: Delivery, until: i64) -> Result<(), Error> {
    if !delivery.was_tried() && delivery.state == DeliveryState::Pending {
        let name = group_name(&delivery);
        let audience = audience_no(&delivery);
        let mut group = channels::group(txn, delivery.channel, name, audience)?;
        if group.collecting.is_none() {
            collect(&mut delivery, &mut group, until);
            let channel = delivery.channel;
            channels::put_group(txn, channel, name, audience, group)?;
        }
    }
    delivery.due_at = Some(until);
    channels::put_delivery(txn, &delivery)
}

/// A message that goes out closes its group: what comes within the window after it is collected anew.
fn open_window(txn: &Txn, delivery: &Delivery, until: i64) -> Result<(), Error> {
    let audience = audience_no(delivery);
    for name in [group_name(delivery), QUIET] {
        let group = channels::group(txn, delivery.channel, name, audience)?;
        if group.collecting == Some(delivery.id) {
            let until = if name == QUIET { 0 } else { until };
            let group = Group { until, collecting: None };
            channels::put_group(txn, delivery.channel, name, audience, group)?;
        }
    }
    Ok(())
}

fn audience_no(delivery: &Delivery) -> Option<OrgNo> {
    delivery.audience.as_ref().map(|organization| organization.no)
}

/// The group that a message collects for: that of its kind, or that of the quiet hours where it tells of several.
fn group_name(delivery: &Delivery) -> &'static str {
    match delivery.kinds().as_slice() {
        [kind] => kind.as_str(),
        _ => QUIET,
    }
}
