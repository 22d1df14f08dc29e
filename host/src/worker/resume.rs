//! Takes a run up where a crash left it: the pages that are staged tell what was seen.

use super::listing::{self, Read};
use super::planner::Planner;
use super::setup::{EntitySetup, Setup};
use super::stage::Position;
use super::{Deps, Failure};
use crate::model::RunId;
use crate::model::plan::{Action, PlanPage};
use crate::model::run::Counts;
use crate::store::staging;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The position of an earlier attempt, or the start. What was staged under other plugins, mappings or requests is void.
pub(super) fn position(deps: &Deps, run: RunId, setup: &Setup) -> Result<Position, Failure> {
    let key = key(setup);
    let staged: Option<Position> = staging::position(&deps.store, run)?;
    match staged.filter(|position| position.key == key) {
        Some(position) => Ok(position),
        None => {
            staging::clear(&deps.store, run)?;
            Ok(Position { key, ..Position::default() })
        }
    }
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
        hash.update(format!("\n{:?} {} {:?}", entity.request, entity.fields_no, entity.strategies));
    }
    hex::encode(hash.finalize())
}

/// A planner that remembers what the staged pages of this entity named.
pub(super) fn read(
    deps: &Deps,
    run: RunId,
    entity: &Arc<EntitySetup>,
    pages: std::ops::Range<u32>,
) -> Result<Read, Failure> {
    let mut planner = Planner::new(deps.store.clone(), Arc::clone(entity))?;
    let (mut counts, mut modified_max) = (Counts::default(), None);
    for number in pages {
        let bytes = staging::page(&deps.store, run, number)?.unwrap_or_default();
        let page: PlanPage = postcard::from_bytes(&bytes).map_err(|error| {
            Failure::new("run.stage", format!("a staged page is damaged: {error}"))
        })?;
        planner.seen.records.extend(&page.unchanged);
        for row in &page.rows {
            match &row.action {
                Action::Create { .. } => {
                    planner.seen.ids.insert(&[&row.external_id]);
                }
                Action::Update(update) => {
                    planner.seen.records.insert(update.record);
                }
                Action::Absent { record, .. } => {
                    planner.seen.records.insert(*record);
                }
            }
        }
        for failure in &page.failures {
            planner.seen.ids.insert(&[&failure.external_id]);
        }
        listing::add(&mut counts, &page.counts);
        modified_max = modified_max.max(page.modified_max);
    }
    Ok(Read { planner, counts, modified_max })
}
