//! How long a run has waited for others, and what for: shown while it runs, and kept off its plugin's clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// Its turn under the rate limit, or the end of a pause that the remote system asked for.
    RateLimit,
    /// One of the connections to the host.
    Connection,
    /// The next attempt after a failure.
    Retry,
}

impl WaitReason {
    /// In words for the run's progress.
    pub fn as_str(self) -> &'static str {
        match self {
            WaitReason::RateLimit => "waiting for the rate limit",
            WaitReason::Connection => "waiting for a free connection",
            WaitReason::Retry => "waiting for the next attempt",
        }
    }
}

/// The waits of one run.
#[derive(Debug, Default)]
pub struct Waits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Those under way.
    reasons: Vec<WaitReason>,
    since: Option<Instant>,
    /// Ended ones; what two requests waited at the same time counts once.
    done: Duration,
    retry_at: Option<i64>,
}

impl Waits {
    /// The sum so far, waits under way included.
    pub fn total(&self) -> Duration {
        let state = self.lock();
        state.done + state.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// What the run waits for now.
    pub fn now(&self) -> Option<WaitReason> {
        self.lock().reasons.first().copied()
    }

    /// When the run may be tried again, in milliseconds since the epoch, if it was given up because of a rate limit.
    pub fn retry_at(&self) -> Option<i64> {
        self.lock().retry_at
    }

    pub(super) fn give_up(&self, retry_at: i64) {
        let mut state = self.lock();
        state.retry_at = state.retry_at.max(Some(retry_at));
    }

    /// A wait begins; it ends when the answer is dropped.
    pub(super) fn begin(&self, reason: WaitReason) -> Wait<'_> {
        let mut state = self.lock();
        state.reasons.push(reason);
        state.since.get_or_insert_with(Instant::now);
        Wait { waits: self, reason }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait under way.
pub(super) struct Wait<'a> {
    waits: &'a Waits,
    reason: WaitReason,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.waits.lock();
        if let Some(at) = state.reasons.iter().position(|reason| *reason == self.reason) {
            state.reasons.remove(at);
        }
        if state.reasons.is_empty()
            && let Some(since) = state.since.take()
        {
            state.done += since.elapsed();
        }
    }
}
