//! The product tested from outside: the real binary, a simulated federation, the HTTP API. One
//! binary, so that the tests are linked once.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod brakes;
mod cli;
mod crash;
mod dry_run;
mod faults;
mod feed;
mod fixture;
mod inbox;
mod laws;
mod listings;
mod matching;
mod plugins;
mod presence;
mod races;
mod records;
mod requests;
mod rig;
mod secrets;
mod smoke;
mod startup;
mod strategies;
mod tenants;
mod three_way;
mod thresholds;
mod tidy;
mod undo;
mod values;
