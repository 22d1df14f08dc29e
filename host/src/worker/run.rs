//! One run, from its claim to its end. Reads as the pipeline: fetch, map, detect and resolve page by page into staging,
//! then the plan with its brakes, then one commit.

use super::ending::{
    End, Failed, after_failure, forget_if_over, holder, planned_only, push_error, with_requests,
};
use super::halt::Halt;
use super::listing::{self, Read};
use super::progress::Progress;
use super::seen::Seen;
use super::setup::{self, EntitySetup, Setup};
use super::stage::{Stage, plan_hash};
use super::status;
use super::{Deps, Failure, gone, resume, rounds, watermark};
use crate::brake::{self, BrakeInput};
use crate::clock;
use crate::commit::{self, EntityPlan, PageSource, Plan};
use crate::model::job::{Job, JobKind};
use crate::model::run::{Counts, EntityRequest, Run};
use crate::model::{Mode, RunStatus};
use crate::store::staging::{self, Holder};
use crate::store::{counts, runs};
use std::sync::Arc;

const INCOMPLETE: &str = "listing.incomplete";

/// Runs a claimed job to its end. What goes wrong ends in the run's row, never in the worker.
///
/// `pages_before` is what [`staged`] answered when the attempt began. `progress` outlives a run that is given up.
pub(super) async fn run(
    deps: &Deps,
    job: Arc<Job>,
    halt: Halt,
    pages_before: u32,
    progress: &Progress,
) -> Result<(), Failure> {
    let Some(mut run) = runs::get(&deps.store.read()?, job.run)? else {
        deps.board.end(job.run);
        return Ok(());
    };
    let result = execute(deps, &job, &mut run, &halt, progress).await;
    let end = match result {
        Ok(()) => Ok(End::Over),
        Err(failure) => {
            let failed = Failed { failure, pages_before };
            after_failure(deps, &job, run.clone(), failed, &halt, progress).await
        }
    };
    deps.board.end(run.id);
    forget_if_over(deps, &job, end).await
}

/// Runs what reads or writes the store at length on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::panicked)?
}

async fn execute(
    deps: &Deps,
    job: &Arc<Job>,
    run: &mut Run,
    halt: &Halt,
    progress: &Progress,
) -> Result<(), Failure> {
    progress.phase("prepare");
    let (requests, stored) = (run.requests.clone(), run.clone());
    let setup = Arc::new(setup::prepare(deps, job, run, &requests, halt.token()).await?);
    progress.follow(setup.outbound.waits(), setup.requests.clone());
    let approved = matches!(job.kind, JobKind::Apply { .. });
    let outcome = if approved {
        let (deps, run, setup) = (deps.clone(), run.clone(), Arc::clone(&setup));
        let holder = holder(job);
        blocking(move || adopt_kept_plan(&deps, holder, &run, &setup)).await
    } else {
        // Not with an approved plan, which is compared with what it was made by.
        setup::keep_means(deps, job, &stored, run).await?;
        read_all(deps, holder(job), &setup, halt, progress).await
    };
    let mut outcome = match outcome {
        Ok(outcome) => outcome,
        Err(failure) => return Err(with_requests(deps, job, &setup, failure).await),
    };
    progress.phase("plan");
    outcome.stage.flush().await?;
    outcome.stage.settle().await?;
    let verdict = judge(deps, &setup, &outcome, approved)?;
    let finished = finished_run(deps, run, &outcome, &verdict, progress).await?;
    let plan = plan(deps, job, &setup, &outcome, finished, progress);
    progress.phase("commit");
    match verdict {
        Verdict::Abort(_) => Ok(commit::abort(plan).await?),
        Verdict::Hold { .. } if !plan.run.dry_run => Ok(commit::hold(plan).await?),
        Verdict::Hold { .. } | Verdict::Commit => {
            let base = (*plan.run).clone();
            let sound = outcome.sound;
            let finish = |counts: &Counts| status::ended(deps, &base, counts, sound);
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
    holder: Holder,
    setup: &Arc<Setup>,
    halt: &Halt,
    progress: &Progress,
) -> Result<Outcome, Failure> {
    let position = {
        let (deps, setup) = (deps.clone(), Arc::clone(setup));
        blocking(move || resume::position(&deps, holder, &setup)).await?
    };
    let done = position.starts.len();
    let mut stage = Stage::new(deps, holder, position);
    let mut entities = Vec::new();
    let mut listed: Vec<(&EntityRequest, Seen)> = Vec::new();
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
        let known = listed.iter().position(|(listed, _)| names_again(&entity.request, listed));
        let seen = known.map(|at| listed.swap_remove(at).1).unwrap_or_default();
        let mut read = {
            let (deps, id, entity) = (deps.clone(), holder.run, Arc::clone(entity));
            blocking(move || resume::read(&deps, id, &entity, so_far, seen)).await?
        };
        if index >= stage.position.entity && !stage.position.ended {
            if halt.soon().is_cancelled() {
                stage.flush().await?;
                stage.settle().await?;
                return Err(Failure::interrupted());
            }
            read = listing::read(deps, setup, entity, &mut stage, read, halt, progress).await?;
            read = gone::plan(deps, entity, read, &mut stage).await?;
            stage.position.ended = true;
        }
        sound &= gone::adds_up(entity, &stage.position.listing);
        let pages = first..stage.position.next_page;
        entities.push(entity_outcome(deps, entity, &read, &stage, pages)?);
        if entity.request.mode == Mode::Incremental {
            listed.push((&entity.request, read.planner.seen));
        }
    }
    // A run that was read to its end before a crash meets an older wish only here.
    if halt.token().is_cancelled() {
        return Err(Failure::cancelled());
    }
    let mut counts = Counts::default();
    entities.iter().for_each(|entity| listing::add(&mut counts, &entity.counts));
    progress.counts(&counts);
    Ok(Outcome { stage, counts, entities, sound })
}

/// Whether a request by id may name records that a listing of the same run named already. They are planned once: of two
/// plans for one record the second would always find it moved.
fn names_again(request: &EntityRequest, listed: &EntityRequest) -> bool {
    let same = request.entity == listed.entity && request.filters == listed.filters;
    request.mode == Mode::Ids && same
}

fn entity_outcome(
    deps: &Deps,
    entity: &Arc<EntitySetup>,
    read: &Read,
    stage: &Stage,
    pages: std::ops::Range<u32>,
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
            pages,
            watermark: watermark::next(deps, entity, read.modified_max, listing)?,
        },
        counts: read.counts,
        listed: complete.then_some(listing.rows),
    })
}

/// The plan of a held run that a person approved, staged again so that rows that moved can be planned again.
fn adopt_kept_plan(
    deps: &Deps,
    holder: Holder,
    run: &Run,
    setup: &Setup,
) -> Result<Outcome, Failure> {
    let position = resume::position(deps, holder, setup)?;
    let mut stage = Stage::new(deps, holder, position);
    let snapshot = deps.store.read()?;
    // Rows of a plan name fields by their position in the template: under another one they would mean others.
    let held = runs::get(&snapshot, run.id)?;
    let whole = run.page_starts.len() == setup.entities.len();
    let changed =
        held.is_none_or(|held| held.plugin != run.plugin || held.template != run.template);
    if changed || !whole {
        let message = "the connector's plugin or template changed since: sync again";
        return Err(Failure::new("plan.stale", message.to_owned()));
    }
    let mut pages = Vec::new();
    for number in 0..run.pages {
        let bytes = runs::plan_page(&snapshot, run.id, number)?
            .ok_or_else(|| Failure::new("plan.gone", "the plan is gone: sync again".to_owned()))?;
        pages.push((number, bytes));
    }
    drop(snapshot);
    stage.position.starts.clone_from(&run.page_starts);
    stage.position.next_page = run.pages;
    let written = staging::append(&deps.store, holder, pages, &stage.position)?;
    tokio::runtime::Handle::current().block_on(written)?;
    let (mut counts, mut entities) = (Counts::default(), Vec::new());
    for (index, entity) in setup.entities.iter().enumerate() {
        let first = run.page_starts.get(index).copied().unwrap_or(run.pages);
        let behind = run.page_starts.get(index + 1).copied().unwrap_or(run.pages);
        let read = resume::read(deps, run.id, entity, first..behind, Seen::default())?;
        listing::add(&mut counts, &read.counts);
        let outcome = entity_outcome(deps, entity, &read, &stage, first..behind)?;
        entities.push(EntityOutcome { listed: None, ..outcome });
    }
    let sound = run.listing_complete.unwrap_or(true);
    Ok(Outcome { stage, counts, entities, sound })
}

enum Verdict {
    Commit,
    /// A brake tripped: the plan waits for a person. A dry run says that the real one would.
    Hold {
        reason: String,
    },
    Abort(Failure),
}

impl Verdict {
    /// Which brake tripped, in words.
    fn reason(&self) -> Option<String> {
        match self {
            Verdict::Hold { reason } => Some(reason.clone()),
            Verdict::Commit | Verdict::Abort(_) => None,
        }
    }
}

/// Thresholds, which look at listings alone, and brakes.
fn judge(
    deps: &Deps,
    setup: &Setup,
    outcome: &Outcome,
    approved: bool,
) -> Result<Verdict, Failure> {
    let brakes = &deps.options.brakes;
    let mut listed = Counts::default();
    for (entity, read) in setup.entities.iter().zip(&outcome.entities) {
        if entity.request.mode != Mode::Ids {
            listing::add(&mut listed, &read.counts);
        }
    }
    if let Err(few) = brake::validity(listed.valid, listed.invalid, brakes) {
        return Ok(Verdict::Abort(Failure::new("run.too-few-valid", few.to_string())));
    }
    if approved {
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

async fn finished_run(
    deps: &Deps,
    run: &Run,
    outcome: &Outcome,
    verdict: &Verdict,
    progress: &Progress,
) -> Result<Run, Failure> {
    let now = clock::to_millis(deps.clock.now());
    let pages = outcome.stage.position.next_page;
    let planned = Run {
        counts: outcome.counts,
        completed_at: Some(now),
        listing_complete: Some(outcome.sound),
        pages,
        page_starts: outcome.stage.position.starts.clone(),
        held_reason: verdict.reason().or_else(|| run.held_reason.clone()),
        ..run.clone()
    };
    let mut finished = match verdict {
        Verdict::Abort(failure) => {
            let quarantined = outcome.counts.quarantined;
            let counts = Counts { quarantined, ..planned_only(outcome.counts) };
            let mut aborted = Run { counts, status: failure.status, ..planned };
            push_error(deps, &mut aborted, failure);
            aborted
        }
        Verdict::Hold { .. } if !run.dry_run => Run { status: RunStatus::Held, ..planned },
        Verdict::Hold { .. } | Verdict::Commit => {
            status::ended(deps, &planned, &outcome.counts, outcome.sound)
        }
    };
    if finished.dry_run || finished.status == RunStatus::Held {
        let (store, id) = (deps.store.clone(), run.id);
        let hash = blocking(move || Ok(plan_hash(0..pages, |at| staging::page(&store, id, at))?));
        finished.plan_hash = Some(hash.await?);
    }
    // That of an approved plan says so already, in the words of the attempt that read it.
    let said = finished.errors.iter().any(|error| error.code == INCOMPLETE);
    if !outcome.sound && !said {
        let message = incomplete_message(&outcome.stage);
        progress.line("warn", "host", &message);
        push_error(deps, &mut finished, &Failure::new(INCOMPLETE, message));
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
    run.waited_millis += progress.view().waited_millis;
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
        health: deps.options.health,
    }
}
