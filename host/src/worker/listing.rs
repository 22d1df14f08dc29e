//! Reads one entity to its end: fetches pages, plans each, lets the strategies decide, stages the result.
//!
//! Three things go on at once: pages are fetched, those that arrived are planned, and planned ones are decided and
//! staged. A page that cannot be read ends the run, and nothing of it is applied; a listing that does not add up is read
//! to its end and remembered as incomplete.

use super::decide::decide;
use super::halt::Halt;
use super::planner::{Draft, Planner};
use super::planning::{self, Place, Planned, Planning};
use super::progress::Progress;
use super::setup::{EntitySetup, Setup};
use super::stage::Stage;
use super::{Deps, Failure};
use crate::clock::{self, Clock, Work};
use crate::model::http::Outbound;
use crate::model::plan::{PlanFailure, PlanPage};
use crate::model::remote::PageRequest;
use crate::model::run::Counts;
use crate::model::{Mode, RemotePage};
use crate::plugin::{self, ConnectorSession, IDS_PER_CALL_MAX};
use crate::store::links;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::task::{JoinError, JoinHandle};

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
    /// In `ids` mode: those that are not asked for, because they are none of the connection's.
    strangers: HashSet<String>,
    /// Whether single records can be fetched. Where they cannot, an id is one that a webhook says is gone.
    fetches: bool,
}

type Fetch = JoinHandle<(Fetched, Work)>;
type Fetched = (Source, Result<RemotePage, plugin::Error>);

/// What a reader waited for.
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it is not kept")]
enum Step {
    Cancelled,
    Drain,
    Fetched(Result<(Fetched, Work), JoinError>),
    Planned(Result<Planned, Failure>),
    Flush,
}

pub(super) async fn read(
    deps: &Deps,
    setup: &Arc<Setup>,
    entity: &Arc<EntitySetup>,
    stage: &mut Stage,
    resumed: Read,
    halt: &Halt,
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
        draining: false,
        cut: false,
    };
    let outcome = reader.run(source, resumed.planner, halt).await;
    if reader.cut || outcome.is_err() {
        // Another attempt goes on behind what is staged; one that repeats more for want of it is no worse.
        let staged = match reader.stage.flush().await {
            Ok(()) => reader.stage.settle().await,
            failed => failed,
        };
        if let Err(failure) = staged {
            tracing::warn!(message = failure.message, "the last pages could not be staged");
        }
    }
    if reader.cut && outcome.is_ok() {
        return Err(Failure::interrupted());
    }
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
    /// The process ends: no further page is asked for.
    draining: bool,
    /// There would have been one.
    cut: bool,
}

impl Reader<'_> {
    async fn run(
        &mut self,
        source: Source,
        planner: Planner,
        halt: &Halt,
    ) -> Result<(Planner, Counts, Option<i64>), Failure> {
        let clock = &self.deps.clock;
        let mut fetching: Option<Fetch> = Some(source.fetch(clock));
        let mut planning = Planning::start(planner);
        loop {
            if fetching.is_none() && planning.pages == 0 {
                break;
            }
            let flush_in = self.stage.due_in();
            let step = clock.rest(async {
                tokio::select! {
                    // First, because a request that the wish stopped would look like a failure.
                    biased;
                    () = halt.token().cancelled() => Step::Cancelled,
                    () = halt.soon().cancelled(), if !self.draining => Step::Drain,
                    done = finished(&mut fetching), if planning.pages < planning::PAGES_MAX
                        => Step::Fetched(done),
                    planned = planning.planned(), if planning.pages > 0 => Step::Planned(planned),
                    () = clock.sleep(flush_in.unwrap_or_default()), if flush_in.is_some()
                        => Step::Flush,
                }
            });
            match step.await {
                Step::Cancelled => return Err(Failure::cancelled()),
                Step::Drain => self.draining = true,
                Step::Fetched(done) => {
                    let ((source, page), work) = done.map_err(Failure::panicked)?;
                    fetching = None;
                    planning.take(self.page_read(source, page, &mut fetching)?, work);
                }
                Step::Planned(planned) => {
                    let (place, draft, _work) = planned?;
                    self.planned(draft?, place).await?;
                }
                Step::Flush => self.stage.flush().await?,
            }
        }
        Ok((planning.end().await?, self.counts, self.modified_max))
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
        let now = clock::to_millis(self.deps.clock.now());
        let page = page.map_err(|error| Failure::of_page(&error, number, now))?;
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
        match source.advance(next.clone()) {
            Some(_) if self.draining => self.cut = true,
            Some(more) => *fetching = Some(more.fetch(&self.deps.clock)),
            None => {}
        }
        Ok((page, Place { number, next }))
    }

    /// Takes a page that was planned: decisions, counts, staging.
    async fn planned(&mut self, mut draft: Draft, place: Place) -> Result<(), Failure> {
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
        listing.tombstones += draft.page.tombstones;
        let nameless = |failure: &&mut PlanFailure| failure.external_id.trim().is_empty();
        for (at, failure) in draft.page.failures.iter_mut().filter(nameless).enumerate() {
            failure.place = format!("{page}/{}", at + 1);
            listing.nameless = true;
        }
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
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
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
            strangers: strangers(deps, entity)?,
            fetches: super::hooks::fetches(&setup.plugin, &entity.spec),
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

    fn fetch(mut self, clock: &Clock) -> Fetch {
        let work = clock.work();
        tokio::spawn(async move {
            let page = self.page().await;
            ((self, page), work)
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
        let ids: Vec<String> =
            ids.iter().filter(|id| !self.strangers.contains(*id)).cloned().collect();
        if self.by_ids && (ids.is_empty() || !self.fetches) {
            return Ok(with_tombstones(RemotePage::default(), &ids));
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                let outbound: Arc<dyn Outbound> = self.setup.outbound.clone();
                ConnectorSession::open(&self.setup.plugin, outbound).await?
            }
        };
        let context = &self.setup.context;
        let page = if self.by_ids {
            let page = session.by_ids(context, &self.request.entity, &ids).await;
            page.map(|page| with_tombstones(page, &ids))
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

/// The ids of a request for known records that are not known.
fn strangers(deps: &Deps, entity: &EntitySetup) -> Result<HashSet<String>, Failure> {
    let mut strangers = HashSet::new();
    if entity.request.is_only_linked() {
        let (read, scope) = (deps.store.read()?, &entity.scope);
        for id in &entity.request.ids {
            if links::get(&read, scope.org, scope.connection, scope.entity, id)?.is_none() {
                strangers.insert(id.clone());
            }
        }
    }
    Ok(strangers)
}

/// An id that was asked for and is not in the answer does not exist there any more.
fn with_tombstones(mut page: RemotePage, ids: &[String]) -> RemotePage {
    let have: HashSet<&str> = page
        .rows
        .iter()
        .map(|row| row.id())
        .chain(page.rejects.iter().filter_map(|reject| reject.id.as_deref()))
        .collect();
    let gone: Vec<&String> = ids.iter().filter(|id| !have.contains(id.as_str())).collect();
    gone.into_iter().for_each(|id| page.rows.push_tombstone(id));
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
