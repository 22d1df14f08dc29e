//! Held conflicts: the inbox, the decisions of people, and what they leave behind.

use serde_json::{Value, json};

use crate::fixture::{ORG, Setup, assert_counts, members, text};

const LOCAL: &str = "local@example.ie";
const REMOTE: &str = "remote@example.ie";

/// One member with a held conflict on its e-mail.
fn held() -> (Setup, Value) {
    let setup = Setup::with(&members(2), json!({}), json!({"strategy": "manual"}));
    setup.synced();
    setup.edit("M-1", json!({"email": LOCAL}));
    setup.sim.patch_member("M-1", json!({"email": REMOTE, "address": "changed too"}));
    let run = setup.synced();
    assert_counts(&run, json!({"conflictsHeld": 1, "updated": 1, "unchanged": 1}));
    let inbox = setup.inbox();
    assert_eq!(inbox.len(), 1, "{inbox:#?}");
    (setup, inbox[0].clone())
}

fn resolve(setup: &Setup, item: &Value, body: Value, status: u16) -> Value {
    let path = format!("/conflicts/{}/resolve", text(item, "id"));
    setup.host.call("POST", &path, &body, status)
}

#[test]
fn a_held_conflict_leaves_both_values_and_lets_the_rest_proceed() {
    let (setup, item) = held();
    let record = setup.record("M-1");
    assert_eq!(record["fields"]["email"], LOCAL);
    assert_eq!(record["fields"]["address"], "changed too");
    assert_eq!(item["recordId"], record["id"]);
    assert_eq!(item["externalId"], "M-1");
    assert_eq!(item["field"], "email");
    assert_eq!(item["baseValue"], "member1@example.ie");
    assert_eq!(item["remoteValue"], REMOTE);
    assert_eq!(item["localValue"], LOCAL);
    assert_eq!(item["strategy"], "manual");
}

#[test]
fn a_held_conflict_that_is_seen_again_is_the_same_item() {
    let (setup, item) = held();
    let run = setup.synced();
    assert_counts(&run, json!({"conflictsHeld": 1, "updated": 0}));
    let inbox = setup.inbox();
    assert_eq!(inbox.len(), 1, "{inbox:#?}");
    assert_eq!(inbox[0]["id"], item["id"]);
    assert_eq!(inbox[0]["firstRunId"], item["firstRunId"]);
    assert_eq!(inbox[0]["lastRunId"], run["syncId"]);
    // A newer remote value is shown in the same item.
    setup.sim.patch_member("M-1", json!({"email": "newer@example.ie"}));
    setup.synced();
    let inbox = setup.inbox();
    assert_eq!(inbox.len(), 1, "{inbox:#?}");
    assert_eq!(inbox[0]["id"], item["id"]);
    assert_eq!(inbox[0]["remoteValue"], "newer@example.ie");
    assert_eq!(inbox[0]["baseValue"], "member1@example.ie", "the base has not moved");
}

#[test]
fn each_field_of_a_record_has_an_item_of_its_own() {
    let (setup, _) = held();
    setup.edit("M-1", json!({"phone": "085 000 0000"}));
    setup.sim.patch_member("M-1", json!({"phone": "086 000 0000"}));
    assert_counts(&setup.synced(), json!({"conflictsHeld": 2}));
    let mut fields: Vec<String> = setup.inbox().iter().map(|item| text(item, "field")).collect();
    fields.sort();
    assert_eq!(fields, ["email", "phone"]);
}

#[test]
fn a_person_decides_for_remote_local_or_a_value() {
    for (body, wanted) in [
        (json!({"choice": "remote"}), REMOTE),
        (json!({"choice": "local"}), LOCAL),
        (json!({"choice": "value", "value": "third@example.ie"}), "third@example.ie"),
    ] {
        let (setup, item) = held();
        let decided = resolve(&setup, &item, body.clone(), 200);
        assert_eq!(decided["resolution"]["choice"], body["choice"], "{decided:#}");
        assert_eq!(setup.field("M-1", "email"), wanted, "{body}");
        assert!(setup.inbox().is_empty(), "{body}: resolved items leave the list");
        let again = resolve(&setup, &item, body.clone(), 409);
        assert_eq!(again["code"], "already-decided", "{again:#}");
        // The remote still says the same: the conflict does not return, the decision stays.
        assert_counts(&setup.synced(), json!({"conflictsDetected": 0, "updated": 0}));
        assert_eq!(setup.field("M-1", "email"), wanted, "{body}");
        // The remote says something new.
        setup.sim.patch_member("M-1", json!({"email": "newer@example.ie"}));
        let run = setup.synced();
        if wanted == REMOTE {
            assert_counts(&run, json!({"conflictsDetected": 0, "updated": 1}));
        } else {
            assert_counts(&run, json!({"conflictsHeld": 1}));
            let line = &setup.conflicts_of(&run)[0];
            assert_eq!(line["baseValue"], REMOTE, "the value that both sides were seen to hold");
            let inbox = setup.inbox();
            assert_eq!(inbox.len(), 1);
            assert_ne!(inbox[0]["id"], item["id"], "a new conflict is a new item");
        }
    }
}

#[test]
fn a_decision_is_an_edit_by_a_person() {
    let (setup, item) = held();
    let before = setup.last_change();
    resolve(&setup, &item, json!({"choice": "remote"}), 200);
    let record = setup.record("M-1");
    assert_eq!(record["fieldMeta"]["email"]["modifiedBy"]["kind"], "person", "{record:#}");
    let changes = setup.host.changes(ORG, before);
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_eq!(changes[0]["kind"], "updated");
    assert_eq!(changes[0]["fields"], json!(["email"]));
    assert_eq!(changes[0]["runId"], Value::Null);
}

#[test]
fn a_wrong_decision_is_refused_and_leaves_the_item_open() {
    let (setup, item) = held();
    resolve(&setup, &item, json!({"choice": "both"}), 422);
    resolve(&setup, &item, json!({"choice": "value"}), 422);
    resolve(&setup, &item, json!({}), 422);
    setup.host.call("POST", "/conflicts/cf_99999/resolve", &json!({"choice": "local"}), 404);
    assert_eq!(setup.inbox().len(), 1);
    assert_eq!(setup.field("M-1", "email"), LOCAL);
}

#[test]
fn a_value_must_fit_the_field() {
    let setup = Setup::with(&members(1), json!({}), json!({"strategy": "manual"}));
    setup.synced();
    setup.edit("M-1", json!({"dateOfBirth": "1991-01-02", "email": LOCAL}));
    setup.sim.patch_member("M-1", json!({"dateOfBirth": "1992-01-02", "email": REMOTE}));
    setup.synced();
    let inbox = setup.inbox();
    let of = |field: &str| inbox.iter().find(|item| item["field"] == field).expect("an item");
    for (field, value) in [
        ("dateOfBirth", json!({"a": 1})),
        ("dateOfBirth", json!("1991-02-31")),
        ("email", json!(7)),
        ("email", json!("x".repeat((64 << 10) + 1))),
    ] {
        let body = json!({"choice": "value", "value": value});
        let problem = resolve(&setup, of(field), body, 422);
        assert_eq!(problem["errors"][0]["pointer"], "/value", "{problem:#}");
        assert!(text(&problem, "detail").contains(field), "{problem:#}");
    }
    // Fit for one of the two: neither is decided.
    let body = json!({"choice": "value", "value": "third@example.ie", "filter": {}});
    let problem = setup.host.call("POST", "/conflicts/resolve", &body, 422);
    assert_eq!(problem["errors"][0]["pointer"], "/value", "{problem:#}");
    assert_eq!(setup.inbox(), inbox, "nothing is decided");
    assert_eq!(setup.field("M-1", "dateOfBirth"), "1991-01-02");
    let body = json!({"choice": "value", "value": "1993-01-02"});
    resolve(&setup, of("dateOfBirth"), body, 200);
    assert_eq!(setup.field("M-1", "dateOfBirth"), "1993-01-02");
}

#[test]
fn an_item_closes_as_superseded_when_the_sides_come_to_agree() {
    let (setup, item) = held();
    setup.edit("M-1", json!({"email": REMOTE}));
    let run = setup.synced();
    assert_counts(&run, json!({"conflictsDetected": 0}));
    assert!(setup.inbox().is_empty(), "{:#?}", setup.inbox());
    let closed = setup.host.get(&format!("/conflicts/{}", text(&item, "id")));
    assert_eq!(closed["resolution"]["choice"], "superseded", "{closed:#}");
    resolve(&setup, &item, json!({"choice": "local"}), 409);
}

#[test]
fn an_item_closes_when_the_remote_takes_its_change_back() {
    let (setup, _) = held();
    setup.sim.patch_member("M-1", json!({"email": "member1@example.ie"}));
    assert_counts(&setup.synced(), json!({"conflictsDetected": 0}));
    assert!(setup.inbox().is_empty(), "{:#?}", setup.inbox());
    assert_eq!(setup.field("M-1", "email"), LOCAL);
}

#[test]
fn many_items_are_decided_at_once_by_a_filter() {
    let setup = Setup::with(&members(4), json!({}), json!({"strategy": "manual"}));
    setup.synced();
    for number in 1..=4 {
        let id = format!("M-{number}");
        setup.edit(&id, json!({"email": LOCAL, "phone": "085 000 0000"}));
        setup.sim.patch_member(&id, json!({"email": REMOTE, "phone": "086 000 0000"}));
    }
    assert_counts(&setup.synced(), json!({"conflictsHeld": 8}));
    let body = json!({"choice": "remote", "filter": {"organizationId": ORG, "field": "email"}});
    let answer = setup.host.call("POST", "/conflicts/resolve", &body, 200);
    assert_eq!(answer["resolved"], 4);
    let inbox = setup.inbox();
    assert_eq!(inbox.len(), 4);
    assert!(inbox.iter().all(|item| item["field"] == "phone"), "{inbox:#?}");
    assert_eq!(setup.field("M-3", "email"), REMOTE);
    assert_eq!(setup.field("M-3", "phone"), "085 000 0000");
}

#[test]
fn another_policy_settles_what_was_held() {
    let (setup, _) = held();
    let path = format!("/organizations/{ORG}/connections/{}", setup.connection);
    setup.host.change("PATCH", &path, &json!({"strategy": "federation_wins"}), 200);
    assert_counts(&setup.synced(), json!({"conflictsResolved": 1, "updated": 1}));
    assert_eq!(setup.field("M-1", "email"), REMOTE);
    assert!(setup.inbox().is_empty(), "{:#?}", setup.inbox());
}

#[test]
fn a_conflict_held_at_a_first_link_is_decided_like_any_other() {
    let setup = Setup::with(&members(1), json!({}), json!({"strategy": "manual"}));
    let fields = json!({
        "firstName": "Aoife", "lastName": "Member1", "dateOfBirth": "1990-01-02", "email": LOCAL,
    });
    let body = json!({"entity": "member", "fields": fields});
    setup.host.call("POST", &format!("/organizations/{ORG}/records"), &body, 201);
    let run = setup.synced();
    assert_counts(&run, json!({"linked": 1, "conflictsHeld": 1}));
    assert_eq!(setup.field("M-1", "phone"), "087 555 0001", "the rest proceeds");
    let item = setup.inbox().remove(0);
    assert_eq!(item["baseValue"], Value::Null);
    assert_counts(&setup.synced(), json!({"conflictsHeld": 1, "linked": 0}));
    assert_eq!(setup.inbox()[0]["id"], item["id"]);
    resolve(&setup, &item, json!({"choice": "local"}), 200);
    assert_counts(&setup.synced(), json!({"conflictsDetected": 0, "updated": 0}));
    assert_eq!(setup.field("M-1", "email"), LOCAL);
    setup.sim.patch_member("M-1", json!({"email": REMOTE}));
    let run = setup.synced();
    assert_eq!(setup.conflicts_of(&run)[0]["baseValue"], "member1@example.ie");
}
