//! `Idempotency-Key`: one effect and one answer for each key, whatever happens in between.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Options, Rule};
use syncline_tests::http::{Answer, Connection, Request};

use crate::fixture::{Host, ORG, Setup, checked, federation, members, text};

const PATH: &str = "/organizations";

fn post(host: &Host, path: &str, key: &str, body: &Value) -> Answer {
    host.send("POST", path, &[("Idempotency-Key", key)], body)
}

#[track_caller]
fn create(host: &Host, key: &str, name: &str, status: u16) -> Value {
    checked("POST", PATH, &post(host, PATH, key, &json!({ "name": name })), status)
}

fn names(host: &Host) -> Vec<String> {
    host.list(PATH).iter().map(|row| text(row, "name")).collect()
}

#[test]
fn a_key_has_one_effect_and_one_answer() {
    let mut host = Host::start(&[]);
    let first = post(&host, PATH, "k1", &json!({"name": "A"}));
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
    host.kill();
    host.restart();
    for _ in 0..2 {
        let again = post(&host, PATH, "k1", &json!({"name": "A"}));
        assert_eq!((again.status, &again.body), (201, &first.body));
        assert_eq!(again.header("etag"), first.header("etag"));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    assert_eq!(create(&host, "k1", "B", 422)["code"], "idempotency.other-request");
    let elsewhere = post(&host, "/templates", "k1", &json!({"name": "A"}));
    assert_eq!(elsewhere.status, 422);
    create(&host, "k2", "A", 201);
    assert_eq!(names(&host), ["A", "A"]);
}

#[test]
fn a_request_that_changed_nothing_gives_its_key_back() {
    let host = Host::start(&[]);
    create(&host, "k", "", 422);
    create(&host, "k", "A", 201);
    create(&host, "k", "A", 201);
    assert_eq!(names(&host), ["A"]);
}

#[test]
fn keys_that_are_none_are_refused() {
    let host = Host::start(&[]);
    let long = "k".repeat(256);
    for key in ["", "a b", "é", &long] {
        assert_eq!(create(&host, key, "A", 422)["code"], "idempotency.bad-key", "{key:?}");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    assert_eq!(host.send("POST", PATH, &twice, &json!({"name": "A"})).status, 422);
    assert_eq!(host.list(PATH), Vec::<Value>::new());
}

#[test]
fn equal_requests_at_once_have_one_effect() {
    let host = Host::start(&[]);
    let (created, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let answer = post(&host, PATH, "same", &json!({"name": "A"}));
                let count = match answer.status {
                    201 => &created,
                    409 => &refused,
                    other => panic!("answered {other}"),
                };
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert!(created.load(Ordering::Relaxed) >= 1);
    assert_eq!(created.into_inner() + refused.into_inner(), 16);
    assert_eq!(names(&host), ["A"]);
}

#[test]
fn what_was_cut_off_before_its_answer_is_not_repeated() {
    let sim = federation(Options::members(1));
    let mut setup = Setup::over(sim, json!({}), json!({}));
    setup.sim.fault(Rule::any(Fault::Delay { ms: 60_000 }));
    let path = format!("/connectors/{}/check", setup.connector);
    let target = format!("/api/v1{path}");
    let authorization = format!("Bearer {}", setup.host.token);
    let headers = [("Authorization", authorization.as_str()), ("Idempotency-Key", "check")];
    let request = Request { method: "POST", target: &target, headers: &headers, body: b"" };
    let mut connection = Connection::open(setup.host.address()).expect("a connection");
    connection.write(&request).expect("the request is sent");
    wait("the call reached the federation", || !setup.sim.requests().is_empty());
    let meanwhile = post(&setup.host, &path, "check", &Value::Null);
    assert_eq!(checked("POST", &path, &meanwhile, 409)["code"], "idempotency.in-flight");
    setup.host.kill();
    setup.host.restart();
    let after = post(&setup.host, &path, "check", &Value::Null);
    assert_eq!(checked("POST", &path, &after, 409)["code"], "idempotency.in-flight");
}

#[test]
fn an_effect_whose_answer_was_lost_is_answered_afterwards() {
    let mut host = Host::start(&[]);
    let authorization = format!("Bearer {}", host.token);
    let headers = [("Authorization", authorization.as_str()), ("Idempotency-Key", "lost")];
    let body = json!({"name": "A"}).to_string();
    let request = Request {
        method: "POST",
        target: "/api/v1/organizations",
        headers: &headers,
        body: body.as_bytes(),
    };
    let mut connection = Connection::open(host.address()).expect("a connection");
    connection.write(&request).expect("the request is sent");
    wait("the organization is there", || names(&host) == ["A"]);
    host.kill();
    host.restart();
    let answer = create(&host, "lost", "A", 201);
    assert_eq!(host.get(&format!("{PATH}/{}", text(&answer, "id"))), answer);
    assert_eq!(names(&host), ["A"]);
}

#[test]
fn a_secret_is_shown_once_and_not_kept() {
    let host = Host::start(&[]);
    let body = json!({"name": "reader", "role": "viewer"});
    let first = checked("POST", "/tokens", &post(&host, "/tokens", "token", &body), 201);
    let secret = text(&first, "token");
    let again = checked("POST", "/tokens", &post(&host, "/tokens", "token", &body), 201);
    assert_eq!(again["token"], Value::Null);
    assert_eq!(again["id"], first["id"]);
    let store = std::fs::read(host.data_dir().join("state.redb")).expect("the store");
    let found = store.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(!found, "the token is in the store");
}

#[test]
fn a_key_belongs_to_its_caller() {
    let host = Host::start(&[]);
    let body = json!({"name": "other", "role": "platformAdmin"});
    let other = text(&host.call("POST", "/tokens", &body, 201), "token");
    create(&host, "k", "A", 201);
    let authorization = format!("Bearer {other}");
    let headers = [("Authorization", authorization.as_str()), ("Idempotency-Key", "k")];
    let answer = host.send("POST", PATH, &headers, &json!({"name": "B"}));
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (201, None));
    assert_eq!(names(&host), ["A", "B"]);
}

/// Kills the host while keyed requests are under way. Afterwards a key either answers with a row that is there, or is
/// in doubt; no key has two rows.
#[test]
fn crashes_never_double_an_effect() {
    let mut host = Host::start(&[]);
    for round in 0..4_u64 {
        let address = host.address();
        let authorization = format!("Bearer {}", host.token);
        let process = host.process_id();
        thread::scope(|scope| {
            for sender in 0..4 {
                let authorization = &authorization;
                scope.spawn(move || {
                    for number in 0..1_000 {
                        let name = format!("{round}-{sender}-{number}");
                        if send_keyed(address, authorization, &name).is_err() {
                            return;
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(20 + 35 * round));
            let process = process.to_string();
            let killed = std::process::Command::new("kill").args(["-9", &process]).status();
            assert!(killed.expect("kill runs").success());
        });
        host.restart();
        let before = names(&host);
        // The last requests of each sender: answered, in doubt, or never arrived.
        for sender in 0..4 {
            let prefix = format!("{round}-{sender}-");
            let last = before.iter().filter_map(|name| name.strip_prefix(&prefix)?.parse().ok());
            let last: u64 = last.max().unwrap_or(0);
            for number in last..last + 2 {
                let name = format!("{prefix}{number}");
                let answer = post(&host, PATH, &name, &json!({ "name": name }));
                assert!(matches!(answer.status, 201 | 409), "{name}: {}", answer.status);
            }
        }
        let mut after = names(&host);
        let all = after.len();
        after.sort();
        after.dedup();
        assert_eq!(after.len(), all, "a key took effect twice in round {round}");
        assert!(before.iter().all(|name| after.contains(name)), "round {round} lost a row");
    }
}

fn send_keyed(
    address: std::net::SocketAddr,
    authorization: &str,
    name: &str,
) -> std::io::Result<Answer> {
    let headers = [("Authorization", authorization), ("Idempotency-Key", name)];
    let body = json!({ "name": name }).to_string();
    let request = Request {
        method: "POST",
        target: "/api/v1/organizations",
        headers: &headers,
        body: body.as_bytes(),
    };
    Connection::open(address)?.send(&request)
}

#[test]
fn the_oldest_keys_make_room() {
    let host = Host::with_config(&[], "[limits]\nidempotencyKeysMax = 2\n");
    for key in ["a", "b", "c", "d"] {
        create(&host, key, key, 201);
    }
    let replayed = post(&host, PATH, "d", &json!({"name": "d"}));
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
    create(&host, "a", "a", 201);
    assert_eq!(names(&host).iter().filter(|name| *name == "a").count(), 2);
}

#[test]
fn a_sync_is_asked_for_once() {
    let setup = Setup::new(&members(1));
    let body = json!({"organizationId": ORG, "connectorId": setup.connector, "mode": "full"});
    let first = post(&setup.host, "/sync/member", "sync", &body);
    let run = text(&checked("POST", "/sync/member", &first, 202), "syncId");
    setup.host.ended(&run);
    let again = post(&setup.host, "/sync/member", "sync", &body);
    assert_eq!(text(&checked("POST", "/sync/member", &again, 202), "syncId"), run);
    assert_eq!(again.header("location"), Some(format!("/api/v1/sync/status/{run}").as_str()));
    assert_eq!(setup.host.list("/sync/status").len(), 1);
}

#[track_caller]
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
