//! Staging: pages of the plan and the position behind them, written together at the latest after so many records or
//! milliseconds, so that a crash repeats little and skips nothing.

use super::{Deps, Failure};
use crate::clock::{self, Clock};
use crate::disk::Disk;
use crate::model::plan::PlanPage;
use crate::store::staging::{self, Holder};
use crate::store::{self, Store};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How far a run came. A run that is taken up again goes on from here if nothing that it depends on changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Position {
    /// Digest of plugin, strategies, mapping and requests.
    pub key: String,
    /// When something was staged last, in milliseconds since the epoch.
    pub staged_at: i64,
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
    /// Distinct rows, rejects included, tombstones not.
    pub rows: u64,
    /// Rows that said that their record is gone.
    #[serde(default)]
    pub tombstones: u64,
    pub total: Option<u64>,
    /// The total differed between pages, or rows came twice without a total to count by.
    pub moved: bool,
    /// A reject without an id: who is absent cannot be told.
    pub nameless: bool,
    pub checkpoint: Option<String>,
}

impl Listing {
    /// Whether as many rows came as the remote claims to have. It may count those that it says are gone, or not.
    pub(super) fn has_all(&self) -> bool {
        self.total.is_none_or(|total| total == self.rows || total == self.rows + self.tombstones)
    }
}

pub(super) struct Stage {
    store: Store,
    clock: Clock,
    disk: Disk,
    holder: Holder,
    pub position: Position,
    waiting: Vec<(u32, Vec<u8>)>,
    waiting_records: u64,
    since: Option<Timestamp>,
    records_max: u64,
    wait_max: Duration,
    /// Handed to the writer and not yet durable, oldest first.
    writing: VecDeque<Write>,
}

type Write = JoinHandle<Result<(), store::Error>>;

/// How many writes may be on their way. The writer makes one commit of those that wait.
const WRITES_MAX: usize = 8;

impl Stage {
    pub(super) fn new(deps: &Deps, holder: Holder, position: Position) -> Stage {
        Stage {
            store: deps.store.clone(),
            clock: deps.clock.clone(),
            disk: deps.disk.clone(),
            holder,
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
        self.waiting.push((self.position.next_page, encode(page)?));
        self.position.next_page += 1;
        self.waiting_records += page.counts.fetched;
        self.since.get_or_insert_with(|| self.clock.now());
        let due = self.due_in().is_some_and(|left| left.is_zero());
        if due || self.waiting_records >= self.records_max { self.flush().await } else { Ok(()) }
    }

    /// How long the oldest page that waits may still wait.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let since = self.since?;
        // A clock that was set back does not keep it waiting.
        let waited = Duration::try_from(self.clock.now().duration_since(since)).ok();
        Some(self.wait_max.saturating_sub(waited.unwrap_or(self.wait_max)))
    }

    /// Hands what waits to the writer; waits itself only where too much is on its way.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        // The store would end the process: better this run ends.
        if self.disk.is_full() {
            let message = "the disk of the data directory is full".to_owned();
            return Err(Failure::new("disk.full", message));
        }
        self.since = None;
        self.waiting_records = 0;
        self.position.staged_at = clock::to_millis(self.clock.now());
        let pages = std::mem::take(&mut self.waiting);
        let write = staging::append(&self.store, self.holder, pages, &self.position)?;
        self.writing.push_back(tokio::spawn(self.clock.task(write)));
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
            self.waiting.push((number, encode(&page)?));
        }
        self.flush().await?;
        self.settle().await
    }
}

fn encode(page: &PlanPage) -> Result<Vec<u8>, Failure> {
    let room = page.created.size() + page.rows.len() * ROW_BYTES + page.unchanged.len() * 10;
    let bytes = Vec::with_capacity(room + ROW_BYTES);
    postcard::to_io(page, bytes).map_err(|error| Failure::new("run.stage", error.to_string()))
}

/// About what a row of the plan takes; a guess saves copying the page as it grows.
const ROW_BYTES: usize = 384;

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
