//! How a run is asked to stop before its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio_util::sync::CancellationToken;

/// Why a run must stop at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reason {
    /// A person cancelled it.
    Cancelled = 1,
    /// Another worker has its job.
    Lost = 2,
    /// The process ends: the job is given back.
    Drained = 3,
}

/// The wishes of one run, shared by who asks and who obeys.
#[derive(Clone, Default)]
pub(super) struct Halt {
    /// Stop at once: requests under way are dropped.
    now: CancellationToken,
    /// Stop behind the page under way.
    soon: CancellationToken,
    /// The first reason to stop at once.
    reason: Arc<AtomicU8>,
}

impl Halt {
    pub(super) fn stop(&self, reason: Reason) {
        let first = (0, reason as u8);
        let _ = self.reason.compare_exchange(first.0, first.1, Ordering::AcqRel, Ordering::Acquire);
        self.now.cancel();
    }

    /// The process will end: go no further than the page under way.
    pub(super) fn drain(&self) {
        self.soon.cancel();
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.now
    }

    pub(super) fn soon(&self) -> &CancellationToken {
        &self.soon
    }

    /// Why it stopped at once, if it was asked to.
    pub(super) fn reason(&self) -> Option<Reason> {
        match self.reason.load(Ordering::Acquire) {
            1 => Some(Reason::Cancelled),
            2 => Some(Reason::Lost),
            3 => Some(Reason::Drained),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stands() {
        let halt = Halt::default();
        assert_eq!((halt.reason(), halt.token().is_cancelled()), (None, false));
        halt.drain();
        assert_eq!((halt.reason(), halt.token().is_cancelled()), (None, false));
        halt.stop(Reason::Cancelled);
        halt.stop(Reason::Drained);
        assert_eq!((halt.reason(), halt.token().is_cancelled()), (Some(Reason::Cancelled), true));
    }
}
