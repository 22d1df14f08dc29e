//! Connectors, organizations and connections over their lives: lists by index, switching off and on, credentials of
//! one organization alone, ending a connection and taking it up again.

use serde_json::{Value, json};
use syncline_tests::foireann::Options;

use crate::fixture::{
    API_KEY, CLUB, Host, ORG, Setup, assert_counts, federation, member, members, text,
};

fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| text(row, "id")).collect()
}

/// All items, one by one.
#[track_caller]
fn one_by_one(host: &Host, path: &str) -> Vec<String> {
    let joint = if path.contains('?') { '&' } else { '?' };
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = host.get(&format!("{path}{joint}limit=1{cursor}"));
        found.extend(ids(page["items"].as_array().expect("items")));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[test]
fn lists_follow_every_change_of_what_they_are_ordered_by() {
    let sim = federation(Options::members(0));
    let host = Host::start(&[sim.host_port()]);
    let make = |code: &str| host.create_connector(&sim.base_url(), json!({"federationCode": code}));
    let (a, b, c) = (make("one"), make("two"), make("one"));
    for path in ["/connectors", "/connectors?status=active"] {
        assert_eq!(one_by_one(&host, path), [a.clone(), b.clone(), c.clone()], "{path}");
    }
    assert_eq!(one_by_one(&host, "/connectors?federationCode=one"), [a.clone(), c.clone()]);
    host.change("DELETE", &format!("/connectors/{a}"), &Value::Null, 204);
    assert_eq!(one_by_one(&host, "/connectors?status=active"), [b.clone(), c.clone()]);
    assert_eq!(one_by_one(&host, "/connectors?status=inactive"), std::slice::from_ref(&a));
    assert_eq!(
        one_by_one(&host, "/connectors?status=inactive&federationCode=one"),
        std::slice::from_ref(&a)
    );
    assert_eq!(
        one_by_one(&host, "/connectors?status=active&federationCode=one"),
        std::slice::from_ref(&c)
    );
    host.change("PATCH", &format!("/connectors/{c}"), &json!({"federationCode": "two"}), 200);
    assert_eq!(one_by_one(&host, "/connectors?federationCode=two"), [b.clone(), c.clone()]);
    assert_eq!(one_by_one(&host, "/connectors?federationCode=one"), std::slice::from_ref(&a));
    host.call("POST", &format!("/connectors/{a}/status"), &json!({"status": "active"}), 200);
    assert_eq!(one_by_one(&host, "/connectors?status=active"), [a, b.clone(), c.clone()]);
    for org in ["north", "south", "west"] {
        host.create_organization(org);
    }
    assert_eq!(one_by_one(&host, "/organizations"), ["north", "south", "west"]);
    let first = host.connect("north", &c, "n", json!({}));
    let second = host.connect("north", &b, "n", json!({}));
    let third = host.connect("south", &b, "n", json!({}));
    assert_eq!(
        one_by_one(&host, "/organizations/north/connections"),
        [second.clone(), first.clone()]
    );
    let of_b = format!("/connectors/{b}/organizations");
    assert_eq!(one_by_one(&host, &of_b), [second.clone(), third.clone()]);
    host.change("DELETE", &format!("/organizations/north/connections/{second}"), &Value::Null, 204);
    assert_eq!(one_by_one(&host, &of_b), [third]);
    assert_eq!(one_by_one(&host, "/organizations/north/connections"), [first]);
    host.change("DELETE", "/organizations/north", &Value::Null, 409);
    host.change("DELETE", "/organizations/west", &Value::Null, 204);
}

#[test]
fn an_inactive_connector_keeps_everything_and_is_not_synced() {
    let setup = Setup::new(&members(3));
    let run = setup.synced();
    let path = format!("/connectors/{}", setup.connector);
    setup.host.change("DELETE", &path, &Value::Null, 204);
    let row = setup.host.get(&path);
    assert_eq!((&row["status"], &row["credentials"]["set"]), (&json!("inactive"), &json!(true)));
    let body = json!({"organizationId": ORG, "connectorId": setup.connector, "mode": "full"});
    let refused = setup.host.call("POST", "/sync/member", &body, 409);
    assert_eq!(refused["code"], "connector.not-active");
    assert_eq!(setup.host.run(&text(&run, "syncId"))["status"], "completed");
    setup.host.call("POST", &format!("{path}/status"), &json!({"status": "active"}), 200);
    assert_counts(&setup.synced(), json!({"unchanged": 3}));
}

#[test]
fn a_connection_of_its_own_credentials_goes_before_the_connectors() {
    let setup = Setup::new(&members(2));
    let connector = format!("/connectors/{}/credentials", setup.connector);
    let connection = format!("/organizations/{ORG}/connections/{}", setup.connection);
    assert_eq!(
        setup.host.get(&connection)["credentials"],
        json!({"set": false, "updatedAt": null})
    );
    let wrong = json!({"apiKey": "wrong"});
    setup.host.call("PUT", &format!("{connection}/credentials"), &wrong, 200);
    let run = setup.sync();
    assert_eq!(run["errors"][0]["code"], "remote.auth", "{run:#}");
    let check = setup.host.call(
        "POST",
        &format!("/connectors/{}/check", setup.connector),
        &json!({"organizationId": ORG}),
        200,
    );
    assert_eq!(check["ok"], false, "{check:#}");
    // The other way round: the connector's are wrong, the connection's are right.
    setup.host.call("PUT", &connector, &wrong, 200);
    let row = setup.host.call(
        "PUT",
        &format!("{connection}/credentials"),
        &json!({"apiKey": API_KEY}),
        200,
    );
    assert_eq!(row["credentials"]["set"], true);
    assert!(
        row["credentials"]["updatedAt"].is_string() && !row.to_string().contains(API_KEY),
        "{row:#}"
    );
    setup.synced();
    let version = row["version"].as_u64().expect("a version");
    let stale = setup.host.send(
        "PUT",
        &format!("{connection}/credentials"),
        &[("If-Match", &format!("\"{}\"", version - 1))],
        &wrong,
    );
    assert_eq!(stale.status, 412);
    setup.synced();
}

#[test]
fn what_was_disconnected_goes_on_where_it_stopped() {
    let setup = Setup::new(&[
        member(1, json!({})),
        member(2, json!({"firstName": "Una", "dateOfBirth": "1980-05-05"})),
    ]);
    setup.synced();
    let path = format!("/organizations/{ORG}/connections");
    let own = format!("{path}/{}", setup.connection);
    let last_sync = setup.host.get(&own)["lastSyncAt"].clone();
    setup.host.change("DELETE", &own, &Value::Null, 204);
    let ended = setup.host.get(&own);
    assert_eq!(ended["health"]["status"], "disconnected", "{ended:#}");
    let body = json!({"organizationId": ORG, "connectorId": setup.connector});
    setup.host.call("POST", "/sync/member", &body, 404);
    let refused = setup.host.change("PATCH", &own, &json!({"strategy": "merge"}), 409);
    assert_eq!(refused["code"], "connection.ended");
    setup.host.change("DELETE", &own, &Value::Null, 204);
    // A name that no rule would match any more: only the link knows who it is.
    setup.sim.patch_member(
        "M-2",
        json!({"firstName": "Renamed", "dateOfBirth": "1981-06-06", "membershipNumber": "1"}),
    );
    let again = setup.host.connect(ORG, &setup.connector, CLUB, json!({"strategy": "merge"}));
    assert_eq!(again, setup.connection, "the same two under the same id: the same connection");
    let row = setup.host.get(&own);
    assert_eq!((&row["strategy"], &row["disconnectedAt"]), (&json!("merge"), &Value::Null));
    assert_eq!(row["lastSyncAt"], last_sync);
    assert_counts(&setup.synced(), json!({"created": 0, "updated": 1, "unchanged": 1}));
    assert_eq!(setup.host.list(&format!("/sync/status?organization={ORG}")).len(), 2);
    // Under another id it is another connection.
    setup.host.change("DELETE", &own, &Value::Null, 204);
    let other = setup.host.connect(ORG, &setup.connector, "club-9", json!({}));
    assert_ne!(other, setup.connection);
}

#[test]
fn two_organizations_may_share_one_of_the_federation() {
    let setup = Setup::new(&members(2));
    setup.host.create_organization("county");
    setup.host.connect("county", &setup.connector, CLUB, json!({}));
    let run = setup.host.sync("county", &setup.connector, json!({}));
    assert_counts(&run, json!({"created": 2}));
}

#[test]
fn a_record_that_another_connection_still_lists_stays_active() {
    let setup = Setup::new(&members(3));
    setup.synced();
    let second = setup.host.create_connector(&setup.sim.base_url(), json!({"name": "Second"}));
    setup.sim.set_members("club-2", &members(3));
    let connection = setup.host.connect(ORG, &second, "club-2", json!({}));
    let run = setup.host.sync(ORG, &second, json!({}));
    assert_counts(&run, json!({"created": 0, "linked": 3}));
    let status = |number: u32| setup.record(&format!("M-{number}"))["status"].clone();
    // Gone from the first, still in the second.
    setup.sim.control("DELETE", &format!("/members/M-1?club={CLUB}"), &Value::Null);
    assert_counts(&setup.synced(), json!({"deactivated": 0}));
    assert_eq!(status(1), "active");
    // Gone from both.
    setup.sim.control("DELETE", "/members/M-1?club=club-2", &Value::Null);
    assert_counts(&setup.host.sync(ORG, &second, json!({})), json!({"deactivated": 1}));
    assert_eq!(status(1), "inactive");
    // A connection that ended has no say.
    setup.host.change(
        "DELETE",
        &format!("/organizations/{ORG}/connections/{connection}"),
        &Value::Null,
        204,
    );
    setup.sim.control("DELETE", &format!("/members/M-2?club={CLUB}"), &Value::Null);
    assert_counts(&setup.synced(), json!({"deactivated": 1}));
    assert_eq!(status(2), "inactive");
}

#[test]
fn ids_that_the_server_makes_are_nobody_elses() {
    let host = Host::start(&[]);
    let make = |body: Value| text(&host.call("POST", "/organizations", &body, 201), "id");
    // Chosen by hand, in the form and ahead of the numbers that the server gives.
    assert_eq!(make(json!({"id": "org_2", "name": "By hand"})), "org_2");
    assert_eq!(make(json!({"id": "org_4", "name": "By hand too"})), "org_4");
    let made: Vec<String> = (0..3).map(|_| make(json!({"name": "By the server"}))).collect();
    assert_eq!(host.list("/organizations").len(), 5, "{made:?}");
    assert_eq!(host.get("/organizations/org_2")["name"], "By hand");
    assert_eq!(host.get("/organizations/org_4")["name"], "By hand too");
}

#[test]
fn a_later_organization_of_the_same_id_is_another_one() {
    let setup = Setup::with(&members(2), json!({}), json!({"strategy": "manual"}));
    let first = text(&setup.synced(), "syncId");
    setup.edit("M-1", json!({"email": "here@example.ie"}));
    setup.sim.patch_member("M-1", json!({"email": "there@example.ie"}));
    setup.synced();
    let left = text(&setup.inbox()[0], "id");
    let connection = format!("/organizations/{ORG}/connections/{}", setup.connection);
    setup.host.change("DELETE", &connection, &Value::Null, 204);
    setup.host.change("DELETE", &format!("/organizations/{ORG}"), &Value::Null, 204);

    setup.host.create_organization(ORG);
    let connection = setup.host.connect(ORG, &setup.connector, CLUB, json!({}));
    assert_ne!(connection, setup.connection, "nothing is taken over");
    assert_counts(&setup.synced(), json!({"created": 2}));
    let records = setup.records();
    // Its records have the numbers that those of the former one had.
    setup.host.call("POST", &format!("/sync/status/{first}/undo"), &Value::Null, 404);
    setup.host.call("POST", &format!("/sync/status/{first}/cancel"), &Value::Null, 404);
    let choice = json!({"choice": "value", "value": "taken over"});
    setup.host.call("POST", &format!("/conflicts/{left}/resolve"), &choice, 404);
    let decided = setup.host.call("POST", "/conflicts/resolve", &choice, 200);
    assert_eq!(decided["resolved"], 0);
    assert_eq!(setup.records(), records);
    assert_eq!(setup.host.run(&first)["status"], "completed", "its history can still be read");
}

#[test]
fn what_an_organization_kept_secret_goes_with_it() {
    let host = Host::start(&[]);
    host.create_organization(ORG);
    let sealed = || host.get("/keys")["sealed"]["total"].as_u64().expect("a number");
    let before = sealed();
    let body = json!({
        "name": "theirs", "kind": "webhook", "organizationId": ORG,
        "config": {"url": "https://example.ie", "secret": "whsec_Y2FuYXJ5LW9mLWEtY2hhbm5lbC1zZWNyZXQ="},
    });
    host.call("POST", "/notifications/channels", &body, 201);
    assert_eq!(sealed(), before + 1);
    host.change("DELETE", &format!("/organizations/{ORG}"), &Value::Null, 204);
    assert_eq!(sealed(), before);
    assert!(host.list("/notifications/channels").is_empty());
}

#[test]
fn a_deleted_connector_takes_no_organization() {
    let setup = Setup::new(&members(1));
    setup.host.create_organization("late");
    let path = format!("/connectors/{}", setup.connector);
    let body = json!({"connectorId": setup.connector, "federationOrgId": "club-2"});
    let connect =
        |status: u16| setup.host.call("POST", "/organizations/late/connections", &body, status);
    setup.host.change("DELETE", &path, &Value::Null, 204);
    assert_eq!(connect(409)["code"], "connector.not-active");
    // Switched off, not deleted: what is prepared now runs later.
    for status in ["active", "inactive"] {
        let body = json!({"status": status});
        setup.host.call("POST", &format!("{path}/status"), &body, 200);
    }
    connect(201);
}

#[test]
fn credentials_are_destroyed_as_they_were_seen() {
    let setup = Setup::new(&members(1));
    let connection = format!("/organizations/{ORG}/connections/{}", setup.connection);
    let connector = format!("/connectors/{}", setup.connector);
    let own = json!({"apiKey": API_KEY});
    setup.host.call("PUT", &format!("{connection}/credentials"), &own, 200);
    for path in [connection, connector] {
        let set = || setup.host.get(&path)["credentials"]["set"].clone();
        let tag = |version: u64| format!("\"{version}\"");
        let version = setup.host.get(&path)["version"].as_u64().expect("a version");
        let destroy = |tag: &str| {
            let path = format!("{path}/credentials");
            setup.host.send("DELETE", &path, &[("If-Match", tag)], &Value::Null).status
        };
        assert_eq!((destroy(&tag(version + 1)), set()), (412, json!(true)), "{path}");
        assert_eq!((destroy(&tag(version)), set()), (204, json!(false)), "{path}");
    }
}

#[test]
fn a_row_that_shows_how_it_fares_is_always_sent() {
    let setup = Setup::new(&members(1));
    let path = format!("/organizations/{ORG}/connections/{}", setup.connection);
    let read = |tag: &str| setup.host.send("GET", &path, &[("If-None-Match", tag)], &Value::Null);
    let tag = |answer: &syncline_tests::http::Answer| answer.header("etag").map(str::to_owned);
    let before = read("\"0\"");
    setup.synced();
    let after = read(&tag(&before).expect("a tag"));
    assert_eq!(after.status, 200, "what it shows has changed");
    let row: Value = serde_json::from_slice(&after.body).expect("JSON");
    assert!(row["lastSyncAt"].is_string(), "{row:#}");
    assert_eq!(tag(&after), tag(&before), "a sync is no edit");
}

#[test]
fn what_a_change_does_not_name_stays() {
    let setup = Setup::new(&members(1));
    let path = format!("/connectors/{}", setup.connector);
    let change = |sync: Value| {
        let row = setup.host.change("PATCH", &path, &json!({ "syncConfig": sync }), 200);
        row["syncConfig"].clone()
    };
    let whole = json!({"enabled": false, "schedule": "@daily", "timezone": "Europe/Dublin",
        "conflictStrategy": "merge", "maxRetries": 1});
    assert_eq!(change(whole.clone()), whole);
    // What was switched off is not switched on by the way.
    let found = change(json!({"conflictStrategy": "local_wins", "maxRetries": null}));
    assert_eq!((&found["enabled"], &found["schedule"]), (&json!(false), &json!("@daily")));
    assert_eq!(found["conflictStrategy"], "local_wins");
    assert_eq!(found["maxRetries"], Value::Null, "{found:#}");
    assert_eq!(change(json!({})), found);
}

#[test]
fn a_check_without_an_organization_says_what_is_missing() {
    let sim = federation(Options::members(1));
    let host = Host::start(&[sim.host_port()]);
    let connector = host.create_connector(&sim.base_url(), json!({}));
    let found = host.call("POST", &format!("/connectors/{connector}/check"), &Value::Null, 200);
    let message = text(&found["error"], "message");
    assert!(message.starts_with("the connector's settings are wrong: endpoint "), "{message}");
    assert!(message.contains("federation id is missing"), "{message}");
}
