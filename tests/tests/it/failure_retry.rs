//! Records of the quarantine are read again on a person's word, and leave it when they are well.

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Options, Rule};

use crate::fixture::{CLUB, ORG, Setup, assert_counts, federation, members, text};
use crate::rig::program;

/// Four members, of whom the first two cannot be read.
fn two_bad() -> Setup {
    let mut rows = members(4);
    rows[0]["lastName"] = json!(null);
    rows[1]["lastName"] = json!(null);
    let setup = Setup::new(&rows);
    let run = setup.sync();
    assert_counts(&run, json!({"created": 2, "quarantined": 2}));
    setup
}

#[track_caller]
fn failure_of(setup: &Setup, external_id: &str) -> Value {
    let found = setup.failures().into_iter().find(|failure| failure["externalId"] == external_id);
    found.unwrap_or_else(|| panic!("no failure of {external_id} in {:#?}", setup.failures()))
}

#[track_caller]
fn retry(setup: &Setup, failure: &Value, status: u16) -> Value {
    let path = format!("/sync/failures/{}/retry", text(failure, "id"));
    setup.host.call("POST", &path, &Value::Null, status)
}

#[test]
fn a_record_that_was_mended_leaves_the_quarantine() {
    let setup = two_bad();
    let failure = failure_of(&setup, "M-1");
    setup.sim.patch_member("M-1", json!({"lastName": "Mended"}));
    setup.sim.forget_requests();
    let asked = retry(&setup, &failure, 202);
    assert_eq!((&asked["mode"], &asked["entity"]), (&json!("ids"), &json!("member")), "{asked:#}");
    let run = setup.host.ended(&text(&asked, "syncId"));
    assert_eq!(
        (&run["status"], &run["trigger"]),
        (&json!("completed"), &json!("retry")),
        "{run:#}"
    );
    assert_counts(&run, json!({"fetched": 1, "created": 1}));
    assert_eq!(setup.field("M-1", "lastName"), "Mended");
    assert_eq!(setup.sim.list_pages_seen(), [0; 0], "only the record is read");
    let closed = setup.host.get(&format!("/sync/failures/{}", text(&failure, "id")));
    assert!(closed["resolvedAt"].is_string(), "{closed:#}");
    assert_eq!(closed["resolvedBy"], run["syncId"], "{closed:#}");
    assert_eq!(setup.failures().len(), 1, "it left the open list");
    assert_eq!(retry(&setup, &failure, 409)["code"], "failure.resolved");
}

#[test]
fn a_record_that_is_still_bad_stays_and_its_run_has_not_failed() {
    let setup = two_bad();
    let failure = failure_of(&setup, "M-2");
    let asked = retry(&setup, &failure, 202);
    let run = setup.host.ended(&text(&asked, "syncId"));
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_counts(&run, json!({"invalid": 1, "quarantined": 1}));
    let again = failure_of(&setup, "M-2");
    assert_eq!((&again["id"], &again["attempts"]), (&failure["id"], &json!(2)), "{again:#}");
    assert_eq!(again["runId"], run["syncId"]);
    setup.host.call("POST", "/sync/failures/fail_99/retry", &Value::Null, 404);
    setup.host.call("POST", "/sync/failures/nothing/retry", &Value::Null, 404);
}

#[test]
fn all_failures_of_a_filter_are_one_run_of_their_connection() {
    let setup = two_bad();
    let ask =
        |filter: Value| setup.host.call("POST", "/sync/retry", &json!({"filter": filter}), 202);
    for filter in [json!({"entity": "team"}), json!({"stage": "push"}), json!({"code": "other"})] {
        let none = ask(filter);
        assert_eq!((&none["retried"], &none["jobs"]), (&json!(0), &json!([])), "{none:#}");
    }
    setup.sim.patch_member("M-1", json!({"lastName": "Mended"}));
    setup.sim.patch_member("M-2", json!({"lastName": "Mended"}));
    let code = failure_of(&setup, "M-1")["code"].clone();
    let filter = json!({
        "organizationId": ORG, "connectorId": setup.connector, "entity": "member", "code": code,
    });
    let asked = ask(filter);
    assert_eq!((&asked["retried"], &asked["more"]), (&json!(2), &json!(false)), "{asked:#}");
    let jobs = asked["jobs"].as_array().expect("jobs");
    assert_eq!(jobs.len(), 1, "{asked:#}");
    assert_eq!(jobs[0]["connectionId"], setup.connection, "{asked:#}");
    assert_eq!(jobs[0]["entities"], json!([{"entity": "member", "mode": "ids", "failures": 2}]));
    let run = setup.host.ended(&text(&jobs[0], "syncId"));
    assert_counts(&run, json!({"fetched": 2, "created": 2}));
    assert!(setup.failures().is_empty());
    assert_eq!(ask(json!({}))["retried"], 0, "there is nothing left");
    let problem =
        setup.host.call("POST", "/sync/retry", &json!({"filter": {"status": "open"}}), 422);
    assert_eq!(problem["errors"][0]["pointer"], "/filter/status", "{problem:#}");
    let nowhere = json!({"filter": {"organizationId": "nowhere"}});
    setup.host.call("POST", "/sync/retry", &nowhere, 404);
}

#[test]
fn a_connector_that_cannot_run_is_named_and_its_failures_wait() {
    let setup = two_bad();
    let status = format!("/connectors/{}/status", setup.connector);
    setup.host.call("POST", &status, &json!({"status": "inactive"}), 200);
    let failure = failure_of(&setup, "M-1");
    assert_eq!(retry(&setup, &failure, 409)["code"], "connector.not-active");
    let asked = setup.host.call("POST", "/sync/retry", &json!({"filter": {}}), 202);
    assert_eq!(asked["retried"], 0, "{asked:#}");
    let skipped = &asked["skipped"][0];
    assert_eq!(
        (&skipped["failures"], &skipped["code"]),
        (&json!(2), &json!("connector.not-active"))
    );
    assert_eq!(setup.failures().len(), 2);
}

/// A list without ids of its own cannot give one record, and a row without an id cannot be asked for.
#[test]
fn where_one_record_cannot_be_fetched_all_are_listed() {
    let sim = federation(Options::members(0));
    let mut rows = members(3);
    rows[0]["lastName"] = json!(null);
    sim.set_members(CLUB, &rows);
    let more = json!({
        "plugin": "csv-members", "config": {},
        "endpoints": {"baseUrl": format!("{}/members.csv", sim.base_url())},
    });
    let setup = Setup::over(sim, more, json!({}));
    setup.sync();
    let failures = setup.failures();
    assert_eq!(failures.len(), 1, "{failures:#?}");
    setup.sim.patch_member("M-1", json!({"lastName": "Mended"}));
    let asked = retry(&setup, &failures[0], 202);
    assert_eq!(asked["mode"], "full", "{asked:#}");
    let run = setup.host.ended(&text(&asked, "syncId"));
    assert_counts(&run, json!({"fetched": 3, "created": 1}));
    assert!(setup.failures().is_empty());
}

#[test]
fn retries_join_what_waits() {
    let setup = two_bad();
    setup.sim.fault(Rule::page(1, Fault::Delay { ms: 1_500 }).once());
    let running = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    setup.host.run_when(&running, "to run", |run| run["status"] == "running");
    let first = retry(&setup, &failure_of(&setup, "M-1"), 202);
    assert_eq!(first["joined"], false, "{first:#}");
    let second = retry(&setup, &failure_of(&setup, "M-2"), 202);
    assert_eq!((&second["syncId"], &second["joined"]), (&first["syncId"], &json!(true)));
    setup.host.ended(&running);
    let run = setup.host.ended(&text(&first, "syncId"));
    assert_counts(&run, json!({"fetched": 2}));
}

#[test]
fn the_command_line_retries_one_and_all() {
    let setup = two_bad();
    let server = format!("http://{}", setup.host.address());
    let environment = [("SYNCLINE_SERVER", server.as_str()), ("SYNCLINE_TOKEN", &setup.host.token)];
    let shell = |arguments: &[&str]| {
        let output = program(arguments, &environment);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), errors)
    };
    let id = text(&failure_of(&setup, "M-1"), "id");
    let (code, out, errors) = shell(&["failure", "retry", &id, "--json"]);
    assert_eq!(code, Some(0), "{errors}");
    let one: Value = serde_json::from_str(&out).expect("JSON");
    setup.host.ended(&text(&one, "syncId"));
    let (code, out, errors) = shell(&["failure", "retry", "--all", "--entity", "member"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.starts_with("2 failures are read again: run_"), "{out}");
    assert_eq!(shell(&["failure", "retry"]).0, Some(2));
    assert_eq!(shell(&["failure", "retry", &id, "--all"]).0, Some(2));
    assert_eq!(shell(&["failure", "retry", "fail_99"]).0, Some(4));
}
