//! What the server remembers about callers between requests: failed logins, the pace of each caller, how many
//! passwords are being hashed. Lost at a restart, bounded in memory.

use super::live::Streams;
use super::logins::Logins;
use super::pace::Pace;
use super::problem::Problem;
use super::request::Ids;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Each takes 19 MiB and a core.
const HASHING_MAX: usize = 2;
/// How long a login waits for its turn to be hashed.
const HASHING_WAIT: Duration = Duration::from_secs(5);
/// Failed logins that get an audit entry of their own in one window; the others are counted.
const FAILURES_LOGGED_MAX: u32 = 20;
const FAILURES_WINDOW_MILLIS: i64 = 60 * 60 * 1_000;

/// Settings of logins and callers.
#[derive(Clone, Debug)]
pub struct Options {
    pub session_idle: Duration,
    pub session_max: Duration,
    /// Cookies only travel over TLS.
    pub secure: bool,
    /// Scheme, host and port by which browsers reach this server, where it was configured.
    pub origin: Option<String>,
    /// Requests of one caller; 0 is no limit.
    pub requests_per_minute_max: u64,
    /// Streams that are open at once: in all, and of one caller.
    pub streams_max: usize,
    pub caller_streams_max: usize,
}

/// Shared by all requests.
pub struct Gate {
    pub(super) options: Options,
    pub(super) ids: Ids,
    pub(super) streams: Streams,
    logins: Mutex<Logins>,
    pace: Mutex<Pace>,
    hashing: Semaphore,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    since: i64,
    logged: u32,
    suppressed: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// `process` names this process in the ids of requests.
    pub fn new(options: Options, process: String) -> Gate {
        Gate {
            ids: Ids::new(process),
            streams: Streams::new(options.streams_max, options.caller_streams_max),
            pace: Mutex::new(Pace::new(options.requests_per_minute_max)),
            options,
            logins: Mutex::new(Logins::new()),
            hashing: Semaphore::new(HASHING_MAX),
            failures: Mutex::default(),
        }
    }

    /// Counts a request of a caller; 429 where it asks faster than it may.
    pub(super) fn pace(&self, caller: &str, now: i64) -> Result<(), Problem> {
        lock(&self.pace).take(caller, now).map_err(|wait| {
            Problem::wait("request.rate", wait, "this caller asks faster than it may")
        })
    }

    /// Lets a login be tried; 429 where it failed too often just now.
    pub(super) fn login(
        &self,
        account: &str,
        address: Option<IpAddr>,
        now: i64,
    ) -> Result<(), Problem> {
        lock(&self.logins).attempt(account, address, now).map_err(|millis| {
            let detail = "too many logins failed for this account or from this address";
            Problem::wait("login.throttled", millis, detail)
        })
    }

    pub(super) fn logged_in(&self, account: &str, address: Option<IpAddr>) {
        lock(&self.logins).succeeded(account, address);
    }

    /// Runs something slow about a password beside the async threads, few at a time.
    pub(super) async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = tokio::time::timeout(HASHING_WAIT, self.hashing.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Problem::wait("login.throttled", 1_000, "too many logins at once"));
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))
    }

    /// Whether a failed login gets an entry in the audit log, and how many before it got none.
    pub(super) fn failure_to_log(&self, now: i64) -> Option<u64> {
        let mut failures = lock(&self.failures);
        if now - failures.since >= FAILURES_WINDOW_MILLIS {
            (failures.since, failures.logged) = (now, 0);
        }
        if failures.logged >= FAILURES_LOGGED_MAX {
            failures.suppressed += 1;
            return None;
        }
        failures.logged += 1;
        Some(std::mem::take(&mut failures.suppressed))
    }
}
