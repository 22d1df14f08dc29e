//! The `queue` benchmark: what the queue costs above bare durable writes, and what is left of five workers' time when
//! two hundred connections are due at once.
//!
//! The first part speaks to the queue's transactions through the library: an empty job is asked for, claimed and ended,
//! each step durable before the next. Its floor is three bare rows, written by as many callers through as plain a group
//! commit as there is. The second part is the real binary with runs against the federation.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use redb::{Database, TableDefinition};
use serde_json::{Value, json};
use syncline::commit::{Ending, note_failure};
use syncline::model::directory::{Connection, Connector};
use syncline::model::run::{EntityRequest, Run};
use syncline::model::{ConnectionId, ConnectorId, Mode, OrgNo, RunStatus, Trigger};
use syncline::queue::{self, Caps};
use syncline::retry::RETRIES_DEFAULT;
use syncline::store::{self, Store, directory, runs};
use tokio::sync::oneshot;

use super::{burst, rounded};

const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
/// About what a job takes.
const ROW_BYTES: usize = 600;
/// As many short writes as the product's store joins into one commit.
const GROUP_MAX: usize = 512;
const CONNECTORS: u32 = 4;
/// Jobs that wait while a new process takes up what an old one left.
const WAITING: u32 = 50_000;
const LEASE_MILLIS: i64 = 60_000;

/// How to measure.
#[derive(Debug, Clone)]
pub struct Setting {
    pub jobs: u64,
    /// Callers at once, in both parts.
    pub lanes: u32,
    pub rounds: usize,
    pub directory: PathBuf,
    /// The host, for the burst.
    pub syncline: PathBuf,
    pub own_binary: PathBuf,
    pub connections: u32,
}

/// What one round of one contestant did.
#[derive(Debug, Clone, Copy)]
struct Pace {
    per_second: f64,
    p99_ms: f64,
}

/// All measures; medians over the rounds.
#[derive(Debug)]
pub struct Outcome {
    floor: Vec<Pace>,
    queue: Vec<Pace>,
    reclaim_ms: f64,
    pick_micros: f64,
    burst: burst::Outcome,
}

/// Runs everything.
pub fn measure(setting: &Setting) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut floor, mut queue) = (Vec::new(), Vec::new());
    for round in 0..setting.rounds {
        let directory = tempfile::tempdir_in(&setting.directory)?;
        let paths = [directory.path().join("floor"), directory.path().join("queue")];
        // Who is first changes from round to round.
        for at in [round % 2, (round + 1) % 2] {
            match at {
                0 => floor.push(runtime.block_on(run_floor(setting, &paths[0]))?),
                _ => queue.push(runtime.block_on(run_queue(setting, &paths[1]))?),
            }
        }
    }
    let (reclaim_ms, pick_micros) = crowded(&setting.directory)?;
    let burst = burst::measure(setting)?;
    Ok(Outcome { floor, queue, reclaim_ms, pick_micros, burst })
}

impl Outcome {
    pub fn object(&self) -> Value {
        let (queue, floor) = (median(&self.queue), median(&self.floor));
        json!({"queue": {
            "ratioToFloor": rounded(queue.per_second / floor.per_second),
            "requestsPerSecond": queue.per_second.round(),
            "p99Ms": rounded(queue.p99_ms),
            "floor": {"requestsPerSecond": floor.per_second.round(), "p99Ms": rounded(floor.p99_ms)},
            "rounds": self.queue.len(),
            "reclaimMs": rounded(self.reclaim_ms),
            "pickMicros": rounded(self.pick_micros),
            "burst": self.burst.object(),
        }})
    }

    pub fn table(&self) -> String {
        let (queue, floor) = (median(&self.queue), median(&self.floor));
        format!(
            "empty jobs per second  {:>8.0}   p99 {:>6.1} ms\n\
             floor                  {:>8.0}   p99 {:>6.1} ms\n\
             ratio                  {:>8.2}   (goal 0.6)\n\
             with {WAITING} jobs waiting: a new process takes up five in {:.1} ms, a look for the next job takes {:.0} us\n\
             {}",
            queue.per_second,
            queue.p99_ms,
            floor.per_second,
            floor.p99_ms,
            queue.per_second / floor.per_second,
            self.reclaim_ms,
            self.pick_micros,
            self.burst.line(),
        )
    }
}

fn median(paces: &[Pace]) -> Pace {
    let middle = |of: fn(&Pace) -> f64| {
        let mut all: Vec<f64> = paces.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Pace { per_second: middle(|pace| pace.per_second), p99_ms: middle(|pace| pace.p99_ms) }
}

/// Lets every lane do its share of the jobs; what a job took, from its first to its last step.
async fn lanes<F, Fut>(setting: &Setting, job: F) -> anyhow::Result<Pace>
where
    F: Fn(u32) -> Fut,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    F: Clone + Send + 'static,
{
    let each = setting.jobs / u64::from(setting.lanes);
    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..setting.lanes {
        let job = job.clone();
        tasks.spawn(async move {
            let mut took = Vec::new();
            for _ in 0..each {
                let at = Instant::now();
                job(lane).await?;
                took.push(at.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut took: Vec<Duration> = Vec::new();
    while let Some(done) = tasks.join_next().await {
        took.extend(done??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    took.sort();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    Ok(Pace { per_second: took.len() as f64 / seconds, p99_ms: p99.as_secs_f64() * 1000.0 })
}

/// A row that waits for its commit, and whom to tell.
type Waiting = (u64, oneshot::Sender<()>);

/// The least that makes a row durable for many callers: those that wait become one commit.
fn write_rows(database: &Database, waiting: &Receiver<Waiting>) -> anyhow::Result<()> {
    let row = vec![7_u8; ROW_BYTES];
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        group.extend(waiting.try_iter().take(GROUP_MAX - 1));
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for (key, _) in &group {
                table.insert(key, row.as_slice())?;
            }
        }
        transaction.commit()?;
        for (_, tell) in group {
            let _ = tell.send(());
        }
    }
    Ok(())
}

async fn run_floor(setting: &Setting, path: &Path) -> anyhow::Result<Pace> {
    let database = Database::create(path)?;
    let (sender, waiting): (Sender<Waiting>, _) = channel();
    let writer = std::thread::spawn(move || write_rows(&database, &waiting));
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let pace = lanes(setting, move |_| {
        let (sender, next) = (sender.clone(), Arc::clone(&next));
        async move {
            for _ in 0..3 {
                let key = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let (tell, told) = oneshot::channel();
                sender.send((key, tell)).context("the writer ended")?;
                told.await?;
            }
            Ok(())
        }
    })
    .await?;
    match writer.join() {
        Ok(ended) => ended?,
        Err(_) => anyhow::bail!("the writer panicked"),
    }
    Ok(pace)
}

async fn run_queue(setting: &Setting, path: &Path) -> anyhow::Result<Pace> {
    std::fs::create_dir_all(path)?;
    let store = Store::create(path, &store::Options::default())?;
    let lanes_count = setting.lanes;
    store
        .write(move |txn| -> Result<(), store::Error> {
            (1..=CONNECTORS).try_for_each(|number| put_connector(txn, number))?;
            (0..lanes_count)
                .try_for_each(|lane| directory::put_connection(txn, &connection(lane + 1)))
        })
        .await?;
    let at = setting.lanes as usize;
    let caps = Caps { running_max: at, running_per_connector_max: at, aging_millis: 300_000 };
    let pace = lanes(setting, move |lane| empty_job(store.clone(), caps, lane + 1)).await?;
    Ok(pace)
}

/// Asks for a job, claims the next one, and ends what was claimed, each durable before the next.
async fn empty_job(store: Store, caps: Caps, org: u32) -> anyhow::Result<()> {
    let asked = request(org, Trigger::Scheduled);
    store.write(move |txn| queue::enqueue(txn, asked.clone())).await?;
    let claim = move |txn: &store::Txn| queue::claim(txn, caps, "bench", 1, LEASE_MILLIS);
    let job = store.write(claim).await?.context("there is a job for each lane")?;
    let run = runs::get(&store.read()?, job.run)?.context("its run is there")?;
    let run = Run { status: RunStatus::Completed, completed_at: Some(2), ..run };
    let ending = Ending { run, logs: Vec::new(), postponed: None, health: Default::default() };
    let ended = note_failure(&store, Arc::new(job), ending).await?;
    ensure!(ended.status == RunStatus::Completed, "a job ended {}", ended.status);
    Ok(())
}

fn put_connector(txn: &store::Txn, number: u32) -> Result<(), store::Error> {
    let row = json!({
        "id": ConnectorId(number), "name": "bench", "federationCode": "f", "plugin": "p",
        "authType": "none", "endpoints": {}, "config": {}, "syncConfig": {"enabled": true},
        "templateId": null, "status": "active", "createdAt": 0, "updatedAt": 0, "version": 1,
    });
    let row: Connector = parse(row)?;
    directory::put_connector(txn, &row)
}

fn connection(org: u32) -> Connection {
    Connection {
        id: ConnectionId(org),
        organization: format!("org-{org}"),
        org_no: OrgNo(org),
        connector_id: ConnectorId(1 + org % CONNECTORS),
        federation_org_id: "club".to_owned(),
        strategy: None,
        webhooks_enabled: false,
        entities: Default::default(),
        enabled_at: 0,
        disconnected_at: None,
        version: 1,
    }
}

fn request(org: u32, trigger: Trigger) -> queue::Request {
    let wanted = EntityRequest {
        entity: "member".to_owned(),
        mode: Mode::Incremental,
        ids: Vec::new(),
        filters: None,
    };
    queue::Request {
        connection: connection(org),
        requests: vec![wanted],
        trigger,
        dry_run: false,
        strategy: "federation_wins".to_owned(),
        requested_by: "bench".to_owned(),
        max_retries: RETRIES_DEFAULT,
        now: 0,
    }
}

fn parse<T: serde::de::DeserializeOwned>(row: Value) -> Result<T, store::Error> {
    serde_json::from_value(row).map_err(|error| store::Error::Storage(error.to_string()))
}

/// What a start and a look for the next job cost while very many jobs wait: milliseconds and microseconds.
fn crowded(directory: &Path) -> anyhow::Result<(f64, f64)> {
    let directory = tempfile::tempdir_in(directory)?;
    let store = Store::create(directory.path(), &store::Options::default())?;
    store.write_blocking(|txn| -> Result<(), store::Error> {
        (1..=CONNECTORS).try_for_each(|number| put_connector(txn, number))?;
        for org in 1..=WAITING {
            queue::enqueue(txn, request(org, Trigger::Scheduled))?;
        }
        Ok(())
    })?;
    let caps = Caps { running_max: 5, running_per_connector_max: 2, aging_millis: 300_000 };
    let claimed = store.write_blocking(move |txn| -> Result<usize, store::Error> {
        let mut count = 0;
        while queue::claim(txn, caps, "the old process", 1, LEASE_MILLIS)?.is_some() {
            count += 1;
        }
        Ok(count)
    })?;
    let begin = Instant::now();
    let taken = store.write_blocking(|txn| queue::reclaim(txn, "the new process"))?;
    let reclaim_ms = begin.elapsed().as_secs_f64() * 1000.0;
    ensure!((claimed, taken) == (5, 5), "{claimed} claimed, {taken} taken up");
    let read = store.read()?;
    let begin = Instant::now();
    const LOOKS: u32 = 100;
    for _ in 0..LOOKS {
        ensure!(queue::pick(&read, caps, 1)?.is_some(), "there is a job");
    }
    Ok((reclaim_ms, begin.elapsed().as_secs_f64() * 1e6 / f64::from(LOOKS)))
}
