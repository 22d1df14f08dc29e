//! (b) Syncline itself, as a user has it: the binary, its configuration file, its HTTP API.
//!
//! Owns starting and ending `syncline serve` and one full sync over the API. It knows nothing of
//! how the host works inside; its memory is read from `/proc`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{Measure, PAGE_ROWS, Source, memory};
use crate::http::{Connection, Request};

const ORGANIZATION: &str = "bench";
const POLL: Duration = Duration::from_millis(10);
/// What the host allows a run.
const RUN_MAX: Duration = Duration::from_secs(30 * 60);
/// Given to a server that is ready, before its idle memory is read.
const SETTLE: Duration = Duration::from_millis(500);

/// A running server with one connection to the federation.
pub struct Server {
    child: Child,
    address: SocketAddr,
    token: String,
    connector: String,
    /// From starting the process to its ready line, with a warm compile cache.
    pub ready_ms: f64,
    pub idle_memory_kb: u64,
}

impl Server {
    /// Makes a data directory, starts the server twice (the first start fills the compile cache),
    /// and connects an organization to the federation.
    pub fn set_up(binary: &Path, directory: &Path, source: &Source) -> anyhow::Result<Server> {
        Server::set_up_with(binary, directory, source, "")
    }

    /// The same with more configuration, as TOML tables.
    pub fn set_up_with(
        binary: &Path,
        directory: &Path,
        source: &Source,
        more: &str,
    ) -> anyhow::Result<Server> {
        let data = directory.join("data");
        let config = directory.join("syncline.toml");
        fs::write(&config, format!("[egress]\nallowPrivate = [\"{}\"]\n{more}", source.address))?;
        let token = init(binary, &data)?;
        stop(start(binary, &data, &config)?.0)?;
        let started = Instant::now();
        let (child, address) = start(binary, &data, &config)?;
        let ready_ms = started.elapsed().as_secs_f64() * 1000.0;
        let connector = String::new();
        let mut server = Server { child, address, token, connector, ready_ms, idle_memory_kb: 0 };
        thread::sleep(SETTLE);
        server.idle_memory_kb = memory::resident_kb(server.child.id())?;
        server.connect(source)?;
        Ok(server)
    }

    fn connect(&mut self, source: &Source) -> anyhow::Result<()> {
        let mut api = Api::open(self)?;
        let organization = json!({
            "id": ORGANIZATION,
            "name": "Benchmark",
            "timezone": "Europe/Dublin",
            "defaultRegion": "IE",
        });
        api.call("POST", "/organizations", &organization)?;
        let connector = json!({
            "name": "Foireann",
            "federationCode": "gaa_foireann",
            "plugin": "gaa-foireann",
            "authType": "apiKey",
            "endpoints": {"baseUrl": source.base_url()},
            "config": {"pageSize": PAGE_ROWS, "requestsPerMinute": 1_000_000},
            "credentials": {"apiKey": source.api_key},
            "syncConfig": {"enabled": true, "conflictStrategy": "federation_wins"},
        });
        self.connector = text(&api.call("POST", "/connectors", &connector)?, "id")?;
        let connection = json!({
            "connectorId": self.connector,
            "federationOrgId": source.club,
            "entities": {"member": {"direction": "pull"}},
        });
        api.call("POST", &format!("/organizations/{ORGANIZATION}/connections"), &connection)?;
        Ok(())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connector(&self) -> &str {
        &self.connector
    }

    pub fn set_webhook_secret(&self, source: &Source, secret: &str) -> anyhow::Result<()> {
        let mut api = Api::open(self)?;
        let connector = format!("/connectors/{}", self.connector);
        let credentials = json!({"apiKey": source.api_key, "webhookSecret": secret});
        api.call("PUT", &format!("{connector}/credentials"), &credentials)?;
        let mut config = api.call("GET", &connector, &Value::Null)?["config"].clone();
        config["webhookScheme"] = json!("standard");
        api.call("PATCH", &connector, &json!({ "config": config }))?;
        Ok(())
    }

    /// Whether the connection takes deliveries.
    pub fn switch_webhooks(&self, on: bool) -> anyhow::Result<()> {
        let mut api = Api::open(self)?;
        let path = format!("/organizations/{ORGANIZATION}/connections");
        let list = api.call("GET", &path, &Value::Null)?;
        let id = text(&list["items"][0], "id")?;
        api.call("PATCH", &format!("{path}/{id}"), &json!({ "webhooksEnabled": on }))?;
        Ok(())
    }

    /// One full sync; answers when its commit began.
    pub fn synced(&self) -> anyhow::Result<jiff::Timestamp> {
        let detail = self.ended_sync()?;
        let at = text(&detail, "completedAt")?;
        at.parse().with_context(|| format!("the run ended at {at:?}"))
    }

    /// One full sync, from the request to the end of its run.
    pub fn sync(&self) -> anyhow::Result<Measure> {
        memory::reset_peak(self.child.id())?;
        let started = Instant::now();
        let detail = self.ended_sync()?;
        let wall = started.elapsed().as_secs_f64();
        let count = |name: &str| detail["counts"][name].as_u64().unwrap_or(0);
        Ok(Measure {
            // From the request to the answer that shows the end: the queue and the last fsync are in it.
            seconds: wall,
            peak_memory_kb: memory::peak_kb(self.child.id())?,
            fetched: count("fetched"),
            created: count("created"),
            updated: count("updated"),
            unchanged: count("unchanged"),
        })
    }

    fn ended_sync(&self) -> anyhow::Result<Value> {
        let mut api = Api::open(self)?;
        let request = json!({
            "organizationId": ORGANIZATION,
            "connectorId": self.connector,
            "mode": "full",
        });
        let started = Instant::now();
        let run = text(&api.call("POST", "/sync/member", &request)?, "syncId")?;
        let path = format!("/sync/status/{run}");
        let detail = loop {
            let detail = api.call("GET", &path, &Value::Null)?;
            let status = detail["status"].as_str().unwrap_or_default();
            if !["queued", "running"].contains(&status) {
                break detail;
            }
            if started.elapsed() > RUN_MAX {
                bail!("the run is still {status} after {RUN_MAX:?}");
            }
            thread::sleep(POLL);
        };
        if detail["status"] != "completed" {
            bail!("the run ended {}: {}", detail["status"], detail["errors"]);
        }
        Ok(detail)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn init(binary: &Path, data: &Path) -> anyhow::Result<String> {
    let output = Command::new(binary)
        .args(["init", "--json", "--data-dir"])
        .arg(data)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} does not start", binary.display()))?;
    if !output.status.success() {
        bail!("syncline init ended with {}", output.status);
    }
    let answer: Value = serde_json::from_slice(&output.stdout).context("syncline init --json")?;
    text(&answer, "token")
}

/// The process and the address of its ready line.
pub(super) fn start(
    binary: &Path,
    data: &Path,
    config: &Path,
) -> anyhow::Result<(Child, SocketAddr)> {
    let mut child = Command::new(binary)
        .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    match ready_address(&mut child) {
        Ok(address) => Ok((child, address)),
        Err(cause) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(cause)
        }
    }
}

fn ready_address(child: &mut Child) -> anyhow::Result<SocketAddr> {
    let output = child.stdout.take().context("the server has no standard output")?;
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line)?;
    // Whoever stops reading would stop a server that goes on writing.
    thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let ready: Value = serde_json::from_str(&line)
        .with_context(|| format!("the server's first line is {line:?}"))?;
    let url = text(&ready, "listen")?;
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    address.parse().with_context(|| format!("the server listens on {url:?}"))
}

/// Asks a server to end and waits for it.
pub(super) fn stop(mut child: Child) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    if !status.success() {
        let _ = child.kill();
    }
    child.wait()?;
    Ok(())
}

/// The HTTP API over one connection.
pub(super) struct Api {
    connection: Connection,
    authorization: String,
}

impl Api {
    fn open(server: &Server) -> anyhow::Result<Api> {
        Api::at(server.address, &server.token)
    }

    pub(super) fn at(address: SocketAddr, token: &str) -> anyhow::Result<Api> {
        let connection = Connection::open(address)?;
        Ok(Api { connection, authorization: format!("Bearer {token}") })
    }

    pub(super) fn call(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let target = format!("/api/v1{path}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [
            ("Authorization", self.authorization.as_str()),
            ("Content-Type", "application/json"),
            ("If-Match", "*"),
        ];
        let request = Request { method, target: &target, headers: &headers, body: body.as_bytes() };
        let answer =
            self.connection.send(&request).with_context(|| format!("{method} {target}"))?;
        let text = String::from_utf8_lossy(&answer.body);
        if !(200..300).contains(&answer.status) {
            bail!("{method} {target} answers {}: {text}", answer.status);
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {target}: {text:?}"))
    }
}

pub(super) fn text(answer: &Value, name: &str) -> anyhow::Result<String> {
    let value = answer[name].as_str().with_context(|| format!("no {name:?} in {answer}"))?;
    Ok(value.to_owned())
}

/// The host binary beside this one, built now so that it is never an old one.
pub fn build() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own.parent().context("this program has no directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "syncline", "--bin", "syncline"]);
    if directory.ends_with("release") {
        command.arg("--release");
    }
    let status = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::null())
        .status()
        .context("cargo does not start; give the host binary with --syncline")?;
    if !status.success() {
        bail!("the host does not build; give a binary with --syncline");
    }
    Ok(directory.join("syncline"))
}
