//! Benchmarks: Syncline against a native floor and against an afternoon's script.
//!
//! | module | owns |
//! |---|---|
//! | [`floor`] | (a) the least that a native program must do for the same effect |
//! | [`product`] | (b) Syncline itself, over its command line and its HTTP API |
//! | [`script`] | (c) `tests/bench/script.py` |
//! | [`call`] | the fixed cost of a plugin call |
//! | [`sync`] | the rounds: who runs when, medians, ratios |
//! | [`report`] | the table and the JSON object |
//! | [`queue`] | what the queue costs above bare durable writes |
//! | [`burst`] | two hundred connections that are due at once |
//! | [`webhooks`] | acknowledging deliveries, against a bare handler |
//! | [`memory`] | peak and idle memory of processes |
//!
//! Every contestant runs as a process of its own, against the same federation process, so that
//! memory is measured per contestant and none inherits another's warm caches.

pub mod burst;
pub mod call;
pub mod floor;
pub mod memory;
pub mod product;
pub mod queue;
pub mod report;
pub mod script;
pub mod sync;
pub mod webhooks;

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

/// Three digits behind the point are more than the measures hold.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The middle value, or the mean of the two middle ones.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    let even = values.len().is_multiple_of(2);
    let lower = if even { values.get(middle.checked_sub(1)?).copied()? } else { upper };
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, wanted) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0], Some(2.5)),
        ] {
            assert_eq!(median(values.clone()), wanted, "{values:?}");
        }
    }
}
