//! Against a strict authorization server that is not ours: npm's `oidc-provider`. PKCE is required, refresh tokens rotate,
//! and one that is used twice revokes its grant, so that a doubled refresh cannot go unnoticed.
//!
//! Needs `node` and `npm`. Without them the tests say that they were skipped, unless `PEERS` is `required`.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use syncline_tests::http::{Answer, Connection, Request};
use syncline_tests::node::{self, Peer};

use super::{CALLBACK, CONFIG, call_back, query};
use crate::fixture::{Host, ORG, text};

const BASIC: (&str, &str) = ("basic client:1", "b&sic s3cret+/=:%20");
const POST: (&str, &str) = ("post-client", "p&st s3cret+/=:%20");
const REDIRECTS_MAX: usize = 20;

/// The peer, or none where this machine cannot run it.
fn peer() -> Option<Peer> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/oidc");
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    match node::start(&source, scratch, &json!({"redirectUri": CALLBACK})) {
        Ok(peer) => Some(peer),
        Err(reason) => {
            let required = std::env::var("PEERS").is_ok_and(|value| value == "required");
            assert!(!required, "the authorization server cannot be started: {reason}");
            eprintln!("SKIPPED: the authorization server cannot be started: {reason}");
            None
        }
    }
}

/// A browser: it keeps cookies and does what forms say.
struct Browser {
    peer: std::net::SocketAddr,
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn send(&mut self, method: &str, url: &str, body: &str) -> Answer {
        let target = url.strip_prefix(&format!("http://{}", self.peer)).unwrap_or(url);
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("Accept", "text/html"), ("Cookie", &*cookies)];
        if method == "POST" {
            headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        }
        let request = Request { method, target, headers: &headers, body: body.as_bytes() };
        let answer = Connection::open(self.peer).and_then(|mut open| open.send(&request));
        let answer = answer.expect("an answer of the authorization server");
        for (name, value) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let pair = value.split(';').next().unwrap_or_default();
            let (key, value) = pair.split_once('=').unwrap_or_else(|| panic!("{name}: {value}"));
            self.cookies.retain(|(known, _)| known != key);
            if !value.is_empty() {
                self.cookies.push((key.to_owned(), value.to_owned()));
            }
        }
        answer
    }

    /// From the authorization's address to the query of the callback: signs in, and consents or aborts.
    fn authorize(&mut self, url: &str, consents: bool) -> String {
        let mut answer = self.send("GET", url, "");
        for _ in 0..REDIRECTS_MAX {
            if let Some(location) = answer.header("location").map(str::to_owned) {
                if let Some(query) = location.strip_prefix(&format!("{CALLBACK}?")) {
                    return query.to_owned();
                }
                answer = self.send("GET", &location, "");
                continue;
            }
            let page = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.status, 200, "{page}");
            let attribute = |before: &str, name: &str| {
                let rest = page.split(before).nth(1).and_then(|rest| rest.split(name).nth(1));
                let value = rest.and_then(|rest| rest.split('"').nth(1));
                value.unwrap_or_else(|| panic!("no {name} behind {before} in {page}")).to_owned()
            };
            let prompt = attribute("name=\"prompt\"", "value=");
            if prompt == "consent" && !consents {
                let abort = format!("{}/abort", attribute("<form", "action="));
                answer = self.send("GET", &abort, "");
                continue;
            }
            let form = query(&[("prompt", &prompt), ("login", "treasurer"), ("password", "x")]);
            answer = self.send("POST", &attribute("<form", "action="), &form);
        }
        panic!("the authorization server goes on redirecting")
    }
}

struct Strict {
    host: Host,
    peer: Peer,
    connector: String,
}

impl Strict {
    #[track_caller]
    fn new(peer: Peer, (id, secret): (&str, &str), client_auth: &str) -> Strict {
        let host = Host::with_config(&[peer.address.to_string()], CONFIG);
        host.create_organization(ORG);
        let url = |path: &str| format!("http://{}{path}", peer.address);
        let more = json!({
            "authType": "oauth2",
            "endpoints": {
                "baseUrl": url("/api"), "authorizeUrl": url("/auth"),
                "tokenUrl": url("/token"), "revokeUrl": url("/token/revocation"),
            },
            "config": {"requestsPerMinute": 1_000_000, "oauth": {
                "clientAuth": client_auth,
                "issuer": format!("http://{}", peer.address),
                "scopes": ["openid", "offline_access", "read:members"],
                "authorizeParameters": {"prompt": "consent"},
            }},
            "credentials": {"clientId": id, "clientSecret": secret},
        });
        let connector = host.create_connector("", more);
        host.connect(ORG, &connector, "club-1", json!({}));
        Strict { host, peer, connector }
    }

    /// The query that the platform sends back.
    #[track_caller]
    fn answered(&self, body: Value, consents: bool) -> String {
        let path = format!("/connectors/{}/oauth/start", self.connector);
        let started = self.host.call("POST", &path, &body, 200);
        let mut browser = Browser { peer: self.peer.address, cookies: Vec::new() };
        browser.authorize(&text(&started, "authorizationUrl"), consents)
    }

    #[track_caller]
    fn authorized(&self, body: Value) {
        let query = self.answered(body, true);
        let answer = call_back(&self.host, &query, "text/html");
        let page = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{page}\n{}", self.host.log());
    }

    #[track_caller]
    fn synced(&self) {
        let run = self.host.sync(ORG, &self.connector, json!({}));
        assert_eq!(run["status"], "completed", "{run:#}\n{}", self.host.log());
    }

    #[track_caller]
    fn control(&self, path: &str) -> Value {
        let target = format!("/_control{path}");
        let request = Request { method: "GET", target: &target, headers: &[], body: b"" };
        let answer = Connection::open(self.peer.address).and_then(|mut open| open.send(&request));
        serde_json::from_slice(&answer.expect("an answer of the control").body).expect("JSON")
    }

    fn counts(&self) -> Value {
        self.control("/counts")
    }
}

#[test]
fn both_ways_of_proving_a_client_pass_the_strict_server() {
    for (client, client_auth) in [(BASIC, "basic"), (POST, "post")] {
        let Some(peer) = peer() else { return };
        let strict = Strict::new(peer, client, client_auth);
        strict.authorized(json!({}));
        strict.synced();
        let refresh = format!("/connectors/{}/oauth/refresh", strict.connector);
        for _ in 0..3 {
            strict.host.call("POST", &refresh, &json!({}), 200);
        }
        strict.synced();
        let counts = strict.counts();
        assert_eq!((&counts["code"], &counts["refresh"]), (&json!(1), &json!(3)), "{counts}");
        assert_eq!((&counts["refused"], &counts["revokedGrants"]), (&json!({}), &json!(0)));
    }
}

#[test]
fn a_hundred_requests_with_an_expired_token_are_one_refresh_to_the_strict_server() {
    let Some(peer) = peer() else { return };
    let strict = Strict::new(peer, BASIC, "basic");
    strict.control("/lives?accessSeconds=1");
    strict.authorized(json!({}));
    strict.control("/lives?accessSeconds=3600");
    let connector = format!("/connectors/{}", strict.connector);
    let expires = text(&strict.host.get(&connector)["credentials"], "expiresAt");
    let expires: jiff::Timestamp = expires.parse().expect("a time");
    while jiff::Timestamp::now() <= expires {
        thread::sleep(Duration::from_millis(20));
    }
    thread::scope(|scope| {
        let check = || strict.host.call("POST", &format!("{connector}/check"), &json!({}), 200);
        let checks: Vec<_> = (0..100).map(|_| scope.spawn(check)).collect();
        for check in checks {
            let answer = check.join().expect("a check");
            assert_eq!(answer["ok"], true, "{answer:#}\n{}", strict.host.log());
        }
    });
    let counts = strict.counts();
    assert_eq!((&counts["refresh"], &counts["apiRefused"]), (&json!(1), &json!(0)), "{counts}");
    assert_eq!((&counts["refused"], &counts["revokedGrants"]), (&json!({}), &json!(0)), "{counts}");
    strict.synced();
}

#[test]
fn a_person_who_says_no_and_a_code_of_another_flow_get_nothing() {
    let Some(peer) = peer() else { return };
    let strict = Strict::new(peer, BASIC, "basic");
    let answer = call_back(&strict.host, &strict.answered(json!({}), false), "application/json");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, body["code"].as_str()), (400, Some("oauth.declined")), "{body}");
    // The code of one flow with the state of another: the verifier does not fit.
    let (first, second) = (strict.answered(json!({}), true), strict.answered(json!({}), true));
    let part = |query: &str, name: &str| {
        let mut parts = query.split('&').map(str::to_owned);
        parts.find(|part| part.starts_with(&format!("{name}="))).expect("a parameter")
    };
    let mixed =
        format!("{}&{}&{}", part(&first, "code"), part(&second, "state"), part(&first, "iss"));
    let answer = call_back(&strict.host, &mixed, "application/json");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, body["code"].as_str()), (400, Some("oauth.declined")), "{body}");
    assert_eq!(strict.counts()["code"], 0);
}

#[test]
fn disconnecting_revokes_at_the_strict_server() {
    let Some(peer) = peer() else { return };
    let strict = Strict::new(peer, POST, "post");
    let path = format!("/organizations/{ORG}/connections");
    let connection = text(&strict.host.list(&path)[0], "id");
    strict.authorized(json!({"connectionId": connection}));
    strict.synced();
    strict.host.change("DELETE", &format!("{path}/{connection}"), &Value::Null, 204);
    while strict.counts()["revokedGrants"] == 0 {
        thread::sleep(Duration::from_millis(20));
        let log = strict.host.log();
        assert!(!log.contains("cannot revoke"), "{log}");
    }
}
