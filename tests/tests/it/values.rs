//! Values keep their form; comparison is on what they mean; a status word maps to active or not.

use serde_json::{Value, json};

use crate::fixture::{ORG, Setup, assert_counts, member, members};

#[test]
fn values_are_stored_as_the_federation_writes_them() {
    let given = json!({
        "firstName": "Pádraig",
        "lastName": "Ó Súilleabháin",
        "email": "Padraig.OSullivan@Example.IE",
        "phone": "+353 (0)87 123 4567",
        "address": "Bóthar na Trá, An Spidéal, H91 ACDE",
    });
    let more = [
        json!({"firstName": "Anna-Marie", "lastName": "O'Brien", "phone": "(087) 123 4568"}),
        json!({"firstName": "ROISIN", "lastName": "McCarthy", "phone": "00353 87 123 4569"}),
        json!({"firstName": "mary", "lastName": "de Búrca", "phone": "028 9123 4567"}),
        json!({"firstName": "Siún", "lastName": "Mac an Bhaird", "phone": "087-1234570"}),
    ];
    let rows: Vec<Value> = (1..)
        .zip(std::iter::once(&given).chain(&more))
        .map(|(number, fields)| member(number, fields.clone()))
        .collect();
    let setup = Setup::new(&rows);
    setup.synced();
    for (number, fields) in (1..).zip(std::iter::once(&given).chain(&more)) {
        let record = setup.record(&format!("M-{number}"));
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(&record["fields"][name], value, "{name} of {record:#}");
        }
    }
    assert_counts(&setup.synced(), json!({"unchanged": 5, "updated": 0}));
}

#[test]
fn another_spelling_of_the_same_value_is_no_change() {
    let start =
        json!({"email": "Aoife@Example.ie", "phone": "087 123 4567", "lastName": "O'Brien"});
    let setup = Setup::new(&[member(1, start.clone())]);
    setup.synced();
    for same in [
        json!({"email": "aoife@example.IE"}),
        json!({"phone": "+353 87 123 4567"}),
        json!({"phone": "(087) 123-4567"}),
        json!({"phone": "00353871234567"}),
        json!({"lastName": "  O'Brien "}),
        json!({"address": " 1 Main Street, Ennis"}),
    ] {
        setup.sim.patch_member("M-1", same.clone());
        assert_counts(&setup.synced(), json!({"unchanged": 1, "updated": 0}));
        let fields = &setup.record("M-1")["fields"];
        for (name, value) in start.as_object().unwrap() {
            assert_eq!(&fields[name], value, "after {same}");
        }
    }
    assert_eq!(setup.record("M-1")["version"], 1);
    setup.sim.patch_member("M-1", json!({"lastName": "O'brien"}));
    assert_counts(&setup.synced(), json!({"updated": 1}));
    assert_eq!(setup.field("M-1", "lastName"), "O'brien", "the case of a name is its form");
}

#[test]
fn another_spelling_on_the_local_side_is_no_conflict() {
    let setup = Setup::with(
        &[member(1, json!({"phone": "087 123 4567"}))],
        json!({}),
        json!({"strategy": "manual"}),
    );
    setup.synced();
    setup.edit("M-1", json!({"phone": "+353871234567"}));
    setup.sim.patch_member("M-1", json!({"phone": "087 999 9999"}));
    assert_counts(&setup.synced(), json!({"updated": 1, "conflictsDetected": 0}));
    assert_eq!(setup.field("M-1", "phone"), "087 999 9999");
}

#[test]
fn blank_null_and_absent_are_equal() {
    let setup = Setup::new(&[member(1, json!({"email": null}))]);
    setup.synced();
    for blank in [json!({"email": ""}), json!({"email": "  "}), json!({"email": null})] {
        setup.sim.patch_member("M-1", blank.clone());
        assert_counts(&setup.synced(), json!({"unchanged": 1, "updated": 0}));
    }
    setup.sim.remove_fields("M-1", &["email"]);
    assert_counts(&setup.synced(), json!({"unchanged": 1, "updated": 0}));
    assert_eq!(setup.record("M-1")["version"], 1);
}

/// The status of member 1 after it had `before` and then gets `after`.
fn status_after(before: &str, after: &str) -> Value {
    let setup = Setup::new(&[member(1, json!({"membershipStatus": before})), member(2, json!({}))]);
    setup.synced();
    setup.sim.patch_member("M-1", json!({"membershipStatus": after}));
    setup.synced();
    let record = setup.record("M-1");
    assert_eq!(record["fields"]["membershipStatus"], after, "the word itself is kept");
    record["status"].clone()
}

#[test]
fn a_status_word_moves_the_record() {
    for (before, after, wanted) in [
        ("Active", "Lapsed", "inactive"),
        ("Active", "LAPSED", "inactive"),
        ("Active", "suspended", "inactive"),
        ("Lapsed", "Registered", "active"),
    ] {
        assert_eq!(status_after(before, after), wanted, "{before} -> {after}");
    }
}

#[test]
fn an_unknown_status_keeps_the_current_one() {
    assert_eq!(status_after("Active", "Hibernating"), "active");
    assert_eq!(status_after("Lapsed", "Hibernating"), "inactive");
}

#[test]
fn a_new_member_has_the_status_that_its_word_says() {
    let setup = Setup::new(&[
        member(1, json!({"membershipStatus": "Lapsed"})),
        member(2, json!({"membershipStatus": "Hibernating"})),
        member(3, json!({})),
    ]);
    let run = setup.synced();
    assert_counts(&run, json!({"created": 3, "deactivated": 0}));
    let statuses = ["M-1", "M-2", "M-3"].map(|id| setup.record(id)["status"].clone());
    assert_eq!(statuses, ["inactive", "active", "active"]);
}

#[test]
fn a_status_edited_here_stays_until_the_remote_word_changes() {
    let setup = Setup::new(&members(2));
    setup.synced();
    let record = setup.record("M-1");
    let id = record["id"].as_str().unwrap();
    let path = format!("/organizations/{ORG}/records/{id}");
    setup.host.change("PATCH", &path, &json!({"status": "inactive"}), 200);
    setup.sim.patch_member("M-1", json!({"address": "moved"}));
    setup.synced();
    let record = setup.record("M-1");
    assert_eq!(record["status"], "inactive", "{record:#}");
    assert_eq!(record["fields"]["address"], "moved");
}
