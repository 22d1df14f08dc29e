//! What may be worth telling a person: the closed list of events, and one event with its facts.
//!
//! An event names rows by their ids and holds no secret, no record and no field value.

use super::ids::{ConnectorId, RunId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Every kind of event. A channel may ask for some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// A run failed and no retry is planned.
    RunFailed,
    /// Too many failures in a row: the connector runs no more.
    ConnectorDisabled,
    /// A disabled connector works again.
    ConnectorRecovered,
    CredentialsExpiring,
    /// The remote system refuses them: a person must log in again.
    CredentialsDead,
    /// A brake tripped: the run waits for approval.
    RunHeld,
    /// The first conflict that waits for a person, in an inbox that was empty.
    FirstHeldConflict,
    ScheduleMissed,
    DiskLow,
    DiskRecovered,
    BackupFailed,
    RestoreDrillFailed,
    /// A connection whose last run had failed works again.
    Recovered,
    /// Somebody pressed the test button of a channel.
    ChannelTest,
}

impl EventKind {
    pub const ALL: [EventKind; 14] = [
        EventKind::RunFailed,
        EventKind::ConnectorDisabled,
        EventKind::ConnectorRecovered,
        EventKind::CredentialsExpiring,
        EventKind::CredentialsDead,
        EventKind::RunHeld,
        EventKind::FirstHeldConflict,
        EventKind::ScheduleMissed,
        EventKind::DiskLow,
        EventKind::DiskRecovered,
        EventKind::BackupFailed,
        EventKind::RestoreDrillFailed,
        EventKind::Recovered,
        EventKind::ChannelTest,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::RunFailed => "runFailed",
            EventKind::ConnectorDisabled => "connectorDisabled",
            EventKind::ConnectorRecovered => "connectorRecovered",
            EventKind::CredentialsExpiring => "credentialsExpiring",
            EventKind::CredentialsDead => "credentialsDead",
            EventKind::RunHeld => "runHeld",
            EventKind::FirstHeldConflict => "firstHeldConflict",
            EventKind::ScheduleMissed => "scheduleMissed",
            EventKind::DiskLow => "diskLow",
            EventKind::DiskRecovered => "diskRecovered",
            EventKind::BackupFailed => "backupFailed",
            EventKind::RestoreDrillFailed => "restoreDrillFailed",
            EventKind::Recovered => "recovered",
            EventKind::ChannelTest => "channelTest",
        }
    }

    /// Whether it is told at once even in the quiet hours of a channel: every hour of waiting makes it worse.
    pub fn is_urgent(self) -> bool {
        matches!(self, EventKind::DiskLow | EventKind::ChannelTest)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = ();

    fn from_str(text: &str) -> Result<EventKind, ()> {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// Something that happened. Facts are short texts by name; the known names are constants here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub kind: EventKind,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// None for what concerns the whole installation: such an event reaches no organization's channel.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub organization: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connector: Option<ConnectorId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<RunId>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub facts: BTreeMap<String, String>,
}

/// The longest fact, in characters; a longer one is cut.
pub const FACT_CHARS_MAX: usize = 300;

impl Event {
    /// A stable error code: a page of `docs/errors`.
    pub const CODE: &'static str = "code";
    /// Why, in a sentence for people.
    pub const REASON: &'static str = "reason";
    /// How many, as a whole number.
    pub const COUNT: &'static str = "count";
    /// An instant, RFC 3339.
    pub const UNTIL: &'static str = "until";

    pub fn new(kind: EventKind, at: i64) -> Event {
        let (organization, connector, run) = (None, None, None);
        Event { kind, at, organization, connector, run, facts: BTreeMap::new() }
    }

    pub fn of_organization(self, id: &str) -> Event {
        Event { organization: Some(id.to_owned()), ..self }
    }

    pub fn of_connector(self, connector: ConnectorId) -> Event {
        Event { connector: Some(connector), ..self }
    }

    pub fn of_run(self, run: RunId) -> Event {
        Event { run: Some(run), ..self }
    }

    /// One more fact. It must hold no secret, and nothing about a person that the reader need not know.
    pub fn fact(mut self, name: &str, value: &str) -> Event {
        self.facts.insert(name.to_owned(), value.chars().take(FACT_CHARS_MAX).collect());
        self
    }
}

/// An event as it waits in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    pub event: Event,
    /// How many events of this kind and organization it stands for: more than 1 after an overflow.
    pub times: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::json!(kind), kind.as_str());
        }
        assert_eq!("runfailed".parse::<EventKind>(), Err(()));
    }

    #[test]
    fn a_long_fact_is_cut() {
        let event = Event::new(EventKind::RunFailed, 0).fact(Event::REASON, &"é".repeat(1_000));
        assert_eq!(event.facts[Event::REASON].chars().count(), FACT_CHARS_MAX);
    }
}
