//! Asking for a run: modes, filters, idempotency, and requests that join one that waits.

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Rule};

use crate::fixture::{ORG, Setup, assert_counts, members, text};

fn ask(setup: &Setup, more: Value, status: u16) -> Value {
    let mut body = json!({"organizationId": ORG, "connectorId": setup.connector, "mode": "full"});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    setup.host.call("POST", "/sync/member", &body, status)
}

#[test]
fn an_unknown_filter_member_is_refused() {
    let setup = Setup::new(&members(2));
    for (filters, pointer) in [
        (json!({"county": "Mayo"}), "/filters/county"),
        (json!({"modifiedAfter": "yesterday"}), "/filters/modifiedAfter"),
        (json!({"status": "Active"}), "/filters/status"),
    ] {
        let problem = ask(&setup, json!({"filters": filters}), 422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    assert!(setup.host.list("/sync/status").is_empty(), "nothing is queued");
}

#[test]
fn a_filter_that_the_connector_cannot_apply_fails_the_run_as_unsupported() {
    let setup = Setup::new(&members(2));
    for filters in [json!({"status": ["Active"]}), json!({"modifiedAfter": "2026-01-01T00:00:00Z"})]
    {
        let run = setup.sync_with(json!({"filters": filters}));
        assert_eq!(run["status"], "failed", "{run:#}");
        let code = text(&run["errors"][0], "code");
        assert!(code.contains("unsupported"), "{run:#}");
    }
    assert!(setup.records().is_empty(), "nothing is ignored");
}

#[test]
fn modes_that_the_connector_does_not_know_are_refused() {
    let setup = Setup::new(&members(2));
    for (more, pointer) in [
        (json!({"mode": "incremental"}), "/mode"),
        (json!({"mode": "sometimes"}), "/mode"),
        (json!({"mode": "ids"}), "/ids"),
        (json!({"mode": "ids", "ids": []}), "/ids"),
        (json!({"mode": "full", "ids": ["M-1"]}), "/ids"),
        (json!({"mode": "ids", "ids": [""]}), "/ids"),
        (json!({"dryRun": "yes"}), "/dryRun"),
        (json!({"dryrun": true}), "/dryrun"),
    ] {
        let problem = ask(&setup, more.clone(), 422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{more}: {problem:#}");
    }
    let body = json!({"organizationId": ORG, "connectorId": setup.connector});
    setup.host.call("POST", "/sync/boat", &body, 404);
    for (organization, connector) in [("nowhere", setup.connector.as_str()), (ORG, "con_99")] {
        let body = json!({"organizationId": organization, "connectorId": connector});
        setup.host.call("POST", "/sync/member", &body, 404);
    }
}

#[test]
fn the_same_key_and_body_are_one_run() {
    let setup = Setup::new(&members(2));
    let key = json!({"idempotencyKey": "monday"});
    let first = ask(&setup, key.clone(), 202);
    let again = ask(&setup, key.clone(), 202);
    assert_eq!(again["syncId"], first["syncId"]);
    assert_eq!(again["jobId"], first["jobId"]);
    setup.host.ended(&text(&first, "syncId"));
    let later = ask(&setup, key, 202);
    assert_eq!(later["syncId"], first["syncId"], "also after the run has ended");
    assert_eq!(setup.host.list("/sync/status").len(), 1);
    let other = ask(&setup, json!({"idempotencyKey": "monday", "dryRun": true}), 422);
    assert_eq!(other["errors"][0]["pointer"], "/idempotencyKey", "{other:#}");
    let new = ask(&setup, json!({"idempotencyKey": "tuesday"}), 202);
    assert_ne!(new["syncId"], first["syncId"]);
}

/// A run that is under way until the fault is gone.
fn busy() -> (Setup, String) {
    let setup = Setup::new(&members(3));
    setup.synced();
    setup.sim.fault(Rule::page(1, Fault::Delay { ms: 1500 }).once());
    let id = text(&ask(&setup, json!({}), 202), "syncId");
    setup.host.run_when(&id, "to start", |run| run["status"] == "running");
    (setup, id)
}

#[test]
fn a_request_joins_the_one_that_waits_and_never_the_one_that_runs() {
    let (setup, running) = busy();
    let first = ask(&setup, json!({}), 202);
    assert_ne!(first["syncId"], *running);
    assert_eq!((&first["joined"], &first["status"]), (&json!(false), &json!("queued")));
    let second = ask(&setup, json!({}), 202);
    assert_eq!(second["syncId"], first["syncId"]);
    assert_eq!(second["joined"], true);
    let queue = setup.host.list(&format!("/organizations/{ORG}/queue"));
    assert_eq!(queue.len(), 2, "{queue:#?}");
    setup.host.ended(&running);
    let run = setup.host.ended(&text(&first, "syncId"));
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(setup.host.list("/sync/status").len(), 3);
    assert!(setup.host.list(&format!("/organizations/{ORG}/queue")).is_empty());
}

#[test]
fn ids_that_wait_are_united_and_a_full_sync_absorbs_them() {
    let (setup, running) = busy();
    let first = ask(&setup, json!({"mode": "ids", "ids": ["M-1"]}), 202);
    let second = ask(&setup, json!({"mode": "ids", "ids": ["M-2", "M-1"]}), 202);
    assert_eq!(second["syncId"], first["syncId"]);
    setup.host.ended(&running);
    let run = setup.host.ended(&text(&first, "syncId"));
    assert_eq!(run["mode"], "ids", "{run:#}");
    assert_counts(&run, json!({"fetched": 2}));

    setup.sim.clear_faults();
    setup.sim.fault(Rule::page(1, Fault::Delay { ms: 1500 }).once());
    let running = text(&ask(&setup, json!({}), 202), "syncId");
    setup.host.run_when(&running, "to start", |run| run["status"] == "running");
    let ids = ask(&setup, json!({"mode": "ids", "ids": ["M-1"]}), 202);
    let full = ask(&setup, json!({}), 202);
    assert_eq!(full["syncId"], ids["syncId"]);
    setup.host.ended(&running);
    let run = setup.host.ended(&text(&full, "syncId"));
    assert_eq!(run["mode"], "full", "{run:#}");
    assert_counts(&run, json!({"fetched": 3, "unchanged": 3}));
}

#[test]
fn a_dry_run_never_joins_a_real_one() {
    let (setup, running) = busy();
    let real = ask(&setup, json!({}), 202);
    let dry = ask(&setup, json!({"dryRun": true}), 202);
    assert_ne!(dry["syncId"], real["syncId"]);
    setup.host.ended(&running);
    assert_eq!(setup.host.ended(&text(&real, "syncId"))["dryRun"], false);
    assert_eq!(setup.host.ended(&text(&dry, "syncId"))["dryRun"], true);
}

#[test]
fn a_run_that_waits_can_be_cancelled_and_one_that_is_over_cannot() {
    let (setup, running) = busy();
    let waiting = text(&ask(&setup, json!({}), 202), "syncId");
    let cancel = |id: &str, status| {
        setup.host.call("POST", &format!("/sync/status/{id}/cancel"), &Value::Null, status)
    };
    assert_eq!(cancel(&waiting, 202)["status"], "cancelled");
    cancel(&waiting, 409);
    cancel(&running, 202);
    let stopped = setup.host.ended(&running);
    assert_eq!(stopped["status"], "cancelled", "{stopped:#}");
    cancel(&running, 409);
    setup.sim.clear_faults();
    assert_counts(&setup.synced(), json!({"unchanged": 3}));
}

#[test]
fn all_entities_can_be_asked_for_at_once() {
    let setup = Setup::new(&members(2));
    let body = json!({"organizationId": ORG, "connectorId": setup.connector});
    let asked = setup.host.call("POST", "/sync/all", &body, 202);
    assert_eq!(asked["entity"], "all");
    let run = setup.host.ended(&text(&asked, "syncId"));
    assert_counts(&run, json!({"created": 2}));
}
