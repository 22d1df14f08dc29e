//! Syncline keeps an organization's records in agreement with the systems that they come from.
//!
//! `ARCHITECTURE.md` holds the map of the modules and who may import whom.
#![forbid(unsafe_code)]

pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod model;
pub mod telemetry;
