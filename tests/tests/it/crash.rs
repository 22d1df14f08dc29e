//! The host ends in the middle of a run, by force or in order: the next start takes the run up, no
//! record comes twice and nothing that was committed is lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Rule};

use crate::fixture::{CLUB, ORG, Setup, assert_counts, text};
use crate::rig::{MEMBERS, SMALL_LIMITS, external_ids, generated_ids, paged, signal, state};

const SLOW_PAGE: Fault = Fault::Delay { ms: 700 };

/// Asks for a run and waits until it waits for that slow page.
#[track_caller]
fn stuck_before(setup: &Setup, page: u64) -> String {
    setup.sim.fault(Rule::page(page, SLOW_PAGE).once());
    let run = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    let read = |run: &Value| run["progress"]["page"].as_u64() >= Some(page - 1);
    setup
        .host
        .run_when(&run, "to read the pages before the slow one", |run| page == 1 || read(run));
    run
}

/// Every member has one record, and was created once.
#[track_caller]
fn whole(setup: &Setup, members: u64) {
    assert_eq!(external_ids(setup), generated_ids(members));
    let changes = setup.host.changes(ORG, 0);
    let created = changes.iter().filter(|change| change["kind"] == "created").count();
    assert_eq!(created as u64, members, "rows of the change feed");
}

#[test]
fn a_kill_while_pages_arrive_costs_a_few_pages() {
    let mut setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    for (round, page) in [1, 2, 6, 11].into_iter().enumerate() {
        let club = MEMBERS + round as u64;
        setup.sim.generate(CLUB, club, 1);
        let before = state(&setup);
        setup.sim.forget_requests();
        let run = stuck_before(&setup, page);
        setup.host.kill();
        setup.host.restart();
        let ended = setup.host.ended(&run);
        assert_eq!(ended["status"], "completed", "page {page}: {ended:#}\n{}", setup.host.log());
        let new = if round == 0 { club } else { 1 };
        assert_counts(&ended, json!({"fetched": club, "created": new, "unchanged": club - new}));
        assert_eq!(ended["attempt"], 1, "a crash is no failed attempt: {ended:#}");
        whole(&setup, club);
        let seen = setup.sim.list_pages_seen();
        let first = seen.iter().filter(|seen| **seen == 1).count();
        // The page before the slow one may not be staged yet; what lies before that is.
        assert!(page <= 2 || first == 1, "killed before page {page}, asked for {seen:?}");
        let last = club.div_ceil(10);
        assert_eq!(seen.last(), Some(&last), "killed before page {page}, asked for {seen:?}");
        let old = before["changes"].as_array().expect("changes").len();
        let kept = &setup.host.changes(ORG, 0)[..old];
        assert_eq!(json!(kept), before["changes"], "what was committed is still there");
        setup.sim.clear_faults();
    }
}

/// The page numbers in messages count from the listing's begin, also in a run that was taken up.
#[test]
fn a_run_that_was_taken_up_names_the_right_page() {
    let mut setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let run = stuck_before(&setup, 6);
    setup.host.kill();
    setup.sim.clear_faults();
    setup.sim.fault(Rule::page(8, Fault::status(500)));
    setup.host.restart();
    let ended = setup.host.ended(&run);
    assert_eq!(ended["status"], "failed", "{ended:#}");
    let message = text(&ended["errors"][0], "message");
    assert!(message.starts_with("page 8:"), "{message}");
    assert_eq!(ended["errors"][0]["page"], 8, "{ended:#}");
    assert_eq!(setup.records().len(), 0);
}

/// All moments between the last page and the end of the run, a little later each time.
#[test]
fn a_kill_around_the_commit_leaves_all_or_nothing() {
    let mut setup = paged(0, SMALL_LIMITS, json!({}));
    let mut moments = Vec::new();
    for round in 1..=8_u64 {
        setup.sim.generate(CLUB, round * 40, 1);
        let before = setup.records().len();
        let run = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
        let begin = Instant::now();
        let seen = loop {
            let now = setup.host.run(&run);
            let phase = now["progress"]["phase"].as_str().unwrap_or_default().to_owned();
            let last = round * 4;
            let read = now["progress"]["page"].as_u64() >= Some(last);
            if read || now["status"] != "running" && now["status"] != "queued" {
                break phase;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{now:#}");
        };
        // Busy, so that the moments lie closer together than a timer's ticks.
        let wait = Duration::from_micros(500 * (round * round - 1));
        let at = Instant::now();
        while at.elapsed() < wait {
            std::hint::spin_loop();
        }
        setup.host.kill();
        moments.push((seen, wait));
        setup.host.restart();
        let ended = setup.host.ended(&run);
        assert_eq!(ended["status"], "completed", "{moments:?}: {ended:#}");
        assert_counts(&ended, json!({"fetched": round * 40, "created": 40, "unchanged": before}));
        whole(&setup, round * 40);
        assert_eq!(setup.host.list("/sync/status").len() as u64, round, "{moments:?}");
    }
    println!("killed at {moments:?}");
}

/// The program aborts itself at each place of its commit, one after the other.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release has no places to crash at")]
fn a_crash_at_each_place_of_the_commit_leaves_all_or_nothing() {
    let mut setup = paged(40, SMALL_LIMITS, json!({"strategy": "manual"}));
    setup.synced();
    let places = ["before", "begun", "page", "records", "feed", "links", "run", "durable"];
    for (round, place) in (1_u64..).zip(places) {
        let members = 40 + 10 * round;
        setup.sim.generate(CLUB, members, 1);
        // Each kind of effect: new members, a changed one, one that is gone, a conflict.
        let (changed, gone) = ("GAA-000001", format!("GAA-{:06}", 2 * round));
        let name = format!("Changed{round}");
        setup.sim.patch_member(changed, json!({"firstName": name}));
        setup.sim.delete_member(&gone);
        setup.edit("GAA-000003", json!({"lastName": format!("Ours{round}")}));
        setup.sim.patch_member("GAA-000003", json!({"lastName": format!("Theirs{round}")}));
        let before = state(&setup);
        setup.host.restart_in(&[("ABORT_SYNCLINE_AT", &format!("commit:{place}"))]);
        let run = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
        let status = setup.host.wait();
        assert!(!status.success(), "{place}: the program did not abort: {status}");
        setup.host.restart();
        if place != "durable" {
            let now = setup.host.changes(ORG, 0);
            let old = before["changes"].as_array().expect("changes").len();
            assert!(now.len() >= old, "{place}: committed changes are lost");
        }
        let ended = setup.host.ended(&run);
        assert_eq!(ended["status"], "completed", "{place}: {ended:#}");
        assert_counts(&ended, json!({"created": 10, "conflictsHeld": 1, "deactivated": 1}));
        assert_eq!(ended["attempt"], 1, "{place}: a crash is no failed attempt");
        whole(&setup, members);
        assert_eq!(setup.field(changed, "firstName"), name, "{place}");
        assert_eq!(setup.inbox().len(), 1, "{place}: one conflict, one item");
        let seqs: Vec<u64> =
            setup.host.changes(ORG, 0).iter().filter_map(|row| row["seq"].as_u64()).collect();
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{place}: {seqs:?}");
        let again = setup.synced();
        assert_counts(&again, json!({"created": 0, "updated": 0}));
    }
}

#[test]
fn staged_pages_may_be_lost_while_the_host_is_down() {
    let mut setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let run = stuck_before(&setup, 6);
    setup.host.kill();
    std::fs::remove_file(setup.host.data_dir().join("staging.redb")).expect("it is there");
    setup.host.restart();
    let ended = setup.host.ended(&run);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_counts(&ended, json!({"fetched": 110, "created": 110}));
    whole(&setup, MEMBERS);
}

/// The remembered pages were planned for records as they were; one that was edited since is looked
/// at again.
#[test]
fn an_edit_before_a_kill_meets_the_run_that_is_taken_up() {
    let mut setup = paged(MEMBERS, SMALL_LIMITS, json!({"strategy": "local_wins"}));
    setup.synced();
    setup.sim.patch_member("GAA-000003", json!({"firstName": "Theirs"}));
    setup.sim.patch_member("GAA-000004", json!({"firstName": "Theirs"}));
    let run = stuck_before(&setup, 8);
    setup.edit("GAA-000003", json!({"firstName": "Ours"}));
    setup.host.kill();
    setup.host.restart();
    let ended = setup.host.ended(&run);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_eq!(setup.field("GAA-000003", "firstName"), "Ours");
    assert_eq!(setup.field("GAA-000004", "firstName"), "Theirs");
    assert_counts(&ended, json!({"conflictsDetected": 1, "conflictsResolved": 1}));
}

#[test]
fn cancelling_between_pages_applies_nothing() {
    let setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let run = stuck_before(&setup, 6);
    let path = format!("/sync/status/{run}/cancel");
    setup.host.call("POST", &path, &json!({}), 202);
    let ended = setup.host.ended(&run);
    assert_eq!(ended["status"], "cancelled", "{ended:#}");
    assert_counts(&ended, json!({"created": 0, "updated": 0}));
    assert_eq!(setup.records().len(), 0);
    assert_eq!(setup.host.changes(ORG, 0).len(), 0);
    setup.host.call("POST", &path, &json!({}), 409);
    assert_eq!(setup.host.run(&run)["status"], "cancelled");
    assert_counts(&setup.synced(), json!({"created": 110}));
}

/// Whoever was told that a run will be cancelled is not surprised by its effects after a crash.
#[test]
fn a_wish_to_cancel_survives_a_kill() {
    let mut setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let run = stuck_before(&setup, 6);
    // A crash between the accepted wish and the run's end, made likely by not waiting at all.
    setup.host.call("POST", &format!("/sync/status/{run}/cancel"), &json!({}), 202);
    setup.host.kill();
    setup.host.restart();
    let ended = setup.host.ended(&run);
    assert_eq!(ended["status"], "cancelled", "{ended:#}");
    assert_eq!(setup.records().len(), 0);
}

/// A job that waits behind another one of its connection ends at once.
#[test]
fn cancelling_a_run_that_waits_ends_it_at_once() {
    let setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let first = stuck_before(&setup, 3);
    let second = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    assert_ne!(first, second, "a running job is not joined");
    let answer = setup.host.call("POST", &format!("/sync/status/{second}/cancel"), &json!({}), 202);
    assert_eq!(answer["status"], "cancelled", "{answer:#}");
    assert_eq!(setup.host.ended(&first)["status"], "completed");
    assert_eq!(setup.host.run(&second)["status"], "cancelled");
}

#[test]
fn an_orderly_stop_lets_a_run_finish() {
    let mut setup = paged(MEMBERS, SMALL_LIMITS, json!({}));
    let run = stuck_before(&setup, 6);
    signal(setup.host.process_id(), "TERM");
    let status = setup.host.wait();
    assert_eq!(status.code(), Some(0), "{}", setup.host.log());
    setup.host.restart();
    let ended = setup.host.run(&run);
    assert_eq!(ended["status"], "completed", "it was drained: {ended:#}");
    whole(&setup, MEMBERS);
}

#[test]
fn an_orderly_stop_hands_a_long_run_over() {
    let config = SMALL_LIMITS
        .replace("requestTimeoutSecondsMax = 1", "requestTimeoutSecondsMax = 60")
        + "drainSecondsMax = 1\n";
    let mut setup = paged(MEMBERS, &config, json!({}));
    setup.sim.fault(Rule::page(6, Fault::Delay { ms: 50_000 }).once());
    let run = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
    let read = |run: &Value| run["progress"]["page"].as_u64() >= Some(5);
    setup.host.run_when(&run, "to read five pages", read);
    let begin = Instant::now();
    signal(setup.host.process_id(), "TERM");
    let status = setup.host.wait();
    let took = begin.elapsed();
    assert_eq!(status.code(), Some(0), "{}", setup.host.log());
    assert!(took < Duration::from_secs(5), "draining for 1 s took {took:?}");
    setup.sim.forget_requests();
    setup.host.restart();
    let ended = setup.host.ended(&run);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_eq!(setup.sim.list_pages_seen().first(), Some(&6), "it goes on where it was");
    whole(&setup, MEMBERS);
}
