//! What deliveries come to: records that are looked at again, once, by whoever has them.

use serde_json::{Value, json};

use super::{FAST, Hooks, SECRET, hooks};
use crate::fixture::{CLUB, ORG, checked, text};

fn synced(count: u32) -> Hooks {
    let hooks = hooks("original", SECRET, count, FAST);
    hooks.setup.synced();
    hooks
}

#[test]
fn a_changed_record_is_fetched_again() {
    let hooks = synced(3);
    hooks.setup.sim.patch_member("M-2", json!({"email": "new@example.ie"}));
    hooks.setup.sim.forget_requests();
    let (row, runs) = hooks.followed(&hooks.tell("updated", "M-2"));
    assert_eq!(row["events"][0]["result"], "queued", "{row:#}");
    let run = &runs[0];
    assert_eq!((&run["trigger"], &run["mode"]), (&json!("webhook"), &json!("ids")), "{run:#}");
    assert_eq!((&run["counts"]["fetched"], &run["counts"]["updated"]), (&json!(1), &json!(1)));
    assert_eq!(hooks.setup.field("M-2", "email"), "new@example.ie");
    let asked: Vec<String> =
        hooks.setup.sim.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(asked, ["/members/M-2"], "nothing else was asked for");
}

#[test]
fn a_new_record_comes_in() {
    let hooks = synced(1);
    hooks.setup.sim.add_members(CLUB, &[crate::fixture::member(9, json!({}))]);
    hooks.followed(&hooks.tell("created", "M-9"));
    assert_eq!(hooks.setup.record("M-9")["status"], "active");
}

#[test]
fn a_deleted_record_is_inactive_once_the_source_confirms_it() {
    let hooks = synced(3);
    // Somebody says so, and it is still there.
    let (_, runs) = hooks.followed(&hooks.tell("deleted", "M-1"));
    assert_eq!(runs[0]["counts"]["deactivated"], 0, "{:#}", runs[0]);
    assert_eq!(hooks.setup.record("M-1")["status"], "active");
    hooks.setup.sim.delete_member("M-2");
    let (_, runs) = hooks.followed(&hooks.tell("deleted", "M-2"));
    assert_eq!(runs[0]["status"], "completed", "{:#}", runs[0]);
    assert_eq!(runs[0]["counts"]["deactivated"], 1, "{:#}", runs[0]);
    assert_eq!(hooks.setup.record("M-2")["status"], "inactive");
    // Its status says so.
    hooks.setup.sim.patch_member("M-3", json!({"membershipStatus": "Lapsed"}));
    hooks.followed(&hooks.tell("deleted", "M-3"));
    assert_eq!(hooks.setup.record("M-3")["status"], "inactive");
}

/// Whatever the order in which they come, a record ends as the source has it.
#[test]
fn deliveries_that_come_in_another_order_come_to_the_same() {
    let hooks = hooks("github", SECRET, 3, FAST);
    hooks.setup.synced();
    hooks.setup.sim.delete_member("M-1");
    hooks.setup.sim.patch_member("M-2", json!({"email": "second@example.ie"}));
    let kinds = ["deleted", "updated", "created", "deleted", "created", "updated", "deleted"];
    for (number, kind) in kinds.into_iter().enumerate() {
        for member in ["M-1", "M-2"] {
            let mut event = hooks.event(kind, member);
            event["number"] = json!(number);
            let answer = checked("POST", kind, &hooks.send(&hooks.signed(&event)), 200);
            let (_, runs) = hooks.followed(&text(&answer, "deliveryId"));
            assert_eq!(runs[0]["status"], "completed", "{:#}", runs[0]);
        }
    }
    assert_eq!(hooks.setup.record("M-1")["status"], "inactive");
    assert_eq!(hooks.setup.record("M-2")["status"], "active");
    assert_eq!(hooks.setup.field("M-2", "email"), "second@example.ie");
    assert_eq!(hooks.setup.record("M-3")["status"], "active");
}

#[test]
fn what_is_said_to_be_gone_and_was_never_here_changes_nothing() {
    let hooks = synced(1);
    // Another club's: the source would answer for it.
    hooks.setup.sim.set_members("club-2", &[crate::fixture::member(7, json!({}))]);
    for stranger in ["M-7", "nobody", "../M-1", "é"] {
        let (_, runs) = hooks.followed(&hooks.tell("deleted", stranger));
        assert_eq!(runs[0]["status"], "completed", "{stranger}: {:#}", runs[0]);
        assert_eq!(runs[0]["counts"]["created"], 0, "{stranger}");
    }
    assert_eq!(hooks.setup.records().len(), 1);
    assert_eq!(hooks.setup.record("M-1")["status"], "active");
}

#[test]
fn deliveries_during_a_run_wait_as_one_job() {
    use syncline_tests::foireann::{Fault, Rule};
    let hooks = synced(20);
    hooks.setup.sim.fault(Rule::listing(Fault::Delay { ms: 1_500 }));
    let full = text(&hooks.setup.host.ask(ORG, &hooks.setup.connector, json!({})), "syncId");
    hooks.host().run_when(&full, "to run", |run| run["status"] == "running");
    let ids: Vec<String> =
        (1..=10).map(|number| hooks.tell("updated", &format!("M-{number}"))).collect();
    let runs: Vec<Value> = ids.iter().map(|id| hooks.processed(id)["runs"][0].clone()).collect();
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:#?}");
    let run = hooks.host().ended(&text(&runs[0], "syncId"));
    assert_eq!(run["counts"]["fetched"], 10, "{run:#}");
    assert_ne!(text(&run, "syncId"), full);
    assert_eq!(hooks.host().ended(&full)["status"], "completed");
}

#[test]
fn only_who_is_meant_is_concerned() {
    let hooks = synced(1);
    let other = |org: &str, club: &str, more: Value| {
        hooks.host().create_organization(org);
        hooks.host().connect(org, &hooks.setup.connector, club, more)
    };
    other("twin", CLUB, json!({}));
    other("stranger", "club-2", json!({}));
    other("deaf", CLUB, json!({"webhooksEnabled": false}));
    let (row, runs) = hooks.followed(&hooks.tell("updated", "M-1"));
    let mut orgs: Vec<String> = runs.iter().map(|run| text(run, "organizationId")).collect();
    orgs.sort();
    assert_eq!(orgs, [ORG, "twin"], "{row:#}");
    assert!(runs.iter().all(|run| run["status"] == "completed"), "{runs:#?}");
    let send = |club: &str| {
        let mut event = hooks.event("updated", "M-1");
        event["federationOrgId"] = json!(club);
        let answer = checked("POST", club, &hooks.send(&hooks.signed(&event)), 200);
        hooks.processed(&text(&answer, "deliveryId"))
    };
    let unknown = send("club-77");
    assert_eq!(unknown["verdict"], "unknownOrganization", "{unknown:#}");
    assert_eq!(unknown["externalIds"], json!(["M-1"]));
    assert_eq!(unknown["runs"], json!([]));
}

#[test]
fn what_says_nothing_is_logged_and_stops_nobody() {
    let hooks = hooks("github", SECRET, 1, FAST);
    hooks.setup.synced();
    let send = |body: Value| {
        let answer = checked("POST", "a delivery", &hooks.send(&hooks.signed(&body)), 200);
        text(&answer, "deliveryId")
    };
    let unreadable = send(json!("not an event"));
    let other = send(json!({"memberId": "M-1", "event": "renamed", "federationOrgId": CLUB}));
    let good = send(hooks.event("updated", "M-1"));
    let row = hooks.processed(&unreadable);
    assert_eq!(row["verdict"], "unknownEvent", "{row:#}");
    assert_eq!(row["error"]["code"], "remote.bad-response", "{row:#}");
    assert_eq!(hooks.processed(&other)["verdict"], "unknownEvent");
    assert_eq!(hooks.processed(&good)["verdict"], "accepted");
    // Several events in one delivery, and one of them twice.
    let event = |id: &str| json!({"memberId": "M-1", "event": "updated", "eventId": id});
    let several = send(json!({"events": [event("a"), event("b"), event("a")]}));
    let row = hooks.processed(&several);
    let results: Vec<&Value> =
        row["events"].as_array().expect("events").iter().map(|event| &event["result"]).collect();
    assert_eq!(results, ["queued", "queued", "duplicate"], "{row:#}");
    let again = send(json!({"events": [event("b")], "number": 2}));
    assert_eq!(hooks.processed(&again)["verdict"], "duplicate");
}

/// The process ends between the answer and the jobs, and between the jobs and whatever follows.
#[test]
fn a_crash_behind_the_answer_loses_nothing_and_doubles_nothing() {
    for place in ["webhook:read", "webhook:routed"] {
        let mut hooks = synced(2);
        hooks.setup.sim.patch_member("M-2", json!({"email": "new@example.ie"}));
        hooks.setup.host.restart_in(&[("ABORT_SYNCLINE_AT", place)]);
        let delivery = hooks.signed(&hooks.event("updated", "M-2"));
        // The answer may be cut off by the crash that it sets off.
        let mut connection =
            syncline_tests::http::Connection::open(hooks.host().address()).expect("open");
        let answer = super::send_on(&mut connection, &delivery);
        assert!(!hooks.setup.host.wait().success(), "{place}: the process goes on");
        hooks.setup.host.restart();
        let rows = hooks.logged("?verdict=accepted", 1);
        if let Ok(answer) = answer {
            assert_eq!(text(&checked("POST", place, &answer, 200), "deliveryId"), rows[0]["id"]);
        }
        let (row, runs) = hooks.followed(&text(&rows[0], "id"));
        assert_eq!(runs.len(), 1, "{place}: {row:#}");
        assert_eq!(hooks.setup.field("M-2", "email"), "new@example.ie", "{place}");
        assert_eq!(hooks.host().list("/sync/status?trigger=webhook").len(), 1, "{place}");
    }
}

/// A connector whose records cannot be fetched one by one: an event asks for a listing, and what is gone is believed. Its
/// component dies over some deliveries, which stop no other.
#[test]
fn a_connector_without_single_records_lists_and_believes() {
    use crate::access::world::json_of;
    let hooks = hooks("standard", super::STANDARD, 0, FAST);
    let host = hooks.host();
    let installed = json_of(&crate::plugins::upload(host, crate::hostile::connector()));
    let approve = json!({"sha256": installed["sha256"]});
    host.call("POST", "/plugins/hostile/approve", &approve, 200);
    let body = json!({
        "name": "Hostile", "federationCode": "x", "plugin": "hostile", "authType": "none",
        "endpoints": {"baseUrl": hooks.setup.sim.base_url()}, "config": {"batchRecords": 5},
        "credentials": {"webhookSecret": super::STANDARD},
    });
    let connector = text(&host.call("POST", "/connectors", &body, 201), "id");
    host.create_organization("lists");
    let connection = host.connect("lists", &connector, "x", json!({}));
    let send = |body: &str| {
        let verifier = syncline::signature::shipped("standard").expect("a scheme");
        let (id, now) = (super::unique(), super::now_millis());
        let signed =
            syncline::signature::sign(&verifier, super::STANDARD, &id, now, body.as_bytes());
        let signed = signed.expect("it can be signed");
        let delivery = super::Delivery {
            path: format!("/webhooks/{connector}"),
            headers: signed.headers,
            body: signed.body,
        };
        text(&checked("POST", body, &hooks.send(&delivery), 200), "deliveryId")
    };
    let bad: Vec<String> =
        ["panic", "trap", "flood", "spin", "stranger"].iter().map(|word| send(word)).collect();
    let (row, runs) = hooks.followed(&send("event id-1"));
    assert_eq!((&row["verdict"], &runs[0]["mode"]), (&json!("accepted"), &json!("full")));
    assert_eq!(runs[0]["counts"]["created"], 5, "{:#}", runs[0]);
    for id in bad {
        assert_eq!(hooks.processed(&id)["verdict"], "unknownEvent");
    }
    let (_, runs) = hooks.followed(&send("gone id-1 id-99"));
    assert_eq!(runs[0]["counts"]["deactivated"], 1, "{:#}", runs[0]);
    let gone = host.records("lists").into_iter().filter(|record| record["status"] == "inactive");
    let gone: Vec<Value> = gone.map(|record| record["externalIds"][&connection].clone()).collect();
    assert_eq!(gone, ["id-1"]);
}
