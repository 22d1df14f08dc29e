//! A connector's log lines: cut, counted, passed to tracing, and kept until the owner of the session fetches them.

use crate::plugin::limits::Limits;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One line of a plugin, within the limits and without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `error`, `warn`, `info` or `debug`.
    pub level: &'static str,
    pub message: String,
}

/// The lines of one session. Shared, so that they outlive a session that traps or is cancelled.
#[derive(Clone)]
pub(in crate::plugin) struct LogBuffer {
    plugin: Arc<str>,
    limits: Arc<Limits>,
    muted: bool,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<LogLine>,
    in_call: u32,
    suppressed: u64,
}

impl LogBuffer {
    pub(in crate::plugin) fn new(plugin: &str, limits: &Arc<Limits>) -> LogBuffer {
        LogBuffer {
            plugin: plugin.into(),
            limits: limits.clone(),
            muted: false,
            lines: Arc::default(),
        }
    }

    /// For a component that is only being described: every line is dropped.
    pub(in crate::plugin) fn muted(limits: &Arc<Limits>) -> LogBuffer {
        LogBuffer { muted: true, ..LogBuffer::new("", limits) }
    }

    /// Before each call: a new allowance.
    pub(in crate::plugin) fn begin(&self) {
        self.lock().in_call = 0;
    }

    /// One line; the flood beyond the allowance is only counted.
    pub(in crate::plugin) fn write(&self, level: &str, message: &str) {
        if self.muted {
            return;
        }
        let mut lines = self.lock();
        if lines.in_call >= self.limits.log_lines_max {
            lines.suppressed += 1;
            return;
        }
        lines.in_call += 1;
        let level = known_level(level);
        let message = clean(message, self.limits.log_line_bytes_max);
        trace(&self.plugin, level, &message);
        self.keep(&mut lines, LogLine { level, message });
    }

    /// After each call: says how much was left out.
    pub(in crate::plugin) fn end(&self) {
        let mut lines = self.lock();
        let suppressed = std::mem::take(&mut lines.suppressed);
        if suppressed > 0 {
            let message = format!("{suppressed} more lines of this call were left out");
            trace(&self.plugin, "warn", &message);
            self.keep(&mut lines, LogLine { level: "warn", message });
        }
    }

    pub(in crate::plugin) fn drain(&self) -> Vec<LogLine> {
        self.lock().kept.drain(..).collect()
    }

    fn keep(&self, lines: &mut Lines, line: LogLine) {
        if lines.kept.len() >= self.limits.log_lines_kept_max {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Levels are words of the guest: an unknown one is information, not an error.
fn known_level(level: &str) -> &'static str {
    match level {
        "error" => "error",
        "warn" => "warn",
        "debug" => "debug",
        _ => "info",
    }
}

fn trace(plugin: &str, level: &str, message: &str) {
    match level {
        "error" => tracing::error!(target: "plugin", plugin, "{message}"),
        "warn" => tracing::warn!(target: "plugin", plugin, "{message}"),
        "debug" => tracing::debug!(target: "plugin", plugin, "{message}"),
        _ => tracing::info!(target: "plugin", plugin, "{message}"),
    }
}

/// At most `bytes_max` bytes, cut at a character, with control characters (terminal codes) replaced.
pub(in crate::plugin) fn clean(text: &str, bytes_max: usize) -> String {
    let cut = text.floor_char_boundary(bytes_max.min(text.len()));
    let (kept, rest) = text.split_at(cut);
    let mut cleaned: String =
        kept.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
    if !rest.is_empty() {
        cleaned.push_str(" ...");
    }
    cleaned
}
