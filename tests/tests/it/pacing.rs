//! The rate limit of a federation as its runs show it: waits, their sum, and the time to try again.

use std::ops::RangeInclusive;

use serde_json::{Value, json};
use syncline_tests::foireann::fault::RetryAfter;
use syncline_tests::foireann::{Fault, Options, Rule};

use crate::fixture::{CLUB, Host, ORG, Setup, assert_counts, federation, text};
use crate::rig::{SMALL_LIMITS, paged, requests};

fn sum_of_waits(lines: &[Value]) -> u64 {
    lines.iter().filter_map(|line| line["waitedMs"].as_u64()).sum()
}

#[test]
fn a_run_that_waits_for_the_rate_limit_says_so() {
    let setup = Setup::over(
        federation(Options::members(100)),
        json!({"config": {"pageSize": 5, "requestsPerMinute": 120}}),
        json!({}),
    );
    let asked = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    let waiting = setup.host.run_when(&asked, "to wait", |run| {
        run["progress"]["waiting"] == "waiting for the rate limit" || run["status"] == "completed"
    });
    assert_eq!(waiting["status"], "running", "{waiting:#}");
    let run = setup.host.ended(&asked);
    assert_counts(&run, json!({"created": 100}));
    // 12 of 20 pages leave at once, then one each 550 ms.
    let waited = run["waitedMs"].as_u64().unwrap_or(0);
    assert!((3_500..20_000).contains(&waited), "{run:#}");
    let lines = requests(&setup, &run);
    assert_eq!(lines.len(), 20, "{lines:#?}");
    assert!(waited.abs_diff(sum_of_waits(&lines)) < 500, "{waited}: {lines:#?}");
    let times: Vec<&str> = lines.iter().filter_map(|line| line["at"].as_str()).collect();
    assert!(times.is_sorted() && times.len() == 20, "{times:#?}");
    assert!(times[0].ends_with('Z'), "{times:#?}");
}

/// Two organizations on the connector's credential have one limit; one with credentials of its own has another.
#[test]
fn a_run_that_would_wait_too_long_ends_with_the_time_to_retry_at() {
    let sim = federation(Options::members(3).clubs(&[CLUB, "club-2"]));
    let host = Host::with_config(&[sim.host_port()], SMALL_LIMITS);
    host.create_organization(ORG);
    host.create_organization("other");
    let slow = json!({"config": {"requestsPerMinute": 2}, "syncConfig": {"enabled": true}});
    let connector = host.create_connector(&sim.base_url(), slow);
    host.connect(ORG, &connector, CLUB, json!({}));
    host.connect("other", &connector, "club-2", json!({}));
    let first = host.sync(ORG, &connector, json!({}));
    assert_eq!(first["status"], "completed", "{first:#}");
    assert_eq!(first["nextRetryAt"], Value::Null, "{first:#}");
    let second = host.sync("other", &connector, json!({}));
    assert_eq!(second["status"], "waiting", "{second:#}");
    assert_eq!(second["retryCount"], 0, "a time that was told is free of charge: {second:#}");
    let error = &second["errors"][0];
    assert_eq!(error["code"], "remote.rate-limited", "{second:#}");
    let (message, retry_at) = (text(error, "message"), text(&second, "nextRetryAt"));
    let told = message.split("until ").nth(1).and_then(|rest| rest.split(',').next());
    assert!(told.is_some_and(|told| told <= retry_at.as_str()), "{second:#}");
    assert_eq!(second["completedAt"], Value::Null, "{second:#}");
    assert_eq!(sim.requests().len(), 1, "the second run has sent nothing");
    let lines = host.list(&format!("/sync/status/{}/requests", text(&second, "syncId")));
    assert!(text(&lines[0], "failure").contains("waiting for the rate limit of"), "{lines:#?}");
}

#[test]
fn a_long_retry_after_ends_the_run_and_does_not_hold_up_a_person() {
    // As it was told, and up to half a minute later.
    check_retry_after(RetryAfter::Seconds(600), 1, 595..=632);
}

#[test]
fn a_retry_after_may_be_a_date() {
    check_retry_after(RetryAfter::DateInSeconds(600), 1, 590..=632);
}

/// Clocks differ. Nothing is tried again at once, and for nothing.
#[test]
fn a_retry_after_that_has_passed_leaves_the_ordinary_wait() {
    // As often as a request is sent before a run gives up.
    check_retry_after(RetryAfter::DateInSeconds(-60), 3, 60..=240);
}

/// A job that waits keeps its connection from further nights.
#[test]
fn a_retry_after_of_a_year_is_one_of_a_day() {
    check_retry_after(RetryAfter::Seconds(31_536_000), 1, 86_395..=86_432);
}

#[track_caller]
fn check_retry_after(told: RetryAfter, times: u64, expected: RangeInclusive<i64>) {
    let setup = paged(30, SMALL_LIMITS, json!({}));
    let connector = format!("/connectors/{}", setup.connector);
    let retries = json!({"syncConfig": {"enabled": true, "maxRetries": 3}});
    setup.host.change("PATCH", &connector, &retries, 200);
    setup.sim.fault(Rule::page(2, Fault::too_many(told)).times(times));
    let run = setup.sync();
    assert_eq!(run["status"], "waiting", "{run:#}");
    assert_eq!(run["errors"][0]["code"], "remote.rate-limited", "{run:#}");
    let (ended, retry_at) = (text(&run["errors"][0], "at"), text(&run, "nextRetryAt"));
    let time = |text: &str| text.parse::<jiff::Timestamp>().expect("a time");
    let apart = time(&retry_at).duration_since(time(&ended)).as_secs();
    assert!(expected.contains(&apart), "{ended} and {retry_at}");
    let again = setup.synced();
    assert_eq!(again["syncId"], run["syncId"], "a person's request joins the retry");
    assert_counts(&again, json!({"created": 30}));
}
