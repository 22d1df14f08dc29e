//! `syncline demo` as a stranger runs it: the whole story, what it prints, and what it leaves behind.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

fn demo(args: &[&str], temp: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    // Settings of whoever runs the test are no part of it.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYNCLINE_") {
            command.env_remove(name);
        }
    }
    command.env("TMPDIR", temp).arg("demo").args(args).output().unwrap()
}

/// The one line on standard output.
#[track_caller]
fn told(output: &Output) -> Value {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{err}", output.status);
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn left_behind(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[track_caller]
fn check_counts(run: &Value, expected: &[(&str, u64)]) {
    let counts = run["stats"].as_object().unwrap();
    for (name, count) in counts {
        let wanted = expected.iter().find(|(expected, _)| expected == name);
        let wanted = wanted.map_or(0, |(_, count)| *count);
        assert_eq!(*count, json!(wanted), "{name} of {run}");
    }
    for (name, _) in expected {
        assert!(counts.contains_key(*name), "{name} is not counted in {run}");
    }
}

#[track_caller]
fn check_story(told: &Value, members: u64) {
    let runs = told["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{told}");
    assert_ne!(runs[0]["id"], runs[1]["id"]);
    check_counts(&runs[0], &[("fetched", members), ("valid", members), ("created", members)]);
    let second = [
        ("fetched", members),
        ("valid", members - 1),
        ("invalid", 1),
        ("created", 1),
        ("updated", 4),
        ("unchanged", members - 7),
        ("conflictsDetected", 8),
        ("conflictsResolved", 6),
        ("conflictsHeld", 2),
        ("deactivated", 2),
        ("quarantined", 1),
        ("warnings", 1),
    ];
    check_counts(&runs[1], &second);
    assert_eq!(told["conflicts"].as_array().unwrap().len(), 8);
}

/// Which value the record holds in the end, by outcome, and which strategy decided.
const OUTCOMES: [(&str, &str, Option<&str>); 16] = [
    ("remoteChange", "federation", None),
    ("localChange", "local", None),
    ("converged", "federation", None),
    ("federationWins", "federation", Some("federation_wins")),
    ("localWins", "local", Some("local_wins")),
    ("mergePerson", "local", Some("merge")),
    ("mergeSystem", "federation", Some("merge")),
    ("newestRemote", "federation", Some("newest_wins")),
    ("newestLocal", "local", Some("newest_wins")),
    ("manualResolved", "federation", Some("manual")),
    ("manualOpen", "local", Some("manual")),
    ("unknownStatus", "federation", None),
    ("lapsed", "federation", None),
    ("gone", "", None),
    ("quarantined", "base", None),
    ("created", "federation", None),
];

#[test]
fn every_outcome_occurs_and_nothing_stays_behind() {
    let temp = tempfile::tempdir().unwrap();
    let told = told(&demo(&["--exit", "--json"], temp.path()));
    check_story(&told, 250);
    let outcomes: BTreeMap<&str, &Value> = told["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|outcome| (outcome["kind"].as_str().unwrap(), outcome))
        .collect();
    assert_eq!(outcomes.len(), OUTCOMES.len());
    for (kind, side, strategy) in OUTCOMES {
        let outcome = outcomes[kind];
        let expected = if side.is_empty() { &json!("inactive") } else { &outcome[side] };
        assert_eq!(outcome["result"], *expected, "{outcome}");
        assert_eq!(outcome["strategy"], json!(strategy), "{outcome}");
        let status = if matches!(kind, "lapsed" | "gone") { "inactive" } else { "active" };
        assert_eq!(outcome["status"], status, "{outcome}");
    }
    let conflicts = told["conflicts"].as_array().unwrap();
    let held = conflicts.iter().filter(|line| line["held"] == true).count();
    assert_eq!(held, 2);
    assert_eq!(left_behind(temp.path()), 0);
}

#[test]
fn the_smallest_federation_tells_the_whole_story_to_people_too() {
    let temp = tempfile::tempdir().unwrap();
    let kept = temp.path().join("kept");
    let kept_name = kept.to_str().unwrap();
    let output = demo(&["--exit", "--members", "10", "--data-dir", kept_name], temp.path());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{err}");
    for words in ["WHAT HAPPENED", "merge", "newest_wins", "manual", "not listed", "completed"] {
        assert!(out.contains(words), "no {words:?} in\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "escapes although this is no terminal");
    assert!(kept.join("master.key").exists());

    // The same directory again: nothing is touched, and the hint says what to do.
    let again = demo(&["--exit", "--data-dir", kept_name], temp.path());
    let err = text(&again.stderr);
    assert_eq!(again.status.code(), Some(5), "{err}");
    assert!(err.contains("is not empty") && err.contains("syncline serve --data-dir"), "{err}");
}

#[test]
fn refuses_sizes_that_it_cannot_tell_a_story_of() {
    let temp = tempfile::tempdir().unwrap();
    for members in ["0", "9", "100001", "many"] {
        let output = demo(&["--exit", "--members", members], temp.path());
        assert_eq!(output.status.code(), Some(2), "{members}");
    }
}
