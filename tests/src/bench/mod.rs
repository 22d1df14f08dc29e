//! Benchmarks: Syncline against a native floor and against an afternoon's script.
//!
//! | module | owns |
//! |---|---|
//! | [`floor`] | (a) the least that a native program must do for the same effect |
//! | [`product`] | (b) Syncline itself, over its command line and its HTTP API |
//! | [`script`] | (c) `tests/bench/script.py` |
//! | [`sync`] | the rounds: who runs when, medians, ratios |
//! | [`report`] | the table and the JSON object |
//! | [`memory`] | peak and idle memory of processes |
//!
//! Every contestant runs as a process of its own, against the same federation process, so that
//! memory is measured per contestant and none inherits another's warm caches.

pub mod floor;
pub mod memory;
pub mod product;
pub mod report;
pub mod script;
pub mod sync;

use serde::{Deserialize, Serialize};

/// What one run of one contestant took and did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measure {
    /// From before the first request until the commit is durable.
    pub seconds: f64,
    /// The process's largest resident set during the run.
    pub peak_memory_kb: u64,
    pub fetched: u64,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
}

/// The federation that a contestant reads from.
#[derive(Debug, Clone)]
pub struct Source {
    pub address: std::net::SocketAddr,
    pub club: String,
    pub api_key: String,
}

impl Source {
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Rows per page, for every contestant.
pub const PAGE_ROWS: u64 = 1_000;
