//! Malformed records and what a run is called that could not take all of them.

use serde_json::{Value, json};

use crate::fixture::{CLUB, ORG, Setup, assert_counts, member, members, text};

/// So many members, of which the first `broken` lack a name.
fn club(count: u32, broken: u32) -> Vec<Value> {
    let mut rows = members(count);
    for row in &mut rows[..broken as usize] {
        row["lastName"] = json!("");
    }
    rows
}

#[test]
fn under_half_valid_aborts_and_applies_nothing() {
    let setup = Setup::new(&club(10, 6));
    let run = setup.sync();
    assert_eq!(run["status"], "failed", "{run:#}");
    assert_counts(&run, json!({"fetched": 10, "valid": 4, "invalid": 6, "created": 0}));
    assert_eq!(run["errors"][0]["code"], "run.too-few-valid", "{run:#}");
    let message = run["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains('4') && message.contains("10"), "{message}");
    assert!(setup.records().is_empty());
    assert!(setup.host.changes(ORG, 0).is_empty());
    // What a person needs to find the cause is kept.
    let failures = setup.failures();
    assert_eq!(failures.len(), 6, "{failures:#?}");
    assert_eq!(failures[0]["runId"], run["syncId"]);
    let requests = format!("/sync/status/{}/requests", run["syncId"].as_str().unwrap());
    assert_eq!(setup.host.list(&requests).len(), 1);
    assert!(!run["phases"].as_array().unwrap().is_empty(), "{run:#}");
}

#[test]
fn a_dry_run_aborts_as_well_and_keeps_no_quarantine() {
    let setup = Setup::new(&club(10, 6));
    let run = setup.sync_with(json!({"dryRun": true}));
    assert_eq!(run["status"], "failed", "{run:#}");
    assert_counts(&run, json!({"invalid": 6, "quarantined": 6, "created": 0}));
    assert!(setup.failures().is_empty());
}

#[test]
fn half_valid_goes_on() {
    let setup = Setup::new(&club(10, 5));
    let run = setup.sync();
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_counts(&run, json!({"valid": 5, "invalid": 5, "created": 5, "quarantined": 5}));
    assert_eq!(setup.records().len(), 5);
    assert_eq!(setup.failures().len(), 5);
}

#[test]
fn an_aborted_run_leaves_what_was_there() {
    let setup = Setup::new(&members(10));
    setup.synced();
    let before = setup.records();
    let mut rows = club(8, 5);
    rows[7]["address"] = json!("moved");
    setup.sim.set_members(CLUB, &rows);
    assert_eq!(setup.sync()["status"], "failed");
    assert_eq!(setup.records(), before, "no update and no deactivation");
}

/// Ten valid members, of which so many cannot be matched for certain.
fn ambiguous(count: u32) -> Setup {
    let setup = Setup::new(&members(10));
    for row in members(count) {
        let fields = json!({
            "firstName": row["firstName"], "lastName": row["lastName"],
            "dateOfBirth": row["dateOfBirth"],
        });
        let body = json!({"entity": "member", "fields": fields});
        for _ in 0..2 {
            setup.host.call("POST", &format!("/organizations/{ORG}/records"), &body, 201);
        }
    }
    setup
}

/// Their run.
fn unmatched(count: u32) -> (Setup, Value) {
    let setup = ambiguous(count);
    let run = setup.sync();
    assert_counts(&run, json!({"valid": 10, "invalid": 0, "quarantined": count}));
    (setup, run)
}

#[test]
fn the_share_of_the_valid_records_that_were_applied_names_the_run() {
    for (failed, wanted) in [(2, "completed"), (3, "partial"), (5, "partial"), (6, "failed")] {
        let (setup, run) = unmatched(failed);
        assert_eq!(run["status"], wanted, "{failed} of 10 fail: {run:#}");
        let linked = (1..=10).filter(|n| setup.find(&format!("M-{n}")).is_some()).count();
        assert_eq!(linked, 10 - failed as usize, "the others are applied");
        assert_eq!(run["counts"]["created"], 10 - failed);
        let errors = run["errors"].as_array().unwrap();
        if wanted == "completed" {
            assert!(errors.is_empty(), "{run:#}");
        } else {
            assert_eq!(errors.len(), 1, "{run:#}");
            assert_eq!(errors[0]["code"], "run.too-few-applied");
            let said = text(&errors[0], "message");
            assert!(said.contains(&format!("{} of 10", 10 - failed)), "{said}");
        }
    }
}

#[test]
fn a_dry_run_completes_and_says_that_the_run_would_fail() {
    let setup = ambiguous(6);
    let dry = setup.sync_with(json!({"dryRun": true}));
    assert_eq!(dry["status"], "completed", "{dry:#}");
    assert_counts(&dry, json!({"valid": 10, "created": 4, "quarantined": 6}));
    assert_eq!(dry["errors"][0]["code"], "run.too-few-applied", "{dry:#}");
    assert_eq!(setup.sync()["errors"][0]["message"], dry["errors"][0]["message"]);
}

#[test]
fn a_run_that_is_called_failed_can_be_undone_as_far_as_it_went() {
    let (setup, run) = unmatched(6);
    assert_eq!(run["status"], "failed", "{run:#}");
    let path = format!("/sync/status/{}/undo", run["syncId"].as_str().unwrap());
    let report = setup.host.call("POST", &path, &Value::Null, 200);
    assert_eq!(report["reverted"], 4, "{report:#}");
    assert_eq!(setup.record("M-10")["status"], "inactive");
}

#[test]
fn malformed_records_wait_in_quarantine_with_the_reason() {
    let mut rows = members(10);
    rows[0]["lastName"] = json!(null);
    rows[1]["dateOfBirth"] = json!("31/31/1990");
    rows[2]["firstName"] = json!({"given": "Aoife"});
    let setup = Setup::new(&rows);
    let run = setup.synced();
    assert_counts(&run, json!({"fetched": 10, "invalid": 3, "created": 7, "quarantined": 3}));
    let failures = setup.failures();
    for (id, field) in [("M-1", "lastName"), ("M-2", "dateOfBirth"), ("M-3", "firstName")] {
        let found = failures.iter().find(|failure| failure["externalId"] == id);
        let failure = found.unwrap_or_else(|| panic!("no failure of {id} in {failures:#?}"));
        let said = failure["message"].as_str().unwrap();
        assert!(said.contains(field), "{id}: {failure:#}");
        let stage = failure["stage"].as_str().unwrap();
        assert!(["fetch", "validate"].contains(&stage), "{failure:#}");
        assert_eq!(failure["runId"], run["syncId"]);
        assert_eq!(failure["entity"], "member");
    }
}

#[test]
fn a_record_without_an_id_is_put_aside_and_stops_deactivations() {
    let setup = Setup::new(&members(6));
    setup.synced();
    let mut rows = members(6);
    rows.truncate(5);
    rows[4].as_object_mut().unwrap().remove("memberId");
    setup.sim.set_members(CLUB, &rows);
    let run = setup.sync();
    assert_counts(&run, json!({"invalid": 1, "deactivated": 0, "unchanged": 4}));
    assert_eq!(setup.record("M-5")["status"], "active", "perhaps it is the one without an id");
    assert_eq!(setup.record("M-6")["status"], "active");
}

#[test]
fn rows_without_an_id_have_a_failure_each_and_lose_it_together() {
    let mut rows = members(8);
    for at in [1, 3, 6] {
        rows[at].as_object_mut().unwrap().remove("memberId");
    }
    let setup = Setup::with(&rows, json!({"config": {"pageSize": 4}}), json!({}));
    for attempts in [1, 2] {
        let run = setup.sync();
        assert_counts(&run, json!({"quarantined": 3, "invalid": 3}));
        let mut failures = setup.failures();
        failures.sort_by_key(|failure| failure["place"].to_string());
        let places: Vec<_> = failures.iter().map(|failure| failure["place"].clone()).collect();
        assert_eq!(places, ["1/1", "1/2", "2/1"], "{failures:#?}");
        assert!(failures.iter().all(|failure| failure["attempts"] == attempts), "{failures:#?}");
    }
    setup.sim.set_members(CLUB, &members(8));
    setup.synced();
    assert!(setup.failures().is_empty(), "{:#?}", setup.failures());
}

#[test]
fn a_quarantined_record_counts_as_present() {
    let setup = Setup::new(&members(5));
    setup.synced();
    setup.sim.patch_member("M-1", json!({"lastName": "", "address": "moved"}));
    let run = setup.synced();
    assert_counts(&run, json!({"invalid": 1, "deactivated": 0, "unchanged": 4}));
    let record = setup.record("M-1");
    assert_eq!(record["status"], "active");
    assert_eq!(record["fields"]["lastName"], "Member1");
    assert_eq!(record["fields"]["address"], "1 Main Street, Ennis", "all or nothing of a record");
}

#[test]
fn a_failure_closes_by_itself_when_the_record_passes_later() {
    let setup = Setup::new(&club(4, 1));
    setup.synced();
    let failure = setup.failures().remove(0);
    assert_eq!(failure["attempts"], 1, "{failure:#}");
    setup.synced();
    let again = setup.failures().remove(0);
    assert_eq!((&again["id"], &again["attempts"]), (&failure["id"], &json!(2)));
    setup.sim.set_members(CLUB, &members(4));
    assert_counts(&setup.synced(), json!({"created": 1, "unchanged": 3, "quarantined": 0}));
    assert!(setup.failures().is_empty(), "{:#?}", setup.failures());
    let path = format!("/sync/failures/{}", failure["id"].as_str().unwrap());
    let closed = setup.host.get(&path);
    assert!(closed["resolvedAt"].is_string(), "{closed:#}");
}

#[test]
fn a_failure_closes_when_its_record_has_left_the_listing() {
    let mut rows = club(6, 1);
    rows[1].as_object_mut().unwrap().remove("memberId");
    let setup = Setup::new(&rows);
    setup.sync();
    let failures = setup.failures();
    assert_eq!(failures.len(), 2, "{failures:#?}");
    // Gone from a listing that was not whole it may be there all the same.
    setup.sim.set_members(CLUB, &rows[1..]);
    setup.sync();
    assert_eq!(setup.failures().len(), 2);
    setup.sim.set_members(CLUB, &rows[2..]);
    assert_counts(&setup.synced(), json!({"unchanged": 4, "quarantined": 0}));
    assert!(setup.failures().is_empty(), "{:#?}", setup.failures());
    for failure in failures {
        let path = format!("/sync/failures/{}", failure["id"].as_str().unwrap());
        assert!(setup.host.get(&path)["resolvedAt"].is_string());
    }
}

#[test]
fn a_bad_join_date_is_left_out_and_the_member_stays() {
    let row = member(1, json!({"joinDate": "long ago"}));
    let setup = Setup::new(&[row, member(2, json!({}))]);
    let run = setup.synced();
    assert_counts(&run, json!({"created": 2, "invalid": 0}));
    assert_eq!(setup.field("M-1", "joinDate"), Value::Null);
}
