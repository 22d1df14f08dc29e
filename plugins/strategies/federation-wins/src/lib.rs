//! The remote value is always taken.
//!
//! Owns one decision and nothing else: it imports nothing, not even a clock.

#![deny(unsafe_code)]

use syncline_plugin_sdk::{Conflict, Decision, Strategy, StrategyManifest};

/// See the crate's documentation.
#[derive(Debug)]
pub struct FederationWins;

impl Strategy for FederationWins {
    fn manifest() -> StrategyManifest {
        StrategyManifest {
            id: "federation_wins",
            version: env!("CARGO_PKG_VERSION"),
            title: "Federation wins",
            aliases: vec!["source_wins"],
            ..StrategyManifest::default()
        }
    }

    fn decide(_conflict: &Conflict) -> Decision {
        Decision::remote("The federation's value was taken: it always wins here.")
    }
}

syncline_plugin_sdk::export_strategy!(FederationWins);

#[cfg(test)]
mod tests;
