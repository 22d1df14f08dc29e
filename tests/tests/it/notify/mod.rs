//! Notifications as their receivers see them: mail servers and webhook receivers that are other people's programs, and
//! the log of the host.

mod api;
mod delivery;
mod mail;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Options, Rule, Sim};
use syncline_tests::peers::{self, Peer};
use tempfile::TempDir;

use crate::fixture::{CLUB, Host, ORG, federation, text};

const DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
/// 24 bytes in base64.
const SIGNING_SECRET: &str = "whsec_Y2FuYXJ5LXNpZ25pbmcta2V5LTAwMDEyMzQ1";
/// Retries within a test's patience, and windows that end within it. The address in links outlives a restart.
const QUICK: &str = "
[server]
publicUrl = \"http://sync.test\"
[limits]
requestAttemptsMax = 1
[notify]
digestSeconds = 2
retrySecondsMin = 1
retrySecondsMax = 2
sendSecondsMax = 3
";

fn peers_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// None where the machine has no Python: the test says so and passes.
pub(crate) fn python() -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    peers::python(place, &peers_folder().join("requirements.txt"))
}

/// A receiver that keeps what it gets, and may be stopped and started again on its port.
pub(crate) struct Sink {
    python: PathBuf,
    script: &'static str,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    directory: TempDir,
    port: u16,
    peer: Option<Peer>,
}

impl Sink {
    #[track_caller]
    fn new(python: &Path, script: &'static str) -> Sink {
        Sink {
            python: python.to_owned(),
            script,
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: TempDir::new().expect("a temporary directory"),
            port: 0,
            peer: None,
        }
    }

    /// A receiver of webhooks that verifies them.
    #[track_caller]
    pub(crate) fn receiver(python: &Path) -> Sink {
        let sink = Sink::new(python, "receiver.py");
        sink.with_variable("RECEIVER_SECRET", SIGNING_SECRET).started()
    }

    fn with_argument(mut self, name: &str, value: &str) -> Sink {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    fn with_variable(mut self, name: &'static str, value: &str) -> Sink {
        self.environment.push((name, value.to_owned()));
        self
    }

    #[track_caller]
    fn started(mut self) -> Sink {
        self.start();
        self
    }

    #[track_caller]
    fn start(&mut self) {
        let mut command = Command::new(&self.python);
        command.arg(peers_folder().join(self.script)).arg(self.directory.path());
        command.args(["--port", &self.port.to_string()]).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let peer = Peer::start(&mut command);
        self.port = peer.port();
        self.peer = Some(peer);
    }

    fn stop(&mut self) {
        self.peer = None;
    }

    /// How it answers from now on; see the script.
    fn mode(&self, mode: &str) {
        fs::write(self.directory.path().join("mode"), mode).expect("a mode");
    }

    fn take_all(&self) {
        let _ = fs::remove_file(self.directory.path().join("mode"));
    }

    pub(crate) fn host_port(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.host_port())
    }

    /// What it got, oldest first.
    fn got(&self) -> Vec<Value> {
        let entries = fs::read_dir(self.directory.path()).expect("a directory");
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: &PathBuf| fs::read_to_string(path).expect("a kept message");
        paths.iter().map(|path| serde_json::from_str(&read(path)).expect("JSON")).collect()
    }

    /// Waits until it has as many.
    #[track_caller]
    pub(crate) fn wait_for(&self, host: &Host, count: usize) -> Vec<Value> {
        until(host, "messages at the receiver", || {
            Some(self.got()).filter(|got| got.len() >= count)
        })
    }
}

#[track_caller]
fn until<T>(host: &Host, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        if begin.elapsed() > DEADLINE {
            panic!("waited {DEADLINE:?} for {what}: {:#?}\n{}", deliveries(host), host.log());
        }
        thread::sleep(POLL);
    }
}

/// The log of notices, newest first.
#[track_caller]
fn deliveries(host: &Host) -> Vec<Value> {
    host.list("/notifications/deliveries")
}

/// Waits until nothing is on its way.
#[track_caller]
pub(crate) fn settled(host: &Host) -> Vec<Value> {
    let over = |row: &Value| !matches!(row["state"].as_str(), Some("collecting" | "pending"));
    until(host, "an empty outbox", || {
        Some(deliveries(host)).filter(|rows| !rows.is_empty() && rows.iter().all(over))
    })
}

#[track_caller]
fn create(host: &Host, body: &Value) -> String {
    text(&host.call("POST", "/notifications/channels", body, 201), "id")
}

/// A webhook channel for everything.
#[track_caller]
pub(crate) fn webhook(host: &Host, sink: &Sink) -> String {
    let config = json!({"url": sink.url(), "secret": SIGNING_SECRET});
    create(host, &json!({"name": "hook", "kind": "webhook", "config": config}))
}

/// A club whose syncs fail until they are let.
struct Club {
    sim: Sim,
    connector: String,
}

impl Club {
    fn sim() -> Sim {
        federation(Options::members(3))
    }

    /// Connects the organization to the simulator.
    #[track_caller]
    fn over(host: &Host, sim: Sim, name: &str) -> Club {
        host.create_organization(ORG);
        let connector = host.create_connector(&sim.base_url(), json!({"name": name}));
        host.connect(ORG, &connector, CLUB, json!({}));
        Club { sim, connector }
    }

    /// One run that fails for good.
    #[track_caller]
    fn fails(&self, host: &Host) -> String {
        self.sim.clear_faults();
        self.sim.fault(Rule::any(Fault::status(500)));
        let run = host.sync(ORG, &self.connector, json!({}));
        assert_eq!(run["status"], "failed", "{run:#}");
        text(&run, "syncId")
    }

    #[track_caller]
    fn succeeds(&self, host: &Host) {
        self.sim.clear_faults();
        let run = host.sync(ORG, &self.connector, json!({}));
        assert_eq!(run["status"], "completed", "{run:#}");
    }
}

/// The data of a kept webhook.
#[track_caller]
pub(crate) fn data(kept: &Value) -> Value {
    let body: Value = serde_json::from_str(&text(kept, "body")).expect("a JSON body");
    body["data"].clone()
}

/// How many events each kept webhook that was taken tells of.
fn counts(got: &[Value]) -> Vec<u64> {
    let taken = got.iter().filter(|kept| kept["status"] == 200);
    taken.map(|kept| data(kept)["count"].as_u64().expect("a count")).collect()
}
