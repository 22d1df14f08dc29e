//! What a run is called when it is over: by the share of the valid records that it applies, and by its listing.

use super::ending::error_of;
use super::{Deps, Failure};
use crate::brake;
use crate::model::run::{Counts, Run};
use crate::model::{Mode, RunStatus};

const TOO_FEW_APPLIED: &str = "run.too-few-applied";

/// A run of single records says nothing about the source as a whole: those that cannot be read or applied wait in
/// quarantine, and it has not failed.
pub(super) fn by_ids(run: &Run) -> bool {
    run.requests.iter().all(|request| request.mode == Mode::Ids)
}

/// The run as it stands if it ends with these counts. Where too few of the valid records are applied, an error says so,
/// ahead of the others. A dry run has that error too, and is completed all the same: it did what it was to do.
pub(super) fn ended(deps: &Deps, run: &Run, counts: &Counts, sound: bool) -> Run {
    let brakes = &deps.options.brakes;
    let unapplied = counts.quarantined.saturating_sub(counts.invalid);
    let applied = counts.valid.saturating_sub(unapplied);
    let status = match brake::outcome(counts.valid, applied, brakes) {
        _ if run.dry_run && sound => RunStatus::Completed,
        RunStatus::Completed if sound => RunStatus::Completed,
        RunStatus::Failed if !run.dry_run && !by_ids(run) => RunStatus::Failed,
        _ => RunStatus::Partial,
    };
    let mut ended = Run { counts: *counts, status, ..run.clone() };
    // Each round of a commit counts anew.
    ended.errors.retain(|error| error.code != TOO_FEW_APPLIED);
    if let Some(few) = brake::shortfall(counts.valid, applied, brakes) {
        let failure = Failure::new(TOO_FEW_APPLIED, few.to_string());
        ended.errors.insert(0, error_of(deps, &failure));
    }
    ended
}
