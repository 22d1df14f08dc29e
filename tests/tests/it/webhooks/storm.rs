//! More than there should be: of good deliveries, and of such that a connector's component cannot bear.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline::signature;
use syncline_tests::http::Connection;

use super::{Delivery, FAST, STANDARD, hooks, now_millis, send_on, unique};
use crate::access::world::json_of;
use crate::fixture::{API_KEY, checked, text};

const SENDERS: usize = 8;
/// Ten times what the limit lets through.
const STORM: usize = 1_000;
const LIMIT: usize = 100;

#[test]
fn of_a_storm_so_many_are_taken_as_allowed_and_others_are_not_slowed_down() {
    let hooks = Arc::new(hooks("standard", STANDARD, 10, ""));
    hooks.setup.synced();
    let other = hooks.host().create_connector(
        &hooks.setup.sim.base_url(),
        json!({
            "name": "Other", "config": {"webhookScheme": "standard"},
            "credentials": {"apiKey": API_KEY, "webhookSecret": STANDARD},
        }),
    );
    hooks.setup.sim.forget_requests();
    let begun = Instant::now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let hooks = Arc::clone(&hooks);
            thread::spawn(move || {
                let mut connection = Connection::open(hooks.host().address()).expect("open");
                let (mut taken, mut slowest) = (0, Duration::ZERO);
                for number in 0..STORM / SENDERS {
                    let member = format!("M-{}", 1 + (sender + number) % 10);
                    let delivery = hooks.signed(&hooks.event("updated", &member));
                    let at = Instant::now();
                    let answer = send_on(&mut connection, &delivery).expect("an answer");
                    match answer.status {
                        200 => {
                            taken += 1;
                            slowest = slowest.max(at.elapsed());
                        }
                        429 => {
                            let wait = answer.header("retry-after").and_then(|s| s.parse().ok());
                            assert!(wait.is_some_and(|wait: u64| (1..=61).contains(&wait)));
                        }
                        status => panic!("answered {status}"),
                    }
                }
                (taken, slowest)
            })
        })
        .collect();
    let mut strayed = hooks.signed(&hooks.event("updated", "M-1"));
    strayed.path = format!("/webhooks/{other}");
    checked("POST", "another connector's", &hooks.send(&strayed), 200);
    let results: Vec<(usize, Duration)> =
        senders.into_iter().map(|sender| sender.join().expect("sends")).collect();
    assert!(begun.elapsed() < Duration::from_secs(55), "too slow to tell anything");
    let taken: usize = results.iter().map(|(taken, _)| taken).sum();
    assert_eq!(taken, LIMIT);
    let slowest = results.iter().map(|(_, slowest)| *slowest).max().expect("senders");
    assert!(slowest < Duration::from_secs(3), "the slowest answer took {slowest:?}");
    // The log has all that was taken, and of the others a few that tell of the rest.
    let accepted = format!("?verdict=accepted&connector={}", hooks.setup.connector);
    let rows = hooks.logged(&accepted, LIMIT);
    assert_eq!(hooks.deliveries("?verdict=rateLimited").len(), 20);
    let reception = format!("/connectors/{}/webhooks", hooks.setup.connector);
    assert_eq!(hooks.host().get(&reception)["refused"]["rateLimited"], STORM - LIMIT);
    // However many there were, they are few runs.
    let (mut runs, mut fetched) = (std::collections::BTreeSet::new(), 0);
    for row in &rows {
        let row = hooks.processed(&text(row, "id"));
        runs.insert(text(&row["runs"][0], "syncId"));
    }
    for run in &runs {
        let run = hooks.host().ended(run);
        assert_eq!(run["status"], "completed", "{run:#}");
        fetched += run["counts"]["fetched"].as_u64().expect("a count");
    }
    assert!(fetched <= 10 * runs.len() as u64, "{fetched} records in {} runs", runs.len());
    assert!(runs.len() <= LIMIT / 2, "{} runs", runs.len());
}

/// A component computes for ever over each delivery of its connector. Others' deliveries do not wait for it.
#[test]
fn a_component_that_wastes_time_does_not_hold_up_other_connectors() {
    const POISON: usize = 40;
    let hooks = hooks("standard", STANDARD, 1, FAST);
    let host = hooks.host();
    let installed = json_of(&crate::plugins::upload(host, crate::hostile::connector()));
    host.call("POST", "/plugins/hostile/approve", &json!({"sha256": installed["sha256"]}), 200);
    let body = json!({
        "name": "Hostile", "federationCode": "x", "plugin": "hostile", "authType": "none",
        "endpoints": {"baseUrl": hooks.setup.sim.base_url()},
        "credentials": {"webhookSecret": STANDARD},
    });
    let hostile = text(&host.call("POST", "/connectors", &body, 201), "id");
    host.create_organization("hostile");
    host.connect("hostile", &hostile, "x", json!({}));
    let poison = || {
        let verifier = signature::shipped("standard").expect("a scheme");
        let signed = signature::sign(&verifier, STANDARD, &unique(), now_millis(), b"spin");
        let signed = signed.expect("it can be signed");
        let path = format!("/webhooks/{hostile}");
        let delivery = Delivery { path, headers: signed.headers, body: signed.body };
        text(&checked("POST", "poison", &hooks.send(&delivery), 200), "deliveryId")
    };
    let poison: Vec<String> = (0..POISON).map(|_| poison()).collect();
    let begun = Instant::now();
    let id = hooks.tell("updated", "M-1");
    assert_eq!(hooks.processed(&id)["verdict"], "accepted");
    // Each of the others computes for a second.
    assert!(begun.elapsed() < Duration::from_secs(POISON as u64 / 2), "{:?}", begun.elapsed());
    let rows: Vec<Value> =
        poison.iter().map(|id| host.get(&format!("/webhooks/deliveries/{id}"))).collect();
    let put_off = rows.iter().filter(|row| row["error"]["code"] == "webhook.put-off");
    assert!(put_off.clone().count() > POISON / 2, "{rows:#?}");
    assert!(put_off.clone().all(|row| row["status"] == "waiting"), "{rows:#?}");
    assert!(rows.iter().any(|row| row["error"]["code"] == "plugin.cpu"), "{rows:#?}");
}
