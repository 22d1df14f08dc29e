//! Two organizations whose federations use the same member ids do not touch each other.

use serde_json::{Value, json};
use syncline_tests::foireann::{Options, Sim};

use crate::fixture::{Host, assert_counts, federation, text};

/// Two clubs of the same 20 members, each of an organization of its own, over one connector.
fn two_clubs() -> (Sim, Host, String) {
    let sim = federation(Options::members(0));
    for club in ["north", "south"] {
        sim.generate(club, 20, 1);
    }
    let host = Host::start(&[sim.host_port()]);
    let connector = host.create_connector(&sim.base_url(), json!({}));
    for club in ["north", "south"] {
        host.create_organization(club);
        host.connect(club, &connector, club, json!({}));
        let run = host.sync(club, &connector, json!({}));
        assert_counts(&run, json!({"created": 20, "linked": 0}));
    }
    (sim, host, connector)
}

fn by_id(host: &Host, org: &str, external_id: &str) -> Value {
    let of = |record: &Value| {
        let ids = record["externalIds"].as_object().expect("external ids");
        ids.values().any(|id| id == external_id)
    };
    let found = host.records(org).into_iter().find(of);
    found.unwrap_or_else(|| panic!("{org} has no {external_id}"))
}

#[test]
fn equal_ids_are_different_records() {
    let (sim, host, connector) = two_clubs();
    let before = host.records("south");
    sim.patch_member_of("north", "GAA-000003", json!({"address": "moved"}));
    sim.control("DELETE", "/members/GAA-000004?club=north", &Value::Null);
    let run = host.sync("north", &connector, json!({}));
    assert_counts(&run, json!({"updated": 1, "deactivated": 1}));
    assert_eq!(by_id(&host, "north", "GAA-000003")["fields"]["address"], "moved");
    assert_eq!(by_id(&host, "north", "GAA-000004")["status"], "inactive");
    assert_eq!(host.records("south"), before);
    assert!(host.changes("south", 20).is_empty(), "the feed of the other one is quiet");
    let run = host.sync("south", &connector, json!({}));
    assert_counts(&run, json!({"unchanged": 20, "updated": 0, "deactivated": 0}));
}

#[test]
fn a_local_edit_of_one_is_not_seen_by_the_other() {
    let (sim, host, connector) = two_clubs();
    let record = text(&by_id(&host, "north", "GAA-000001"), "id");
    host.edit("north", &record, json!({"email": "edited@example.ie"}));
    for club in ["north", "south"] {
        sim.patch_member_of(club, "GAA-000001", json!({"email": "remote@example.ie"}));
        let run = host.sync(club, &connector, json!({}));
        let conflicts = u64::from(club == "north");
        assert_counts(&run, json!({"conflictsDetected": conflicts, "updated": 1}));
    }
}

#[test]
fn a_record_of_another_organization_is_not_found() {
    let (_sim, host, _) = two_clubs();
    let record = text(&host.records("north")[0], "id");
    let path = format!("/organizations/south/records/{record}");
    host.call("GET", &path, &Value::Null, 404);
    host.call("GET", &format!("{path}/history"), &Value::Null, 404);
    host.change("PATCH", &path, &json!({"fields": {"email": "x@example.ie"}}), 404);
    let connections = host.list("/organizations/north/connections");
    let connection = text(&connections[0], "id");
    let path = format!("/organizations/south/connections/{connection}");
    host.call("GET", &path, &Value::Null, 404);
    host.change("DELETE", &path, &Value::Null, 404);
}

#[test]
fn both_run_at_the_same_time_and_undo_touches_one() {
    let (sim, host, connector) = two_clubs();
    sim.patch_member_of("north", "GAA-000003", json!({"address": "moved"}));
    sim.patch_member_of("south", "GAA-000003", json!({"address": "moved"}));
    let asked = ["north", "south"].map(|club| host.ask(club, &connector, json!({})));
    let runs = asked.map(|asked| host.ended(&text(&asked, "syncId")));
    for run in &runs {
        assert_counts(run, json!({"updated": 1}));
    }
    let path = format!("/sync/status/{}/undo", text(&runs[0], "syncId"));
    host.call("POST", &path, &Value::Null, 200);
    assert_ne!(by_id(&host, "north", "GAA-000003")["fields"]["address"], "moved");
    assert_eq!(by_id(&host, "south", "GAA-000003")["fields"]["address"], "moved");
}

#[test]
fn lists_can_be_narrowed_to_one_organization() {
    let (_sim, host, _) = two_clubs();
    let runs = host.list("/sync/status?organization=north");
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["organizationId"], "north");
    assert_eq!(host.list("/sync/status").len(), 2);
    host.call("GET", "/sync/status?organization=west", &Value::Null, 404);
}
