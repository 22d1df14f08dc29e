//! Runs that failed by what can pass: they wait, are tried again, joined, withdrawn, cancelled, and at last have failed for
//! good; and the queue as it shows all this.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Options, Rule};

use crate::fixture::{CLUB, Host, ORG, Setup, assert_counts, federation, members, text};
use crate::rig::{MEMBERS, SMALL_LIMITS, paged, requests, signal};

/// Retries after one, two and four seconds.
const QUICK: &str = "[retry]\nbackoffSecondsMin = 1\n";

/// A club on pages of ten whose runs are tried again.
#[track_caller]
fn patient(config: &str) -> Setup {
    let setup = paged(MEMBERS, &format!("{SMALL_LIMITS}{config}"), json!({}));
    with_retries(&setup.host, &setup.connector, 3);
    setup
}

#[track_caller]
fn with_retries(host: &Host, connector: &str, retries: u32) {
    let body = json!({"syncConfig": {"enabled": true, "maxRetries": retries}});
    host.change("PATCH", &format!("/connectors/{connector}"), &body, 200);
}

/// Both attempts at a page inside one attempt of the run.
fn away(page: u64) -> Rule {
    Rule::page(page, Fault::status(503)).times(2)
}

fn queue(host: &Host, filter: &str) -> Vec<Value> {
    host.list(&format!("/organizations/{ORG}/queue{filter}"))
}

#[track_caller]
fn until_over(host: &Host, id: &str) -> Value {
    let is_over = |run: &Value| {
        !["queued", "running", "waiting"].contains(&run["status"].as_str().unwrap_or_default())
    };
    host.run_when(id, "to be over", is_over)
}

#[test]
fn a_run_that_failed_goes_on_where_it_was() {
    let setup = patient(QUICK);
    setup.sim.fault(away(6));
    let run = setup.sync();
    assert_eq!(run["status"], "waiting", "{run:#}");
    assert_eq!((&run["attempt"], &run["completedAt"]), (&json!(1), &Value::Null), "{run:#}");
    assert_eq!(run["retryCount"], 0, "it came further, which is free of charge: {run:#}");
    assert_eq!(run["errors"][0]["code"], "remote.unavailable", "{run:#}");
    assert!(text(&run, "nextRetryAt") > text(&run["errors"][0], "at"), "{run:#}");
    let job = &queue(&setup.host, "?state=waiting")[0];
    assert_eq!((&job["syncId"], &job["nextRetryAt"]), (&run["syncId"], &run["nextRetryAt"]));
    assert_eq!(job["error"]["code"], "remote.unavailable", "{job:#}");
    assert_eq!(setup.records().len(), 0, "nothing is applied in part");
    let ended = until_over(&setup.host, &text(&run, "syncId"));
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_eq!((&ended["attempt"], &ended["nextRetryAt"]), (&json!(2), &Value::Null));
    assert_eq!(ended["errors"], json!([]), "they are in its log: {ended:#}");
    assert_counts(&ended, json!({"fetched": MEMBERS, "created": MEMBERS}));
    let seen = setup.sim.list_pages_seen();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 6, 6, 7, 8, 9, 10, 11], "no page is read twice");
    let id = text(&run, "syncId");
    let log = json!(setup.host.list(&format!("/sync/status/{id}/logs"))).to_string();
    assert!(log.contains("attempt 1 failed, remote.unavailable"), "{log}");
    assert_eq!(requests(&setup, &run).len(), 13, "the requests of both attempts");
    assert!(queue(&setup.host, "").is_empty() && queue(&setup.host, "?state=dead").is_empty());
}

#[test]
fn a_run_that_fails_again_and_again_has_failed_for_good() {
    let setup = patient(QUICK);
    let channel = json!({
        "name": "people", "kind": "webhook",
        "config": {
            "url": format!("{}/nowhere", setup.sim.base_url()),
            "secret": "whsec_Y2FuYXJ5LXNpZ25pbmcta2V5LTAwMDEyMzQ1",
        },
    });
    setup.host.call("POST", "/notifications/channels", &channel, 201);
    let told = || json!(setup.host.list("/notifications/deliveries")).to_string();
    setup.sim.fault(Rule::listing(Fault::status(503)));
    let begin = Instant::now();
    let run = setup.sync();
    assert_eq!((&run["status"], &run["retryCount"]), (&json!("waiting"), &json!(1)), "{run:#}");
    assert_eq!(run["maxRetries"], 3, "{run:#}");
    let id = text(&run, "syncId");
    setup.host.run_when(&id, "to be tried again", |run| run["attempt"] == 3);
    assert!(!told().contains("runFailed"), "a retry is planned: {}", told());
    let ended = until_over(&setup.host, &id);
    assert!(begin.elapsed() >= Duration::from_secs(7), "1, 2 and 4 seconds are waited");
    assert_eq!(ended["status"], "failed", "{ended:#}");
    assert_eq!((&ended["attempt"], &ended["retryCount"]), (&json!(4), &json!(3)), "{ended:#}");
    assert_eq!(ended["nextRetryAt"], Value::Null, "{ended:#}");
    let dead = queue(&setup.host, "?state=dead");
    assert_eq!((dead.len(), &dead[0]["syncId"]), (1, &json!(id)), "{dead:#?}");
    assert_eq!((&dead[0]["attempt"], &dead[0]["retryCount"]), (&json!(4), &json!(3)));
    assert!(dead[0]["endedAt"].is_string(), "{dead:#?}");
    assert!(queue(&setup.host, "").is_empty());
    setup.host.until("/notifications/deliveries", "to tell of it", |list| {
        list.to_string().contains("runFailed")
    });
    let cancel = format!("/sync/status/{id}/cancel");
    assert_eq!(setup.host.call("POST", &cancel, &Value::Null, 409)["code"], "run.over");
    // Four attempts are four faults of the connector: one more disables it.
    let health = setup.host.get(&format!("/connectors/{}/health", setup.connector));
    assert_eq!(health["consecutiveFailures"], 4, "{health:#}");
}

#[test]
fn what_cannot_pass_is_not_tried_again() {
    let setup = patient(QUICK);
    for (status, code) in [(401, "remote.auth"), (404, "remote.not-found")] {
        setup.sim.fault(Rule::page(1, Fault::status(status)));
        let run = setup.sync();
        setup.sim.clear_faults();
        assert_eq!(run["status"], "failed", "{run:#}");
        assert_eq!((&run["errors"][0]["code"], &run["retryCount"]), (&json!(code), &json!(0)));
    }
    // Nor is a dry run, for which a person waits.
    setup.sim.fault(Rule::page(1, Fault::status(503)));
    assert_eq!(setup.sync_with(json!({"dryRun": true}))["status"], "failed");
    with_retries(&setup.host, &setup.connector, 0);
    assert_eq!(setup.sync()["status"], "failed", "0 is never");
}

/// The first retry would be in two minutes: nobody waits for it here.
#[test]
fn a_person_joins_a_retry_and_starts_at_once() {
    let setup = patient("");
    setup.sim.fault(away(1));
    let run = setup.sync();
    assert_eq!(run["status"], "waiting", "{run:#}");
    let asked = setup.host.ask(ORG, &setup.connector, json!({}));
    assert_eq!((&asked["syncId"], &asked["joined"]), (&run["syncId"], &json!(true)), "{asked:#}");
    let ended = setup.host.ended(&text(&run, "syncId"));
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("completed"), &json!(2)),
        "{ended:#}"
    );
    // A dry run is a run of its own, also beside one that waits.
    setup.sim.fault(away(1));
    assert_eq!(setup.sync()["status"], "waiting");
    assert_eq!(setup.sync_with(json!({"dryRun": true}))["status"], "completed");
    assert_eq!(queue(&setup.host, "").len(), 1);
}

#[test]
fn a_success_withdraws_a_retry() {
    let setup = patient("");
    setup.sim.fault(
        Rule::page(
            1,
            Fault::Several { faults: vec![Fault::Delay { ms: 700 }, Fault::status(503)] },
        )
        .once(),
    );
    setup.sim.fault(Rule::page(1, Fault::status(503)).once());
    let first = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    setup.host.run_when(&first, "to run", |run| run["status"] == "running");
    let second = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    assert_ne!(first, second, "a running job is not joined");
    let ended = until_over(&setup.host, &second);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let withdrawn = setup.host.run(&first);
    assert_eq!(withdrawn["status"], "cancelled", "{withdrawn:#}");
    assert_eq!(
        (&withdrawn["supersededBy"], &withdrawn["nextRetryAt"]),
        (&json!(second), &Value::Null)
    );
    let codes: Vec<&Value> = withdrawn["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| &error["code"])
        .collect();
    assert_eq!(codes, ["remote.unavailable", "run.superseded"], "{withdrawn:#}");
    assert!(queue(&setup.host, "").is_empty());
}

#[test]
fn a_run_that_waits_can_be_cancelled_and_survives_a_kill() {
    let mut setup = patient("");
    setup.sim.fault(away(6));
    let run = setup.sync();
    let id = text(&run, "syncId");
    setup.host.kill();
    setup.host.restart();
    let waits = setup.host.run(&id);
    assert_eq!((&waits["status"], &waits["nextRetryAt"]), (&json!("waiting"), &run["nextRetryAt"]));
    let cancelled =
        setup.host.call("POST", &format!("/sync/status/{id}/cancel"), &Value::Null, 202);
    assert_eq!(cancelled["status"], "cancelled", "{cancelled:#}");
    assert_eq!(cancelled["nextRetryAt"], Value::Null, "{cancelled:#}");
    assert!(queue(&setup.host, "").is_empty() && queue(&setup.host, "?state=dead").is_empty());
    setup.synced();
    assert_eq!(setup.host.run(&id)["status"], "cancelled", "it stays cancelled");
}

/// Five organizations, each with a run that has read half of its pages.
#[test]
fn an_orderly_stop_gives_many_runs_back_and_uses_no_attempt() {
    let clubs = ["club-1", "club-2", "club-3", "club-4", "club-5"];
    let sim = federation(Options::members(MEMBERS).clubs(&clubs));
    let config = SMALL_LIMITS
        .replace("requestTimeoutSecondsMax = 1", "requestTimeoutSecondsMax = 60")
        + "drainSecondsMax = 2\nconnectorConcurrencyMax = 5\nhostConnectionsMax = 8\n";
    let mut host = Host::with_config(&[sim.host_port()], &config);
    let settings = json!({"config": {"pageSize": 10, "requestsPerMinute": 1_000_000}});
    let connector = host.create_connector(&sim.base_url(), settings);
    with_retries(&host, &connector, 3);
    sim.fault(Rule::page(6, Fault::Delay { ms: 50_000 }));
    let mut runs = Vec::new();
    for club in clubs {
        host.create_organization(club);
        host.connect(club, &connector, club, json!({}));
        runs.push(text(&host.ask(club, &connector, json!({})), "syncId"));
    }
    for run in &runs {
        let half = |run: &Value| run["progress"]["page"].as_u64() >= Some(5);
        host.run_when(run, "to read five pages", half);
    }
    let begin = Instant::now();
    signal(host.process_id(), "TERM");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "draining took {took:?}");
    sim.clear_faults();
    sim.forget_requests();
    host.restart();
    for run in &runs {
        let ended = until_over(&host, run);
        assert_eq!(ended["status"], "completed", "{ended:#}\n{}", host.log());
        assert_eq!((&ended["attempt"], &ended["retryCount"]), (&json!(1), &json!(0)), "{ended:#}");
        assert_counts(&ended, json!({"fetched": MEMBERS, "created": MEMBERS}));
    }
    let seen = sim.list_pages_seen();
    assert!(seen.iter().all(|page| *page >= 6), "all go on where they were: {seen:?}");
    assert_eq!(seen.len(), 5 * 6, "{seen:?}");
    println!("drained five runs in {took:?}");
}

#[test]
fn a_killed_hosts_jobs_run_again_at_once() {
    let mut setup = patient("");
    setup.sim.fault(Rule::page(6, Fault::Delay { ms: 900 }).once());
    let run = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    setup.host.run_when(&run, "to run", |run| run["progress"]["page"].as_u64() >= Some(5));
    let held = queue(&setup.host, "?state=running");
    assert!(held[0]["lease"]["until"].is_string(), "{held:#?}");
    setup.host.kill();
    setup.host.restart();
    // The lease of the dead process runs for a minute: nobody waits for its end.
    let begin = Instant::now();
    let ended = until_over(&setup.host, &run);
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("completed"), &json!(1)),
        "{ended:#}"
    );
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn the_queue_is_listed_by_state_and_page_by_page() {
    let setup = Setup::new(&members(2));
    setup.synced();
    setup.sim.fault(Rule::page(1, Fault::Delay { ms: 2_000 }).once());
    let running = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    setup.host.run_when(&running, "to run", |run| run["status"] == "running");
    let pending: Vec<String> = [json!({}), json!({"dryRun": true}), json!({"dryRun": true})]
        .into_iter()
        .map(|more| text(&setup.host.ask(ORG, &setup.connector, more), "syncId"))
        .collect();
    let ids = |jobs: &[Value]| jobs.iter().map(|job| text(job, "syncId")).collect::<Vec<_>>();
    assert_eq!(ids(&queue(&setup.host, "?state=pending")), pending);
    let job = &queue(&setup.host, "?state=running")[0];
    assert_eq!((text(job, "syncId"), &job["attempt"]), (running.clone(), &json!(1)), "{job:#}");
    assert_eq!((&job["priority"], &job["trigger"]), (&json!("manual"), &json!("manual")));
    assert_eq!((&job["retryCount"], &job["maxRetries"]), (&json!(0), &json!(0)), "{job:#}");
    let (mut next, mut seen) = (format!("/organizations/{ORG}/queue?limit=1"), Vec::new());
    loop {
        let page = setup.host.get(&next);
        seen.extend(ids(page["items"].as_array().expect("items")));
        match page["nextCursor"].as_str() {
            Some(cursor) => next = format!("/organizations/{ORG}/queue?limit=1&cursor={cursor}"),
            None => break,
        }
    }
    let all: Vec<String> = std::iter::once(running).chain(pending.clone()).collect();
    assert_eq!(seen, all, "oldest first");
    for run in &pending {
        until_over(&setup.host, run);
    }
    assert!(queue(&setup.host, "").is_empty());
}

#[test]
fn a_full_queue_refuses_a_person_and_not_who_joins() {
    let sim = federation(Options::members(3));
    let host = Host::with_config(&[sim.host_port()], "[limits]\nqueuedJobsMax = 2\n");
    host.create_organization(ORG);
    let connector = host.create_connector(&sim.base_url(), json!({}));
    host.connect(ORG, &connector, CLUB, json!({}));
    sim.fault(Rule::page(1, Fault::Delay { ms: 2_000 }).once());
    let running = text(&host.ask(ORG, &connector, json!({})), "syncId");
    host.run_when(&running, "to run", |run| run["status"] == "running");
    let waits = host.ask(ORG, &connector, json!({}));
    let dry = json!({"organizationId": ORG, "connectorId": connector, "dryRun": true});
    let answer = host.send("POST", "/sync/member", &[], &dry);
    assert_eq!(answer.status, 429, "{}", String::from_utf8_lossy(&answer.body));
    let problem: Value = serde_json::from_slice(&answer.body).expect("a problem");
    assert_eq!(problem["code"], "queue.full", "{problem:#}");
    assert_eq!(answer.header("retry-after"), Some("60"));
    assert_eq!(host.ask(ORG, &connector, json!({}))["syncId"], waits["syncId"], "it joins");
    host.ended(&running);
    host.ended(&text(&waits, "syncId"));
    host.call("POST", "/sync/member", &dry, 202);
}
