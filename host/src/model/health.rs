//! How connectors and connections fare, and what their error logs hold. Times are milliseconds since the epoch.

use super::ids::RunId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Days that are kept.
pub const DAYS_MAX: u32 = 30;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// The day of an instant, in UTC, since the epoch.
pub fn day_of(at: i64) -> u32 {
    u32::try_from(at.div_euclid(DAY_MILLIS)).unwrap_or(0)
}

/// How a connector as a whole fares, or one of its connections. Stored in binary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Since the last good run: of a connector its faults, of a connection its runs that failed.
    pub consecutive_failures: u32,
    pub last_success_at: Option<i64>,
    pub last_error_at: Option<i64>,
    pub last_error: Option<String>,
    /// Of a connector, while it is in `error`.
    pub tripped: Option<Tripped>,
    /// The days on which there was something to count, at most [`DAYS_MAX`].
    days: BTreeMap<u32, Day>,
}

impl Health {
    /// Changes one day; days before the window that ends with it go.
    pub fn change_day(&mut self, day: u32, change: impl FnOnce(&mut Day)) {
        let first = first_of(day);
        self.days.retain(|known, _| *known >= first);
        change(self.days.entry(day).or_default());
    }

    /// The sum of the window that ends with `today`.
    pub fn window(&self, today: u32) -> Day {
        let mut sum = Day::default();
        for day in self.days.range(first_of(today)..=today).map(|(_, day)| day) {
            sum.good += day.good;
            sum.bad += day.bad;
            sum.down_millis += day.down_millis;
        }
        sum
    }
}

/// The first day of the window that ends with `day`.
pub fn first_of(day: u32) -> u32 {
    day.saturating_add(1).saturating_sub(DAYS_MAX)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tripped {
    pub at: i64,
    /// When it is asked next whether it is well again.
    pub probe_at: i64,
    /// Probes that failed since it tripped.
    pub probes: u32,
}

/// One day's runs of a connector or of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    pub good: u64,
    pub bad: u64,
    /// Time in `error`.
    pub down_millis: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LineKind {
    /// A run that failed.
    Run,
    /// The connector was disabled.
    Disabled,
    /// A probe found it still sick.
    Probe,
    /// A probe found it well: it is active again.
    Recovered,
    /// A person said that it is well.
    Cleared,
}

/// One line of the error log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub at: i64,
    pub kind: LineKind,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    pub message: String,
    /// The page of the listing, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub page: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sync_id: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub organization: Option<String>,
    /// Whether it counted against the connector as a whole.
    #[serde(default)]
    pub fault: bool,
}
