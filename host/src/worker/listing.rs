//! Reads one entity to its end: fetches pages, plans each, lets the strategies decide, stages the result.
//!
//! While a page is being planned the next one is being fetched. A page that cannot be read ends the run, and nothing of
//! it is applied; a listing that does not add up is read to its end and remembered as incomplete.

use super::decide::decide;
use super::planner::{Draft, Planner, tombstone};
use super::progress::Progress;
use super::setup::{EntitySetup, Setup};
use super::stage::Stage;
use super::{Deps, Failure};
use crate::model::plan::{PlanFailure, PlanPage};
use crate::model::remote::PageRequest;
use crate::model::run::Counts;
use crate::model::{Mode, RemotePage};
use crate::plugin::{self, ConnectorSession, IDS_PER_CALL_MAX};
use crate::store;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What reading one entity gave.
pub(super) struct Read {
    pub planner: Planner,
    pub counts: Counts,
    pub modified_max: Option<i64>,
}

/// Fetches the pages of one entity, one at a time.
struct Source {
    setup: Arc<Setup>,
    session: Option<ConnectorSession>,
    request: PageRequest,
    /// In `ids` mode: what is still to be asked for.
    ids: Vec<Vec<String>>,
    by_ids: bool,
}

type Fetch = JoinHandle<(Source, Result<RemotePage, plugin::Error>)>;
type Plan = JoinHandle<(Planner, Result<Draft, store::Error>)>;

pub(super) async fn read(
    deps: &Deps,
    setup: &Arc<Setup>,
    entity: &Arc<EntitySetup>,
    stage: &mut Stage,
    resumed: Read,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Read, Failure> {
    let source = Source::open(deps, setup, entity, stage).await?;
    let pages_read = stage.position.listing.pages;
    // A crash may have come between the last page and the commit.
    if pages_read > 0 && source.is_spent() {
        return Ok(resumed);
    }
    let mut reader = Reader {
        deps,
        setup,
        entity,
        stage,
        progress,
        counts: resumed.counts,
        modified_max: resumed.modified_max,
        pages_read,
    };
    let outcome = reader.run(source, resumed.planner, cancel).await;
    let (planner, counts, modified_max) = outcome?;
    Ok(Read { planner, counts, modified_max })
}

struct Reader<'a> {
    deps: &'a Deps,
    setup: &'a Arc<Setup>,
    entity: &'a Arc<EntitySetup>,
    stage: &'a mut Stage,
    progress: &'a Progress,
    counts: Counts,
    modified_max: Option<i64>,
    /// Pages that arrived: one more than were planned, as long as one waits.
    pages_read: u64,
}

/// Where in the listing a page is.
#[derive(Default)]
struct Place {
    /// From 1.
    number: u64,
    /// Where the listing goes on behind it.
    next: Option<String>,
}

impl Reader<'_> {
    async fn run(
        &mut self,
        source: Source,
        planner: Planner,
        cancel: &CancellationToken,
    ) -> Result<(Planner, Counts, Option<i64>), Failure> {
        let mut fetching: Option<Fetch> = Some(source.fetch());
        let mut planning: Option<Plan> = None;
        let mut idle = Some(planner);
        // A fetched page that waits for the planner, with its place in the listing.
        let mut fetched: Option<(RemotePage, Place)> = None;
        let mut place = Place::default();
        loop {
            if let Some(mut planner) = idle.take() {
                match fetched.take() {
                    Some((page, at)) => {
                        place = at;
                        planning = Some(tokio::task::spawn_blocking(move || {
                            let draft = planner.page(page);
                            (planner, draft)
                        }));
                    }
                    None => idle = Some(planner),
                }
            }
            if fetching.is_none() && planning.is_none() {
                break;
            }
            let flush_in = self.stage.due_in().unwrap_or(Duration::from_secs(3600));
            tokio::select! {
                // First, because a request that the wish stopped would look like a failure.
                biased;
                () = cancel.cancelled() => return Err(Failure::cancelled()),
                done = finished(&mut fetching), if fetched.is_none() && fetching.is_some() => {
                    let (source, page) = done.map_err(Failure::panicked)?;
                    fetching = None;
                    let page = self.page_read(source, page, &mut fetching)?;
                    fetched = Some(page);
                }
                done = finished(&mut planning), if planning.is_some() => {
                    let (planner, draft) = done.map_err(Failure::panicked)?;
                    planning = None;
                    self.planned(draft?, std::mem::take(&mut place)).await?;
                    idle = Some(planner);
                }
                () = tokio::time::sleep(flush_in), if self.stage.due_in().is_some() => {
                    self.stage.flush().await?;
                }
            }
        }
        let planner = idle.ok_or_else(|| Failure::new("run.internal", "no planner".to_owned()))?;
        Ok((planner, self.counts, self.modified_max))
    }

    /// Looks at a page that arrived, and asks for the next one at once.
    fn page_read(
        &mut self,
        mut source: Source,
        page: Result<RemotePage, plugin::Error>,
        fetching: &mut Option<Fetch>,
    ) -> Result<(RemotePage, Place), Failure> {
        self.pages_read += 1;
        let number = self.pages_read;
        let listing = &mut self.stage.position.listing;
        source.drain_log(self.progress);
        let page = page.map_err(|error| Failure::of_page(&error, number))?;
        if listing.total.is_some() && page.total.is_some() && listing.total != page.total {
            listing.moved = true;
        }
        listing.total = page.total.or(listing.total);
        listing.checkpoint = page.checkpoint.clone().or_else(|| listing.checkpoint.take());
        self.progress.page(number, listing.total);
        let limits = &self.deps.options;
        let over = number >= limits.listing_pages_max || listing.rows > limits.listing_records_max;
        if over && page.next.is_some() {
            let message = format!(
                "page {number}: the listing does not end within {} pages or {} records",
                limits.listing_pages_max, limits.listing_records_max
            );
            return Err(Failure::new("listing.endless", message).at_page(number));
        }
        let next = page.next.clone();
        if let Some(more) = source.advance(next.clone()) {
            *fetching = Some(more.fetch());
        }
        Ok((page, Place { number, next }))
    }

    /// Takes a page that was planned: decisions, counts, staging.
    async fn planned(&mut self, draft: Draft, place: Place) -> Result<(), Failure> {
        let Place { number: page, next } = place;
        let listing = &mut self.stage.position.listing;
        let by_ids = self.entity.request.mode == Mode::Ids;
        if next.is_some() && !draft.news && !by_ids {
            let message = format!(
                "page {page} holds no record that was not listed before, and says that there are more"
            );
            return Err(Failure::new("listing.loops", message).at_page(page));
        }
        listing.pages = page;
        listing.rows += draft.page.listed;
        let nameless = |failure: &PlanFailure| failure.external_id.trim().is_empty();
        listing.nameless |= draft.page.failures.iter().any(nameless);
        listing.moved |= draft.repeated > 0 && listing.total.is_none();
        let page: PlanPage = decide(self.entity, &self.setup.strategies, draft).await;
        add(&mut self.counts, &page.counts);
        self.modified_max = self.modified_max.max(page.modified_max);
        self.progress.counts(&self.counts);
        self.progress.warnings(&page.warnings);
        self.stage.position.cursor = next;
        self.stage.push(&page).await
    }
}

/// Waits for a task that is there; never, where there is none.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

impl Source {
    async fn open(
        deps: &Deps,
        setup: &Arc<Setup>,
        entity: &Arc<EntitySetup>,
        stage: &Stage,
    ) -> Result<Source, Failure> {
        let request = &entity.request;
        let by_ids = request.mode == Mode::Ids;
        let since = match request.mode {
            Mode::Incremental => super::watermark::since(deps, entity)?,
            Mode::Full | Mode::Ids => super::watermark::Since::default(),
        };
        let mut ids: Vec<Vec<String>> =
            request.ids.chunks(IDS_PER_CALL_MAX).map(<[String]>::to_vec).collect();
        let done = usize::try_from(stage.position.listing.pages).unwrap_or(0);
        ids.drain(..done.min(ids.len()));
        ids.reverse();
        Ok(Source {
            setup: Arc::clone(setup),
            session: None,
            request: PageRequest {
                entity: request.entity.clone(),
                mode: request.mode.as_str().to_owned(),
                since: since.instant,
                checkpoint: since.checkpoint,
                filters: request.filters.as_ref().map(serde_json::Value::to_string),
                cursor: stage.position.cursor.clone(),
                records_max: setup.batch_records,
            },
            ids,
            by_ids,
        })
    }

    /// Whether there is nothing to ask for; a listing that was not begun has no cursor either.
    fn is_spent(&self) -> bool {
        if self.by_ids { self.ids.is_empty() } else { self.request.cursor.is_none() }
    }

    /// The source of the next page; none behind the last one.
    fn advance(mut self, next: Option<String>) -> Option<Source> {
        if self.by_ids {
            return (!self.ids.is_empty()).then_some(self);
        }
        self.request.cursor = Some(next?);
        Some(self)
    }

    fn fetch(mut self) -> Fetch {
        tokio::spawn(async move {
            let page = self.page().await;
            (self, page)
        })
    }

    /// One page. A plugin that crashed gets one more chance, on a fresh instance.
    async fn page(&mut self) -> Result<RemotePage, plugin::Error> {
        let ids = if self.by_ids { self.ids.pop().unwrap_or_default() } else { Vec::new() };
        match self.attempt(&ids).await {
            Err(plugin::Error::Trap { .. }) => self.attempt(&ids).await,
            answer => answer,
        }
    }

    async fn attempt(&mut self, ids: &[String]) -> Result<RemotePage, plugin::Error> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                let setup = &self.setup;
                ConnectorSession::open(&setup.plugin, Arc::clone(&setup.outbound)).await?
            }
        };
        let context = &self.setup.context;
        let page = if self.by_ids {
            let page = session.by_ids(context, &self.request.entity, ids).await;
            page.map(|page| with_tombstones(page, ids))
        } else {
            session.fetch_page(context, &self.request).await
        };
        if page.is_ok() || matches!(page, Err(plugin::Error::Guest(_))) {
            self.session = Some(session);
        }
        page
    }

    fn drain_log(&mut self, progress: &Progress) {
        if let Some(session) = &self.session {
            progress.log(session.drain_log());
        }
    }
}

/// An id that was asked for and is not in the answer does not exist there any more.
fn with_tombstones(mut page: RemotePage, ids: &[String]) -> RemotePage {
    let have: HashSet<&str> = page
        .rows
        .iter()
        .map(|row| row.id.as_str())
        .chain(page.rejects.iter().filter_map(|reject| reject.id.as_deref()))
        .collect();
    let width = page.fields.len();
    let gone: Vec<_> = ids.iter().filter(|id| !have.contains(id.as_str())).cloned().collect();
    page.rows.extend(gone.into_iter().map(|id| {
        let mut row = tombstone(id);
        row.values.resize(width, crate::model::Value::Absent);
        row
    }));
    page
}

/// Adds up counts.
pub(super) fn add(into: &mut Counts, more: &Counts) {
    into.fetched += more.fetched;
    into.valid += more.valid;
    into.invalid += more.invalid;
    into.created += more.created;
    into.updated += more.updated;
    into.unchanged += more.unchanged;
    into.linked += more.linked;
    into.conflicts_detected += more.conflicts_detected;
    into.conflicts_resolved += more.conflicts_resolved;
    into.conflicts_held += more.conflicts_held;
    into.deactivated += more.deactivated;
    into.reactivated += more.reactivated;
    into.quarantined += more.quarantined;
    into.pushed += more.pushed;
    into.warnings += more.warnings;
}
