//! What a command says when it does not succeed: message, causes, hint and exit code.

use crate::config;
use crate::telemetry::escape_control;
use serde_json::Value;
use std::fmt::Write;

/// Exit codes that scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    RecordFailures = 3,
    NotFound = 4,
    Conflict = 5,
    Unreachable = 69,
    Permission = 77,
    BadConfiguration = 78,
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        self as u8
    }
}

/// The end of a command that did not succeed.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) exit: Exit,
    pub(super) message: String,
    pub(super) causes: Vec<String>,
    pub(super) hint: Option<String>,
}

impl Problem {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Problem {
        Problem { exit, message: message.into(), causes: Vec::new(), hint: None }
    }

    pub(super) fn usage(message: impl Into<String>) -> Problem {
        Problem::new(Exit::Usage, message)
    }

    pub(super) fn failed(message: impl Into<String>) -> Problem {
        Problem::new(Exit::Failed, message)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// Adds an error and what it was caused by.
    pub(super) fn caused_by(mut self, error: &dyn std::error::Error) -> Problem {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// `error: ...`, one line per cause, then `hint: ...`.
    pub(super) fn render(&self, color: bool) -> String {
        let (red, cyan, end) =
            if color { ("\u{1b}[1;31m", "\u{1b}[1;36m", "\u{1b}[0m") } else { ("", "", "") };
        let mut text = format!("{red}error{end}: {}\n", escape_control(&self.message));
        // Writing into a String cannot fail.
        for cause in &self.causes {
            let _ = writeln!(text, "  caused by: {}", escape_control(cause));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{cyan}hint{end}: {}", escape_control(hint));
        }
        text
    }
}

impl From<config::Error> for Problem {
    fn from(error: config::Error) -> Problem {
        let hint = error.hint();
        let mut problem = Problem::new(Exit::BadConfiguration, error.to_string());
        if let Some(source) = std::error::Error::source(&error) {
            problem = problem.caused_by(source);
        }
        Problem { hint, ..problem }
    }
}

/// An answer outside 2xx, which should be `application/problem+json`.
pub(super) fn from_answer(status: u16, body: &[u8]) -> Problem {
    let exit = match status {
        401 | 403 => Exit::Permission,
        404 => Exit::NotFound,
        409 | 412 | 428 => Exit::Conflict,
        502..=504 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut message = text("detail")
        .or_else(|| text("title"))
        .unwrap_or_else(|| format!("the server answered {status} without saying why"));
    if let Some(code) = text("code") {
        let _ = write!(message, " ({code})");
    }
    let causes = answer
        .get("errors")
        .and_then(Value::as_array)
        .map(|errors| errors.iter().map(pointed).collect())
        .unwrap_or_default();
    let hint = text("hint").or_else(|| {
        let hint = match status {
            401 => "name a valid token with --token or SYNCLINE_TOKEN; `syncline init` prints one",
            403 => "the token's role does not allow this",
            412 => "the row changed meanwhile; look at it and try again",
            429 => "the server asks for patience; try again later",
            _ => return None,
        };
        Some(hint.to_owned())
    });
    Problem { exit, message, causes, hint }
}

/// One member of `errors[]`: where in the body, and what is wrong there.
fn pointed(error: &Value) -> String {
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let words = text("message").or_else(|| text("detail")).unwrap_or("not valid");
    match text("pointer") {
        Some(pointer) if !pointer.is_empty() => format!("{pointer}: {words}"),
        _ => words.to_owned(),
    }
}
