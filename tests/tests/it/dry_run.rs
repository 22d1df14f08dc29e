//! A dry run tells what the run would do, and does nothing.

use serde_json::{Value, json};

use crate::fixture::{CLUB, ORG, Setup, assert_counts, member, members, text};

/// A club where the next run creates, updates, decides, holds, deactivates and puts aside.
fn busy() -> Setup {
    let policy = json!({"entities": {"member": {"fields": {"phone": {"strategy": "manual"}}}}});
    let setup = Setup::with(&members(12), json!({}), policy);
    setup.synced();
    setup.edit("M-1", json!({"email": "local@example.ie", "phone": "085 000 0000"}));
    let mut rows = members(12);
    rows[0]["email"] = json!("remote@example.ie");
    rows[0]["phone"] = json!("086 000 0000");
    rows[1]["address"] = json!("moved");
    rows[2]["lastName"] = json!("");
    rows[3]["membershipStatus"] = json!("Lapsed");
    rows.remove(4);
    rows.push(member(13, json!({})));
    setup.sim.set_members(CLUB, &rows);
    setup
}

/// Everything that a run could change.
fn state(setup: &Setup) -> Value {
    let connection = format!("/organizations/{ORG}/connections/{}", setup.connection);
    json!([
        setup.records(),
        setup.host.changes(ORG, 0),
        setup.inbox(),
        setup.failures(),
        setup.host.get(&connection),
    ])
}

#[test]
fn a_dry_run_counts_what_the_real_run_then_does() {
    let setup = busy();
    let before = state(&setup);
    let dry = setup.sync_with(json!({"dryRun": true}));
    assert_eq!(dry["status"], "completed", "{dry:#}");
    assert_eq!(dry["dryRun"], true);
    assert_eq!(state(&setup), before, "a dry run changes nothing");
    let real = setup.synced();
    assert_eq!(dry["counts"], real["counts"]);
    assert_counts(
        &real,
        json!({
            "fetched": 12, "valid": 11, "invalid": 1, "created": 1, "updated": 2, "unchanged": 7,
            "conflictsDetected": 2, "conflictsResolved": 1, "conflictsHeld": 1, "deactivated": 2,
            "quarantined": 1,
        }),
    );
}

#[test]
fn a_dry_run_lists_its_conflicts_and_outcomes() {
    let setup = busy();
    let dry = setup.sync_with(json!({"dryRun": true}));
    let mut fields: Vec<String> =
        setup.conflicts_of(&dry).iter().map(|line| text(line, "field")).collect();
    fields.sort();
    assert_eq!(fields, ["email", "phone"]);
    let path = format!("/sync/status/{}/records", text(&dry, "syncId"));
    let outcomes = setup.host.list(&path);
    let outcome_of = |id: &str| {
        let found = outcomes.iter().find(|row| row["externalId"] == id);
        found.unwrap_or_else(|| panic!("no {id} in {outcomes:#?}"))["outcome"].clone()
    };
    assert_eq!(outcome_of("M-13"), "created");
    assert_eq!(outcome_of("M-2"), "updated");
    assert_eq!(outcome_of("M-4"), "inactivated");
    assert_eq!(outcome_of("M-5"), "inactivated");
}

#[test]
fn a_dry_run_of_a_first_sync_creates_nothing() {
    let setup = Setup::generated(30);
    let dry = setup.sync_with(json!({"dryRun": true}));
    assert_counts(&dry, json!({"created": 30}));
    assert!(setup.records().is_empty());
    assert_counts(&setup.synced(), json!({"created": 30}));
}

#[test]
fn a_dry_run_says_that_the_run_would_be_held_and_cannot_be_undone() {
    let setup = Setup::new(&members(20));
    setup.synced();
    setup.sim.set_members(CLUB, &[]);
    let dry = setup.sync_with(json!({"dryRun": true}));
    assert_eq!(dry["status"], "completed", "{dry:#}");
    assert_counts(&dry, json!({"deactivated": 20}));
    assert!(text(&dry, "heldReason").starts_with("sourceEmpty"), "{dry:#}");
    assert_eq!(setup.sync()["heldReason"], dry["heldReason"]);
    let path = format!("/sync/status/{}/undo", text(&dry, "syncId"));
    setup.host.call("POST", &path, &Value::Null, 409);
}
