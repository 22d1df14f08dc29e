//! Which strategy decides a conflict, and what each of the bundled ones decides.

use serde_json::{Value, json};

use crate::fixture::{
    API_KEY, CLUB, Host, ORG, Setup, assert_counts, federation, member, members, text,
};
use syncline_tests::foireann::Options;
use syncline_tests::foireann::members_csv::{CsvStyle, Header};

const LOCAL: &str = "local@example.ie";
const REMOTE: &str = "remote@example.ie";

/// A conflict on the e-mail of one member under this connection; the run and the value after it.
fn conflict(connection: Value) -> (Value, Value, Value) {
    let setup = Setup::with(&members(1), json!({}), connection);
    setup.synced();
    setup.edit("M-1", json!({"email": LOCAL}));
    setup.sim.patch_member("M-1", json!({"email": REMOTE}));
    let run = setup.synced();
    let lines = setup.conflicts_of(&run);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    (run, lines[0].clone(), setup.field("M-1", "email"))
}

#[test]
fn each_strategy_and_each_alias_decides_as_named() {
    for (strategy, wanted, plugin) in [
        ("federation_wins", REMOTE, "federation_wins"),
        ("source_wins", REMOTE, "federation_wins"),
        ("local_wins", LOCAL, "local_wins"),
        ("target_wins", LOCAL, "local_wins"),
        ("merge", LOCAL, "merge"),
        ("newest_wins", REMOTE, "newest_wins"),
    ] {
        let (run, line, value) = conflict(json!({"strategy": strategy}));
        assert_eq!(value, wanted, "{strategy}");
        assert_eq!(line["resolvedValue"], wanted, "{strategy}");
        assert_eq!(line["strategy"], strategy, "{line:#}");
        assert_eq!(run["strategies"][0]["name"], plugin, "{run:#}");
        let digest = text(&run["strategies"][0], "sha256");
        assert_eq!(digest.len(), 64, "{strategy}: {digest}");
    }
}

#[test]
fn manual_holds_and_decides_nothing() {
    let (run, line, value) = conflict(json!({"strategy": "manual"}));
    assert_counts(&run, json!({"conflictsHeld": 1, "conflictsResolved": 0, "updated": 0}));
    assert_eq!(value, LOCAL);
    assert_eq!(line["resolvedValue"], Value::Null);
    assert_eq!(line["held"], true);
}

#[test]
fn newest_wins_gives_a_tie_to_the_source_of_truth() {
    // This federation tells no modification times, so every conflict is a tie.
    for (source, wanted) in [("remote", REMOTE), ("local", LOCAL)] {
        let member = json!({"strategy": "newest_wins", "sourceOfTruth": source});
        let (_, _, value) = conflict(json!({"entities": {"member": member}}));
        assert_eq!(value, wanted, "{source}");
    }
}

#[test]
fn newest_wins_takes_the_side_that_changed_last() {
    for (at, wanted) in [
        ("2001-01-01T00:00:00Z", LOCAL),
        ("2001-01-01T00:00:00+14:00", LOCAL),
        ("2199-01-01T00:00:00Z", REMOTE),
        ("2199-01-01T00:00:00.5-12:00", REMOTE),
    ] {
        for source in ["remote", "local"] {
            let policy = json!({"strategy": "newest_wins", "sourceOfTruth": source});
            let setup =
                Setup::with(&members(1), json!({}), json!({"entities": {"member": policy}}));
            setup.synced();
            setup.edit("M-1", json!({"email": LOCAL}));
            setup.sim.patch_member("M-1", json!({"email": REMOTE, "updatedAt": at}));
            let run = setup.synced();
            assert_counts(&run, json!({"conflictsDetected": 1, "conflictsResolved": 1}));
            assert_eq!(setup.field("M-1", "email"), wanted, "{at}, {source}");
        }
    }
}

#[test]
fn merge_gives_way_where_no_person_made_the_local_change() {
    let setup = Setup::with(&members(1), json!({}), json!({"strategy": "merge"}));
    setup.synced();
    setup.sim.set_csv(&CsvStyle { header: Header::Api, ..CsvStyle::default() });
    let file = json!({
        "plugin": "csv-members",
        "endpoints": {"baseUrl": format!("{}/members.csv", setup.sim.base_url())},
        "config": {},
    });
    let csv = setup.host.create_connector("", file);
    setup.host.connect(ORG, &csv, CLUB, json!({}));
    let linked = setup.host.sync(ORG, &csv, json!({}));
    assert_counts(&linked, json!({"linked": 1, "created": 0}));
    // The file changes the local value: a run's change, in the eyes of the other connection.
    setup.sim.patch_member("M-1", json!({"email": "file@example.ie"}));
    let changed = setup.host.sync(ORG, &csv, json!({}));
    assert_counts(&changed, json!({"updated": 1}));
    setup.sim.patch_member("M-1", json!({"email": REMOTE}));
    let run = setup.synced();
    assert_counts(&run, json!({"conflictsDetected": 1, "conflictsResolved": 1}));
    assert_eq!(setup.field("M-1", "email"), REMOTE);
}

#[test]
fn the_policy_is_looked_up_from_the_field_outwards() {
    let cases = [
        ("default", json!({}), json!({}), REMOTE),
        ("connector", json!({"conflictStrategy": "local_wins"}), json!({}), LOCAL),
        (
            "connection",
            json!({"conflictStrategy": "local_wins"}),
            json!({"strategy": "federation_wins"}),
            REMOTE,
        ),
        (
            "entity",
            json!({"conflictStrategy": "federation_wins"}),
            json!({
                "strategy": "federation_wins",
                "entities": {"member": {"strategy": "local_wins"}},
            }),
            LOCAL,
        ),
        (
            "field",
            json!({"conflictStrategy": "local_wins"}),
            json!({
                "strategy": "local_wins",
                "entities": {"member": {
                    "strategy": "local_wins",
                    "fields": {"email": {"strategy": "federation_wins"}},
                }},
            }),
            REMOTE,
        ),
    ];
    let sim = federation(Options::members(0));
    let host = Host::start(&[sim.host_port()]);
    for (level, sync_config, connection, email) in cases {
        let id = format!("{level}-1");
        sim.set_members(level, &[member(1, json!({"memberId": id}))]);
        host.create_organization(level);
        let mut sync_config = sync_config;
        sync_config["enabled"] = json!(true);
        let connector = host.create_connector(&sim.base_url(), json!({"syncConfig": sync_config}));
        host.connect(level, &connector, level, connection);
        host.sync(level, &connector, json!({}));
        let record = text(&host.records(level)[0], "id");
        host.edit(level, &record, json!({"email": LOCAL, "address": "local"}));
        sim.patch_member(&id, json!({"email": REMOTE, "address": "remote"}));
        let run = host.sync(level, &connector, json!({}));
        assert_counts(&run, json!({"conflictsResolved": 2}));
        let fields = host.records(level)[0]["fields"].clone();
        assert_eq!(fields["email"], email, "{level}: {run:#}");
        let address = if level == "field" || email == LOCAL { "local" } else { "remote" };
        assert_eq!(fields["address"], address, "{level}: another field");
    }
}

#[test]
fn the_configured_default_is_the_last_resort() {
    let sim = federation(Options::members(0));
    sim.set_members(CLUB, &members(1));
    let more = "[sync]\nstrategy = \"local_wins\"\n";
    let host = Host::with_config(&[sim.host_port()], more);
    host.create_organization(ORG);
    let connector = host.create_connector(&sim.base_url(), json!({}));
    host.connect(ORG, &connector, CLUB, json!({}));
    host.sync(ORG, &connector, json!({}));
    let record = text(&host.records(ORG)[0], "id");
    host.edit(ORG, &record, json!({"email": LOCAL}));
    sim.patch_member("M-1", json!({"email": REMOTE}));
    let run = host.sync(ORG, &connector, json!({}));
    assert_eq!(run["strategy"], "local_wins", "{run:#}");
    assert_eq!(host.records(ORG)[0]["fields"]["email"], LOCAL);
}

#[test]
fn a_strategy_that_is_not_there_is_refused_by_name() {
    let setup = Setup::new(&members(1));
    let path = format!("/organizations/{ORG}/connections/{}", setup.connection);
    for body in [
        json!({"strategy": "values"}),
        json!({"entities": {"member": {"strategy": "values"}}}),
        json!({"entities": {"member": {"fields": {"email": {"strategy": "values"}}}}}),
    ] {
        let problem = setup.host.change("PATCH", &path, &body, 422);
        let said = problem["errors"].to_string();
        assert!(said.contains("values") && said.contains("federation_wins"), "{problem:#}");
    }
    let connector = json!({
        "name": "x", "federationCode": "x", "plugin": "gaa-foireann", "authType": "apiKey",
        "endpoints": {"baseUrl": setup.sim.base_url()}, "credentials": {"apiKey": API_KEY},
        "syncConfig": {"enabled": true, "conflictStrategy": "values"},
    });
    let problem = setup.host.call("POST", "/connectors", &connector, 422);
    let pointer = &problem["errors"][0]["pointer"];
    assert_eq!(pointer, "/syncConfig/conflictStrategy", "{problem:#}");
}

#[test]
fn bundled_strategies_only_choose_among_the_values_of_the_two_sides() {
    for strategy in ["federation_wins", "local_wins", "merge", "newest_wins"] {
        let setup = Setup::with(&members(4), json!({}), json!({"strategy": strategy}));
        setup.synced();
        for number in 1..=4 {
            let id = format!("M-{number}");
            setup.edit(&id, json!({"email": format!("l{number}@example.ie"), "address": "here"}));
            let remote = json!({"email": format!("r{number}@example.ie"), "address": "there"});
            setup.sim.patch_member(&id, remote);
        }
        let lines = setup.conflicts_of(&setup.synced());
        assert_eq!(lines.len(), 8, "{strategy}");
        for line in lines {
            let resolved = &line["resolvedValue"];
            let offered = [&line["remoteValue"], &line["localValue"]];
            assert!(offered.contains(&resolved), "{strategy}: {line:#}");
        }
    }
}
