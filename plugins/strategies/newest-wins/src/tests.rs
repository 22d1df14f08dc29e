//! The laws of a strategy, on generated conflicts, and its table of outcomes.

use syncline_plugin_sdk::testing::conflicts;
use syncline_plugin_sdk::{Choice, Conflict, Side, SourceOfTruth, Strategy, Value};

use crate::NewestWins;

#[track_caller]
fn check(
    remote: Option<&str>,
    local: Option<&str>,
    source_of_truth: SourceOfTruth,
    expect: Choice,
) {
    let side = |value: &str, modified_at: Option<&str>| Side {
        value: value.into(),
        modified_at: modified_at.map(str::to_owned),
        ..Side::default()
    };
    let conflict = Conflict {
        entity: "member".to_owned(),
        field: "email".to_owned(),
        field_type: "email".to_owned(),
        base: Value::Absent,
        remote: side("remote@example.org", remote),
        local: side("local@example.org", local),
        source_of_truth,
    };
    let decision = NewestWins::decide(&conflict);
    assert_eq!(decision.choice, expect, "{remote:?} {local:?}: {}", decision.note);
}

#[test]
fn compares_instants_and_not_their_text() {
    use SourceOfTruth::{Local, Remote};
    let noon = Some("2026-03-01T12:00:00Z");
    check(Some("2026-03-01T12:00:01Z"), noon, Local, Choice::Remote);
    check(noon, Some("2026-03-01T12:00:01Z"), Remote, Choice::Local);
    // Later in the text, earlier in time.
    check(Some("2026-03-01T12:30:00+01:00"), noon, Remote, Choice::Local);
    check(noon, Some("2026-03-01T12:30:00+01:00"), Local, Choice::Remote);
    // A fraction is part of the time, and trailing zeros are not.
    check(Some("2026-03-01T12:00:00.000000001Z"), noon, Local, Choice::Remote);
    check(Some("2026-03-01T12:00:00.1Z"), Some("2026-03-01T12:00:00.09Z"), Local, Choice::Remote);
    check(Some("2026-03-01T12:00:00.000Z"), noon, Local, Choice::Local);
    check(Some("2026-03-01T13:00:00+01:00"), noon, Remote, Choice::Remote);
}

#[test]
fn an_unknown_time_is_a_tie() {
    use SourceOfTruth::{Local, Remote};
    let noon = Some("2026-03-01T12:00:00Z");
    for unknown in
        [None, Some(""), Some("yesterday"), Some("2026-03-01"), Some("2026-02-30T12:00:00Z")]
    {
        check(unknown, noon, Remote, Choice::Remote);
        check(unknown, noon, Local, Choice::Local);
        check(noon, unknown, Remote, Choice::Remote);
        check(noon, unknown, Local, Choice::Local);
        check(unknown, unknown, Local, Choice::Local);
    }
}

#[test]
fn keeps_the_laws() {
    conflicts::check_laws::<NewestWins>(20_000);
}
