//! Delivery over webhooks: verified by the public library, retried, grouped, and exactly one of each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::rig::signal;

fn ids(got: &[Value]) -> BTreeSet<String> {
    got.iter().map(|kept| text(&kept["headers"], "webhook-id")).collect()
}

#[test]
fn a_failed_run_and_its_recovery_arrive_signed_and_once() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::receiver(&python), Club::sim());
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    let channel = webhook(&host, &sink);
    let club = Club::over(&host, sim, "Federation");
    let run = club.fails(&host);
    let got = sink.wait_for(&host, 1);
    assert_eq!(got[0]["verified"], true, "{got:#?}");
    let event = &data(&got[0])["events"][0];
    assert_eq!(event["kind"], "runFailed", "{event:#}");
    assert_eq!(event["runId"], run, "{event:#}");
    assert_eq!(event["organizationId"], ORG, "{event:#}");
    assert!(text(event, "link").ends_with(&format!("/runs/{run}")), "{event:#}");
    assert_eq!(event["facts"]["code"], "remote.unavailable", "{event:#}");
    club.succeeds(&host);
    let got = sink.wait_for(&host, 2);
    assert_eq!(data(&got[1])["events"][0]["kind"], "recovered", "{got:#?}");
    club.succeeds(&host);
    let log = settled(&host);
    assert_eq!(log.len(), 2, "a good run after a good one tells nothing: {log:#?}");
    assert!(
        log.iter().all(|row| row["state"] == "sent" && row["channelId"] == channel),
        "{log:#?}"
    );
    assert_eq!(log[0]["answer"], "200 ok", "{log:#?}");
}

#[test]
fn a_receiver_that_was_down_gets_everything_once() {
    let Some(python) = python() else { return };
    let (mut sink, sim) = (Sink::receiver(&python), Club::sim());
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    webhook(&host, &sink);
    let club = Club::over(&host, sim, "Federation");
    sink.stop();
    for _ in 0..3 {
        club.fails(&host);
    }
    let tried = |row: &Value| row["attempts"].as_u64() >= Some(2) && row["state"] == "pending";
    let failing = until(&host, "two attempts", || deliveries(&host).into_iter().find(tried));
    assert!(!failing["nextAttemptAt"].is_null() && !failing["lastError"].is_null(), "{failing:#}");
    sink.start();
    let log = settled(&host);
    let got = sink.got();
    assert_eq!(counts(&got).iter().sum::<u64>(), 3, "{got:#?}");
    assert_eq!(got.len(), ids(&got).len(), "none came twice: {got:#?}");
    assert!(log.iter().all(|row| row["state"] == "sent"), "{log:#?}");
}

#[test]
fn a_kill_with_a_full_outbox_loses_nothing() {
    let Some(python) = python() else { return };
    let (mut sink, sim) = (Sink::receiver(&python), Club::sim());
    let mut host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    webhook(&host, &sink);
    let club = Club::over(&host, sim, "Federation");
    sink.stop();
    for round in 1..=4 {
        club.fails(&host);
        host.kill();
        host.restart();
        assert_eq!(host.list("/sync/status").len(), round);
    }
    let held: u64 = deliveries(&host).iter().filter_map(|row| row["eventCount"].as_u64()).sum();
    assert!(held <= 4, "{held}");
    sink.start();
    settled(&host);
    let got = sink.got();
    assert_eq!(counts(&got).iter().sum::<u64>(), 4, "{got:#?}");
    assert_eq!(got.len(), ids(&got).len(), "{got:#?}");
}

/// A kill between the receiver's answer and ours repeats the message, under the id by which the receiver knows it.
#[test]
fn a_kill_during_a_send_repeats_it_under_its_id() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::receiver(&python), Club::sim());
    let mut host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    webhook(&host, &sink);
    let club = Club::over(&host, sim, "Federation");
    sink.mode(&json!({"delay": 2}).to_string());
    club.fails(&host);
    sink.wait_for(&host, 1);
    host.kill();
    sink.take_all();
    host.restart();
    settled(&host);
    let got = sink.got();
    assert_eq!((got.len(), ids(&got).len()), (2, 1), "{got:#?}");
    assert_eq!(got[0]["body"], got[1]["body"], "the same message");
}

#[test]
fn errors_are_retried_as_asked_and_a_receiver_that_is_gone_ends_its_channel() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::receiver(&python), Club::sim());
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    let channel = webhook(&host, &sink);
    let club = Club::over(&host, sim, "Federation");
    sink.mode(&json!({"status": 503, "headers": {"Retry-After": "4"}}).to_string());
    club.fails(&host);
    let refused = sink.wait_for(&host, 1);
    sink.take_all();
    settled(&host);
    let got = sink.got();
    assert_eq!((got.len(), ids(&got).len()), (2, 1), "{got:#?}");
    let (first, second) = (refused[0]["at"].as_f64(), got[1]["at"].as_f64());
    let waited = second.unwrap_or_default() - first.unwrap_or_default();
    assert!(waited >= 3.9, "Retry-After: 4, and it came {waited} s later");
    assert!(got.iter().all(|kept| kept["verified"] == true), "each with its own time: {got:#?}");
    sink.mode(&json!({"status": 410, "body": "unsubscribed"}).to_string());
    club.fails(&host);
    let path = format!("/notifications/channels/{channel}");
    let off = until(&host, "a disabled channel", || {
        Some(host.get(&path)).filter(|channel| channel["enabled"] == false)
    });
    assert!(text(&off, "disabledReason").contains("410 unsubscribed"), "{off:#}");
    let log = settled(&host);
    assert_eq!(log[0]["state"], "failed", "{log:#?}");
    sink.take_all();
    let on = host.change("PATCH", &path, &json!({"enabled": true}), 200);
    assert_eq!((&on["enabled"], &on["disabledReason"]), (&json!(true), &Value::Null), "{on:#}");
}

#[test]
fn a_slow_receiver_delays_nobody_else() {
    let Some(python) = python() else { return };
    let (slow, quick, sim) = (Sink::receiver(&python), Sink::receiver(&python), Club::sim());
    let allowed = [sim.host_port(), slow.host_port(), quick.host_port()];
    let host = Host::with_config(&allowed, QUICK);
    webhook(&host, &slow);
    webhook(&host, &quick);
    let club = Club::over(&host, sim, "Federation");
    slow.mode(&json!({"delay": 60}).to_string());
    club.fails(&host);
    slow.wait_for(&host, 1);
    assert_eq!(counts(&quick.wait_for(&host, 1)), [1]);
    let stuck = until(&host, "an attempt that took too long", || {
        deliveries(&host).into_iter().find(|row| row["attempts"] == 1 && row["state"] == "pending")
    });
    assert!(text(&stuck, "lastError").contains("no answer"), "{stuck:#}");
}

/// 50 connectors that fail four times in a row each.
#[test]
fn a_storm_of_failures_is_a_handful_of_messages() {
    const CONNECTORS: usize = 50;
    const ROUNDS: usize = 4;
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::receiver(&python), Club::sim());
    let config = QUICK.replace("digestSeconds = 2", "digestSeconds = 6");
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], &config);
    webhook(&host, &sink);
    host.create_organization(ORG);
    sim.fault(Rule::any(Fault::status(500)));
    let base = sim.base_url();
    let connectors: Vec<String> = (0..CONNECTORS)
        .map(|number| {
            let connector = host.create_connector(&base, json!({"name": format!("C{number}")}));
            host.connect(ORG, &connector, CLUB, json!({}));
            connector
        })
        .collect();
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let runs: Vec<String> = connectors
            .iter()
            .map(|connector| text(&host.ask(ORG, connector, json!({})), "syncId"))
            .collect();
        runs.iter().for_each(|run| assert_eq!(host.ended(run)["status"], "failed"));
    }
    let storm = begin.elapsed();
    settled(&host);
    let told = counts(&sink.got());
    assert_eq!(told.iter().sum::<u64>(), (CONNECTORS * ROUNDS) as u64, "{told:?}");
    let windows = (storm + Duration::from_secs(6)).as_secs() / 6 + 2;
    assert!(told.len() as u64 <= windows, "{} messages in {storm:?}: {told:?}", told.len());
    println!("{} failures in {storm:?}: messages of {told:?}", CONNECTORS * ROUNDS);
}

#[test]
fn quiet_hours_hold_back_until_the_channel_is_changed() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::receiver(&python), Club::sim());
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    let channel = webhook(&host, &sink);
    let path = format!("/notifications/channels/{channel}");
    // All day but the minute that ended an hour ago: quiet, whenever the test runs.
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let to = (&now - jiff::SignedDuration::from_mins(60)).strftime("%H:%M").to_string();
    let from = (&now - jiff::SignedDuration::from_mins(59)).strftime("%H:%M").to_string();
    let quiet = json!({"quietHours": {"from": from, "to": to, "timezone": "UTC"}});
    host.change("PATCH", &path, &quiet, 200);
    let club = Club::over(&host, sim, "Federation");
    club.fails(&host);
    club.succeeds(&host);
    let held = until(&host, "both events in one digest", || {
        deliveries(&host).into_iter().find(|row| row["eventCount"] == 2)
    });
    assert_eq!(held["state"], "collecting", "{held:#}");
    assert!(sink.got().is_empty(), "{:#?}", sink.got());
    let test = host.call("POST", &format!("{path}/test"), &json!({}), 200);
    assert_eq!(test["ok"], true, "the test button is not held back: {test:#}");
    host.change("PATCH", &path, &json!({"quietHours": null}), 200);
    let got = sink.wait_for(&host, 2);
    assert_eq!(data(&got[1])["count"], 2, "{got:#?}");
    assert_eq!(settled(&host).len(), 2);
}

#[test]
fn a_stop_in_order_lets_what_is_on_its_way_arrive() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::receiver(&python), Club::sim());
    let mut host = Host::with_config(&[sim.host_port(), sink.host_port()], QUICK);
    webhook(&host, &sink);
    let club = Club::over(&host, sim, "Federation");
    sink.mode(&json!({"delay": 1}).to_string());
    club.fails(&host);
    sink.wait_for(&host, 1);
    signal(host.process_id(), "TERM");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    host.restart();
    assert_eq!(settled(&host)[0]["state"], "sent");
    assert_eq!(sink.got().len(), 1, "it was not sent again");
}

/// Everything that a run and its connector may have to tell, each raised by what happens and told once.
#[test]
fn what_happens_to_a_connection_is_told_kind_by_kind() {
    let Some(python) = python() else { return };
    let (sink, sim) = (Sink::receiver(&python), federation(Options::members(40)));
    let config =
        format!("{QUICK}[health]\nfaultsMax = 1\nprobeSecondsMin = 1\nprobeSecondsMax = 1\n");
    let host = Host::with_config(&[sim.host_port(), sink.host_port()], &config);
    webhook(&host, &sink);
    host.create_organization(ORG);
    let connector = host.create_connector(&sim.base_url(), json!({}));
    let connection = host.connect(ORG, &connector, CLUB, json!({"strategy": "manual"}));
    let sync = |status: &str| {
        let run = host.sync(ORG, &connector, json!({}));
        assert_eq!(run["status"], status, "{run:#}");
        text(&run, "syncId")
    };
    sync("completed");
    let record = host.records(ORG).swap_remove(0);
    let external = text(&record["externalIds"], &connection);
    host.edit(ORG, &text(&record, "id"), json!({"email": "here@example.ie"}));
    sim.patch_member(&external, json!({"email": "there@example.ie"}));
    let conflict = sync("completed");
    sim.fault(Rule::any(Fault::status(500)));
    let failed = sync("failed");
    sim.clear_faults();
    let path = format!("/connectors/{connector}");
    host.until(&path, "to be well again", |connector| connector["status"] == "active");
    let recovered = sync("completed");
    for number in 10..30 {
        sim.delete_member(&syncline_tests::foireann::generate::member_id(number));
    }
    let held = sync("held");
    let got = sink.wait_for(&host, 6);
    settled(&host);
    assert!(got.iter().all(|kept| kept["verified"] == true), "{got:#?}");
    let told: BTreeMap<String, Value> = got
        .iter()
        .map(|kept| {
            let data = data(kept);
            assert_eq!(data["count"], 1, "{data:#}");
            (text(&data["events"][0], "kind"), data["events"][0].clone())
        })
        .collect();
    let expected = [
        ("connectorDisabled", None),
        ("connectorRecovered", None),
        ("firstHeldConflict", Some(conflict)),
        ("recovered", Some(recovered)),
        ("runFailed", Some(failed)),
        ("runHeld", Some(held)),
    ];
    assert_eq!((told.len(), sink.got().len()), (6, 6), "{told:#?}");
    for (kind, run) in expected {
        let event = &told[kind];
        assert_eq!(event["runId"], json!(run), "{event:#}");
        assert_eq!(event["connectorId"], connector.as_str(), "{event:#}");
    }
    assert!(
        text(&told["runHeld"]["facts"], "reason").contains("tooManyDeactivations"),
        "{told:#?}"
    );
}

#[test]
fn a_refused_key_is_told_of_once_until_something_changes() {
    let sim = Club::sim();
    let host = Host::with_config(&[sim.host_port()], QUICK);
    let url = format!("{}/nowhere", sim.base_url());
    let channel = |kind: &str| {
        let config = json!({"url": url, "secret": SIGNING_SECRET});
        create(&host, &json!({"name": kind, "kind": "webhook", "events": [kind], "config": config}))
    };
    let (dead, failed) = (channel("credentialsDead"), channel("runFailed"));
    let told = |channel: &str| -> u64 {
        let rows = deliveries(&host);
        let of_channel = rows.iter().filter(|row| row["channelId"] == channel);
        of_channel.filter_map(|row| row["eventCount"].as_u64()).sum()
    };
    let club = Club::over(&host, sim, "Federation");
    let refused = || {
        club.sim.clear_faults();
        club.sim.fault(Rule::any(Fault::status(401)));
        let run = host.sync(ORG, &club.connector, json!({}));
        assert_eq!(run["errors"][0]["code"], "remote.auth", "{run:#}");
    };
    refused();
    refused();
    club.succeeds(&host);
    refused();
    refused();
    let path = format!("/connectors/{}/credentials", club.connector);
    host.change("PUT", &path, &json!({"apiKey": "another key"}), 200);
    refused();
    // Both kinds leave the outbox in the order in which they came.
    until(&host, "five failed runs", || (told(&failed) >= 5).then_some(()));
    assert_eq!((told(&failed), told(&dead)), (5, 3), "{:#?}", deliveries(&host));
}
