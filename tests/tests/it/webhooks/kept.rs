//! How long deliveries are kept and remembered, on a server whose clock the test sets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use syncline::app::{self, Running, StartOptions};
use syncline::clock::Clock;
use syncline::config::Config;
use syncline::signature::{self, shipped};
use syncline_tests::foireann::{Options, Sim};
use syncline_tests::http::{Answer, Connection, Request};
use tempfile::TempDir;

use super::{Delivery, STANDARD, send_on};
use crate::fixture::{API_KEY, CLUB, ORG, checked, federation, members, text};

const DEADLINE: Duration = Duration::from_secs(60);
const KEPT_DAYS: u64 = 3;

struct Clocked {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    address: SocketAddr,
    clock: Clock,
    token: String,
    connector: String,
    _directory: TempDir,
    sim: Sim,
}

impl Clocked {
    #[track_caller]
    fn start() -> Clocked {
        let sim = federation(Options::members(0));
        sim.set_members(CLUB, &members(1));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let directory = TempDir::new().expect("a temporary directory");
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse().expect("an address");
        config.egress.allow_private = vec![sim.host_port()];
        config.retention.webhook_days = KEPT_DAYS;
        let data = directory.path().join("data");
        let token = runtime.block_on(app::init(&config, &data, None)).expect("init").token;
        let clock = Clock::fixed("2026-03-01T02:00:00Z".parse().expect("a time"));
        let options = StartOptions { clock: clock.clone(), ..StartOptions::default() };
        let running = runtime.block_on(app::start(config, &data, options)).expect("a server");
        let mut clocked = Clocked {
            runtime,
            address: running.local_addr(),
            running: Some(running),
            clock,
            token,
            connector: String::new(),
            _directory: directory,
            sim,
        };
        let organization = json!({"id": ORG, "name": ORG, "timezone": "Europe/Dublin"});
        clocked.call("POST", "/organizations", &organization, 201);
        let connector = json!({
            "name": "Federation", "federationCode": "gaa_foireann", "plugin": "gaa-foireann",
            "authType": "apiKey", "endpoints": {"baseUrl": clocked.sim.base_url()},
            "config": {"webhookScheme": "standard"}, "syncConfig": {"enabled": false},
            "credentials": {"apiKey": API_KEY, "webhookSecret": STANDARD},
        });
        clocked.connector = text(&clocked.call("POST", "/connectors", &connector, 201), "id");
        let link = json!({"connectorId": clocked.connector, "federationOrgId": CLUB});
        clocked.call("POST", &format!("/organizations/{ORG}/connections"), &link, 201);
        clocked
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let (target, bearer) = (format!("/api/v1{path}"), format!("Bearer {}", self.token));
        let mut headers = vec![("Authorization", bearer.as_str())];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let request = Request { method, target: &target, headers: &headers, body: body.as_bytes() };
        let answer = Connection::open(self.address).and_then(|mut open| open.send(&request));
        answer.unwrap_or_else(|cause| panic!("{method} {target}: {cause}"))
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        checked(method, path, &self.send(method, path, body), status)
    }

    /// A delivery under this id, signed now.
    #[track_caller]
    fn tell(&self, id: &str) -> Value {
        let now = self.clock.now().as_millisecond();
        let body = json!({"federationOrgId": CLUB, "memberId": "M-1", "event": "updated"});
        let verifier = shipped("standard").expect("a scheme");
        let signed = signature::sign(&verifier, STANDARD, id, now, body.to_string().as_bytes());
        let signed = signed.expect("it can be signed");
        let path = format!("/webhooks/{}", self.connector);
        let delivery = Delivery { path, headers: signed.headers, body: signed.body };
        let mut connection = Connection::open(self.address).expect("a connection");
        checked("POST", id, &send_on(&mut connection, &delivery).expect("an answer"), 200)
    }

    fn forward(&self, days: i64) {
        let at: Timestamp = self.clock.now() + SignedDuration::from_hours(24 * days);
        self.clock.set(at);
    }

    /// Waits until the answer to a request has this status.
    #[track_caller]
    fn until(&self, path: &str, status: u16, wanted: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            let answer = self.send("GET", path, &Value::Null);
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if answer.status == status && wanted(&body) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{path}: {} {body:#}", answer.status);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shutdown());
        }
    }
}

#[test]
fn deliveries_go_by_age_and_their_ids_are_remembered_for_longer() {
    let clocked = Clocked::start();
    let path = |row: &Value| format!("/webhooks/deliveries/{}", text(row, "deliveryId"));
    let first = clocked.tell("first");
    clocked.until(&path(&first), 200, |row| row["status"] == "ended");
    let again = clocked.tell("first");
    assert_eq!(
        (&again["status"], &again["deliveryId"]),
        (&json!("duplicate"), &first["deliveryId"])
    );
    clocked.forward(2);
    let second = clocked.tell("second");
    clocked.until(&path(&second), 200, |row| row["status"] == "ended");
    clocked.forward(2);
    // Four and two days old.
    clocked.until(&path(&first), 404, |_| true);
    clocked.call("GET", &path(&second), &Value::Null, 200);
    // Its row is gone; that it came is not forgotten before thirty days are over.
    clocked.forward(25);
    assert_eq!(clocked.tell("first")["status"], "duplicate", "after 29 days");
    clocked.forward(2);
    assert_eq!(clocked.tell("first")["status"], "accepted", "after 31 days");
}
