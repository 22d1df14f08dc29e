//! The product tested from outside: the real binary, a simulated federation, the HTTP API.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests are tests too"
)]

mod cli;
mod crash;
mod faults;
mod fixture;
mod laws;
mod listings;
mod plugins;
mod rig;
mod secrets;
mod smoke;
mod startup;
