//! A person decides every conflict.
//!
//! Owns one decision and nothing else: it imports nothing, not even a clock.

#![deny(unsafe_code)]

use syncline_plugin_sdk::{Conflict, Decision, Strategy, StrategyManifest};

/// See the crate's documentation.
#[derive(Debug)]
pub struct Manual;

impl Strategy for Manual {
    fn manifest() -> StrategyManifest {
        StrategyManifest {
            id: "manual",
            version: env!("CARGO_PKG_VERSION"),
            title: "Decide by hand",
            ..StrategyManifest::default()
        }
    }

    fn decide(_conflict: &Conflict) -> Decision {
        Decision::hold("Waiting for a person to decide.")
    }
}

syncline_plugin_sdk::export_strategy!(Manual);

#[cfg(test)]
mod tests;
