//! How a running run stands, in memory: what the API shows while the rows are not committed yet.

use super::requests::RequestLog;
use crate::clock::{self, Clock};
use crate::egress::{WaitReason, Waits};
use crate::model::RunId;
use crate::model::plan::PlanWarning;
use crate::model::run::{Counts, PhaseTiming};
use crate::plugin::LogLine;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// How many log lines of one run are kept.
const LOG_LINES_MAX: usize = 2_000;

/// A view of a run in progress.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    pub phase: String,
    pub page: u64,
    /// As the remote claims.
    pub total: Option<u64>,
    pub counts: Counts,
    /// What its requests wait for now, in words.
    pub waiting: Option<&'static str>,
    /// How long they have waited, in milliseconds.
    pub waited_millis: u64,
}

/// All runs in progress.
#[derive(Clone, Default)]
pub struct Board {
    runs: Arc<Mutex<HashMap<u64, Progress>>>,
    pulse: Arc<watch::Sender<u64>>,
}

impl Board {
    pub fn start(&self, run: RunId, clock: Clock) -> Progress {
        let progress = Progress { inner: Arc::default(), clock, pulse: Arc::clone(&self.pulse) };
        lock(&self.runs).insert(run.0, progress.clone());
        progress
    }

    pub fn end(&self, run: RunId) {
        lock(&self.runs).remove(&run.0);
        beat(&self.pulse);
    }

    /// Changes whenever a run came further; which one it does not say.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.pulse.subscribe()
    }

    pub fn view(&self, run: RunId) -> Option<View> {
        let progress = lock(&self.runs).get(&run.0).cloned()?;
        Some(progress.view())
    }
}

/// One run's side of the board.
#[derive(Clone, Default)]
pub struct Progress {
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
    pulse: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct Inner {
    view: View,
    logs: Vec<serde_json::Value>,
    left_out: u64,
    phases: Vec<PhaseTiming>,
    since: Option<Instant>,
    waits: Arc<Waits>,
    requests: RequestLog,
}

impl Progress {
    /// Starts a phase and closes the one before.
    pub fn phase(&self, phase: &str) {
        let mut inner = lock(&self.inner);
        inner.close_phase();
        phase.clone_into(&mut inner.view.phase);
        inner.since = Some(Instant::now());
        beat(&self.pulse);
    }

    /// Shows what the run's requests wait for from here on, and keeps their list for whoever ends the run.
    pub(super) fn follow(&self, waits: Arc<Waits>, requests: RequestLog) {
        let mut inner = lock(&self.inner);
        (inner.waits, inner.requests) = (waits, requests);
    }

    /// The requests so far; leaves none behind.
    pub(super) fn take_requests(&self) -> Vec<serde_json::Value> {
        let requests = lock(&self.inner).requests.clone();
        requests.take()
    }

    pub fn view(&self) -> View {
        let inner = lock(&self.inner);
        View {
            waiting: inner.waits.now().map(WaitReason::as_str),
            waited_millis: u64::try_from(inner.waits.total().as_millis()).unwrap_or(u64::MAX),
            ..inner.view.clone()
        }
    }

    pub fn page(&self, page: u64, total: Option<u64>) {
        let mut inner = lock(&self.inner);
        inner.view.page = page;
        inner.view.total = total;
        beat(&self.pulse);
    }

    pub fn counts(&self, counts: &Counts) {
        lock(&self.inner).view.counts = *counts;
        beat(&self.pulse);
    }

    pub fn warnings(&self, warnings: &[PlanWarning]) {
        for warning in warnings {
            let PlanWarning { external_id, field, message } = warning;
            let field = if field.is_empty() { String::new() } else { format!(", {field}") };
            let message = format!("{external_id}{field}: {message}");
            self.line("warn", "map", &message);
        }
    }

    pub fn log(&self, lines: Vec<LogLine>) {
        for line in lines {
            self.line(line.level, "plugin", &line.message);
        }
    }

    pub fn line(&self, level: &str, source: &str, message: &str) {
        let mut inner = lock(&self.inner);
        if inner.logs.len() >= LOG_LINES_MAX {
            inner.left_out += 1;
            return;
        }
        let at = clock::to_text(clock::to_millis(self.clock.now()));
        let line =
            serde_json::json!({ "at": at, "level": level, "source": source, "message": message });
        inner.logs.push(line);
    }

    /// The log lines and phase timings so far; leaves none behind.
    pub fn take(&self) -> (Vec<serde_json::Value>, Vec<PhaseTiming>) {
        let mut inner = lock(&self.inner);
        inner.close_phase();
        let mut logs = std::mem::take(&mut inner.logs);
        if inner.left_out > 0 {
            let message = format!("{} more lines were left out", inner.left_out);
            logs.push(serde_json::json!({ "level": "warn", "source": "host", "message": message }));
        }
        (logs, std::mem::take(&mut inner.phases))
    }
}

impl Inner {
    fn close_phase(&mut self) {
        if let Some(since) = self.since.take() {
            let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.phases.push(PhaseTiming { phase: self.view.phase.clone(), millis });
        }
    }
}

fn beat(pulse: &watch::Sender<u64>) {
    pulse.send_modify(|count| *count += 1);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
