//! How an attempt ends that has no effects: it failed, was cancelled, is given back, or is not its worker's any more.

use super::halt::{Halt, Reason};
use super::progress::Progress;
use super::run::blocking;
use super::setup::{self, Setup};
use super::{Deps, Failure, again, outbound, resume};
use crate::clock;
use crate::commit::{self, Ending};
use crate::model::RunStatus;
use crate::model::job::Job;
use crate::model::run::{Counts, Run, RunError};
use crate::queue;
use crate::retry;
use crate::store::staging::{self, Holder};
use crate::store::{self, runs};
use std::sync::Arc;

pub(super) async fn forget_if_over(
    deps: &Deps,
    job: &Job,
    end: Result<End, Failure>,
) -> Result<(), Failure> {
    if end? == End::Over {
        let (store, holder) = (deps.store.clone(), holder(job));
        blocking(move || Ok(staging::clear(&store, holder)?)).await?;
    }
    Ok(())
}

/// How many pages of the run's plan are staged: an attempt that ends with more came further.
pub(super) fn staged(deps: &Deps, job: &Job) -> u32 {
    resume::pages(deps, job.run).unwrap_or(u32::MAX)
}

/// What is left of a run when its worker goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Over,
    /// Another attempt follows: what is staged is kept for it.
    GoesOn,
}

pub(super) struct Failed {
    pub failure: Failure,
    /// Staged when the attempt began.
    pub pages_before: u32,
}

pub(super) fn holder(job: &Job) -> Holder {
    Holder { run: job.run, fence: job.fence }
}

pub(super) async fn after_failure(
    deps: &Deps,
    job: &Arc<Job>,
    run: Run,
    failed: Failed,
    halt: &Halt,
    progress: &Progress,
) -> Result<End, Failure> {
    let give_back = failed.failure.is_interruption() || halt.reason() == Some(Reason::Drained);
    if give_back {
        let (id, fence) = (job.id, job.fence);
        deps.store.write(move |txn| queue::release(txn, id, fence)).await?;
        tracing::info!(run = %run.id, "the run was given back: the server stops");
        return Ok(End::GoesOn);
    }
    match halt.reason() {
        // Its job is somebody else's: there is nothing to write.
        Some(Reason::Lost) => Ok(End::GoesOn),
        Some(_) => {
            let failed = Failed { failure: Failure::cancelled(), ..failed };
            end_failed(deps, job, run, failed, progress).await
        }
        None => end_failed(deps, job, run, failed, progress).await,
    }
}

/// Ends a run whose worker is gone: it panicked, or took longer than it may.
pub(super) async fn abandon(
    deps: &Deps,
    job: &Arc<Job>,
    failed: Failed,
    progress: &Progress,
) -> Result<(), Failure> {
    let Some(run) = runs::get(&deps.store.read()?, job.run)? else { return Ok(()) };
    keep_requests(deps, job, progress.take_requests()).await;
    let ended = end_failed(deps, job, run, failed, progress).await;
    deps.board.end(job.run);
    forget_if_over(deps, job, ended).await
}

/// Keeps the requests of a run that got as far as talking to the remote system and goes no further.
pub(super) async fn with_requests(
    deps: &Deps,
    job: &Arc<Job>,
    setup: &Setup,
    failure: Failure,
) -> Failure {
    let failure = failure.or_rate_limit(&setup.outbound.waits());
    keep_requests(deps, job, setup.requests.take()).await;
    match setup::parties(&deps.store, job) {
        Ok(parties) => outbound::explained(deps, &parties, failure),
        Err(_) => failure,
    }
}

async fn keep_requests(deps: &Deps, job: &Arc<Job>, lines: Vec<serde_json::Value>) {
    let holding = Arc::clone(job);
    let kept = deps.store.write(move |txn| -> Result<(), store::Error> {
        match queue::holder(txn, &holding)? {
            Some(_) => runs::append_requests(txn, holding.run, &lines),
            None => Ok(()),
        }
    });
    if let Err(error) = kept.await {
        tracing::error!(%error, run = %job.run, "cannot keep the request list");
    }
}

async fn end_failed(
    deps: &Deps,
    job: &Arc<Job>,
    mut run: Run,
    failed: Failed,
    progress: &Progress,
) -> Result<End, Failure> {
    let Failed { failure, pages_before } = failed;
    let now = clock::to_millis(deps.clock.now());
    run.max_retries = again::retries_max(deps, job)?;
    let next = again::after(deps, job, &run, &failure, pages_before)?;
    if let Some(postponed) = &next {
        progress.line("warn", "host", &again::in_words(&run, &failure, postponed));
    }
    let (logs, phases) = progress.take();
    run.phases = phases;
    run.waited_millis += progress.view().waited_millis;
    run.status = if next.is_some() { RunStatus::Waiting } else { failure.status };
    run.completed_at = Some(now);
    run.counts = deps.board.view(run.id).map(|view| planned_only(view.counts)).unwrap_or_default();
    // What was wrong with the plan that an approval could not apply is not why.
    run.errors.clear();
    run.errors_more = 0;
    push_error(deps, &mut run, &failure);
    let ending = Ending { run, logs, postponed: next, health: deps.options.health };
    match commit::note_failure(&deps.store, Arc::clone(job), ending).await {
        Ok(run) if run.status == RunStatus::Waiting && !retry::begins_anew(&failure.code) => {
            Ok(End::GoesOn)
        }
        Ok(_) => Ok(End::Over),
        Err(commit::Error::Fenced) => {
            tracing::warn!(run = %job.run, "another worker has the run: this attempt writes nothing");
            Ok(End::GoesOn)
        }
        Err(error) => Err(error.into()),
    }
}

/// A run that applied nothing shows what it read and nothing that it would have done.
pub(super) fn planned_only(counts: Counts) -> Counts {
    Counts {
        fetched: counts.fetched,
        valid: counts.valid,
        invalid: counts.invalid,
        warnings: counts.warnings,
        ..Counts::default()
    }
}

pub(super) fn push_error(deps: &Deps, run: &mut Run, failure: &Failure) {
    if run.errors.len() >= deps.options.run_errors_max {
        run.errors_more += 1;
        return;
    }
    run.errors.push(error_of(deps, failure));
}

pub(super) fn error_of(deps: &Deps, failure: &Failure) -> RunError {
    RunError {
        code: failure.code.clone(),
        message: failure.message.clone(),
        page: failure.page,
        record_id: None,
        at: clock::to_text(clock::to_millis(deps.clock.now())),
    }
}
