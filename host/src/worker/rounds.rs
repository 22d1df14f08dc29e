//! Commits a plan, in rounds: records that moved since they were compared are planned again, at most so many times.

use super::decide::{decide, payload, tally};
use super::planner::{Draft, Planner};
use super::setup::{EntitySetup, Setup};
use super::stage::Stage;
use super::{Deps, Failure};
use crate::commit::{self, Moved, Plan};
use crate::model::plan::{PlanFailure, PlanPage, PlanRow};
use crate::model::run::{Counts, Run};
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
        let count: usize = moved.values().map(Moved::len).sum();
        tracing::info!(run = %plan.run.id, moved = count, round, "records moved: planned again");
        let mut replaced = Vec::new();
        for (number, moved) in moved {
            let entity = entity_of(setup, &plan, number)?;
            let page = again(deps, setup, &entity, plan.read_page(number)?, moved, last).await?;
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
    mut moved: Moved,
    last: bool,
) -> Result<PlanPage, Failure> {
    let new = page.created.take(&moved.new).map_err(damaged)?;
    let mut rows = Vec::new();
    moved.rows.sort_unstable();
    for row in moved.rows.into_iter().rev().filter(|row| *row < page.rows.len()).collect::<Vec<_>>()
    {
        rows.push(page.rows.remove(row));
    }
    if last {
        for row in new.iter() {
            let row = row.map_err(damaged)?;
            page.failures.push(restless(entity, row.external_id, row.values));
        }
        let restless = |row: PlanRow| restless(entity, &row.external_id, &row.remote.values);
        page.failures.extend(rows.into_iter().map(restless));
        tally(&mut page);
        return Ok(page);
    }
    let (store, entity_setup) = (deps.store.clone(), Arc::clone(entity));
    let planned = tokio::task::spawn_blocking(move || {
        let mut planner = Planner::new(store, entity_setup)?;
        let mut draft = Draft { page, ..Draft::default() };
        for row in new.iter() {
            planner.again_new(&row.map_err(damaged)?, &mut draft)?;
        }
        for row in rows {
            planner.again(row, &mut draft)?;
        }
        Ok::<_, Failure>(draft)
    });
    let draft = planned.await.map_err(Failure::panicked)??;
    Ok(decide(entity, &setup.strategies, draft).await)
}

fn damaged(error: postcard::Error) -> Failure {
    Failure::new("run.internal", format!("a page of the plan cannot be read: {error}"))
}

fn restless(entity: &EntitySetup, external_id: &str, values: &[u8]) -> PlanFailure {
    PlanFailure {
        payload: payload(entity.mapper.fields(), values),
        external_id: external_id.to_owned(),
        place: String::new(),
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
