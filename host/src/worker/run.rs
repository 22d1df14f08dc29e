//! One run, from its claim to its end. Reads as the pipeline: fetch, map, detect and resolve page by page into staging,
//! then the plan with its brakes, then one commit.

use super::listing::{self, Read};
use super::progress::Progress;
use super::setup::{self, EntitySetup, Setup};
use super::stage::{Stage, plan_hash};
use super::{Deps, Failure, gone, resume, rounds, watermark};
use crate::brake::{self, BrakeInput};
use crate::clock;
use crate::commit::{self, EntityPlan, PageSource, Plan};
use crate::model::job::{Job, JobKind};
use crate::model::run::{Counts, Run, RunError};
use crate::model::{Mode, RunStatus};
use crate::store::{self, counts, runs, staging};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Runs a claimed job to its end. What goes wrong ends in the run's row, never in the worker.
pub(super) async fn run(
    deps: &Deps,
    job: Arc<Job>,
    cancel: CancellationToken,
) -> Result<(), Failure> {
    let Some(mut run) = begin(deps, &job).await? else {
        return Ok(());
    };
    let progress = deps.board.start(run.id, deps.clock.clone());
    let result = execute(deps, &job, &mut run, &cancel, &progress).await;
    let result = match result {
        Ok(()) => Ok(()),
        Err(failure) => end_failed(deps, &job, run.clone(), failure, &progress).await,
    };
    deps.board.end(run.id);
    let (store, id) = (deps.store.clone(), run.id);
    blocking(move || Ok(staging::clear(&store, id)?)).await?;
    result
}

/// Ends a run whose worker is gone: it panicked, or took longer than it may.
pub(super) async fn abandon(deps: &Deps, job: &Arc<Job>, failure: Failure) -> Result<(), Failure> {
    let Some(run) = runs::get(&deps.store.read()?, job.run)? else { return Ok(()) };
    let ended = end_failed(deps, job, run, failure, &Progress::default()).await;
    deps.board.end(job.run);
    ended
}

/// Runs what reads or writes the store at length on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::panicked)?
}

async fn begin(deps: &Deps, job: &Arc<Job>) -> Result<Option<Run>, Failure> {
    let (job, now) = (Arc::clone(job), clock::to_millis(deps.clock.now()));
    let started = deps.store.write(move |txn| -> Result<_, store::Error> {
        let Some(mut run) = runs::get(txn, job.run)? else { return Ok(None) };
        run.status = RunStatus::Running;
        run.started_at = Some(run.started_at.unwrap_or(now));
        run.attempt = job.attempt + 1;
        runs::put(txn, job.org_no, &run)?;
        Ok(Some(run))
    });
    Ok(started.await?)
}

async fn execute(
    deps: &Deps,
    job: &Arc<Job>,
    run: &mut Run,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<(), Failure> {
    progress.phase("prepare");
    let requests = run.requests.clone();
    let setup = Arc::new(setup::prepare(deps, job, run, &requests, cancel).await?);
    let approved = matches!(job.kind, JobKind::Apply { .. });
    let outcome = if approved {
        let (deps, run, setup) = (deps.clone(), run.clone(), Arc::clone(&setup));
        blocking(move || adopt_kept_plan(&deps, &run, &setup)).await
    } else {
        read_all(deps, run, &setup, cancel, progress).await
    };
    let mut outcome = match outcome {
        Ok(outcome) => outcome,
        Err(failure) => return Err(with_requests(deps, job, run, &setup, failure).await),
    };
    progress.phase("plan");
    outcome.stage.flush().await?;
    outcome.stage.settle().await?;
    let verdict = judge(deps, run, &setup, &outcome, approved)?;
    let finished = finished_run(deps, run, &outcome, &verdict, progress).await?;
    let plan = plan(deps, job, &setup, &outcome, finished, progress);
    progress.phase("commit");
    match verdict {
        Verdict::Abort(_) => Ok(commit::abort(plan).await?),
        Verdict::Hold { .. } => Ok(commit::hold(plan).await?),
        Verdict::Commit => {
            let base = (*plan.run).clone();
            let (sound, brakes) = (outcome.sound, &deps.options.brakes);
            let finish = |counts: &Counts| {
                let status = status(counts, sound, brakes);
                Run { counts: *counts, status, ..base.clone() }
            };
            rounds::commit(deps, &setup, &mut outcome.stage, plan, finish).await?;
            Ok(())
        }
    }
}

/// What reading all entities gave: the plan, staged.
struct Outcome {
    stage: Stage,
    counts: Counts,
    entities: Vec<EntityOutcome>,
    /// Every listing that was read adds up.
    sound: bool,
}

struct EntityOutcome {
    plan: EntityPlan,
    counts: Counts,
    /// How many rows a complete listing had.
    listed: Option<u64>,
}

async fn read_all(
    deps: &Deps,
    run: &Run,
    setup: &Arc<Setup>,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Outcome, Failure> {
    let position = {
        let (deps, id, setup) = (deps.clone(), run.id, Arc::clone(setup));
        blocking(move || resume::position(&deps, id, &setup)).await?
    };
    let done = position.starts.len();
    let mut stage = Stage::new(deps, run.id, position);
    let mut entities = Vec::new();
    let mut sound = true;
    progress.phase("fetch");
    for (index, entity) in setup.entities.iter().enumerate() {
        if index >= done {
            stage.position.starts.push(stage.position.next_page);
            stage.position.entity = index;
            stage.position.cursor = None;
            stage.position.ended = false;
            stage.position.listing = super::stage::Listing::default();
        }
        let first = stage.position.starts.get(index).copied().unwrap_or_default();
        let next_start = stage.position.starts.get(index + 1).copied();
        let so_far = first..next_start.unwrap_or(stage.position.next_page);
        let mut read = {
            let (deps, id, entity) = (deps.clone(), run.id, Arc::clone(entity));
            blocking(move || resume::read(&deps, id, &entity, so_far)).await?
        };
        if index >= stage.position.entity && !stage.position.ended {
            read = listing::read(deps, setup, entity, &mut stage, read, cancel, progress).await?;
            read = gone::plan(deps, entity, read, &mut stage).await?;
            stage.position.ended = true;
        }
        sound &= gone::adds_up(entity, &stage.position.listing);
        entities.push(entity_outcome(deps, entity, &read, &stage, first)?);
    }
    // A run that was read to its end before a crash meets an older wish only here.
    if cancel.is_cancelled() {
        return Err(Failure::cancelled());
    }
    let mut counts = Counts::default();
    entities.iter().for_each(|entity| listing::add(&mut counts, &entity.counts));
    progress.counts(&counts);
    Ok(Outcome { stage, counts, entities, sound })
}

fn entity_outcome(
    deps: &Deps,
    entity: &Arc<EntitySetup>,
    read: &Read,
    stage: &Stage,
    first: u32,
) -> Result<EntityOutcome, Failure> {
    let listing = &stage.position.listing;
    let complete = entity.request.mode == Mode::Full
        && entity.request.filters.is_none()
        && gone::is_complete(entity, listing);
    Ok(EntityOutcome {
        plan: EntityPlan {
            entity: entity.scope.entity,
            entity_name: entity.scope.entity_name.clone(),
            fields: entity.fields.clone(),
            types: Arc::clone(&entity.types),
            fields_no: entity.fields_no,
            rules: entity.rules.clone(),
            pages: first..stage.position.next_page,
            watermark: watermark::next(deps, entity, read.modified_max, listing)?,
        },
        counts: read.counts,
        listed: complete.then_some(listing.rows),
    })
}

/// The plan of a held run that a person approved, staged again so that rows that moved can be planned again.
fn adopt_kept_plan(deps: &Deps, run: &Run, setup: &Arc<Setup>) -> Result<Outcome, Failure> {
    let entity = setup
        .entities
        .first()
        .filter(|_| setup.entities.len() == 1)
        .ok_or_else(|| Failure::new("plan.stale", "sync the entities one by one".to_owned()))?;
    let position = resume::position(deps, run.id, setup)?;
    let mut stage = Stage::new(deps, run.id, position);
    let snapshot = deps.store.read()?;
    let mut pages = Vec::new();
    for number in 0..run.pages {
        let bytes = runs::plan_page(&snapshot, run.id, number)?
            .ok_or_else(|| Failure::new("plan.gone", "the plan is gone: sync again".to_owned()))?;
        pages.push((number, bytes));
    }
    drop(snapshot);
    stage.position.starts = vec![0];
    stage.position.next_page = run.pages;
    let written = staging::append(&deps.store, run.id, pages, &stage.position)?;
    tokio::runtime::Handle::current().block_on(written)?;
    let read = resume::read(deps, run.id, entity, 0..run.pages)?;
    let outcome = EntityOutcome { listed: None, ..entity_outcome(deps, entity, &read, &stage, 0)? };
    let sound = run.listing_complete.unwrap_or(true);
    Ok(Outcome { stage, counts: read.counts, entities: vec![outcome], sound })
}

enum Verdict {
    Commit,
    Hold { reason: String },
    Abort(Failure),
}

/// Thresholds and brakes.
fn judge(
    deps: &Deps,
    run: &Run,
    setup: &Setup,
    outcome: &Outcome,
    approved: bool,
) -> Result<Verdict, Failure> {
    let brakes = &deps.options.brakes;
    if let Err(few) = brake::validity(outcome.counts.valid, outcome.counts.invalid, brakes) {
        return Ok(Verdict::Abort(Failure::new("run.too-few-valid", few.to_string())));
    }
    if approved || run.dry_run {
        return Ok(Verdict::Commit);
    }
    let read = deps.store.read()?;
    for (entity, setup) in outcome.entities.iter().zip(&setup.entities) {
        let scope = &setup.scope;
        let all = counts::get(&read, scope.org, None, scope.entity)?;
        let linked = counts::get(&read, scope.org, Some(scope.connection), scope.entity)?;
        let input = BrakeInput {
            mode: setup.request.mode,
            active_before: all.active,
            linked_active_before: linked.active,
            deactivations: entity.counts.deactivated,
            updates_of_linked: entity.counts.updated + entity.counts.reactivated,
            listing_count: entity.listed,
        };
        if let Some(tripped) = brake::check(&input, brakes) {
            let reason = format!("{}: {}", tripped.code, tripped.message);
            return Ok(Verdict::Hold { reason });
        }
    }
    Ok(Verdict::Commit)
}

fn status(counts: &Counts, sound: bool, brakes: &brake::Options) -> RunStatus {
    let unapplied = counts.quarantined.saturating_sub(counts.invalid);
    match brake::outcome(counts.valid, counts.valid.saturating_sub(unapplied), brakes) {
        RunStatus::Completed if !sound => RunStatus::Partial,
        status => status,
    }
}

async fn finished_run(
    deps: &Deps,
    run: &Run,
    outcome: &Outcome,
    verdict: &Verdict,
    progress: &Progress,
) -> Result<Run, Failure> {
    let now = clock::to_millis(deps.clock.now());
    let pages = outcome.stage.position.next_page;
    let mut finished = Run {
        counts: outcome.counts,
        completed_at: Some(now),
        listing_complete: Some(outcome.sound),
        pages,
        status: status(&outcome.counts, outcome.sound, &deps.options.brakes),
        ..run.clone()
    };
    if let Verdict::Hold { reason } = verdict {
        finished.status = RunStatus::Held;
        finished.held_reason = Some(reason.clone());
    }
    if let Verdict::Abort(failure) = verdict {
        finished.status = failure.status;
        finished.counts = planned_only(outcome.counts);
        finished.counts.quarantined = outcome.counts.quarantined;
        push_error(deps, &mut finished, failure);
    }
    if finished.dry_run || finished.status == RunStatus::Held {
        let (store, id) = (deps.store.clone(), run.id);
        let hash = blocking(move || Ok(plan_hash(0..pages, |at| staging::page(&store, id, at))?));
        finished.plan_hash = Some(hash.await?);
    }
    if finished.dry_run && matches!(finished.status, RunStatus::Partial) && outcome.sound {
        finished.status = RunStatus::Completed;
    }
    if !outcome.sound {
        let message = incomplete_message(&outcome.stage);
        progress.line("warn", "host", &message);
        push_error(deps, &mut finished, &Failure::new("listing.incomplete", message));
    }
    Ok(finished)
}

fn incomplete_message(stage: &Stage) -> String {
    let listing = &stage.position.listing;
    let total = listing.total.map_or_else(String::new, |total| format!(" of {total} announced"));
    format!(
        "the listing does not add up: {} records{total} on {} pages; what was listed is applied, nobody is deactivated",
        listing.rows, listing.pages
    )
}

fn plan(
    deps: &Deps,
    job: &Arc<Job>,
    setup: &Setup,
    outcome: &Outcome,
    mut run: Run,
    progress: &Progress,
) -> Plan {
    let (logs, phases) = progress.take();
    run.phases = phases;
    let id = run.id;
    let page: PageSource = Arc::new(move |store, page| staging::page(store, id, page));
    Plan {
        store: deps.store.clone(),
        org: job.org_no,
        connection: Arc::clone(&setup.connection),
        entities: Arc::new(outcome.entities.iter().map(|entity| entity.plan.clone()).collect()),
        page,
        job: Arc::clone(job),
        at: clock::to_millis(deps.clock.now()),
        clock: deps.clock.clone(),
        run: Arc::new(run),
        requests: Arc::new(setup.requests.take()),
        logs: Arc::new(logs),
    }
}

/// Keeps the requests of a run that got as far as talking to the remote system and goes no further.
async fn with_requests(
    deps: &Deps,
    job: &Arc<Job>,
    run: &Run,
    setup: &Setup,
    failure: Failure,
) -> Failure {
    let (lines, id) = (setup.requests.take(), run.id);
    let kept = deps.store.write(move |txn| -> Result<(), store::Error> {
        runs::append_requests(txn, id, 0, &lines)
    });
    if let Err(error) = kept.await {
        tracing::error!(%error, run = %id, "cannot keep the request list");
    }
    match setup::parties(&deps.store, job) {
        Ok(parties) if failure.auth => {
            Failure { status: setup::auth_status(&parties.connector), ..failure }
        }
        _ => failure,
    }
}

async fn end_failed(
    deps: &Deps,
    job: &Arc<Job>,
    mut run: Run,
    failure: Failure,
    progress: &Progress,
) -> Result<(), Failure> {
    let (logs, phases) = progress.take();
    run.phases = phases;
    run.status = failure.status;
    run.completed_at = Some(clock::to_millis(deps.clock.now()));
    run.counts = deps.board.view(run.id).map(|view| planned_only(view.counts)).unwrap_or_default();
    push_error(deps, &mut run, &failure);
    let ended =
        commit::note_failure(&deps.store, job.org_no, Arc::clone(job), run, Vec::new(), logs).await;
    Ok(ended?)
}

/// A run that applied nothing shows what it read and nothing that it would have done.
fn planned_only(counts: Counts) -> Counts {
    Counts {
        fetched: counts.fetched,
        valid: counts.valid,
        invalid: counts.invalid,
        warnings: counts.warnings,
        ..Counts::default()
    }
}

fn push_error(deps: &Deps, run: &mut Run, failure: &Failure) {
    if run.errors.len() >= deps.options.run_errors_max {
        run.errors_more += 1;
        return;
    }
    run.errors.push(RunError {
        code: failure.code.clone(),
        message: failure.message.clone(),
        page: failure.page,
        record_id: None,
        at: clock::to_text(clock::to_millis(deps.clock.now())),
    });
}
