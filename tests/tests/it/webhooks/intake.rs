//! What is taken in and what is not: the answers, the rows, and that nothing else suffers.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::bench::memory;
use syncline_tests::http::Connection;

use super::{Delivery, FAST, Hooks, SECRET, STANDARD, essence, hooks, now_millis, send_on, unique};
use crate::fixture::{API_KEY, checked, text};

/// A pair of keys: RFC 8032, 7.1, test 1.
const PRIVATE: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// Makes another delivery of a good one.
type Change = Box<dyn Fn(&mut Delivery)>;

fn standard() -> Hooks {
    hooks("standard", STANDARD, 1, FAST)
}

#[test]
fn a_delivery_is_answered_when_it_is_durable_and_shows_in_the_log() {
    let mut hooks = standard();
    let id = hooks.tell("updated", "M-1");
    hooks.setup.host.kill();
    hooks.setup.host.restart();
    let row = hooks.processed(&id);
    assert_eq!(row["verdict"], "accepted", "{row:#}");
    assert_eq!(row["scheme"], "standard");
    assert_eq!(row["externalIds"], json!(["M-1"]));
    assert_eq!(row["connectorId"], hooks.setup.connector.as_str());
    let (row, _) = hooks.followed(&hooks.tell("updated", "M-1"));
    assert!(row["acknowledgedMs"].as_i64().is_some_and(|millis| millis >= 0), "{row:#}");
    assert!(row["processedMs"].as_i64().is_some_and(|millis| millis >= 0), "{row:#}");
}

#[test]
fn whatever_is_refused_gets_the_same_answer() {
    let hooks = standard();
    let good = hooks.signed(&hooks.event("updated", "M-1"));
    let with = |change: &dyn Fn(&mut Delivery)| {
        let mut delivery = good.clone();
        change(&mut delivery);
        essence(&hooks.send(&delivery))
    };
    let refused = with(&|delivery| delivery.headers.clear());
    assert_eq!(refused.0, 401);
    let signature = good.headers.iter().position(|(name, _)| name.contains("signature"));
    let signature = signature.expect("a signature");
    let variants: [(&str, Change); 12] = [
        ("an unknown connector", Box::new(|d| d.path = "/webhooks/con_999".to_owned())),
        ("no id of a connector", Box::new(|d| d.path = "/webhooks/x".to_owned())),
        ("no text", Box::new(|d| d.path = "/webhooks/%ff".to_owned())),
        ("an unknown connection", Box::new(|d| d.path.push_str("/link_77"))),
        ("another body", Box::new(|d| d.body.push(b' '))),
        ("no body", Box::new(|d| d.body.clear())),
        ("no JSON", Box::new(|d| d.body = b"\xff\xfe{".to_vec())),
        ("another signature", Box::new(move |d| d.headers[signature].1 = "v1,AAAA".to_owned())),
        ("a broken signature", Box::new(move |d| d.headers[signature].1 = "v1,%".to_owned())),
        (
            "two signatures",
            Box::new(move |d| {
                let again = d.headers[signature].clone();
                d.headers.push(again);
            }),
        ),
        ("the shared address", Box::new(|d| d.path = "/webhooks/federation".to_owned())),
        ("another scheme", Box::new(|d| d.headers = vec![("x-hub-signature".into(), "x".into())])),
    ];
    for (what, change) in variants {
        assert_eq!(with(&*change), refused, "{what}");
    }
    let old = hooks.signed_with(STANDARD, &json!({}), &unique(), now_millis() - 301_000);
    assert_eq!(essence(&hooks.send(&old)), refused, "too old");
    let early = hooks.signed_with(STANDARD, &json!({}), &unique(), now_millis() + 301_000);
    assert_eq!(essence(&hooks.send(&early)), refused, "from the future");
    hooks.logged("?verdict=replayed", 2);
    let connector = format!("/connectors/{}", hooks.setup.connector);
    let off = |status: &str| {
        let body = json!({"status": status});
        hooks.host().call("POST", &format!("{connector}/status"), &body, 200);
    };
    off("inactive");
    let again = hooks.signed(&hooks.event("updated", "M-1"));
    assert_eq!(essence(&hooks.send(&again)), refused, "a connector that is off");
    off("active");
    assert_eq!(hooks.send(&again).status, 200, "and on again");
    hooks.set_credentials(json!({"apiKey": API_KEY}));
    let unsigned = hooks.signed(&hooks.event("updated", "M-1"));
    assert_eq!(essence(&hooks.send(&unsigned)), refused, "a connector without a secret");
    let reception = hooks.host().get(&format!("{connector}/webhooks"));
    assert_eq!((&reception["ready"], &reception["secret"]["set"]), (&json!(false), &json!(false)));
}

/// The delivery itself, sent again: by its sender, or by somebody who saw it.
#[test]
fn the_same_delivery_counts_once() {
    let mut hooks = standard();
    let delivery = hooks.signed(&hooks.event("updated", "M-1"));
    let first = checked("POST", "first", &hooks.send(&delivery), 200);
    let again = checked("POST", "again", &hooks.send(&delivery), 200);
    assert_eq!(again["status"], "duplicate");
    assert_eq!(again["deliveryId"], first["deliveryId"]);
    hooks.setup.host.kill();
    hooks.setup.host.restart();
    let later = checked("POST", "later", &hooks.send(&delivery), 200);
    assert_eq!(later["status"], "duplicate", "also after a restart");
    let rows = hooks.logged("?verdict=duplicate", 2);
    assert!(rows.iter().all(|row| row["duplicateOf"] == first["deliveryId"]), "{rows:#?}");
    assert!(rows.iter().all(|row| row["replayable"] == false), "{rows:#?}");
    hooks.logged("?verdict=accepted", 1);
    assert!(rows.iter().all(|row| row["bodyDiffers"] == false), "{rows:#?}");
}

/// Its sender says that it is the same. It says so in the log too, where somebody wonders.
#[test]
fn a_known_id_with_another_body_is_a_duplicate_that_says_so() {
    let hooks = hooks("standard", STANDARD, 2, FAST);
    let (id, now) = (unique(), now_millis());
    let send = |member: &str| {
        let delivery = hooks.signed_with(STANDARD, &hooks.event("updated", member), &id, now);
        checked("POST", member, &hooks.send(&delivery), 200)
    };
    let first = send("M-1");
    assert_eq!(
        (&send("M-1")["status"], &send("M-2")["status"]),
        (&json!("duplicate"), &json!("duplicate"))
    );
    let rows = hooks.logged("?verdict=duplicate", 2);
    let differs: Vec<&Value> = rows.iter().map(|row| &row["bodyDiffers"]).collect();
    assert_eq!(differs, [true, false], "the newest first: {rows:#?}");
    assert!(rows.iter().all(|row| row["duplicateOf"] == first["deliveryId"]), "{rows:#?}");
    assert_eq!(hooks.processed(&text(&first, "deliveryId"))["externalIds"], json!(["M-1"]));
}

/// Without a signed id or time a later delivery may rightly be identical.
#[test]
fn identical_bytes_count_once_for_a_while() {
    let config = format!("{FAST}dedupWindowS = 1\n");
    let hooks = hooks("original", SECRET, 1, &config);
    let delivery = hooks.signed(&hooks.event("updated", "M-1"));
    let status = || text(&checked("POST", "a delivery", &hooks.send(&delivery), 200), "status");
    assert_eq!([status(), status()], ["accepted", "duplicate"]);
    let begin = Instant::now();
    while status() == "duplicate" {
        assert!(begin.elapsed() < Duration::from_secs(30), "it stays a duplicate");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_thousand_at_once_have_one_effect() {
    let hooks = Arc::new(standard());
    let delivery = hooks.signed(&hooks.event("updated", "M-1"));
    let senders: Vec<_> = (0..10)
        .map(|_| {
            let (hooks, delivery) = (Arc::clone(&hooks), delivery.clone());
            thread::spawn(move || {
                let mut connection = Connection::open(hooks.host().address()).expect("open");
                let answers = (0..100).map(|_| {
                    let answer = send_on(&mut connection, &delivery).expect("an answer");
                    text(&checked("POST", "a delivery", &answer, 200), "status")
                });
                answers.filter(|status| status == "accepted").count()
            })
        })
        .collect();
    let accepted: usize = senders.into_iter().map(|sender| sender.join().expect("sends")).sum();
    assert_eq!(accepted, 1);
    let row = hooks.logged("?verdict=accepted", 1).remove(0);
    hooks.followed(&text(&row, "id"));
    assert_eq!(hooks.host().list("/sync/status?trigger=webhook").len(), 1);
}

#[test]
fn both_addresses_take_the_form_that_signs_itself() {
    let hooks = hooks("original", SECRET, 2, FAST);
    let own = hooks.signed(&hooks.event("updated", "M-1"));
    let mut shared = hooks.signed(&hooks.event("updated", "M-2"));
    shared.path = "/webhooks/federation".to_owned();
    for delivery in [&own, &shared] {
        assert_eq!(hooks.send(delivery).status, 200, "{}", delivery.path);
    }
    let mut connection = Connection::open(hooks.host().address()).expect("a connection");
    let get = |connection: &mut Connection| {
        connection.send(&syncline_tests::http::Request {
            method: "GET",
            target: "/webhooks/federation",
            headers: &[],
            body: b"",
        })
    };
    let active = checked("GET", "the address", &get(&mut connection).expect("an answer"), 200);
    assert_eq!(active["status"], "active");
    // It names its connector: at the address of another one it is worth nothing.
    let sim = hooks.setup.sim.base_url();
    let other = hooks.host().create_connector(
        &sim,
        json!({"name": "Other", "credentials": {"apiKey": API_KEY, "webhookSecret": SECRET}}),
    );
    let mut strayed = hooks.signed(&hooks.event("deleted", "M-1"));
    strayed.path = format!("/webhooks/{other}");
    assert_eq!(hooks.send(&strayed).status, 401);
}

#[test]
fn both_secrets_are_valid_while_they_change() {
    let hooks = hooks("github", SECRET, 1, FAST);
    let body = |number: u32| json!({"memberId": "M-1", "event": "updated", "number": number});
    let mut number = 0;
    let mut status = |secret: &str| {
        number += 1;
        let delivery = hooks.signed_with(secret, &body(number), "", 0);
        hooks.send(&delivery).status
    };
    assert_eq!([status(SECRET), status("next_secret")], [200, 401]);
    hooks.set_credentials(json!({
        "apiKey": API_KEY, "webhookSecret": "next_secret", "webhookSecretPrevious": SECRET,
    }));
    assert_eq!([status(SECRET), status("next_secret"), status("third")], [200, 200, 401]);
    hooks.set_credentials(json!({"apiKey": API_KEY, "webhookSecret": "next_secret"}));
    assert_eq!([status(SECRET), status("next_secret")], [401, 200]);
    let path = format!("/connectors/{}/credentials", hooks.setup.connector);
    hooks.host().change("DELETE", &path, &Value::Null, 204);
    assert_eq!(status("next_secret"), 401, "a destroyed secret is forgotten at once");
}

#[test]
fn a_secret_before_of_another_form_harms_nothing() {
    let hooks = standard();
    let path = format!("/connectors/{}/webhooks", hooks.setup.connector);
    let reception = || hooks.host().get(&path);
    assert_eq!((&reception()["ready"], &reception()["problem"]), (&json!(true), &Value::Null));
    // As it was entered for another scheme.
    hooks.set_credentials(json!({
        "apiKey": API_KEY, "webhookSecret": STANDARD, "webhookSecretPrevious": "no base64 at all",
    }));
    hooks.tell("updated", "M-1");
    let shown = reception();
    assert_eq!((&shown["ready"], &shown["secret"]["previousSet"]), (&json!(true), &json!(true)));
    assert!(text(&shown, "problem").contains("`webhookSecretPrevious` is left out"), "{shown:#}");
    let broken = json!({"apiKey": API_KEY, "webhookSecret": "no base64 at all"});
    hooks.set_credentials(broken);
    assert_eq!(reception()["ready"], false);
    assert_eq!(hooks.send(&hooks.signed(&hooks.event("updated", "M-1"))).status, 401);
}

#[test]
fn a_connection_with_a_secret_of_its_own_has_an_address_of_its_own() {
    let hooks = hooks("github", SECRET, 1, FAST);
    let connection = &hooks.setup.connection;
    let credentials = format!("/organizations/club/connections/{connection}/credentials");
    let own = json!({"apiKey": API_KEY, "webhookSecret": "own_secret"});
    hooks.host().change("PUT", &credentials, &own, 200);
    let send = |secret: &str, path: &str, number: u32| {
        let body = json!({"memberId": "M-1", "event": "updated", "number": number});
        let mut delivery = hooks.signed_with(secret, &body, "", 0);
        delivery.path = path.to_owned();
        hooks.send(&delivery)
    };
    let (shared, own) = (hooks.path(), format!("{}/{connection}", hooks.path()));
    assert_eq!(send(SECRET, &own, 1).status, 401);
    assert_eq!(send("own_secret", &shared, 2).status, 401);
    assert_eq!(send(SECRET, &shared, 3).status, 200);
    let answer = checked("POST", &own, &send("own_secret", &own, 4), 200);
    let (row, runs) = hooks.followed(&text(&answer, "deliveryId"));
    assert_eq!(row["connectionId"], connection.as_str(), "{row:#}");
    assert_eq!(runs.len(), 1);
}

#[test]
fn every_scheme_is_taken() {
    for scheme in signature_names() {
        // What the sender signs with, and what the receiver knows.
        let (signs, knows) = match scheme {
            "standard" => (STANDARD, STANDARD),
            "standardEd25519" => (PRIVATE, PUBLIC),
            _ => (SECRET, SECRET),
        };
        let hooks = hooks(scheme, knows, 1, FAST);
        let event = hooks.event("updated", "M-1");
        let answer = hooks.send(&hooks.signed_with(signs, &event, &unique(), now_millis()));
        let answer = checked("POST", scheme, &answer, 200);
        let (row, runs) = hooks.followed(&text(&answer, "deliveryId"));
        assert_eq!((&row["scheme"], runs.len()), (&json!(scheme), 1), "{row:#}");
        assert_eq!(runs[0]["status"], "completed", "{:#}", runs[0]);
    }
}

fn signature_names() -> Vec<&'static str> {
    syncline::signature::NAMES.clone()
}

#[test]
fn a_shop_that_only_wants_to_know_is_answered() {
    let hooks = hooks("woocommerce", "a&amp;b&quot;c", 1, FAST);
    let ping = |path: &str| Delivery {
        path: path.to_owned(),
        headers: vec![("Content-Type".into(), "application/x-www-form-urlencoded".into())],
        body: b"webhook_id=12".to_vec(),
    };
    assert_eq!(hooks.send(&ping(&hooks.path())).status, 200);
    assert_eq!(hooks.send(&ping("/webhooks/con_99")).status, 401);
    hooks.logged("", 0);
    // The key is what the entities stand for.
    let delivery = hooks.signed_with("a&b\"c", &hooks.event("updated", "M-1"), "", 0);
    assert_eq!(hooks.send(&delivery).status, 200);
}

#[test]
fn ten_thousand_forged_ones_leave_a_handful_of_rows_and_nobody_else_notices() {
    let hooks = Arc::new(standard());
    hooks.setup.synced();
    let forged = {
        let mut delivery = hooks.signed(&hooks.event("deleted", "M-1"));
        delivery.body = vec![b'x'; 1_000];
        delivery
    };
    let process = hooks.host().process_id();
    let attack = |count: usize| {
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let (hooks, forged) = (Arc::clone(&hooks), forged.clone());
                thread::spawn(move || {
                    let mut connection = Connection::open(hooks.host().address()).expect("open");
                    for _ in 0..count / 4 {
                        let answer = send_on(&mut connection, &forged).expect("an answer");
                        assert_eq!(answer.status, 401);
                    }
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().expect("sends"));
    };
    attack(2_000);
    let size = |name: &str| std::fs::metadata(hooks.host().data_dir().join(name)).map(|m| m.len());
    let (disk, memory) =
        (size("inbox.redb").expect("a size"), memory::resident_kb(process).expect("memory"));
    attack(8_000);
    // An honest one comes through meanwhile.
    let id = hooks.tell("updated", "M-1");
    let after = memory::resident_kb(process).expect("memory");
    assert!(after < memory + 32 * 1024, "{memory} kB became {after} kB");
    let grown = size("inbox.redb").expect("a size");
    assert!(grown <= disk, "{disk} bytes became {grown}");
    let (_, runs) = hooks.followed(&id);
    assert_eq!(runs[0]["status"], "completed");
    let rows = hooks.logged("?verdict=badSignature", 20);
    assert!(rows.iter().all(|row| row["replayable"] == false && row["externalIds"] == json!([])));
    let connector = format!("/connectors/{}", hooks.setup.connector);
    let reception = hooks.host().get(&format!("{connector}/webhooks"));
    assert_eq!(reception["refused"]["badSignature"], 10_000, "{reception:#}");
    assert_eq!(hooks.host().get(&connector)["status"], "active");
    assert_eq!(hooks.setup.record("M-1")["status"], "active");
}

#[test]
fn who_is_too_fast_is_told_when_to_come_again() {
    let config = "[webhook]\nverifiedPerMinuteMax = 5\nunverifiedPerMinuteMax = 3\n";
    let hooks = hooks("standard", STANDARD, 1, config);
    let forged = {
        let mut delivery = hooks.signed(&json!({}));
        delivery.body.push(b'x');
        delivery
    };
    let mut stray = forged.clone();
    stray.path = "/webhooks/con_99".to_owned();
    let statuses: Vec<u16> = (0..5).map(|_| hooks.send(&forged).status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    assert_eq!(hooks.send(&stray).status, 429, "it is the address that is slowed down");
    // From the same address: a valid signature is never refused for that.
    let mut statuses = Vec::new();
    let mut wait = 0;
    for _ in 0..7 {
        let answer = hooks.send(&hooks.signed(&hooks.event("updated", "M-1")));
        statuses.push(answer.status);
        wait = answer.header("retry-after").and_then(|s| s.parse().ok()).unwrap_or(wait);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
    assert!((1..=61).contains(&wait), "Retry-After: {wait}");
    hooks.logged("?verdict=rateLimited", 2);
    // Everything else goes on.
    assert_eq!(hooks.setup.synced()["status"], "completed");
}

/// Whoever has one delivery can send it for ever. The one whose it is must not notice, and the log stays readable.
#[test]
fn what_is_old_or_came_before_takes_nothing_from_its_sender() {
    let config = "[webhook]\nverifiedPerMinuteMax = 4\nunverifiedPerMinuteMax = 8\nrefusedRowsPerHourMax = 2\n";
    let hooks = hooks("standard", STANDARD, 1, config);
    let fresh = || hooks.signed(&hooks.event("updated", "M-1"));
    let old = hooks.signed_with(STANDARD, &json!({}), &unique(), now_millis() - 301_000);
    let known = fresh();
    let first = checked("POST", "first", &hooks.send(&known), 200);
    let statuses = |delivery: &Delivery, count: usize| -> Vec<u16> {
        (0..count).map(|_| hooks.send(delivery).status).collect()
    };
    assert_eq!(statuses(&old, 4), [401; 4]);
    for _ in 0..5 {
        let again = checked("POST", "again", &hooks.send(&known), 200);
        assert_eq!(
            (&again["status"], &again["deliveryId"]),
            (&json!("duplicate"), &first["deliveryId"])
        );
    }
    assert_eq!((statuses(&old, 1), statuses(&known, 1)), (vec![429], vec![429]), "the address");
    // The first repetition took one, being below the half.
    let own: Vec<u16> = (0..3).map(|_| hooks.send(&fresh()).status).collect();
    assert_eq!(own, [200, 200, 429]);
    let rows = hooks.logged("?verdict=duplicate", 2);
    assert!(rows.iter().all(|row| row["duplicateOf"] == first["deliveryId"]), "{rows:#?}");
    hooks.logged("?verdict=replayed", 2);
    let path = format!("/connectors/{}/webhooks", hooks.setup.connector);
    let refused = hooks.host().get(&path)["refused"].clone();
    assert_eq!(
        (&refused["duplicate"], &refused["replayed"]),
        (&json!(5), &json!(4)),
        "{refused:#}"
    );
}

/// Only a gross difference could be told apart through a network; this guards against one.
#[test]
fn nothing_is_learned_from_the_time_that_a_refusal_takes() {
    let hooks = standard();
    let mut forged = hooks.signed(&hooks.event("updated", "M-1"));
    forged.body = vec![b'x'; 4_096];
    let mut unknown = forged.clone();
    unknown.path = "/webhooks/con_999".to_owned();
    let mut connection = Connection::open(hooks.host().address()).expect("a connection");
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..400 {
        for (times, delivery) in times.iter_mut().zip([&forged, &unknown]) {
            let begin = Instant::now();
            assert_eq!(send_on(&mut connection, delivery).expect("an answer").status, 401);
            times.push(begin.elapsed());
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    let slack = Duration::from_millis(2);
    assert!(known < unknown * 3 + slack && unknown < known * 3 + slack, "{known:?} {unknown:?}");
}
