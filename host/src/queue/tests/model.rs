//! A model of the queue under many hands: a seeded scheduler decides who makes the next step, and after each step the
//! rules must hold.
//!
//! The steps are the queue's transactions. The store runs one after the other whatever threads ask for them, so that an
//! order of transactions is all that concurrency can be, and a whole schedule fits into one transaction that is given
//! up at its end. `SYNCLINE_TEST_SEED` repeats, `SYNCLINE_TEST_SCHEDULES` explores further.

use super::{Rig, connection, connector, full, ids};
use crate::crash_point::Bug;
use crate::model::job::covers;
use crate::model::{ConnectionId, ConnectorId};
use crate::queue::*;
use crate::store::directory;
use crate::test_seed;
use std::collections::{BTreeMap, BTreeSet};

const SCHEDULES: u64 = 250;
const STEPS: usize = 120;
const ORGS: u32 = 3;
const CONNECTORS: u32 = 3;
const WORKERS: usize = 5;
const CAPS: Caps = Caps { running_max: 3, running_per_connector_max: 2, aging_millis: 400 };
const LEASE: i64 = 100;

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn of(&mut self, n: u32) -> u32 {
        1 + u32::try_from(self.below(u64::from(n))).unwrap()
    }
}

/// A worker between its claim and its end.
#[derive(Clone)]
struct Work {
    job: Job,
    /// It does not renew its lease any more, and will try to commit all the same.
    hung: bool,
}

/// What somebody asked for, and since when.
#[derive(Clone, Debug)]
struct Asked {
    org: OrgNo,
    connection: ConnectionId,
    request: EntityRequest,
    run: RunId,
    by_webhook: bool,
    /// The number of the step.
    step: usize,
    settled: bool,
}

struct Model<'a, 't> {
    txn: &'a Txn<'t>,
    dice: Dice,
    now: i64,
    step: usize,
    process: u64,
    workers: Vec<Option<Work>>,
    asked: Vec<Asked>,
    /// When each live claim was made.
    claimed: BTreeMap<(JobId, u64), usize>,
    sick: BTreeSet<u32>,
    /// The clock may be set back.
    back: bool,
    told: Vec<String>,
}

type Done = Result<(), store::Error>;

impl Model<'_, '_> {
    fn owner(&self) -> String {
        format!("process {}", self.process)
    }

    fn step(&mut self) -> Done {
        self.step += 1;
        self.now += i64::try_from(self.dice.below(40)).unwrap();
        match self.dice.below(100) {
            0..25 => self.ask()?,
            25..60 => self.work()?,
            60..75 => self.claim()?,
            75..82 => self.hold_on()?,
            82..87 => self.cancel()?,
            87..90 => self.restart()?,
            90..93 => self.hang(),
            93..96 => self.toggle()?,
            _ if self.back && self.dice.below(2) == 0 => self.now -= 700,
            _ => self.now += 300,
        }
        self.check()
    }

    fn tell(&mut self, words: String) {
        self.told.push(format!("{:4} t={} {words}", self.step, self.now));
    }

    fn ask(&mut self) -> Done {
        let (org, number) = (self.dice.of(ORGS), self.dice.of(CONNECTORS));
        let entity = ["member", "order"][usize::try_from(self.dice.below(2)).unwrap()];
        let trigger = [Trigger::Manual, Trigger::Webhook, Trigger::Scheduled, Trigger::Retry]
            [usize::try_from(self.dice.below(4)).unwrap()];
        let wanted = match trigger {
            Trigger::Webhook | Trigger::Retry => {
                ids(entity, &[&format!("id-{}", self.dice.below(5))])
            }
            Trigger::Manual | Trigger::Scheduled => full(entity),
        };
        let connection = connection(org, number);
        let asked = Request {
            connection: connection.clone(),
            requests: vec![wanted.clone()],
            trigger,
            dry_run: trigger == Trigger::Manual && self.dice.below(4) == 0,
            strategy: String::new(),
            requested_by: String::new(),
            max_retries: crate::retry::RETRIES_DEFAULT,
            now: self.now,
        };
        let dry_run = asked.dry_run;
        let running: Vec<RunId> = self.workers.iter().flatten().map(|work| work.job.run).collect();
        let enqueued = enqueue(self.txn, asked)?;
        self.tell(format!("{trigger:?} {wanted:?} of {}: {enqueued:?}", connection.id));
        let holds = self.workers.iter().flatten().any(|work| work.job.id == enqueued.job);
        let held = jobs::get(self.txn, enqueued.job)?.unwrap();
        assert!(held.state != JobState::Running, "joined a running job: {running:?} {holds}");
        if matches!(trigger, Trigger::Manual | Trigger::Retry) {
            assert!(held.due_at <= self.now, "a person's request starts at once: {held:?}");
        }
        if !dry_run {
            self.asked.push(Asked {
                org: connection.org_no,
                connection: connection.id,
                request: wanted,
                run: enqueued.run,
                by_webhook: trigger == Trigger::Webhook,
                step: self.step,
                settled: false,
            });
        }
        Ok(())
    }

    fn claim(&mut self) -> Done {
        let Some(free) = self.workers.iter().position(Option::is_none) else { return Ok(()) };
        let expect = self.best()?;
        assert_eq!(pick(self.txn, CAPS, self.now)?, expect, "the walk over the index is right");
        let owner = self.owner();
        let job = claim(self.txn, CAPS, &owner, self.now, LEASE)?;
        assert_eq!(job.as_ref().map(|job| job.id), expect);
        if let Some(job) = job {
            self.tell(format!("worker {free} claims {} of {}", job.id, job.connection));
            self.claimed.insert((job.id, job.fence), self.step);
            self.workers[free] = Some(Work { job, hung: false });
        }
        Ok(())
    }

    /// What a claim must take, by looking at every job.
    fn best(&self) -> Result<Option<JobId>, store::Error> {
        let all = jobs::checked(self.txn);
        let running: Vec<&Job> = all.iter().filter(|job| job.state == JobState::Running).collect();
        if running.len() >= CAPS.running_max {
            return Ok(None);
        }
        let may_run = |job: &&Job| {
            let waits = matches!(job.state, JobState::Pending | JobState::Waiting);
            let same = running.iter().filter(|other| other.connector == job.connector).count();
            let collides = running.iter().any(|other| collide(other, job));
            waits
                && (job.state == JobState::Pending || job.due_at <= self.now)
                && !self.sick.contains(&job.connector.0)
                && same < CAPS.running_per_connector_max
                && !collides
        };
        let rank = |job: &&Job| {
            let waited = (self.now - job.due_at).max(0) / CAPS.aging_millis;
            let of_org = running.iter().filter(|other| other.org_no == job.org_no).count();
            ((job.priority as i64 - waited).max(0), of_org, job.due_at, job.id)
        };
        Ok(all.iter().filter(may_run).min_by_key(rank).map(|job| job.id))
    }

    /// A worker's attempt ends, one way or another.
    fn work(&mut self) -> Done {
        let at = usize::try_from(self.dice.below(WORKERS as u64)).unwrap();
        let Some(work) = self.workers[at].take() else { return Ok(()) };
        let held = holder(self.txn, &work.job)?;
        self.tell(format!("worker {at} ends {}, holds it: {}", work.job.id, held.is_some()));
        let Some(held) = held else {
            assert!(work.hung, "a worker that renewed its lease lost {:?}", work.job);
            return Ok(());
        };
        assert_eq!(held.fence, work.job.fence);
        let mut run = runs::get(self.txn, held.run)?.unwrap();
        assert_eq!(run.status, RunStatus::Running);
        run.completed_at = Some(self.now);
        let sync = matches!(held.kind, JobKind::Sync { dry_run: false, .. });
        match self.dice.below(10) {
            _ if held.cancel => self.end(&held, run, RunStatus::Cancelled),
            0..6 => self.end(&held, run, RunStatus::Completed),
            6..9 if sync && held.retry_count < run.max_retries => {
                let due_at = self.now + 200 + i64::try_from(self.dice.below(200)).unwrap();
                let counts = self.dice.below(4) > 0;
                let postponed = Postponed { due_at, counts, told: !counts };
                let run = postpone(self.txn, &held, run, postponed)?;
                self.moved(&run)
            }
            _ => self.end(&held, run, RunStatus::Failed),
        }
    }

    fn end(&mut self, held: &Job, mut run: Run, status: RunStatus) -> Done {
        run.status = status;
        finish(self.txn, held, &run)?;
        if run.dry_run {
            return Ok(());
        }
        let since = self.claimed[&(held.id, held.fence)];
        for asked in self.asked.iter_mut().filter(|asked| asked.connection == held.connection) {
            let did = status == RunStatus::Completed
                && asked.step < since
                && covers(&run.requests, std::slice::from_ref(&asked.request));
            // Whoever failed for good, or was cancelled, is told so by the run.
            let told = asked.run == run.id && status != RunStatus::Completed;
            let goes_on = status == RunStatus::Cancelled && asked.by_webhook && !held.webhooks_only;
            asked.settled |= did || told && !goes_on;
        }
        self.follow(run.id)
    }

    /// What another run took over is that run's from now on.
    fn moved(&mut self, run: &Run) -> Done {
        if let Some(by) = run.superseded_by {
            self.asked
                .iter_mut()
                .filter(|asked| asked.run == run.id)
                .for_each(|asked| asked.run = by);
        }
        Ok(())
    }

    /// What webhooks brought into a cancelled run is another run's from now on.
    fn follow(&mut self, cancelled: RunId) -> Done {
        for at in 0..self.asked.len() {
            let asked = &self.asked[at];
            if asked.settled || asked.run != cancelled {
                continue;
            }
            let live = jobs::of_connection(self.txn, asked.org, asked.connection)?;
            let wanted = std::slice::from_ref(&asked.request);
            let able = live.iter().filter(|job| {
                let asks = requests_of(job);
                job.run != cancelled && asks.is_some_and(|asks| covers(asks, wanted))
            });
            // One that runs already may do the same and be another's: who took it over knows whose it is.
            let has = |job: &&Job| job.webhooks_only || covers(&job.from_webhooks, wanted);
            let new = able.max_by_key(has);
            let asked = format!("{asked:?}");
            let new = new.unwrap_or_else(|| panic!("lost by a cancellation: {asked}"));
            self.asked[at].run = new.run;
        }
        Ok(())
    }

    fn cancel(&mut self) -> Done {
        let all = jobs::checked(self.txn);
        if all.is_empty() {
            return Ok(());
        }
        let job = &all[usize::try_from(self.dice.below(all.len() as u64)).unwrap()];
        let became = cancel(self.txn, job.run, self.now)?;
        self.tell(format!("cancel {} of {}: {became:?}", job.run, job.connection));
        match became {
            Cancelled::Now => {
                assert_eq!(runs::get(self.txn, job.run)?.unwrap().status, RunStatus::Cancelled);
                let mixed = !job.webhooks_only;
                for asked in self.asked.iter_mut().filter(|asked| asked.run == job.run) {
                    asked.settled |= !(asked.by_webhook && mixed);
                }
                self.follow(job.run)
            }
            Cancelled::Asked => {
                assert!(jobs::get(self.txn, job.id)?.unwrap().cancel);
                Ok(())
            }
            Cancelled::TooLate => {
                assert_eq!(job.state, JobState::Dead, "{job:?}");
                Ok(())
            }
        }
    }

    fn hold_on(&mut self) -> Done {
        let claims: Vec<(JobId, u64)> = self
            .workers
            .iter()
            .flatten()
            .filter(|work| !work.hung)
            .map(|work| (work.job.id, work.job.fence))
            .collect();
        let held = hold_on(self.txn, &claims, self.now, self.now + LEASE)?;
        self.tell(format!("leases: {held:?}"));
        // Nobody else renews: also leases that were let run out are still the worker's, as long as it comes in time.
        assert!(held.lost.is_empty(), "{held:?}");
        Ok(())
    }

    fn hang(&mut self) {
        let at = usize::try_from(self.dice.below(WORKERS as u64)).unwrap();
        if let Some(work) = &mut self.workers[at] {
            work.hung = true;
            self.tell(format!("worker {at} hangs"));
        }
    }

    /// The process dies and another one starts; some workers of the old one are still about to commit.
    fn restart(&mut self) -> Done {
        self.process += 1;
        let owner = self.owner();
        let count = reclaim(self.txn, &owner)?;
        self.tell(format!("restart: {count} taken up"));
        for worker in &mut self.workers {
            match worker {
                Some(work) if self.dice.below(2) == 0 => work.hung = true,
                _ => *worker = None,
            }
        }
        assert!(jobs::running(self.txn)?.is_empty());
        Ok(())
    }

    fn toggle(&mut self) -> Done {
        let number = self.dice.of(CONNECTORS);
        let well = self.sick.remove(&number);
        if !well {
            self.sick.insert(number);
        }
        self.tell(format!("connector {number} well: {well}"));
        directory::put_connector(self.txn, &connector(number, well))
    }

    /// What holds after every step.
    fn check(&mut self) -> Done {
        let all = jobs::checked(self.txn);
        let running: Vec<&Job> = all.iter().filter(|job| job.state == JobState::Running).collect();
        assert!(running.len() <= CAPS.running_max, "{running:#?}");
        for (at, job) in running.iter().enumerate() {
            let same = running.iter().filter(|other| other.connector == job.connector).count();
            assert!(same <= CAPS.running_per_connector_max, "{running:#?}");
            let others = running.iter().skip(at + 1);
            assert!(others.clone().all(|other| !collide(other, job)), "{running:#?}");
            assert!(job.lease.is_some(), "{job:?}");
        }
        let mut lines = BTreeSet::new();
        for job in &all {
            if job.merges() && matches!(job.state, JobState::Pending | JobState::Waiting) {
                assert!(lines.insert((job.connection, format!("{:?}", job.state))), "{all:#?}");
            }
            let run = runs::get(self.txn, job.run)?.unwrap();
            let status = match job.state {
                JobState::Pending => RunStatus::Queued,
                JobState::Waiting => RunStatus::Waiting,
                JobState::Running => RunStatus::Running,
                JobState::Dead => RunStatus::Failed,
            };
            assert_eq!(run.status, status, "{job:?}");
            let shown = (job.state == JobState::Waiting).then_some(job.due_at);
            assert_eq!(run.next_retry_at, shown, "{run:?}");
        }
        let due = jobs::next_due(self.txn, self.now)?;
        let waits = |job: &&Job| job.state == JobState::Waiting;
        let later = all.iter().filter(waits).map(|job| job.due_at).filter(|due| *due > self.now);
        assert_eq!(due, later.min());
        Ok(())
    }

    /// Everybody works well from now on: the queue empties, and nobody's request was lost.
    fn settle(&mut self) -> Done {
        for number in std::mem::take(&mut self.sick) {
            directory::put_connector(self.txn, &connector(number, true))?;
        }
        self.workers.iter_mut().for_each(|worker| *worker = None);
        self.process += 1;
        let owner = self.owner();
        reclaim(self.txn, &owner)?;
        for round in 0.. {
            assert!(round < 10_000, "the queue does not empty: {:#?}", jobs::checked(self.txn));
            self.step += 1;
            self.now += 100;
            let Some(job) = claim(self.txn, CAPS, &owner, self.now, LEASE)? else {
                if jobs::checked(self.txn).iter().all(|job| job.state == JobState::Dead) {
                    break;
                }
                continue;
            };
            self.claimed.insert((job.id, job.fence), self.step);
            let run =
                Run { completed_at: Some(self.now), ..runs::get(self.txn, job.run)?.unwrap() };
            let cancelled = jobs::get(self.txn, job.id)?.unwrap().cancel;
            let status = if cancelled { RunStatus::Cancelled } else { RunStatus::Completed };
            self.end(&job, run, status)?;
            self.check()?;
        }
        let lost: Vec<&Asked> = self.asked.iter().filter(|asked| !asked.settled).collect();
        assert!(lost.is_empty(), "lost: {lost:#?}");
        Ok(())
    }
}

fn collide(a: &Job, b: &Job) -> bool {
    a.connection == b.connection
        || a.org_no == b.org_no && a.entities.iter().any(|entity| b.entities.contains(entity))
}

fn explore(rig: &Rig, seed: u64, back: bool) {
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = told.clone();
    let given_up = rig.store.write_blocking(move |txn| -> Result<(), store::Error> {
        let mut model = Model {
            txn,
            dice: Dice(seed),
            now: 1_000_000,
            step: 0,
            process: 0,
            workers: vec![None; WORKERS],
            asked: Vec::new(),
            claimed: BTreeMap::new(),
            sick: BTreeSet::new(),
            back,
            told: Vec::new(),
        };
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..STEPS).try_for_each(|_| model.step()).and_then(|()| model.settle())
        }));
        match run {
            Ok(run) => run?,
            Err(_) => *kept.lock().unwrap() = model.told,
        }
        // The transaction is given up: the next schedule begins with an empty queue.
        Err(store::Error::Closed)
    });
    assert!(matches!(given_up, Err(store::Error::Closed)), "{given_up:?}");
    let told = told.lock().unwrap();
    assert!(told.is_empty(), "schedule {seed} breaks a rule (see above):\n{}", told.join("\n"));
}

#[test]
fn no_schedule_breaks_a_rule() {
    let schedules = std::env::var("SYNCLINE_TEST_SCHEDULES");
    let schedules = schedules.map_or(SCHEDULES, |text| text.parse().unwrap());
    let seed = test_seed::seed();
    let rig = Rig::new(ORGS, CONNECTORS);
    for number in 0..schedules {
        explore(&rig, seed.wrapping_mul(1_000_003).wrapping_add(number), number % 2 == 1);
    }
    println!("{schedules} schedules of {STEPS} steps, and none breaks a rule");
}

/// A model that never found a bug is not to be trusted. The bug is planted in a process of its own.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release holds no bugs that a test plants")]
fn a_queue_without_fencing_breaks_a_rule() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "queue::tests::model::no_schedule_breaks_a_rule"])
        .env("PLANT_SYNCLINE_BUG", Bug::IgnoreFence.name())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "the bug was not found\n{said}");
    assert!(said.contains("breaks a rule (see above)"), "something else was found\n{said}");
}

/// Schedules that broke a rule once, each kept with its fault.
#[test]
fn no_schedule_breaks_a_rule_again() {
    let rig = Rig::new(ORGS, CONNECTORS);
    // A success withdrew a retry that somebody had joined while it was under way.
    explore(&rig, 20_260_274_781_044, false);
}

/// The ids of connections are made of both parts: a collision would weaken the model.
#[test]
fn the_model_tells_connections_apart() {
    let all = (1..=ORGS).flat_map(|org| (1..=CONNECTORS).map(move |n| connection(org, n)));
    let ids: BTreeSet<ConnectionId> = all.clone().map(|row| row.id).collect();
    assert_eq!(ids.len(), all.clone().count());
    assert!(all.clone().all(|row| row.connector_id <= ConnectorId(CONNECTORS)));
}
