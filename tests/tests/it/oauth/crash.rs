//! A kill at each step of a refresh: what could be kept is kept, and what could not be is told.

use serde_json::json;
use syncline_tests::authority::Fault;

use super::Bench;
use crate::fixture::ORG;

/// Asks for a run whose token request is held, and waits for it.
#[track_caller]
fn held(bench: &Bench, fault: Fault) {
    bench.authority.script([fault]);
    bench.host.ask(ORG, &bench.connector, json!({}));
    bench.authority.wait("the request to be held", |state| state.held == 1);
}

/// The run that the kill cut off is taken up by the next start.
#[track_caller]
fn taken_up(bench: &Bench) -> serde_json::Value {
    let runs = bench.host.list("/sync/status");
    bench.host.ended(runs[0]["syncId"].as_str().expect("a run"))
}

#[test]
fn killed_before_the_platform_acts_nothing_is_lost() {
    let mut bench = Bench::new();
    held(&bench, Fault::HoldBefore);
    bench.host.kill();
    // What the dead process asked for is cut with its connection, and has no effect.
    bench.host.restart();
    let run = taken_up(&bench);
    assert_eq!(run["status"], "completed", "{run:#}\n{}", bench.host.log());
    let state = bench.authority.state();
    assert_eq!(state.asked.len(), 2);
    assert_eq!(state.asked[1]["refresh_token"], "canary-refresh-0");
}

#[test]
fn killed_between_answer_and_commit_a_platform_with_grace_goes_on() {
    let mut bench = Bench::new();
    bench.authority.state().grace = true;
    held(&bench, Fault::HoldAfter);
    bench.host.kill();
    bench.host.restart();
    let run = taken_up(&bench);
    assert_eq!(run["status"], "completed", "{run:#}\n{}", bench.host.log());
    assert_eq!(bench.authority.state().generation, 2);
    assert_eq!(bench.credentials()["needsReauth"], false);
}

#[test]
fn killed_between_answer_and_commit_a_strict_platform_needs_a_person_who_is_told_why() {
    let mut bench = Bench::new();
    held(&bench, Fault::HoldAfter);
    bench.host.kill();
    bench.host.restart();
    let run = taken_up(&bench);
    assert_eq!(run["status"], "needsReauth", "{run:#}\n{}", bench.host.log());
    let reason = bench.credentials()["reason"].to_string();
    assert!(reason.contains("an earlier refresh was cut off"), "{reason}");
    assert_eq!(bench.asked(), 2, "the old token was tried once");
    bench.fails("needsReauth", "oauth.needs-reauth");
    assert_eq!(bench.asked(), 2);
}

#[test]
fn killed_after_the_commit_the_new_tokens_are_there() {
    let mut bench = Bench::new();
    bench.authority.state().hold_api = true;
    bench.host.ask(ORG, &bench.connector, json!({}));
    // The access token is used: everything before must be durable by now.
    bench.authority.wait("a request to the API", |state| state.held == 1);
    bench.host.kill();
    bench.authority.release();
    bench.host.restart();
    let run = taken_up(&bench);
    assert_eq!(run["status"], "completed", "{run:#}\n{}", bench.host.log());
    let state = bench.authority.state();
    assert_eq!((state.asked.len(), state.generation), (1, 1), "no second refresh");
}

#[test]
fn a_run_that_is_cancelled_does_not_throw_an_answer_away() {
    let bench = Bench::new();
    bench.authority.script([Fault::HoldAfter]);
    let asked = bench.host.ask(ORG, &bench.connector, json!({}));
    bench.authority.wait("the request to be held", |state| state.held == 1);
    let id = asked["syncId"].as_str().expect("a run");
    bench.host.call("POST", &format!("/sync/status/{id}/cancel"), &json!({}), 202);
    assert_eq!(bench.host.ended(id)["status"], "cancelled");
    bench.authority.release();
    bench.synced();
    let state = bench.authority.state();
    assert_eq!((state.asked.len(), state.generation), (1, 1), "{:#?}", state.asked);
}

#[test]
fn an_answer_that_is_lost_on_the_way_is_asked_for_again() {
    let bench = Bench::new();
    bench.authority.state().grace = true;
    bench.authority.script([Fault::CutAfter]);
    bench.synced();
    assert_eq!(bench.authority.state().generation, 2);
}
