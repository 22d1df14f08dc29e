//! The loop on a store, under a clock that is set by hand: the rig that all of them use.

mod clocks;
mod fires;
mod overlap;
mod people;

use super::*;
use crate::clock::{Clock, to_millis, to_text};
use crate::disk::{self, Disk};
use crate::model::directory::{Connection, Connector, Organization};
use crate::model::ids::ScheduleId;
use crate::model::job::{Job, JobState, Lease};
use crate::model::schedule::{Fire, Outcome, Overlap, Schedule};
use crate::model::{ConnectionId, ConnectorId, Mode, OrgNo, RunStatus, Trigger};
use crate::store::{self, Store, Txn, directory, jobs, runs, schedules};
use crate::test_rows;
use jiff::Timestamp;
use std::ops::ControlFlow;
use std::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const CONNECTOR: ConnectorId = ConnectorId(1);
const FIRST: ScheduleId = ScheduleId(1);
/// In the directory of the store: the disk is full while it is there.
const FULL: &str = "full";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

struct Rig {
    _directory: tempfile::TempDir,
    store: Store,
    clock: Clock,
    options: Options,
    cancelled: Arc<Mutex<Vec<RunId>>>,
    scheduler: Scheduler,
    working: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Rig {
    /// One connector with a connection for each of these zones, at 1 January 2026, 00:00 UTC.
    async fn new(zones: &[&'static str]) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(directory.path(), &store::Options::default()).unwrap();
        let clock = Clock::fixed(at("2026-01-01T00:00:00Z"));
        let options = Options { jitter_millis: 0, ..Options::default() };
        let cancelled = Arc::default();
        let scheduler = scheduler(&store, &clock, &options, &cancelled);
        let _directory = directory;
        let rig = Rig { _directory, store, clock, options, cancelled, scheduler, working: None };
        rig.write(|txn| directory::put_connector(txn, &connector())).await;
        for (zone, no) in zones.iter().zip(1..) {
            rig.connect(no, zone).await;
        }
        rig
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&Txn) -> Result<T, store::Error> + Send + 'static,
    ) -> T {
        self.store.write(write).await.unwrap()
    }

    async fn connect(&self, no: u32, zone: &'static str) {
        let now = self.now();
        self.write(move |txn| {
            directory::put_organization(txn, &organization(no, zone))?;
            directory::put_connection(txn, &connection(no, now))
        })
        .await;
    }

    fn now(&self) -> i64 {
        to_millis(self.clock.now())
    }

    async fn add(&self, schedule: Schedule) {
        self.write(move |txn| schedules::put(txn, &schedule)).await;
        self.scheduler.ring();
    }

    /// Changes the first schedule.
    async fn change(&self, change: impl Fn(&mut Schedule) + Send + 'static) {
        self.write(move |txn| {
            let mut schedule = schedules::get(txn, FIRST)?.unwrap();
            change(&mut schedule);
            schedules::put(txn, &schedule)
        })
        .await;
        self.settle().await;
    }

    async fn connector(&self, change: impl Fn(&mut Connector) + Send + 'static) {
        self.write(move |txn| {
            let mut row = directory::connector(txn, CONNECTOR)?.unwrap();
            change(&mut row);
            directory::put_connector(txn, &row)
        })
        .await;
        self.scheduler.ring();
    }

    /// Starts the loop, as after a restart of the process.
    async fn start(&mut self) {
        self.stop().await;
        self.scheduler = scheduler(&self.store, &self.clock, &self.options, &self.cancelled);
        let stop = CancellationToken::new();
        let task = tokio::spawn(self.scheduler.clone().work(stop.clone()));
        self.working = Some((task, stop));
        self.settle().await;
    }

    async fn stop(&mut self) {
        if let Some((task, stop)) = self.working.take() {
            stop.cancel();
            task.await.unwrap();
        }
    }

    /// Ends the loop wherever it stands.
    async fn kill(&mut self) {
        if let Some((task, _)) = self.working.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Waits until the loop has dealt with everything up to now.
    async fn settle(&self) {
        let (now, mut looked) = (self.clock.now(), self.scheduler.looked());
        looked.mark_unchanged();
        self.scheduler.ring();
        let done = |looked: &Option<Looked>| looked.is_some_and(|looked| looked.at == now);
        loop {
            looked.changed().await.unwrap();
            if done(&looked.borrow_and_update()) {
                return;
            }
        }
    }

    async fn set(&self, time: &str) {
        self.clock.set(at(time));
        self.settle().await;
    }

    fn read(&self) -> store::Snapshot {
        self.store.read().unwrap()
    }

    /// The fires of the first schedule, oldest first.
    fn fires(&self) -> Vec<Fire> {
        let mut found = Vec::new();
        schedules::scan_fires(&self.read(), FIRST, None, &mut |fire| {
            found.push(fire);
            ControlFlow::Continue(())
        })
        .unwrap();
        found.reverse();
        found
    }

    /// Outcome, nominal time and count of each line.
    fn told(&self) -> Vec<(Outcome, String, u64)> {
        let text = |at: Option<i64>| to_text(at.unwrap()).replace(":00.000Z", "");
        self.fires().iter().map(|fire| (fire.outcome, text(fire.nominal_at), fire.count)).collect()
    }

    fn jobs(&self) -> Vec<Job> {
        jobs::all(&self.read()).unwrap()
    }

    /// Ends all jobs as if their runs had completed.
    async fn finish(&self) -> usize {
        self.write(|txn| {
            let all = jobs::all(txn)?;
            for job in &all {
                let mut run = runs::get(txn, job.run)?.unwrap();
                run.status = RunStatus::Completed;
                runs::put(txn, job.org_no, &run)?;
                jobs::remove(txn, job)?;
            }
            Ok(all.len())
        })
        .await
    }

    /// Lets a worker hold all jobs.
    async fn claim(&self) {
        self.write(|txn| {
            for before in jobs::all(txn)? {
                let lease = Some(Lease { owner: "worker".to_owned(), until: i64::MAX });
                let job = Job { state: JobState::Running, lease, begun: true, ..before.clone() };
                jobs::replace(txn, &before, &job)?;
            }
            Ok(())
        })
        .await;
    }
}

fn scheduler(
    store: &Store,
    clock: &Clock,
    options: &Options,
    cancelled: &Arc<Mutex<Vec<RunId>>>,
) -> Scheduler {
    let requests: Requests = Arc::new(|_, wish| match wish.entity {
        "nothing" => Err(Refusal::UnknownEntity("nothing".to_owned())),
        _ => Ok(vec![EntityRequest {
            entity: "thing".to_owned(),
            mode: wish.mode,
            ids: Vec::new(),
            filters: None,
        }]),
    });
    let cancelled = Arc::clone(cancelled);
    let cancel: Cancel = Arc::new(move |run| cancelled.lock().unwrap().push(run));
    let bells = (Arc::default(), Arc::default());
    // Full while this directory is there, because no disk has as much room; one that is gone refuses nothing.
    let full = disk::Options { low_bytes: u64::MAX, full_bytes: u64::MAX };
    let disk = Disk::of(&store.dir().join(FULL), full);
    Scheduler::new((store.clone(), disk), clock.clone(), (requests, cancel), bells, options.clone())
}

fn connector() -> Connector {
    let mut row = test_rows::connector();
    row.sync_config.enabled = false;
    row
}

fn organization(no: u32, zone: &str) -> Organization {
    Organization {
        id: format!("org-{no}"),
        no: OrgNo(no),
        name: format!("Organization {no}"),
        timezone: zone.to_owned(),
        default_region: "IE".to_owned(),
        created_at: 0,
        version: 1,
    }
}

fn connection(no: u32, now: i64) -> Connection {
    Connection { enabled_at: now, ..test_rows::connection(no) }
}

/// For all connections, made at the beginning of 2026.
fn schedule(cron: &str) -> Schedule {
    let begin = to_millis(at("2026-01-01T00:00:00Z"));
    Schedule {
        id: FIRST,
        name: "nightly".to_owned(),
        organization: None,
        connector: CONNECTOR,
        entity: "all".to_owned(),
        mode: Mode::Full,
        cron: cron.to_owned(),
        timezone: None,
        overlap: Overlap::Skip,
        catch_up_millis: 24 * 60 * 60 * 1000,
        jitter_millis: 0,
        enabled: true,
        generated: false,
        paused: None,
        armed_at: begin,
        created_at: begin,
        updated_at: begin,
        version: 1,
    }
}

use Outcome::{CaughtUp, Fired, Missed, Skipped, Triggered as ByHand};

fn told(lines: &[(Outcome, &str, u64)]) -> Vec<(Outcome, String, u64)> {
    lines.iter().map(|(outcome, at, count)| (*outcome, (*at).to_owned(), *count)).collect()
}

/// A person runs the schedule now.
async fn by_hand(rig: &Rig) -> RunId {
    let (requests, options, now) =
        (Arc::clone(rig.scheduler.requests()), rig.options.clone(), rig.now());
    let done = rig.write(move |txn| {
        let schedule = schedules::get(txn, FIRST)?.unwrap();
        trigger(txn, &schedule, &requests, &options, ("somebody", now))
    });
    let [one] = &done.await[..] else { panic!("one connection") };
    one.outcome.as_ref().unwrap().run
}
