//! A host process on a data directory of its own, and the calls that tests make to it.
//!
//! [`Host`] owns the process and speaks HTTP; [`Setup`] is the common case: one organization,
//! connected by `gaa-foireann` to one club of one simulator. Every helper panics at the caller's
//! line and shows the answer, since a test cannot go on.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::foireann::{Options, Sim};
use syncline_tests::http::{Answer, Connection, Request};
use tempfile::TempDir;

use crate::described;

const BINARY: &str = env!("CARGO_BIN_EXE_syncline-under-test");
/// How often something that takes time is asked for.
const POLL: Duration = Duration::from_millis(10);
/// How long a test waits for anything.
const DEADLINE: Duration = Duration::from_secs(60);
/// What a list answers at most.
const PAGE_ROWS: usize = 200;
/// How much of an unwanted answer is shown.
const SHOWN_CHARS_MAX: usize = 2_000;

/// The program in an environment without settings, whatever the shell that runs the tests has set.
pub(crate) fn syncline() -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYNCLINE_") {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) const ORG: &str = "club";
pub(crate) const CLUB: &str = "club-1";
pub(crate) const API_KEY: &str = "key-of-the-tests";

/// A running host.
pub(crate) struct Host {
    directory: TempDir,
    process: Option<(Child, SocketAddr)>,
    pub(crate) token: String,
}

impl Host {
    /// Starts a host that may talk to these `host:port` addresses.
    #[track_caller]
    pub(crate) fn start(allowed: &[String]) -> Host {
        Host::with_config(allowed, "")
    }

    /// [`Host::start`] with more configuration, as TOML tables.
    #[track_caller]
    pub(crate) fn with_config(allowed: &[String], more: &str) -> Host {
        let directory = TempDir::new().expect("a temporary directory");
        let config = format!("[egress]\nallowPrivate = {}\n{more}", json!(allowed));
        fs::write(directory.path().join("syncline.toml"), config).expect("the configuration");
        let mut host = Host { directory, process: None, token: String::new() };
        let output = syncline()
            .args(["init", "--json", "--data-dir"])
            .arg(host.data_dir())
            .output()
            .expect("init starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "init: {} {errors}", output.status);
        let made: Value = serde_json::from_slice(&output.stdout).expect("init --json is JSON");
        host.token = made["token"].as_str().expect("a token").to_owned();
        host.restart();
        host
    }

    /// Serves another data directory from now on, which somebody else made.
    #[track_caller]
    pub(crate) fn adopt(&mut self, made: &Path, token: &str) {
        self.kill();
        fs::remove_dir_all(self.data_dir()).expect("the data directory goes");
        fs::rename(made, self.data_dir()).expect("the other one comes");
        token.clone_into(&mut self.token);
        self.restart();
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The process, to send it signals.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the host runs").0.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.as_ref().expect("the host runs").1
    }

    /// Ends the process as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until the process, which was asked to stop, has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let (mut child, _) = self.process.take().expect("the host runs");
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("the host's status") {
                return status;
            }
            if begin.elapsed() > DEADLINE {
                let _ = child.kill();
                panic!("the host did not stop in {DEADLINE:?}\n{}", self.log());
            }
            thread::sleep(POLL);
        }
    }

    /// Starts the host again on the same data directory; ends it first where it still runs.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// [`Host::restart`] with more flags of `serve`.
    #[track_caller]
    pub(crate) fn restart_with(&mut self, flags: &[&str]) {
        self.start_again(flags, &[]);
    }

    /// [`Host::restart`] with variables in the environment.
    #[track_caller]
    pub(crate) fn restart_in(&mut self, environment: &[(&str, &str)]) {
        self.start_again(&[], environment);
    }

    #[track_caller]
    fn start_again(&mut self, flags: &[&str], environment: &[(&str, &str)]) {
        self.kill();
        let log = self.directory.path().join("host.log");
        let log = fs::File::options().create(true).append(true).open(log);
        let mut child = syncline()
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.data_dir())
            .arg("--config")
            .arg(self.directory.path().join("syncline.toml"))
            .args(flags)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("serve starts");
        let mut output = BufReader::new(child.stdout.take().expect("standard output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a ready line");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the host is not ready: {line:?}\n{}", self.log())
        });
        let address = ready["listen"].as_str().unwrap_or_default();
        let address = address.trim_start_matches("http://").parse();
        self.process = Some((child, address.expect("an address")));
    }

    /// What the host has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("host.log")).unwrap_or_default()
    }

    /// Any request below `/api/v1`.
    #[track_caller]
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(extra);
        self.raw(method, path, &headers, body.as_bytes())
    }

    /// The same with a body that need not be JSON. The answer must be one that the API's description knows.
    #[track_caller]
    pub(crate) fn raw(
        &self,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let target = format!("/api/v1{path}");
        let authorization = format!("Bearer {}", self.token);
        let mut headers: Vec<(&str, &str)> = Vec::new();
        if !extra.iter().any(|(name, _)| *name == "Authorization") {
            headers.push(("Authorization", &authorization));
        }
        headers.extend(extra);
        let request = Request { method, target: &target, headers: &headers, body };
        let answer = Connection::open(self.address())
            .and_then(|mut connection| connection.send(&request))
            .unwrap_or_else(|cause| panic!("{method} {target}: {cause}\n{}", self.log()));
        described::check(method, &target, body, &answer);
        answer
    }

    /// A request whose answer may never come, because the host ends over it.
    pub(crate) fn send_and_forget(&self, method: &str, path: &str) {
        let target = format!("/api/v1{path}");
        let authorization = format!("Bearer {}", self.token);
        let headers = [("Authorization", authorization.as_str())];
        let request = Request { method, target: &target, headers: &headers, body: b"" };
        if let Ok(mut connection) = Connection::open(self.address()) {
            let _ = connection.send(&request);
        }
    }

    /// A request that must be answered with this status.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        checked(method, path, &self.send(method, path, &[], body), status)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null, 200)
    }

    /// A request with `If-Match: *`.
    #[track_caller]
    pub(crate) fn change(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.send(method, path, &[("If-Match", "*")], body);
        checked(method, path, &answer, status)
    }

    /// All items of a list, page by page.
    #[track_caller]
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let joint = if path.contains('?') { '&' } else { '?' };
        let first = format!("{path}{joint}limit={PAGE_ROWS}");
        let mut next = first.clone();
        loop {
            let mut page = self.get(&next);
            items.append(page["items"].as_array_mut().expect("items"));
            match page["nextCursor"].as_str() {
                Some(cursor) => next = format!("{first}&cursor={cursor}"),
                None => return items,
            }
        }
    }

    #[track_caller]
    pub(crate) fn create_organization(&self, id: &str) {
        let body = json!({
            "id": id, "name": id, "timezone": "Europe/Dublin", "defaultRegion": "IE",
        });
        self.call("POST", "/organizations", &body, 201);
    }

    /// Creates a connector for the simulator and returns its id; `more` replaces or adds members. Its runs fail at once
    /// for good: a test about retries says so by its own `syncConfig`.
    #[track_caller]
    pub(crate) fn create_connector(&self, base_url: &str, more: Value) -> String {
        let body = json!({
            "name": "Federation",
            "federationCode": "gaa_foireann",
            "plugin": "gaa-foireann",
            "authType": "apiKey",
            "endpoints": {"baseUrl": base_url},
            "config": {"requestsPerMinute": 1_000_000},
            "credentials": {"apiKey": API_KEY},
            // No night of a test machine starts a run of its own.
            "syncConfig": {"enabled": false, "maxRetries": 0},
        });
        let created = self.call("POST", "/connectors", &merged(body, more), 201);
        text(&created, "id")
    }

    /// Connects an organization and returns the connection's id; `more` replaces or adds members.
    #[track_caller]
    pub(crate) fn connect(&self, org: &str, connector: &str, club: &str, more: Value) -> String {
        let body = json!({"connectorId": connector, "federationOrgId": club});
        let path = format!("/organizations/{org}/connections");
        text(&self.call("POST", &path, &merged(body, more), 201), "id")
    }

    /// Asks for a sync of all members and answers what the API answered; `more` as above.
    #[track_caller]
    pub(crate) fn ask(&self, org: &str, connector: &str, more: Value) -> Value {
        let body = json!({"organizationId": org, "connectorId": connector, "mode": "full"});
        self.call("POST", "/sync/member", &merged(body, more), 202)
    }

    /// [`Host::ask`], then the run as it ended.
    #[track_caller]
    pub(crate) fn sync(&self, org: &str, connector: &str, more: Value) -> Value {
        self.ended(&text(&self.ask(org, connector, more), "syncId"))
    }

    #[track_caller]
    pub(crate) fn run(&self, id: &str) -> Value {
        self.get(&format!("/sync/status/{id}"))
    }

    /// Waits for the end of a run; a held run has ended.
    #[track_caller]
    pub(crate) fn ended(&self, id: &str) -> Value {
        let is_over = |run: &Value| run["status"] != "queued" && run["status"] != "running";
        self.run_when(id, "to end", is_over)
    }

    /// Asks for a row until it is as wanted.
    #[track_caller]
    pub(crate) fn until(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let row = self.get(path);
            if wanted(&row) {
                return row;
            }
            if begin.elapsed() > DEADLINE {
                panic!("waited {DEADLINE:?} for {path} {what}: {row:#}\n{}", self.log());
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until a run is as wanted.
    #[track_caller]
    pub(crate) fn run_when(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let run = self.run(id);
            if wanted(&run) {
                return run;
            }
            if begin.elapsed() > DEADLINE {
                panic!("waited {DEADLINE:?} for run {id} {what}: {run:#}\n{}", self.log());
            }
            thread::sleep(POLL);
        }
    }

    /// The members of an organization, oldest first.
    #[track_caller]
    pub(crate) fn records(&self, org: &str) -> Vec<Value> {
        self.list(&format!("/organizations/{org}/records?entity=member"))
    }

    /// A local edit by a person; answers the record.
    #[track_caller]
    pub(crate) fn edit(&self, org: &str, record: &str, fields: Value) -> Value {
        let path = format!("/organizations/{org}/records/{record}");
        self.change("PATCH", &path, &json!({"fields": fields}), 200)
    }

    /// The rows of the change feed after one.
    #[track_caller]
    pub(crate) fn changes(&self, org: &str, after: u64) -> Vec<Value> {
        self.list(&format!("/organizations/{org}/changes?after={after}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A JSON answer that must have this status.
#[track_caller]
pub(crate) fn checked(method: &str, path: &str, answer: &Answer, status: u16) -> Value {
    let body = String::from_utf8_lossy(&answer.body);
    assert!(
        answer.status == status,
        "{method} {path} answers {}, not {status}: {}",
        answer.status,
        body.chars().take(SHOWN_CHARS_MAX).collect::<String>()
    );
    if answer.body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|cause| panic!("{method} {path}: {cause}: {body}"))
}

/// A member of an answer that must be a text.
#[track_caller]
pub(crate) fn text(answer: &Value, name: &str) -> String {
    match answer[name].as_str() {
        Some(text) => text.to_owned(),
        None => panic!("no {name:?} in {answer:#}"),
    }
}

/// The members of `more` laid over those of `base`.
fn merged(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

/// A simulator that wants the key of the tests.
#[track_caller]
pub(crate) fn federation(options: Options) -> Sim {
    Sim::spawn(env!("CARGO_BIN_EXE_foireann-sim"), options.api_key(API_KEY))
}

/// Member `number` as the federation lists it, in a form that tests can reason about; the fields
/// of `more` are laid over it.
pub(crate) fn member(number: u32, more: Value) -> Value {
    let base = json!({
        "memberId": format!("M-{number}"),
        "firstName": "Aoife",
        "lastName": format!("Member{number}"),
        "dateOfBirth": format!("1990-01-{:02}", 1 + number % 28),
        "email": format!("member{number}@example.ie"),
        "phone": format!("087 555 {number:04}"),
        "address": format!("{number} Main Street, Ennis"),
        "membershipNumber": format!("100-{number:05}-001"),
        "membershipStatus": "Active",
        "joinDate": "2015-03-01",
    });
    merged(base, more)
}

/// Members `1..=count`.
pub(crate) fn members(count: u32) -> Vec<Value> {
    (1..=count).map(|number| member(number, json!({}))).collect()
}

/// One organization, connected to one club of one simulator.
pub(crate) struct Setup {
    pub(crate) host: Host,
    pub(crate) sim: Sim,
    pub(crate) connector: String,
    pub(crate) connection: String,
}

impl Setup {
    /// A club of these members.
    #[track_caller]
    pub(crate) fn new(members: &[Value]) -> Setup {
        Setup::with(members, json!({}), json!({}))
    }

    /// A club of generated members.
    #[track_caller]
    pub(crate) fn generated(members: u64) -> Setup {
        Setup::over(federation(Options::members(members)), json!({}), json!({}))
    }

    /// A club of these members, with more in the bodies of the connector and of the connection.
    #[track_caller]
    pub(crate) fn with(members: &[Value], connector: Value, connection: Value) -> Setup {
        let sim = federation(Options::members(0));
        sim.set_members(CLUB, members);
        Setup::over(sim, connector, connection)
    }

    /// The same over a simulator that is there already.
    #[track_caller]
    pub(crate) fn over(sim: Sim, connector: Value, connection: Value) -> Setup {
        let host = Host::start(&[sim.host_port()]);
        host.create_organization(ORG);
        let connector = host.create_connector(&sim.base_url(), connector);
        let connection = host.connect(ORG, &connector, CLUB, connection);
        Setup { host, sim, connector, connection }
    }

    /// A full sync; the run as it ended.
    #[track_caller]
    pub(crate) fn sync(&self) -> Value {
        self.sync_with(json!({}))
    }

    /// A full sync that must complete.
    #[track_caller]
    pub(crate) fn synced(&self) -> Value {
        let run = self.sync();
        assert_eq!(run["status"], "completed", "{run:#}\n{}", self.host.log());
        run
    }

    #[track_caller]
    pub(crate) fn sync_with(&self, more: Value) -> Value {
        self.host.sync(ORG, &self.connector, more)
    }

    #[track_caller]
    pub(crate) fn records(&self) -> Vec<Value> {
        self.host.records(ORG)
    }

    /// The record that this connection links to an external id, if any.
    #[track_caller]
    pub(crate) fn find(&self, external_id: &str) -> Option<Value> {
        let linked = |record: &Value| record["externalIds"][&self.connection] == external_id;
        self.records().into_iter().find(linked)
    }

    #[track_caller]
    pub(crate) fn record(&self, external_id: &str) -> Value {
        match self.find(external_id) {
            Some(record) => record,
            None => panic!("no record of {external_id} in {:#?}", self.records()),
        }
    }

    /// A field of a record; null where it has none.
    #[track_caller]
    pub(crate) fn field(&self, external_id: &str, field: &str) -> Value {
        self.record(external_id)["fields"][field].clone()
    }

    /// A local edit by a person; answers the record.
    #[track_caller]
    pub(crate) fn edit(&self, external_id: &str, fields: Value) -> Value {
        let record = text(&self.record(external_id), "id");
        self.host.edit(ORG, &record, fields)
    }

    /// The conflict lines of a run.
    #[track_caller]
    pub(crate) fn conflicts_of(&self, run: &Value) -> Vec<Value> {
        self.host.list(&format!("/sync/status/{}/conflicts", text(run, "syncId")))
    }

    /// The open items of the conflict inbox.
    #[track_caller]
    pub(crate) fn inbox(&self) -> Vec<Value> {
        self.host.list("/conflicts")
    }

    /// The open items of the quarantine.
    #[track_caller]
    pub(crate) fn failures(&self) -> Vec<Value> {
        self.host.list("/sync/failures")
    }

    /// The number of the last row of the change feed.
    #[track_caller]
    pub(crate) fn last_change(&self) -> u64 {
        let last = self.host.changes(ORG, 0).pop();
        last.map_or(0, |row| row["seq"].as_u64().expect("a seq"))
    }
}

/// Asserts some of a run's counts, as `{"created": 3, ...}`.
#[track_caller]
pub(crate) fn assert_counts(run: &Value, wanted: Value) {
    for (name, count) in wanted.as_object().expect("an object of counts") {
        assert_eq!(&run["counts"][name], count, "counts.{name} of {run:#}");
    }
}
