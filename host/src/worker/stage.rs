//! Staging: pages of the plan and the position behind them, written together at the latest after so many records or
//! milliseconds, so that a crash repeats little and skips nothing.

use super::{Deps, Failure};
use crate::model::RunId;
use crate::model::plan::PlanPage;
use crate::store::{self, Store, staging};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How far a run came. A run that is taken up again goes on from here if nothing that it depends on changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Position {
    /// Digest of plugin, strategies, mapping and requests.
    pub key: String,
    /// Index of the entity that is being read.
    pub entity: usize,
    /// First page of the plan of each entity so far.
    pub starts: Vec<u32>,
    /// The next page of the plan.
    pub next_page: u32,
    /// Where the listing goes on; none if the entity starts or has ended.
    pub cursor: Option<String>,
    pub ended: bool,
    pub listing: Listing,
}

/// What was seen of a listing so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listing {
    /// Pages that were planned: the plan and the cursor are as far.
    pub pages: u64,
    /// Distinct rows, rejects included.
    pub rows: u64,
    pub total: Option<u64>,
    /// The total differed between pages, or rows came twice without a total to count by.
    pub moved: bool,
    /// A reject without an id: who is absent cannot be told.
    pub nameless: bool,
    pub checkpoint: Option<String>,
}

pub(super) struct Stage {
    store: Store,
    run: RunId,
    pub position: Position,
    waiting: Vec<(u32, Vec<u8>)>,
    waiting_records: u64,
    since: Option<Instant>,
    records_max: u64,
    wait_max: Duration,
    /// Handed to the writer and not yet durable, oldest first.
    writing: VecDeque<Write>,
}

type Write = JoinHandle<Result<(), store::Error>>;

/// How many writes may be on their way. The writer makes one commit of those that wait.
const WRITES_MAX: usize = 8;

impl Stage {
    pub(super) fn new(deps: &Deps, run: RunId, position: Position) -> Stage {
        Stage {
            store: deps.store.clone(),
            run,
            position,
            waiting: Vec::new(),
            waiting_records: 0,
            since: None,
            records_max: deps.options.stage_flush_records,
            wait_max: deps.options.stage_flush,
            writing: VecDeque::new(),
        }
    }

    /// Adds the next page of the plan. What is too much or too old is written in the background.
    pub(super) async fn push(&mut self, page: &PlanPage) -> Result<(), Failure> {
        let bytes = postcard::to_allocvec(page)
            .map_err(|error| Failure::new("run.stage", error.to_string()))?;
        self.waiting.push((self.position.next_page, bytes));
        self.position.next_page += 1;
        self.waiting_records += page.counts.fetched;
        self.since.get_or_insert_with(Instant::now);
        let due = self.due_in().is_some_and(|left| left.is_zero());
        if due || self.waiting_records >= self.records_max { self.flush().await } else { Ok(()) }
    }

    /// How long the oldest page that waits may still wait.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.since.map(|since| self.wait_max.saturating_sub(since.elapsed()))
    }

    /// Hands what waits to the writer; waits itself only where too much is on its way.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        self.since = None;
        self.waiting_records = 0;
        let pages = std::mem::take(&mut self.waiting);
        let write = staging::append(&self.store, self.run, pages, &self.position)?;
        self.writing.push_back(tokio::spawn(write));
        self.settle_to(WRITES_MAX).await
    }

    /// Waits until everything handed to [`Stage::flush`] is durable.
    pub(super) async fn settle(&mut self) -> Result<(), Failure> {
        self.settle_to(0).await
    }

    async fn settle_to(&mut self, count_max: usize) -> Result<(), Failure> {
        while self.writing.len() > count_max {
            if let Some(write) = self.writing.pop_front() {
                write.await.map_err(Failure::panicked)??;
            }
        }
        Ok(())
    }

    /// Replaces pages that were planned again.
    pub(super) async fn replace(&mut self, pages: Vec<(u32, PlanPage)>) -> Result<(), Failure> {
        self.settle().await?;
        for (number, page) in pages {
            let bytes = postcard::to_allocvec(&page)
                .map_err(|error| Failure::new("run.stage", error.to_string()))?;
            self.waiting.push((number, bytes));
        }
        self.flush().await?;
        self.settle().await
    }
}

/// The plan's hash: over all its pages, in order.
pub(super) fn plan_hash(
    pages: std::ops::Range<u32>,
    read: impl Fn(u32) -> Result<Option<Vec<u8>>, store::Error>,
) -> Result<String, store::Error> {
    let mut hash = Sha256::new();
    for page in pages {
        let bytes = read(page)?.unwrap_or_default();
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    Ok(hex::encode(hash.finalize()))
}
