//! Schedules through the API: what they take and refuse, whose they are, how they follow their connector, and that they
//! run. How they go by the clock is tested in the host, under a clock that is set by hand.

use serde_json::{Value, json};
use syncline_tests::http::Answer;

use crate::access::world::{token, with_token};
use crate::fixture::{Host, ORG, Setup, checked, federation, members, text};
use syncline_tests::foireann::Options;

/// A pattern that comes once in four years: nothing fires while a test runs.
const RARE: &str = "0 2 29 2 *";

fn setup() -> Setup {
    Setup::with(&members(3), json!({}), json!({}))
}

fn rare(setup: &Setup, more: Value) -> Value {
    let mut body = json!({"connectorId": setup.connector, "cron": RARE});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("members").clone());
    body
}

#[track_caller]
fn create(setup: &Setup, more: Value) -> Value {
    setup.host.call("POST", "/sync/schedules", &rare(setup, more), 201)
}

fn path(schedule: &Value) -> String {
    format!("/sync/schedules/{}", text(schedule, "id"))
}

/// Members of a row that were asked for.
#[track_caller]
fn assert_row(row: &Value, wanted: Value) {
    for (name, value) in wanted.as_object().expect("members") {
        assert_eq!(&row[name], value, "{name} of {row:#}");
    }
}

/// The pointers of what is wrong, each with its message.
#[track_caller]
fn faults(host: &Host, method: &str, path: &str, body: &Value) -> Vec<(String, String)> {
    let answer = host.send(method, path, &[("If-Match", "*")], body);
    let problem = checked(method, path, &answer, 422);
    let faults = problem["errors"].as_array().expect("errors");
    faults.iter().map(|fault| (text(fault, "pointer"), text(fault, "message"))).collect()
}

#[test]
fn a_schedule_shows_what_it_means_and_when() {
    let setup = setup();
    let plain = create(&setup, json!({"organizationId": ORG}));
    assert_row(
        &plain,
        json!({
            "organizationId": ORG, "connectorId": setup.connector, "entity": "all", "mode": "full",
            "cron": RARE, "timezone": null, "overlap": "skip", "catchUpWindow": 86_400,
            "jitter": 300, "enabled": true, "generated": false, "paused": null, "blocked": null,
            "lastFireAt": null, "nextFireAt": "2028-02-29T02:00:00.000Z", "version": 1,
            "description": "on the 29th of the month at 02:00, in February (Europe/Dublin)",
        }),
    );
    let all = create(
        &setup,
        json!({
            "name": "Sundays", "cron": "30 1 * 3 SUN", "timezone": "Europe/Dublin",
            "overlap": "bufferOne", "catchUpWindow": "2h", "jitter": 0, "enabled": true,
            "entity": "member",
        }),
    );
    assert_row(
        &all,
        json!({
            "name": "Sundays", "organizationId": null, "catchUpWindow": 7_200, "jitter": 0,
            "description": "every Sunday at 01:30, in March (Europe/Dublin)",
        }),
    );
    // The hour in which clocks go forward: nominal times, the skipped one at the first instant behind the gap.
    let next = setup.host.get(&format!("{}/next?count=40", path(&all)));
    let items = next["items"].as_array().expect("items");
    assert_eq!(items.len(), 40);
    let local = |item: &Value| text(item, "localTime");
    assert!(items.iter().all(|item| local(item).ends_with("[Europe/Dublin]")), "{next:#}");
    let skipped: Vec<_> =
        items.iter().filter(|item| local(item).contains("T02:00:00+01:00")).collect();
    assert!(skipped.len() >= 8, "one a year: {next:#}");
    assert!(
        items
            .iter()
            .all(|item| item["nominalAt"].is_string() && item["timezone"] == "Europe/Dublin")
    );
    assert_eq!(
        setup.host.get(&format!("{}/next", path(&all)))["items"].as_array().map(Vec::len),
        Some(5)
    );
    for wrong in ["0", "201", "x"] {
        setup.host.call("GET", &format!("{}/next?count={wrong}", path(&all)), &Value::Null, 422);
    }
    let listed = setup.host.list("/sync/schedules");
    assert_eq!(listed.len(), 2, "{listed:#?}");
    assert_eq!(setup.host.list(&format!("/sync/schedules?organization={ORG}")).len(), 2);
    assert_eq!(setup.host.list(&format!("/sync/schedules?connector={}", setup.connector)).len(), 2);
    let drift = setup.host.get(&path(&all))["drift"].clone();
    assert_eq!(drift["expected"], 0, "{drift:#}");
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_would_be_right() {
    let setup = setup();
    setup.host.create_organization("apart");
    for (more, pointer, words) in [
        (json!({"cron": "0 25 * * *"}), "/cron", "such as `0 2 * * *`"),
        (json!({"cron": "0 0 30 2 *"}), "/cron", "never fires"),
        (json!({"cron": "0 0 2 * * *"}), "/cron", "five fields"),
        (json!({"timezone": "Europe/Atlantis"}), "/timezone", "such as `Europe/Dublin`"),
        (json!({"overlap": "skipp"}), "/overlap", "did you mean `skip`"),
        (json!({"catchUpWindow": -1}), "/catchUpWindow", "whole seconds from 0"),
        (json!({"catchUpWindow": "ages"}), "/catchUpWindow", "such as `24h`"),
        (json!({"catchUpWindow": 99_999_999}), "/catchUpWindow", "to 2592000"),
        (json!({"jitter": 1.5}), "/jitter", "whole seconds"),
        (json!({"jitter": [1]}), "/jitter", "a list"),
        (json!({"mode": "ids"}), "/mode", "full, incremental"),
        (json!({"mode": "incremental"}), "/mode", "these modes: full, ids"),
        (json!({"entity": "planet"}), "/entity", "`all`"),
        (json!({"enabled": "yes"}), "/enabled", "true or false"),
        (json!({"connectorId": "con_99"}), "/connectorId", "no connector"),
        (json!({"connectorId": ""}), "/connectorId", "empty"),
        (json!({"organizationId": "nowhere"}), "/organizationId", "no organization"),
        (json!({"organizationId": "apart"}), "/organizationId", "connect the two first"),
        (json!({"crno": "x"}), "/crno", "did you mean `cron`"),
    ] {
        let found = faults(&setup.host, "POST", "/sync/schedules", &rare(&setup, more.clone()));
        assert!(
            found.iter().any(|(at, message)| at == pointer && message.contains(words)),
            "{more}: {found:?}"
        );
    }
    assert!(setup.host.list("/sync/schedules").is_empty(), "nothing was made");
    let made = create(&setup, json!({"organizationId": ORG}));
    let row = setup.host.get(&path(&made));
    for (change, pointer) in [
        (json!({"connectorId": "con_99"}), "/connectorId"),
        (json!({"organizationId": null}), "/organizationId"),
        (json!({"cron": "nightly"}), "/cron"),
        (json!({"lastRunAt": "x"}), "/lastRunAt"),
    ] {
        let found = faults(&setup.host, "PUT", &path(&made), &change);
        assert_eq!(found[0].0, pointer, "{change}: {found:?}");
    }
    for (body, pointer) in [
        (json!({}), "/reason"),
        (json!({"reason": "x", "until": "tomorrow"}), "/until"),
        (json!({"reason": "x", "until": "2020-01-01T00:00:00Z"}), "/until"),
    ] {
        let found = faults(&setup.host, "POST", &format!("{}/pause", path(&made)), &body);
        assert_eq!(found[0].0, pointer, "{body}: {found:?}");
    }
    let mut unchanged = setup.host.get(&path(&made));
    // It counts from so long ago, by the time of the question.
    unchanged["drift"]["since"] = row["drift"]["since"].clone();
    assert_eq!(unchanged, row, "unchanged");
}

#[test]
fn a_change_keeps_what_it_leaves_out_and_a_row_can_be_sent_back() {
    let setup = setup();
    let made = create(&setup, json!({"organizationId": ORG, "timezone": "UTC", "jitter": 10}));
    let put = |body: &Value, if_match: &str| -> Answer {
        setup.host.send("PUT", &path(&made), &[("If-Match", if_match)], body)
    };
    assert_eq!(setup.host.send("PUT", &path(&made), &[], &json!({})).status, 428);
    let mut row = setup.host.get(&path(&made));
    row["cron"] = json!("0 4 29 2 *");
    let changed = checked("PUT", "", &put(&row, "\"1\""), 200);
    assert_row(
        &changed,
        json!({"cron": "0 4 29 2 *", "timezone": "UTC", "jitter": 10, "version": 2}),
    );
    assert_eq!(put(&row, "\"1\"").status, 412);
    let changed = checked("PUT", "", &put(&json!({"timezone": null, "jitter": null}), "*"), 200);
    assert_row(&changed, json!({"cron": "0 4 29 2 *", "timezone": null, "jitter": 300}));
    let off = checked("PUT", "", &put(&json!({"enabled": false}), "*"), 200);
    assert_row(&off, json!({"enabled": false, "nextFireAt": null}));
    setup.host.change("DELETE", &path(&made), &Value::Null, 204);
    setup.host.call("GET", &path(&made), &Value::Null, 404);
    setup.host.call("GET", "/sync/schedules/nightly", &Value::Null, 404);
}

#[test]
fn a_pause_has_a_reason_and_a_person_may_run_it_all_the_same() {
    let setup = setup();
    let made = create(&setup, json!({"organizationId": ORG}));
    let post = |action: &str, body: Value, status: u16| {
        setup.host.call("POST", &format!("{}/{action}", path(&made)), &body, status)
    };
    let paused = post("pause", json!({"reason": "match days"}), 200);
    assert_row(&paused["paused"], json!({"reason": "match days", "until": null, "by": "admin"}));
    assert_eq!(paused["nextFireAt"], Value::Null);
    let until = "2028-02-29T02:00:00Z";
    let paused = post("pause", json!({"reason": "move", "until": until}), 200);
    assert_eq!(paused["nextFireAt"], "2028-02-29T02:00:00.000Z", "the very end counts");
    let started = post("trigger", Value::Null, 202);
    let run = setup.host.ended(&text(&started, "syncId"));
    assert_row(&run, json!({"status": "completed", "trigger": "manual"}));
    assert_row(&started["runs"][0], json!({"organizationId": ORG, "joined": false, "code": null}));
    let fires = setup.host.list(&format!("{}/fires", path(&made)));
    let [fire] = &fires[..] else { panic!("{fires:#?}") };
    assert_row(
        fire,
        json!({"outcome": "triggered", "syncId": run["syncId"], "by": "admin", "nominalAt": null}),
    );
    let resumed = post("resume", Value::Null, 200);
    assert_row(&resumed, json!({"paused": null, "nextFireAt": "2028-02-29T02:00:00.000Z"}));
    // The same key does it once.
    let key = [("Idempotency-Key", "once")];
    let trigger = format!("{}/trigger", path(&made));
    let first = checked("POST", "", &setup.host.send("POST", &trigger, &key, &Value::Null), 202);
    let again = checked("POST", "", &setup.host.send("POST", &trigger, &key, &Value::Null), 202);
    assert_eq!(first, again);
    assert_eq!(setup.host.list(&format!("{}/fires", path(&made))).len(), 2);
    let only = setup.host.list(&format!("{}/fires?outcome=skipped", path(&made)));
    assert!(only.is_empty(), "{only:#?}");
}

#[test]
fn a_connector_brings_its_nights_along() {
    let setup = Setup::with(&members(1), json!({"syncConfig": {"enabled": true}}), json!({}));
    let host = &setup.host;
    let row = || -> Option<Value> { host.list("/sync/schedules").pop() };
    let night = row().expect("a schedule");
    assert_row(
        &night,
        json!({
            "generated": true, "cron": "0 2 * * *", "organizationId": null, "entity": "all",
            "mode": "full", "enabled": true, "blocked": null, "timezone": null,
            "connectorId": setup.connector, "name": "Federation",
            "description": "every day at 02:00 (in the time zone of each organization)",
        }),
    );
    // In the zone of the organization that is connected.
    let next = host.get(&format!("{}/next?count=2", path(&night)));
    assert!(text(&next["items"][0], "localTime").contains("T02:00:00"), "{next:#}");
    assert_eq!(next["items"][1]["timezone"], "Europe/Dublin", "{next:#}");
    let connector = format!("/connectors/{}", setup.connector);
    let sync = |config: Value| {
        host.change("PATCH", &connector, &json!({"syncConfig": config}), 200);
    };
    sync(json!({"enabled": true, "schedule": "@weekly", "timezone": "America/Edmonton"}));
    let moved = row().expect("a schedule");
    assert_row(
        &moved,
        json!({"id": night["id"], "cron": "@weekly", "timezone": "America/Edmonton", "version": 2}),
    );
    // Its pattern is changed at the connector, and says so; the rest is its own.
    for (change, pointer, words) in [
        (json!({"cron": RARE}), "/cron", "`syncConfig.schedule`"),
        (json!({"timezone": null}), "/timezone", "`syncConfig.timezone`"),
        (json!({"enabled": false}), "/enabled", "pause"),
        (json!({"name": "x"}), "/name", "`name`"),
    ] {
        let found = faults(host, "PUT", &path(&night), &change);
        assert!(found[0].0 == pointer && found[0].1.contains(words), "{change}: {found:?}");
    }
    let tuned =
        host.change("PUT", &path(&night), &json!({"jitter": 0, "overlap": "bufferOne"}), 200);
    assert_row(&tuned, json!({"jitter": 0, "overlap": "bufferOne", "cron": "@weekly"}));
    let refused = host.change("DELETE", &path(&night), &Value::Null, 409);
    assert_eq!(refused["code"], "schedule.generated");
    let paused =
        host.call("POST", &format!("{}/pause", path(&night)), &json!({"reason": "x"}), 200);
    assert_eq!(paused["nextFireAt"], Value::Null);
    // Switched off it stays and says why; without a schedule of its own, or deleted, it has none.
    let status = |status: &str| {
        host.call("POST", &format!("{connector}/status"), &json!({"status": status}), 200);
    };
    status("inactive");
    assert_eq!(row().expect("a schedule")["blocked"]["code"], "connector.not-active");
    let refused = host.call("POST", &format!("{}/trigger", path(&night)), &Value::Null, 409);
    assert_eq!(refused["code"], "connector.not-active");
    status("active");
    sync(json!({"enabled": false}));
    assert_eq!(row(), None);
    sync(json!({"enabled": true}));
    assert_ne!(row().expect("a new one")["id"], night["id"]);
    host.change("DELETE", &connector, &Value::Null, 204);
    assert_eq!(row(), None);
}

#[test]
fn an_organization_manages_its_own_and_sees_what_is_for_it() {
    let setup = setup();
    let host = &setup.host;
    host.create_organization("south");
    host.connect("south", &setup.connector, "club-2", json!({}));
    let mine = create(&setup, json!({"organizationId": ORG}));
    let foreign = create(&setup, json!({"organizationId": "south"}));
    let common = create(&setup, json!({"timezone": "UTC"}));
    let admin = token(host, "orgAdmin", Some(ORG));
    let send =
        |method: &str, path: &str, body: &Value| with_token(host, &admin, method, path, body);
    let list = send("GET", "/sync/schedules", &Value::Null);
    let list = checked("GET", "", &list, 200)["items"].clone();
    let ids: Vec<&Value> = list.as_array().expect("items").iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&mine["id"], &common["id"]]);
    for (schedule, get, change) in [(&mine, 200, 200), (&common, 200, 403), (&foreign, 404, 404)] {
        let at = path(schedule);
        assert_eq!(send("GET", &at, &Value::Null).status, get, "{schedule:#}");
        assert_eq!(send("GET", &format!("{at}/fires"), &Value::Null).status, get);
        assert_eq!(send("GET", &format!("{at}/next"), &Value::Null).status, get);
        assert_eq!(send("PUT", &at, &json!({"jitter": 1})).status, change, "{schedule:#}");
        let pause = send("POST", &format!("{at}/pause"), &json!({"reason": "x"}));
        assert_eq!(pause.status, change);
        assert_eq!(send("POST", &format!("{at}/resume"), &Value::Null).status, change);
    }
    assert_eq!(send("POST", &format!("{}/trigger", path(&common)), &Value::Null).status, 403);
    assert_eq!(send("DELETE", &path(&common), &Value::Null).status, 403);
    let new = |more: Value| send("POST", "/sync/schedules", &rare(&setup, more)).status;
    assert_eq!(new(json!({})), 422, "for all of them");
    assert_eq!(new(json!({"organizationId": "south"})), 422);
    assert_eq!(new(json!({"organizationId": ORG})), 201);
    // Of a common one an organization sees its own fires.
    let started = host.call("POST", &format!("{}/trigger", path(&common)), &Value::Null, 202);
    assert_eq!(started["runs"].as_array().map(Vec::len), Some(2), "{started:#}");
    let fires = send("GET", &format!("{}/fires", path(&common)), &Value::Null);
    let fires = checked("GET", "", &fires, 200)["items"].clone();
    assert_eq!(fires.as_array().map(Vec::len), Some(1), "{fires:#}");
    assert_eq!(fires[0]["organizationId"], ORG);
    // What it was for ends: it says so, and goes with its organization.
    let connections = host.list("/organizations/south/connections");
    for run in started["runs"].as_array().expect("runs") {
        host.ended(&text(run, "syncId"));
    }
    let connection = format!("/organizations/south/connections/{}", text(&connections[0], "id"));
    host.change("DELETE", &connection, &Value::Null, 204);
    assert_eq!(host.get(&path(&foreign))["blocked"]["code"], "connection.ended");
    let refused = host.call("POST", &format!("{}/trigger", path(&foreign)), &Value::Null, 409);
    assert_eq!(refused["code"], "schedule.no-connection");
    host.change("DELETE", "/organizations/south", &Value::Null, 204);
    host.call("GET", &path(&foreign), &Value::Null, 404);
}

/// The one test that waits for a real minute: a kill right behind the commit of the fire neither loses nor doubles it.
#[test]
fn a_minute_comes_to_one_run_also_over_a_kill() {
    let sim = federation(Options::members(3));
    let mut setup = Setup::over(sim, json!({}), json!({}));
    let made = create(&setup, json!({"cron": "* * * * *", "jitter": 0, "overlap": "bufferOne"}));
    let fires = format!("{}/fires", path(&made));
    setup.host.restart_in(&[("ABORT_SYNCLINE_AT", "schedule:fired")]);
    assert!(!setup.host.wait().success(), "the process ends at its first fire");
    setup.host.restart();
    let fired = setup.host.until(&fires, "to be there", |row| row["items"][0].is_object());
    let first = fired["items"].as_array().expect("items").last().expect("a fire").clone();
    assert_row(&first, json!({"outcome": "fired", "count": 1, "joined": false}));
    let run = setup.host.ended(&text(&first, "syncId"));
    assert_row(&run, json!({"status": "completed", "trigger": "scheduled"}));
    setup.host.change("DELETE", &path(&made), &Value::Null, 204);
    let nominal = text(&first, "nominalAt");
    assert!(nominal.ends_with(":00.000Z"), "{nominal}");
    let runs = setup.host.list("/sync/status?trigger=scheduled");
    let all = fired["items"].as_array().expect("items").len();
    assert!((all..=all + 1).contains(&runs.len()), "{runs:#?} for {fired:#}");
}
