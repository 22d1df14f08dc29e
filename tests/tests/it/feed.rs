//! The change feed and the timeline of a record: what was committed, in order.

use serde_json::{Value, json};

use crate::fixture::{CLUB, ORG, Setup, member, members, text};

fn kinds(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| text(row, "kind")).collect()
}

fn seqs(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["seq"].as_u64().expect("a seq")).collect()
}

#[test]
fn each_change_is_a_row_of_its_kind() {
    let setup = Setup::new(&members(2));
    let first = setup.synced();
    let rows = setup.host.changes(ORG, 0);
    assert_eq!(kinds(&rows), ["created", "created"]);
    assert!(rows.iter().all(|row| row["runId"] == first["syncId"] && row["entity"] == "member"));

    let last = setup.last_change();
    setup.sim.patch_member("M-1", json!({"address": "moved", "email": "new@example.ie"}));
    let second = setup.synced();
    let rows = setup.host.changes(ORG, last);
    assert_eq!(kinds(&rows), ["updated"]);
    let mut fields: Vec<_> = rows[0]["fields"].as_array().unwrap().clone();
    fields.sort_by_key(Value::to_string);
    assert_eq!(fields, ["address", "email"]);
    assert_eq!(rows[0]["runId"], second["syncId"]);
    assert_eq!(rows[0]["recordId"], setup.record("M-1")["id"]);

    let last = setup.last_change();
    setup.sim.delete_member("M-2");
    setup.synced();
    setup.sim.add_members(CLUB, &[member(2, json!({}))]);
    setup.synced();
    setup.edit("M-1", json!({"phone": "085 111 1111"}));
    let rows = setup.host.changes(ORG, last);
    assert_eq!(kinds(&rows), ["inactivated", "reactivated", "updated"]);
    assert_eq!(rows[2]["runId"], Value::Null, "an edit belongs to no run");
}

#[test]
fn the_feed_is_ordered_without_gaps_and_can_be_followed_in_pages() {
    let setup = Setup::generated(25);
    setup.synced();
    let all = setup.host.changes(ORG, 0);
    assert_eq!(seqs(&all), (1..=25).collect::<Vec<u64>>());
    let mut followed = Vec::new();
    let mut after = 0;
    for _ in 0..3 {
        let page = setup.host.get(&format!("/organizations/{ORG}/changes?after={after}&limit=10"));
        followed.extend(page["items"].as_array().unwrap().clone());
        after = page["nextAfter"].as_u64().unwrap();
    }
    assert_eq!(followed, all);
    let quiet = setup.host.get(&format!("/organizations/{ORG}/changes?after={after}"));
    assert_eq!((&quiet["items"], &quiet["nextAfter"]), (&json!([]), &json!(25)));
    setup.synced();
    assert_eq!(setup.last_change(), 25, "a run without changes adds nothing");
    let at_once = setup.host.call("GET", "/organizations/nowhere/changes", &Value::Null, 404);
    assert_eq!(at_once["code"], "not-found");
}

#[test]
fn the_timeline_of_a_record_tells_who_changed_what_and_why() {
    let setup = Setup::new(&members(1));
    let first = setup.synced();
    setup.edit("M-1", json!({"email": "local@example.ie"}));
    setup.sim.patch_member("M-1", json!({"email": "remote@example.ie", "address": "moved"}));
    let second = setup.synced();
    let id = text(&setup.record("M-1"), "id");
    let history = setup.host.list(&format!("/organizations/{ORG}/records/{id}/history"));
    assert_eq!(kinds(&history), ["updated", "updated", "created"], "{history:#?}");
    let versions: Vec<_> = history.iter().map(|entry| entry["version"].clone()).collect();
    assert_eq!(versions, [3, 2, 1]);
    assert_eq!(history[0]["runId"], second["syncId"]);
    assert_eq!(
        history[0]["fields"]["email"],
        json!({
            "before": "local@example.ie",
            "after": "remote@example.ie",
            "strategy": "federation_wins",
        }),
        "a local edit never vanishes without a line"
    );
    assert_eq!(history[0]["fields"]["address"]["strategy"], Value::Null);
    assert_eq!(history[1]["by"]["kind"], "person");
    assert_eq!(history[1]["fields"]["email"]["before"], "member1@example.ie");
    assert_eq!(history[2]["runId"], first["syncId"]);
}

#[test]
fn a_run_lists_what_it_did_to_each_record() {
    let setup = Setup::new(&members(3));
    let first = setup.synced();
    let path = format!("/sync/status/{}/records", text(&first, "syncId"));
    let outcomes = setup.host.list(&path);
    assert_eq!(outcomes.len(), 3, "{outcomes:#?}");
    assert!(outcomes.iter().all(|row| row["outcome"] == "created" && row["version"] == 1));
    setup.sim.patch_member("M-2", json!({"address": "moved"}));
    setup.sim.delete_member("M-3");
    let second = setup.synced();
    let path = format!("/sync/status/{}/records", text(&second, "syncId"));
    let updated = setup.host.list(&format!("{path}?outcome=updated"));
    assert_eq!(updated.len(), 1, "{updated:#?}");
    assert_eq!(updated[0]["externalId"], "M-2");
    assert_eq!(setup.host.list(&format!("{path}?outcome=inactivated"))[0]["externalId"], "M-3");
}

#[test]
fn a_run_shows_its_requests_and_never_a_secret() {
    let setup = Setup::generated(250);
    let run = setup.synced();
    let path = format!("/sync/status/{}", text(&run, "syncId"));
    let requests = setup.host.list(&format!("{path}/requests"));
    assert_eq!(requests.len(), 3, "{requests:#?}");
    let everything = [
        setup.host.get(&path).to_string(),
        json!(requests).to_string(),
        json!(setup.host.list(&format!("{path}/logs"))).to_string(),
        setup.host.get(&format!("/connectors/{}", setup.connector)).to_string(),
        setup.host.log(),
    ];
    for text in &everything {
        assert!(!text.contains(crate::fixture::API_KEY), "{text}");
    }
    let sent = setup.sim.requests();
    assert!(sent.iter().all(|request| request.authorized), "{sent:#?}");
}
