//! `doctor`: what it finds in an installation that is well and in one that is not, with a server and without.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Rule};
use tempfile::TempDir;

use crate::fixture::{Host, Setup, members};
use crate::rig::{program, signal};

/// Nobody listens here.
const NOWHERE: &str = "http://127.0.0.1:1";

/// The exit code and the checks by their names.
#[track_caller]
fn doctor(data_dir: Option<&Path>, environment: &[(&str, &str)]) -> (i32, Value) {
    let data_dir = data_dir.map(|dir| dir.to_string_lossy().into_owned());
    let mut arguments = vec!["doctor", "--json"];
    if let Some(dir) = &data_dir {
        arguments.extend(["--data-dir", dir]);
    }
    let output = program(&arguments, environment);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{cause}: {said}"));
    let code = output.status.code().expect("an exit code");
    assert_eq!(report["ok"], json!(code == 0), "{report:#}");
    let rows = report["checks"].as_array().expect("checks").clone();
    let named = rows.into_iter().map(|row| {
        let name = row["check"].as_str().expect("a name").to_owned();
        (name, row)
    });
    (code, Value::Object(named.collect()))
}

#[track_caller]
fn check(found: &Value, name: &str, state: &str, words: &str) {
    let row = &found[name];
    assert_eq!(row["state"], state, "{name}: {found:#}");
    let said = format!("{} {}", row["message"], row["hint"]);
    assert!(said.contains(words), "no {words:?} in {said}");
}

/// Every file below a directory with its bytes.
fn everything(dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            everything(&path, into);
        } else {
            into.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
    into.sort();
}

#[test]
fn an_installation_that_rests_is_looked_at_and_not_touched() {
    let mut host = Host::start(&[]);
    signal(host.process_id(), "TERM");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    let dir = host.data_dir();
    let down = [("SYNCLINE_SERVER", NOWHERE)];
    let look = || doctor(Some(&dir), &down);
    let bytes = || {
        let mut files = Vec::new();
        everything(&dir, &mut files);
        files
    };
    let before = bytes();
    let (code, found) = look();
    assert_eq!(code, 0, "{found:#}");
    for name in ["settings", "data directory", "keys", "store", "plugins", "requests", "disk"] {
        assert_ne!(found[name]["state"], "failed", "{found:#}");
    }
    check(&found, "store", "ok", "its keys are the right ones");
    check(&found, "server", "warning", "syncline serve");
    assert!(bytes() == before, "something was written");

    let key = dir.join("master.key");
    let kept = fs::read(&key).expect("a key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("opened");
    let (code, found) = look();
    assert_eq!(code, 1, "{found:#}");
    check(&found, "keys", "failed", "chmod 600");
    let other = Host::start(&[]);
    fs::copy(other.data_dir().join("master.key"), &key).expect("another key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("closed");
    let (code, found) = look();
    assert_eq!(code, 1, "{found:#}");
    check(&found, "keys", "ok", "master.key");
    check(&found, "store", "failed", "does not belong to this data directory");
    fs::write(&key, kept).expect("written");

    let plugins = dir.join("plugins");
    fs::create_dir_all(&plugins).expect("a directory");
    fs::write(plugins.join("noise.wasm"), "no component").expect("written");
    let (code, found) = look();
    assert_eq!(code, 0, "{found:#}");
    check(&found, "plugins", "warning", "noise.wasm is rejected");
}

#[test]
fn a_running_server_tells_what_needs_somebody() {
    let setup = Setup::with(&members(1), json!({}), json!({}));
    let server = format!("http://{}", setup.host.address());
    let token = [("SYNCLINE_SERVER", &*server), ("SYNCLINE_TOKEN", &*setup.host.token)];
    let dir = setup.host.data_dir();
    let (code, found) = doctor(Some(&dir), &token);
    assert_eq!(code, 0, "{found:#}");
    check(&found, "store", "ok", "in use by a server");
    check(&found, "server", "ok", "platformAdmin");
    check(&found, "connectors", "ok", "none is disabled");

    setup.sim.fault(Rule::any(Fault::status(401)));
    for _ in 0..5 {
        setup.sync();
    }
    let (code, found) = doctor(None, &token);
    assert_eq!(code, 0, "{found:#}");
    check(&found, "connectors", "warning", "clear-errors");

    let (code, found) = doctor(None, &[("SYNCLINE_SERVER", &server)]);
    assert_eq!(code, 0, "{found:#}");
    check(&found, "server", "ok", "SYNCLINE_TOKEN");
    let wrong = [("SYNCLINE_SERVER", &*server), ("SYNCLINE_TOKEN", "wrong")];
    let (code, found) = doctor(None, &wrong);
    assert_eq!(code, 1, "{found:#}");
    check(&found, "server", "failed", "valid token");
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let (code, found) = doctor(None, &[("SYNCLINE_SERVER", NOWHERE)]);
    assert_eq!(code, 1, "{found:#}");
    check(&found, "server", "failed", "cannot reach the server");
    let empty = TempDir::new().expect("a directory");
    let (code, found) = doctor(Some(empty.path()), &[("SYNCLINE_SERVER", NOWHERE)]);
    assert_eq!(code, 1, "{found:#}");
    check(&found, "data directory", "failed", "syncline init");
}
