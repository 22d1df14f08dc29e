//! The keys of a running host: the master key is changed while runs go on and the process is killed
//! under it; credentials are destroyed so that nothing opens them again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use syncline_tests::foireann::{Options, Sim};
use syncline_tests::http::{Connection, Request};

use crate::fixture::{API_KEY, CLUB, Host, ORG, Setup, federation, text};
use crate::rig::{program, refused_start, signal};

/// More than two of the transactions in which sealed values come under a new key.
const CONNECTORS: usize = 280;

/// A host with this many connectors, of which the first is connected to the club.
fn many(connectors: usize, config: &str) -> Setup {
    let sim: Sim = federation(Options::members(20));
    let host = Host::with_config(&[sim.host_port()], config);
    host.create_organization(ORG);
    let connector = host.create_connector(&sim.base_url(), json!({}));
    let connection = host.connect(ORG, &connector, CLUB, json!({}));
    for number in 1..connectors {
        host.create_connector(&sim.base_url(), json!({"name": format!("number {number}")}));
    }
    Setup { host, sim, connector, connection }
}

/// The lines of a key file, newest first.
fn lines(data_dir: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(data_dir.join(file)).expect("a key file");
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// What the server says of its secrets when there are so many credentials: all of them, and the key of the bodies that
/// webhooks bring, lie under the current key.
fn sealed(credentials: usize) -> Value {
    let total = credentials + 1;
    json!({"total": total, "underCurrent": total})
}

#[track_caller]
fn settled(setup: &Setup) -> Value {
    setup.host.until("/keys", "to be changed", |keys| keys["rotating"] == false)
}

#[test]
fn the_master_key_is_changed_while_runs_go_on() {
    let mut setup = many(CONNECTORS, "");
    let data_dir = setup.host.data_dir();
    let before = setup.host.get("/keys");
    assert_eq!(before["sealed"], sealed(CONNECTORS));
    assert_eq!((&before["rotating"], &before["source"]), (&json!(false), &json!("file")));
    let old = fs::read(data_dir.join("master.key")).expect("a key file");
    for round in 1..=3 {
        let run = text(&setup.host.ask(ORG, &setup.connector, json!({})), "syncId");
        let begun = setup.host.call("POST", "/keys/rotate", &json!({}), 202);
        assert_ne!(begun["keyId"], before["keyId"], "the answer comes with the new key in use");
        let ended = setup.host.ended(&run);
        assert_eq!(ended["status"], "completed", "round {round}: {ended:#}");
        let after = settled(&setup);
        assert_eq!(after["sealed"], before["sealed"], "round {round}");
        assert_eq!(after["keyId"], begun["keyId"]);
        assert!(after["createdAt"].is_string());
        setup.synced();
    }
    let now = lines(&data_dir, "master.key");
    assert_eq!(now.len(), 1, "the old key left the file");
    setup.host.restart();
    setup.synced();
    // The key of before is of no use any more, and the start says which one is wanted.
    signal(setup.host.process_id(), "TERM");
    setup.host.wait();
    fs::write(data_dir.join("master.key"), old).expect("written");
    let (code, said) = refused_start(&data_dir, &[]);
    let wanted = now[0].split('.').nth(1).expect("an id");
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("does not belong to this data directory") && said.contains(wanted),
        "{said}"
    );
}

/// Ends the process at each step of a change, of either key, as a power cut would.
#[test]
fn an_end_at_each_step_of_a_change_loses_nothing() {
    let mut setup = many(CONNECTORS, "");
    let data_dir = setup.host.data_dir();
    let mut total = CONNECTORS;
    for step in ["written", "admitted", "adopted", "rewrapped", "settled"] {
        for file in ["master.key", "shred.key"] {
            let before = lines(&data_dir, file);
            let place = format!("keys:{step}");
            setup.host.restart_in(&[("ABORT_SYNCLINE_AT", &place)]);
            let (method, path) = match file {
                "master.key" => ("POST", "/keys/rotate".to_owned()),
                _ => {
                    let rows = setup.host.list("/connectors");
                    let last = rows.iter().rfind(|row| row["credentials"]["set"] == true);
                    let id = text(last.expect("a connector with credentials"), "id");
                    total -= 1;
                    ("DELETE", format!("/connectors/{id}/credentials"))
                }
            };
            // The answer may come before the end, or never.
            setup.host.send_and_forget(method, &path);
            setup.host.wait();
            let kept = lines(&data_dir, file);
            assert_eq!(kept.len(), 2, "{step} of {file}: both keys are in the file");
            assert_eq!(kept[1], before[0], "{step} of {file}: the new key comes first");
            setup.host.restart();
            let after = settled(&setup);
            assert_eq!(after["sealed"], sealed(total), "{step}");
            setup.host.until("/keys", "to be written", |_| lines(&data_dir, file).len() == 1);
            let left = lines(&data_dir, file);
            assert_ne!(left[0], before[0], "{step} of {file}: the old key is gone");
            // A shred key that came too early for its deletion makes way for another one.
            if file == "master.key" {
                assert_eq!(left, kept[..1], "{step}: the change went on");
            }
            setup.synced();
        }
    }
}

#[test]
fn a_kill_at_any_moment_of_a_change_loses_nothing() {
    let mut setup = many(CONNECTORS, "");
    let data_dir = setup.host.data_dir();
    let mut moments = Vec::new();
    for round in 0..14_u64 {
        let before = text(&setup.host.get("/keys"), "keyId");
        std::thread::scope(|scope| {
            let host = &setup.host;
            // Killed before it answers, as likely as not.
            let asking = scope.spawn(move || host.send_and_forget("POST", "/keys/rotate"));
            // Busy, so that the moments lie closer together than a timer's ticks.
            let (at, wait) = (Instant::now(), Duration::from_micros(300 * round * round));
            while at.elapsed() < wait {
                std::hint::spin_loop();
            }
            signal(host.process_id(), "KILL");
            asking.join().expect("joined");
        });
        let in_file = lines(&data_dir, "master.key").len();
        setup.host.restart();
        let after = settled(&setup);
        moments.push((in_file, text(&after, "keyId") != before));
        assert_eq!(after["sealed"], sealed(CONNECTORS));
        assert_eq!(lines(&data_dir, "master.key").len(), 1, "{moments:?}");
        let run = setup.sync();
        assert_eq!(run["status"], "completed", "{moments:?}: {run:#}\n{}", setup.host.log());
        for entry in fs::read_dir(&data_dir).expect("a directory") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            assert!(!name.ends_with(".next") && !name.ends_with(".spent"), "{name} lies about");
        }
    }
    println!("lines in the key file at the kill, and whether the key is another: {moments:?}");
}

/// Whatever the moment, the change comes to its end and is in the audit log.
#[test]
fn a_caller_that_hangs_up_cuts_off_no_change() {
    let setup = many(3, "");
    let authorization = format!("Bearer {}", setup.host.token);
    let headers = [("Authorization", authorization.as_str())];
    let target = "/api/v1/keys/rotate";
    let request = Request { method: "POST", target, headers: &headers, body: b"" };
    let first = text(&setup.host.get("/keys"), "keyId");
    for round in 0..24_u64 {
        let mut connection = Connection::open(setup.host.address()).expect("a connection");
        connection.write(&request).expect("the request is sent");
        let (at, wait) = (Instant::now(), Duration::from_micros(200 * round));
        while at.elapsed() < wait {
            std::hint::spin_loop();
        }
        drop(connection);
        let now = text(&settled(&setup), "keyId");
        let logged = setup.host.list("/audit?action=rotateKey");
        let is_told = now == first || logged.iter().any(|entry| entry["target"] == now.as_str());
        assert!(is_told, "round {round}: {now} is in use and not among {logged:#?}");
    }
    assert_eq!(setup.host.get("/keys")["sealed"], sealed(3));
}

#[test]
fn a_key_that_the_administrator_keeps_is_changed_by_a_second_line() {
    let mut setup = many(3, "");
    let data_dir = setup.host.data_dir();
    // What a service manager would hand in: the file that `init` made, somewhere else.
    let credentials = tempfile::TempDir::new().expect("a directory");
    let credential = credentials.path().join("master.key");
    let old = fs::read_to_string(data_dir.join("master.key")).expect("a key file");
    fs::rename(data_dir.join("master.key"), &credential).expect("moved");
    let directory = credentials.path().to_string_lossy().into_owned();
    let environment = [("CREDENTIALS_DIRECTORY", directory.as_str())];
    setup.host.restart_in(&environment);
    let refused = setup.host.call("POST", "/keys/rotate", &json!({}), 409);
    assert_eq!(refused["code"], "key.not-ours");
    assert!(text(&refused, "detail").contains("key generate"), "{refused:#}");
    let new = program(&["key", "generate"], &[]);
    let new = String::from_utf8(new.stdout).expect("a line");
    fs::write(&credential, format!("{new}{old}")).expect("written");
    setup.host.restart_in(&environment);
    let after = settled(&setup);
    assert_eq!(after["keyId"], new.split('.').nth(1).expect("an id"), "{after:#}");
    assert_eq!(after["spareKeys"], 1, "the old line may go: {after:#}");
    setup.synced();
    fs::write(&credential, &new).expect("written");
    setup.host.restart_in(&environment);
    setup.synced();
    setup.host.kill();
    fs::write(&credential, &old).expect("written");
    let (code, said) = refused_start(&data_dir, &environment);
    assert_eq!(code, Some(78), "{said}");
    // From the environment too, with a warning.
    setup.host.restart_in(&[("SYNCLINE_MASTER_KEY", new.trim())]);
    setup.synced();
    assert!(setup.host.log().contains("prefer a file or a credential"), "{}", setup.host.log());
}

/// Every file of the data directory.
fn holds(data_dir: &Path, part: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let bytes = fs::read(&path).expect("a readable file");
            if bytes.windows(part.len()).any(|seen| seen == part) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn destroyed_credentials_are_gone_and_the_others_stay() {
    let setup = many(3, "");
    let data_dir = setup.host.data_dir();
    let gone = setup.host.list("/connectors")[1].clone();
    let path = format!("/connectors/{}", text(&gone, "id"));
    setup.host.create_organization("other");
    setup.host.connect("other", &text(&gone, "id"), CLUB, json!({}));
    let old = lines(&data_dir, "shred.key");
    let old_key = old[0].rsplit('.').next().expect("a key").to_owned();
    assert_eq!(holds(&data_dir, old_key.as_bytes()).len(), 1);
    setup.host.call("DELETE", &format!("{path}/credentials"), &Value::Null, 204);
    assert_eq!(setup.host.get(&path)["credentials"], json!({"set": false, "updatedAt": null}));
    let now = lines(&data_dir, "shred.key");
    assert!(now.len() == 1 && now != old, "the shred key is another one");
    let raw = URL_SAFE_NO_PAD.decode(&old_key).expect("base64");
    for part in [old_key.as_bytes(), &raw] {
        assert_eq!(holds(&data_dir, part), Vec::<String>::new(), "the old shred key is gone");
    }
    let check = setup.host.call("POST", &format!("{path}/check"), &json!({}), 200);
    assert_eq!(check["error"]["code"], "connector.credentials", "{check:#}");
    setup.synced();
    assert_eq!(setup.host.get("/keys")["sealed"], sealed(2));
    // They can be set again.
    let credentials = json!({"apiKey": API_KEY});
    setup.host.call("PUT", &format!("{path}/credentials"), &credentials, 200);
    let check = setup.host.call("POST", &format!("{path}/check"), &json!({}), 200);
    assert_eq!(check["ok"], true, "{check:#}");
    setup.host.call("DELETE", "/connectors/con_99/credentials", &Value::Null, 404);
}

#[test]
fn credentials_of_a_deleted_connector_are_kept_for_a_while_and_then_destroyed() {
    for (days, kept) in [(1, true), (0, false)] {
        let mut setup = many(3, &format!("[retention]\ncredentialsDays = {days}\n"));
        let rows = setup.host.list("/connectors");
        let (deleted, switched_off) = (text(&rows[1], "id"), text(&rows[2], "id"));
        let deleted = format!("/connectors/{deleted}");
        setup.host.change("DELETE", &deleted, &Value::Null, 204);
        assert!(setup.host.get(&deleted)["deletedAt"].is_string());
        let off = json!({"status": "inactive"});
        setup.host.call("POST", &format!("/connectors/{switched_off}/status"), &off, 200);
        assert_eq!(setup.host.get(&deleted)["credentials"]["set"], true, "not at once");
        let shred = lines(&setup.host.data_dir(), "shred.key");
        setup.host.restart();
        if kept {
            setup.synced();
            assert_eq!(setup.host.get(&deleted)["credentials"]["set"], true);
        } else {
            let gone = |row: &Value| row["credentials"]["set"] == false;
            setup.host.until(&deleted, "to lose its credentials", gone);
            let total = |keys: &Value| keys["sealed"] == sealed(2) && keys["rotating"] == false;
            setup.host.until("/keys", "to be changed", total);
            setup.synced();
        }
        let changed = lines(&setup.host.data_dir(), "shred.key") != shred;
        assert_eq!(changed, !kept, "the shred key changes when something was destroyed");
        let off = setup.host.get(&format!("/connectors/{switched_off}"));
        assert_eq!(off["credentials"]["set"], true, "switched off is not deleted");
    }
}

#[test]
fn credentials_of_an_ended_connection_are_destroyed_unless_it_is_connected_again() {
    let mut setup = many(1, "[retention]\ncredentialsDays = 0\n");
    setup.host.create_organization("revived");
    let connect = |host: &Host| host.connect("revived", &setup.connector, "revived", json!({}));
    let revived = connect(&setup.host);
    let own = |org: &str, id: &str| format!("/organizations/{org}/connections/{id}");
    let paths = [own(ORG, &setup.connection), own("revived", &revived)];
    let credentials = json!({"apiKey": API_KEY});
    for path in &paths {
        setup.host.call("PUT", &format!("{path}/credentials"), &credentials, 200);
        setup.host.change("DELETE", path, &Value::Null, 204);
        assert_eq!(setup.host.get(path)["credentials"]["set"], true, "not at once");
    }
    assert_eq!(connect(&setup.host), revived, "the same connection");
    setup.host.restart();
    let gone = |row: &Value| row["credentials"]["set"] == false;
    setup.host.until(&paths[0], "to lose its credentials", gone);
    let two = |keys: &Value| keys["sealed"] == sealed(2) && keys["rotating"] == false;
    setup.host.until("/keys", "to be changed", two);
    assert_eq!(setup.host.get(&paths[1])["credentials"]["set"], true, "in use again");
    // What is destroyed with the connector's are those of ended connections too.
    setup.host.change("DELETE", &paths[1], &Value::Null, 204);
    let all = format!("/connectors/{}/credentials", setup.connector);
    setup.host.call("DELETE", &all, &Value::Null, 204);
    assert_eq!(setup.host.get("/keys")["sealed"], sealed(0));
}

#[test]
fn the_command_line_shows_and_changes_keys() {
    let setup = many(2, "");
    let server = format!("http://{}", setup.host.address());
    let environment = [("SYNCLINE_SERVER", server.as_str()), ("SYNCLINE_TOKEN", &setup.host.token)];
    let json = |arguments: &[&str]| -> Value {
        let output = program(arguments, &environment);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let before = json(&["key", "status", "--json"]);
    let begun = json(&["key", "rotate", "--json"]);
    assert_ne!(before["keyId"], begun["keyId"]);
    settled(&setup);
    let destroyed = json(&["connector", "destroy-credentials", "number 1", "--json"]);
    assert_eq!(destroyed["credentials"], "destroyed");
    assert_eq!(json(&["key", "status", "--json"])["sealed"], sealed(1));
}
