//! The list of requests that a run leaves behind: bounded, in order, as the API shows it.

use crate::clock;
use crate::model::http::RequestLine;
use std::sync::{Arc, Mutex, PoisonError};

/// The lines that egress records, bounded.
#[derive(Clone, Default)]
pub struct RequestLog {
    lines: Arc<Mutex<(Vec<RequestLine>, u64)>>,
}

/// How many lines of one run are kept.
const REQUEST_LINES_MAX: usize = 5_000;

impl RequestLog {
    pub(super) fn push(&self, line: RequestLine) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.0.len() < REQUEST_LINES_MAX {
            lines.0.push(line);
        } else {
            lines.1 += 1;
        }
    }

    /// The lines in the order in which the requests left; the last one says how many are missing, if any are.
    pub(super) fn take(&self) -> Vec<serde_json::Value> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let more = std::mem::take(&mut lines.1);
        let mut taken = std::mem::take(&mut lines.0);
        drop(lines);
        taken.sort_by_key(|line| line.at);
        let mut shown: Vec<serde_json::Value> = taken.into_iter().map(shown).collect();
        if more > 0 {
            let note = format!("{more} more requests were left out");
            shown.push(serde_json::json!({ "note": note, "leftOut": more }));
        }
        shown
    }
}

fn shown(line: RequestLine) -> serde_json::Value {
    serde_json::json!({
        "at": clock::to_text(line.at),
        "method": line.method,
        "url": line.url,
        "attempt": line.attempt,
        "redirects": line.redirects,
        "waitedMs": line.waited_millis,
        "durationMs": line.millis,
        "bytes": line.bytes,
        "status": line.status,
        "failure": line.failure,
    })
}
