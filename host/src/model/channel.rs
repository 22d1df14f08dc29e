//! Channels by which people are told, and the messages on their way over them. Stored as JSON rows; times are
//! milliseconds since the epoch.

use super::access::OrgKey;
use super::ids::{ChannelId, DeliveryId, OrgNo};
use super::notice::{Event, EventKind, Raised};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A way to tell people. `version` grows by one with every change and is the ETag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    pub id: ChannelId,
    pub name: String,
    pub enabled: bool,
    /// Why the host switched it off, in words.
    pub disabled_reason: Option<String>,
    /// Whose events it receives; none: everything, also what concerns the whole installation.
    pub organization: Option<OrgKey>,
    /// None: all kinds.
    pub events: Option<Vec<EventKind>>,
    pub quiet_hours: Option<QuietHours>,
    pub sink: Sink,
    /// When the password, the secret address or the signing secret was set; none where there is none.
    pub secret_updated_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: u64,
}

impl Channel {
    pub fn belongs_to(&self, org: OrgNo) -> bool {
        self.organization.as_ref().is_some_and(|own| own.no == org)
    }

    /// Whether the channel asked for this event.
    pub fn wants(&self, event: &Event) -> bool {
        let own = self.organization.as_ref().map(|own| own.id.as_str());
        let ours = own.is_none() || own == event.organization.as_deref();
        let asked = self.events.as_ref().is_none_or(|events| events.contains(&event.kind));
        self.enabled && ours && asked
    }
}

/// Where a channel's messages go, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Sink {
    Email(Mail),
    /// The address itself is the secret.
    Slack,
    /// Signed as Standard Webhooks say.
    Webhook {
        url: String,
    },
}

impl Sink {
    pub fn kind(&self) -> &'static str {
        match self {
            Sink::Email(_) => "email",
            Sink::Slack => "slack",
            Sink::Webhook { .. } => "webhook",
        }
    }
}

/// A mail server and whom to write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    pub username: Option<String>,
    /// An address, or a name with one: `Syncline <sync@example.org>`.
    pub from: String,
    pub to: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Only to servers that the operator excepted.
    None,
    /// Begins in the clear, and goes no further where the server does not offer TLS.
    StartTls,
    Implicit,
}

/// When a channel keeps still, every day in a zone's own time. `from` later than `to` spans midnight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// `22:00`.
    pub from: String,
    pub to: String,
    /// IANA name.
    pub timezone: String,
}

/// How many events of one message are told one by one; the older ones are counted.
pub const EVENTS_SHOWN_MAX: usize = 20;
/// How many of them stay in the log when the message is over.
const EVENTS_KEPT_MAX: usize = 3;

/// One message to one channel, with the same id however often it is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub id: DeliveryId,
    pub channel: ChannelId,
    /// The channel's.
    pub organization: Option<OrgKey>,
    /// Written to the admins of this organization instead of the channel's own recipients.
    pub audience: Option<OrgKey>,
    pub state: DeliveryState,
    /// Newest last.
    pub events: Vec<Event>,
    /// Older ones, counted by kind.
    pub more: BTreeMap<EventKind, u64>,
    pub subject: Option<String>,
    pub attempts: u32,
    pub created_at: i64,
    /// None when it is over.
    pub due_at: Option<i64>,
    pub first_attempt_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub last_error: Option<String>,
    /// What the receiver said when it took the message.
    pub answer: Option<String>,
    /// Of the last attempt.
    pub latency_millis: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeliveryState {
    /// Waits for more events until it is due.
    Collecting,
    /// On its way: takes no more events.
    Pending,
    Sent,
    /// Given up.
    Failed,
    /// The channel was deleted or switched off.
    Cancelled,
}

impl DeliveryState {
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Collecting => "collecting",
            DeliveryState::Pending => "pending",
            DeliveryState::Sent => "sent",
            DeliveryState::Failed => "failed",
            DeliveryState::Cancelled => "cancelled",
        }
    }
}

impl Delivery {
    pub fn new(id: DeliveryId, channel: &Channel, audience: Option<OrgKey>, now: i64) -> Delivery {
        Delivery {
            id,
            channel: channel.id,
            organization: channel.organization.clone(),
            audience,
            state: DeliveryState::Pending,
            events: Vec::new(),
            more: BTreeMap::new(),
            subject: None,
            attempts: 0,
            created_at: now,
            due_at: Some(now),
            first_attempt_at: None,
            ended_at: None,
            last_error: None,
            answer: None,
            latency_millis: None,
        }
    }

    pub fn add(&mut self, raised: Raised) {
        let kind = raised.event.kind;
        self.events.push(raised.event);
        self.count(kind, raised.times.saturating_sub(1));
        self.shrink(EVENTS_SHOWN_MAX);
    }

    /// Takes over everything that another message would have told.
    pub fn absorb(&mut self, other: Delivery) {
        other.more.into_iter().for_each(|(kind, count)| self.count(kind, count));
        self.events.extend(other.events);
        self.events.sort_by_key(|event| event.at);
        self.shrink(EVENTS_SHOWN_MAX);
    }

    /// How many events it tells of.
    pub fn total(&self) -> u64 {
        self.events.len() as u64 + self.more.values().sum::<u64>()
    }

    /// The kinds that it tells of, each once.
    pub fn kinds(&self) -> Vec<EventKind> {
        let mut kinds: Vec<EventKind> = self.more.keys().copied().collect();
        kinds.extend(self.events.iter().map(|event| event.kind));
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// Whether the quiet hours of its channel do not hold it back.
    pub fn is_urgent(&self) -> bool {
        self.kinds().into_iter().any(EventKind::is_urgent)
    }

    /// Whether the receiver may have seen it.
    pub fn was_tried(&self) -> bool {
        self.first_attempt_at.is_some()
    }

    pub fn is_over(&self) -> bool {
        !matches!(self.state, DeliveryState::Collecting | DeliveryState::Pending)
    }

    /// Ends it; the log keeps counts and the last few events.
    pub fn end(&mut self, state: DeliveryState, now: i64) {
        (self.state, self.due_at, self.ended_at) = (state, None, Some(now));
        self.shrink(EVENTS_KEPT_MAX);
    }

    fn count(&mut self, kind: EventKind, count: u64) {
        if count > 0 {
            *self.more.entry(kind).or_default() += count;
        }
    }

    fn shrink(&mut self, events_max: usize) {
        let over = self.events.len().saturating_sub(events_max);
        for event in self.events.drain(..over).collect::<Vec<_>>() {
            self.count(event.kind, 1);
        }
    }
}
