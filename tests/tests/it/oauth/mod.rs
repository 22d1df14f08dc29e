//! OAuth 2 from outside: the flow, the refresh and what goes wrong with both.

mod crash;
mod faults;
mod flow;
mod strict;

use serde_json::{Value, json};
use syncline_tests::authority::Authority;
use syncline_tests::http::{Answer, Connection, Request};

use crate::fixture::{Host, ORG, text};

/// Attempts are few and follow each other at once; the log tells everything that it can.
const CONFIG: &str = "
[limits]
requestAttemptsMax = 2
retryBackoffMillisMin = 1
retryBackoffMillisMax = 4
retryAfterSecondsMax = 30
requestTimeoutSecondsMax = 5
[log]
level = \"trace\"
[server]
publicUrl = \"https://sync.example/base/\"
";
/// Under the public address of [`CONFIG`].
const CALLBACK: &str = "https://sync.example/base/api/v1/oauth/callback";

const CLIENT: &str = "client:1/a b";
const SECRET: &str = "canary-s3cret+/=: %20";

/// A host with one connector of OAuth, connected to one organization.
struct Bench {
    host: Host,
    authority: Authority,
    connector: String,
    connection: String,
}

impl Bench {
    /// With a refresh token and no access token: the first request has to ask for one.
    #[track_caller]
    fn new() -> Bench {
        Bench::with(json!({"refreshToken": "canary-refresh-0"}), json!({}))
    }

    /// With these tokens, and with more in `config.oauth`.
    #[track_caller]
    fn with(tokens: Value, oauth: Value) -> Bench {
        let authority = Authority::start().expect("an authority");
        let host = Host::with_config(&[authority.host_port()], CONFIG);
        host.create_organization(ORG);
        let endpoints = json!({
            "baseUrl": authority.url("/api"),
            "authorizeUrl": authority.url("/authorize?tenant=1"),
            "tokenUrl": authority.url("/token"),
            "revokeUrl": authority.url("/revoke"),
        });
        let more = json!({
            "authType": "oauth2",
            "endpoints": endpoints,
            "config": {"requestsPerMinute": 1_000_000, "oauth": oauth},
            "credentials": credentials(tokens),
        });
        let connector = host.create_connector("", more);
        let connection = host.connect(ORG, &connector, "club-1", json!({}));
        Bench { host, authority, connector, connection }
    }

    #[track_caller]
    fn sync(&self) -> Value {
        self.host.sync(ORG, &self.connector, json!({}))
    }

    /// A full sync that must complete.
    #[track_caller]
    fn synced(&self) {
        let run = self.sync();
        assert_eq!(run["status"], "completed", "{run:#}\n{}", self.host.log());
    }

    /// A full sync that must end like this.
    #[track_caller]
    fn fails(&self, status: &str, code: &str) -> Value {
        let run = self.sync();
        let found = (run["status"].as_str(), run["errors"][0]["code"].as_str());
        assert_eq!(found, (Some(status), Some(code)), "{run:#}\n{}", self.host.log());
        run
    }

    /// The connector's `credentials`.
    #[track_caller]
    fn credentials(&self) -> Value {
        self.host.get(&format!("/connectors/{}", self.connector))["credentials"].clone()
    }

    #[track_caller]
    fn put_credentials(&self, tokens: Value) {
        let path = format!("/connectors/{}/credentials", self.connector);
        self.host.change("PUT", &path, &credentials(tokens), 200);
    }

    #[track_caller]
    fn refresh(&self, status: u16) -> Value {
        let path = format!("/connectors/{}/oauth/refresh", self.connector);
        self.host.call("POST", &path, &json!({}), status)
    }

    /// Starts an authorization and returns the parameters of its address.
    #[track_caller]
    fn start(&self, body: Value) -> Vec<(String, String)> {
        let path = format!("/connectors/{}/oauth/start", self.connector);
        let started = self.host.call("POST", &path, &body, 200);
        let parameters = parameters(&text(&started, "authorizationUrl"));
        assert_eq!(value(&parameters, "state"), text(&started, "state"));
        parameters
    }

    /// How often a token was asked for.
    fn asked(&self) -> usize {
        self.authority.state().asked.len()
    }
}

/// The client's credentials with these tokens.
fn credentials(tokens: Value) -> Value {
    let mut credentials = json!({"clientId": CLIENT, "clientSecret": SECRET});
    if let (Some(to), Some(from)) = (credentials.as_object_mut(), tokens.as_object()) {
        to.extend(from.clone());
    }
    credentials
}

/// The decoded query of an address.
fn parameters(url: &str) -> Vec<(String, String)> {
    let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let decoded = |text: &str| syncline_tests::foireann::decoded(&text.replace('+', " "));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

#[track_caller]
fn value(parameters: &[(String, String)], name: &str) -> String {
    let mut found = parameters.iter().filter(|(known, _)| known == name);
    let first = found.next().map(|(_, value)| value.clone());
    assert!(found.next().is_none(), "{name} twice in {parameters:?}");
    first.unwrap_or_else(|| panic!("no {name} in {parameters:?}"))
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let code = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(code).collect()
}

fn query(parameters: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// The callback as a browser calls it: without a token.
#[track_caller]
fn call_back(host: &Host, query: &str, accept: &str) -> Answer {
    let target = format!("/api/v1/oauth/callback?{query}");
    let headers = [("Accept", accept)];
    let request = Request { method: "GET", target: &target, headers: &headers, body: b"" };
    let answer = Connection::open(host.address()).and_then(|mut open| open.send(&request));
    let answer = answer.unwrap_or_else(|cause| panic!("{target}: {cause}\n{}", host.log()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    answer
}
