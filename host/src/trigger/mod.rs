//! Triggers: who asks for runs without a person.
//!
//! Owns schedules (what is due, what is made up for, what is left out and why) and what becomes of deliveries that came
//! in. A trigger enqueues and rings a bell; it never runs work and knows no worker.

mod cron;
mod drift;
mod due;
mod fire;
mod generated;
mod targets;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
pub mod webhook;

pub use cron::{Looked, Scheduler};
pub use drift::{Drift, drift};
pub use fire::{Triggered, trigger};
pub use generated::{PATTERN_DEFAULT, keep_in_step};
pub use targets::{Upcoming, hindrance, is_zone, rearm, upcoming, zone_words};

use crate::ask::{Refusal, Wish};
use crate::model::RunId;
use crate::model::directory::Connector;
use crate::model::run::EntityRequest;
use std::sync::Arc;

/// What a connector's wish comes to, from its plugin as it is active now.
pub type Requests =
    Arc<dyn Fn(&Connector, Wish<'_>) -> Result<Vec<EntityRequest>, Refusal> + Send + Sync>;

/// Tells the workers that a running run is not wanted any more.
pub type Cancel = Arc<dyn Fn(RunId) + Send + Sync>;

/// Settings, from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Conflict strategy where neither connection nor connector names one.
    pub strategy_default: String,
    /// Of a schedule that names none.
    pub catch_up_millis: i64,
    pub jitter_millis: i64,
    /// Lines that the list of fires of one schedule holds.
    pub fires_kept_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            strategy_default: "federation_wins".to_owned(),
            catch_up_millis: 24 * 60 * 60 * 1000,
            jitter_millis: 5 * 60 * 1000,
            fires_kept_max: 10_000,
        }
    }
}
