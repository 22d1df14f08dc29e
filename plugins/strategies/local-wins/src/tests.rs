//! The laws of a strategy, on generated conflicts, and its table of outcomes.

use syncline_plugin_sdk::testing::conflicts;
use syncline_plugin_sdk::{Choice, Strategy};

use crate::LocalWins;

#[test]
fn always_keeps_the_local_value() {
    for conflict in conflicts::generate(1_000) {
        assert_eq!(LocalWins::decide(&conflict).choice, Choice::Local);
    }
}

#[test]
fn keeps_the_laws() {
    conflicts::check_laws::<LocalWins>(20_000);
}
