//! The product tested from outside: the real binary, a simulated federation, the HTTP API. One
//! binary, so that the tests are linked once.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod brakes;
mod dry_run;
mod feed;
mod fixture;
mod inbox;
mod matching;
mod presence;
mod races;
mod records;
mod requests;
mod smoke;
mod strategies;
mod tenants;
mod three_way;
mod thresholds;
mod tidy;
mod undo;
mod values;
