//! The trials of `syncline_tests::trials`, as small as a test must be, and the bugs that they must find.
//!
//! They run in a process of their own, because a bug is planted in a whole process. The large figures
//! are in `docs/reliability.md`.

use std::process::{Command, Stdio};

const HOST: &str = env!("CARGO_BIN_EXE_syncline-under-test");

/// Runs the program; whether every promise held, and what it said.
#[track_caller]
fn trials(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_trials"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the trials start");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("trials {}\n{said}{errors}", arguments.join(" "));
    match output.status.code() {
        Some(0) => (true, said),
        Some(1) if !said.is_empty() => (false, said),
        _ => panic!("the trials did not come to a verdict: {}\n{errors}", output.status),
    }
}

#[test]
fn a_disk_that_fails_costs_nothing_that_was_acknowledged() {
    let (held, said) = trials(&["disk", "--seed", "1", "--points", "12"]);
    assert!(held, "{said}");
    assert!(said.contains(" 0 violations"), "{said}");
}

/// Every kill is a SIGKILL of the real binary.
#[test]
fn kills_lose_and_double_nothing() {
    let (held, said) = trials(&["kills", "--kills", "50", "--seed", "1", "--syncline", HOST]);
    assert!(held, "{said}");
    assert!(said.contains("50 kills"), "{said}");
}

/// Two months with the nights in which clocks change in spring, and the server off for three days.
#[test]
fn two_months_by_a_moved_clock_are_as_they_must_be_and_repeat() {
    let (held, said) = trials(&["year", "--days", "60", "--seed", "1", "--twice"]);
    assert!(held, "{said}");
    assert!(said.contains("60 simulated days") && said.contains(" 0 violations"), "{said}");
}

#[test]
fn another_seed_tells_another_tale() {
    let tale = |seed: &str| {
        let (held, said) = trials(&["year", "--days", "6", "--seed", seed]);
        assert!(held, "{said}");
        let digest = said.split("; log ").nth(1).and_then(|rest| rest.split(';').next());
        digest.expect("a digest").to_owned()
    };
    assert_ne!(tale("1"), tale("2"));
}

/// An injector that never found a bug is not to be trusted.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release holds no bugs that a test plants")]
fn a_failing_disk_finds_the_bugs_that_are_planted() {
    #[track_caller]
    fn check(bug: &str, points: &str, (trouble, file): (&str, &str), tells: &str) {
        let what = ["disk", "--points", points, "--trouble", trouble, "--file", file];
        let (held, said) = trials(&[what.as_slice(), &["--plant", bug]].concat());
        assert!(!held, "{bug} was not found\n{said}");
        assert!(said.contains(tells), "{bug} was found by something else\n{said}");
    }
    let (state, inbox) = (("power-cut", "state.redb"), ("power-cut", "inbox.redb"));
    check("ack-before-commit", "12", state, "is lost");
    check("skip-fsync", "8", state, "is lost");
    // Each takes seconds: nobody ends the process.
    check("survive-storage-error", "3", ("once", "state.redb"), "the process would have gone on");
    check("hook-before-commit", "16", inbox, "is lost");
    check("dedup-apart", "16", inbox, "was accepted 2 times");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release holds no bugs that a test plants")]
fn kills_find_the_bugs_that_are_planted() {
    #[track_caller]
    fn check(bug: &str, tells: &[&str]) {
        let arguments = ["kills", "--kills", "60", "--seed", "1", "--syncline", HOST];
        let (held, said) = trials(&[arguments.as_slice(), &["--plant", bug]].concat());
        assert!(!held, "{bug} was not found\n{said}");
        let is_told = tells.iter().any(|tells| said.contains(tells));
        assert!(is_told, "{bug} was found by something else\n{said}");
    }
    // What was answered early is gone after a kill, or not there yet for who relies on it at once.
    check("ack-before-commit", &["LOST", "of the plan is gone"]);
    check("dedup-apart", &["was accepted 2 times"]);
}

/// With the server off for three days in them.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release holds no bugs that a test plants")]
fn a_year_finds_a_night_that_is_lost() {
    let (held, said) = trials(&["year", "--days", "25", "--seed", "1", "--plant", "fire-lost"]);
    assert!(!held && said.contains(" is lost"), "{said}");
}
