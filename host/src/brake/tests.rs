use super::*;

const QUIET: BrakeInput = BrakeInput {
    mode: Mode::Full,
    active_before: 1_000,
    linked_active_before: 1_000,
    deactivations: 0,
    updates_of_linked: 0,
    listing_count: Some(1_000),
};

#[track_caller]
fn check_code(input: BrakeInput, expected: Option<&str>) {
    let tripped = check(&input, &Options::default());
    assert_eq!(tripped.map(|tripped| tripped.code), expected, "{input:?}");
}

#[test]
fn deactivations_trip_above_the_larger_of_ten_and_five_percent() {
    for (active, deactivations, trips) in [
        (1_000, 50, false),
        (1_000, 51, true),
        (20, 10, false),
        (20, 11, true),
        (10, 10, false),
        (0, 11, true),
        (200, 10, false),
        (219, 11, true),
        (220, 11, false),
        (221, 11, false),
        (u64::MAX, u64::MAX, true),
        (u64::MAX, u64::MAX / 20, false),
    ] {
        let expected = trips.then_some("tooManyDeactivations");
        for mode in [Mode::Full, Mode::Incremental, Mode::Ids] {
            let input = BrakeInput { mode, active_before: active, deactivations, ..QUIET };
            check_code(input, expected);
        }
    }
}

#[test]
fn updates_trip_in_full_mode_only() {
    for (linked, updates, trips) in
        [(1_000, 400, false), (1_000, 401, true), (10, 10, false), (12, 11, true), (27, 11, true)]
    {
        let full = BrakeInput { linked_active_before: linked, updates_of_linked: updates, ..QUIET };
        check_code(full, trips.then_some("tooManyUpdates"));
        for mode in [Mode::Incremental, Mode::Ids] {
            check_code(BrakeInput { mode, ..full }, None);
        }
    }
}

#[test]
fn a_first_sync_is_free() {
    let first = BrakeInput { active_before: 0, linked_active_before: 0, ..QUIET };
    check_code(first, None);
    check_code(BrakeInput { listing_count: Some(0), ..first }, None);
}

#[test]
fn an_emptied_source_is_held_only_when_the_listing_was_sound() {
    let emptied = BrakeInput { listing_count: Some(0), linked_active_before: 3, ..QUIET };
    check_code(emptied, Some("sourceEmpty"));
    check_code(BrakeInput { deactivations: 1_000, ..emptied }, Some("sourceEmpty"));
    check_code(BrakeInput { listing_count: None, ..emptied }, None);
    check_code(BrakeInput { listing_count: Some(1), ..emptied }, None);
    let options = Options { emptied_linked_min: 4, ..Options::default() };
    assert_eq!(check(&emptied, &options), None);
}

#[test]
fn messages_say_the_figures_and_what_to_do() {
    let input = BrakeInput { deactivations: 51, ..QUIET };
    let message = check(&input, &Options::default()).unwrap().message;
    assert!(message.contains("51 of 1000") && message.contains("5 %"), "{message}");
    assert!(message.contains("approve"), "{message}");
    let few = validity(1, 2, &Options::default()).unwrap_err().to_string();
    assert!(few.contains("1 of 3") && few.contains("50 %"), "{few}");
    let few = shortfall(10, 4, &Options::default()).unwrap().to_string();
    assert!(few.contains("4 of 10") && few.contains("50 %"), "{few}");
}

#[test]
fn thresholds_name_the_outcome() {
    for (valid, invalid, goes_on) in
        [(0, 0, true), (1, 1, true), (49, 51, false), (50, 50, true), (0, 1, false), (1, 0, true)]
    {
        assert_eq!(validity(valid, invalid, &Options::default()).is_ok(), goes_on, "{valid}");
    }
    for (valid, applied, expected) in [
        (0, 0, RunStatus::Completed),
        (100, 100, RunStatus::Completed),
        (100, 80, RunStatus::Completed),
        (100, 79, RunStatus::Partial),
        (100, 50, RunStatus::Partial),
        (100, 49, RunStatus::Failed),
        (1_000, 799, RunStatus::Partial),
        (3, 0, RunStatus::Failed),
    ] {
        let options = Options::default();
        assert_eq!(outcome(valid, applied, &options), expected, "{applied}/{valid}");
        let few = shortfall(valid, applied, &options).map(|few| few.min_percent);
        let below = match expected {
            RunStatus::Completed => None,
            RunStatus::Partial => Some(80),
            _ => Some(50),
        };
        assert_eq!(few, below, "{applied}/{valid}");
    }
}

#[test]
fn every_limit_can_be_set() {
    let options: Options = serde_json::from_str(
        r#"{"deactivationsFree": 0, "updatesMaxPercent": 0, "updatesFree": 0}"#,
    )
    .unwrap();
    let one = BrakeInput { deactivations: 51, ..QUIET };
    assert!(check(&one, &options).is_some());
    let update = BrakeInput { updates_of_linked: 1, ..QUIET };
    assert_eq!(check(&update, &options).unwrap().code, "tooManyUpdates");
    assert!(serde_json::from_str::<Options>(r#"{"typo": 1}"#).is_err());
}
