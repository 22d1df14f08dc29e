//! The laws of a strategy, on generated conflicts, and its table of outcomes.

use syncline_plugin_sdk::testing::conflicts;
use syncline_plugin_sdk::{Author, Choice, Strategy};

use crate::Merge;

#[test]
fn a_person_beats_the_remote_and_nobody_else_does() {
    for conflict in conflicts::generate(1_000) {
        let expect = match conflict.local.modified_by {
            Author::Person => Choice::Local,
            Author::System | Author::Unknown => Choice::Remote,
        };
        assert_eq!(Merge::decide(&conflict).choice, expect, "{conflict:?}");
    }
}

#[test]
fn keeps_the_laws() {
    conflicts::check_laws::<Merge>(20_000);
}
