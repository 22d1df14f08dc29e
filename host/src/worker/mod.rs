//! Workers: claim a job, run it, end it. The only place where plugin and store meet.
//!
//! `run` reads as the pipeline: fetch, map, detect, resolve, plan, commit. Triggers never call in here.

mod again;
mod check;
mod decide;
mod ending;
mod failure;
mod gone;
mod halt;
pub mod hooks;
mod listing;
mod matching;
pub mod outbound;
mod planner;
mod planning;
mod pool;
pub mod progress;
mod requests;
mod resume;
mod rounds;
mod run;
mod seen;
pub mod setup;
mod stage;
mod status;
pub mod template;
mod upkeep;
mod watermark;

pub use check::{CheckReport, check};
pub use failure::Failure;
pub use pool::Pool;
pub use upkeep::upkeep;

use crate::brake;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::egress::Egress;
use crate::health;
use crate::oauth;
use crate::plugin::Registry;
use crate::queue::Caps;
use crate::retry;
use crate::store::Store;
use crate::store::retention::Class;
use crate::vault::Keyring;
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
    pub keys: Arc<Keyring>,
    pub oauth: Arc<oauth::Manager>,
    pub clock: Clock,
    /// Of the data directory.
    pub disk: Disk,
    pub board: Board,
    /// Rung by whoever enqueues or frees a job.
    pub bell: Arc<Notify>,
    /// Rung after a commit that may have raised an event.
    pub notices: Arc<Notify>,
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
    pub health: health::Options,
    pub retry: retry::Options,
    /// Live jobs of an organization, beyond which a person's request is refused.
    pub queued_jobs_max: usize,
    /// How long jobs that failed for good are kept.
    pub dead_kept_millis: i64,
    /// How long credentials are kept that nobody uses.
    pub credentials_kept_millis: i64,
    /// How often the free room of the disk is looked at.
    pub disk_look_millis: i64,
    /// How long what ended is kept, by class, in milliseconds.
    pub kept: Vec<(Class, i64)>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            caps: Caps { running_max: 5, running_per_connector_max: 2, aging_millis: 300_000 },
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
            health: health::Options::default(),
            retry: retry::Options::default(),
            queued_jobs_max: 1_000,
            dead_kept_millis: 180 * 24 * 60 * 60 * 1000,
            credentials_kept_millis: 30 * 24 * 60 * 60 * 1000,
            disk_look_millis: 60_000,
            kept: Vec::new(),
        }
    }
}
