//! The laws of strategies, over the components that ship.

use std::time::Instant;

use syncline::model::manifest::Manifest;
use syncline::plugin::{Engine, Limits, Options, Registry, StrategySession};
use syncline::resolve::laws::{self, Cases};

/// Changes the conflicts; the same seed makes the same ones.
const SEED_VARIABLE: &str = "SYNCLINE_TEST_SEED";
const CONFLICTS: u64 = 100_000;

#[track_caller]
fn check(name: &str) {
    let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_260_301);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let engine = Engine::new(None, Limits::default()).expect("an engine");
    let registry = runtime.block_on(Registry::open(engine, Options::bundled())).expect("plugins");
    let loaded = registry.strategy(name).expect("a bundled strategy");
    let values_declared =
        matches!(&loaded.manifest, Manifest::Strategy(strategy) if strategy.values);
    let session = StrategySession::open(&loaded).expect("a session");
    let begin = Instant::now();
    let cases = Cases { seed, conflicts: CONFLICTS, values_declared };
    let mut calls = 0_u64;
    let mut trap = None;
    let outcome = laws::check(
        &mut |conflicts| {
            calls += 1;
            let decisions = runtime.block_on(session.decide(conflicts));
            decisions.unwrap_or_else(|error| {
                trap = Some(error.to_string());
                Vec::new()
            })
        },
        cases,
    );
    println!("{name}: seed {seed}, {CONFLICTS} conflicts, {calls} calls, {:?}", begin.elapsed());
    assert_eq!(outcome, Ok(()), "{trap:?}");
    assert!(calls > CONFLICTS / 48, "it was asked");
}

#[test]
fn federation_wins_keeps_the_laws() {
    check("federation_wins");
}

#[test]
fn local_wins_keeps_the_laws() {
    check("local_wins");
}

#[test]
fn merge_keeps_the_laws() {
    check("merge");
}

#[test]
fn newest_wins_keeps_the_laws() {
    check("newest_wins");
}

#[test]
fn manual_keeps_the_laws() {
    check("manual");
}
