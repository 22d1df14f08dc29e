//! Where a secret must never be: in a file of the data directory, in an answer of the API, in the
//! log, in the list of requests, in the process's environment or command line; neither as it is nor
//! in base64 at any alignment, in hex or percent-encoded.
//!
//! Fifty canaries and more are set through the API and the command line and used: in runs that go
//! well, in runs whose federation repeats what it was told in body, header and redirect, in dry
//! runs and checks, in bodies that are refused, in logins and in messages; all with the most
//! talkative log.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value, json};
use syncline_tests::foireann::{Fault, Options, Rule, Sim};

use crate::fixture::{CLUB, Host, ORG, text};
use crate::rig::{program, signal};

/// Members of credentials that are secrets besides what the kind logs in with.
const OTHERS: [&str; 6] = [
    "clientSecret",
    "accessToken",
    "refreshToken",
    "webhookSecret",
    "webhookSecretPrevious",
    "token",
];

/// One connector of a kind, and the canaries in its credentials.
struct Used {
    kind: &'static str,
    sim: Sim,
    credentials: Value,
    /// What its requests carry.
    carried: String,
}

/// A canary looks like nothing else and like no other.
fn canary(what: &str, number: usize) -> String {
    format!("canary~{what}+{number:02}/{:08x}", 0x9e37_79b9_u32.wrapping_mul(number as u32 + 7))
}

fn connectors(canaries: &mut Vec<String>) -> Vec<Used> {
    let simulator = |options: Options| Sim::spawn(env!("CARGO_BIN_EXE_foireann-sim"), options);
    let mut used = Vec::new();
    for (number, kind) in ["apiKey", "basic", "bearer"].into_iter().cycle().take(7).enumerate() {
        let mut credentials = Map::new();
        let mut fresh = |what: &str| {
            let canary = canary(what, canaries.len());
            canaries.push(canary.clone());
            canary
        };
        for member in OTHERS {
            credentials.insert(member.to_owned(), fresh(member).into());
        }
        let secret = fresh(kind);
        let options = Options::members(3);
        let (carried, options) = match kind {
            "apiKey" => {
                credentials.insert("apiKey".to_owned(), secret.as_str().into());
                (secret.clone(), options.api_key(&secret))
            }
            "basic" => {
                credentials.insert("username".to_owned(), "treasurer".into());
                credentials.insert("password".to_owned(), secret.as_str().into());
                (format!("treasurer:{secret}"), options.basic("treasurer", &secret))
            }
            _ => {
                credentials.insert("token".to_owned(), secret.as_str().into());
                (secret.clone(), options.bearer(&secret))
            }
        };
        println!("connector {number}: {kind}");
        used.push(Used { kind, sim: simulator(options), credentials: credentials.into(), carried });
    }
    used
}

/// A secret in every form in which it could be kept by mistake.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let lower = hex::encode(secret);
    let percent = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(*byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    let encoded: String = secret.iter().map(percent).collect();
    let mut forms = vec![
        secret.to_vec(),
        lower.to_uppercase().into_bytes(),
        lower.into_bytes(),
        encoded.to_lowercase().into_bytes(),
        encoded.into_bytes(),
    ];
    for engine in [STANDARD, URL_SAFE] {
        // Behind 0, 1 and 2 bytes of something else, without the letters that it shares with its neighbors.
        for before in 0..3 {
            let text = engine.encode([&vec![b'x'; before], secret].concat());
            let begin = (before * 8).div_ceil(6);
            let end = (before + secret.len()) * 8 / 6;
            forms.push(text.as_bytes()[begin..end].to_vec());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

struct Wanted {
    /// The first bytes of all forms, to look at a place once and not a thousand times.
    heads: std::collections::HashMap<[u8; 6], Vec<Vec<u8>>>,
}

impl Wanted {
    fn new(secrets: &[Vec<u8>]) -> Wanted {
        let mut heads: std::collections::HashMap<[u8; 6], Vec<Vec<u8>>> = Default::default();
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            let head = *form.first_chunk().expect("canaries are longer");
            heads.entry(head).or_default().push(form);
        }
        Wanted { heads }
    }

    fn found(&self, bytes: &[u8]) -> Option<String> {
        for at in 0..bytes.len().saturating_sub(5) {
            let head: [u8; 6] = bytes[at..at + 6].try_into().expect("six");
            let forms = self.heads.get(&head).map_or(&[][..], Vec::as_slice);
            if let Some(form) = forms.iter().find(|form| bytes[at..].starts_with(form)) {
                return Some(String::from_utf8_lossy(form).into_owned());
            }
        }
        None
    }

    #[track_caller]
    fn nowhere_in(&self, place: &str, bytes: &[u8]) {
        if let Some(form) = self.found(bytes) {
            panic!("{place} holds {form:?}");
        }
    }
}

#[test]
fn every_form_is_recognized() {
    let secret = canary("form", 3);
    let wanted = Wanted::new(&[secret.clone().into_bytes()]);
    for before in ["", "a", "ab", "abc", "treasurer:"] {
        for after in ["", "!", "??"] {
            let inside = format!("{before}{secret}{after}");
            let shown = [inside.clone(), STANDARD.encode(&inside), URL_SAFE.encode(&inside)];
            for shown in shown.iter().chain([&hex::encode(&inside)]) {
                assert!(wanted.found(format!("log: {shown} end").as_bytes()).is_some(), "{shown}");
            }
        }
    }
    let url: String = url_encoded(&secret);
    assert!(wanted.found(url.as_bytes()).is_some(), "{url}");
    assert_eq!(wanted.found(canary("form", 4).as_bytes()), None);
}

fn url_encoded(text: &str) -> String {
    text.replace('+', "%2B").replace('/', "%2F")
}

/// Every file below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Everything that can be read of a run.
fn read_run(host: &Host, run: &Value, shown: &mut Vec<Value>) {
    let path = format!("/sync/status/{}", text(run, "syncId"));
    for list in ["", "/requests", "/logs", "/records", "/conflicts", "/export"] {
        shown.push(host.get(&format!("{path}{list}")));
    }
    let csv = host.send("GET", &format!("{path}/export?format=csv"), &[], &Value::Null);
    shown.push(String::from_utf8_lossy(&csv.body).into_owned().into());
}

/// One connector in all ways in which its secrets are handled.
fn used(host: &Host, one: &Used, canaries: &mut Vec<String>, shown: &mut Vec<Value>) {
    let Used { kind, sim, credentials, carried } = one;
    // Refused bodies, with the secret where it does not belong.
    let bad = |body: Value| host.send("POST", "/connectors", &[], &body).body;
    for body in [
        json!({"name": kind, "credentials": {"apiKey": [carried]}}),
        json!({"name": 1, "credentials": credentials, "authType": kind}),
        json!({"name": kind, "credentials": carried}),
    ] {
        shown.push(String::from_utf8_lossy(&bad(body)).into_owned().into());
    }
    let more = json!({"name": kind, "authType": kind, "credentials": credentials});
    let connector = host.create_connector(&sim.base_url(), more);
    let connection = host.connect(ORG, &connector, CLUB, json!({}));
    let path = format!("/connectors/{connector}");
    shown.push(host.change("PUT", &format!("{path}/credentials"), credentials, 200));
    let wrong = json!({"apiKey": {"nested": carried}, "unknown": carried});
    shown.push(host.change("PUT", &format!("{path}/credentials"), &wrong, 422));
    for more in [json!({}), json!({"dryRun": true})] {
        let run = host.sync(ORG, &connector, more);
        assert_eq!(run["status"], "completed", "{run:#}");
        read_run(host, &run, shown);
    }
    let header = |name: &str| Fault::Header { name: name.to_owned(), value: carried.clone() };
    let elsewhere = format!("{}?key={}", sim.base_url(), url_encoded(carried));
    for fault in [
        Fault::EchoHeaders { status: 500 },
        Fault::EchoHeaders { status: 401 },
        Fault::Several { faults: vec![Fault::status(401), header("X-Echo")] },
        Fault::redirect(302, &elsewhere),
    ] {
        sim.fault(Rule::any(fault));
        let run = host.sync(ORG, &connector, json!({}));
        assert_eq!(run["status"], "failed", "{run:#}");
        sim.clear_faults();
        read_run(host, &run, shown);
        shown.push(host.call("POST", &format!("{path}/check"), &json!({}), 200));
    }
    sim.fault(Rule::any(Fault::EchoHeaders { status: 403 }));
    shown.push(host.call("POST", &format!("{path}/check"), &json!({}), 200));
    sim.clear_faults();
    for of in ["", "/health", "/organizations"] {
        shown.push(host.get(&format!("{path}{of}")));
    }
    let path = format!("/organizations/{ORG}/connections/{connection}");
    // Credentials of its own, which this federation does not know.
    let mut own = credentials.clone();
    for (_, value) in own.as_object_mut().into_iter().flatten() {
        let secret = canary("own", canaries.len());
        *value = secret.as_str().into();
        canaries.push(secret);
    }
    shown.push(host.change("PUT", &format!("{path}/credentials"), &own, 200));
    let run = host.sync(ORG, &connector, json!({}));
    assert_eq!(run["errors"][0]["code"], "remote.auth", "{run:#}");
    read_run(host, &run, shown);
    shown.push(host.get(&path));
    shown.push(host.get(&format!("{path}/health")));
    host.change("DELETE", &path, &Value::Null, 204);
}

/// What people and programs prove themselves with, and what messages are sent with.
fn people_and_channels(host: &Host, sim: &Sim, canaries: &mut Vec<String>, shown: &mut Vec<Value>) {
    let mut fresh = |what: &str| {
        let secret = canary(what, canaries.len());
        canaries.push(secret.clone());
        secret
    };
    let email = "treasurer@example.ie";
    let (password, wrong, next) = (fresh("password"), fresh("wrong"), fresh("next"));
    let user = json!({"email": email, "role": "viewer", "password": password});
    let user = host.call("POST", "/users", &user, 201);
    for (password, status) in [(&wrong, 401), (&password, 201)] {
        let login = json!({"email": email, "password": password});
        shown.push(host.call("POST", "/session", &login, status));
    }
    let path = format!("/users/{}/password", text(&user, "id"));
    host.change("PUT", &path, &json!({ "password": next }), 204);
    shown.push(host.change("PUT", &path, &json!({ "password": [next], "pasword": next }), 422));
    shown.push(user);

    let signing = fresh("signing");
    let whsec = format!("whsec_{}", STANDARD.encode(&signing));
    let (mail, slack) = (fresh("mail"), fresh("slack"));
    let (at, port) = (sim.base_url(), sim.host_port());
    let port: u16 = port.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let channels = [
        ("webhook", json!({"url": format!("{at}/hook"), "secret": whsec})),
        ("slack", json!({"url": format!("{at}/services/{}", url_encoded(&slack))})),
        (
            "email",
            json!({"host": "127.0.0.1", "port": port, "tls": "none", "username": "treasurer",
                   "password": mail, "from": email, "to": [email]}),
        ),
    ];
    for (kind, config) in channels {
        let channel = json!({"name": kind, "kind": kind, "config": config});
        let channel = host.call("POST", "/notifications/channels", &channel, 201);
        let path = format!("/notifications/channels/{}", text(&channel, "id"));
        // Nobody there takes a message: what is said of that must not tell what was sent.
        let test = host.call("POST", &format!("{path}/test"), &Value::Null, 200);
        assert_eq!(test["ok"], false, "{test:#}");
        shown.extend([channel, test, host.get(&path)]);
    }
}

/// Credentials that come by the command line, from a file and from a variable.
fn by_command_line(host: &Host, canaries: &mut Vec<String>, shown: &mut Vec<Value>) {
    let server = format!("http://{}", host.address());
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("secret");
    for kind in ["file", "variable"] {
        let secret = canary(kind, canaries.len());
        canaries.push(secret.clone());
        fs::write(&file, &secret).expect("written");
        let environment = [
            ("SYNCLINE_SERVER", server.as_str()),
            ("SYNCLINE_TOKEN", host.token.as_str()),
            ("CANARY", secret.as_str()),
        ];
        let file = file.to_string_lossy();
        let source =
            if kind == "file" { ["--api-key-file", &file] } else { ["--api-key-env", "CANARY"] };
        let create = ["connector", "create", "--name", kind, "--federation-code", "x", "--plugin"];
        let url = ["gaa-foireann", "--base-url", "https://federation.invalid"];
        let mut said = Vec::new();
        let arguments: Vec<&str> = create.iter().chain(&url).chain(&source).copied().collect();
        said.push(program(&arguments, &environment));
        assert_eq!(said[0].status.code(), Some(0), "{}", String::from_utf8_lossy(&said[0].stderr));
        let again: Vec<&str> =
            ["connector", "credentials", kind].iter().chain(&source).copied().collect();
        said.push(program(&again, &environment));
        said.push(program(&["connector", "check", kind, "--json"], &environment));
        said.push(program(&["connector", "show", kind, "--json"], &environment));
        said.push(program(&["check-config", "--json"], &environment));
        for output in said {
            let all = [output.stdout, output.stderr].concat();
            shown.push(String::from_utf8_lossy(&all).into_owned().into());
        }
    }
}

#[test]
fn fifty_canaries_are_nowhere_to_be_found() {
    let mut canaries = Vec::new();
    let all = connectors(&mut canaries);
    let addresses: Vec<String> = all.iter().map(|one| one.sim.host_port()).collect();
    let config =
        "[limits]\nrequestAttemptsMax = 1\n[log]\nlevel = \"trace\"\n[health]\nfaultsMax = 100\n";
    let mut host = Host::with_config(&addresses, config);
    host.restart_in(&[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")]);
    host.create_organization(ORG);
    let mut shown = Vec::new();
    for one in &all {
        used(&host, one, &mut canaries, &mut shown);
    }
    people_and_channels(&host, &all[0].sim, &mut canaries, &mut shown);
    // A token that a program was given once; the answer that shows it is not looked at.
    let program = host.call("POST", "/tokens", &json!({"name": "ci", "role": "viewer"}), 201);
    by_command_line(&host, &mut canaries, &mut shown);
    assert!(canaries.len() >= 50, "{} canaries", canaries.len());
    for list in [
        "/connectors",
        "/sync/status",
        "/sync/failures",
        "/plugins",
        "/organizations",
        "/templates",
        "/conflicts",
        "/audit",
        "/tokens",
        "/users",
        "/notifications/channels",
        "/notifications/deliveries",
    ] {
        shown.push(json!(host.list(list)));
    }
    shown.push(host.get("/keys"));
    host.call("POST", "/keys/rotate", &json!({}), 202);
    host.until("/keys", "to be changed", |keys| keys["rotating"] == false);

    let mut secrets: Vec<Vec<u8>> =
        canaries.iter().map(|canary| canary.clone().into_bytes()).collect();
    secrets.extend([host.token.clone(), text(&program, "token")].map(String::into_bytes));
    let wanted = Wanted::new(&secrets);
    // The key file holds the master key and nothing else does.
    let key_text = fs::read_to_string(host.data_dir().join("master.key")).expect("a key file");
    let line = key_text.lines().last().expect("a line");
    let encoded = line.rsplit('.').next().expect("a key").as_bytes().to_vec();
    let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&encoded).expect("base64");
    let wanted_keys = Wanted::new(&[encoded, raw]);
    let both = |place: &str, bytes: &[u8]| {
        wanted.nowhere_in(place, bytes);
        wanted_keys.nowhere_in(place, bytes);
    };
    for answer in shown {
        both(&format!("the answer {answer:#}"), answer.to_string().as_bytes());
    }
    for of in ["environ", "cmdline", "status", "maps"] {
        let path = format!("/proc/{}/{of}", host.process_id());
        // Another user than root may not even look.
        both(&path, &fs::read(&path).unwrap_or_default());
    }
    let status = fs::read_to_string(format!("/proc/{}/limits", host.process_id()));
    if let Ok(limits) = status {
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let words: Vec<&str> = core.expect("a limit of core files").split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "no core dumps");
    }
    signal(host.process_id(), "TERM");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    let log = host.log();
    assert!(log.lines().count() > 3, "the log says something: {log}");
    both("the log", log.as_bytes());
    let mut found = Vec::new();
    files(&host.data_dir(), &mut found);
    assert!(found.iter().any(|path| path.ends_with("state.redb")), "{found:?}");
    for path in found {
        let bytes = fs::read(&path).expect("a readable file");
        wanted.nowhere_in(&path.display().to_string(), &bytes);
        if !path.ends_with("master.key") {
            wanted_keys.nowhere_in(&path.display().to_string(), &bytes);
        }
    }
}
