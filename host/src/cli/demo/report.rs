//! What the demo says at its end: the two runs, what came of each scene, and what to try next.

use super::super::Session;
use super::super::lookup::text;
use super::super::output::{Column, at, table};
use super::super::problem::Problem;
use super::script::{Access, Outcome, Told};
use crate::demo::{ENTITY, Kind, ORGANIZATION};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::Path;

/// Longer values are cut, so that a line of the summary stays a line.
const VALUE_CHARS_MAX: usize = 17;

const RUNS: [Column; 11] = [
    ("RUN", "syncId"),
    ("STATUS", "status"),
    ("FETCHED", "counts.fetched"),
    ("CREATED", "counts.created"),
    ("UPDATED", "counts.updated"),
    ("UNCHANGED", "counts.unchanged"),
    ("DEACTIVATED", "counts.deactivated"),
    ("CONFLICTS", "counts.conflictsDetected"),
    ("RESOLVED", "counts.conflictsResolved"),
    ("HELD", "counts.conflictsHeld"),
    ("QUARANTINED", "counts.quarantined"),
];

const OUTCOMES: [Column; 11] = [
    ("WHAT HAPPENED", "what"),
    ("WHO", "name"),
    ("FIELD", "field"),
    ("BASE", "base"),
    ("->", "arrow"),
    ("FEDERATION", "federation"),
    ("|", "bar"),
    ("LOCAL", "local"),
    ("=", "equals"),
    ("RESULT", "result"),
    ("STRATEGY", "strategy"),
];

/// The summary on standard output; with `--json` it is talk, and the output is one object.
pub(super) fn print(told: &Told, session: &mut Session<'_>) -> Result<(), Problem> {
    let terminal = match session.json {
        true => session.io.err_terminal,
        false => std::io::stdout().is_terminal(),
    };
    let lines = summary(told, session.io.color && terminal);
    if !session.json {
        for line in &lines {
            session.io.line(line)?;
        }
        return session.io.bytes(b"");
    }
    for line in &lines {
        // Talk that nobody hears must not change what the command does.
        let _ = writeln!(session.io.err, "{line}");
    }
    session.io.line(&object(told).to_string())?;
    session.io.bytes(b"")
}

fn summary(told: &Told, color: bool) -> Vec<String> {
    let rows: Vec<Value> = told.outcomes.iter().map(row).collect();
    let mut lines = vec![String::new()];
    lines.extend(table(&told.runs, &RUNS));
    lines.push(String::new());
    let outcomes = table(&rows, &OUTCOMES);
    let heading = outcomes.first().cloned();
    lines.extend(heading);
    for (line, outcome) in outcomes.iter().skip(1).zip(&told.outcomes) {
        lines.push(if color { painted(line, &outcome.name) } else { line.clone() });
    }
    lines.push(String::new());
    lines
}

/// Paints the name after the columns were aligned, because escapes have no width.
fn painted(line: &str, name: &str) -> String {
    line.replacen(name, &format!("\u{1b}[1;36m{name}\u{1b}[0m"), 1)
}

fn row(outcome: &Outcome) -> Value {
    let result = match outcome.kind {
        Kind::Lapsed | Kind::UnknownStatus => {
            json!(format!("{} ({})", words(&outcome.result), outcome.status))
        }
        _ => cut(&outcome.result),
    };
    let strategy = match (&outcome.strategy, outcome.note.as_str()) {
        (Value::Null, "") => Value::Null,
        (Value::Null, note) => json!(note),
        (strategy, _) => strategy.clone(),
    };
    json!({
        "what": outcome.kind.title(),
        "name": outcome.name,
        "field": if outcome.field.is_empty() { "status" } else { outcome.field },
        "base": cut(&outcome.base),
        "arrow": "->",
        "federation": cut(&outcome.federation),
        "bar": "|",
        "local": cut(&outcome.local),
        "equals": "=",
        "result": result,
        "strategy": strategy,
    })
}

fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn cut(value: &Value) -> Value {
    match value.as_str() {
        Some(text) if text.chars().count() > VALUE_CHARS_MAX => {
            let start = text.chars().take(VALUE_CHARS_MAX - 1);
            json!(start.chain(['…']).collect::<String>())
        }
        _ => value.clone(),
    }
}

fn object(told: &Told) -> Value {
    let runs: Vec<Value> = told
        .runs
        .iter()
        .map(|run| {
            json!({
                "id": at(run, "syncId"),
                "status": at(run, "status"),
                "mode": at(run, "mode"),
                "trigger": at(run, "trigger"),
                "stats": at(run, "counts"),
                "startedAt": at(run, "startedAt"),
                "completedAt": at(run, "completedAt"),
            })
        })
        .collect();
    json!({ "runs": runs, "outcomes": told.outcomes, "conflicts": told.conflicts })
}

/// Where the server is and what to try with it: talk for people.
pub(super) fn explore(
    told: &Told,
    access: &Access,
    kept: Option<&Path>,
    session: &mut Session<'_>,
) {
    let program = std::env::args().next().unwrap_or_else(|| "syncline".to_owned());
    let run = told.runs.last().map(|run| text(run, "syncId")).unwrap_or_default();
    let mut lines = vec![
        format!("serving at {} until Ctrl-C; to look around, in another terminal:", access.server),
        String::new(),
        format!("  export SYNCLINE_SERVER={} SYNCLINE_TOKEN={}", access.server, access.token),
        format!("  {program} run show {run} --conflicts"),
    ];
    if let Some(open) = &told.open {
        lines.push(format!("  {program} conflict resolve {open} remote"));
    }
    lines.push(format!("  {program} sync {ENTITY} --org {ORGANIZATION} --wait"));
    lines.push(String::new());
    lines.push(match kept {
        Some(dir) => format!("the data stay in {}", dir.display()),
        None => "the data go when it ends; --data-dir DIR keeps them".to_owned(),
    });
    for line in lines {
        session.io.say(&line);
    }
}
