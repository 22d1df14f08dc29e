//! Runs by what they were, why values are what they are, and files for spreadsheets.

use serde_json::{Value, json};

use crate::fixture::{ORG, Setup, members, text};
use crate::rig::program;

fn ids(runs: &[Value]) -> Vec<String> {
    runs.iter().map(|run| text(run, "syncId")).collect()
}

#[test]
fn runs_are_listed_by_each_filter_and_by_all_of_them() {
    let setup = Setup::new(&members(2));
    let first = setup.synced();
    setup
        .sim
        .fault(syncline_tests::foireann::Rule::any(syncline_tests::foireann::Fault::status(404)));
    let failed = setup.sync();
    assert_eq!(failed["status"], "failed", "{failed:#}");
    setup.sim.clear_faults();
    let last = setup.synced();
    let list = |query: &str| ids(&setup.host.list(&format!("/sync/status?{query}")));
    let all = ids(&[last.clone(), failed.clone(), first.clone()]);
    assert_eq!(ids(&setup.host.list("/sync/status")), all, "newest first, page by page");
    assert_eq!(list("status=failed"), all[1..2]);
    assert_eq!(list("status=failed,completed"), all);
    assert_eq!(list("status=held"), Vec::<String>::new());
    let both = format!("connector={}&organization={ORG}&trigger=manual", setup.connector);
    assert_eq!(list(&both), all);
    assert_eq!(list(&format!("{both}&status=completed")), [all[0].clone(), all[2].clone()]);
    assert_eq!(list("trigger=webhook"), Vec::<String>::new());
    assert_eq!(list(&format!("since={}", text(&last, "createdAt"))), all[..1]);
    // Page by page with filters, and what is no filter is refused.
    let mut paged = Vec::new();
    let mut next = "/sync/status?status=completed&limit=1".to_owned();
    loop {
        let page = setup.host.get(&next);
        paged.extend(ids(page["items"].as_array().unwrap()));
        match page["nextCursor"].as_str() {
            Some(cursor) => next = format!("/sync/status?status=completed&limit=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, [all[0].clone(), all[2].clone()]);
    for wrong in ["status=done", "trigger=cron", "since=yesterday", "color=red"] {
        setup.host.call("GET", &format!("/sync/status?{wrong}"), &Value::Null, 422);
    }
}

#[track_caller]
fn why(setup: &Setup, record: &str, field: &str) -> Value {
    let path = format!("/organizations/{ORG}/records/{record}/why?field={field}");
    let answer = setup.host.get(&path);
    answer["fields"][0].clone()
}

#[track_caller]
fn assert_way(why: &Value, way: &str, words: &[&str]) {
    assert_eq!(why["way"], way, "{why:#}");
    let explanation = text(why, "explanation");
    for word in words {
        assert!(explanation.contains(word), "{word:?} in {explanation:?}");
    }
}

#[test]
fn each_value_says_where_it_comes_from() {
    let setup = Setup::new(&members(1));
    let first = setup.synced();
    let record = text(&setup.record("M-1"), "id");
    let created = why(&setup, &record, "email");
    assert_way(
        &created,
        "created",
        &["email is \"member1@example.ie\"", &text(&first, "syncId"), "Federation"],
    );
    assert_eq!(created["runId"], first["syncId"]);
    assert_eq!(created["agreed"][0]["base"], "member1@example.ie", "{created:#}");

    setup.edit("M-1", json!({"phone": "085 111 1111"}));
    let edited = why(&setup, &record, "phone");
    assert_way(&edited, "edit", &["edited it here", "087 555 0001"]);
    assert_eq!(
        (&edited["setBy"]["kind"], &edited["before"]),
        (&json!("person"), &json!("087 555 0001"))
    );
    assert_eq!(edited["agreed"][0]["base"], "087 555 0001", "the other side still has it");

    setup.sim.patch_member("M-1", json!({"address": "moved"}));
    let second = setup.synced();
    let remote = why(&setup, &record, "address");
    assert_way(&remote, "remote", &["Only the other side", "1 Main Street"]);
    assert_eq!(
        (&remote["base"], &remote["remote"]),
        (&json!("1 Main Street, Ennis"), &json!("moved"))
    );

    setup.sim.patch_member("M-1", json!({"phone": "086 222 2222"}));
    setup.synced();
    let conflict = why(&setup, &record, "phone");
    assert_way(
        &conflict,
        "conflict",
        &["Both sides", "federation_wins", "085 111 1111", "086 222 2222"],
    );
    assert_eq!(
        (&conflict["base"], &conflict["remote"], &conflict["local"]),
        (&json!("087 555 0001"), &json!("086 222 2222"), &json!("085 111 1111"))
    );
    assert_eq!(conflict["decision"]["strategy"], "federation_wins");

    let undone = setup.host.call(
        "POST",
        &format!("/sync/status/{}/undo", text(&second, "syncId")),
        &json!({}),
        200,
    );
    assert_eq!(undone["reverted"], 1, "{undone:#}");
    let undo = why(&setup, &record, "address");
    assert_way(&undo, "undo", &["undid", &text(&second, "syncId"), "moved"]);
    assert_eq!(undo["undoOf"], second["syncId"]);

    let all = setup.host.get(&format!("/organizations/{ORG}/records/{record}/why"));
    let named = all["fields"].as_array().unwrap().len();
    assert_eq!(named, setup.record("M-1")["fields"].as_object().unwrap().len());
    let unknown = format!("/organizations/{ORG}/records/{record}/why?field=shoe");
    setup.host.call("GET", &unknown, &Value::Null, 422);
    setup.host.call("GET", &format!("/organizations/{ORG}/records/rec_1/why"), &Value::Null, 404);
    let history = setup.host.list(&format!("/organizations/{ORG}/records/{record}/history"));
    assert_eq!(history[0]["undoOf"], second["syncId"], "{history:#?}");
}

/// A conflict that was held, decided by a person, and one that left the value as it was.
#[test]
fn decisions_of_people_and_kept_values_are_told() {
    let setup = Setup::with(&members(1), json!({}), json!({"strategy": "manual"}));
    setup.synced();
    let record = text(&setup.record("M-1"), "id");
    setup.edit("M-1", json!({"email": "here@example.ie"}));
    setup.sim.patch_member("M-1", json!({"email": "there@example.ie"}));
    setup.synced();
    let held = why(&setup, &record, "email");
    assert_way(&held, "edit", &["edited it here", "waits for a person", "there@example.ie"]);
    assert_eq!(held["decision"]["held"], true, "{held:#}");
    let item = text(&setup.inbox()[0], "id");
    let choice = json!({"choice": "remote"});
    setup.host.call("POST", &format!("/conflicts/{item}/resolve"), &choice, 200);
    let decided = why(&setup, &record, "email");
    assert_way(&decided, "decision", &["Both sides", "decided", "here@example.ie"]);
    assert_eq!(
        (&decided["decision"]["conflictId"], &decided["decision"]["choice"]),
        (&json!(item), &json!("remote"))
    );
    let history = setup.host.list(&format!("/organizations/{ORG}/records/{record}/history"));
    assert_eq!(history[0]["conflictId"], item.as_str(), "{history:#?}");

    let path = format!("/organizations/{ORG}/connections/{}", setup.connection);
    setup.host.change("PATCH", &path, &json!({"strategy": "local_wins"}), 200);
    setup.edit("M-1", json!({"email": "mine@example.ie"}));
    setup.sim.patch_member("M-1", json!({"email": "theirs@example.ie"}));
    let run = setup.synced();
    let kept = why(&setup, &record, "email");
    assert_eq!(kept["value"], "mine@example.ie");
    assert_way(
        &kept,
        "edit",
        &["edited it here", &text(&run, "syncId"), "theirs@example.ie", "local_wins"],
    );
}

#[test]
fn exports_are_whole_in_every_format_and_safe_in_a_spreadsheet() {
    let setup = Setup::new(&members(3));
    setup.synced();
    for number in 1..=3 {
        let id = format!("M-{number}");
        setup.edit(&id, json!({"address": "=1+1"}));
        setup.sim.patch_member(&id, json!({"address": "@SUM(A1), \"quoted\""}));
    }
    let run = text(&setup.synced(), "syncId");
    let export = |path: &str, format: &str| {
        let answer = setup.host.send("GET", &format!("{path}?format={format}"), &[], &Value::Null);
        assert_eq!(answer.status, 200, "{path} {format}");
        let disposition = answer.header("content-disposition").unwrap_or_default().to_owned();
        assert!(disposition.ends_with(&format!(".{format}\"")), "{disposition}");
        String::from_utf8(answer.body).expect("text")
    };
    let one = format!("/sync/status/{run}/export");
    let whole: Value = serde_json::from_str(&export(&one, "json")).expect("JSON");
    let base = format!("/sync/status/{run}");
    assert_eq!(whole["run"], setup.host.run(&run));
    assert_eq!(whole["conflicts"], json!(setup.host.list(&format!("{base}/conflicts"))));
    assert_eq!(whole["records"], json!(setup.host.list(&format!("{base}/records"))));
    let lines: Vec<Value> = export(&one, "ndjson")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line.as_object().unwrap().keys().next().unwrap().as_str())
        .collect();
    assert_eq!(kinds, ["run", "conflict", "conflict", "conflict", "record", "record", "record"]);
    assert_eq!(lines[1]["conflict"], whole["conflicts"][0]);
    let csv = export(&one, "csv");
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.contains("\"'@SUM(A1), \"\"quoted\"\"\"") && csv.contains("'=1+1"), "{csv}");

    let runs: Value = serde_json::from_str(&export("/sync/status/export", "json")).expect("JSON");
    assert_eq!(runs["items"], json!(setup.host.list("/sync/status")));
    let lines = export("/sync/status/export", "ndjson");
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((lines.lines().count(), &first), (2, &runs["items"][0]));
    assert_eq!(export("/sync/status/export", "csv").lines().count(), 3);
    let none = setup.host.get("/sync/status/export?status=held");
    assert_eq!(none, json!({"items": []}));
    setup.host.call("GET", &format!("{one}?format=xls"), &Value::Null, 422);
}

/// The verbs that people use for it.
#[test]
fn the_command_line_follows_explains_and_exports() {
    let setup = Setup::new(&members(1));
    let run = text(&setup.synced(), "syncId");
    let record = text(&setup.record("M-1"), "id");
    let server = format!("http://{}", setup.host.address());
    let environment = [("SYNCLINE_SERVER", server.as_str()), ("SYNCLINE_TOKEN", &setup.host.token)];
    let said = |arguments: &[&str]| {
        let output = program(arguments, &environment);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    };
    let told = said(&["record", "why", &record, "--field", "email"]);
    assert!(told.contains("email is \"member1@example.ie\". It came with the record"), "{told}");
    let told: Value = serde_json::from_str(&said(&["record", "why", &record, "--json"])).unwrap();
    assert_eq!(told["recordId"], record.as_str());
    let followed = said(&["run", "show", &run, "--follow", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&followed).unwrap(), setup.host.run(&run));
    let lines = said(&["run", "export", "--format", "ndjson", "--status", "completed"]);
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(said(&["run", "export", &run, "--format", "csv"]).starts_with("recordId,"));
    let feed = said(&["changes", "--follow", "--after", "0", "--limit", "1", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&feed).unwrap(), setup.host.changes(ORG, 0)[0]);
}
