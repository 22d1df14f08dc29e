//! A server whose clock the test sets, with one organization that is connected to a federation.
//!
//! It runs inside the test's process, as the binary would start it; its clock stands still until it is set.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::{Value, json};
use syncline::app::{self, Running, StartOptions};
use syncline::clock::Clock;
use syncline::config::Config;
use syncline_tests::foireann::Sim;
use syncline_tests::http::{Answer, Connection, Request};
use tempfile::TempDir;

use crate::fixture::{API_KEY, CLUB, ORG, checked, text};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Clocked {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) token: String,
    /// The connector's id.
    pub(crate) connector: String,
    directory: TempDir,
}

impl Clocked {
    /// On the first of March 2026, at two in the morning. The members of `more` replace those of the usual connector,
    /// which has no nights of its own: tests move the clock over many.
    #[track_caller]
    pub(crate) fn start(sim: &Sim, settings: impl FnOnce(&mut Config), more: Value) -> Clocked {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let directory = TempDir::new().expect("a temporary directory");
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse().expect("an address");
        config.egress.allow_private = vec![sim.host_port()];
        settings(&mut config);
        let data = directory.path().join("data");
        let token = runtime.block_on(app::init(&config, &data, None)).expect("init").token;
        let clock = Clock::fixed("2026-03-01T02:00:00Z".parse().expect("a time"));
        let options = StartOptions { clock: clock.clone(), ..StartOptions::default() };
        let running = runtime.block_on(app::start(config, &data, options)).expect("a server");
        let address = running.local_addr();
        let (running, connector) = (Some(running), String::new());
        let mut clocked = Clocked { runtime, running, address, clock, token, connector, directory };
        clocked.prepare(sim, more);
        clocked
    }

    fn prepare(&mut self, sim: &Sim, more: Value) {
        let organization = json!({
            "id": ORG, "name": ORG, "timezone": "Europe/Dublin", "defaultRegion": "IE",
        });
        self.call("POST", "/organizations", &organization, 201);
        let mut connector = json!({
            "name": "Federation",
            "federationCode": "gaa_foireann",
            "plugin": "gaa-foireann",
            "authType": "apiKey",
            "endpoints": {"baseUrl": sim.base_url()},
            "config": {"requestsPerMinute": 1_000_000},
            "credentials": {"apiKey": API_KEY},
            "syncConfig": {"enabled": false},
        });
        let Value::Object(more) = more else { panic!("an object: {more}") };
        connector.as_object_mut().expect("an object").extend(more);
        self.connector = text(&self.call("POST", "/connectors", &connector, 201), "id");
        let connection = json!({"connectorId": self.connector, "federationOrgId": CLUB});
        self.call("POST", &format!("/organizations/{ORG}/connections"), &connection, 201);
    }

    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let (target, bearer) = (format!("/api/v1{path}"), format!("Bearer {}", self.token));
        let mut headers = vec![("Authorization", bearer.as_str()), ("If-Match", "*")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let request = Request { method, target: &target, headers: &headers, body: body.as_bytes() };
        let answer = Connection::open(self.address).and_then(|mut open| open.send(&request));
        answer.unwrap_or_else(|cause| panic!("{method} {target}: {cause}"))
    }

    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        checked(method, path, &self.send(method, path, body), status)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null, 200)
    }

    /// Asks for a sync of the members; answers the id of its run.
    #[track_caller]
    pub(crate) fn ask(&self, more: Value) -> String {
        let mut body = json!({"organizationId": ORG, "connectorId": self.connector});
        let Value::Object(more) = more else { panic!("an object: {more}") };
        body.as_object_mut().expect("an object").extend(more);
        text(&self.call("POST", "/sync/member", &body, 202), "syncId")
    }

    /// Waits until the row at a path is as wanted.
    #[track_caller]
    pub(crate) fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let row = self.get(path);
            if wanted(&row) {
                return row;
            }
            assert!(begun.elapsed() < DEADLINE, "{path}: {row:#}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until there is no row at a path any more.
    #[track_caller]
    pub(crate) fn until_gone(&self, path: &str) {
        let begun = Instant::now();
        while self.send("GET", path, &Value::Null).status != 404 {
            assert!(begun.elapsed() < DEADLINE, "{path} does not go");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until nothing happens any more at the time that the clock shows.
    #[track_caller]
    pub(crate) fn rest(&self) {
        assert!(self.clock.is_settled_within(DEADLINE), "the server does not come to rest");
    }

    pub(crate) fn forward(&self, by: SignedDuration) {
        self.clock.set(self.clock.now() + by);
    }

    /// Ends the server in order; answers its data directory, which goes with the rig.
    pub(crate) fn stop(&mut self) -> PathBuf {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shutdown());
        }
        self.directory.path().join("data")
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}
