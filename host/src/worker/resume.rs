//! Takes a run up where a crash or a failed attempt left it: the pages that are staged tell what was seen.

use super::listing::{self, Read};
use super::planner::Planner;
use super::seen::Seen;
use super::setup::{EntitySetup, Setup};
use super::stage::Position;
use super::{Deps, Failure};
use crate::clock;
use crate::model::plan::{Action, PlanPage};
use crate::model::run::Counts;
use crate::model::{RecordId, RunId};
use crate::store::staging::{self, Holder};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What was staged longer ago is void: the listing has moved on by then.
const RESUME_MILLIS_MAX: i64 = 60 * 60 * 1000;

/// The position of an earlier attempt, or the start. What was staged under other plugins, mappings or requests is void.
/// From here on nobody else stages the run.
pub(super) fn position(deps: &Deps, holder: Holder, setup: &Setup) -> Result<Position, Failure> {
    let (key, now) = (key(setup), clock::to_millis(deps.clock.now()));
    let staged: Option<Position> = staging::position(&deps.store, holder.run)?;
    let is_usable = |staged: &Position| {
        staged.key == key && now.saturating_sub(staged.staged_at) <= RESUME_MILLIS_MAX
    };
    let usable = staged.filter(is_usable);
    staging::take(&deps.store, holder, usable.is_some())?;
    Ok(usable.unwrap_or_else(|| Position { key, ..Position::default() }))
}

/// How many pages of the run's plan are staged.
pub(super) fn pages(deps: &Deps, run: RunId) -> Result<u32, Failure> {
    let staged: Option<Position> = staging::position(&deps.store, run)?;
    Ok(staged.map_or(0, |position| position.next_page))
}

fn key(setup: &Setup) -> String {
    let mut hash = Sha256::new();
    hash.update(&setup.plugin.sha256);
    hash.update(&setup.context.config);
    for (name, url) in &setup.context.endpoints {
        hash.update(format!("\n{name}={url}"));
    }
    for strategy in &setup.strategies {
        hash.update(format!("\n{} {}", strategy.name, strategy.plugin.sha256));
    }
    for entity in &setup.entities {
        hash.update(entity.mapping_digest);
        hash.update(format!("\n{:?} {:?}", entity.request, entity.strategies));
    }
    hex::encode(hash.finalize())
}

/// A planner that remembers what the staged pages of this entity named, and `seen`, which an earlier request did.
pub(super) fn read(
    deps: &Deps,
    run: RunId,
    entity: &Arc<EntitySetup>,
    pages: std::ops::Range<u32>,
    seen: Seen,
) -> Result<Read, Failure> {
    let mut planner = Planner::new(deps.store.clone(), Arc::clone(entity))?;
    planner.seen = seen;
    let (mut counts, mut modified_max) = (Counts::default(), None);
    for number in pages {
        let bytes = staging::page(&deps.store, run, number)?.unwrap_or_default();
        let damaged = |error: postcard::Error| {
            Failure::new("run.stage", format!("a staged page is damaged: {error}"))
        };
        let page: PlanPage = postcard::from_bytes(&bytes).map_err(damaged)?;
        planner.seen.records.extend(&page.unchanged);
        for row in page.created.iter() {
            let row = row.map_err(damaged)?;
            planner.seen.note(row.external_id);
            planner.matcher.creates(&row.aliases);
        }
        for row in &page.rows {
            match &row.action {
                Action::Update(update) => {
                    planner.seen.records.insert(update.record);
                    // Until the commit links it, the row is told by its id alone.
                    if update.first_link.is_some() {
                        planner.seen.note(&row.external_id);
                        planner.matcher.claims(RecordId(update.record));
                    }
                }
                Action::Absent { record, .. } => {
                    planner.seen.records.insert(*record);
                }
            }
        }
        for failure in &page.failures {
            planner.seen.note(&failure.external_id);
        }
        listing::add(&mut counts, &page.counts);
        modified_max = modified_max.max(page.modified_max);
    }
    Ok(Read { planner, counts, modified_max })
}
