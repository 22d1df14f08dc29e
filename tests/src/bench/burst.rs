//! The second part of the `queue` benchmark: so many connections are due at the same minute, and five workers do them.
//!
//! The jobs are put into the data directory while the server is stopped, all due at once, so that the server finds them
//! as it would after a fire of their schedules. What a worker does beside its runs (looking for the next job, claiming
//! it, making ends durable, and standing idle when it need not) is overhead: with `runs` the sum over all runs from claim
//! to end and `wall` from the first claim to the last end, it is `1 - runs / (5 x wall)`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use syncline::model::run::EntityRequest;
use syncline::model::{Mode, Trigger};
use syncline::queue;
use syncline::retry::RETRIES_DEFAULT;
use syncline::store::{self, Store, lookup};

use super::product::{Api, init, start, stop, text};
use super::queue::Setting;
use super::rounded;
use crate::foireann::{Fault, Options, Rule, Sim};

const WORKERS: f64 = 5.0;
const CONNECTORS: u32 = 5;
const MEMBERS: u64 = 100;
/// What the federation takes to answer: a run has one page.
const ANSWER_MS: u64 = 200;
const API_KEY: &str = "benchmark-key";
const CLUB: &str = "club-1";
const WAIT_MAX: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    connections: u32,
    run_ms: f64,
    wall_seconds: f64,
    overhead: f64,
}

impl Outcome {
    pub fn object(&self) -> Value {
        json!({
            "connections": self.connections,
            "workers": WORKERS,
            "runMs": rounded(self.run_ms),
            "wallSeconds": rounded(self.wall_seconds),
            "overhead": rounded(self.overhead),
        })
    }

    pub fn line(&self) -> String {
        format!(
            "{} connections due at once, {WORKERS} workers: runs of {:.0} ms, {:.1} s in all, overhead {:.1} % (goal 5 %)",
            self.connections,
            self.run_ms,
            self.wall_seconds,
            self.overhead * 100.0
        )
    }
}

pub fn measure(setting: &Setting) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir_in(&setting.directory)?;
    let options = Options::members(MEMBERS).api_key(API_KEY).subcommand("foireann-sim");
    let sim = Sim::spawn(&setting.own_binary, options);
    let (data, config) = (directory.path().join("data"), directory.path().join("syncline.toml"));
    let allowed = format!("[egress]\nallowPrivate = [\"{}\"]\n", sim.host_port());
    std::fs::write(&config, allowed)?;
    let token = init(&setting.syncline, &data)?;
    let (child, address) = start(&setting.syncline, &data, &config)?;
    let prepared = prepare(&mut Api::at(address, &token)?, &sim, setting.connections);
    stop(child)?;
    prepared?;
    // The first sync of each creates its records; what is measured is a night like any other.
    let mut outcome = None;
    for _ in 0..2 {
        enqueue_all(&data)?;
        sim.fault(Rule::any(Fault::Delay { ms: ANSWER_MS }));
        let (child, address) = start(&setting.syncline, &data, &config)?;
        let ended = wait(&mut Api::at(address, &token)?, setting.connections);
        stop(child)?;
        sim.clear_faults();
        outcome = Some(ended?);
    }
    outcome.context("nothing was measured")
}

fn prepare(api: &mut Api, sim: &Sim, connections: u32) -> anyhow::Result<()> {
    let mut connectors = Vec::new();
    for number in 0..CONNECTORS {
        let connector = json!({
            "name": format!("Foireann {number}"),
            "federationCode": "gaa_foireann",
            "plugin": "gaa-foireann",
            "authType": "apiKey",
            "endpoints": {"baseUrl": sim.base_url()},
            "config": {"pageSize": MEMBERS, "requestsPerMinute": 1_000_000},
            "credentials": {"apiKey": API_KEY},
        });
        connectors.push(text(&api.call("POST", "/connectors", &connector)?, "id")?);
    }
    for number in 0..connections {
        let id = format!("club-{number}");
        let organization =
            json!({"id": id, "name": id, "timezone": "Europe/Dublin", "defaultRegion": "IE"});
        api.call("POST", "/organizations", &organization)?;
        let connector = &connectors[usize::try_from(number % CONNECTORS)?];
        let connection = json!({"connectorId": connector, "federationOrgId": CLUB});
        api.call("POST", &format!("/organizations/{id}/connections"), &connection)?;
    }
    Ok(())
}

/// One scheduled job for every connection, all due now.
fn enqueue_all(data: &Path) -> anyhow::Result<()> {
    let store = Store::open(data, &store::Options::default())?;
    let now = Timestamp::now().as_millisecond();
    store.write_blocking(move |txn| -> Result<(), store::Error> {
        let organizations = lookup::organizations(txn, None, usize::MAX)?;
        for organization in organizations {
            let connections = lookup::connections_of_organization(txn, organization.no, None, 1)?;
            for connection in connections {
                let request = EntityRequest {
                    entity: "member".to_owned(),
                    mode: Mode::Full,
                    ids: Vec::new(),
                    filters: None,
                };
                let request = queue::Request {
                    connection,
                    requests: vec![request],
                    trigger: Trigger::Scheduled,
                    dry_run: false,
                    strategy: "federation_wins".to_owned(),
                    requested_by: "bench".to_owned(),
                    max_retries: RETRIES_DEFAULT,
                    now,
                };
                queue::enqueue(txn, request)?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Waits until the newest `count` runs have ended.
fn wait(api: &mut Api, count: u32) -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    loop {
        let left =
            api.call("GET", "/sync/status?status=queued,running,waiting&limit=1", &Value::Null)?;
        if left["items"].as_array().is_some_and(Vec::is_empty) {
            break;
        }
        ensure!(begin.elapsed() < WAIT_MAX, "the runs do not end: {left}");
        std::thread::sleep(POLL);
    }
    let mut runs = Vec::new();
    let mut next = format!("/sync/status?limit={}", count.min(200));
    while runs.len() < usize::try_from(count)? {
        let mut page = api.call("GET", &next, &Value::Null)?;
        runs.append(page["items"].as_array_mut().context("a list")?);
        match page["nextCursor"].as_str() {
            Some(cursor) => next = format!("/sync/status?limit={}&cursor={cursor}", count.min(200)),
            None => break,
        }
    }
    runs.truncate(usize::try_from(count)?);
    let (mut sum, mut first, mut last) = (0.0, f64::MAX, 0.0_f64);
    for run in &runs {
        if run["status"] != "completed" {
            bail!("a run ended {}: {}", run["status"], run["errors"]);
        }
        let (begin, end) = (seconds(run, "startedAt")?, seconds(run, "completedAt")?);
        sum += end - begin;
        first = first.min(begin);
        last = last.max(end);
    }
    ensure!(runs.len() == usize::try_from(count)?, "{} runs instead of {count}", runs.len());
    let wall = last - first;
    Ok(Outcome {
        connections: count,
        run_ms: sum * 1000.0 / f64::from(count),
        wall_seconds: wall,
        overhead: 1.0 - sum / (WORKERS * wall),
    })
}

fn seconds(run: &Value, member: &str) -> anyhow::Result<f64> {
    let at: Timestamp = text(run, member)?.parse()?;
    Ok(at.as_millisecond() as f64 / 1000.0)
}
