//! The three-way rule, row by row of its table: base, local and remote value of one field.

use serde_json::{Value, json};

use crate::fixture::{ORG, Setup, assert_counts, member, members, text};

const BASE: &str = "1 Main Street, Ennis";
const LOCAL: &str = "2 Church Road, Ennis";
const REMOTE: &str = "3 Mill Street, Ennis";

/// One member whose `address` both sides know as [`BASE`], then edited on both sides and synced.
fn edited(strategy: &str, local: Option<&str>, remote: Option<&str>) -> (Setup, Value) {
    let start = member(1, json!({"address": BASE}));
    let setup = Setup::with(&[start], json!({}), json!({"strategy": strategy}));
    setup.synced();
    if let Some(address) = local {
        setup.edit("M-1", json!({"address": address}));
    }
    if let Some(address) = remote {
        setup.sim.patch_member("M-1", json!({"address": address}));
    }
    let run = setup.synced();
    (setup, run)
}

#[test]
fn same_and_same_is_nothing() {
    let (setup, run) = edited("federation_wins", None, None);
    assert_counts(&run, json!({"unchanged": 1, "updated": 0, "conflictsDetected": 0}));
    assert_eq!(setup.field("M-1", "address"), BASE);
    assert_eq!(setup.record("M-1")["version"], 1);
}

#[test]
fn a_remote_change_alone_is_taken() {
    let (setup, run) = edited("local_wins", None, Some(REMOTE));
    assert_counts(&run, json!({"unchanged": 0, "updated": 1, "conflictsDetected": 0}));
    let record = setup.record("M-1");
    assert_eq!(record["fields"]["address"], REMOTE);
    let author = &record["fieldMeta"]["address"]["modifiedBy"];
    assert_eq!(author["kind"], "run", "{record:#}");
    assert_eq!(author["name"], run["syncId"]);
}

#[test]
fn a_local_change_alone_stays_whatever_the_strategy() {
    for strategy in ["federation_wins", "local_wins", "manual"] {
        let (setup, run) = edited(strategy, Some(LOCAL), None);
        assert_counts(&run, json!({"unchanged": 1, "updated": 0, "conflictsDetected": 0}));
        assert_eq!(setup.field("M-1", "address"), LOCAL, "{strategy}");
        let again = setup.synced();
        assert_counts(&again, json!({"unchanged": 1, "conflictsDetected": 0}));
        assert_eq!(setup.field("M-1", "address"), LOCAL, "{strategy}");
    }
}

#[test]
fn the_base_stays_under_a_local_change_until_the_remote_moves() {
    let (setup, _) = edited("federation_wins", Some(LOCAL), None);
    setup.sim.patch_member("M-1", json!({"address": REMOTE}));
    let run = setup.synced();
    assert_counts(&run, json!({"conflictsDetected": 1, "conflictsResolved": 1}));
    let line = &setup.conflicts_of(&run)[0];
    assert_eq!(line["baseValue"], BASE, "{line:#}");
    assert_eq!(line["localValue"], LOCAL);
    assert_eq!(line["remoteValue"], REMOTE);
    assert_eq!(setup.field("M-1", "address"), REMOTE);
}

#[test]
fn a_local_change_taken_back_is_no_change() {
    let (setup, _) = edited("manual", Some(LOCAL), None);
    setup.edit("M-1", json!({"address": BASE}));
    setup.sim.patch_member("M-1", json!({"address": REMOTE}));
    let run = setup.synced();
    assert_counts(&run, json!({"updated": 1, "conflictsDetected": 0}));
    assert_eq!(setup.field("M-1", "address"), REMOTE);
}

#[test]
fn equal_changes_converge_and_the_base_advances() {
    let (setup, run) = edited("manual", Some(REMOTE), Some(REMOTE));
    assert_counts(&run, json!({"unchanged": 1, "updated": 0, "conflictsDetected": 0}));
    assert_eq!(setup.field("M-1", "address"), REMOTE);
    // Had the base stayed behind, this would be a conflict.
    setup.sim.patch_member("M-1", json!({"address": BASE}));
    let run = setup.synced();
    assert_counts(&run, json!({"updated": 1, "conflictsDetected": 0}));
    assert_eq!(setup.field("M-1", "address"), BASE);
}

#[test]
fn different_changes_are_a_conflict_for_the_strategy() {
    for (strategy, wanted) in [("federation_wins", REMOTE), ("local_wins", LOCAL)] {
        let (setup, run) = edited(strategy, Some(LOCAL), Some(REMOTE));
        assert_counts(&run, json!({"conflictsDetected": 1, "conflictsResolved": 1}));
        assert_eq!(setup.field("M-1", "address"), wanted, "{strategy}");
        let lines = setup.conflicts_of(&run);
        let record = setup.record("M-1");
        let line = &lines[0];
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert_eq!(line["recordId"], record["id"]);
        assert_eq!((&line["entity"], &line["field"]), (&json!("member"), &json!("address")));
        assert_eq!(line["baseValue"], BASE);
        assert_eq!(line["remoteValue"], REMOTE);
        assert_eq!(line["localValue"], LOCAL);
        assert_eq!(line["resolvedValue"], wanted);
        assert_eq!(line["strategy"], strategy);
    }
}

#[test]
fn a_resolved_conflict_does_not_return_until_the_remote_changes_again() {
    for (strategy, kept) in [("federation_wins", REMOTE), ("local_wins", LOCAL)] {
        let (setup, _) = edited(strategy, Some(LOCAL), Some(REMOTE));
        let quiet = setup.synced();
        assert_counts(&quiet, json!({"unchanged": 1, "conflictsDetected": 0}));
        assert_eq!(setup.field("M-1", "address"), kept, "{strategy}");
        setup.sim.patch_member("M-1", json!({"address": "4 The Square, Ennis"}));
        let run = setup.synced();
        let again = u64::from(strategy == "local_wins");
        assert_counts(&run, json!({"conflictsDetected": again}));
        if again == 1 {
            assert_eq!(setup.conflicts_of(&run)[0]["baseValue"], REMOTE);
        }
    }
}

#[test]
fn a_conflict_on_one_field_never_loses_a_change_on_another() {
    for (strategy, email) in [
        ("federation_wins", json!("remote@example.ie")),
        ("local_wins", json!("local@example.ie")),
        ("manual", json!("local@example.ie")),
    ] {
        let setup = Setup::with(&members(1), json!({}), json!({"strategy": strategy}));
        setup.synced();
        setup.edit("M-1", json!({"email": "local@example.ie", "firstName": "Niamh"}));
        setup.sim.patch_member(
            "M-1",
            json!({"email": "remote@example.ie", "address": REMOTE, "lastName": "Ní Shé"}),
        );
        let run = setup.synced();
        assert_counts(&run, json!({"conflictsDetected": 1, "updated": 1}));
        let fields = &setup.record("M-1")["fields"];
        assert_eq!(fields["email"], email, "{strategy}");
        assert_eq!(fields["address"], REMOTE, "the remote's change, {strategy}");
        assert_eq!(fields["lastName"], "Ní Shé", "the remote's change, {strategy}");
        assert_eq!(fields["firstName"], "Niamh", "the local change, {strategy}");
    }
}

#[test]
fn clearing_a_field_is_a_change_like_any_other() {
    let setup = Setup::new(&members(3));
    setup.synced();
    setup.sim.patch_member("M-1", json!({"email": null}));
    setup.edit("M-2", json!({"email": null}));
    setup.sim.remove_fields("M-3", &["email"]);
    let run = setup.synced();
    assert_counts(&run, json!({"updated": 1, "unchanged": 2, "conflictsDetected": 0}));
    assert_eq!(setup.field("M-1", "email"), Value::Null, "null says that there is none");
    assert_eq!(setup.field("M-2", "email"), Value::Null, "the local clearing stays");
    assert_eq!(setup.field("M-3", "email"), "member3@example.ie", "absent says nothing");
}

/// A record made by hand, of the same person as member `number`.
fn local_twin(setup: &Setup, number: u32, fields: Value) -> String {
    let twin = member(number, json!({}));
    let mut all = json!({
        "firstName": twin["firstName"],
        "lastName": twin["lastName"],
        "dateOfBirth": twin["dateOfBirth"],
    });
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    let body = json!({"entity": "member", "fields": all});
    let path = format!("/organizations/{ORG}/records");
    text(&setup.host.call("POST", &path, &body, 201), "id")
}

#[test]
fn a_first_link_fills_the_blanks_of_both_sides() {
    let remote = member(1, json!({"email": "", "address": null}));
    let setup = Setup::with(&[remote], json!({}), json!({"strategy": "manual"}));
    let filled = json!({"email": "kept@example.ie", "address": BASE, "phone": ""});
    let twin = local_twin(&setup, 1, filled);
    let run = setup.synced();
    assert_counts(&run, json!({"linked": 1, "created": 0, "conflictsDetected": 0}));
    let record = setup.record("M-1");
    assert_eq!(record["id"], *twin);
    assert_eq!(record["fields"]["email"], "kept@example.ie");
    assert_eq!(record["fields"]["address"], BASE);
    assert_eq!(record["fields"]["phone"], "087 555 0001");
    assert_eq!(record["fields"]["joinDate"], "2015-03-01");
    // The blank became the base: when the remote fills it in later, both have changed.
    setup.sim.patch_member("M-1", json!({"address": REMOTE}));
    let run = setup.synced();
    assert_counts(&run, json!({"conflictsHeld": 1}));
    assert_eq!(setup.inbox()[0]["field"], "address");
}

#[test]
fn differing_values_at_a_first_link_are_conflicts_without_a_base() {
    for (strategy, wanted) in [("federation_wins", "087 555 0001"), ("local_wins", "085 111 2222")]
    {
        let setup = Setup::with(&members(1), json!({}), json!({"strategy": strategy}));
        local_twin(&setup, 1, json!({"phone": "085 111 2222", "email": "MEMBER1@example.ie"}));
        let run = setup.synced();
        assert_counts(&run, json!({"linked": 1, "conflictsDetected": 1, "conflictsResolved": 1}));
        let lines = setup.conflicts_of(&run);
        assert_eq!(lines[0]["field"], "phone", "{lines:#?}");
        assert_eq!(lines[0]["baseValue"], Value::Null);
        assert_eq!(setup.field("M-1", "phone"), wanted, "{strategy}");
        let kept = setup.field("M-1", "email");
        assert_eq!(kept, "MEMBER1@example.ie", "equal but for case: left in its form");
        assert_counts(&setup.synced(), json!({"unchanged": 1, "conflictsDetected": 0}));
        assert_eq!(setup.field("M-1", "phone"), wanted, "{strategy}");
    }
}
