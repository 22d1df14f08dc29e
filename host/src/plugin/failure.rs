//! How a plugin call ends when it does not answer: one variant for each thing that the caller may do about it.
//!
//! Owns the way from a trap to an error. Must not retry.

use super::imports::log::clean;
use super::limits::{Breach, Limits};
use crate::model::GuestError;

/// How much of what a plugin printed fits into a message; the whole tail is in the variant.
const MESSAGE_TAIL_LINES_MAX: usize = 4;
const MESSAGE_TAIL_BYTES_MAX: usize = 500;

/// wasmtime's words for limits that have no public type; the hostile tests notice when they change.
const TRANSFER_EXHAUSTED: &str = "fuel allocated for hostcalls";
const HANDLES_EXHAUSTED: [&str; 2] =
    ["resource table has no free keys", "store handle limit exceeded"];

/// Of instances, memories and tables, counted by the store.
const COUNT_EXHAUSTED: &str = "resource limit exceeded: ";

/// Why a plugin call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The plugin worked and reports a failure.
    #[error("{0}")]
    Guest(GuestError),
    #[error("the plugin crashed: {message}{}", tail(.stderr_tail))]
    Trap { message: String, stderr_tail: String },
    #[error("the plugin computed for more than {millis} ms in one call")]
    CpuBudget { millis: u64 },
    #[error("the plugin did not answer within {millis} ms")]
    WallClock { millis: u64 },
    #[error("the plugin wanted more than {bytes} bytes of memory")]
    MemoryLimit { bytes: usize },
    /// Another limit of the sandbox; the text names it.
    #[error("the plugin went over the limit of {0}")]
    Limit(String),
    #[error(
        "the plugin handed over more than {bytes} bytes at once: ask for fewer records per page"
    )]
    PageTooLarge { bytes: usize },
    /// The answer breaks the contract.
    #[error("the plugin's answer breaks the contract: {0}")]
    BadAnswer(String),
    /// The plugin has no such ability.
    #[error("the plugin cannot do this: it does not export `{0}`")]
    NoAbility(&'static str),
    #[error("the plugin cannot be started: {0}")]
    Start(String),
    /// An earlier call of this session failed or was cancelled: open a new one.
    #[error("the plugin's session has ended: open a new one")]
    Dead,
}

impl Error {
    /// Stable code for histories and API errors.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Guest(error) => guest_code(error),
            Error::Trap { .. } => "plugin.trap",
            Error::CpuBudget { .. } => "plugin.cpu",
            Error::WallClock { .. } => "plugin.timeout",
            Error::MemoryLimit { .. } => "plugin.memory",
            Error::Limit(_) => "plugin.limit",
            Error::PageTooLarge { .. } => "plugin.page-too-large",
            Error::BadAnswer(_) => "plugin.bad-answer",
            Error::NoAbility(_) => "plugin.no-ability",
            Error::Start(_) => "plugin.start",
            Error::Dead => "plugin.dead",
        }
    }
}

fn guest_code(error: &GuestError) -> &'static str {
    match error {
        GuestError::Auth(_) => "remote.auth",
        GuestError::RateLimited(_) => "remote.rate-limited",
        GuestError::Unavailable(_) => "remote.unavailable",
        GuestError::Config(_) => "remote.config",
        GuestError::BadResponse(_) => "remote.bad-response",
        GuestError::CursorExpired => "remote.cursor-expired",
        GuestError::NotFound(_) => "remote.not-found",
        GuestError::Unsupported(_) => "remote.unsupported",
        GuestError::Other(_) => "remote.other",
    }
}

/// The last lines as one, because messages travel in lists and logs.
fn tail(stderr: &str) -> String {
    let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut last: Vec<&str> = lines.rev().take(MESSAGE_TAIL_LINES_MAX).collect();
    last.reverse();
    match last.as_slice() {
        [] => String::new(),
        last => format!(" (it printed: {})", clean(&last.join(" | "), MESSAGE_TAIL_BYTES_MAX)),
    }
}

/// From whatever ended guest code. The only place that reads wasmtime's errors.
pub(super) fn classify(
    error: &wasmtime::Error,
    limits: &Limits,
    cpu_millis: u64,
    stderr_tail: String,
) -> Error {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        return match breach {
            Breach::Cpu => Error::CpuBudget { millis: cpu_millis },
            Breach::Memory => Error::MemoryLimit { bytes: limits.memory_bytes_max },
            Breach::Table => Error::Limit(format!("{} table elements", limits.table_elements_max)),
        };
    }
    let root = error.root_cause().to_string();
    if root.contains(TRANSFER_EXHAUSTED) {
        return Error::PageTooLarge { bytes: limits.page_bytes_max };
    }
    if HANDLES_EXHAUSTED.iter().any(|words| root.contains(words)) {
        return Error::Limit(format!("{} open handles", limits.handles_max));
    }
    if let Some(what) = root.strip_prefix(COUNT_EXHAUSTED) {
        return Error::Limit(counted(what, limits));
    }
    if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
        return Error::Trap { message: trap.to_string(), stderr_tail };
    }
    Error::Trap { message: root, stderr_tail }
}

/// "table count too high at 9" in our words.
fn counted(what: &str, limits: &Limits) -> String {
    match what.split(' ').next() {
        Some("instance") => format!("{} instances", limits.instances_max),
        Some("memory") => format!("{} memories", limits.memories_max),
        Some("table") => format!("{} tables", limits.tables_max),
        _ => what.to_owned(),
    }
}
