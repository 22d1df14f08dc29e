//! The live progress of a run: a bar on a terminal, plain lines elsewhere.

use super::output::{Io, at};
use crate::telemetry::escape_control;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::Value;
use std::fmt::Write;

/// Draws on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    /// The last plain line, so that it is not repeated.
    said: String,
}

impl Progress {
    pub(super) fn new(terminal: bool) -> Progress {
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style(false));
            bar
        });
        Progress { bar, said: String::new() }
    }

    /// Shows a run's `status` and `progress`: `{phase, fetched, total?}`.
    pub(super) fn show(&mut self, run: &Value, io: &mut Io<'_>) {
        let state = State::of(run);
        match &self.bar {
            Some(bar) => {
                if state.total.is_some() && bar.length() != state.total {
                    bar.set_style(style(true));
                    bar.set_length(state.total.unwrap_or(0));
                }
                bar.set_message(escape_control(&state.phase).into_owned());
                bar.set_position(state.fetched);
                bar.tick();
            }
            None => {
                // One line per phase: a log wants milestones and not every record.
                if state.phase != self.said {
                    io.say(&state.line());
                    self.said = state.phase;
                }
            }
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

struct State {
    phase: String,
    fetched: u64,
    total: Option<u64>,
}

impl State {
    fn of(run: &Value) -> State {
        let text = |path: &str| at(run, path).as_str().map(str::to_owned);
        let number = |path: &str| at(run, path).as_u64();
        let phase = match (text("status").as_deref(), text("nextRetryAt")) {
            (Some("waiting"), Some(at)) => format!("waiting until {at}"),
            (Some("running"), _) => text("progress.waiting")
                .or_else(|| text("progress.phase"))
                .unwrap_or_else(|| "running".to_owned()),
            (status, _) => status.unwrap_or("unknown").to_owned(),
        };
        State {
            phase,
            fetched: number("progress.fetched").unwrap_or(0),
            total: number("progress.total"),
        }
    }

    fn line(&self) -> String {
        match (self.fetched, self.total) {
            (0, _) => self.phase.clone(),
            (fetched, Some(total)) => format!("{} {fetched}/{total}", self.phase),
            (fetched, None) => format!("{} {fetched}", self.phase),
        }
    }
}

const KNOWN_TOTAL: &str = "{msg:10} {bar:30} {pos}/{len} {rate:.dim} {eta:.dim}";
const UNKNOWN_TOTAL: &str = "{msg:10} {spinner} {pos} {rate:.dim}";

fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total { KNOWN_TOTAL } else { UNKNOWN_TOTAL };
    // A test parses both templates; a bar without a style still counts.
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate)
}

/// Whole records per second.
fn rate(state: &ProgressState, line: &mut dyn Write) {
    // There is nowhere to report that a line could not be drawn.
    let _ = write!(line, "{:.0}/s", state.per_sec());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_lines_say_phase_and_count() {
        let cases = [
            (json!({"status": "queued"}), "queued"),
            (json!({"status": "running"}), "running"),
            (json!({"status": "running", "progress": {"phase": "fetch", "fetched": 7}}), "fetch 7"),
            (
                json!({"status": "running",
                       "progress": {"phase": "fetch", "fetched": 7, "total": 9}}),
                "fetch 7/9",
            ),
            (
                json!({"status": "waiting", "nextRetryAt": "2026-03-01T10:00:00Z"}),
                "waiting until 2026-03-01T10:00:00Z",
            ),
        ];
        for (run, expect) in cases {
            assert_eq!(State::of(&run).line(), expect);
        }
    }

    #[test]
    fn the_templates_are_valid() {
        for template in [KNOWN_TOTAL, UNKNOWN_TOTAL] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
