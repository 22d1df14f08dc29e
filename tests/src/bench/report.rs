//! What the `sync` benchmark says: a table for people, one object for programs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::rounded;
use super::sync::{Contestant, Outcome, Phase};

/// The readable form.
pub fn table(outcome: &Outcome, growth: &[Outcome]) -> String {
    let mut text = format!(
        "{} members\n{:<14}{:>12}{:>12}{:>12}{:>10}{:>10}{:>9}{:>9}{:>9}\n",
        outcome.members,
        "",
        "syncline/s",
        "floor/s",
        "script/s",
        "x floor",
        "x script",
        "MB",
        "floor",
        "script"
    );
    for phase in Phase::ALL {
        let rate = |who| figure(outcome.records_per_second(phase, who), 0);
        let memory = |who| figure(outcome.peak_memory_mb(phase, who), 0);
        let _ = writeln!(
            text,
            "{:<14}{:>12}{:>12}{:>12}{:>10}{:>10}{:>9}{:>9}{:>9}",
            name(phase),
            rate(Contestant::Syncline),
            rate(Contestant::Floor),
            rate(Contestant::Script),
            figure(outcome.ratio_to(phase, Contestant::Floor), 2),
            figure(outcome.ratio_to(phase, Contestant::Script), 2),
            memory(Contestant::Syncline),
            memory(Contestant::Floor),
            memory(Contestant::Script),
        );
    }
    let _ = writeln!(
        text,
        "idle {} MB, ready after {} ms, fixed cost of a plugin call {} us",
        figure(outcome.idle_memory_mb(), 1),
        figure(outcome.ready_ms(), 0),
        figure(outcome.call_micros(), 0)
    );
    if !growth.is_empty() {
        let _ = writeln!(text, "\nfirst sync, microseconds per record (peak MB)");
        let _ =
            writeln!(text, "{:>10}{:>20}{:>20}{:>20}", "members", "syncline", "floor", "script");
        for size in growth {
            let _ = write!(text, "{:>10}", size.members);
            for who in [Contestant::Syncline, Contestant::Floor, Contestant::Script] {
                let cost = figure(micros_per_record(size, who), 2);
                let peak = figure(size.peak_memory_mb(Phase::First, who), 0);
                let _ = write!(text, "{:>20}", format!("{cost} ({peak})"));
            }
            text.push('\n');
        }
    }
    text
}

/// The object of `--json`; figures that were not measured are `null`.
pub fn object(outcome: &Outcome, growth: &[Outcome], rounds: usize) -> Value {
    let mut sync = Map::new();
    sync.insert("members".to_owned(), json!(outcome.members));
    for phase in Phase::ALL {
        sync.insert(name(phase).to_owned(), phase_object(outcome, phase));
    }
    sync.insert("idleMemoryMb".to_owned(), json!(outcome.idle_memory_mb().map(rounded)));
    sync.insert("readyMs".to_owned(), json!(outcome.ready_ms().map(rounded)));
    sync.insert("pluginCallMicros".to_owned(), json!(outcome.call_micros().map(rounded)));
    sync.insert("runs".to_owned(), json!(rounds));
    if !growth.is_empty() {
        sync.insert("growth".to_owned(), growth.iter().map(growth_object).collect());
    }
    json!({ "sync": sync })
}

fn phase_object(outcome: &Outcome, phase: Phase) -> Value {
    let rate = |who| outcome.records_per_second(phase, who).map(f64::round);
    let memory = |who| outcome.peak_memory_mb(phase, who).map(rounded);
    json!({
        "recordsPerSecond": rate(Contestant::Syncline),
        "ratioToFloor": outcome.ratio_to(phase, Contestant::Floor).map(rounded),
        "ratioToScript": outcome.ratio_to(phase, Contestant::Script).map(rounded),
        "peakMemoryMb": memory(Contestant::Syncline),
        "floor": {"recordsPerSecond": rate(Contestant::Floor), "peakMemoryMb": memory(Contestant::Floor)},
        "script": {"recordsPerSecond": rate(Contestant::Script), "peakMemoryMb": memory(Contestant::Script)},
    })
}

fn growth_object(size: &Outcome) -> Value {
    let cost = |who| micros_per_record(size, who).map(rounded);
    json!({
        "members": size.members,
        "microsPerRecord": cost(Contestant::Syncline),
        "peakMemoryMb": size.peak_memory_mb(Phase::First, Contestant::Syncline).map(rounded),
        "idleMemoryMb": size.idle_memory_mb().map(rounded),
        "floorMicrosPerRecord": cost(Contestant::Floor),
        "scriptMicrosPerRecord": cost(Contestant::Script),
    })
}

fn micros_per_record(size: &Outcome, who: Contestant) -> Option<f64> {
    Some(1e6 / size.records_per_second(Phase::First, who)?)
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::First => "first",
        Phase::Unchanged => "unchanged",
        Phase::Changed1Pct => "changed1pct",
    }
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
