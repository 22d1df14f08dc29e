//! Workers: claim a job, run it, end it. The only place where plugin and store meet.
//!
//! `run` reads as the pipeline: fetch, map, detect, resolve, plan, commit. Triggers never call in here.

mod check;
mod decide;
mod failure;
mod gone;
mod listing;
mod matching;
mod planner;
mod pool;
pub mod progress;
mod resume;
mod rounds;
mod run;
mod seen;
pub mod setup;
mod stage;
mod watermark;

pub use check::{CheckReport, check};
pub use failure::Failure;
pub use pool::Pool;

use crate::brake;
use crate::clock::Clock;
use crate::egress::Egress;
use crate::plugin::Registry;
use crate::queue::Caps;
use crate::store::Store;
use crate::vault::MasterKey;
use progress::Board;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What the workers stand on.
#[derive(Clone)]
pub struct Deps {
    pub store: Store,
    pub plugins: Arc<Registry>,
    pub egress: Arc<Egress>,
    pub key: Arc<MasterKey>,
    pub clock: Clock,
    pub board: Board,
    /// Rung by whoever enqueues or frees a job.
    pub bell: Arc<Notify>,
    pub options: Arc<Options>,
}

/// Settings of the workers, from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    pub caps: Caps,
    pub run_max: Duration,
    pub lease: Duration,
    pub drain_max: Duration,
    pub strategy_default: String,
    pub brakes: brake::Options,
    pub batch_records: u32,
    pub stage_flush_records: u64,
    pub stage_flush: Duration,
    pub listing_pages_max: u64,
    pub listing_records_max: u64,
    pub commit_rounds_max: u32,
    pub run_errors_max: usize,
    pub overlap_millis: i64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            caps: Caps { running_max: 5, running_per_connector_max: 2 },
            run_max: Duration::from_secs(30 * 60),
            lease: Duration::from_secs(60),
            drain_max: Duration::from_secs(10),
            strategy_default: "federation_wins".to_owned(),
            brakes: brake::Options::default(),
            batch_records: 1000,
            stage_flush_records: 1000,
            stage_flush: Duration::from_millis(200),
            listing_pages_max: 20_000,
            listing_records_max: 5_000_000,
            commit_rounds_max: 3,
            run_errors_max: 100,
            overlap_millis: 120_000,
        }
    }
}
