//! Records as the API shows and takes them: versions, ETags, filters, local edits.

use serde_json::{Value, json};

use crate::fixture::{ORG, Setup, checked, members, text};

fn path_of(setup: &Setup, external_id: &str) -> String {
    let id = text(&setup.record(external_id), "id");
    format!("/organizations/{ORG}/records/{id}")
}

#[test]
fn an_edit_names_the_version_that_it_saw() {
    let setup = Setup::new(&members(1));
    setup.synced();
    let path = path_of(&setup, "M-1");
    let shown = setup.host.send("GET", &path, &[], &Value::Null);
    let tag = shown.header("etag").expect("an ETag").to_owned();
    let patch = |tag: Option<&str>, email: &str| {
        let headers: Vec<(&str, &str)> = tag.into_iter().map(|tag| ("If-Match", tag)).collect();
        setup.host.send("PATCH", &path, &headers, &json!({"fields": {"email": email}}))
    };
    let missing = checked("PATCH", &path, &patch(None, "a@example.ie"), 428);
    assert_eq!(missing["status"], 428, "{missing:#}");
    let edited = patch(Some(&tag), "b@example.ie");
    let new_tag = edited.header("etag").expect("an ETag").to_owned();
    let record = checked("PATCH", &path, &edited, 200);
    assert_eq!(
        (&record["version"], &record["fields"]["email"]),
        (&json!(2), &json!("b@example.ie"))
    );
    assert_ne!(new_tag, tag);
    let stale = checked("PATCH", &path, &patch(Some(&tag), "c@example.ie"), 412);
    assert_eq!(stale["code"], "stale", "{stale:#}");
    for never in ["\"x\"", "W/\"2\"", "2", "\"999\""] {
        checked("PATCH", &path, &patch(Some(never), "c@example.ie"), 412);
    }
    assert_eq!(setup.field("M-1", "email"), "b@example.ie");
    checked("PATCH", &path, &patch(Some("*"), "d@example.ie"), 200);
    checked("PATCH", &path, &patch(Some(&new_tag), "e@example.ie"), 412);
    assert_eq!(setup.field("M-1", "email"), "d@example.ie");
}

#[test]
fn not_found_and_not_allowed_come_before_the_precondition() {
    let setup = Setup::new(&members(1));
    setup.synced();
    let path = path_of(&setup, "M-1");
    let unknown = format!("/organizations/{ORG}/records/rec_99999");
    let body = json!({"fields": {"email": "a@example.ie"}});
    checked("PATCH", &unknown, &setup.host.send("PATCH", &unknown, &[], &body), 404);
    let bad_token = [("Authorization", "Bearer nobody")];
    let answer = setup.host.send("PATCH", &path, &bad_token, &body);
    checked("PATCH", &path, &answer, 401);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

#[test]
fn an_edit_without_a_difference_is_no_new_version() {
    let setup = Setup::new(&members(1));
    setup.synced();
    let last = setup.last_change();
    let record = setup.edit("M-1", json!({"email": "member1@example.ie"}));
    assert_eq!(record["version"], 1);
    assert!(setup.host.changes(ORG, last).is_empty());
}

#[test]
fn a_local_edit_is_marked_as_made_by_a_person() {
    let setup = Setup::new(&members(1));
    setup.synced();
    let record = setup.edit("M-1", json!({"email": "a@example.ie", "nickname": "Fi"}));
    assert_eq!(record["fieldMeta"]["email"]["modifiedBy"]["kind"], "person");
    assert_eq!(record["fieldMeta"]["phone"]["modifiedBy"]["kind"], "run");
    assert_eq!(record["fields"]["nickname"], "Fi", "a field that no template knows");
    setup.synced();
    assert_eq!(setup.field("M-1", "nickname"), "Fi");
}

#[test]
fn wrong_bodies_are_named_by_pointer() {
    let setup = Setup::new(&members(1));
    setup.synced();
    let path = path_of(&setup, "M-1");
    for (body, pointer) in [
        (json!({"fields": "none"}), "/fields"),
        (json!({"status": "asleep"}), "/status"),
        (json!({"filds": {}}), "/filds"),
    ] {
        let problem = setup.host.change("PATCH", &path, &body, 422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    assert_eq!(setup.record("M-1")["version"], 1);
}

#[test]
fn records_can_be_listed_by_status_and_searched() {
    let setup = Setup::new(&members(30));
    setup.synced();
    setup.sim.delete_member("M-7");
    setup.synced();
    let list = |query: &str| {
        setup.host.list(&format!("/organizations/{ORG}/records?entity=member{query}"))
    };
    assert_eq!(list("").len(), 30);
    assert_eq!(list("&status=active").len(), 29);
    assert_eq!(list("&status=inactive").len(), 1);
    assert_eq!(list("&q=member30@").len(), 1);
    assert_eq!(list("&q=AOIFE").len(), 30);
    assert_eq!(list("&q=nobody").len(), 0);
    let page = setup.host.get(&format!("/organizations/{ORG}/records?entity=member&limit=7"));
    assert_eq!(page["items"].as_array().unwrap().len(), 7);
    assert!(page["nextCursor"].is_string());
    for (query, status) in [("", 200), ("?entity=member&colour=red", 422), ("?entity=boat", 200)] {
        let path = format!("/organizations/{ORG}/records{query}");
        setup.host.call("GET", &path, &Value::Null, status);
    }
}
