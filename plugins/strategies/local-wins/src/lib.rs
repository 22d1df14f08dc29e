//! The local value is always kept.
//!
//! Owns one decision and nothing else: it imports nothing, not even a clock.

#![deny(unsafe_code)]

use syncline_plugin_sdk::{Conflict, Decision, Strategy, StrategyManifest};

/// See the crate's documentation.
#[derive(Debug)]
pub struct LocalWins;

impl Strategy for LocalWins {
    fn manifest() -> StrategyManifest {
        StrategyManifest {
            id: "local_wins",
            version: env!("CARGO_PKG_VERSION"),
            title: "Local wins",
            aliases: vec!["target_wins"],
            ..StrategyManifest::default()
        }
    }

    fn decide(_conflict: &Conflict) -> Decision {
        Decision::local("The local value was kept: it always wins here.")
    }
}

syncline_plugin_sdk::export_strategy!(LocalWins);

#[cfg(test)]
mod tests;
