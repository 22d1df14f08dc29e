//! The remote value is taken, except where a person changed the local one last.
//!
//! Owns one decision and nothing else: it imports nothing, not even a clock.

#![deny(unsafe_code)]

use syncline_plugin_sdk::{Author, Conflict, Decision, Strategy, StrategyManifest};

/// See the crate's documentation.
#[derive(Debug)]
pub struct Merge;

impl Strategy for Merge {
    fn manifest() -> StrategyManifest {
        StrategyManifest {
            id: "merge",
            version: env!("CARGO_PKG_VERSION"),
            title: "Merge",
            ..StrategyManifest::default()
        }
    }

    fn decide(conflict: &Conflict) -> Decision {
        match conflict.local.modified_by {
            Author::Person => Decision::local("The local value was kept: a person changed it."),
            Author::System => {
                Decision::remote("The remote value was taken: no person changed the local one.")
            }
            Author::Unknown => Decision::remote(
                "The remote value was taken: nobody knows who changed the local one.",
            ),
        }
    }
}

syncline_plugin_sdk::export_strategy!(Merge);

#[cfg(test)]
mod tests;
