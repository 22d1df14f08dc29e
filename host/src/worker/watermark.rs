//! Where an incremental listing starts, and where the next one will: from what the remote said, never from our clock.

use super::setup::EntitySetup;
use super::stage::Listing;
use super::{Deps, Failure};
use crate::clock;
use crate::store::directory::{self, Watermark};

#[derive(Debug, Default)]
pub(super) struct Since {
    /// RFC 3339, the overlap taken off.
    pub instant: Option<String>,
    pub checkpoint: Option<String>,
}

pub(super) fn since(deps: &Deps, entity: &EntitySetup) -> Result<Since, Failure> {
    let scope = &entity.scope;
    let stored =
        directory::watermark(&deps.store.read()?, scope.org, scope.connection, scope.entity)?;
    let instant = stored.modified.map(|at| clock::to_text(at - deps.options.overlap_millis));
    Ok(Since { instant, checkpoint: stored.checkpoint })
}

/// The watermark that the commit keeps if the run completes; it never goes back.
pub(super) fn next(
    deps: &Deps,
    entity: &EntitySetup,
    modified_max: Option<i64>,
    listing: &Listing,
) -> Result<Option<Watermark>, Failure> {
    let filtered = entity.request.filters.is_some();
    if entity.request.mode == crate::model::Mode::Ids || filtered {
        return Ok(None);
    }
    let scope = &entity.scope;
    let stored =
        directory::watermark(&deps.store.read()?, scope.org, scope.connection, scope.entity)?;
    Ok(Some(Watermark {
        modified: modified_max.max(stored.modified),
        checkpoint: listing.checkpoint.clone().or(stored.checkpoint),
    }))
}
