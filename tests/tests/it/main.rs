//! The product tested from outside: the real binary, a simulated federation, the HTTP API. One
//! binary, so that the tests are linked once.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod access;
mod administration;
mod bad_input;
mod brakes;
mod canary;
mod cli;
mod clock_rig;
mod clocked;
mod crash;
mod described;
mod disk;
mod disk_errors;
mod doctor;
mod doubtful;
mod dry_run;
mod failure_retry;
mod faults;
mod feed;
mod fixture;
mod health;
mod history;
mod hostile;
mod idempotency;
mod inbox;
mod keys;
mod laws;
mod listings;
mod matching;
mod notify;
mod oauth;
mod openapi;
mod pacing;
mod plugins;
mod presence;
mod races;
mod records;
mod requests;
mod retention;
mod retries;
mod rig;
mod schedules;
mod secrets;
mod several_entities;
mod smoke;
mod startup;
mod strategies;
mod streams;
mod templates;
mod tenants;
mod three_way;
mod thresholds;
mod tidy;
mod trials;
mod undo;
mod values;
mod webhooks;
