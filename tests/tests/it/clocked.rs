//! Runs by a clock that the test moves: the longest run, its retry and the age of dead jobs, none of them waited for.
//!
//! The server runs inside the test's process, as the binary would start it, with a clock that stands still until it is
//! set.

use std::time::{Duration, Instant};

use jiff::{Span, Timestamp, ToSpan as _};
use serde_json::{Value, json};
use syncline::app::{self, Running, StartOptions};
use syncline::clock::Clock;
use syncline::config::Config;
use syncline::store::{self, Store, staging};
use syncline_tests::foireann::{Fault, Options, Rule, Sim};
use syncline_tests::http::{Connection, Request};
use tempfile::TempDir;

use crate::fixture::{API_KEY, CLUB, ORG, checked, federation, text};
use crate::rig::{MEMBERS, PAGE_ROWS};

const DEADLINE: Duration = Duration::from_secs(60);

struct Clocked {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    clock: Clock,
    token: String,
    connector: String,
    directory: TempDir,
}

impl Clocked {
    /// A server with one organization that is connected to a club on pages of ten.
    #[track_caller]
    fn start(sim: &Sim, retries: u32) -> Clocked {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let directory = TempDir::new().expect("a temporary directory");
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse().expect("an address");
        config.egress.allow_private = vec![sim.host_port()];
        config.limits.request_attempts_max = 1;
        config.limits.request_timeout_seconds_max = 600;
        config.limits.stage_flush_records = 1;
        let data = directory.path().join("data");
        let token = runtime.block_on(app::init(&config, &data, None)).expect("init").token;
        let clock = Clock::fixed("2026-03-01T02:00:00Z".parse().expect("a time"));
        let options = StartOptions { clock: clock.clone(), ..StartOptions::default() };
        let running = runtime.block_on(app::start(config, &data, options)).expect("a server");
        let mut clocked = Clocked {
            runtime,
            running: Some(running),
            clock,
            token,
            connector: String::new(),
            directory,
        };
        clocked.prepare(sim, retries);
        clocked
    }

    fn prepare(&mut self, sim: &Sim, retries: u32) {
        let organization = json!({
            "id": ORG, "name": ORG, "timezone": "Europe/Dublin", "defaultRegion": "IE",
        });
        self.call("POST", "/organizations", &organization, 201);
        let connector = json!({
            "name": "Federation",
            "federationCode": "gaa_foireann",
            "plugin": "gaa-foireann",
            "authType": "apiKey",
            "endpoints": {"baseUrl": sim.base_url()},
            "config": {"pageSize": PAGE_ROWS, "requestsPerMinute": 1_000_000},
            "credentials": {"apiKey": API_KEY},
            // No nights of its own: the tests move the clock over many.
            "syncConfig": {"enabled": false, "maxRetries": retries},
        });
        self.connector = text(&self.call("POST", "/connectors", &connector, 201), "id");
        let connection = json!({"connectorId": self.connector, "federationOrgId": CLUB});
        self.call("POST", &format!("/organizations/{ORG}/connections"), &connection, 201);
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let target = format!("/api/v1{path}");
        let authorization = format!("Bearer {}", self.token);
        let headers =
            [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request { method, target: &target, headers: &headers, body: body.as_bytes() };
        let address = self.running.as_ref().expect("it runs").local_addr();
        let answer = Connection::open(address).and_then(|mut to| to.send(&request));
        checked(method, path, &answer.expect("an answer"), status)
    }

    #[track_caller]
    fn ask(&self, more: &[(&str, Value)]) -> String {
        let mut body = json!({"organizationId": ORG, "connectorId": self.connector});
        more.iter().for_each(|(name, value)| body[name] = value.clone());
        text(&self.call("POST", "/sync/member", &body, 202), "syncId")
    }

    #[track_caller]
    fn run_when(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let run = self.call("GET", &format!("/sync/status/{id}"), &Value::Null, 200);
            if wanted(&run) {
                return run;
            }
            assert!(begin.elapsed() < DEADLINE, "waited for {id} {what}: {run:#}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn dead(&self) -> usize {
        let path = format!("/organizations/{ORG}/queue?state=dead");
        let list = self.call("GET", &path, &Value::Null, 200);
        list["items"].as_array().expect("items").len()
    }

    /// Waits until nothing happens any more at the time that the clock shows.
    #[track_caller]
    fn rest(&self) {
        assert!(self.clock.is_settled_within(DEADLINE), "the server does not come to rest");
    }

    fn forward(&self, by: Span) {
        let now = self.clock.now().to_zoned(jiff::tz::TimeZone::UTC);
        self.clock.set(now.checked_add(by).expect("a time").timestamp());
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shutdown());
        }
    }
}

fn time(run: &Value, member: &str) -> Timestamp {
    text(run, member).parse().expect("a time")
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_goes_on_later() {
    let sim = federation(Options::members(MEMBERS));
    let server = Clocked::start(&sim, 3);
    sim.fault(Rule::page(6, Fault::Hang).once());
    let run = server.ask(&[]);
    let hangs = |run: &Value| run["progress"]["page"].as_u64() >= Some(5);
    server.run_when(&run, "to hang", hangs);
    server.forward(29.minutes());
    let goes_on = server.run_when(&run, "to be there", |_| true);
    assert_eq!(goes_on["status"], "running", "{goes_on:#}");
    server.forward(2.minutes());
    let waits = server.run_when(&run, "to be stopped", |run| run["status"] != "running");
    assert_eq!(waits["status"], "waiting", "{waits:#}");
    assert_eq!(waits["errors"][0]["code"], "run.timeout", "{waits:#}");
    assert_eq!(waits["retryCount"], 0, "it came further: {waits:#}");
    let wait = time(&waits, "nextRetryAt").duration_since(server.clock.now());
    assert!((120..=132).contains(&wait.as_secs()), "{waits:#}");
    // Another run of the connection goes past it meanwhile, and nothing but the clock wakes the one that waits.
    let dry = server.ask(&[("dryRun", json!(true))]);
    server.run_when(&dry, "to end", |run| run["status"] == "completed");
    let still = server.run_when(&run, "to be there", |_| true);
    assert_eq!((&still["status"], &still["attempt"]), (&json!("waiting"), &json!(1)), "{still:#}");
    sim.forget_requests();
    server.forward(3.minutes());
    let ended = server.run_when(&run, "to end", |run| run["status"] == "completed");
    assert_eq!((&ended["attempt"], &ended["counts"]["created"]), (&json!(2), &json!(MEMBERS)));
    assert_eq!(sim.list_pages_seen(), [6, 7, 8, 9, 10, 11], "it went on where it was");
}

/// What was staged is of no use to anybody: it does not wait for the daily look.
#[test]
fn a_cancelled_run_that_waited_leaves_no_pages() {
    let sim = federation(Options::members(MEMBERS));
    let mut server = Clocked::start(&sim, 3);
    sim.fault(Rule::page(4, Fault::status(503)));
    let run = server.ask(&[]);
    server.run_when(&run, "to wait", |run| run["status"] == "waiting");
    let other = server.ask(&[("dryRun", json!(true))]);
    server.run_when(&other, "to fail", |run| run["status"] == "failed");
    let cancelled = server.call("POST", &format!("/sync/status/{run}/cancel"), &json!({}), 202);
    assert_eq!(cancelled["status"], "cancelled", "{cancelled:#}");
    server.rest();
    let running = server.running.take().expect("it runs");
    server.runtime.block_on(running.shutdown());
    let data = server.directory.path().join("data");
    let store = Store::open(&data, &store::Options::default()).expect("a store");
    assert_eq!(staging::holders(&store).expect("a list"), []);
}

#[test]
fn dead_jobs_are_kept_for_their_time() {
    let sim = federation(Options::members(3));
    let server = Clocked::start(&sim, 0);
    sim.fault(Rule::page(1, Fault::status(503)));
    let run = server.ask(&[]);
    server.run_when(&run, "to fail", |run| run["status"] == "failed");
    assert_eq!(server.dead(), 1);
    for _ in 0..179 {
        server.forward(24.hours());
        server.rest();
    }
    assert_eq!(server.dead(), 1, "after 179 days");
    server.forward(48.hours());
    server.rest();
    assert_eq!(server.dead(), 0, "after 181 days");
}
