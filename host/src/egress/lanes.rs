//! The lanes out of the house: one for each credential at each host, shared by all runs that use it. A lane has a rate
//! limit and a number of connections; requests that wait are served in the order in which they came.
//!
//! Must not send anything, and must not know what is sent.

use super::bucket::Bucket;
use super::quota::Quota;
use super::waits::{WaitReason, Waits};
use crate::clock::Clock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Lanes that are kept. Beyond it those are forgotten first with which nothing is lost, the longest unused before others.
const LANES_MAX: usize = 1_024;

/// How a run's requests are paced.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Whose requests count together: the row of the credential.
    pub credential: Arc<str>,
    /// None for no limit but what the remote system says.
    pub requests_per_minute: Option<u32>,
    /// A person asked for this run: one of its requests may try whether a pause is over that it would not wait for.
    pub tries_pauses: bool,
}

/// How many requests may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// With one credential at one host.
    pub per_host_max: usize,
    /// In the whole process.
    pub overall_max: usize,
}

impl Default for Concurrency {
    fn default() -> Concurrency {
        Concurrency { per_host_max: 4, overall_max: 64 }
    }
}

/// The wait would be longer than the request may wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    /// When it would be its turn, from now.
    pub(super) wait: Duration,
    pub(super) reason: WaitReason,
}

/// All lanes of the process.
pub(super) struct Lanes {
    clock: Clock,
    concurrency: Concurrency,
    overall: Arc<Semaphore>,
    known: Mutex<HashMap<Key, Known>>,
    uses: AtomicU64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    credential: Arc<str>,
    /// With its port.
    host: String,
}

struct Known {
    lane: Arc<Lane>,
    used: u64,
}

/// One credential at one host.
struct Lane {
    clock: Clock,
    bucket: Mutex<Bucket>,
    /// Held by the request whose turn it is; the others queue behind it in order.
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicU32,
    connections: Arc<Semaphore>,
}

/// The right to send one request. The connection is free again when it is dropped.
pub(super) struct Pass {
    lane: Arc<Lane>,
    pub(super) waited: Duration,
    /// It tries whether a pause is over.
    trial: bool,
    _connection: OwnedSemaphorePermit,
    _overall: OwnedSemaphorePermit,
}

impl Lanes {
    pub(super) fn new(concurrency: Concurrency, clock: Clock) -> Lanes {
        let overall = Arc::new(Semaphore::new(concurrency.overall_max));
        Lanes { clock, concurrency, overall, known: Mutex::default(), uses: AtomicU64::new(0) }
    }

    /// Waits for a connection and for the rate limit, at most as long as `patience`. A caller that goes away while it
    /// waits leaves the queue. A `trial` waits for its own rate and not for the end of a pause.
    pub(super) async fn pass(
        &self,
        pace: &Pace,
        host: String,
        patience: Duration,
        waits: &Waits,
        trial: bool,
    ) -> Result<Pass, TooLong> {
        let clock = &self.clock;
        let started = clock.instant();
        let deadline = started + patience;
        let lane = self.lane(pace, host, started);
        let (connection, queued) = slot(&lane.connections, clock, deadline, waits).await?;
        let paced = lane.turn(deadline, waits, trial).await?;
        // Last, so that nobody keeps a place of everybody's while it waits for a limit of its own.
        let (overall, crowded) = slot(&self.overall, clock, deadline, waits).await?;
        let held_up = queued || paced || crowded;
        let waited = if held_up { clock.instant() - started } else { Duration::ZERO };
        Ok(Pass { lane, waited, trial, _connection: connection, _overall: overall })
    }

    fn lane(&self, pace: &Pace, host: String, now: Instant) -> Arc<Lane> {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        let key = Key { credential: Arc::clone(&pace.credential), host };
        let mut known = lock(&self.known);
        if let Some(known) = known.get_mut(&key) {
            known.used = used;
            lock(&known.lane.bucket).configure(pace.requests_per_minute, now);
            return Arc::clone(&known.lane);
        }
        if known.len() >= LANES_MAX {
            forget_one(&mut known, now);
        }
        let lane = Arc::new(Lane {
            clock: self.clock.clone(),
            bucket: Mutex::new(Bucket::new(pace.requests_per_minute, now)),
            turn: tokio::sync::Mutex::new(()),
            waiting: AtomicU32::new(0),
            connections: Arc::new(Semaphore::new(self.concurrency.per_host_max)),
        });
        known.insert(key, Known { lane: Arc::clone(&lane), used });
        lane
    }
}

impl Pass {
    /// Takes over what the answer told of the rate limit. `refused`: it was no answer but a request for patience.
    pub(super) fn learn(&self, quota: &Quota, refused: bool) {
        let mut bucket = lock(&self.lane.bucket);
        if self.trial && !refused {
            bucket.open();
        }
        bucket.learn(quota, self.lane.clock.instant());
    }
}

impl Lane {
    /// Waits until the rate limit lets this request go, behind those that came before. Whether it had to wait.
    async fn turn(&self, deadline: Instant, waits: &Waits, trial: bool) -> Result<bool, TooLong> {
        let too_long = |wait| TooLong { wait, reason: WaitReason::RateLimit };
        let (place, ahead) = Place::take(&self.waiting);
        let clock = &self.clock;
        let now = clock.instant();
        let told = lock(&self.bucket).wait(now, ahead);
        if now + told > deadline && !trial {
            return Err(too_long(told));
        }
        let waits_now = ahead > 0 || !told.is_zero();
        let _wait = waits_now.then(|| waits.begin(WaitReason::RateLimit));
        let Some(_turn) = clock.rest(clock.by(deadline, self.turn.lock())).await else {
            return Err(too_long(lock(&self.bucket).wait(clock.instant(), 0)));
        };
        loop {
            let now = clock.instant();
            let taken = lock(&self.bucket).take(now, trial);
            // The pause may have become longer meanwhile.
            match taken {
                Ok(()) => break,
                Err(wait) if now + wait > deadline => return Err(too_long(wait)),
                Err(wait) => clock.rest(clock.sleep(wait)).await,
            }
        }
        drop(place);
        Ok(waits_now)
    }
}

/// A place in a lane's queue; given up when it is dropped.
struct Place<'a>(&'a AtomicU32);

impl Place<'_> {
    /// With the number of those before.
    fn take(waiting: &AtomicU32) -> (Place<'_>, u32) {
        let ahead = waiting.fetch_add(1, Ordering::Relaxed);
        (Place(waiting), ahead)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One of a number of connections, and whether it had to be waited for.
async fn slot(
    connections: &Arc<Semaphore>,
    clock: &Clock,
    deadline: Instant,
    waits: &Waits,
) -> Result<(OwnedSemaphorePermit, bool), TooLong> {
    if let Ok(permit) = Arc::clone(connections).try_acquire_owned() {
        return Ok((permit, false));
    }
    let _wait = waits.begin(WaitReason::Connection);
    let patience = deadline.saturating_duration_since(clock.instant());
    let permit = clock.by(deadline, Arc::clone(connections).acquire_owned());
    match clock.rest(permit).await {
        Some(Ok(permit)) => Ok((permit, true)),
        // Nobody closes it, and nobody knows when one of the others is done.
        Some(Err(_)) | None => Err(TooLong { wait: patience, reason: WaitReason::Connection }),
    }
}

/// Makes room: a lane that nobody uses, with nothing to remember if there is one, the longest unused of those.
fn forget_one(known: &mut HashMap<Key, Known>, now: Instant) {
    let idle = known.iter().filter(|(_, known)| Arc::strong_count(&known.lane) == 1);
    let oldest = idle.min_by_key(|(_, known)| {
        let remembers = !lock(&known.lane.bucket).is_at_rest(now);
        (remembers, known.used)
    });
    if let Some(key) = oldest.map(|(key, _)| key.clone()) {
        known.remove(&key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn lanes(per_host_max: usize, overall_max: usize) -> Arc<Lanes> {
        Arc::new(Lanes::new(Concurrency { per_host_max, overall_max }, Clock::system()))
    }

    fn pace(credential: &str, requests_per_minute: impl Into<Option<u32>>) -> Pace {
        Pace {
            credential: credential.into(),
            requests_per_minute: requests_per_minute.into(),
            tries_pauses: false,
        }
    }

    fn pause(length: Duration) -> Quota {
        Quota { pause: Some(length), ..Quota::default() }
    }

    async fn pass(lanes: &Lanes, pace: &Pace, host: &str) -> Pass {
        lanes.pass(pace, host.to_owned(), PATIENCE, &Waits::default(), false).await.unwrap()
    }

    #[tokio::test]
    async fn one_credential_at_one_host_is_one_lane() {
        let lanes = lanes(4, 64);
        // One at once, then one each 300 ms.
        let slow = pace("con_1", 19);
        let waited = |pass: Pass| pass.waited;
        assert_eq!(waited(pass(&lanes, &slow, "a:443").await), Duration::ZERO);
        assert_eq!(waited(pass(&lanes, &slow, "b:443").await), Duration::ZERO, "another host");
        let other = pace("con_2", 19);
        assert_eq!(
            waited(pass(&lanes, &other, "a:443").await),
            Duration::ZERO,
            "another credential"
        );
        let waits = Waits::default();
        let patience = Duration::from_secs(1);
        let refused =
            lanes.pass(&slow, "a:443".to_owned(), patience, &waits, false).await.err().unwrap();
        assert_eq!(refused.reason, WaitReason::RateLimit);
        assert!(refused.wait > Duration::from_secs(2), "{refused:?}");
        assert_eq!((waits.now(), waits.total()), (None, Duration::ZERO), "it is told at once");
    }

    #[tokio::test]
    async fn the_waiting_are_served_in_order_and_see_that_they_wait() {
        let lanes = lanes(16, 64);
        let fast = pace("con_1", 1_200);
        // The burst is gone.
        for _ in 0..120 {
            pass(&lanes, &fast, "a:443").await;
        }
        let served = Arc::new(Mutex::new(Vec::new()));
        let waits = Arc::new(Waits::default());
        let mut tasks = Vec::new();
        for number in 0..8 {
            let (lanes, fast, waits) = (Arc::clone(&lanes), fast.clone(), Arc::clone(&waits));
            let served = Arc::clone(&served);
            tasks.push(tokio::spawn(async move {
                let pass =
                    lanes.pass(&fast, "a:443".to_owned(), PATIENCE, &waits, false).await.unwrap();
                lock(&served).push(number);
                pass.waited
            }));
            tokio::task::yield_now().await;
        }
        assert_eq!(waits.now(), Some(WaitReason::RateLimit));
        let mut last = Duration::ZERO;
        for task in tasks {
            let waited = task.await.unwrap();
            assert!(waited > last, "{waited:?} is not longer than {last:?}");
            last = waited;
        }
        assert_eq!(*lock(&served), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(waits.now(), None);
        assert!(waits.total() >= last - Duration::from_millis(50), "{:?}", waits.total());
    }

    #[tokio::test]
    async fn whoever_leaves_the_queue_is_not_waited_for() {
        let lanes = lanes(16, 64);
        let slow = pace("con_1", 1);
        pass(&lanes, &slow, "a:443").await;
        let waits = Waits::default();
        let minute = Duration::from_secs(70);
        {
            let waiting = lanes.pass(&slow, "a:443".to_owned(), minute, &waits, false);
            tokio::select! {
                biased;
                _ = waiting => panic!("there is no token"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(waits.now(), None);
        let refused =
            lanes.pass(&slow, "a:443".to_owned(), PATIENCE, &waits, false).await.err().unwrap();
        assert!(refused.wait <= Duration::from_secs(60), "nobody is before it: {refused:?}");
    }

    #[tokio::test]
    async fn a_pause_holds_for_all_also_for_those_that_wait() {
        let lanes = lanes(16, 64);
        let free = pace("con_1", None);
        let first = pass(&lanes, &free, "a:443").await;
        first.learn(&pause(Duration::from_millis(100)), true);
        let waits = Arc::new(Waits::default());
        let waiting = tokio::spawn({
            let (lanes, free, waits) = (Arc::clone(&lanes), free.clone(), Arc::clone(&waits));
            async move {
                lanes.pass(&free, "a:443".to_owned(), PATIENCE, &waits, false).await.map(|_| ())
            }
        });
        while waits.now().is_none() {
            tokio::task::yield_now().await;
        }
        first.learn(&pause(Duration::from_secs(60)), true);
        let refused = waiting.await.unwrap().unwrap_err();
        assert!(refused.wait > Duration::from_secs(50), "the longer pause is seen: {refused:?}");
    }

    #[tokio::test]
    async fn connections_are_bounded_in_a_lane_and_overall() {
        let lanes = lanes(2, 3);
        let free = pace("con_1", None);
        let first = pass(&lanes, &free, "a:443").await;
        let _second = pass(&lanes, &free, "a:443").await;
        let _third = pass(&lanes, &free, "b:443").await;
        let short = Duration::from_millis(20);
        for host in ["a:443", "b:443"] {
            let waits = Waits::default();
            let refused =
                lanes.pass(&free, host.to_owned(), short, &waits, false).await.err().unwrap();
            assert_eq!(refused.reason, WaitReason::Connection, "{host}");
            assert!(waits.total() >= short, "{host}");
        }
        drop(first);
        pass(&lanes, &free, "b:443").await;
    }

    #[tokio::test]
    async fn lanes_are_forgotten_but_not_those_that_are_closed() {
        let lanes = lanes(4, 64);
        let free = pace("con_1", None);
        let closed = pass(&lanes, &free, "closed:443").await;
        closed.learn(&pause(Duration::from_secs(60)), true);
        drop(closed);
        let used = pass(&lanes, &free, "used:443").await;
        for number in 0..2 * LANES_MAX {
            pass(&lanes, &free, &format!("{number}:443")).await;
        }
        assert_eq!(lock(&lanes.known).len(), LANES_MAX);
        let waits = Waits::default();
        let short = Duration::from_millis(1);
        lanes.pass(&free, "closed:443".to_owned(), short, &waits, false).await.err().unwrap();
        let again = pass(&lanes, &free, "used:443").await;
        assert!(Arc::ptr_eq(&again.lane, &used.lane));
    }
}
