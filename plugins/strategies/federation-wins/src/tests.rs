//! The laws of a strategy, on generated conflicts, and its table of outcomes.

use syncline_plugin_sdk::testing::conflicts;
use syncline_plugin_sdk::{Choice, Strategy};

use crate::FederationWins;

#[test]
fn always_takes_the_remote_value() {
    for conflict in conflicts::generate(1_000) {
        assert_eq!(FederationWins::decide(&conflict).choice, Choice::Remote);
    }
}

#[test]
fn keeps_the_laws() {
    conflicts::check_laws::<FederationWins>(20_000);
}
