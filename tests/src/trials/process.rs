//! The real binary as a process, from its start to its end by force or in order.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use syncline::crash_point::Bug;

use super::api::{Api, text};
use crate::http::{Connection, Request};

/// How long a start may take before it counts as one that hangs.
const START_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// Where the binary is, and what it works on.
#[derive(Debug, Clone)]
pub struct Place {
    pub binary: PathBuf,
    pub data: PathBuf,
    pub config: PathBuf,
    pub log: PathBuf,
    pub token: String,
    /// A bug that its processes hold (debug builds).
    pub planted: Option<Bug>,
}

impl Place {
    /// Makes a data directory with this configuration.
    pub fn make(binary: &Path, directory: &Path, config: &str) -> anyhow::Result<Place> {
        let (data, file) = (directory.join("data"), directory.join("syncline.toml"));
        std::fs::write(&file, config)?;
        let output = command(binary)
            .args(["init", "--json", "--data-dir"])
            .arg(&data)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("{} does not start", binary.display()))?;
        ensure!(output.status.success(), "init ended with {}", output.status);
        let token = text(&serde_json::from_slice(&output.stdout)?, "token")?;
        let log = directory.join("host.log");
        Ok(Place { binary: binary.to_owned(), data, config: file, log, token, planted: None })
    }

    /// Starts the server and does not wait for it.
    pub fn spawn(&self) -> anyhow::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let planted = self.planted.map(|bug| ("PLANT_SYNCLINE_BUG", bug.name()));
        let child = command(&self.binary)
            .envs(planted)
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&self.data)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        Ok(child)
    }

    /// The end of what the server has logged.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// The program in an environment without settings.
fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYNCLINE_") {
            command.env_remove(name);
        }
    }
    command
}

/// A server that is ready.
pub struct Process {
    child: Child,
    pub api: Api,
    /// From the start of the process to the first answer that says so.
    pub ready_in: Duration,
}

impl Process {
    pub fn start(place: &Place) -> anyhow::Result<Process> {
        let begin = Instant::now();
        let mut child = place.spawn()?;
        match ready(&mut child, place, begin) {
            Ok(api) => Ok(Process { child, api, ready_in: begin.elapsed() }),
            Err(why) => {
                end(&mut child);
                Err(why.context(place.log_tail()))
            }
        }
    }

    /// As a power cut would, but for what the kernel still holds.
    pub fn kill(mut self) {
        end(&mut self.child);
    }

    /// SIGTERM, and waits.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        ensure!(asked.success(), "kill -TERM ended with {asked}");
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// SIGKILL, also of one that has ended already.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn ready(child: &mut Child, place: &Place, begin: Instant) -> anyhow::Result<Api> {
    let output = child.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let said: Value = serde_json::from_str(&line).with_context(|| format!("it says {line:?}"))?;
    let address = text(&said, "listen")?.trim_start_matches("http://").parse()?;
    let request = Request { method: "GET", target: "/readyz", headers: &[], body: b"" };
    loop {
        let answer = Connection::open(address).and_then(|mut open| open.send(&request));
        if answer.is_ok_and(|answer| answer.status == 200) {
            return Ok(Api { address, token: place.token.clone() });
        }
        if begin.elapsed() > START_MAX {
            bail!("it is not ready after {START_MAX:?}");
        }
        std::thread::sleep(POLL);
    }
}
