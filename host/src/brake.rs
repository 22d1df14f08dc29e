//! Brakes and thresholds: when a plan waits for a person, and what the outcome of a run is called.
//!
//! Owns the figures' rules; counting is the caller's. All arithmetic is on whole numbers.

#[cfg(test)]
mod tests;

use crate::model::{Mode, RunStatus};
use serde::{Deserialize, Serialize};

/// The limits, each with its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Options {
    /// So many deactivations never trip the brake, whatever share they are.
    pub deactivations_free: u64,
    /// Share of the active records that may be deactivated.
    pub deactivations_max_percent: u64,
    /// So many updates of linked records never trip the brake.
    pub updates_free: u64,
    /// Share of the linked active records that a full run may change.
    pub updates_max_percent: u64,
    /// An empty source is held if at least so many linked active records came from it.
    pub emptied_linked_min: u64,
    /// Share of the fetched records that must be valid, or the run aborts.
    pub valid_min_percent: u64,
    /// Share of the valid records that must be applied for `completed`.
    pub completed_min_percent: u64,
    /// Share of the valid records that must be applied for `partial`; below, the run failed.
    pub partial_min_percent: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            deactivations_free: 10,
            deactivations_max_percent: 5,
            updates_free: 10,
            updates_max_percent: 40,
            emptied_linked_min: 1,
            valid_min_percent: 50,
            completed_min_percent: 80,
            partial_min_percent: 50,
        }
    }
}

/// What a plan would do to one entity of a connection, in numbers of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakeInput {
    pub mode: Mode,
    /// Active records of the entity before the run, linked or not.
    pub active_before: u64,
    /// Those of them that this connection had linked before the run.
    pub linked_active_before: u64,
    pub deactivations: u64,
    /// Records linked before the run that it would change. Creates and first links do not count.
    pub updates_of_linked: u64,
    /// How many records a listing that was read to its sound end held; none if there was no such listing.
    pub listing_count: Option<u64>,
}

/// Why a plan is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tripped {
    /// Stable: `sourceEmpty`, `tooManyDeactivations`, `tooManyUpdates`.
    pub code: &'static str,
    /// The figures and what to do, for people.
    pub message: String,
}

/// The first brake that this plan trips; the gravest comes first.
pub fn check(input: &BrakeInput, options: &Options) -> Option<Tripped> {
    source_empty(input, options)
        .or_else(|| too_many_deactivations(input, options))
        .or_else(|| too_many_updates(input, options))
}

fn source_empty(input: &BrakeInput, options: &Options) -> Option<Tripped> {
    let linked = input.linked_active_before;
    let trips =
        input.listing_count == Some(0) && linked > 0 && linked >= options.emptied_linked_min;
    trips.then(|| Tripped {
        code: "sourceEmpty",
        message: format!(
            "the source lists no records at all, but {linked} active records came from it: \
             check the source, and approve the plan only if it is really empty"
        ),
    })
}

fn too_many_deactivations(input: &BrakeInput, options: &Options) -> Option<Tripped> {
    let (count, active) = (input.deactivations, input.active_before);
    let percent = options.deactivations_max_percent;
    let free = options.deactivations_free;
    exceeds(count, active, free, percent).then(|| Tripped {
        code: "tooManyDeactivations",
        message: format!(
            "the run would deactivate {count} of {active} active records, more than {free} and \
             more than {percent} %: look through the plan, then approve it or cancel the run"
        ),
    })
}

fn too_many_updates(input: &BrakeInput, options: &Options) -> Option<Tripped> {
    if input.mode != Mode::Full {
        return None;
    }
    let (count, linked) = (input.updates_of_linked, input.linked_active_before);
    let percent = options.updates_max_percent;
    let free = options.updates_free;
    exceeds(count, linked, free, percent).then(|| Tripped {
        code: "tooManyUpdates",
        message: format!(
            "the run would change {count} of {linked} linked active records, more than {free} and \
             more than {percent} %: look through the plan, then approve it or cancel the run"
        ),
    })
}

/// More than `free` and more than `percent` of `whole`: that is, more than the larger of the two.
fn exceeds(count: u64, whole: u64, free: u64, percent: u64) -> bool {
    count > free && hundredfold(count) > u128::from(percent) * u128::from(whole)
}

/// At least `percent` of `whole`; nothing of nothing is enough.
fn reaches(count: u64, whole: u64, percent: u64) -> bool {
    hundredfold(count) >= u128::from(percent) * u128::from(whole)
}

fn hundredfold(count: u64) -> u128 {
    u128::from(count) * 100
}

/// Too few of the fetched records are valid: the run applies nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "only {valid} of {} fetched records are valid, fewer than {min_percent} %: nothing was \
     applied; see the failures for the reasons and check the source and the template",
    valid.saturating_add(*invalid)
)]
pub struct TooFewValid {
    pub valid: u64,
    pub invalid: u64,
    pub min_percent: u64,
}

/// Whether enough records are valid to go on. None fetched is fine.
pub fn validity(valid: u64, invalid: u64, options: &Options) -> Result<(), TooFewValid> {
    let min_percent = options.valid_min_percent;
    if reaches(valid, valid.saturating_add(invalid), min_percent) {
        Ok(())
    } else {
        Err(TooFewValid { valid, invalid, min_percent })
    }
}

/// What a run is called that applied so many of its valid records: `completed`, `partial` or `failed`.
pub fn outcome(valid: u64, applied: u64, options: &Options) -> RunStatus {
    if reaches(applied, valid, options.completed_min_percent) {
        RunStatus::Completed
    } else if reaches(applied, valid, options.partial_min_percent) {
        RunStatus::Partial
    } else {
        RunStatus::Failed
    }
}

/// Too few of the valid records could be applied for the run to be `completed`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "only {applied} of {valid} valid records could be applied, fewer than {min_percent} %: see the \
     failures for the reasons"
)]
pub struct TooFewApplied {
    pub applied: u64,
    pub valid: u64,
    pub min_percent: u64,
}

/// Why [`outcome`] is not `completed`; none where it is.
pub fn shortfall(valid: u64, applied: u64, options: &Options) -> Option<TooFewApplied> {
    let min_percent = match outcome(valid, applied, options) {
        RunStatus::Completed => return None,
        RunStatus::Partial => options.completed_min_percent,
        _ => options.partial_min_percent,
    };
    Some(TooFewApplied { applied, valid, min_percent })
}
