//! Commits a plan, in rounds: records that moved since they were compared are planned again, at most so many times.

use super::decide::{decide, payload, tally};
use super::planner::{Draft, Pending, Planned, Planner};
use super::setup::{EntitySetup, Setup};
use super::stage::Stage;
use super::{Deps, Failure};
use crate::commit::{self, Plan};
use crate::model::plan::{PlanFailure, PlanPage, PlanRow};
use crate::model::run::{Counts, Run};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Applies the plan. `finish` makes the run as it stands after a commit with these counts.
pub(super) async fn commit(
    deps: &Deps,
    setup: &Setup,
    stage: &mut Stage,
    mut plan: Plan,
    finish: impl Fn(&Counts) -> Run,
) -> Result<Run, Failure> {
    for round in 1.. {
        let moved = match commit::apply(plan.clone()).await {
            Ok(()) => break,
            Err(commit::Error::Moved(moved)) => moved,
            Err(other) => return Err(other.into()),
        };
        let last = round >= deps.options.commit_rounds_max;
        tracing::info!(run = %plan.run.id, moved = moved.len(), round, "records moved: planned again");
        let mut by_page: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (page, row) in moved {
            by_page.entry(page).or_default().push(row);
        }
        let mut replaced = Vec::new();
        for (number, rows) in by_page {
            let entity = entity_of(setup, &plan, number)?;
            let page = again(deps, setup, &entity, plan.read_page(number)?, rows, last).await?;
            replaced.push((number, page));
        }
        stage.replace(replaced).await?;
        plan.run = Arc::new(finish(&recount(&plan)?));
    }
    Ok((*plan.run).clone())
}

fn entity_of(setup: &Setup, plan: &Plan, page: u32) -> Result<Arc<EntitySetup>, Failure> {
    let at = plan.entities.iter().position(|entity| entity.pages.contains(&page));
    at.and_then(|at| setup.entities.get(at)).cloned().ok_or_else(|| {
        Failure::new("run.internal", format!("page {page} of the plan belongs to no entity"))
    })
}

/// Plans some rows of a page again; after the last round they become failures.
async fn again(
    deps: &Deps,
    setup: &Setup,
    entity: &Arc<EntitySetup>,
    mut page: PlanPage,
    rows: Vec<usize>,
    last: bool,
) -> Result<PlanPage, Failure> {
    let mut moved = Vec::new();
    for row in rows.into_iter().rev().filter(|row| *row < page.rows.len()).collect::<Vec<_>>() {
        moved.push(page.rows.remove(row));
    }
    if last {
        page.failures.extend(moved.into_iter().map(|row| restless(entity, row)));
        tally(&mut page);
        return Ok(page);
    }
    let (store, entity_setup) = (deps.store.clone(), Arc::clone(entity));
    let planned = tokio::task::spawn_blocking(move || {
        let mut planner = Planner::new(store, entity_setup)?;
        moved.into_iter().map(|row| planner.again(row)).collect::<Result<Vec<_>, _>>()
    });
    let planned = planned.await.map_err(Failure::panicked)??;
    let mut draft = Draft { page, ..Draft::default() };
    for outcome in planned {
        match outcome {
            Planned::Nothing => {}
            Planned::Unchanged(record) => draft.page.unchanged.push(record),
            Planned::Failure(failure) => draft.page.failures.push(failure),
            Planned::Row(row, questions) => {
                let at = draft.page.rows.len();
                let pending = questions.into_iter().enumerate();
                draft.pending.extend(pending.map(|(conflict, (strategy, question))| Pending {
                    row: at,
                    conflict,
                    strategy,
                    question,
                }));
                draft.page.rows.push(row);
            }
        }
    }
    Ok(decide(entity, &setup.strategies, draft).await)
}

fn restless(entity: &EntitySetup, row: PlanRow) -> PlanFailure {
    PlanFailure {
        payload: payload(entity.mapper.fields(), &row),
        external_id: row.external_id,
        stage: "apply".to_owned(),
        code: "record.busy".to_owned(),
        message:
            "the record was edited again and again while the run tried to commit: sync it again"
                .to_owned(),
    }
}

fn recount(plan: &Plan) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    for page in plan.entities.iter().flat_map(|entity| entity.pages.clone()) {
        super::listing::add(&mut counts, &plan.read_page(page)?.counts);
    }
    Ok(counts)
}
