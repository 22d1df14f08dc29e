//! How long deliveries are kept and remembered, on a server whose clock the test sets.

use serde_json::{Value, json};
use syncline::signature::{self, shipped};
use syncline_tests::foireann::Options;
use syncline_tests::http::Connection;

use super::{Delivery, STANDARD, send_on};
use crate::clock_rig::{Clocked, days};
use crate::fixture::{API_KEY, CLUB, checked, federation, members, text};

const KEPT_DAYS: u64 = 3;

/// A delivery under this id, signed now.
#[track_caller]
fn tell(clocked: &Clocked, id: &str) -> Value {
    let now = clocked.clock.now().as_millisecond();
    let body = json!({"federationOrgId": CLUB, "memberId": "M-1", "event": "updated"});
    let verifier = shipped("standard").expect("a scheme");
    let signed = signature::sign(&verifier, STANDARD, id, now, body.to_string().as_bytes());
    let signed = signed.expect("it can be signed");
    let path = format!("/webhooks/{}", clocked.connector);
    let delivery = Delivery { path, headers: signed.headers, body: signed.body };
    let mut connection = Connection::open(clocked.address).expect("a connection");
    checked("POST", id, &send_on(&mut connection, &delivery).expect("an answer"), 200)
}

#[test]
fn deliveries_go_by_age_and_their_ids_are_remembered_for_longer() {
    let sim = federation(Options::members(0));
    sim.set_members(CLUB, &members(1));
    let more = json!({
        "config": {"webhookScheme": "standard"},
        "credentials": {"apiKey": API_KEY, "webhookSecret": STANDARD},
    });
    let clocked = Clocked::start(&sim, |config| config.retention.webhook_days = KEPT_DAYS, more);
    let path = |row: &Value| format!("/webhooks/deliveries/{}", text(row, "deliveryId"));
    let first = tell(&clocked, "first");
    clocked.until(&path(&first), |row| row["status"] == "ended");
    let again = tell(&clocked, "first");
    assert_eq!(
        (&again["status"], &again["deliveryId"]),
        (&json!("duplicate"), &first["deliveryId"])
    );
    clocked.forward(days(2));
    let second = tell(&clocked, "second");
    clocked.until(&path(&second), |row| row["status"] == "ended");
    clocked.forward(days(2));
    // Four and two days old.
    clocked.until_gone(&path(&first));
    clocked.get(&path(&second));
    // Its row is gone; that it came is not forgotten before thirty days are over.
    clocked.forward(days(25));
    assert_eq!(tell(&clocked, "first")["status"], "duplicate", "after 29 days");
    clocked.forward(days(2));
    assert_eq!(tell(&clocked, "first")["status"], "accepted", "after 31 days");
}
