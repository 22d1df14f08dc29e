//! The brakes: which plans wait for a person, and what approving or cancelling one does.

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Rule};

use crate::fixture::{CLUB, ORG, Setup, assert_counts, member, members, text};

/// A synced club of so many members.
fn club(count: u32) -> Setup {
    let setup = Setup::new(&members(count));
    assert_counts(&setup.synced(), json!({"created": count}));
    setup
}

fn assert_held(run: &Value, reason: &str) {
    assert_eq!(run["status"], "held", "{run:#}");
    assert_eq!(text(run, "planHash").len(), 64, "{run:#}");
    assert!(text(run, "heldReason").starts_with(reason), "{run:#}");
}

fn active(setup: &Setup) -> usize {
    let path = format!("/organizations/{ORG}/records?entity=member&status=active");
    setup.host.list(&path).len()
}

fn act(setup: &Setup, run: &Value, verb: &str, body: Value, status: u16) -> Value {
    let path = format!("/sync/status/{}/{verb}", text(run, "syncId"));
    setup.host.call("POST", &path, &body, status)
}

#[test]
fn up_to_ten_deactivations_or_5_percent_pass() {
    // (members, gone, held)
    for (count, gone, held) in [(20, 10, false), (20, 11, true), (240, 12, false), (240, 13, true)]
    {
        let setup = club(count);
        setup.sim.set_members(CLUB, &members(count)[gone..]);
        let run = setup.sync();
        if held {
            assert_held(&run, "tooManyDeactivations");
            assert_eq!(active(&setup), count as usize, "nothing is applied");
        } else {
            assert_eq!(run["status"], "completed", "{gone} of {count}: {run:#}");
            assert_counts(&run, json!({"deactivated": gone}));
            assert_eq!(active(&setup), count as usize - gone);
        }
    }
}

#[test]
fn lapsed_members_count_as_deactivations() {
    let setup = club(20);
    setup.sim.touch(CLUB, 1, "membershipStatus", "Lapsed");
    assert_held(&setup.sync(), "tooManyDeactivations");
    assert_eq!(active(&setup), 20);
}

#[test]
fn a_source_that_went_empty_is_held_however_small() {
    let setup = club(3);
    setup.sim.set_members(CLUB, &[]);
    let run = setup.sync();
    assert_held(&run, "sourceEmpty");
    assert_eq!(active(&setup), 3);
}

#[test]
fn up_to_ten_updates_or_40_percent_pass_in_full_mode() {
    for (count, changed, held) in [(12, 10, false), (12, 11, true), (30, 12, false), (30, 13, true)]
    {
        let setup = club(count);
        let mut rows = members(count);
        rows[..changed].iter_mut().for_each(|row| row["address"] = json!("moved"));
        setup.sim.set_members(CLUB, &rows);
        let run = setup.sync();
        let moved = setup.records().iter().filter(|r| r["fields"]["address"] == "moved").count();
        if held {
            assert_held(&run, "tooManyUpdates");
            assert_eq!(moved, 0, "nothing is applied");
        } else {
            assert_eq!(run["status"], "completed", "{changed} of {count}: {run:#}");
            assert_eq!(moved, changed);
        }
    }
}

#[test]
fn ids_mode_is_never_held_for_updates() {
    let setup = club(30);
    setup.sim.touch(CLUB, 1, "address", "moved");
    let ids: Vec<String> = (1..=30).map(|number| format!("M-{number}")).collect();
    let run = setup.sync_with(json!({"mode": "ids", "ids": ids}));
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_counts(&run, json!({"updated": 30}));
}

#[test]
fn creates_never_trip_a_brake() {
    let setup = club(2);
    setup.sim.set_members(CLUB, &members(60));
    let run = setup.synced();
    assert_counts(&run, json!({"created": 58, "unchanged": 2}));
}

#[test]
fn first_links_never_trip_a_brake() {
    let setup = Setup::new(&members(30));
    for row in members(30) {
        let fields = json!({
            "firstName": row["firstName"], "lastName": row["lastName"],
            "dateOfBirth": row["dateOfBirth"],
        });
        let body = json!({"entity": "member", "fields": fields});
        setup.host.call("POST", &format!("/organizations/{ORG}/records"), &body, 201);
    }
    let run = setup.synced();
    assert_counts(&run, json!({"linked": 30, "created": 0}));
}

/// A held run that would deactivate members 1 to 11 of 20, and change one address.
fn held() -> (Setup, Value) {
    let setup = club(20);
    let mut rows = members(20).split_off(11);
    rows[0]["address"] = json!("moved");
    setup.sim.set_members(CLUB, &rows);
    let run = setup.sync();
    assert_held(&run, "tooManyDeactivations");
    (setup, run)
}

#[test]
fn approving_applies_exactly_the_plan_that_was_shown() {
    let (setup, run) = held();
    let before = setup.last_change();
    // What the federation says by now does not matter.
    setup.sim.set_members(CLUB, &members(20));
    setup.sim.patch_member("M-20", json!({"address": "later"}));
    setup.sim.forget_requests();
    let approved = act(&setup, &run, "approve", json!({"planHash": run["planHash"]}), 202);
    assert_eq!(approved["syncId"], run["syncId"], "approving finishes that run");
    let ended = setup.host.ended(&text(&run, "syncId"));
    assert_eq!(ended["status"], "completed", "{ended:#}\n{}", setup.host.log());
    assert_counts(&ended, json!({"deactivated": 11, "updated": 1, "unchanged": 8}));
    assert_eq!(active(&setup), 9);
    assert_eq!(setup.field("M-12", "address"), "moved");
    assert_eq!(setup.field("M-20", "address"), "20 Main Street, Ennis");
    assert_eq!(setup.host.changes(ORG, before).len(), 12);
    assert!(setup.sim.requests().is_empty(), "the plan is not fetched again");
    act(&setup, &run, "approve", json!({"planHash": run["planHash"]}), 409);
}

#[test]
fn a_wrong_hash_is_refused_and_applies_nothing() {
    let (setup, run) = held();
    let wrong = json!({"planHash": "0".repeat(64)});
    let problem = act(&setup, &run, "approve", wrong, 409);
    assert_eq!(problem["code"], "plan.other-hash", "{problem:#}");
    act(&setup, &run, "approve", json!({}), 422);
    assert_eq!(setup.host.run(&text(&run, "syncId"))["status"], "held");
    assert_eq!(active(&setup), 20);
}

#[test]
fn a_plan_that_a_later_run_overtook_is_stale() {
    let (setup, run) = held();
    setup.sim.set_members(CLUB, &members(20));
    setup.synced();
    let problem = act(&setup, &run, "approve", json!({"planHash": run["planHash"]}), 409);
    assert_eq!(problem["code"], "plan.stale", "{problem:#}");
    assert_eq!(active(&setup), 20);
}

#[test]
fn an_edit_while_the_run_was_held_is_not_lost() {
    let (setup, run) = held();
    setup.edit("M-12", json!({"address": "edited here", "email": "edited@example.ie"}));
    act(&setup, &run, "approve", json!({"planHash": run["planHash"]}), 202);
    let ended = setup.host.ended(&text(&run, "syncId"));
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_counts(&ended, json!({"deactivated": 11, "conflictsDetected": 1}));
    assert_eq!(setup.field("M-12", "email"), "edited@example.ie");
    assert_eq!(setup.field("M-12", "address"), "moved", "federation_wins");
    let lines = setup.conflicts_of(&ended);
    assert_eq!(lines[0]["localValue"], "edited here", "{lines:#?}");
}

#[test]
fn a_held_run_can_be_cancelled() {
    let (setup, run) = held();
    act(&setup, &run, "cancel", Value::Null, 202);
    let over = setup.host.run(&text(&run, "syncId"));
    assert_eq!(over["status"], "cancelled", "{over:#}");
    assert_eq!(active(&setup), 20);
    act(&setup, &run, "approve", json!({"planHash": run["planHash"]}), 409);
    act(&setup, &run, "cancel", Value::Null, 409);
}

#[test]
fn a_held_run_does_not_block_another_one() {
    let (setup, run) = held();
    let again = setup.sync();
    assert_held(&again, "tooManyDeactivations");
    assert_ne!(again["syncId"], run["syncId"]);
    assert_eq!(again["planHash"], run["planHash"], "the same plan has the same hash");
}

#[test]
fn a_held_plan_survives_a_kill() {
    let (mut setup, run) = held();
    setup.host.kill();
    setup.host.restart();
    act(&setup, &run, "approve", json!({"planHash": run["planHash"]}), 202);
    let ended = setup.host.ended(&text(&run, "syncId"));
    assert_eq!(ended["status"], "completed", "{ended:#}\n{}", setup.host.log());
    assert_eq!(active(&setup), 9);
}

/// A held run that would deactivate members 1 to 11 of 20, change the address of member 12 and leave a conflict about its
/// phone to a person, and create member 21.
fn held_with_a_conflict() -> (Setup, Value) {
    let policy = json!({"entities": {"member": {"fields": {"phone": {"strategy": "manual"}}}}});
    let setup = Setup::with(&members(20), json!({}), policy);
    setup.synced();
    setup.edit("M-12", json!({"phone": "085 000 0000"}));
    let mut rows = members(20).split_off(11);
    rows[0]["address"] = json!("moved");
    rows[0]["phone"] = json!("086 000 0000");
    rows.push(member(21, json!({})));
    setup.sim.set_members(CLUB, &rows);
    let run = setup.sync();
    assert_held(&run, "tooManyDeactivations");
    (setup, run)
}

fn outcomes(setup: &Setup, run: &Value) -> Vec<Value> {
    setup.host.list(&format!("/sync/status/{}/records", text(run, "syncId")))
}

#[test]
fn a_held_plan_can_be_looked_through() {
    let (setup, run) = held_with_a_conflict();
    let shown = outcomes(&setup, &run);
    let of = |outcome: &str| shown.iter().filter(|row| row["outcome"] == outcome).count();
    assert_eq!((of("inactivated"), of("updated"), of("created")), (11, 1, 1), "{shown:#?}");
    assert!(shown.iter().all(|row| row["version"].is_null()), "nothing is done: {shown:#?}");
    let changed = shown.iter().find(|row| row["outcome"] == "updated").expect("the updated one");
    assert_eq!(changed["externalId"], "M-12");
    assert_eq!(changed["note"], r#"address: "12 Main Street, Ennis" -> "moved""#);
    let lines = setup.conflicts_of(&run);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!((&lines[0]["field"], &lines[0]["held"]), (&json!("phone"), &json!(true)));
    let export = setup.host.get(&format!("/sync/status/{}/export", text(&run, "syncId")));
    assert_eq!(export["records"], json!(shown));
    assert_eq!(export["conflicts"], json!(lines));
    assert!(setup.inbox().is_empty(), "the plan is not applied: {:#?}", setup.inbox());
    assert_eq!((active(&setup), setup.find("M-21")), (20, None));
}

#[test]
fn an_approved_run_tells_what_it_did_and_no_longer_what_it_would() {
    let (setup, run) = held_with_a_conflict();
    // The conflict that the plan shows is none any more.
    setup.edit("M-12", json!({"phone": "086 000 0000"}));
    act(&setup, &run, "approve", json!({"planHash": run["planHash"]}), 202);
    let ended = setup.host.ended(&text(&run, "syncId"));
    assert_eq!(ended["status"], "completed", "{ended:#}\n{}", setup.host.log());
    assert_counts(&ended, json!({"deactivated": 11, "updated": 1, "created": 1}));
    assert_eq!(setup.conflicts_of(&ended), Vec::<Value>::new());
    let told = outcomes(&setup, &ended);
    assert_eq!(told.len(), 13, "{told:#?}");
    assert!(told.iter().all(|row| row["version"].is_u64()), "{told:#?}");
}

#[test]
fn a_plan_that_is_discarded_is_shown_no_longer() {
    let (setup, run) = held_with_a_conflict();
    act(&setup, &run, "cancel", Value::Null, 202);
    assert_eq!(outcomes(&setup, &run), Vec::<Value>::new());
    assert_eq!(setup.conflicts_of(&run), Vec::<Value>::new());
}

#[test]
fn an_approved_plan_keeps_what_was_said_of_its_listing() {
    let setup = club(12);
    let mut rows = members(12);
    rows.iter_mut().for_each(|row| row["address"] = json!("moved"));
    setup.sim.set_members(CLUB, &rows);
    setup.sim.fault(Rule::listing(Fault::TotalCount { off_by: 5, per_page_drift: 0 }));
    let run = setup.sync();
    assert_held(&run, "tooManyUpdates");
    let said = text(&run["errors"][0], "message");
    assert!(said.contains("12 records of 17"), "{said}");
    act(&setup, &run, "approve", json!({"planHash": run["planHash"]}), 202);
    let ended = setup.host.ended(&text(&run, "syncId"));
    assert_eq!(ended["status"], "partial", "{ended:#}\n{}", setup.host.log());
    assert_counts(&ended, json!({"updated": 12, "deactivated": 0}));
    assert_eq!(ended["errors"], run["errors"]);
    assert_eq!(ended["errors"][0]["code"], "listing.incomplete");
}
