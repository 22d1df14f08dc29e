//! The product tested from outside: the real binary, a simulated federation, the HTTP API.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests are tests too"
)]

mod brakes;
mod dry_run;
mod feed;
mod fixture;
mod inbox;
mod matching;
mod presence;
mod records;
mod requests;
mod smoke;
mod strategies;
mod tenants;
mod three_way;
mod thresholds;
mod undo;
mod values;
