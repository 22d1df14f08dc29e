//! Whether a schedule keeps up with itself: how many of its fires came to a run, what became of the others, and how long
//! the runs waited in the queue.

use crate::model::OrgNo;
use crate::model::ids::ScheduleId;
use crate::model::schedule::Outcome;
use crate::store::{self, Read, runs, schedules};
use std::ops::ControlFlow;

/// How far back it looks.
const DAYS: i64 = 7;
/// Lines that are looked at, and runs of them.
const FIRES_SEEN_MAX: usize = 2_000;
const RUNS_SEEN_MAX: usize = 100;

/// The last days of a schedule in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
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
    let since = now.saturating_sub(DAYS * 24 * 60 * 60 * 1000);
    let (mut drift, mut seen, mut newest) = (Drift::default(), 0, Vec::new());
    schedules::scan_fires(read, schedule, None, &mut |fire| {
        if fire.at < since || seen == FIRES_SEEN_MAX {
            return ControlFlow::Break(());
        }
        seen += 1;
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
        *counter = counter.saturating_add(fire.count);
        drift.expected = drift.expected.saturating_add(fire.count);
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
