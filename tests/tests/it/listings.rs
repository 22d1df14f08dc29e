//! Listings that lie or move: what was listed is applied once, nobody is deactivated, and the run
//! says that the listing does not add up.

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Rule, Shuffle};

use crate::fixture::{CLUB, Setup, member, text};
use crate::rig::{MEMBERS, SMALL_LIMITS, active, external_ids, paged, state};

const ADDED: &str = "GAA-5000000";

struct Case {
    name: &'static str,
    rule: Rule,
    status: &'static str,
    /// Rows that the listing had.
    valid: u64,
    /// Whether the record that is gone from the federation may be inactive afterwards.
    deactivates: bool,
}

fn case(name: &'static str, rule: Rule, status: &'static str, valid: u64) -> Case {
    Case { name, rule, status, valid, deactivates: status == "completed" }
}

/// Member 2 is gone and member 1 has a new name: both are on the first page.
#[track_caller]
fn check(setup: &Setup, case: Case) {
    let Case { name, rule, status, valid, deactivates } = case;
    setup.sim.generate(CLUB, MEMBERS, 1);
    setup.synced();
    let (ids, active_before) = (external_ids(setup), active(setup));
    setup.sim.patch_member("GAA-000001", json!({"firstName": name}));
    setup.sim.delete_member("GAA-000002");
    setup.sim.fault(rule);
    let run = setup.sync();
    setup.sim.clear_faults();
    assert_eq!(run["status"], status, "{name}: {run:#}");
    assert_eq!(run["counts"]["valid"], valid, "{name}: {run:#}");
    let codes: Vec<&str> = run["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|error| error["code"].as_str())
        .collect();
    let incomplete = codes.contains(&"listing.incomplete");
    assert_eq!(incomplete, status == "partial", "{name}: {codes:?}");
    assert_eq!(run["listingComplete"], status == "completed", "{name}: {run:#}");
    assert_eq!(setup.field("GAA-000001", "firstName"), name, "what was listed is applied");
    let gone = u64::from(deactivates);
    assert_eq!(run["counts"]["deactivated"], gone, "{name}: {run:#}");
    let mut left = external_ids(setup);
    left.retain(|id| id != ADDED);
    assert_eq!(left, ids, "{name}: each member has one record");
    let added = usize::from(setup.find(ADDED).is_some());
    assert_eq!(active(setup) - added, active_before - gone as usize, "{name}");
}

#[test]
fn a_listing_that_lies_about_its_size_is_partial() {
    let setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let total = |off_by, per_page_drift| Fault::TotalCount { off_by, per_page_drift };
    let more = |value| Fault::HasMore { value };
    for case in [
        case("total too high", Rule::listing(total(5, 0)), "partial", 109),
        case("total too low", Rule::listing(total(-5, 0)), "partial", 109),
        case("total drifts", Rule::listing(total(0, 1)), "partial", 109),
        case("total wrong once", Rule::page(3, total(1, 0)), "partial", 109),
        case("total wrong at the end", Rule::page(11, total(1, 0)), "partial", 109),
        case("no more too early", Rule::page(3, more(false)), "partial", 30),
        case("more at the end", Rule::page(11, more(true)), "completed", 109),
        case("an empty page", Rule::page(3, Fault::EmptyPage { has_more: false }), "partial", 20),
    ] {
        check(&setup, case);
    }
}

#[test]
fn a_listing_that_moves_is_partial_and_its_rows_are_applied_once() {
    let setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let shuffle = |shuffle| Rule::page(3, Fault::Shuffle { shuffle }).once();
    let twice = |count, changed| Rule::page(3, Fault::DuplicateRows { count, changed });
    for case in [
        case("first is gone", shuffle(Shuffle::DropFirst(1)), "partial", 108),
        case("ten are gone", shuffle(Shuffle::DropFirst(10)), "partial", 99),
        case("one is new", shuffle(Shuffle::InsertFirst(1)), "partial", 109),
        case("one moved back", shuffle(Shuffle::Move { from: 0, to: 50 }), "partial", 108),
        case("one moved on", shuffle(Shuffle::Move { from: 50, to: 0 }), "partial", 108),
        case("rows twice", twice(3, false), "completed", 109),
        case("rows twice, differing", twice(3, true), "completed", 109),
    ] {
        check(&setup, case);
    }
    let renamed = setup.records().iter().any(|record| record["fields"]["firstName"] == "Changed");
    assert!(!renamed, "of two rows with one id the first counts");
}

/// A row that cannot be read is put aside, counts as present, and the others proceed.
#[test]
fn rows_with_strange_values_harm_nobody_but_themselves() {
    let setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    setup.synced();
    let active_before = active(&setup);
    let set = |field: &str, json: &str| Fault::SetField {
        row: 4,
        field: field.to_owned(),
        json: json.to_owned(),
    };
    for (name, fault) in [
        ("a lone surrogate", set("firstName", r#""\ud83d""#)),
        ("a number past 2^64", set("email", "123456789012345678901234567890")),
        ("a list", set("lastName", "[1]")),
        ("deep lists", Fault::DeepField { row: 4, field: "address".to_owned(), depth: 100 }),
        ("deeper lists", Fault::DeepField { row: 4, field: "address".to_owned(), depth: 100_000 }),
        ("no id", Fault::RemoveField { row: 4, field: "memberId".to_owned() }),
        ("an empty id", set("memberId", r#""""#)),
        ("an id that is a list", set("memberId", "[]")),
        ("not JSON", Fault::ReplaceRow { row: 4, text: "{\"memberId\":}".to_owned() }),
    ] {
        let before = state(&setup);
        setup.sim.fault(Rule::page(3, fault));
        let run = setup.sync();
        setup.sim.clear_faults();
        assert_eq!(active(&setup), active_before, "{name}: {run:#}");
        assert_eq!(setup.records().len(), 110, "{name}: {run:#}");
        if run["status"] == "failed" {
            // One page without a reading: nothing of the run counts.
            let message = text(&run["errors"][0], "message");
            assert!(message.starts_with("page 3"), "{name}: {message}");
            assert_eq!(state(&setup), before, "{name}");
        } else {
            assert_eq!(run["counts"]["fetched"], 110, "{name}: {run:#}");
        }
        assert_eq!(run["counts"]["deactivated"], 0, "{name}: {run:#}");
    }
    setup.synced();
    let mut open = setup.failures();
    open.retain(|failure| failure["externalId"] != "");
    assert_eq!(open, Vec::<Value>::new(), "what passes later is no failure");
}

/// Nobody can tell which row passed; a whole listing without such a row tells that all did.
#[test]
fn rows_without_an_id_are_forgiven_by_a_whole_listing() {
    let setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let field = "memberId".to_owned();
    setup.sim.fault(Rule::page(3, Fault::RemoveField { row: 4, field }));
    setup.sync();
    setup.sim.clear_faults();
    assert_eq!(setup.failures().len(), 1);
    setup.synced();
    assert_eq!(setup.failures(), Vec::<Value>::new());
}

/// Numbers past 2^53 are ids like any other: no two of them become one.
#[test]
fn large_numbers_as_ids_stay_apart() {
    let setup = paged(0, SMALL_LIMITS, json!({}));
    let numbers =
        ["9007199254740992", "9007199254740993", "18446744073709551614", "18446744073709551615"];
    let row = |(at, number): (usize, &&str)| {
        let text = member(at as u32 + 1, json!({})).to_string();
        text.replace(&format!("\"M-{}\"", at + 1), number)
    };
    let rows: Vec<String> = numbers.iter().enumerate().map(row).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    setup.sim.set_members_text(CLUB, &rows);
    setup.synced();
    let mut expected: Vec<String> = numbers.iter().map(|number| (*number).to_owned()).collect();
    expected.sort();
    assert_eq!(external_ids(&setup), expected);
    let again = setup.synced();
    assert_eq!(again["counts"]["unchanged"], 4, "{again:#}");
}
