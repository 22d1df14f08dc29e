//! The product tested from outside: the real binary, a simulated federation, the HTTP API.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests are tests too"
)]

mod fixture;
mod smoke;
