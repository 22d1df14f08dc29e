//! Who is there, who is gone, who is back; and what a listing must be to say so.

use serde_json::json;
use syncline_tests::foireann::{Fault, Options, Rule};

use crate::fixture::{CLUB, ORG, Setup, assert_counts, federation, member, members};

#[test]
fn absence_from_a_complete_listing_makes_inactive_and_nothing_is_deleted() {
    let setup = Setup::new(&members(5));
    setup.synced();
    setup.sim.delete_member("M-2");
    let run = setup.synced();
    assert_counts(&run, json!({"deactivated": 1, "unchanged": 4}));
    let record = setup.record("M-2");
    assert_eq!(record["status"], "inactive");
    assert_eq!(record["fields"]["email"], "member2@example.ie");
    assert_counts(&setup.synced(), json!({"deactivated": 0, "unchanged": 4}));
}

#[test]
fn a_member_that_comes_back_is_the_same_record_and_active_again() {
    let setup = Setup::new(&members(5));
    setup.synced();
    let id = setup.record("M-2")["id"].clone();
    setup.sim.delete_member("M-2");
    setup.synced();
    setup.sim.add_members(CLUB, &[member(2, json!({"address": "moved"}))]);
    let before = setup.last_change();
    let run = setup.synced();
    assert_counts(&run, json!({"created": 0, "reactivated": 1}));
    let record = setup.record("M-2");
    assert_eq!(record["id"], id);
    assert_eq!(record["status"], "active");
    assert_eq!(record["fields"]["address"], "moved");
    let changes = setup.host.changes(ORG, before);
    assert_eq!(changes[0]["kind"], "reactivated", "{changes:#?}");
}

#[test]
fn a_member_that_comes_back_lapsed_stays_inactive() {
    let setup = Setup::new(&members(5));
    setup.synced();
    setup.sim.delete_member("M-2");
    setup.synced();
    setup.sim.add_members(CLUB, &[member(2, json!({"membershipStatus": "Lapsed"}))]);
    setup.synced();
    assert_eq!(setup.record("M-2")["status"], "inactive");
}

#[test]
fn a_local_edit_of_a_member_that_is_gone_is_kept() {
    let setup = Setup::new(&members(5));
    setup.synced();
    setup.sim.delete_member("M-2");
    setup.synced();
    setup.edit("M-2", json!({"email": "still@example.ie"}));
    setup.sim.add_members(CLUB, &[member(2, json!({}))]);
    assert_counts(&setup.synced(), json!({"reactivated": 1, "conflictsDetected": 0}));
    assert_eq!(setup.field("M-2", "email"), "still@example.ie");
}

#[test]
fn a_record_made_by_hand_is_never_deactivated() {
    let setup = Setup::new(&members(2));
    let body = json!({"entity": "member", "fields": {"firstName": "Una"}});
    setup.host.call("POST", &format!("/organizations/{ORG}/records"), &body, 201);
    assert_counts(&setup.synced(), json!({"created": 2, "deactivated": 0}));
    let statuses: Vec<_> = setup.records().iter().map(|r| r["status"].clone()).collect();
    assert_eq!(statuses, ["active", "active", "active"]);
}

#[test]
fn a_listing_that_does_not_add_up_applies_its_rows_and_deactivates_nobody() {
    let sim = federation(Options::members(0));
    sim.set_members(CLUB, &members(6));
    let setup = Setup::over(sim, json!({}), json!({}));
    setup.synced();
    setup.sim.delete_member("M-6");
    setup.sim.patch_member("M-1", json!({"address": "moved"}));
    setup.sim.fault(Rule::page(1, Fault::TotalCount { off_by: 3, per_page_drift: 0 }));
    let run = setup.sync();
    assert_eq!(run["status"], "partial", "{run:#}");
    assert_eq!(run["listingComplete"], false, "{run:#}");
    assert_counts(&run, json!({"updated": 1, "deactivated": 0}));
    assert_eq!(setup.field("M-1", "address"), "moved");
    assert_eq!(setup.record("M-6")["status"], "active");
    setup.sim.clear_faults();
    assert_counts(&setup.synced(), json!({"deactivated": 1}));
}

#[test]
fn ids_mode_looks_at_the_named_members_only() {
    let setup = Setup::new(&members(5));
    setup.synced();
    setup.sim.touch(CLUB, 1, "address", "moved");
    setup.sim.delete_member("M-5");
    setup.sim.forget_requests();
    let run = setup.sync_with(json!({"mode": "ids", "ids": ["M-2", "M-3"]}));
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(run["mode"], "ids");
    assert_counts(&run, json!({"fetched": 2, "updated": 2, "deactivated": 0}));
    assert_eq!(setup.field("M-2", "address"), "moved");
    assert_eq!(setup.field("M-1", "address"), "1 Main Street, Ennis");
    assert_eq!(setup.record("M-5")["status"], "active");
    assert!(setup.sim.list_pages_seen().is_empty(), "no listing is read");
}

#[test]
fn ids_mode_makes_a_deleted_member_inactive() {
    let setup = Setup::new(&members(5));
    setup.synced();
    setup.sim.delete_member("M-5");
    let run = setup.sync_with(json!({"mode": "ids", "ids": ["M-5", "M-1"]}));
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_counts(&run, json!({"deactivated": 1, "unchanged": 1}));
    assert_eq!(setup.record("M-5")["status"], "inactive");
    // An id that nobody knows is no error and creates nothing.
    let run = setup.sync_with(json!({"mode": "ids", "ids": ["M-404"]}));
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(setup.records().len(), 5);
}

#[test]
fn ids_mode_creates_a_member_that_is_new() {
    let setup = Setup::new(&members(3));
    setup.synced();
    setup.sim.add_members(CLUB, &[member(4, json!({}))]);
    let run = setup.sync_with(json!({"mode": "ids", "ids": ["M-4"]}));
    assert_counts(&run, json!({"created": 1}));
    assert_counts(&setup.synced(), json!({"unchanged": 4}));
}

#[test]
fn an_empty_club_is_a_complete_listing_of_nobody() {
    let setup = Setup::new(&[]);
    for _ in 0..2 {
        let run = setup.synced();
        assert_counts(&run, json!({"fetched": 0, "valid": 0, "created": 0, "deactivated": 0}));
        assert_eq!(run["errors"], json!([]), "{run:#}");
    }
}
