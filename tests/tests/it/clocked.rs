//! Runs by a clock that the test moves: the longest run, its retry and the age of dead jobs, none of them waited for.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use syncline::store::{self, Store, staging};
use syncline_tests::foireann::{Fault, Options, Rule, Sim};

use crate::clock_rig::{Clocked, days};
use crate::fixture::{ORG, federation, text};
use crate::rig::{MEMBERS, PAGE_ROWS};

/// A federation's members on pages of ten.
#[track_caller]
fn start(sim: &Sim, retries: u32) -> Clocked {
    let settings = |config: &mut syncline::config::Config| {
        config.limits.request_attempts_max = 1;
        config.limits.request_timeout_seconds_max = 600;
        config.limits.stage_flush_records = 1;
    };
    let more = json!({
        "config": {"pageSize": PAGE_ROWS, "requestsPerMinute": 1_000_000},
        "syncConfig": {"enabled": false, "maxRetries": retries},
    });
    Clocked::start(sim, settings, more)
}

#[track_caller]
fn run_when(server: &Clocked, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    server.until(&format!("/sync/status/{id}"), wanted)
}

fn dead(server: &Clocked) -> usize {
    let list = server.get(&format!("/organizations/{ORG}/queue?state=dead"));
    list["items"].as_array().expect("items").len()
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn time(run: &Value, member: &str) -> Timestamp {
    text(run, member).parse().expect("a time")
}

/// The row says by what the run is done.
#[track_caller]
fn assert_means(run: &Value) {
    assert_eq!(run["plugin"]["name"], "gaa-foireann", "{run:#}");
    assert!(run["template"].is_object(), "{run:#}");
    assert_eq!(run["strategies"][0]["name"], "federation_wins", "{run:#}");
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_goes_on_later() {
    let sim = federation(Options::members(MEMBERS));
    let server = start(&sim, 3);
    sim.fault(Rule::page(6, Fault::Hang).once());
    let run = server.ask(json!({}));
    let hangs = |run: &Value| run["progress"]["page"].as_u64() >= Some(5);
    run_when(&server, &run, hangs);
    server.forward(minutes(29));
    let goes_on = run_when(&server, &run, |_| true);
    assert_eq!(goes_on["status"], "running", "{goes_on:#}");
    assert_means(&goes_on);
    server.forward(minutes(2));
    let waits = run_when(&server, &run, |run| run["status"] != "running");
    assert_eq!(waits["status"], "waiting", "{waits:#}");
    assert_eq!(waits["errors"][0]["code"], "run.timeout", "{waits:#}");
    assert_eq!(waits["retryCount"], 0, "it came further: {waits:#}");
    // What explains it is there although its worker is gone.
    assert_means(&waits);
    let phases = waits["phases"].as_array().expect("phases");
    assert!(phases.iter().any(|phase| phase["phase"] == "fetch"), "{waits:#}");
    let lines = server.get(&format!("/sync/status/{run}/requests"));
    let lines = lines["items"].as_array().expect("items");
    assert!(lines.len() >= 5, "a line for each page that was read: {lines:#?}");
    let wait = time(&waits, "nextRetryAt").duration_since(server.clock.now());
    assert!((120..=132).contains(&wait.as_secs()), "{waits:#}");
    // Another run of the connection goes past it meanwhile, and nothing but the clock wakes the one that waits.
    let dry = server.ask(json!({"dryRun": true}));
    run_when(&server, &dry, |run| run["status"] == "completed");
    let still = run_when(&server, &run, |_| true);
    assert_eq!((&still["status"], &still["attempt"]), (&json!("waiting"), &json!(1)), "{still:#}");
    sim.forget_requests();
    server.forward(minutes(3));
    let ended = run_when(&server, &run, |run| run["status"] == "completed");
    assert_eq!((&ended["attempt"], &ended["counts"]["created"]), (&json!(2), &json!(MEMBERS)));
    assert_eq!(sim.list_pages_seen(), [6, 7, 8, 9, 10, 11], "it went on where it was");
}

/// What was staged is of no use to anybody: it does not wait for the daily look.
#[test]
fn a_cancelled_run_that_waited_leaves_no_pages() {
    let sim = federation(Options::members(MEMBERS));
    let mut server = start(&sim, 3);
    sim.fault(Rule::page(4, Fault::status(503)));
    let run = server.ask(json!({}));
    run_when(&server, &run, |run| run["status"] == "waiting");
    let other = server.ask(json!({"dryRun": true}));
    run_when(&server, &other, |run| run["status"] == "failed");
    let cancelled = server.call("POST", &format!("/sync/status/{run}/cancel"), &json!({}), 202);
    assert_eq!(cancelled["status"], "cancelled", "{cancelled:#}");
    server.rest();
    let data = server.stop();
    let store = Store::open(&data, &store::Options::default()).expect("a store");
    assert_eq!(staging::holders(&store).expect("a list"), []);
}

#[test]
fn dead_jobs_are_kept_for_their_time() {
    let sim = federation(Options::members(3));
    let server = start(&sim, 0);
    sim.fault(Rule::page(1, Fault::status(503)));
    let run = server.ask(json!({}));
    run_when(&server, &run, |run| run["status"] == "failed");
    assert_eq!(dead(&server), 1);
    for _ in 0..179 {
        server.forward(days(1));
        server.rest();
    }
    assert_eq!(dead(&server), 1, "after 179 days");
    server.forward(days(2));
    server.rest();
    assert_eq!(dead(&server), 0, "after 181 days");
}
