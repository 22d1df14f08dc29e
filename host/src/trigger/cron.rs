//! The loop of the schedules: it sleeps until the next fire is due, and deals with it.
//!
//! What is due follows from patterns and last fires in the store, never from a job: a fire that was lost on its way is
//! found at the next look. The loop looks at everything when somebody rings, and every half a minute by the clock.

use super::due::{Due, instant};
use super::fire::{self, Entry, Fired, Ground};
use super::targets::{self, Timetable};
use super::{Cancel, Options, Requests, generated};
use crate::clock::{self, Clock};
use crate::disk::Disk;
use crate::model::schedule::Schedule;
use crate::store::{self, Read, Store, directory, lookup, schedules};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(30);
/// Fires of different connections that share a transaction.
const FIRES_AT_ONCE: usize = 64;
/// Connectors that are gone through in one transaction at the start.
const CONNECTORS_AT_ONCE: usize = 64;

/// What schedules stand on. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    store: Store,
    disk: Disk,
    clock: Clock,
    requests: Requests,
    cancel: Cancel,
    options: Arc<Options>,
    bell: Arc<Notify>,
    jobs: Arc<Notify>,
    notices: Arc<Notify>,
    looked: Arc<watch::Sender<Option<Looked>>>,
}

/// How far the loop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// All that was due at this time was dealt with.
    pub at: Timestamp,
    /// When the next fire is due, as far as is known now.
    pub next: Option<Timestamp>,
}

impl Scheduler {
    /// `jobs` and `notices` are rung after fires that asked for runs, or raised an event.
    pub fn new(
        (store, disk): (Store, Disk),
        clock: Clock,
        (requests, cancel): (Requests, Cancel),
        (jobs, notices): (Arc<Notify>, Arc<Notify>),
        options: Options,
    ) -> Scheduler {
        Scheduler {
            store,
            disk,
            clock,
            requests,
            cancel,
            options: Arc::new(options),
            bell: Arc::default(),
            jobs,
            notices,
            looked: Arc::new(watch::Sender::new(None)),
        }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Says that a schedule changed, or a connection, connector or organization that one may be for.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Follows how far the loop has come: who sets the clock by hand waits for it.
    pub fn looked(&self) -> watch::Receiver<Option<Looked>> {
        self.looked.subscribe()
    }

    /// Works until `stop`.
    pub async fn work(self, stop: CancellationToken) {
        if let Err(error) = self.generate().await {
            tracing::error!(%error, "cannot make the schedules of the connectors");
        }
        let (mut plan, mut rung) = (Plan::default(), true);
        while !stop.is_cancelled() {
            let now = self.clock.now();
            let stepped = self.step(&mut plan, now, rung).await;
            if let Err(error) = stepped {
                tracing::error!(%error, "cannot look after the schedules");
                plan = Plan { looked_at: Some(now), ..Plan::default() };
            }
            let next = plan.entries.first().map(|entry| instant(entry.at));
            self.looked.send_replace(Some(Looked { at: now, next }));
            let look = now.checked_add(LOOK_EVERY).unwrap_or(now).min(plan.look_again_at());
            // What is due and could not be dealt with waits for the next look.
            let ahead = next.filter(|next| *next > now).unwrap_or(Timestamp::MAX);
            let woken = async {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => false,
                    () = self.bell.notified() => true,
                    () = self.clock.until(ahead) => false,
                    () = self.clock.look(look) => false,
                }
            };
            rung = self.clock.rest(woken).await;
        }
    }

    async fn step(&self, plan: &mut Plan, now: Timestamp, rung: bool) -> Result<(), store::Error> {
        if rung || now >= plan.look_again_at() || plan.looked_at.is_none_or(|at| now < at) {
            *plan = self.look(now).await?;
        }
        // What is not written down now is made up for when there is room.
        if self.disk.is_full() {
            return Ok(());
        }
        self.fire_due(plan, now).await
    }

    /// Looks at all schedules and their connections.
    async fn look(&self, now: Timestamp) -> Result<Plan, store::Error> {
        let store = self.store.clone();
        let look = tokio::task::spawn_blocking(move || Plan::of(&store.read()?, now));
        look.await.map_err(|error| store::Error::Storage(error.to_string()))?
    }

    async fn fire_due(&self, plan: &mut Plan, now: Timestamp) -> Result<(), store::Error> {
        loop {
            let due = plan.take(clock::to_millis(now));
            if due.is_empty() {
                return Ok(());
            }
            let (requests, options) = (Arc::clone(&self.requests), Arc::clone(&self.options));
            let now = clock::to_millis(now);
            let fired = self.store.write(move |txn| -> Result<_, store::Error> {
                let ground = Ground { requests: &requests, options: &options, now };
                let mut fired = Fired::default();
                for entry in &due {
                    fire::fire(txn, &ground, *entry, &mut fired)?;
                }
                Ok(fired)
            });
            let Fired { again, enqueued, raised, cancelled } = fired.await?;
            crate::crash_point::reached("schedule:fired");
            cancelled.into_iter().for_each(|run| (self.cancel)(run));
            plan.entries.extend(again);
            if enqueued {
                self.jobs.notify_one();
            }
            if raised {
                self.notices.notify_one();
            }
        }
    }

    /// Makes the schedules that connectors of an earlier program lack.
    async fn generate(&self) -> Result<(), store::Error> {
        let mut after = None;
        loop {
            let (options, now) = (Arc::clone(&self.options), clock::to_millis(self.clock.now()));
            let done = self.store.write(move |txn| -> Result<_, store::Error> {
                let found = lookup::connectors(txn, None, after, CONNECTORS_AT_ONCE)?;
                for connector in &found {
                    generated::keep_in_step(txn, connector, &options, now)?;
                }
                Ok(found.last().map(|connector| connector.id))
            });
            match done.await? {
                None => return Ok(()),
                last => after = last,
            }
        }
    }
}

/// What will be due when, as it was known at the last look.
#[derive(Debug, Default)]
struct Plan {
    /// By time.
    entries: BTreeSet<Entry>,
    /// When a look is needed earlier than every half a minute: the end of a pause.
    wake: Option<Timestamp>,
    looked_at: Option<Timestamp>,
}

impl Plan {
    fn of(read: &dyn Read, now: Timestamp) -> Result<Plan, store::Error> {
        let mut plan = Plan { looked_at: Some(now), ..Plan::default() };
        let millis = clock::to_millis(now);
        for schedule in schedules::all(read)? {
            if let Some(until) = schedule.pause_at(millis).and_then(|pause| pause.until) {
                let until = instant(until);
                plan.wake = Some(plan.wake.map_or(until, |wake| wake.min(until)));
            }
            if schedule.enabled && schedule.pause_at(millis).is_none() {
                plan.add(read, &schedule, millis)?;
            }
        }
        Ok(plan)
    }

    fn add(&mut self, read: &dyn Read, schedule: &Schedule, now: i64) -> Result<(), store::Error> {
        if directory::connector(read, schedule.connector)?.is_none() {
            return Ok(());
        }
        let mut timetable = Timetable::new(schedule);
        for connection in targets::connections(read, schedule)? {
            let target = schedules::target(read, schedule.id, connection.id)?.unwrap_or_default();
            let due = targets::due(read, schedule, &mut timetable, (&connection, &target), now)?;
            let at = match due {
                _ if targets::is_lost(schedule, (&connection, &target), now) => now,
                None | Some(Due::Never) => continue,
                Some(Due::Later(at)) => at,
                Some(Due::Now { .. }) => now,
            };
            let (org, connection) = (connection.org_no, connection.id);
            self.entries.insert(Entry { at, schedule: schedule.id, org, connection });
        }
        Ok(())
    }

    fn look_again_at(&self) -> Timestamp {
        let at = self.looked_at.unwrap_or(Timestamp::MIN);
        let at = at.checked_add(LOOK_EVERY).unwrap_or(at);
        self.wake.map_or(at, |wake| wake.min(at))
    }

    /// Takes out what is due, a transaction's worth of it.
    fn take(&mut self, now: i64) -> Vec<Entry> {
        let mut due = Vec::new();
        while due.len() < FIRES_AT_ONCE
            && let Some(entry) = self.entries.first().filter(|entry| entry.at <= now).copied()
        {
            self.entries.remove(&entry);
            due.push(entry);
        }
        due
    }
}
