//! Webhooks as their senders see them, and what they come to.

mod companies;
mod disk;
mod dispatch;
mod intake;
mod kept;
mod log;
mod peers;
mod slow;
mod storm;
mod vectors;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline::signature::{self, shipped};
use syncline_tests::foireann::{Options, Sim};
use syncline_tests::http::{Answer, Connection, Request};

use crate::fixture::{API_KEY, CLUB, Host, ORG, Setup, checked, federation, members, text};

const SECRET: &str = "test_secret_01";
const STANDARD: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY";
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// No test but those of the rates meets them.
const FAST: &str = "
[webhook]
verifiedPerMinuteMax = 1000000
unverifiedPerMinuteMax = 1000000
";

/// A connected club whose connector takes deliveries.
struct Hooks {
    setup: Setup,
    scheme: &'static str,
    secret: &'static str,
}

/// A club of members `1..=count`, with more configuration, as TOML tables.
#[track_caller]
fn hooks(scheme: &'static str, secret: &'static str, count: u32, config: &str) -> Hooks {
    let sim = federation(Options::members(0));
    sim.set_members(CLUB, &members(count));
    over(sim, scheme, secret, config)
}

#[track_caller]
fn over(sim: Sim, scheme: &'static str, secret: &'static str, config: &str) -> Hooks {
    let host = Host::with_config(&[sim.host_port()], config);
    host.create_organization(ORG);
    let connector = host.create_connector(
        &sim.base_url(),
        json!({
            "config": {"requestsPerMinute": 1_000_000, "webhookScheme": scheme},
            "credentials": {"apiKey": API_KEY, "webhookSecret": secret},
        }),
    );
    let connection = host.connect(ORG, &connector, CLUB, json!({}));
    Hooks { setup: Setup { host, sim, connector, connection }, scheme, secret }
}

/// What to send.
#[derive(Clone)]
struct Delivery {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Hooks {
    fn host(&self) -> &Host {
        &self.setup.host
    }

    fn path(&self) -> String {
        format!("/webhooks/{}", self.setup.connector)
    }

    /// A delivery as its sender would sign it now.
    #[track_caller]
    fn signed(&self, body: &Value) -> Delivery {
        self.signed_with(self.secret, body, &unique(), now_millis())
    }

    #[track_caller]
    fn signed_with(&self, secret: &str, body: &Value, id: &str, at: i64) -> Delivery {
        let verifier = shipped(self.scheme).expect("a scheme");
        let body = body.to_string();
        let signed = signature::sign(&verifier, secret, id, at, body.as_bytes());
        let signed = signed.expect("it can be signed");
        Delivery { path: self.path(), headers: signed.headers, body: signed.body }
    }

    /// What the club sends of a member.
    fn event(&self, kind: &str, member: &str) -> Value {
        json!({
            "connectorId": self.setup.connector,
            "federationOrgId": CLUB,
            "memberId": member,
            "event": kind,
        })
    }

    /// Sends an event that must be accepted; its id.
    #[track_caller]
    fn tell(&self, kind: &str, member: &str) -> String {
        let answer = self.send(&self.signed(&self.event(kind, member)));
        let answer = checked("POST", "a delivery", &answer, 200);
        assert_eq!(answer["status"], "accepted", "{answer}");
        text(&answer, "deliveryId")
    }

    #[track_caller]
    fn send(&self, delivery: &Delivery) -> Answer {
        let mut connection = Connection::open(self.host().address()).expect("a connection");
        send_on(&mut connection, delivery)
            .unwrap_or_else(|cause| panic!("{}: {cause}\n{}", delivery.path, self.host().log()))
    }

    /// The row of a delivery when it has been processed.
    #[track_caller]
    fn processed(&self, id: &str) -> Value {
        let path = format!("/webhooks/deliveries/{id}");
        self.host().until(&path, "to be processed", |row| row["status"] == "ended")
    }

    /// The row, and the runs that it asked for, as they ended.
    #[track_caller]
    fn followed(&self, id: &str) -> (Value, Vec<Value>) {
        let row = self.processed(id);
        let runs = row["runs"].as_array().expect("runs").clone();
        let runs = runs.iter().map(|run| self.host().ended(&text(run, "syncId"))).collect();
        (row, runs)
    }

    #[track_caller]
    fn deliveries(&self, filter: &str) -> Vec<Value> {
        self.host().list(&format!("/webhooks/deliveries{filter}"))
    }

    /// Waits until the log has so many rows of a filter.
    #[track_caller]
    fn logged(&self, filter: &str, count: usize) -> Vec<Value> {
        let begin = Instant::now();
        loop {
            let rows = self.deliveries(filter);
            if rows.len() >= count {
                assert_eq!(rows.len(), count, "{rows:#?}");
                return rows;
            }
            assert!(begin.elapsed() < DEADLINE, "{} rows of {filter}: {rows:#?}", rows.len());
            thread::sleep(POLL);
        }
    }

    #[track_caller]
    fn set_credentials(&self, credentials: Value) {
        let path = format!("/connectors/{}/credentials", self.setup.connector);
        self.host().change("PUT", &path, &credentials, 200);
    }
}

fn send_on(connection: &mut Connection, delivery: &Delivery) -> std::io::Result<Answer> {
    let headers: Vec<(&str, &str)> =
        delivery.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    connection.send(&Request {
        method: "POST",
        target: &delivery.path,
        headers: &headers,
        body: &delivery.body,
    })
}

fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// An id that no other delivery has.
fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("msg_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What an answer says, whoever asked.
fn essence(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| name != "date");
    headers.sort();
    (answer.status, headers, answer.body.clone())
}
