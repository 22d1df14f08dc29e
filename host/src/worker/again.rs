//! Whether another attempt follows one that failed: gathers what `retry` decides by.

use super::{Deps, Failure, resume};
use crate::clock;
use crate::model::RunStatus;
use crate::model::job::{Job, JobKind};
use crate::model::run::Run;
use crate::queue::Postponed;
use crate::retry::{self, Attempt, Next};
use crate::store::directory;
use sha2::{Digest, Sha256};

/// How often the runs of a job's connector are tried again.
pub(super) fn retries_max(deps: &Deps, job: &Job) -> Result<u32, Failure> {
    let connector = directory::connector(&deps.store.read()?, job.connector)?;
    Ok(connector.as_ref().map_or(retry::RETRIES_DEFAULT, retry::retries_max))
}

/// The next attempt, where there is one. A dry run has a person who waits for it, and an approved plan is applied or
/// stale: neither is tried again.
pub(super) fn after(
    deps: &Deps,
    job: &Job,
    run: &Run,
    failure: &Failure,
    pages_before: u32,
) -> Result<Option<Postponed>, Failure> {
    let is_sync = matches!(job.kind, JobKind::Sync { dry_run: false, .. });
    if !is_sync || failure.status != RunStatus::Failed {
        return Ok(None);
    }
    let anew = retry::begins_anew(&failure.code);
    let attempt = Attempt {
        class: retry::class(&failure.code),
        retry_at: failure.retry_at,
        progressed: !anew && resume::pages(deps, job.run)? > pages_before,
        retry_count: job.retry_count,
        uncounted: job.uncounted,
        retries_max: run.max_retries,
    };
    let now = clock::to_millis(deps.clock.now());
    match retry::next(&attempt, &deps.options.retry, now, jitter(job)) {
        Next::GiveUp => Ok(None),
        Next::Retry { at, counts } => {
            Ok(Some(Postponed { due_at: at, counts, told: failure.retry_at.is_some() }))
        }
    }
}

/// Different for each run and attempt, and the same whenever it is asked for: a simulation repeats.
fn jitter(job: &Job) -> u32 {
    let digest = Sha256::digest(format!("{} {}", job.run, job.attempt));
    let first = digest.first_chunk::<4>().copied().unwrap_or_default();
    u32::from_be_bytes(first)
}

pub(super) fn in_words(run: &Run, failure: &Failure, next: &Postponed) -> String {
    let free = if next.counts { "" } else { ", free of charge" };
    format!(
        "attempt {} failed, {}: {}; the next one is at {}{free}",
        run.attempt,
        failure.code,
        failure.message,
        clock::to_text(next.due_at)
    )
}
