//! Where a credential must never be: in a file of the data directory, in an answer of the API, in
//! the log, in the list of requests; neither as it is nor in base64 or hex.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Options, Rule, Sim};

use crate::fixture::{Host, ORG, text};
use crate::rig::signal;

const KEY: &str = "canary-key-3f9a77c1";
const PASSWORD: &str = "canary-password-58b2";
const TOKEN: &str = "canary-token-90de41";

/// The secrets in every form in which they could be kept by mistake.
fn forms(host: &Host) -> Vec<String> {
    let basic = format!("treasurer:{PASSWORD}");
    let mut forms = Vec::new();
    for secret in [KEY, PASSWORD, TOKEN, &basic, &host.token] {
        forms.extend([
            secret.to_owned(),
            STANDARD.encode(secret),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
            hex::encode(secret),
        ]);
    }
    forms
}

#[track_caller]
fn clean(place: &str, bytes: &[u8], forms: &[String]) {
    for form in forms {
        let found = bytes.windows(form.len()).any(|part| part == form.as_bytes());
        assert!(!found, "{place} holds {form:?}");
    }
}

/// Every file below a directory.
fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// One connector for each kind of credentials, run twice: well, and with a federation that
/// repeats in its error what it was told.
fn used(host: &Host, sims: &[(&str, Sim, Value)]) -> Vec<Value> {
    let mut shown = Vec::new();
    for (kind, sim, credentials) in sims {
        let more = json!({"name": kind, "authType": kind, "credentials": credentials});
        let connector = host.create_connector(&sim.base_url(), more);
        let connection = host.connect(ORG, &connector, "club-1", json!({}));
        let run = host.sync(ORG, &connector, json!({}));
        assert_eq!(run["status"], "completed", "{run:#}");
        let put = format!("/connectors/{connector}/credentials");
        shown.push(host.change("PUT", &put, credentials, 200));
        sim.fault(Rule::any(Fault::EchoHeaders { status: 500 }));
        let failed = host.sync(ORG, &connector, json!({}));
        assert_eq!(failed["status"], "failed", "{failed:#}");
        let check = format!("/connectors/{connector}/check");
        shown.push(host.call("POST", &check, &json!({}), 200));
        for run in [&run, &failed] {
            let path = format!("/sync/status/{}", text(run, "syncId"));
            for list in ["", "/requests", "/logs", "/records", "/export"] {
                shown.push(host.get(&format!("{path}{list}")));
            }
        }
        shown.push(host.get(&format!("/connectors/{connector}")));
        shown.push(host.get(&format!("/connectors/{connector}/health")));
        shown.push(host.get(&format!("/connectors/{connector}/organizations")));
        shown.push(host.get(&format!("/organizations/{ORG}/connections/{connection}")));
    }
    for list in ["/connectors", "/sync/status", "/sync/failures", "/plugins", "/organizations"] {
        shown.push(json!(host.list(list)));
    }
    shown
}

#[test]
fn credentials_are_nowhere_to_be_found() {
    let simulator = |options: Options| Sim::spawn(env!("CARGO_BIN_EXE_foireann-sim"), options);
    let sims = [
        ("apiKey", simulator(Options::members(3).api_key(KEY)), json!({"apiKey": KEY})),
        (
            "basic",
            simulator(Options::members(3).basic("treasurer", PASSWORD)),
            json!({"username": "treasurer", "password": PASSWORD}),
        ),
        ("bearer", simulator(Options::members(3).bearer(TOKEN)), json!({"token": TOKEN})),
    ];
    let addresses: Vec<String> = sims.iter().map(|(_, sim, _)| sim.host_port()).collect();
    let config = "[limits]\nrequestAttemptsMax = 1\n[log]\nlevel = \"trace\"\n";
    let mut host = Host::with_config(&addresses, config);
    host.create_organization(ORG);
    let forms = forms(&host);
    for answer in used(&host, &sims) {
        clean(&format!("the answer {answer:#}"), answer.to_string().as_bytes(), &forms);
    }
    clean("the log", host.log().as_bytes(), &forms);
    signal(host.process_id(), "TERM");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    let mut found = Vec::new();
    files(&host.data_dir(), &mut found);
    assert!(found.iter().any(|path| path.ends_with("state.redb")), "{found:?}");
    for path in found {
        let bytes = fs::read(&path).expect("a readable file");
        clean(&path.display().to_string(), &bytes, &forms);
    }
    clean("the log", host.log().as_bytes(), &forms);
}
