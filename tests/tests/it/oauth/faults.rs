//! Refreshes: one at a time, ahead of the end, and what each answer of a token endpoint leads to.

use std::fs;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};
use syncline_tests::authority::Fault;

use super::{Bench, CLIENT, SECRET, call_back, encoded, query, value};
use crate::fixture::{ORG, text};
use crate::rig::signal;

#[test]
fn a_token_is_asked_for_before_the_first_request_and_kept() {
    let bench = Bench::new();
    assert_eq!(bench.credentials()["needsReauth"], false);
    bench.synced();
    bench.synced();
    let state = bench.authority.state();
    assert_eq!(state.asked.len(), 1, "{:#?}", state.asked);
    assert_eq!((state.api_refused, state.generation), (0, 1));
    let asked = &state.asked[0];
    assert_eq!(asked["grant_type"], "refresh_token");
    assert_eq!(asked["refresh_token"], "canary-refresh-0");
    assert!(asked.get("client_secret").is_none(), "the proof is in one place: {asked}");
    let pair = format!("{}:{}", encoded(CLIENT), encoded(SECRET)).replace("%20", "+");
    assert_eq!(asked["authorization"], format!("Basic {}", STANDARD.encode(pair)));
    drop(state);
    let run = bench.sync();
    let path = format!("/sync/status/{}/requests", text(&run, "syncId"));
    assert!(bench.host.list(&path).iter().all(|line| line["status"] == 200));
}

#[test]
fn a_client_can_prove_itself_in_the_body() {
    let tokens = json!({"refreshToken": "canary-refresh-0"});
    let bench = Bench::with(tokens, json!({"clientAuth": "post"}));
    bench.synced();
    let state = bench.authority.state();
    let asked = &state.asked[0];
    assert_eq!((&asked["client_id"], &asked["client_secret"]), (&json!(CLIENT), &json!(SECRET)));
    assert!(asked.get("authorization").is_none(), "{asked}");
}

/// One hundred checks at a time; all must be well.
#[track_caller]
fn hundred_checks(bench: &Bench) {
    let path = format!("/connectors/{}/check", bench.connector);
    thread::scope(|scope| {
        let checks: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| bench.host.call("POST", &path, &json!({}), 200)))
            .collect();
        for check in checks {
            let answer = check.join().expect("a check");
            assert_eq!(answer["ok"], true, "{answer:#}\n{}", bench.host.log());
        }
    });
}

#[test]
fn a_hundred_requests_with_an_expired_token_cause_one_refresh() {
    let bench = Bench::new();
    hundred_checks(&bench);
    let state = bench.authority.state();
    assert_eq!((state.asked.len(), state.generation), (1, 1), "{:#?}", state.asked);
    assert!(state.api_good >= 100);
    assert_eq!(state.api_refused, 0);
}

#[test]
fn a_hundred_requests_with_a_refused_token_cause_one_refresh() {
    let tokens = json!({"accessToken": "canary-old", "refreshToken": "canary-refresh-0"});
    let bench = Bench::with(tokens, json!({}));
    hundred_checks(&bench);
    let state = bench.authority.state();
    assert_eq!((state.asked.len(), state.generation), (1, 1), "{:#?}", state.asked);
    assert!(state.api_refused >= 1, "the platform refused the old token");
}

#[test]
fn a_token_near_its_end_is_replaced_and_serves_while_the_platform_is_down() {
    let bench = Bench::new();
    // Half of a short life is left when it is replaced.
    bench.authority.state().access_seconds = 6;
    bench.synced();
    let expires = text(&bench.credentials(), "expiresAt");
    let due =
        expires.parse::<jiff::Timestamp>().expect("a time") - jiff::SignedDuration::from_secs(3);
    while jiff::Timestamp::now() < due {
        thread::yield_now();
        thread::sleep(std::time::Duration::from_millis(20));
    }
    bench.authority.script([Fault::answer(503, "down"), Fault::answer(503, "down")]);
    bench.synced();
    assert_eq!(bench.authority.state().generation, 1, "the old token served");
    bench.refresh(200);
    assert_eq!(bench.authority.state().generation, 2);
    bench.synced();
}

#[test]
fn what_passes_is_tried_again_at_once() {
    for fault in [
        Fault::answer(503, "<html>"),
        Fault::answer(500, r#"{"error":"invalid_grant"}"#),
        Fault::CutBefore,
        Fault::answer(400, r#"{"error":"temporarily_unavailable"}"#),
        Fault::Answer {
            status: 429,
            headers: vec!["Retry-After: 1".to_owned()],
            body: String::new(),
        },
    ] {
        let bench = Bench::new();
        bench.authority.script([fault.clone()]);
        bench.synced();
        assert_eq!(bench.asked(), 2, "{fault:?}");
        assert_eq!(bench.credentials()["needsReauth"], false, "{fault:?}");
    }
}

#[test]
fn a_platform_that_is_down_or_lies_is_left_alone_and_is_no_end() {
    let html = "<html>Sign in to the network</html>";
    for (faults, asked) in [
        (vec![Fault::answer(503, ""), Fault::answer(503, "")], 2),
        (vec![Fault::answer(200, html)], 1),
        (vec![Fault::answer(400, html)], 1),
        (vec![Fault::answer(302, "")], 1),
        (vec![Fault::answer(200, &"x".repeat(100_000))], 1),
        (vec![Fault::answer(200, r#"{"access_token":"a\nb"}"#)], 1),
        (
            vec![Fault::Answer {
                status: 429,
                headers: vec!["Retry-After: 3000".to_owned()],
                body: String::new(),
            }],
            1,
        ),
    ] {
        let bench = Bench::new();
        bench.authority.script(faults.clone());
        bench.fails("failed", "oauth.unavailable");
        assert_eq!(bench.asked(), asked, "{faults:?}");
        bench.fails("failed", "oauth.unavailable");
        assert_eq!(bench.asked(), asked, "left alone for a while: {faults:?}");
        assert_eq!(bench.credentials()["needsReauth"], false, "{faults:?}");
        // A person need not wait.
        bench.refresh(200);
        bench.synced();
        assert_eq!(bench.asked(), asked + 1, "{faults:?}");
    }
}

#[test]
fn a_withdrawn_grant_needs_a_person_and_is_not_asked_for_again() {
    let bench = Bench::new();
    bench.authority.script([Fault::answer(
        400,
        r#"{"error":"invalid_grant","error_description":"canary-refresh-0 <b>is old</b>"}"#,
    )]);
    let run = bench.fails("needsReauth", "oauth.needs-reauth");
    let message = text(&run["errors"][0], "message");
    assert!(message.contains("invalid_grant (*** <b>is old</b>)"), "{message}");
    assert!(message.contains("oauth start"), "{message}");
    bench.fails("needsReauth", "oauth.needs-reauth");
    assert_eq!(bench.refresh(409)["code"], "oauth.needs-reauth");
    let check = format!("/connectors/{}/check", bench.connector);
    let check = bench.host.call("POST", &check, &json!({}), 200);
    assert_eq!(check["error"]["code"], "oauth.needs-reauth", "{check:#}");
    assert_eq!(bench.asked(), 1, "no hammering");
    assert_eq!(bench.credentials()["needsReauth"], true);
    let health = bench.host.get(&format!("/connectors/{}/health", bench.connector));
    assert_eq!(health["authorizations"]["blocked"][0]["needsReauth"], true, "{health:#}");
    // The same credentials without tokens change nothing; new tokens do.
    bench.put_credentials(json!({}));
    bench.fails("needsReauth", "oauth.needs-reauth");
    assert_eq!(bench.asked(), 1);
    bench.put_credentials(json!({"refreshToken": "canary-refresh-0"}));
    assert_eq!(bench.credentials()["needsReauth"], false);
    bench.synced();
}

#[test]
fn a_refused_client_waits_for_its_credentials_or_for_a_person() {
    let refused = || Fault::answer(401, r#"{"error":"invalid_client"}"#);
    let bench = Bench::new();
    bench.authority.script([refused(), refused()]);
    bench.fails("failed", "oauth.client-refused");
    bench.fails("failed", "oauth.client-refused");
    assert_eq!(bench.asked(), 1);
    assert_eq!(bench.credentials()["needsReauth"], false);
    assert_eq!(bench.refresh(409)["code"], "oauth.client-refused");
    assert_eq!(bench.asked(), 2, "a person may try");
    bench.put_credentials(json!({}));
    bench.synced();
}

#[test]
fn without_a_refresh_token_the_end_is_the_end() {
    let bench = Bench::with(json!({"accessToken": "canary-old"}), json!({}));
    bench.fails("needsReauth", "oauth.needs-reauth");
    assert_eq!(bench.asked(), 0);
    let bench = Bench::with(json!({}), json!({}));
    bench.fails("needsReauth", "oauth.not-authorized");
    assert_eq!(bench.refresh(409)["code"], "oauth.not-authorized");
}

#[test]
fn lives_of_tokens_are_read_with_care() {
    let bench = Bench::new();
    bench.synced();
    for (expires_in, known) in [
        (json!(3600), true),
        (json!("3600"), true),
        (json!(1e300), true),
        (json!(null), false),
        (json!(0), false),
        (json!(-5), false),
        (json!("soon"), false),
        (json!([1]), false),
    ] {
        bench.authority.script([Fault::Lay(json!({"expires_in": expires_in}))]);
        bench.refresh(200);
        let shown = bench.credentials();
        assert_eq!(shown.get("expiresAt").is_some(), known, "{expires_in}: {shown}");
        bench.synced();
    }
    assert_eq!(bench.asked(), 9);
}

/// The platform could not be reached, and the next request with the same key asks it again.
#[test]
fn a_refresh_that_failed_gives_its_idempotency_key_back() {
    let bench = Bench::new();
    bench.authority.script([Fault::answer(503, ""), Fault::answer(503, "")]);
    let path = format!("/connectors/{}/oauth/refresh", bench.connector);
    let refresh = || {
        let key = [("Idempotency-Key", "refresh")];
        let answer = bench.host.send("POST", &path, &key, &json!({}));
        (answer.status, answer.header("idempotency-replayed").is_some())
    };
    assert_eq!(refresh(), (502, false));
    assert_eq!(refresh(), (200, false));
    assert_eq!(refresh(), (200, true));
    assert_eq!(bench.asked(), 3);
}

#[test]
fn an_answer_without_a_usable_token_still_brings_its_refresh_token() {
    for lie in [json!({"access_token": null}), json!({"token_type": "mac"})] {
        let bench = Bench::new();
        bench.authority.script([Fault::Lay(lie.clone())]);
        bench.fails("failed", "oauth.unavailable");
        bench.refresh(200);
        let asked = bench.authority.state().asked[1].clone();
        assert_eq!(asked["refresh_token"], "canary-refresh-1", "{lie}");
        bench.synced();
    }
}

#[test]
fn a_platform_that_keeps_its_refresh_token_is_understood() {
    let bench = Bench::new();
    bench.authority.script([Fault::Lay(json!({"refresh_token": null}))]);
    bench.synced();
    // The authority rotated and did not say so; it still takes the one before.
    bench.authority.state().grace = true;
    bench.refresh(200);
    assert_eq!(bench.authority.state().asked[1]["refresh_token"], "canary-refresh-0");
}

#[test]
fn the_refresh_token_before_serves_until_the_new_one_has() {
    let bench = Bench::new();
    bench.synced();
    // The platform was set back to a moment before the last refresh.
    bench.authority.state().generation = 0;
    bench.refresh(200);
    let state = bench.authority.state();
    let asked: Vec<&Value> = state.asked.iter().map(|asked| &asked["refresh_token"]).collect();
    assert_eq!(asked, ["canary-refresh-0", "canary-refresh-1", "canary-refresh-0"]);
}

#[test]
fn a_refresh_token_that_ends_soon_is_announced() {
    let mut bench = Bench::new();
    bench.authority.state().more = json!({"x_refresh_token_expires_in": 5 * 86_400});
    bench.synced();
    assert!(bench.credentials()["refreshExpiresAt"].is_string());
    let path = format!("/connectors/{}/health", bench.connector);
    let health = bench.host.get(&path);
    assert_eq!(health["authorizations"]["expiring"][0]["daysLeft"], 5, "{health:#}");
    bench.host.restart();
    // The look at the start warns, once for each step.
    bench.host.restart();
    let warned = || bench.host.log().matches("has to be authorized again before").count();
    while warned() == 0 {
        thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(warned(), 1, "{}", bench.host.log());
    bench.authority.state().more = json!({"x_refresh_token_expires_in": 100 * 86_400});
    bench.refresh(200);
    let health = bench.host.get(&path);
    assert_eq!(health["authorizations"]["expiring"], json!([]), "{health:#}");
}

#[test]
fn disconnecting_revokes_and_forgets() {
    let bench = Bench::new();
    let parameters = bench.start(json!({"connectionId": bench.connection}));
    let state = value(&parameters, "state");
    let query = query(&[("state", &state), ("code", "canary-code")]);
    let answer = call_back(&bench.host, &query, "application/json");
    assert_eq!(answer.status, 200);
    bench.synced();
    bench.authority.wait("one exchange", |state| state.asked.len() == 1);
    let path = format!("/organizations/{ORG}/connections/{}", bench.connection);
    bench.host.change("DELETE", &path, &Value::Null, 204);
    bench.authority.wait("a revocation", |state| !state.revoked.is_empty());
    let state = bench.authority.state();
    assert_eq!(state.revoked[0]["token"], "canary-refresh-1");
    assert_eq!(state.revoked[0]["token_type_hint"], "refresh_token");
    assert!(state.revoked[0]["authorization"].is_string());
}

#[test]
fn tokens_that_come_after_a_disconnection_are_handed_back() {
    let bench = Bench::with(json!({}), json!({}));
    let of = json!({"connectionId": bench.connection});
    let state = value(&bench.start(of.clone()), "state");
    let query = query(&[("state", &state), ("code", "canary-code")]);
    assert_eq!(call_back(&bench.host, &query, "application/json").status, 200);
    bench.authority.script([Fault::HoldAfter]);
    let refresh = format!("/connectors/{}/oauth/refresh", bench.connector);
    thread::scope(|scope| {
        let refreshing = scope.spawn(|| bench.host.call("POST", &refresh, &of, 409));
        bench.authority.wait("a refresh under way", |state| state.held == 1);
        let path = format!("/organizations/{ORG}/connections/{}", bench.connection);
        bench.host.change("DELETE", &path, &Value::Null, 204);
        bench.authority.wait("the old tokens", |state| state.revoked.len() == 1);
        bench.authority.release();
        let answer = refreshing.join().expect("an answer");
        assert_eq!(answer["code"], "oauth.not-authorized", "{answer:#}");
    });
    bench.authority.wait("the new tokens", |state| state.revoked.len() == 2);
    assert_eq!(bench.authority.state().revoked[1]["token"], "canary-refresh-2");
}

#[test]
fn logins_that_fail_disable_the_connector_unless_they_are_one_connections() {
    let withdrawn = || Fault::answer(400, r#"{"error":"invalid_grant"}"#);
    let status = |bench: &Bench| {
        text(&bench.host.get(&format!("/connectors/{}", bench.connector)), "status")
    };
    let bench = Bench::new();
    bench.authority.script([withdrawn()]);
    for run in 1..=5 {
        assert_eq!(status(&bench), "active", "before run {run}");
        bench.fails("needsReauth", "oauth.needs-reauth");
    }
    assert_eq!(status(&bench), "error");
    // A platform that gives no token is down for everybody.
    let bench = Bench::new();
    bench.authority.state().down = true;
    for _ in 1..=5 {
        bench.fails("failed", "oauth.unavailable");
    }
    assert_eq!(status(&bench), "error");
    // A connection that was authorized on the connector's client harms nobody else.
    let bench = Bench::with(json!({}), json!({}));
    let parameters = bench.start(json!({"connectionId": bench.connection}));
    let state = value(&parameters, "state");
    let query = query(&[("state", &state), ("code", "canary-code")]);
    assert_eq!(call_back(&bench.host, &query, "application/json").status, 200);
    bench.authority.state().generation = 7;
    bench.authority.script([withdrawn()]);
    for _ in 1..=6 {
        bench.fails("needsReauth", "oauth.needs-reauth");
    }
    assert_eq!(status(&bench), "active");
}

/// A secret as it could be kept by mistake: as it is, in hex, and in base64 at each of the three alignments.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), hex::encode(secret), encoded(secret)];
    for (before, begin) in [(0, 0), (1, 2), (2, 3)] {
        let bytes = [&vec![0; before], secret.as_bytes()].concat();
        let whole = STANDARD_NO_PAD.encode(&bytes);
        let end = whole.len() - usize::from(bytes.len() % 3 != 0);
        forms.push(whole[begin..end].to_owned());
    }
    forms
}

#[test]
fn tokens_are_nowhere_to_be_found() {
    let mut bench = Bench::new();
    let parameters = bench.start(json!({}));
    let state = value(&parameters, "state");
    let answer = query(&[("state", &state), ("code", "canary-code")]);
    let mut shown = vec![called_back(&bench, &answer)];
    bench.synced();
    let verifier = text(&bench.authority.state().asked[0], "code_verifier");
    bench.authority.script([
        Fault::answer(500, "canary-access-1 canary-refresh-1"),
        Fault::answer(
            400,
            r#"{"error":"canary-refresh-1","error_description":"canary-refresh-1"}"#,
        ),
    ]);
    shown.push(bench.refresh(409).to_string());
    let run = bench.sync();
    let path = format!("/sync/status/{}", text(&run, "syncId"));
    for path in [path.clone(), format!("{path}/requests"), format!("{path}/logs")] {
        shown.push(bench.host.get(&path).to_string());
    }
    shown.push(bench.host.get(&format!("/connectors/{}", bench.connector)).to_string());
    shown.push(bench.host.get(&format!("/connectors/{}/health", bench.connector)).to_string());
    signal(bench.host.process_id(), "TERM");
    bench.host.wait();
    shown.push(bench.host.log());
    let mut places: Vec<(String, Vec<u8>)> =
        shown.into_iter().map(|text| (text.clone(), text.into_bytes())).collect();
    for file in ["state.redb", "staging.redb"] {
        let bytes = fs::read(bench.host.data_dir().join(file)).expect("a store");
        places.push((file.to_owned(), bytes));
    }
    let tokens = ["canary-access-1", "canary-refresh-0", "canary-refresh-1", "canary-code"];
    for form in tokens.iter().chain(&[SECRET, &state, &verifier]).flat_map(|text| forms(text)) {
        for (place, bytes) in &places {
            let found = bytes.windows(form.len()).any(|part| part == form.as_bytes());
            assert!(!found, "{form:?} in {place}");
        }
    }
}

#[track_caller]
fn called_back(bench: &Bench, query: &str) -> String {
    let answer = call_back(&bench.host, query, "text/html");
    assert_eq!(answer.status, 200);
    String::from_utf8_lossy(&answer.body).into_owned()
}
