//! The loop on a store, under a clock that is set by hand.

use super::*;
use crate::clock::{Clock, to_millis, to_text};
use crate::cron::Calendar;
use crate::disk::{self, Disk};
use crate::model::access::OrgKey;
use crate::model::directory::{
    AuthType, Connection, Connector, ConnectorStatus, Organization, SyncConfig,
};
use crate::model::ids::ScheduleId;
use crate::model::job::{Job, JobState, Lease};
use crate::model::notice::EventKind;
use crate::model::schedule::{Fire, Outcome, Overlap, Pause, Schedule};
use crate::model::{ConnectionId, ConnectorId, Mode, OrgNo, RunStatus, Trigger};
use crate::store::{self, Store, Txn, directory, jobs, notices, runs, schedules};
use crate::test_seed;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::strategy::Strategy as _;
use std::collections::BTreeMap;
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
    Connector {
        id: CONNECTOR,
        name: "one".to_owned(),
        federation_code: "f".to_owned(),
        plugin: "p".to_owned(),
        auth_type: AuthType::None,
        endpoints: BTreeMap::new(),
        config: serde_json::json!({}),
        sync_config: SyncConfig {
            enabled: false,
            schedule: None,
            timezone: None,
            conflict_strategy: None,
            max_retries: None,
        },
        template_id: None,
        status: ConnectorStatus::Active,
        deleted_at: None,
        created_at: 0,
        updated_at: 0,
        version: 1,
    }
}

fn organization(no: u32, zone: &str) -> Organization {
    Organization {
        id: format!("org{no}"),
        no: OrgNo(no),
        name: format!("Organization {no}"),
        timezone: zone.to_owned(),
        default_region: "IE".to_owned(),
        created_at: 0,
        version: 1,
    }
}

fn connection(no: u32, now: i64) -> Connection {
    Connection {
        id: ConnectionId(no),
        organization: format!("org{no}"),
        org_no: OrgNo(no),
        connector_id: CONNECTOR,
        federation_org_id: format!("remote{no}"),
        strategy: None,
        webhooks_enabled: true,
        entities: BTreeMap::new(),
        enabled_at: now,
        disconnected_at: None,
        last_sync_at: None,
        last_error_at: None,
        last_error: None,
        consecutive_failures: 0,
        version: 1,
    }
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

#[tokio::test]
async fn every_night_comes_to_one_run_also_over_restarts() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.set("2026-01-01T01:59:59Z").await;
    assert_eq!(rig.told(), []);
    rig.set("2026-01-01T02:00:00Z").await;
    rig.start().await;
    rig.set("2026-01-01T02:00:20Z").await;
    let (jobs, fires) = (rig.jobs(), rig.fires());
    assert_eq!((jobs.len(), jobs[0].trigger), (1, Trigger::Scheduled));
    assert_eq!(fires[0].run, Some(jobs[0].run));
    let run = runs::get(&rig.read(), jobs[0].run).unwrap().unwrap();
    assert_eq!(run.requested_by, "schedule sch_1");
    assert_eq!(rig.finish().await, 1);
    rig.set("2026-01-02T02:00:00Z").await;
    rig.kill().await;
    rig.start().await;
    assert_eq!(rig.told(), told(&[(Fired, "2026-01-01T02:00", 1), (Fired, "2026-01-02T02:00", 1)]));
    assert_eq!(rig.finish().await, 1);
}

#[tokio::test]
async fn the_clock_alone_wakes_the_loop() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    let mut looked = rig.scheduler.looked();
    for day in 1..=3 {
        let next = looked.borrow().unwrap().next.unwrap();
        assert_eq!(next, at(&format!("2026-01-0{day}T02:00:00Z")));
        rig.clock.set(next);
        looked.wait_for(|looked| looked.unwrap().at == next).await.unwrap();
        assert_eq!(rig.finish().await, 1);
    }
}

/// A fire that cannot be written down is not forgotten.
#[tokio::test]
async fn a_full_disk_puts_a_night_off_and_loses_none() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    let full = rig.store.dir().join(FULL);
    std::fs::create_dir(&full).unwrap();
    for time in ["2026-01-01T02:00:00Z", "2026-01-01T02:30:00Z"] {
        rig.set(time).await;
        assert_eq!(rig.told(), []);
        assert!(rig.jobs().is_empty());
    }
    std::fs::remove_dir(&full).unwrap();
    let mut looked = rig.scheduler.looked();
    rig.clock.set(at("2026-01-01T02:30:30Z"));
    looked.wait_for(|looked| looked.unwrap().at == rig.clock.now()).await.unwrap();
    assert_eq!(rig.told(), told(&[(CaughtUp, "2026-01-01T02:00", 1)]));
    assert_eq!(rig.jobs().len(), 1);
}

#[tokio::test]
async fn nothing_from_before_the_schedule_or_the_connection_is_made_up_for() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.clock.set(at("2026-01-05T12:00:00Z"));
    rig.connect(2, "UTC").await;
    let now = rig.now();
    rig.add(Schedule { armed_at: now, created_at: now, ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-05T13:00:00Z").await;
    assert_eq!(rig.told(), []);
    // A connection that is made later does not make up for the nights before it.
    rig.set("2026-01-06T03:00:00Z").await;
    rig.connect(3, "UTC").await;
    rig.settle().await;
    assert_eq!(rig.told().len(), 2, "{:?}", rig.told());
}

#[tokio::test]
async fn each_organization_counts_in_its_own_zone() {
    let mut rig = Rig::new(&["Europe/Dublin", "America/Edmonton"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-01T09:00:00Z").await;
    let by: Vec<_> = rig.fires().iter().map(|fire| fire.connection.0).collect();
    assert_eq!(by, [1, 2]);
    assert_eq!(rig.told(), told(&[(Fired, "2026-01-01T02:00", 1), (Fired, "2026-01-01T09:00", 1)]));
    let next = upcoming(&rig.read(), &schedule("0 2 * * *"), None, rig.now(), 3).unwrap();
    let next: Vec<String> =
        next.iter().map(|next| format!("{} {}", next.nominal, next.zone)).collect();
    assert_eq!(
        next,
        [
            "2026-01-02T02:00:00Z Europe/Dublin",
            "2026-01-02T09:00:00Z America/Edmonton",
            "2026-01-03T02:00:00Z Europe/Dublin",
        ]
    );
}

#[tokio::test]
async fn after_days_of_rest_one_run_makes_up_and_older_nights_are_told_as_missed() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.stop().await;
    rig.clock.set(at("2026-01-04T10:00:00Z"));
    rig.start().await;
    assert_eq!(
        rig.told(),
        told(&[(Missed, "2026-01-03T02:00", 3), (CaughtUp, "2026-01-04T02:00", 1)])
    );
    assert_eq!(rig.jobs().len(), 1);
    let raised = rig.write(|txn| notices::take_raised(txn, 10)).await;
    let [raised] = &raised[..] else { panic!("{raised:?}") };
    assert_eq!(raised.event.kind, EventKind::ScheduleMissed);
    assert_eq!(raised.event.organization.as_deref(), Some("org1"));
    assert_eq!(raised.event.facts["count"], "3");
    // Every ten minutes, and nine hours off: one run for all of it, and nobody is told.
    rig.finish().await;
    rig.change(|schedule| schedule.cron = "*/10 * * * *".to_owned()).await;
    rig.finish().await;
    rig.stop().await;
    rig.clock.set(at("2026-01-04T19:00:00Z"));
    rig.start().await;
    assert_eq!(rig.told().last().unwrap().2, 54, "{:?}", rig.told());
    assert_eq!(rig.jobs().len(), 1);
    assert!(rig.write(|txn| notices::take_raised(txn, 10)).await.is_empty());
}

#[tokio::test]
async fn a_run_that_is_not_over_is_not_overtaken() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 * * * *")).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    for hour in 2..=4 {
        rig.set(&format!("2026-01-01T0{hour}:00:00Z")).await;
        rig.claim().await;
    }
    let fires = rig.fires();
    // Fires in a row that are left out for the same reason are one line.
    assert_eq!(
        rig.told(),
        told(&[(Fired, "2026-01-01T01:00", 1), (Skipped, "2026-01-01T04:00", 3)])
    );
    assert_eq!(fires[1].code.as_deref(), Some("schedule.overlap"));
    assert!(fires[1].reason.as_ref().unwrap().contains("run_1 for the same is still running"));
    rig.finish().await;
    rig.set("2026-01-01T05:00:00Z").await;
    assert_eq!(rig.fires().len(), 3);
}

#[tokio::test]
async fn one_run_may_wait_behind_one() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(Schedule { overlap: Overlap::BufferOne, ..schedule("0 * * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    rig.claim().await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-01T03:00:00Z").await;
    let states: Vec<JobState> = rig.jobs().iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Running, JobState::Pending]);
    let codes: Vec<_> = rig.fires().into_iter().map(|fire| fire.code).collect();
    assert_eq!(codes, [None, None, Some("schedule.buffered".to_owned())]);
}

#[tokio::test]
async fn a_run_may_be_cancelled_for_the_next_one_but_never_a_persons() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(Schedule { overlap: Overlap::CancelOther, ..schedule("0 * * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    rig.claim().await;
    rig.set("2026-01-01T02:00:00Z").await;
    let jobs = rig.jobs();
    assert_eq!((jobs.len(), jobs[0].cancel, jobs[1].cancel), (2, true, false));
    assert_eq!(*rig.cancelled.lock().unwrap(), [jobs[0].run]);
    // The one that waits is replaced too, at once.
    rig.set("2026-01-01T03:00:00Z").await;
    let second = runs::get(&rig.read(), jobs[1].run).unwrap().unwrap();
    assert_eq!((second.status, rig.jobs().len()), (RunStatus::Cancelled, 2));
    rig.finish().await;
    let by_hand = by_hand(&rig).await;
    rig.claim().await;
    rig.set("2026-01-01T04:00:00Z").await;
    let jobs = rig.jobs();
    assert_eq!((jobs[0].run, jobs[0].cancel, jobs.len()), (by_hand, false, 2));
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

#[tokio::test]
async fn a_person_runs_it_at_any_time_and_the_nights_stay() {
    let mut rig = Rig::new(&["UTC"]).await;
    let pause = Pause { until: None, reason: "holidays".to_owned(), by: "x".to_owned(), at: 0 };
    rig.add(Schedule { paused: Some(pause), ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T01:00:00Z").await;
    let run = by_hand(&rig).await;
    assert_eq!(rig.jobs()[0].trigger, Trigger::Manual);
    assert_eq!(by_hand(&rig).await, run, "joined");
    rig.finish().await;
    rig.change(|schedule| schedule.paused = None).await;
    rig.set("2026-01-01T02:00:00Z").await;
    let outcomes: Vec<Outcome> = rig.fires().iter().map(|fire| fire.outcome).collect();
    assert_eq!(outcomes, [ByHand, ByHand, Fired]);
}

#[tokio::test]
async fn what_keeps_a_connection_from_being_synced_is_told() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.connector(|row| row.status = ConnectorStatus::Error).await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-02T02:00:00Z").await;
    rig.connector(|row| row.status = ConnectorStatus::Inactive).await;
    rig.set("2026-01-03T02:00:00Z").await;
    rig.connector(|row| {
        row.status = ConnectorStatus::Active;
        row.auth_type = AuthType::OAuth2;
    })
    .await;
    rig.set("2026-01-04T02:00:00Z").await;
    rig.connector(|row| row.auth_type = AuthType::None).await;
    rig.change(|schedule| schedule.entity = "nothing".to_owned()).await;
    rig.set("2026-01-05T02:00:00Z").await;
    let codes: Vec<_> =
        rig.fires().into_iter().map(|fire| (fire.code.unwrap(), fire.count)).collect();
    let expected = [
        ("connector.error", 2),
        ("connector.not-active", 1),
        ("oauth.not-authorized", 1),
        ("entity.unknown", 1),
    ];
    assert_eq!(codes, expected.map(|(code, count)| (code.to_owned(), count)));
    assert!(rig.jobs().is_empty());
    // A connection that ended is none.
    rig.write(|txn| {
        let mut row = directory::connection(txn, OrgNo(1), ConnectionId(1))?.unwrap();
        row.disconnected_at = Some(1);
        directory::put_connection(txn, &row)
    })
    .await;
    rig.set("2026-01-06T02:00:00Z").await;
    assert_eq!(rig.fires().len(), 4);
}

#[tokio::test]
async fn a_pause_makes_up_for_nothing_and_ends_by_itself() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    let until = to_millis(at("2026-01-03T02:00:00Z"));
    rig.change(move |schedule| {
        let (reason, by) = ("move".to_owned(), "x".to_owned());
        schedule.paused = Some(Pause { until: Some(until), reason, by, at: 0 });
    })
    .await;
    rig.set("2026-01-02T02:00:00Z").await;
    assert_eq!(rig.told(), []);
    let next = upcoming(
        &rig.read(),
        &schedules::get(&rig.read(), FIRST).unwrap().unwrap(),
        None,
        rig.now(),
        1,
    );
    assert_eq!(next.unwrap()[0].nominal, at("2026-01-03T02:00:00Z"));
    // Nobody rings at the end of a pause. The fire on its very end is one.
    let mut looked = rig.scheduler.looked();
    rig.clock.set(at("2026-01-03T02:00:00Z"));
    let end = rig.clock.now();
    looked.wait_for(|looked| looked.unwrap().at == end).await.unwrap();
    assert_eq!(rig.told(), told(&[(Fired, "2026-01-03T02:00", 1)]));
}

#[tokio::test]
async fn a_clock_that_is_set_doubles_and_loses_nothing() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.set("2026-01-05T02:00:00Z").await;
    rig.finish().await;
    let begun = rig.fires().len();
    // Back by an hour, by a day, to before everything began: what was done is not done again.
    for back in ["2026-01-05T01:00:00Z", "2026-01-04T02:00:00Z", "1970-01-01T00:00:30Z"] {
        rig.set(back).await;
        rig.set("2026-01-05T02:00:10Z").await;
        assert_eq!(rig.fires().len(), begun, "{back}");
    }
    // Ahead by a day and back: the night that came early does not come again, and the one after it does.
    rig.set("2026-01-06T02:00:00Z").await;
    rig.finish().await;
    rig.set("2026-01-05T03:00:00Z").await;
    rig.set("2026-01-06T02:00:30Z").await;
    assert_eq!(rig.fires().len(), begun + 1);
    rig.set("2026-01-07T02:00:00Z").await;
    rig.finish().await;
    assert_eq!(rig.fires().len(), begun + 2);
    // Ahead by a year and back: nobody waits for a year.
    rig.set("2027-01-07T12:00:00Z").await;
    rig.finish().await;
    rig.set("2026-01-07T12:00:00Z").await;
    let ahead = rig.fires().len();
    rig.set("2026-01-08T02:00:00Z").await;
    assert_eq!(rig.finish().await, 1);
    assert_eq!(rig.told()[ahead..], told(&[(Fired, "2026-01-08T02:00", 1)]));
}

#[tokio::test]
async fn what_was_made_while_the_clock_ran_ahead_does_not_wait_for_it() {
    let mut rig = Rig::new(&[]).await;
    rig.clock.set(at("2027-06-01T00:00:00Z"));
    rig.connect(1, "UTC").await;
    let now = rig.now();
    rig.add(Schedule { armed_at: now, created_at: now, ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T12:00:00Z").await;
    assert_eq!(rig.told(), []);
    rig.set("2026-01-02T02:00:00Z").await;
    rig.finish().await;
    rig.set("2026-01-03T02:00:00Z").await;
    assert_eq!(rig.told(), told(&[(Fired, "2026-01-02T02:00", 1), (Fired, "2026-01-03T02:00", 1)]));
}

#[tokio::test]
async fn a_new_zone_of_an_organization_makes_up_for_nothing() {
    let mut rig = Rig::new(&["Europe/Dublin", "Europe/Dublin"]).await;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-01T20:00:00Z").await;
    // There it was two in the morning three hours ago.
    let now = rig.now();
    rig.write(move |txn| {
        directory::put_organization(txn, &organization(1, "Asia/Tokyo"))?;
        rearm(txn, OrgNo(1), now)
    })
    .await;
    rig.settle().await;
    rig.finish().await;
    rig.set("2026-01-02T17:00:00Z").await;
    let of = |connection: u32| -> Vec<String> {
        let fires = rig.fires().into_iter().filter(|fire| fire.connection.0 == connection);
        fires.map(|fire| to_text(fire.nominal_at.unwrap())).collect()
    };
    assert_eq!(of(1), ["2026-01-01T02:00:00.000Z", "2026-01-02T17:00:00.000Z"]);
    assert_eq!(of(2), ["2026-01-01T02:00:00.000Z", "2026-01-02T02:00:00.000Z"]);
}

#[tokio::test]
async fn connections_are_spread_and_each_keeps_its_place() {
    let zones = ["UTC"; 200];
    let mut rig = Rig::new(&zones).await;
    rig.add(Schedule { jitter_millis: 300_000, ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T02:00:00Z").await;
    rig.set("2026-01-01T02:02:30Z").await;
    let half = rig.jobs().len();
    assert!((60..140).contains(&half), "{half} of 200 in the first half");
    rig.set("2026-01-01T02:05:00Z").await;
    let offsets = |rig: &Rig, day: &str| -> BTreeMap<u32, i64> {
        let begin = to_millis(at(&format!("{day}T02:00:00Z")));
        let fires = rig.fires().into_iter().filter(|fire| fire.nominal_at == Some(begin));
        fires.map(|fire| (fire.connection.0, fire.due_at.unwrap() - begin)).collect()
    };
    assert_eq!(rig.finish().await, 200);
    rig.start().await;
    rig.set("2026-01-02T02:05:00Z").await;
    assert_eq!(offsets(&rig, "2026-01-01"), offsets(&rig, "2026-01-02"));
    assert_eq!(offsets(&rig, "2026-01-02").len(), 200);
    assert!(rig.fires().iter().all(|fire| fire.outcome != Skipped && fire.count == 1));
}

#[tokio::test]
async fn the_list_of_fires_keeps_the_newest() {
    let mut rig = Rig::new(&["UTC"]).await;
    rig.options.fires_kept_max = 3;
    rig.add(schedule("0 2 * * *")).await;
    rig.start().await;
    for day in 1..=8 {
        rig.set(&format!("2026-01-0{day}T02:00:00Z")).await;
        rig.finish().await;
    }
    let numbers: Vec<u64> = rig.fires().iter().map(|fire| fire.number).collect();
    assert_eq!(numbers, [6, 7, 8]);
}

#[tokio::test]
async fn a_connector_has_the_schedule_that_its_setting_says() {
    let rig = Rig::new(&["UTC"]).await;
    let options = Options::default();
    let generated = async |rig: &Rig, change: fn(&mut Connector), now: i64| -> Vec<Schedule> {
        let options = options.clone();
        rig.write(move |txn| {
            let mut row = directory::connector(txn, CONNECTOR)?.unwrap();
            change(&mut row);
            directory::put_connector(txn, &row)?;
            keep_in_step(txn, &row, &options, now)?;
            schedules::of_connector(txn, CONNECTOR)
        })
        .await
    };
    assert_eq!(generated(&rig, |_| (), 10).await, []);
    let made = generated(&rig, |row| row.sync_config.enabled = true, 20).await;
    let [one] = &made[..] else { panic!("{made:?}") };
    assert_eq!(
        (one.cron.as_str(), one.timezone.as_deref(), one.generated),
        ("0 2 * * *", None, true)
    );
    assert_eq!((one.armed_at, one.version), (20, 1));
    assert_eq!(generated(&rig, |_| (), 30).await, made, "nothing changed");
    let moved =
        generated(&rig, |row| row.sync_config.schedule = Some("0 4 * * *".to_owned()), 40).await;
    assert_eq!((moved[0].cron.as_str(), moved[0].armed_at, moved[0].version), ("0 4 * * *", 40, 2));
    let renamed = generated(&rig, |row| row.name = "two".to_owned(), 50).await;
    assert_eq!((renamed[0].name.as_str(), renamed[0].armed_at), ("two", 40));
    let inactive = generated(&rig, |row| row.status = ConnectorStatus::Inactive, 60).await;
    assert_eq!(inactive, renamed, "what keeps it from running is told, and it stays");
    assert_eq!(generated(&rig, |row| row.deleted_at = Some(70), 70).await, []);
    let again = generated(&rig, |row| row.deleted_at = None, 80).await;
    assert_eq!(again[0].armed_at, 80);
    assert_eq!(generated(&rig, |row| row.sync_config.enabled = false, 90).await, []);
}

#[tokio::test]
async fn a_schedule_of_one_organization_leaves_the_others_alone() {
    let mut rig = Rig::new(&["UTC", "UTC"]).await;
    let organization = Some(OrgKey { id: "org2".to_owned(), no: OrgNo(2) });
    rig.add(Schedule { organization, ..schedule("0 2 * * *") }).await;
    rig.start().await;
    rig.set("2026-01-01T02:00:00Z").await;
    let of: Vec<u32> = rig.fires().iter().map(|fire| fire.connection.0).collect();
    assert_eq!(of, [2]);
}

/// Months of nights in a zone with changes of the clocks, with stops, kills and jumps of the clock at random: every
/// nominal fire is dealt with exactly once, and none comes to two runs.
#[test]
fn months_of_stops_and_kills_lose_and_double_nothing() {
    let step = (1_i64..40, 0_u8..8);
    let steps = proptest::collection::vec(step, 60..120);
    let cases =
        (steps, proptest::sample::select(vec!["30 1 * * *", "0 */4 * * *", "15 2 * * 1,4"]))
            .prop_map(|(steps, pattern)| (steps, pattern));
    test_seed::check(6, &cases, |(steps, pattern)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&steps, pattern));
        Ok(())
    });
}

async fn play(steps: &[(i64, u8)], pattern: &'static str) {
    let mut rig = Rig::new(&["Europe/Dublin"]).await;
    rig.clock.set(at("2026-03-01T00:00:00Z"));
    let begin = rig.clock.now();
    rig.connect(1, "Europe/Dublin").await;
    rig.add(schedule(pattern)).await;
    rig.start().await;
    let mut runs_seen = 0;
    for (hours, what) in steps {
        let next = rig.clock.now() + jiff::SignedDuration::from_mins(hours * 60 / 2 + 7);
        match what {
            // The loop is killed wherever it stands after the clock moved.
            0 => {
                rig.clock.set(next);
                rig.scheduler.ring();
                tokio::task::yield_now().await;
                rig.kill().await;
                rig.start().await;
            }
            1 => {
                rig.stop().await;
                rig.clock.set(next);
                rig.start().await;
            }
            2 => {
                rig.clock.set(rig.clock.now() - jiff::SignedDuration::from_mins(90));
                rig.settle().await;
                rig.clock.set(next);
                rig.settle().await;
            }
            _ => {
                rig.clock.set(next);
                rig.settle().await;
            }
        }
        if *what != 3 {
            runs_seen += rig.finish().await;
        }
    }
    runs_seen += rig.finish().await;
    let calendar = Calendar::new(
        crate::cron::parse(pattern).unwrap(),
        TimeZone::get("Europe/Dublin").unwrap(),
    );
    let expected = calendar.count(begin, rig.clock.now(), u64::MAX);
    let fires = rig.fires();
    let dealt: u64 = fires.iter().map(|fire| fire.count).sum();
    assert_eq!(dealt, expected, "`{pattern}`: {:?}", rig.told());
    let mut asked: Vec<RunId> = fires.iter().filter_map(|fire| fire.run).collect();
    let count = asked.len();
    asked.dedup();
    assert_eq!((asked.len(), count), (runs_seen, runs_seen), "each fire has a run of its own");
}
