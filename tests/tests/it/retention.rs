//! What goes when it is old enough, on a server whose clock the test sets: nothing waits for a day to pass.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline::app::{self, StartOptions};
use syncline::clock::Clock;
use syncline::config::{Config, Egress, Server};
use syncline_tests::foireann::Options;
use syncline_tests::http::{Answer, Connection, Request};
use syncline_tests::sse::Stream;

use crate::fixture::{API_KEY, CLUB, ORG, federation, text};

const DEADLINE: Duration = Duration::from_secs(60);
const BEGIN: &str = "2026-01-01T12:00:00Z";

fn days(days: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_hours(24 * days)
}

/// A caller of a server in this process.
#[derive(Clone)]
struct Client {
    address: SocketAddr,
    token: String,
}

impl Client {
    fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let target = format!("/api/v1{path}");
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("Authorization", bearer.as_str()), ("If-Match", "*")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let request = Request { method, target: &target, headers: &headers, body: body.as_bytes() };
        let answer = Connection::open(self.address).and_then(|mut open| open.send(&request));
        answer.unwrap_or_else(|cause| panic!("{method} {target}: {cause}"))
    }

    fn call(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.send(method, path, body);
        let shown = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{method} {path}: {shown}");
        serde_json::from_str(&shown).unwrap_or_default()
    }

    fn status(&self, path: &str) -> u16 {
        self.send("GET", path, &Value::Null).status
    }

    fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null, 200)
    }

    fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
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

    fn sync(&self, connector: &str) -> Value {
        let body = json!({"organizationId": ORG, "connectorId": connector, "mode": "full"});
        let asked = self.call("POST", "/sync/member", &body, 202);
        let path = format!("/sync/status/{}", text(&asked, "syncId"));
        let run =
            self.until(&path, |run| !matches!(run["status"].as_str(), Some("queued" | "running")));
        assert_eq!(run["status"], "completed", "{run:#}");
        run
    }
}

#[test]
fn what_is_old_enough_goes_and_says_so() {
    let sim = federation(Options::members(12));
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let data = directory.path().join("data");
    let mut config = Config {
        server: Server { listen: ([127, 0, 0, 1], 0).into(), ..Server::default() },
        egress: Egress { allow_private: vec![sim.host_port()], ..Egress::default() },
        ..Config::default()
    };
    // The token of the test outlives the years that the clock jumps over.
    config.retention.runs_days = 400;
    config.retention.history_days = 300;
    let clock = Clock::fixed(BEGIN.parse().expect("an instant"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (running, client) = runtime.block_on(async {
        let made = app::init(&config, &data, None).await.expect("a data directory");
        let options = StartOptions { clock: clock.clone(), ..StartOptions::default() };
        let running = app::start(config, &data, options).await.expect("a server");
        let client = Client { address: running.local_addr(), token: made.token };
        (running, client)
    });
    let organization = json!({"id": ORG, "name": "Club", "timezone": "Europe/Dublin"});
    client.call("POST", "/organizations", &organization, 201);
    let connector = json!({
        "name": "Federation", "federationCode": "gaa_foireann", "plugin": "gaa-foireann",
        "authType": "apiKey", "endpoints": {"baseUrl": sim.base_url()},
        "config": {"requestsPerMinute": 1_000_000}, "credentials": {"apiKey": API_KEY},
    });
    let connector = text(&client.call("POST", "/connectors", &connector, 201), "id");
    let link = json!({"connectorId": connector, "federationOrgId": CLUB});
    client.call("POST", &format!("/organizations/{ORG}/connections"), &link, 201);

    let first = client.sync(&connector);
    let record =
        client.get(&format!("/organizations/{ORG}/records?entity=member&limit=1"))["items"][0]
            .clone();
    let record_path = format!("/organizations/{ORG}/records/{}", text(&record, "id"));
    client.call("PATCH", &record_path, &json!({"fields": {"phone": "085 1"}}), 200);
    clock.set(clock.now() + days(60));
    let second = client.sync(&connector);
    let run_path = |run: &Value| format!("/sync/status/{}", text(run, "syncId"));
    assert_eq!(
        client.get(&run_path(&first))["detailsGoneAt"],
        Value::Null,
        "60 days are not enough"
    );
    assert!(
        !client.get(&format!("{}/requests", run_path(&first)))["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let changes = format!("/organizations/{ORG}/changes");
    assert_eq!(client.get(&changes)["items"].as_array().unwrap().len(), 13);

    // Day 95: details and feed of the first day go, those of day 60 stay.
    clock.set(clock.now() + days(35));
    let aged = client.until(&run_path(&first), |run| !run["detailsGoneAt"].is_null());
    assert_eq!(aged["counts"]["created"], 12, "the run stays: {aged:#}");
    for list in ["requests", "logs", "records"] {
        let gone = client.call("GET", &format!("{}/{list}", run_path(&first)), &Value::Null, 410);
        assert_eq!(gone["code"], "run.details-gone", "{list}");
    }
    assert_eq!(client.get(&format!("{}/conflicts", run_path(&first)))["items"], json!([]));
    let undo = client.call("POST", &format!("{}/undo", run_path(&first)), &json!({}), 410);
    assert_eq!(undo["code"], "run.details-gone");
    assert!(
        !client.get(&format!("{}/requests", run_path(&second)))["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let begun = Instant::now();
    let gone = loop {
        let target = format!("/api/v1{changes}?after=0");
        let stream = Stream::open(client.address, &target, &client.token, None).expect("an answer");
        if stream.status != 200 {
            break stream.status;
        }
        assert!(begun.elapsed() < DEADLINE, "the feed does not age");
    };
    assert_eq!(gone, 410, "a stream from too long ago");
    let gone = client.call("GET", &format!("{changes}?after=5"), &Value::Null, 410);
    assert_eq!(gone["code"], "changes.gone");
    assert!(text(&gone, "detail").contains("after=latest"), "{gone:#}");
    let anew = client.get(&format!("{changes}?after=latest"));
    assert_eq!(anew["nextAfter"], 13, "{anew:#}");
    assert_eq!(client.get(&format!("{changes}?after=13"))["items"], json!([]), "and how to go on");

    // The timeline keeps its entry a while longer; then the value is still known, and that its reason is not.
    let history = |wanted: usize| {
        client.until(&format!("{record_path}/history"), |list| {
            list["items"].as_array().is_some_and(|items| items.len() == wanted)
        })
    };
    history(2);
    let why = client.get(&format!("{record_path}/why?field=phone"))["fields"][0].clone();
    assert_eq!(why["way"], "edit", "{why:#}");
    clock.set(clock.now() + days(210));
    history(1);
    let why = client.get(&format!("{record_path}/why?field=phone"))["fields"][0].clone();
    assert_eq!((&why["way"], &why["value"]), (&json!("unknown"), &json!("085 1")), "{why:#}");
    assert!(text(&why, "explanation").contains("kept no longer"), "{why:#}");

    // Day 405: the first run goes as a whole, and what it created says so.
    clock.set(clock.now() + days(100));
    let begun = Instant::now();
    while client.status(&run_path(&first)) != 404 {
        assert!(begun.elapsed() < DEADLINE, "the run does not go");
        std::thread::sleep(Duration::from_millis(10));
    }
    let why = client.get(&format!("{record_path}/why?field=email"))["fields"][0].clone();
    assert_eq!((&why["way"], &why["runKept"]), (&json!("created"), &json!(false)), "{why:#}");
    runtime.block_on(running.shutdown());
}
