//! Who is gone: the linked records, and those in quarantine, that a complete listing did not name.

use super::decide::tally;
use super::listing::{self, Read};
use super::planner;
use super::seen::Seen;
use super::setup::EntitySetup;
use super::stage::{Listing, Stage};
use super::{Deps, Failure};
use crate::model::Mode;
use crate::model::plan::PlanPage;
use crate::model::run::Counts;
use crate::store::{self, links};
use std::ops::ControlFlow;
use std::sync::Arc;

/// How many of them one page of the plan holds.
const PAGE_ROWS_MAX: usize = 1000;

/// Whether absence from this listing means anything: it was read to its end, adds up, and claims to be whole.
pub(super) fn is_complete(entity: &EntitySetup, listing: &Listing) -> bool {
    listing.has_all() && !listing.moved && entity.spec.complete_listing
}

/// Whether the listing contradicts itself. (A connector whose listings are never whole contradicts nothing.)
pub(super) fn adds_up(entity: &EntitySetup, listing: &Listing) -> bool {
    entity.request.mode == Mode::Ids || !listing.moved && listing.has_all()
}

/// Plans the deactivations, where the listing allows any.
pub(super) async fn plan(
    deps: &Deps,
    entity: &Arc<EntitySetup>,
    mut read: Read,
    stage: &mut Stage,
) -> Result<Read, Failure> {
    let listing = &stage.position.listing;
    let whole = entity.request.mode == Mode::Full && entity.request.filters.is_none();
    if !whole || !is_complete(entity, listing) || listing.nameless {
        return Ok(read);
    }
    let (store, setup) = (deps.store.clone(), Arc::clone(entity));
    let found = tokio::task::spawn_blocking(move || {
        let pages = absent(&store, &setup, &read.planner.seen);
        (read, pages)
    });
    let (back, pages) = found.await.map_err(Failure::panicked)?;
    read = back;
    for page in pages? {
        listing::add(&mut read.counts, &Counts { fetched: 0, ..page.counts });
        stage.push(&page).await?;
    }
    Ok(read)
}

fn absent(
    store: &store::Store,
    setup: &EntitySetup,
    seen: &Seen,
) -> Result<Vec<PlanPage>, store::Error> {
    let read = store.read()?;
    let scope = &setup.scope;
    let mut missing = Vec::new();
    links::scan(&read, scope.org, scope.connection, scope.entity, &mut |id, link| {
        // A row that is in quarantine is there, however malformed.
        if link.present && !seen.records.contains(&link.record) && !seen.has(id) {
            missing.push((id.to_owned(), link));
        }
        ControlFlow::Continue(())
    })?;
    let mut pages = Vec::new();
    let mut page = PlanPage::default();
    for (id, link) in missing {
        page.rows.extend(planner::absent(store, &read, scope, id, Some(link))?);
        if page.rows.len() >= PAGE_ROWS_MAX {
            pages.push(std::mem::take(&mut page));
        }
    }
    page.passed = gone_from_quarantine(&read, setup, seen)?;
    pages.push(page);
    pages.retain(|page| !page.rows.is_empty() || !page.passed.is_empty());
    pages.iter_mut().for_each(tally);
    Ok(pages)
}

/// What was put aside and is not listed any more: nobody needs to look at it.
fn gone_from_quarantine(
    read: &dyn store::Read,
    setup: &EntitySetup,
    seen: &Seen,
) -> Result<Vec<String>, store::Error> {
    let scope = &setup.scope;
    let mut gone = Vec::new();
    for id in store::failures::open_ids(read, scope)? {
        let link = links::get(read, scope.org, scope.connection, scope.entity, &id)?;
        let listed = link.is_some_and(|link| seen.records.contains(&link.record));
        if !listed && !seen.has(&id) {
            gone.push(id);
        }
    }
    Ok(gone)
}
