//! A schedule: when connections are synced by themselves, where it stands with each of them, and what became of its
//! fires. Stored as JSON rows; times are milliseconds since the epoch.

use super::access::OrgKey;
use super::ids::{ConnectionId, ConnectorId, RunId, ScheduleId};
use super::run::Mode;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    pub id: ScheduleId,
    pub name: String,
    /// None: all connections of the connector.
    pub organization: Option<OrgKey>,
    pub connector: ConnectorId,
    /// Or `all`.
    pub entity: String,
    pub mode: Mode,
    pub cron: String,
    /// IANA name; none: the zone of each organization.
    pub timezone: Option<String>,
    pub overlap: Overlap,
    /// A fire that was missed for no longer than this is caught up.
    pub catch_up_millis: i64,
    /// Connections are spread over so long after the nominal time.
    pub jitter_millis: i64,
    pub enabled: bool,
    /// Made from the connector's own setting, which rules its pattern and zone.
    pub generated: bool,
    pub paused: Option<Pause>,
    /// Since when it counts: fires up to here are none of its affair.
    pub armed_at: i64,
    pub created_at: i64,
    pub updated_at: i64,
    /// Grows by one with every change and is the ETag.
    pub version: u64,
}

/// Why nothing fires for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    pub until: Option<i64>,
    pub reason: String,
    pub by: String,
    pub at: i64,
}

impl Schedule {
    /// The pause that holds at `now`: one whose end has come is over.
    pub fn pause_at(&self, now: i64) -> Option<&Pause> {
        self.paused.as_ref().filter(|pause| pause.until.is_none_or(|until| now < until))
    }

    /// Since when it counts, as seen at `now`: what a pause left out is not made up for.
    pub fn armed_at(&self, now: i64) -> i64 {
        let resumed = self.paused.as_ref().and_then(|pause| pause.until);
        // A fire on the very end of the pause is one.
        let resumed = resumed.filter(|until| *until <= now).map(|until| until - 1);
        resumed.map_or(self.armed_at, |at| at.max(self.armed_at))
    }
}

/// What happens when the run of a fire is due and one for the same is not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Overlap {
    #[default]
    Skip,
    /// One more waits behind it.
    BufferOne,
    /// The run that a schedule started before is cancelled.
    CancelOther,
}

impl Overlap {
    pub const ALL: [Overlap; 3] = [Overlap::Skip, Overlap::BufferOne, Overlap::CancelOther];

    pub fn as_str(self) -> &'static str {
        match self {
            Overlap::Skip => "skip",
            Overlap::BufferOne => "bufferOne",
            Overlap::CancelOther => "cancelOther",
        }
    }
}

impl FromStr for Overlap {
    type Err = ();

    fn from_str(text: &str) -> Result<Overlap, ()> {
        Overlap::ALL.into_iter().find(|overlap| overlap.as_str() == text).ok_or(())
    }
}

/// Where a schedule stands with one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The nominal time of the last fire that was dealt with, whatever came of it.
    pub last: i64,
    /// The run of the last fire that came to one.
    pub run: Option<RunId>,
    /// The number of the last line of the list of fires.
    pub fire: Option<u64>,
}

/// A line of the list of fires: one fire, or several in a row that came to the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fire {
    /// Within its schedule, from 1.
    pub number: u64,
    pub organization: OrgKey,
    pub connection: ConnectionId,
    pub outcome: Outcome,
    /// What the pattern says; of several the last one. None for a person's own.
    pub nominal_at: Option<i64>,
    /// Of several the first one.
    pub nominal_from: Option<i64>,
    /// The nominal time and the connection's share of the spread.
    pub due_at: Option<i64>,
    /// When it was dealt with.
    pub at: i64,
    /// How many fires it stands for; of very many, at least so many.
    pub count: u64,
    pub run: Option<RunId>,
    /// The run was waiting already.
    pub joined: bool,
    /// Why it did not come to a run of its own: stable, and in words.
    pub code: Option<String>,
    pub reason: Option<String>,
    /// The person who asked for it.
    pub by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A run was asked for in time.
    Fired,
    /// A run was asked for late, for all fires that were missed inside the catch-up window.
    CaughtUp,
    /// Nothing was asked for, and the reason says why.
    Skipped,
    /// Nothing ran then, and it is too late.
    Missed,
    /// A person asked for a run now.
    Triggered,
}

impl Outcome {
    pub const ALL: [Outcome; 5] =
        [Outcome::Fired, Outcome::CaughtUp, Outcome::Skipped, Outcome::Missed, Outcome::Triggered];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Fired => "fired",
            Outcome::CaughtUp => "caughtUp",
            Outcome::Skipped => "skipped",
            Outcome::Missed => "missed",
            Outcome::Triggered => "triggered",
        }
    }
}
