//! What a command prints: data on standard output, talk on standard error.
//!
//! Tables and fields for people, the API's own JSON for programs. Whatever a server said is escaped
//! before it reaches a terminal.

use super::problem::{Exit, Problem};
use crate::telemetry::escape_control;
use serde_json::Value;
use std::io::{Read, Write};

/// The streams of a process and what is known about them. Tests hand in buffers.
pub(super) struct Io<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
    pub(super) input: &'a mut dyn Read,
    /// Standard error is a terminal: a progress bar may be drawn on it.
    pub(super) err_terminal: bool,
    pub(super) color: bool,
}

/// A column of a table: its heading and the path of its value inside a row.
pub(super) type Column = (&'static str, &'static str);

const CELL_CHARS_MAX: usize = 60;

impl Io<'_> {
    /// One line of data.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Problem> {
        writeln!(self.out, "{text}").map_err(unwritable)
    }

    /// A line for people.
    pub(super) fn say(&mut self, text: &str) {
        // Talk that nobody hears must not change what the command does.
        let _ = writeln!(self.err, "{}", escape_control(text));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(unwritable)
    }

    pub(super) fn json(&mut self, value: &Value) -> Result<(), Problem> {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.line(&text)
    }

    /// A list answer: a table for people, or the answer itself.
    pub(super) fn list(
        &mut self,
        json: bool,
        answer: &Value,
        columns: &[Column],
    ) -> Result<(), Problem> {
        if json {
            return self.json(answer);
        }
        let rows = answer.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if rows.is_empty() {
            self.say("nothing to show");
            return Ok(());
        }
        for line in table(rows, columns) {
            self.line(&line)?;
        }
        if let Some(cursor) = answer.get("nextCursor").and_then(Value::as_str) {
            self.say(&format!("there is more: --cursor {cursor}"));
        }
        Ok(())
    }

    /// One row: `name: value` lines for people, or the row itself.
    pub(super) fn object(&mut self, json: bool, value: &Value) -> Result<(), Problem> {
        if json {
            return self.json(value);
        }
        let mut lines = Vec::new();
        flatten("", value, &mut lines);
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in lines {
            self.line(&format!("{:width$}  {value}", format!("{name}:"), width = width + 1))?;
        }
        Ok(())
    }
}

/// A reader that has gone away, such as `head`, is no failure.
fn unwritable(error: std::io::Error) -> Problem {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Problem::new(Exit::Ok, "nobody reads any more");
    }
    Problem::failed("cannot write to standard output").caused_by(&error)
}

/// Aligned lines with a heading. Long cells are cut with an ellipsis.
pub(super) fn table(rows: &[Value], columns: &[Column]) -> Vec<String> {
    let heading = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let mut grid: Vec<Vec<String>> = vec![heading];
    grid.extend(rows.iter().map(|row| {
        columns.iter().map(|(_, path)| cut(&cell(at(row, path)))).collect::<Vec<String>>()
    }));
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| grid.iter().filter_map(|row| row.get(i)).map(|c| c.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    grid.iter().map(line).collect()
}

/// The value at a path of member names, `null` where there is none.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => escape_control(text).into_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            escape_control(&texts.join(", ")).into_owned()
        }
        other => escape_control(&other.to_string()).into_owned(),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

fn flatten(prefix: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let name = escape_control(name);
                let name =
                    if prefix.is_empty() { name.into_owned() } else { format!("{prefix}.{name}") };
                flatten(&name, value, lines);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (i, item) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{i}]"), item, lines);
            }
        }
        other => lines.push((prefix.to_owned(), cell(other))),
    }
}
