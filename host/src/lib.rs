//! Syncline keeps an organization's records in agreement with the systems that they come from.
//!
//! `ARCHITECTURE.md` holds the map of the modules and who may import whom.
#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod ask;
pub mod backoff;
pub mod brake;
pub mod cli;
pub mod clock;
pub mod commit;
pub mod config;
pub mod crash_point;
pub mod credentials;
pub mod cron;
pub mod demo;
pub mod detect;
pub mod disk;
pub mod egress;
pub mod health;
pub mod inbox;
pub mod mapping;
pub mod model;
pub mod normalize;
pub mod notify;
pub mod oauth;
pub mod plugin;
pub mod queue;
pub mod resolve;
pub mod retry;
pub mod secrets;
pub mod signature;
pub mod store;
pub mod telemetry;
pub mod trigger;
pub mod vault;
pub mod worker;

#[cfg(test)]
mod test_rows;
#[cfg(test)]
mod test_seed;
