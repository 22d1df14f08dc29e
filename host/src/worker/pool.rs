//! The pool: claims jobs while there is room, renews their leases, stops them on a wish, drains on shutdown.
//!
//! It waits for a bell or for the clock, never for a while: a clock that a test moves drives leases, the longest run,
//! retries and pruning. Only draining goes by real time, because a supervisor's patience does.

use super::ending::{self, Failed};
use super::halt::{Halt, Reason};
use super::{Deps, Failure, run};
use crate::clock;
use crate::model::RunId;
use crate::model::ids::JobId;
use crate::model::job::Job;
use crate::queue::{self, Held};
use crate::store::{self, jobs, staging};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Until the pool tries again what the store refused.
const PAUSE_MILLIS: i64 = 1_000;
/// Jobs that are pruned in one transaction.
const PRUNE_MAX: usize = 500;

/// The running workers. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    deps: Deps,
    owner: Arc<str>,
    running: Arc<Mutex<HashMap<JobId, Claim>>>,
    stop: CancellationToken,
}

struct Claim {
    run: RunId,
    fence: u64,
    halt: Halt,
}

impl Pool {
    /// `owner` names this process in leases.
    pub fn new(deps: Deps, owner: String) -> Pool {
        Pool { deps, owner: owner.into(), running: Arc::default(), stop: CancellationToken::new() }
    }

    /// Takes up what a dead process left.
    pub async fn reclaim(&self) -> Result<usize, store::Error> {
        let owner = Arc::clone(&self.owner);
        self.deps.store.write(move |txn| queue::reclaim(txn, &owner)).await
    }

    /// Works until [`Pool::stop`]; comes back when the last run has ended or was given back.
    pub async fn work(&self) {
        let mut tasks = JoinSet::new();
        let mut times = Times { tend_at: self.now(), hold_at: self.now() };
        while !self.stop.is_cancelled() {
            match self.round(&mut tasks, &mut times).await {
                Ok(wake_at) => self.wait(&mut tasks, wake_at).await,
                Err(error) => {
                    tracing::error!(%error, "the queue cannot be worked on");
                    self.wait(&mut tasks, Some(self.now() + PAUSE_MILLIS)).await;
                }
            }
        }
        self.drain(tasks).await;
    }

    /// Stops claiming; [`Pool::work`] drains and returns.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Asks a running run to stop between pages. What one that waited has staged is of no use any more.
    pub fn cancel(&self, run: RunId) {
        let mut runs = false;
        for claim in self.lock().values().filter(|claim| claim.run == run) {
            claim.halt.stop(Reason::Cancelled);
            runs = true;
        }
        if !runs {
            let store = self.deps.store.clone();
            let swept = tokio::task::spawn_blocking(move || sweep(&store));
            tokio::spawn(self.deps.clock.task(async move {
                // What is left now goes with the next look, a day later at most.
                if let Ok(Err(error)) = swept.await {
                    tracing::warn!(%error, "what a cancelled run has staged cannot be removed");
                }
            }));
        }
    }

    fn now(&self) -> i64 {
        clock::to_millis(self.deps.clock.now())
    }

    fn lease_millis(&self) -> i64 {
        i64::try_from(self.deps.options.lease.as_millis()).unwrap_or(i64::MAX)
    }

    /// Does all that is to be done now; answers when there is more without a bell.
    async fn round(
        &self,
        tasks: &mut JoinSet<()>,
        times: &mut Times,
    ) -> Result<Option<i64>, store::Error> {
        // By the time of the look: what becomes due while it takes is due again.
        let now = self.now();
        if now >= times.hold_at {
            self.hold_on(now).await?;
            times.hold_at = now + (self.lease_millis() / 3).max(1);
        }
        if now >= times.tend_at {
            self.tend(now).await?;
            times.tend_at = now + DAY_MILLIS;
        }
        for job in self.claim().await? {
            let halt = Halt::default();
            let claim = Claim { run: job.run, fence: job.fence, halt: halt.clone() };
            self.lock().insert(job.id, claim);
            tasks.spawn(self.deps.clock.task(self.clone().one(Arc::new(job), halt)));
        }
        let read = self.deps.store.read()?;
        let due = jobs::next_due(&read, self.now())?;
        let held = (!jobs::running(&read)?.is_empty()).then_some(times.hold_at);
        Ok([due, held, Some(times.tend_at)].into_iter().flatten().min())
    }

    async fn wait(&self, tasks: &mut JoinSet<()>, wake_at: Option<i64>) {
        let wake = wake_at.and_then(|at| Timestamp::from_millisecond(at).ok());
        let wake = wake.unwrap_or(Timestamp::MAX);
        let clock = &self.deps.clock;
        let woken = async {
            tokio::select! {
                () = self.deps.bell.notified() => {}
                () = self.stop.cancelled() => {}
                Some(_) = tasks.join_next() => {}
                () = clock.until(wake) => {}
            }
        };
        clock.rest(woken).await;
    }

    /// Claims all that may run now.
    async fn claim(&self) -> Result<Vec<Job>, store::Error> {
        let (caps, owner) = (self.deps.options.caps, Arc::clone(&self.owner));
        let (now, lease) = (self.now(), self.lease_millis());
        // A look costs no commit: most of the time there is nothing to claim, or nothing that may run.
        if queue::pick(&self.deps.store.read()?, caps, now)?.is_none() {
            return Ok(Vec::new());
        }
        // A run that meets a full disk takes the process with it. `upkeep` rings when there is room again.
        if self.deps.disk.is_full() {
            return Ok(Vec::new());
        }
        let claim_all = move |txn: &store::Txn| -> Result<Vec<Job>, store::Error> {
            let mut claimed = Vec::new();
            while let Some(job) = queue::claim(txn, caps, &owner, now, lease)? {
                claimed.push(job);
            }
            Ok(claimed)
        };
        self.deps.store.write(claim_all).await
    }

    async fn one(self, job: Arc<Job>, halt: Halt) {
        if self.is_unwanted(&job) {
            halt.stop(Reason::Cancelled);
        }
        if self.stop.is_cancelled() {
            halt.drain();
        }
        let pages_before = ending::staged(&self.deps, &job);
        let clock = &self.deps.clock;
        let progress = self.deps.board.start(job.run, clock.clone());
        let mut work = tokio::spawn({
            let (deps, job, halt) = (self.deps.clone(), Arc::clone(&job), halt.clone());
            let (progress, work) = (progress.clone(), clock.work());
            async move { (run::run(&deps, job, halt, pages_before, &progress).await, work) }
        });
        let run_max = self.deps.options.run_max;
        let end = clock.now().checked_add(run_max).unwrap_or(Timestamp::MAX);
        let ended = clock.rest(async {
            tokio::select! {
                ended = &mut work => Some(ended),
                () = clock.until(end) => None,
            }
        });
        let lost = match ended.await {
            Some(Ok((Ok(()), _))) => None,
            Some(Ok((Err(failure), _))) => Some(failure),
            Some(Err(panic)) => Some(Failure::panicked(panic)),
            None => {
                work.abort();
                // What it began apart from itself ends too.
                halt.stop(Reason::Lost);
                let minutes = run_max.as_secs() / 60;
                let message = format!("the run took longer than {minutes} minutes");
                Some(Failure::new("run.timeout", message))
            }
        };
        if let Some(failure) = lost {
            tracing::error!(run = %job.run, code = failure.code, message = failure.message, "a run was lost");
            let failed = Failed { failure, pages_before };
            if let Err(error) = ending::abandon(&self.deps, &job, failed, &progress).await {
                tracing::error!(run = %job.run, message = error.message, "its end could not be recorded");
            }
        }
        let mut running = self.lock();
        if running.get(&job.id).is_some_and(|claim| claim.fence == job.fence) {
            running.remove(&job.id);
        }
        drop(running);
        self.deps.bell.notify_one();
        self.deps.notices.notify_one();
    }

    /// Whether somebody wished to cancel the run before it was in the list of running ones: between its claim and now,
    /// or before a crash.
    fn is_unwanted(&self, job: &Job) -> bool {
        let row = self.deps.store.read().and_then(|read| jobs::get(&read, job.id));
        row.ok().flatten().is_some_and(|row| row.cancel)
    }

    /// Renews the leases of all runs that go on, in one commit, stops those that are lost, and takes back what nobody
    /// renews any more.
    async fn hold_on(&self, now: i64) -> Result<(), store::Error> {
        let live: Vec<(JobId, u64)> =
            self.lock().iter().map(|(id, claim)| (*id, claim.fence)).collect();
        if live.is_empty() && jobs::running(&self.deps.store.read()?)?.is_empty() {
            return Ok(());
        }
        let until = now.saturating_add(self.lease_millis());
        let renewed = live.clone();
        let held = self.deps.store.write(move |txn| queue::hold_on(txn, &renewed, now, until));
        let Held { lost, freed } = held.await?;
        if freed > 0 {
            tracing::warn!(freed, "took up jobs whose lease had ended");
        }
        let running = self.lock();
        for (id, fence) in live.iter().filter(|(id, _)| lost.contains(id)) {
            // A run that ended meanwhile is gone from here or will be.
            if let Some(claim) = running.get(id).filter(|claim| claim.fence == *fence) {
                claim.halt.stop(Reason::Lost);
            }
        }
        Ok(())
    }

    /// Forgets what is old: jobs that failed for good, and pages that were staged for runs that are over.
    async fn tend(&self, now: i64) -> Result<(), store::Error> {
        let before = now.saturating_sub(self.deps.options.dead_kept_millis);
        let mut pruned = PRUNE_MAX;
        while pruned == PRUNE_MAX && !jobs::dead(&self.deps.store.read()?, before, 1)?.is_empty() {
            pruned = self.deps.store.write(move |txn| queue::prune(txn, before, PRUNE_MAX)).await?;
        }
        let store = self.deps.store.clone();
        let swept = tokio::task::spawn_blocking(move || sweep(&store)).await;
        swept.unwrap_or_else(|error| Err(store::Error::Storage(error.to_string())))
    }

    /// Lets runs end by themselves for half of the time, then stops them behind the page under way, at last at once.
    /// What has not ended is given back.
    async fn drain(&self, mut tasks: JoinSet<()>) {
        let patience = self.deps.options.drain_max;
        if ended_within(&mut tasks, patience / 2).await {
            return;
        }
        self.lock().values().for_each(|claim| claim.halt.drain());
        if ended_within(&mut tasks, patience / 4).await {
            return;
        }
        self.lock().values().for_each(|claim| claim.halt.stop(Reason::Drained));
        if ended_within(&mut tasks, patience / 4).await {
            return;
        }
        tasks.shutdown().await;
        let left: Vec<(JobId, u64)> =
            self.lock().iter().map(|(id, claim)| (*id, claim.fence)).collect();
        let released = self.deps.store.write(move |txn| {
            left.iter().try_for_each(|(id, fence)| queue::release(txn, *id, *fence))
        });
        if let Err(error) = released.await {
            tracing::error!(%error, "jobs could not be given back: the next start takes them up");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Claim>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the pool looks after what no bell tells.
struct Times {
    /// Leases.
    hold_at: i64,
    /// Old jobs and pages.
    tend_at: i64,
}

async fn ended_within(tasks: &mut JoinSet<()>, time: Duration) -> bool {
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(time, all).await.is_ok()
}

/// Forgets what is staged for runs that no live job stands for.
fn sweep(store: &store::Store) -> Result<(), store::Error> {
    for holder in staging::holders(store)? {
        let read = store.read()?;
        let job = match store::runs::get(&read, holder.run)?.and_then(|run| run.job) {
            Some(id) => jobs::get(&read, id)?.filter(|job| job.ended_at.is_none()),
            None => None,
        };
        if job.is_none_or(|job| job.run != holder.run) {
            staging::clear(store, holder)?;
        }
    }
    Ok(())
}
