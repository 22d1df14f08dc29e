//! The pool: claims jobs while there is room, renews their leases, stops them on a wish, drains on shutdown.

use super::{Deps, Failure, run};
use crate::clock;
use crate::model::RunId;
use crate::model::job::Job;
use crate::queue;
use crate::store::{self, jobs};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often the pool looks for due jobs when nobody rings.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// The running workers. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    deps: Deps,
    owner: Arc<str>,
    running: Arc<Mutex<HashMap<u64, CancellationToken>>>,
    stop: CancellationToken,
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
        while !self.stop.is_cancelled() {
            match self.claim().await {
                Ok(Some(job)) => {
                    tasks.spawn(self.clone().one(Arc::new(job)));
                }
                Ok(None) => self.wait(&mut tasks).await,
                Err(error) => {
                    tracing::error!(%error, "cannot claim a job");
                    tokio::time::sleep(IDLE_LOOK).await;
                }
            }
        }
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.deps.options.drain_max, drained).await.is_err() {
            tasks.shutdown().await;
        }
    }

    /// Stops claiming; [`Pool::work`] drains and returns.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Asks a running run to stop between pages.
    pub fn cancel(&self, run: RunId) {
        if let Some(token) = self.lock().get(&run.0) {
            token.cancel();
        }
    }

    async fn wait(&self, tasks: &mut JoinSet<()>) {
        tokio::select! {
            () = self.deps.bell.notified() => {}
            () = self.stop.cancelled() => {}
            Some(_) = tasks.join_next() => {}
            () = tokio::time::sleep(IDLE_LOOK) => {}
        }
    }

    async fn claim(&self) -> Result<Option<Job>, store::Error> {
        let (caps, owner) = (self.deps.options.caps, Arc::clone(&self.owner));
        // A look costs no write: most of the time there is nothing to claim.
        if jobs::all(&self.deps.store.read()?)?.is_empty() {
            return Ok(None);
        }
        let now = clock::to_millis(self.deps.clock.now());
        let lease = i64::try_from(self.deps.options.lease.as_millis()).unwrap_or(i64::MAX);
        self.deps.store.write(move |txn| queue::claim(txn, caps, &owner, now, lease)).await
    }

    async fn one(self, job: Arc<Job>) {
        let cancel = CancellationToken::new();
        self.lock().insert(job.run.0, cancel.clone());
        if self.is_unwanted(&job) {
            cancel.cancel();
        }
        let lease = tokio::spawn(self.clone().keep_lease(Arc::clone(&job), cancel.clone()));
        let work = tokio::spawn({
            let (deps, job, cancel) = (self.deps.clone(), Arc::clone(&job), cancel.clone());
            async move { run::run(&deps, job, cancel).await }
        });
        let abort = work.abort_handle();
        let lost = match tokio::time::timeout(self.deps.options.run_max, work).await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(failure))) => Some(failure),
            Ok(Err(panic)) => Some(Failure::panicked(panic)),
            Err(_) => {
                abort.abort();
                let minutes = self.deps.options.run_max.as_secs() / 60;
                let message = format!("the run took longer than {minutes} minutes");
                Some(Failure::new("run.timeout", message))
            }
        };
        if let Some(failure) = lost {
            tracing::error!(run = %job.run, code = failure.code, message = failure.message, "a run was lost");
            if let Err(error) = run::abandon(&self.deps, &job, failure).await {
                tracing::error!(run = %job.run, message = error.message, "its end could not be recorded");
            }
        }
        lease.abort();
        self.lock().remove(&job.run.0);
        self.deps.bell.notify_one();
    }

    /// Whether somebody wished to cancel the run before it was in the list of running ones: between its claim and now,
    /// or before a crash.
    fn is_unwanted(&self, job: &Job) -> bool {
        let row = self.deps.store.read().and_then(|read| jobs::get(&read, job.id));
        row.ok().flatten().is_some_and(|row| row.cancel)
    }

    /// Renews the lease while the run goes on; stops the run when it is lost.
    async fn keep_lease(self, job: Arc<Job>, cancel: CancellationToken) {
        let lease = self.deps.options.lease;
        loop {
            tokio::time::sleep(lease / 3).await;
            let until = clock::to_millis(self.deps.clock.now())
                + i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
            let (id, fence) = (job.id, job.fence);
            let renewed = self.deps.store.write(move |txn| queue::renew(txn, id, fence, until));
            if !renewed.await.unwrap_or(false) {
                cancel.cancel();
                return;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
