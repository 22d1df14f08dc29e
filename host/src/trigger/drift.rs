//! Whether a schedule keeps up with itself: how many of its fires came to a run, what became of the others, and how long
//! the runs waited in the queue.

use crate::model::OrgNo;
use crate::model::ids::ScheduleId;
use crate::model::schedule::{Fire, Outcome};
use crate::store::{self, Read, runs, schedules};
use std::ops::ControlFlow;

/// How far back it looks.
const DAYS: i64 = 7;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;
/// Lines that are looked at, and runs of them. Twice as many as are kept where nothing else is configured.
const LINES_SEEN_MAX: usize = 20_000;
const RUNS_SEEN_MAX: usize = 100;

/// The last days of a schedule in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// From when on it counts, in milliseconds since the epoch: later than seven days ago where lines are missing.
    pub since: i64,
    /// Fires that the pattern named, over all connections.
    pub expected: u64,
    /// Those that came to a run in time.
    pub fired: u64,
    /// Those that a late run made up for.
    pub caught_up: u64,
    /// Those that were left out because a run for the same took longer than the interval, or waited.
    pub overlapped: u64,
    /// Those that were left out for any other reason.
    pub skipped: u64,
    pub missed: u64,
    /// How long the newest runs waited in the queue, and how long they took.
    pub queue_wait_millis_max: u64,
    pub run_millis_max: u64,
}

/// The drift of a schedule, of one organization or of all.
pub fn drift(
    read: &dyn Read,
    schedule: ScheduleId,
    org: Option<OrgNo>,
    now: i64,
) -> Result<Drift, store::Error> {
    let since = now.saturating_sub(DAYS * DAY_MILLIS);
    let (mut drift, mut seen, mut newest) = (Drift { since, ..Drift::default() }, 0, Vec::new());
    schedules::scan_fires(read, schedule, None, &mut |fire| {
        // Lines are in the order of their beginning, and none is added to on another day.
        if fire.at < since.saturating_sub(DAY_MILLIS) {
            drift.since = since;
            return ControlFlow::Break(());
        }
        if seen == LINES_SEEN_MAX {
            return ControlFlow::Break(());
        }
        seen += 1;
        // As long as no older one follows: the first of all is the beginning of the list, others are where it was cut.
        drift.since = if fire.number > 1 { fire.at.max(since) } else { since };
        if fire.at < since {
            return ControlFlow::Continue(());
        }
        if org.is_some_and(|org| org != fire.organization.no) {
            return ControlFlow::Continue(());
        }
        if newest.len() < RUNS_SEEN_MAX {
            newest.extend(fire.run.map(|run| (run, fire.at)));
        }
        let overlapped = fire.code.as_deref().is_some_and(|code| code.starts_with("schedule."));
        let counter = match fire.outcome {
            Outcome::Fired => &mut drift.fired,
            Outcome::CaughtUp => &mut drift.caught_up,
            Outcome::Skipped if overlapped => &mut drift.overlapped,
            Outcome::Skipped => &mut drift.skipped,
            Outcome::Missed => &mut drift.missed,
            Outcome::Triggered => return ControlFlow::Continue(()),
        };
        let count = within(&fire, since);
        *counter = counter.saturating_add(count);
        drift.expected = drift.expected.saturating_add(count);
        ControlFlow::Continue(())
    })?;
    for (run, at) in newest {
        let Some(run) = runs::get(read, run)? else { continue };
        let Some(started) = run.started_at else { continue };
        let millis = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        drift.queue_wait_millis_max = drift.queue_wait_millis_max.max(millis(at, started));
        let took = run.completed_at.map_or(0, |completed| millis(started, completed));
        drift.run_millis_max = drift.run_millis_max.max(took);
    }
    Ok(drift)
}

/// How many fires of a line were due since then; of one that began earlier its share, as if they were evenly apart.
fn within(fire: &Fire, since: i64) -> u64 {
    match (fire.nominal_from, fire.nominal_at) {
        (_, Some(last)) if last < since => 0,
        (Some(first), Some(last)) if first < since => {
            let (gaps, span) = (fire.count.saturating_sub(1), last.abs_diff(first).max(1));
            let share = u128::from(gaps) * u128::from(last.abs_diff(since)) / u128::from(span);
            u64::try_from(share).unwrap_or(u64::MAX).saturating_add(1)
        }
        _ => fire.count,
    }
}
