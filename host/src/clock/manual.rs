//! A clock that somebody moves: who waits for which time, who is at work, and who of these only rests.
//!
//! Whether all rest must never be answered too early, or a simulation would move on while something still happens. So who
//! rests is woken through a waker that ends the rest at once: a bell, a commit or the clock itself ends it before the one
//! who rings goes on and perhaps rests in turn.

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Manual {
    now: watch::Sender<Timestamp>,
    /// Where it began, by real time and by its own.
    begun: (Instant, Timestamp),
    seed: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many wait for which time.
    awaited: BTreeMap<Timestamp, usize>,
    working: usize,
    /// Of those.
    resting: usize,
}

impl Manual {
    pub(super) fn new(at: Timestamp, seed: u64) -> Manual {
        let (now, state) = (watch::Sender::new(at), Mutex::default());
        Manual { now, begun: (Instant::now(), at), seed, state, changed: Condvar::new() }
    }

    pub(super) fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    pub(super) fn instant(&self) -> Instant {
        let (instant, at) = self.begun;
        instant + Duration::try_from(self.now().duration_since(at)).unwrap_or_default()
    }

    pub(super) fn set(&self, at: Timestamp) {
        self.now.send_replace(at);
    }

    pub(super) fn awaited(&self) -> Option<Timestamp> {
        let now = self.now();
        self.lock().awaited.keys().find(|at| **at > now).copied()
    }

    pub(super) async fn until(&self, at: Timestamp, counts: bool) {
        // The end of all time is nothing to move to.
        let counts = counts && at < Timestamp::MAX;
        let _waiting = counts.then(|| Waiting::new(self, at));
        // The sender is ours: it cannot be closed while this waits.
        drop(self.now.subscribe().wait_for(|now| *now >= at).await);
    }

    pub(super) fn is_settled_within(&self, patience: Duration) -> bool {
        let busy = |state: &mut State| state.resting < state.working;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !busy(&mut state)
    }

    pub(super) fn chance(&self, of: &str) -> u32 {
        let digest = Sha256::digest(format!("{} {} {of}", self.seed, self.now()));
        u32::from_be_bytes(digest.first_chunk().copied().unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        if state.resting == state.working {
            self.changed.notify_all();
        }
    }
}

/// One who waits for a time; no more when it is dropped.
struct Waiting<'a>(&'a Manual, Timestamp);

impl Waiting<'_> {
    fn new(manual: &Manual, at: Timestamp) -> Waiting<'_> {
        *manual.lock().awaited.entry(at).or_default() += 1;
        Waiting(manual, at)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Some(count) = state.awaited.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                state.awaited.remove(&self.1);
            }
        }
    }
}

/// One who is at work.
#[derive(Debug)]
#[must_use = "the work ends when this is dropped"]
pub struct Work(Option<Arc<Manual>>);

impl Work {
    pub(super) fn new(manual: Option<Arc<Manual>>) -> Work {
        if let Some(manual) = &manual {
            manual.change(|state| state.working += 1);
        }
        Work(manual)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(manual) = &self.0 {
            manual.change(|state| state.working -= 1);
        }
    }
}

pub(super) async fn rest<F: Future>(manual: &Arc<Manual>, future: F) -> F::Output {
    let mut future = pin!(future);
    let rest = Rest(Arc::new(Waking { manual: Arc::clone(manual), inner: Mutex::default() }));
    poll_fn(|context| rest.poll(context, future.as_mut())).await
}

/// The rest of one task. It has ended when this is dropped.
struct Rest(Arc<Waking>);

struct Waking {
    manual: Arc<Manual>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    resting: bool,
    /// Since the poll under way began.
    woken: bool,
    task: Option<Waker>,
}

impl Rest {
    fn poll<F: Future>(&self, context: &mut Context<'_>, future: Pin<&mut F>) -> Poll<F::Output> {
        self.0.with(|inner, manual| {
            inner.rise(manual);
            inner.woken = false;
            inner.task = Some(context.waker().clone());
        });
        let waker = Waker::from(Arc::clone(&self.0));
        let polled = future.poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            self.0.with(|inner, manual| inner.lie_down(manual));
        }
        polled
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.with(|inner, manual| {
            inner.rise(manual);
            // Wakers may outlive the rest, and wake nobody then.
            inner.task = None;
            inner.woken = true;
        });
    }
}

impl Waking {
    fn with<T>(&self, act: impl FnOnce(&mut Inner, &Manual) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner), &self.manual)
    }
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        let task = self.with(|inner, manual| {
            inner.woken = true;
            inner.rise(manual);
            inner.task.clone()
        });
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Inner {
    fn lie_down(&mut self, manual: &Manual) {
        if !self.woken && !self.resting {
            self.resting = true;
            manual.change(|state| state.resting += 1);
        }
    }

    fn rise(&mut self, manual: &Manual) {
        if std::mem::take(&mut self.resting) {
            manual.change(|state| state.resting -= 1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Clock;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::sync::Notify;

    const NOW: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(60);

    fn clock() -> Clock {
        Clock::fixed("2026-01-01T00:00:00Z".parse().unwrap())
    }

    fn settled(clock: &Clock, patience: Duration) -> bool {
        tokio::task::block_in_place(|| clock.is_settled_within(patience))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_works_is_waited_for_and_who_rests_is_not() {
        let clock = clock();
        assert!(settled(&clock, NOW), "nobody works");
        let work = clock.work();
        assert!(!settled(&clock, NOW));
        let bell = Arc::new(Notify::new());
        let resting = tokio::spawn({
            let (clock, bell) = (clock.clone(), Arc::clone(&bell));
            async move {
                clock.rest(bell.notified()).await;
                work
            }
        });
        assert!(settled(&clock, LONG));
        bell.notify_one();
        assert!(!settled(&clock, NOW), "it is awake before the bell has ended");
        drop(resting.await.unwrap());
        assert!(settled(&clock, NOW));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_clock_wakes_at_once_and_a_dropped_rest_is_none() {
        let clock = clock();
        let later = clock.now() + Duration::from_secs(5);
        let resting = tokio::spawn(clock.task({
            let clock = clock.clone();
            async move {
                clock.rest(clock.until(later)).await;
                // Somebody who rests is given up.
                let given_up = clock.rest(std::future::pending::<()>());
                tokio::time::timeout(Duration::from_millis(1), given_up).await.unwrap_err();
            }
        }));
        assert!(settled(&clock, LONG));
        assert_eq!(clock.awaited(), Some(later));
        clock.set(later);
        resting.await.unwrap();
        assert!(settled(&clock, NOW));
        assert_eq!(clock.awaited(), None);
    }

    /// A long row of tasks that wake each other: at no moment all of them rest.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn work_that_is_handed_on_is_never_overlooked() {
        const HANDS: usize = 2_000;
        let clock = clock();
        let bells: Arc<Vec<Notify>> = Arc::new((0..=HANDS).map(|_| Notify::new()).collect());
        let tasks: Vec<_> = (0..HANDS)
            .map(|at| {
                let (bells, clock) = (Arc::clone(&bells), clock.clone());
                tokio::spawn(clock.clone().task(async move {
                    clock.rest(bells[at].notified()).await;
                    bells[at + 1].notify_one();
                }))
            })
            .collect();
        assert!(settled(&clock, LONG));
        bells[0].notify_one();
        assert!(settled(&clock, LONG));
        let ended = tokio::time::timeout(NOW, bells[HANDS].notified()).await;
        assert!(ended.is_ok(), "it looked settled before the last had its turn");
        for task in tasks {
            task.await.unwrap();
        }
    }
}
