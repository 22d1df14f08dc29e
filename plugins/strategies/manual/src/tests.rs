//! The laws of a strategy, on generated conflicts, and its table of outcomes.

use syncline_plugin_sdk::testing::conflicts;
use syncline_plugin_sdk::{Choice, Strategy};

use crate::Manual;

#[test]
fn always_holds() {
    for conflict in conflicts::generate(1_000) {
        assert_eq!(Manual::decide(&conflict).choice, Choice::Hold);
    }
}

#[test]
fn keeps_the_laws() {
    conflicts::check_laws::<Manual>(20_000);
}
