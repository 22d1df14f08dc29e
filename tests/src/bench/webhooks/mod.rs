//! How many deliveries are acknowledged in a second, each durable before its answer, and how long the slowest wait, also
//! while a large run commits.
//!
//! | module | owns |
//! |---|---|
//! | [`floor`] | a bare handler that does no more than verify and commit |
//! | [`load`] | the senders |

pub mod floor;
pub mod load;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Source;
use super::product::Server;
use crate::foireann::{Options, Sim};
use load::{Load, Outcome};

/// Of the floor.
pub const PATH: &str = "/hook";
pub const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY";
const BODY_BYTES: usize = 1_024;
const CONNECTIONS: usize = 64;
const WARM_UP_SECONDS: f64 = 1.0;
/// While a run commits, besides as fast as they can: deliveries of all connections together in a second.
const PACED_PER_SECOND: f64 = 500.0;
const API_KEY: &str = "benchmark-key";
/// Limits that the load must not meet.
const CONFIG: &str = "[webhook]\nverifiedPerMinuteMax = 10000000\n\
    [retention]\nwebhookDeliveriesMax = 10000000\nwebhookBytesMax = 10000000000\n";

/// How to measure.
pub struct Setting {
    pub rounds: usize,
    pub seconds: f64,
    /// Of the run that commits meanwhile.
    pub members: u64,
    pub syncline: PathBuf,
    pub own_binary: PathBuf,
    pub directory: PathBuf,
}

/// Medians over the rounds.
pub struct Figures {
    pub per_second: f64,
    pub floor_per_second: f64,
    pub p99_ms: f64,
    pub floor_p99_ms: f64,
    /// While all connections send as fast as they can.
    pub flat_out: Meanwhile,
    /// While they keep to a pace.
    pub paced: Meanwhile,
}

/// The slowest hundredth of the deliveries that were answered during a run, and while it committed; milliseconds.
pub struct Meanwhile {
    pub run: Option<f64>,
    pub commit: Option<f64>,
}

impl Figures {
    pub fn ratio(&self) -> f64 {
        self.per_second / self.floor_per_second
    }

    pub fn object(&self) -> Value {
        let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
        json!({"webhooks": {
            "ratioToFloor": rounded(self.ratio()),
            "requestsPerSecond": self.per_second.round(),
            "p99Ms": rounded(self.p99_ms),
            "p99MsDuringCommit": self.flat_out.commit.map(rounded),
            "p99MsDuringRun": self.flat_out.run.map(rounded),
            "paced": {
                "requestsPerSecond": PACED_PER_SECOND,
                "p99MsDuringCommit": self.paced.commit.map(rounded),
                "p99MsDuringRun": self.paced.run.map(rounded),
            },
            "floor": {
                "requestsPerSecond": self.floor_per_second.round(),
                "p99Ms": rounded(self.floor_p99_ms),
            },
        }})
    }

    pub fn table(&self) -> String {
        let during =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        format!(
            "{:<12}{:>14}{:>10}\n{:<12}{:>14.0}{:>10.1}\n{:<12}{:>14.0}{:>10.1}\n\
             x floor {:.2} (goal 0.7)\n\
             p99 while a run commits {} ms, during the whole run {} ms (goal 50); \
             at {PACED_PER_SECOND} requests/s {} ms and {} ms\n",
            "",
            "requests/s",
            "p99 ms",
            "syncline",
            self.per_second,
            self.p99_ms,
            "floor",
            self.floor_per_second,
            self.floor_p99_ms,
            self.ratio(),
            during(self.flat_out.commit),
            during(self.flat_out.run),
            during(self.paced.commit),
            during(self.paced.run),
        )
    }
}

pub fn measure(setting: &Setting) -> anyhow::Result<Figures> {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for round in 0..setting.rounds {
        let directory = tempfile::Builder::new().prefix("bench").tempdir_in(&setting.directory)?;
        let syncline = |path: &Path| syncline(setting, path);
        let floor = |path: &Path| bare(setting, path);
        // Who is first changes, so that a slow minute of the machine hits both.
        if round % 2 == 0 {
            floors.push(floor(&directory.path().join("floor.redb"))?);
            ours.push(syncline(directory.path())?);
        } else {
            ours.push(syncline(directory.path())?);
            floors.push(floor(&directory.path().join("floor.redb"))?);
        }
    }
    let every = Duration::from_secs_f64(CONNECTIONS as f64 / PACED_PER_SECOND);
    let (flat_out, paced) = (during_a_run(setting, None)?, during_a_run(setting, Some(every))?);
    Ok(Figures {
        per_second: median(ours.iter().map(Outcome::per_second)),
        floor_per_second: median(floors.iter().map(Outcome::per_second)),
        p99_ms: median(ours.iter().filter_map(|outcome| outcome.percentile(0.99, None))),
        floor_p99_ms: median(floors.iter().filter_map(|outcome| outcome.percentile(0.99, None))),
        flat_out,
        paced,
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn bare(setting: &Setting, database: &Path) -> anyhow::Result<Outcome> {
    let floor = Floor::start(&setting.own_binary, database)?;
    let load = Load {
        address: floor.address,
        path: PATH.to_owned(),
        connections: CONNECTIONS,
        every: None,
    };
    let outcome = loaded(&load, setting.seconds)?;
    eprintln!("floor: {:.0} requests/s", outcome.per_second());
    Ok(outcome)
}

fn loaded(load: &Load, seconds: f64) -> anyhow::Result<Outcome> {
    load::for_seconds(load, WARM_UP_SECONDS)?;
    load::for_seconds(load, seconds)
}

/// What deliveries ask for is not fetched: the connection takes none. They are read and routed all the same.
fn syncline(setting: &Setting, directory: &Path) -> anyhow::Result<Outcome> {
    let federation = federation(setting, 1)?;
    let server = server(setting, directory, &federation)?;
    server.switch_webhooks(false)?;
    let outcome = loaded(&load_of(&server), setting.seconds)?;
    eprintln!("syncline: {:.0} requests/s", outcome.per_second());
    Ok(outcome)
}

fn load_of(server: &Server) -> Load {
    let path = format!("/webhooks/{}", server.connector());
    Load { address: server.address(), path, connections: CONNECTIONS, every: None }
}

fn federation(setting: &Setting, members: u64) -> anyhow::Result<Sim> {
    let options = Options::members(members).api_key(API_KEY).subcommand("foireann-sim");
    Sim::try_spawn(&setting.own_binary, &options)
}

fn server(setting: &Setting, directory: &Path, federation: &Sim) -> anyhow::Result<Server> {
    let source = Source {
        address: federation.address(),
        club: "club-1".to_owned(),
        api_key: API_KEY.to_owned(),
    };
    let server = Server::set_up_with(&setting.syncline, directory, &source, CONFIG)?;
    server.set_webhook_secret(&source, SECRET)?;
    Ok(server)
}

/// The slowest hundredth during a first sync, and during its commit.
fn during_a_run(setting: &Setting, every: Option<Duration>) -> anyhow::Result<Meanwhile> {
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(&setting.directory)?;
    let federation = federation(setting, setting.members)?;
    let server = server(setting, directory.path(), &federation)?;
    server.switch_webhooks(false)?;
    let load = Load { every, ..load_of(&server) };
    load::for_seconds(&load, WARM_UP_SECONDS)?;
    let stop = Arc::new(AtomicBool::new(false));
    let sending = thread::spawn({
        let (load, stop) = (load.clone(), Arc::clone(&stop));
        move || load::run(&load, &stop)
    });
    let begun = jiff::Timestamp::now();
    let synced = server.synced();
    let ended = jiff::Timestamp::now();
    stop.store(true, Ordering::Relaxed);
    let outcome = sending.join().map_err(|_| anyhow::anyhow!("the senders failed"))??;
    let commits_from = synced?;
    Ok(Meanwhile {
        run: outcome.percentile(0.99, Some((begun, ended))),
        commit: outcome.percentile(0.99, Some((commits_from, ended))),
    })
}

/// The floor as a process of its own.
struct Floor {
    child: Child,
    address: SocketAddr,
}

impl Floor {
    fn start(own_binary: &Path, database: &Path) -> anyhow::Result<Floor> {
        let mut child = Command::new(own_binary)
            .arg("webhook-floor")
            .arg(database)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().context("the floor has no standard output")?;
        BufReader::new(output).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        match ready["listen"].as_str().and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Floor { child, address }),
            None => {
                let _ = child.kill();
                anyhow::bail!("the floor is not ready: {line:?}")
            }
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
