//! [`Sim`]: starting, steering and ending a `foireann-sim` process from a test.
//!
//! All calls block for a round trip on loopback, so they can be made from plain and from async
//! tests alike: the simulator is another process and cannot wait for the test's runtime. A call
//! that fails panics with what went wrong, at the caller's line, since a test cannot go on.

#![allow(clippy::panic, reason = "test support: a broken stand-in must stop the test")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fault::Shuffle;
use super::members_csv::CsvStyle;
use super::rule::Rule;
use super::server::Auth;
use crate::http;

/// How to start a simulator. The default: one club `club-1` of 250 members, seed 1, no credentials.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// In front of all arguments, where the simulator is a subcommand of another program.
    subcommand: Option<String>,
    arguments: Vec<String>,
}

impl Options {
    /// So many members in each club.
    pub fn members(members: u64) -> Options {
        Options::default().with("--members", &members.to_string())
    }

    /// Several clubs; the member numbers go on from one to the next.
    pub fn clubs(self, clubs: &[&str]) -> Options {
        self.with("--clubs", &clubs.join(","))
    }

    /// Wants this in `X-API-Key`.
    pub fn api_key(self, key: &str) -> Options {
        self.with("--api-key", key)
    }

    /// Wants HTTP Basic.
    pub fn basic(self, username: &str, password: &str) -> Options {
        self.with("--basic", &format!("{username}:{password}"))
    }

    /// Wants a bearer token.
    pub fn bearer(self, token: &str) -> Options {
        self.with("--bearer", token)
    }

    pub fn seed(self, seed: u64) -> Options {
        self.with("--seed", &seed.to_string())
    }

    /// A larger `limit` is cut to this (1,000 unless told).
    pub fn page_size_max(self, rows: u64) -> Options {
        self.with("--page-size-max", &rows.to_string())
    }

    /// A path in front of the API, such as `/v2`.
    pub fn base_path(self, path: &str) -> Options {
        self.with("--base-path", path)
    }

    /// For a program that has the simulator as a subcommand.
    pub fn subcommand(mut self, name: &str) -> Options {
        self.subcommand = Some(name.to_owned());
        self
    }

    fn with(mut self, name: &str, value: &str) -> Options {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }
}

/// A request that the API (not the control surface) has seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenRequest {
    /// 1 for the first one of the process.
    pub seq: u64,
    /// RFC 3339.
    pub at: String,
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    pub page: Option<u64>,
    pub club: Option<String>,
    pub member_id: Option<String>,
    /// Which credentials came along, right or wrong: `apiKey`, `basic`, `bearer`.
    pub auth: Vec<String>,
    /// Whether they were the right ones.
    pub authorized: bool,
    /// Names in lower case; the values of credentials are replaced by `present`.
    pub headers: Vec<(String, String)>,
}

/// A running simulator; dropping it ends the process.
pub struct Sim {
    child: Child,
    address: SocketAddr,
    base_path: String,
}

impl Sim {
    /// Starts the binary and waits until it listens.
    ///
    /// `binary` is `env!("CARGO_BIN_EXE_foireann-sim")` in an integration test of this package.
    #[track_caller]
    pub fn spawn(binary: impl AsRef<Path>, options: Options) -> Sim {
        match Sim::try_spawn(binary.as_ref(), &options) {
            Ok(sim) => sim,
            Err(cause) => panic!("{}: {cause:#}", binary.as_ref().display()),
        }
    }

    /// [`Sim::spawn`] for callers that are no tests.
    pub fn try_spawn(binary: &Path, options: &Options) -> anyhow::Result<Sim> {
        use anyhow::Context as _;
        #[derive(Deserialize)]
        struct Ready {
            listen: SocketAddr,
        }
        let mut child = Command::new(binary)
            .args(&options.subcommand)
            .args(["--listen", "127.0.0.1:0", "--end-with-stdin"])
            .args(&options.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(
                "the simulator does not start; build it with `cargo build -p syncline-tests`",
            )?;
        let output = child.stdout.take().context("the simulator has no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let ready: Ready = serde_json::from_str(&line)
            .with_context(|| format!("the simulator's first line is {line:?}"))?;
        let base_path =
            options.arguments.iter().skip_while(|name| *name != "--base-path").nth(1).cloned();
        Ok(Sim { child, address: ready.listen, base_path: base_path.unwrap_or_default() })
    }

    /// `127.0.0.1:PORT`, as `egress.allowPrivate` wants it.
    pub fn host_port(&self) -> String {
        self.address.to_string()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For a connector's `endpoints.baseUrl`.
    pub fn base_url(&self) -> String {
        format!("http://{}{}", self.address, self.base_path)
    }

    /// The process, to read its memory from `/proc`.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Replaces a club's members by any JSON values; the club need not exist yet.
    #[track_caller]
    pub fn set_members(&self, club: &str, members: &[Value]) {
        self.control("PUT", &format!("/clubs/{club}/members"), &json!(members));
    }

    /// [`Sim::set_members`] with JSON texts, for what a [`Value`] cannot hold: lone surrogates,
    /// numbers of any length, repeated keys.
    #[track_caller]
    pub fn set_members_text(&self, club: &str, members: &[&str]) {
        let body = format!("[{}]", members.join(","));
        self.control_text("PUT", &format!("/clubs/{club}/members"), body);
    }

    /// Adds members at the end of the list.
    #[track_caller]
    pub fn add_members(&self, club: &str, members: &[Value]) {
        self.control("POST", &format!("/clubs/{club}/members"), &json!(members));
    }

    /// Replaces a club by generated members with numbers from `first` on; with the same `first`
    /// two clubs have the same ids.
    #[track_caller]
    pub fn generate(&self, club: &str, members: u64, first: u64) {
        let body = json!({"members": members, "first": first});
        self.control("POST", &format!("/clubs/{club}/generate"), &body);
    }

    /// The members of a club as they are now, in list order.
    #[track_caller]
    pub fn members(&self, club: &str) -> Vec<Value> {
        self.control_read(&format!("/clubs/{club}/members"))
    }

    /// Sets fields of a member, in every club that has it; `null` is stored as `null`.
    #[track_caller]
    pub fn patch_member(&self, id: &str, fields: Value) {
        self.control("PATCH", &format!("/members/{}", escaped(id)), &json!({"set": fields}));
    }

    /// Sets fields of a member of one club, where others have the same id.
    #[track_caller]
    pub fn patch_member_of(&self, club: &str, id: &str, fields: Value) {
        let path = format!("/members/{}?club={}", escaped(id), escaped(club));
        self.control("PATCH", &path, &json!({"set": fields}));
    }

    /// Makes fields of a member absent.
    #[track_caller]
    pub fn remove_fields(&self, id: &str, fields: &[&str]) {
        self.control("PATCH", &format!("/members/{}", escaped(id)), &json!({"remove": fields}));
    }

    /// Takes a member off every list that has it.
    #[track_caller]
    pub fn delete_member(&self, id: &str) {
        self.control("DELETE", &format!("/members/{}", escaped(id)), &Value::Null);
    }

    /// Gives one text field a new value in every `every`-th row of a club.
    #[track_caller]
    pub fn touch(&self, club: &str, every: usize, field: &str, value: &str) {
        let body = json!({"every": every, "field": field, "value": value});
        self.control("POST", &format!("/clubs/{club}/touch"), &body);
    }

    /// Moves rows now (a [`super::Fault::Shuffle`] does it between two pages).
    #[track_caller]
    pub fn shuffle(&self, club: &str, shuffle: Shuffle) {
        self.control("POST", &format!("/clubs/{club}/shuffle"), &json!(shuffle));
    }

    /// Adds a rule; of the rules that match a request, the oldest with a turn left fires.
    #[track_caller]
    pub fn fault(&self, rule: Rule) {
        self.control("POST", "/faults", &json!(rule));
    }

    /// Drops all rules.
    #[track_caller]
    pub fn clear_faults(&self) {
        self.control("DELETE", "/faults", &Value::Null);
    }

    /// How often the rules have fired, in the order in which they were added.
    #[track_caller]
    pub fn faults_fired(&self) -> Vec<u64> {
        let rules: Vec<Value> = self.control_read("/faults");
        rules.iter().map(|rule| rule["fired"].as_u64().unwrap_or(0)).collect()
    }

    /// What the API was asked, oldest first (the last 100,000).
    #[track_caller]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.control_read("/requests")
    }

    /// The pages of listings that were asked for, in order, repeats included.
    #[track_caller]
    pub fn list_pages_seen(&self) -> Vec<u64> {
        self.requests().iter().filter_map(|request| request.page).collect()
    }

    #[track_caller]
    pub fn forget_requests(&self) {
        self.control("DELETE", "/requests", &Value::Null);
    }

    /// Wants other credentials from now on.
    #[track_caller]
    pub fn set_auth(&self, auth: Auth) {
        self.control("PATCH", "/settings", &json!({"auth": auth}));
    }

    /// Changes how `members.csv` looks.
    #[track_caller]
    pub fn set_csv(&self, style: &CsvStyle) {
        self.control("PATCH", "/settings", &json!({"csv": style}));
    }

    /// Puts the clock of the `Date` header off.
    #[track_caller]
    pub fn set_clock_skew(&self, seconds: i64) {
        self.control("PATCH", "/settings", &json!({"clockSkewS": seconds}));
    }

    /// Back to how the process was started: members, rules, settings, requests.
    #[track_caller]
    pub fn reset(&self) {
        self.control("POST", "/reset", &Value::Null);
    }

    /// Any request to the control surface (see [`super::control`]).
    #[track_caller]
    pub fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.control_text(method, path, body)
    }

    #[track_caller]
    fn control_read<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let answer = self.control("GET", path, &Value::Null);
        match serde_json::from_value(answer) {
            Ok(value) => value,
            Err(cause) => panic!("GET /_control{path}: {cause}"),
        }
    }

    #[track_caller]
    fn control_text(&self, method: &str, path: &str, body: String) -> Value {
        let target = format!("/_control{path}");
        let request =
            http::Request { method, target: &target, headers: &[], body: body.as_bytes() };
        let answer = http::Connection::open(self.address)
            .and_then(|mut connection| connection.send(&request))
            .unwrap_or_else(|cause| panic!("{method} {target}: {cause}"));
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 200, "{method} {target}: {} {text}", answer.status);
        serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{method} {target}: {cause}"))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // It also ends by itself when its standard input closes; the kill is for one that hangs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One path segment, with what could end it percent-coded.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
