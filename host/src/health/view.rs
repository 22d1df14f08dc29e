//! Health as numbers over the last 30 days.

use crate::model::health::{Day, Health, Line, Tripped, day_of, first_of};
use crate::model::{ConnectionId, ConnectorId};
use crate::store::health::{self, Whose};
use crate::store::{self, Read};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Lines of the error log that are shown.
const LINES_SHOWN: usize = 20;

/// What is shown of a connector or of one of its connections. Shares are percent with one decimal; none where there is
/// nothing to divide by.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Of the connector as a whole, or of the connection alone.
    pub state: Health,
    /// Of the connector, while it is in `error`.
    pub tripped: Option<Tripped>,
    pub runs: Day,
    pub success_rate: Option<f64>,
    pub error_rate: Option<f64>,
    /// Of the time, not of the runs: how much of it the connector was not in `error`.
    pub uptime: f64,
    /// The newest lines of the error log, newest first.
    pub lines: Vec<Line>,
}

/// `since` is when there first was something to report on.
pub fn report(
    read: &dyn Read,
    connector: ConnectorId,
    connection: Option<ConnectionId>,
    since: i64,
    now: i64,
) -> Result<Report, store::Error> {
    let whose = Whose(connector, connection);
    let today = day_of(now);
    let of_connector = health::get(read, Whose(connector, None))?;
    // A connection is out of order with its connector.
    let (down, tripped) = (of_connector.window(today).down_millis, of_connector.tripped.clone());
    // The rest of the connector's row comes from runs of all organizations, down to the words of their errors.
    let state = match connection {
        Some(_) => health::get(read, whose)?,
        None => of_connector,
    };
    let runs = state.window(today);
    let (begin, _) = bounds(first_of(today));
    let begin = begin.max(since);
    let ongoing = tripped.as_ref().map_or(0, |tripped| now - tripped.at.max(begin));
    let down = i64::try_from(down).unwrap_or(i64::MAX).saturating_add(ongoing.max(0));
    let all = runs.good + runs.bad;
    Ok(Report {
        success_rate: (all > 0).then(|| percent(runs.good, all)),
        error_rate: (all > 0).then(|| tenths(100.0 - percent(runs.good, all))),
        uptime: uptime(down, now - begin),
        lines: health::lines(read, whose, LINES_SHOWN)?,
        runs,
        state,
        tripped,
    })
}

fn percent(part: u64, all: u64) -> f64 {
    tenths(100.0 * part as f64 / all as f64)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn uptime(down: i64, all: i64) -> f64 {
    match all {
        ..=0 => 100.0,
        all => tenths(100.0 - 100.0 * down.clamp(0, all) as f64 / all as f64),
    }
}

/// Begin and end of a day, in milliseconds since the epoch.
pub(super) fn bounds(day: u32) -> (i64, i64) {
    let begin = i64::from(day) * DAY_MILLIS;
    (begin, begin + DAY_MILLIS)
}
