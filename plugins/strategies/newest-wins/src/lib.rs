//! The value that changed last is taken; a tie goes to the source of truth.
//!
//! Owns one decision and nothing else: it imports nothing, not even a clock.

#![deny(unsafe_code)]

use std::cmp::Ordering;

use syncline_plugin_sdk::{Conflict, Decision, SourceOfTruth, Strategy, StrategyManifest};

/// See the crate's documentation.
#[derive(Debug)]
pub struct NewestWins;

impl Strategy for NewestWins {
    fn manifest() -> StrategyManifest {
        StrategyManifest {
            id: "newest_wins",
            version: env!("CARGO_PKG_VERSION"),
            title: "Newest wins",
            ..StrategyManifest::default()
        }
    }

    fn decide(conflict: &Conflict) -> Decision {
        let (Some(remote), Some(local)) = (conflict.remote.modified(), conflict.local.modified())
        else {
            return source_of_truth(conflict, "It is not known which side changed last");
        };
        match remote.cmp(&local) {
            Ordering::Greater => Decision::remote("The remote value was taken: it changed last."),
            Ordering::Less => Decision::local("The local value was kept: it changed last."),
            Ordering::Equal => source_of_truth(conflict, "Both sides changed at the same moment"),
        }
    }
}

fn source_of_truth(conflict: &Conflict, why: &str) -> Decision {
    let outcome = match conflict.source_of_truth {
        SourceOfTruth::Remote => "the remote value was taken",
        SourceOfTruth::Local => "the local value was kept",
    };
    Decision::new(conflict.source_of_truth, format!("{why}: {outcome}, as the source of truth."))
}

syncline_plugin_sdk::export_strategy!(NewestWins);

#[cfg(test)]
mod tests;
