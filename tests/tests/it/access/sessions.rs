//! Logins of people: the cookie, its end, what other sites can do with it, and what guessing costs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::http::Answer;

use super::world::{PASSWORD, json_of, plain, user};
use crate::fixture::{Host, text};

const EMAIL: &str = "Aoife@north.example";

#[track_caller]
pub(super) fn login(host: &Host, email: &str, password: &str) -> Answer {
    plain(host, "POST", "/session", &[], &json!({"email": email, "password": password}))
}

/// The cookie of a login as the browser sends it back.
#[track_caller]
pub(super) fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").expect("a cookie");
    set.split(';').next().expect("a pair").to_owned()
}

#[track_caller]
fn status(host: &Host, cookie: &str) -> u16 {
    plain(host, "GET", "/session", &[("Cookie", cookie)], &Value::Null).status
}

/// A host with one viewer who is logged in.
fn entered() -> (Host, String, String) {
    let host = Host::start(&[]);
    host.create_organization("north");
    let id = user(&host, EMAIL, "viewer", Some("north"));
    let answer = login(&host, EMAIL, PASSWORD);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    (host, id, cookie(&answer))
}

#[test]
fn a_login_is_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let (host, id, cookie) = entered();
    let answer = login(&host, "aoife@NORTH.example", PASSWORD);
    let set = answer.header("set-cookie").expect("a cookie").to_owned();
    assert!(set.starts_with("syncline=syn_"), "{set}");
    for part in ["Path=/", "HttpOnly", "SameSite=Lax"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure"), "plain http on loopback: {set}");
    let shown = plain(&host, "GET", "/session", &[("Cookie", &cookie)], &Value::Null);
    let shown = json_of(&shown);
    assert_eq!((&shown["id"], &shown["role"]), (&json!(id), &json!("viewer")), "{shown:#}");
    assert_eq!(shown["organizationId"], "north");
    let secure = Host::with_config(&[], "[server]\npublicUrl = \"https://sync.example\"\n");
    user(&secure, EMAIL, "platformAdmin", None);
    let answer = login(&secure, EMAIL, PASSWORD);
    let set = answer.header("set-cookie").expect("a cookie");
    assert!(set.starts_with("__Host-syncline=") && set.contains("; Secure"), "{set}");
}

#[test]
fn a_new_login_has_a_new_secret_and_ends_the_one_before() {
    let (host, _, first) = entered();
    let body = json!({"email": EMAIL, "password": PASSWORD});
    // A secret that somebody else planted is not taken over.
    let planted = "syncline=syn_planted";
    let answer = plain(&host, "POST", "/session", &[("Cookie", planted)], &body);
    assert_ne!(cookie(&answer), planted);
    let answer = plain(&host, "POST", "/session", &[("Cookie", &first)], &body);
    assert_eq!(answer.status, 201);
    assert_ne!(cookie(&answer), first);
    assert_eq!((status(&host, &first), status(&host, &cookie(&answer))), (401, 200));
}

#[test]
fn logging_out_ends_the_secret_and_sessions_are_listed_and_revoked() {
    let (host, _, first) = entered();
    let second = cookie(&login(&host, EMAIL, PASSWORD));
    let list = || {
        let answer = plain(&host, "GET", "/sessions", &[("Cookie", &second)], &Value::Null);
        json_of(&answer)["items"].as_array().expect("items").clone()
    };
    let both = list();
    assert_eq!(both.len(), 2, "{both:#?}");
    assert_eq!((&both[0]["current"], &both[1]["current"]), (&json!(false), &json!(true)));
    let path = format!("/sessions/{}", text(&both[0], "id"));
    let end = |path: &str, cookie: &str| {
        plain(&host, "DELETE", path, &[("Cookie", cookie)], &Value::Null).status
    };
    assert_eq!(end(&path, &second), 204);
    assert_eq!(end(&path, &second), 404);
    assert_eq!((status(&host, &first), list().len()), (401, 1));
    assert_eq!(end("/session", &second), 204);
    assert_eq!(status(&host, &second), 401);
    // What belongs to somebody else is not there.
    let other = user(&host, "other@north.example", "viewer", Some("north"));
    assert!(other.starts_with("usr_"));
    let theirs = login(&host, "other@north.example", PASSWORD);
    let mine = cookie(&login(&host, EMAIL, PASSWORD));
    let path = format!("/sessions/{}", text(&json_of(&theirs)["session"], "id"));
    assert_eq!(end(&path, &mine), 404);
    assert_eq!(status(&host, &cookie(&theirs)), 200);
}

#[test]
fn a_new_password_role_or_disabling_ends_all_logins() {
    let (host, id, _) = entered();
    let path = format!("/users/{id}");
    let admin = |method: &str, path: &str, body: Value, wanted: u16| {
        host.change(method, path, &body, wanted);
    };
    let enter = |password: &str| cookie(&login(&host, EMAIL, password));
    let new = "another long password";
    let cookies = [enter(PASSWORD), enter(PASSWORD)];
    admin("PUT", &format!("{path}/password"), json!({"password": new}), 204);
    assert_eq!(cookies.map(|cookie| status(&host, &cookie)), [401, 401]);
    assert_eq!(login(&host, EMAIL, PASSWORD).status, 401);
    let held = enter(new);
    admin("PATCH", &path, json!({"name": "Aoife"}), 200);
    assert_eq!(status(&host, &held), 200, "a new name ends nothing");
    admin("PATCH", &path, json!({"role": "orgAdmin"}), 200);
    assert_eq!(status(&host, &held), 401);
    let held = enter(new);
    admin("PATCH", &path, json!({"disabled": true}), 200);
    assert_eq!(status(&host, &held), 401);
    assert_eq!(login(&host, EMAIL, new).status, 401);
    admin("PATCH", &path, json!({"disabled": false}), 200);
    let held = enter(new);
    admin("DELETE", &path, Value::Null, 204);
    assert_eq!(status(&host, &held), 401);
}

#[test]
fn ones_own_password_takes_the_current_one() {
    let (host, _, mine) = entered();
    let change = |current: &str, new: &str| {
        let body = json!({"current": current, "password": new});
        let answer = plain(&host, "POST", "/session/password", &[("Cookie", &mine)], &body);
        (answer.status, json_or_null(&answer))
    };
    let (status_of, problem) = change("not this one", "another long password");
    assert_eq!((status_of, &problem["errors"][0]["pointer"]), (422, &json!("/current")));
    let (status_of, problem) = change(PASSWORD, "short");
    assert_eq!((status_of, &problem["errors"][0]["pointer"]), (422, &json!("/password")));
    assert_eq!(change(PASSWORD, "another long password").0, 204);
    assert_eq!(status(&host, &mine), 401);
    assert_eq!(login(&host, EMAIL, "another long password").status, 201);
}

fn json_or_null(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

#[test]
fn other_sites_cannot_use_the_cookie() {
    let (host, _, mine) = entered();
    let own = format!("http://{}", host.address());
    for (name, value, wanted) in [
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Origin", "http://evil.example", 403),
        ("Origin", "null", 403),
        ("Sec-Fetch-Site", "same-origin", 204),
        ("Origin", own.as_str(), 401),
    ] {
        let headers = [("Cookie", mine.as_str()), (name, value)];
        let answer = plain(&host, "DELETE", "/session", &headers, &Value::Null);
        assert_eq!(answer.status, wanted, "{name}: {value}");
    }
    // Nor log somebody in as somebody else.
    let body = json!({"email": EMAIL, "password": PASSWORD});
    let headers = [("Origin", "http://evil.example")];
    assert_eq!(plain(&host, "POST", "/session", &headers, &body).status, 403);
    // A token is no cookie: no page can make a browser send it.
    let authorization = format!("Bearer {}", host.token);
    let headers = [("Authorization", authorization.as_str()), ("Origin", "http://evil.example")];
    let body = json!({"id": "new", "name": "New"});
    assert_eq!(plain(&host, "POST", "/organizations", &headers, &body).status, 201);
}

#[test]
fn unknown_users_and_wrong_passwords_are_answered_alike() {
    let (host, ..) = entered();
    let told = |email: &str, password: &str| {
        let begin = Instant::now();
        let answer = login(&host, email, password);
        let took = begin.elapsed();
        let mut body = json_of(&answer);
        body["requestId"].take();
        (answer.status, body, took)
    };
    // The first attempt computes what stands in for a user that is not there.
    told("nobody@north.example", "whatever it may be");
    let wrong = told(EMAIL, "whatever it may be");
    let unknown = told("nobody2@north.example", "whatever it may be");
    assert_eq!((wrong.0, &wrong.1), (unknown.0, &unknown.1));
    assert_eq!((wrong.0, &wrong.1["code"]), (401, &json!("login.failed")));
    // Both hash: neither is ten times as fast as the other, at its best of three.
    let best = |emails: [&str; 3]| {
        let took = emails.map(|email| told(email, "whatever it may be").2);
        took.into_iter().min().expect("three")
    };
    let wrong = best([EMAIL; 3]);
    let unknown = best(["a@north.example", "b@north.example", "c@north.example"]);
    let (slow, fast) = (wrong.max(unknown), wrong.min(unknown));
    assert!(fast * 10 > slow, "{slow:?} and {fast:?}");
    assert!(fast > Duration::from_millis(2), "{fast:?} is no time for a hash");
    let begin = Instant::now();
    let endless = login(&host, EMAIL, &"x".repeat(1_000_000));
    assert_eq!(endless.status, 422, "{}", String::from_utf8_lossy(&endless.body));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn guessing_has_to_wait_and_locks_nobody_out() {
    let (host, ..) = entered();
    user(&host, "other@north.example", "viewer", Some("north"));
    let mut last = None;
    for _ in 0..8 {
        let answer = login(&host, EMAIL, "not the password");
        if answer.status == 429 {
            let wait: u64 = answer.header("retry-after").expect("a wait").parse().expect("seconds");
            assert!((1..=60).contains(&wait), "{wait}");
            last = Some(json_of(&answer));
            break;
        }
        assert_eq!(answer.status, 401);
    }
    assert_eq!(last.expect("a refusal")["code"], "login.throttled");
    // Others are not kept waiting, and after the wait the right password opens.
    assert_eq!(login(&host, "other@north.example", PASSWORD).status, 201);
    let begin = Instant::now();
    loop {
        let answer = login(&host, EMAIL, PASSWORD);
        if answer.status == 201 {
            break;
        }
        assert_eq!(answer.status, 429);
        assert!(begin.elapsed() < Duration::from_secs(30), "still locked out");
        std::thread::sleep(Duration::from_millis(50));
    }
    let failures = host.list("/audit?action=loginFailed");
    assert!((1..=8).contains(&failures.len()), "{failures:#?}");
    assert_eq!(failures[0]["actor"]["name"], EMAIL.to_lowercase());
    assert_eq!(failures[0]["address"], "127.0.0.1");
}
