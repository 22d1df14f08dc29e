//! A sick connector is noticed, left alone and taken back; what is wrong with one organization's
//! data never harms another.

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Options, Rule};

use crate::access::world::{json_of, token, with_token};
use crate::fixture::{CLUB, Host, ORG, Setup, federation, text};
use crate::rig::{SMALL_LIMITS, paged, program};

const BAD_ORG: &str = "misspelled";

#[track_caller]
fn health(setup: &Setup) -> Value {
    setup.host.get(&format!("/connectors/{}/health", setup.connector))
}

#[track_caller]
fn status(setup: &Setup) -> String {
    text(&setup.host.get(&format!("/connectors/{}", setup.connector)), "status")
}

fn body(connector: &str) -> Value {
    json!({"organizationId": ORG, "connectorId": connector, "mode": "full"})
}

/// Five runs that fail by a fault of the connector.
#[track_caller]
fn tripped(setup: &Setup, fault: Fault) {
    setup.sim.fault(Rule::any(fault));
    for run in 1..=5 {
        assert_eq!(status(setup), "active", "before run {run}");
        let ended = setup.sync();
        assert_eq!(ended["status"], "failed", "{ended:#}");
    }
    assert_eq!(status(setup), "error");
}

/// The command line as an administrator calls it.
#[track_caller]
fn shell(host: &Host, arguments: &[&str]) -> (i32, String) {
    let server = format!("http://{}", host.address());
    let environment = [("SYNCLINE_SERVER", server.as_str()), ("SYNCLINE_TOKEN", &host.token)];
    let output = program(arguments, &environment);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn five_failures_disable_and_one_clear_revives() {
    for fault in [Fault::status(503), Fault::status(401), Fault::Html { status: 200 }] {
        let setup = paged(30, SMALL_LIMITS, json!({}));
        setup.synced();
        tripped(&setup, fault);
        let shown = health(&setup);
        assert_eq!((&shown["status"], &shown["consecutiveFailures"]), (&json!("error"), &json!(5)));
        assert_eq!(shown["successRate"], 16.7, "{shown:#}");
        assert!(shown["disabledAt"].is_string() && shown["nextProbeAt"].is_string(), "{shown:#}");
        let log = shown["errors"].as_array().expect("an error log");
        assert!(log.iter().any(|line| line["kind"] == "disabled"), "{shown:#}");
        let runs = log.iter().filter(|line| line["kind"] == "run" && line["page"] == 1);
        assert_eq!(runs.count(), 5, "{shown:#}");
        let refused = setup.host.call("POST", "/sync/member", &body(&setup.connector), 409);
        assert_eq!(refused["code"], "connector.error", "{refused:#}");
        setup.sim.clear_faults();
        let clear = format!("/connectors/{}/clear-errors", setup.connector);
        assert_eq!(setup.host.call("POST", &clear, &json!({}), 200)["status"], "active");
        setup.synced();
        let shown = health(&setup);
        assert_eq!(
            (&shown["status"], &shown["consecutiveFailures"]),
            (&json!("healthy"), &json!(0))
        );
        assert_eq!(shown["disabledAt"], Value::Null);
    }
}

#[test]
fn the_command_line_shows_and_clears() {
    let setup = paged(5, SMALL_LIMITS, json!({}));
    tripped(&setup, Fault::status(500));
    setup.sim.clear_faults();
    let (code, said) = shell(&setup.host, &["connector", "health", "Federation", "--json"]);
    assert_eq!(code, 0, "{said}");
    let shown: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(shown["status"], "error");
    let (code, said) = shell(&setup.host, &["sync", "member", "--wait"]);
    assert!(code == 5 && said.contains("connector.error"), "{code}: {said}");
    let (code, said) = shell(&setup.host, &["connector", "clear-errors", "Federation"]);
    assert!(code == 0 && said.contains("active"), "{code}: {said}");
    let (code, said) = shell(&setup.host, &["sync", "member", "--wait"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn one_organizations_wrong_id_harms_nobody_else() {
    let setup = paged(30, SMALL_LIMITS, json!({}));
    setup.host.create_organization(BAD_ORG);
    let bad = setup.host.connect(BAD_ORG, &setup.connector, "no-such-club", json!({}));
    for _ in 0..7 {
        let ended = setup.host.sync(BAD_ORG, &setup.connector, json!({}));
        assert_eq!(ended["errors"][0]["code"], "remote.not-found", "{ended:#}");
    }
    assert_eq!(status(&setup), "active");
    setup.synced();
    let shown = health(&setup);
    assert_eq!((&shown["status"], &shown["consecutiveFailures"]), (&json!("degraded"), &json!(0)));
    assert_eq!((&shown["successRate"], &shown["errorRate"]), (&json!(12.5), &json!(87.5)));
    let path = format!("/organizations/{BAD_ORG}/connections/{bad}");
    let shown = setup.host.get(&format!("{path}/health"));
    assert_eq!((&shown["status"], &shown["consecutiveFailures"]), (&json!("failing"), &json!(7)));
    assert_eq!((&shown["successRate"], &shown["runs"]), (&json!(0.0), &json!(7)));
    assert_eq!(shown["errors"][0]["code"], "remote.not-found");
    assert_eq!(setup.host.get(&path)["health"]["consecutiveFailures"], 7);
    let good = format!("/organizations/{ORG}/connections/{}/health", setup.connection);
    assert_eq!(setup.host.get(&good)["successRate"], 100.0);
    let foreign = format!("/organizations/{ORG}/connections/{bad}/health");
    setup.host.call("GET", &foreign, &Value::Null, 404);
}

#[test]
fn a_viewer_hears_nothing_of_another_organization() {
    let setup = paged(30, SMALL_LIMITS, json!({}));
    setup.synced();
    setup.host.create_organization(BAD_ORG);
    setup.host.connect(BAD_ORG, &setup.connector, "no-such-club", json!({}));
    setup.host.sync(BAD_ORG, &setup.connector, json!({}));
    let shown = health(&setup);
    assert!(text(&shown, "lastError").contains("no-such-club"), "{shown:#}");
    let path = format!("/connectors/{}/health", setup.connector);
    let seen_by = |org: &str| {
        let viewer = token(&setup.host, "viewer", Some(org));
        let answer = with_token(&setup.host, &viewer, "GET", &path, &Value::Null);
        assert_eq!(answer.status, 200);
        json_of(&answer)
    };
    let shown = seen_by(ORG);
    assert!(!shown.to_string().contains("no-such-club"), "{shown:#}");
    assert!(!shown.to_string().contains(BAD_ORG), "{shown:#}");
    assert_eq!((&shown["status"], &shown["runs"]), (&json!("healthy"), &json!(1)));
    assert_eq!((&shown["lastError"], &shown["lastErrorAt"]), (&Value::Null, &Value::Null));
    assert!(shown["lastSuccessAt"].is_string(), "{shown:#}");
    // Nor does the other one hear when this one was synced.
    let shown = seen_by(BAD_ORG);
    assert_eq!((&shown["status"], &shown["consecutiveFailures"]), (&json!("degraded"), &json!(1)));
    assert_eq!((&shown["lastSuccessAt"], &shown["lastSyncAt"]), (&Value::Null, &Value::Null));
    assert!(text(&shown, "lastError").contains("no-such-club"), "{shown:#}");
}

#[test]
fn dry_runs_do_not_count() {
    let setup = paged(5, SMALL_LIMITS, json!({}));
    setup.sim.fault(Rule::any(Fault::status(500)));
    for _ in 0..6 {
        let ended = setup.sync_with(json!({"dryRun": true}));
        assert_eq!(ended["status"], "failed", "{ended:#}");
    }
    let shown = health(&setup);
    assert_eq!((&shown["status"], &shown["successRate"]), (&json!("healthy"), &Value::Null));
    assert_eq!(shown["errors"], json!([]));
}

#[test]
fn a_probe_takes_the_connector_back_when_it_is_well() {
    let config = format!("{SMALL_LIMITS}[health]\nprobeSecondsMin = 1\nprobeSecondsMax = 1\n");
    let setup = paged(30, &config, json!({}));
    tripped(&setup, Fault::status(503));
    let path = format!("/connectors/{}/health", setup.connector);
    let probed = |shown: &Value| {
        let log = shown["errors"].as_array().expect("an error log");
        log.iter().any(|line| line["kind"] == "probe" && line["code"] == "remote.unavailable")
    };
    let shown = setup.host.until(&path, "to be probed", probed);
    assert_eq!(shown["status"], "error", "a sick connector stays where it is: {shown:#}");
    setup.sim.clear_faults();
    let shown = setup.host.until(&path, "to recover", |shown| shown["status"] != "error");
    assert_eq!(shown["errors"][0]["kind"], "recovered", "{shown:#}");
    assert!(shown["uptime"].as_f64().expect("a number") < 100.0, "{shown:#}");
    setup.synced();
    assert_eq!(health(&setup)["status"], "healthy");
}

#[test]
fn a_probe_is_not_led_astray_by_one_connection() {
    let config = format!("{SMALL_LIMITS}[health]\nprobeSecondsMin = 1\nprobeSecondsMax = 1\n");
    let sim = federation(Options::members(5));
    let host = Host::with_config(&[sim.host_port()], &config);
    let connector = host.create_connector(&sim.base_url(), json!({}));
    // The first connection is to a club that the federation does not know.
    host.create_organization(BAD_ORG);
    host.connect(BAD_ORG, &connector, "no-such-club", json!({}));
    host.create_organization(ORG);
    let connection = host.connect(ORG, &connector, CLUB, json!({}));
    let setup = Setup { host, sim, connector, connection };
    tripped(&setup, Fault::status(503));
    setup.sim.clear_faults();
    let path = format!("/connectors/{}", setup.connector);
    setup.host.until(&path, "to recover", |row| row["status"] == "active");
    setup.synced();
}

#[test]
fn a_restart_keeps_the_state_and_probes_nothing() {
    let mut setup = paged(5, SMALL_LIMITS, json!({}));
    tripped(&setup, Fault::status(503));
    let before = health(&setup);
    setup.sim.clear_faults();
    setup.host.restart();
    setup.sim.forget_requests();
    let after = health(&setup);
    for member in ["status", "consecutiveFailures", "disabledAt", "nextProbeAt", "errors"] {
        assert_eq!(before[member], after[member], "{member}");
    }
    let refused = setup.host.call("POST", "/sync/member", &body(&setup.connector), 409);
    assert_eq!(refused["code"], "connector.error", "{refused:#}");
    assert!(setup.sim.list_pages_seen().is_empty(), "a start asks the federation nothing");
}

/// More jobs than it takes to disable the connector: those that are left wait, and run when it is well.
#[test]
fn jobs_of_a_disabled_connector_wait() {
    let config = format!("{SMALL_LIMITS}connectorConcurrencyMax = 1\n");
    let setup = paged(5, &config, json!({}));
    setup.sim.fault(Rule::any(Fault::status(503)));
    let mut runs = Vec::new();
    for number in 0..7 {
        let org = format!("org-{number}");
        setup.host.create_organization(&org);
        setup.host.connect(&org, &setup.connector, "club-1", json!({}));
        runs.push((org, String::new()));
    }
    for (org, run) in &mut runs {
        *run = text(&setup.host.ask(org, &setup.connector, json!({})), "syncId");
    }
    let path = format!("/connectors/{}", setup.connector);
    setup.host.until(&path, "to be disabled", |row| row["status"] == "error");
    setup.sim.clear_faults();
    let count = |wanted: &str| {
        runs.iter().filter(|(_, run)| setup.host.run(run)["status"] == wanted).count()
    };
    assert_eq!((count("failed"), count("queued")), (5, 2));
    setup.host.call("POST", &format!("{path}/clear-errors"), &json!({}), 200);
    for (_, run) in &runs {
        setup.host.ended(run);
    }
    assert_eq!((count("failed"), count("completed")), (5, 2));
}

#[test]
fn clearing_errors_switches_nothing_on() {
    let setup = paged(5, SMALL_LIMITS, json!({}));
    let path = format!("/connectors/{}", setup.connector);
    setup.host.change("DELETE", &path, &Value::Null, 204);
    let clear = format!("{path}/clear-errors");
    assert_eq!(setup.host.call("POST", &clear, &json!({}), 200)["status"], "inactive");
    let refused = setup.host.call("POST", "/sync/member", &body(&setup.connector), 409);
    assert_eq!(refused["code"], "connector.not-active", "{refused:#}");
    let on = json!({"status": "active"});
    let shown = setup.host.call("POST", &format!("{path}/status"), &on, 200);
    assert_eq!((&shown["status"], &shown["deletedAt"]), (&json!("active"), &Value::Null));
    setup.synced();
}
