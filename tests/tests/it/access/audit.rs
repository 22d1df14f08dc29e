//! The audit log from outside: what entries say, who reads them, and that a changed file is found out.

use std::fs;

use serde_json::{Value, json};

use super::world::{token, with_token};
use crate::fixture::Host;
use crate::rig::{program, signal};

#[test]
fn an_entry_says_who_did_what_to_which_row() {
    let host = Host::start(&[]);
    host.create_organization("north");
    let answer = host.send(
        "PATCH",
        "/organizations/north",
        &[("If-Match", "*")],
        &json!({"name": "The North", "timezone": "Europe/Paris"}),
    );
    let entries = host.list("/audit");
    let entry = &entries[0];
    assert_eq!(entry["action"], "updateOrganization", "{entry:#}");
    assert_eq!(entry["target"], "north");
    assert_eq!(entry["organizationId"], "north");
    assert_eq!(entry["actor"], json!({"kind": "token", "id": "tok_1", "name": "admin"}));
    assert_eq!(entry["address"], "127.0.0.1");
    assert_eq!(entry["before"], json!({"name": "north", "timezone": "Europe/Dublin"}));
    assert_eq!(entry["after"], json!({"name": "The North", "timezone": "Europe/Paris"}));
    assert_eq!(entry["requestId"].as_str(), answer.header("x-request-id"));
    assert_eq!(entries[1]["action"], "createOrganization");
}

#[test]
fn entries_are_filtered_and_paged() {
    let host = Host::start(&[]);
    for org in ["a", "b", "c", "d", "e"] {
        host.create_organization(org);
    }
    token(&host, "viewer", Some("a"));
    assert_eq!(host.list("/audit").len(), 6);
    assert_eq!(host.list("/audit?action=createToken").len(), 1);
    assert_eq!(host.list("/audit?organization=a").len(), 2);
    assert_eq!(host.list("/audit?actor=tok_1").len(), 6);
    assert_eq!(host.list("/audit?actor=nobody").len(), 0);
    assert_eq!(host.list("/audit?since=2020-01-01T00:00:00Z").len(), 6);
    assert_eq!(host.list("/audit?since=2999-01-01T00:00:00Z").len(), 0);
    host.call("GET", "/audit?since=yesterday", &Value::Null, 422);
    host.call("GET", "/audit?organisation=a", &Value::Null, 422);
    let mut seen = Vec::new();
    let mut path = "/audit?limit=4".to_owned();
    loop {
        let page = host.get(&path);
        let items = page["items"].as_array().expect("items");
        seen.extend(items.iter().map(|row| row["seq"].as_u64().expect("a number")));
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/audit?limit=4&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, [6, 5, 4, 3, 2, 1]);
}

#[test]
fn the_log_outlives_the_process_and_is_closed_to_viewers() {
    let mut host = Host::start(&[]);
    host.create_organization("north");
    let before = host.get("/audit/verify");
    host.kill();
    host.restart();
    assert_eq!(host.get("/audit/verify"), before);
    let viewer = token(&host, "viewer", Some("north"));
    let admin = token(&host, "orgAdmin", Some("north"));
    let status =
        |token: &str, path: &str| with_token(&host, token, "GET", path, &Value::Null).status;
    assert_eq!((status(&viewer, "/audit"), status(&admin, "/audit")), (403, 200));
    assert_eq!(status(&admin, "/audit/verify"), 403);
}

/// Somebody edits the file of a stopped server: in the text of an entry, one letter.
#[test]
fn a_changed_entry_in_the_file_is_named() {
    let mut host = Host::start(&[]);
    for org in ["one", "canary-organization", "three"] {
        host.create_organization(org);
    }
    signal(host.process_id(), "TERM");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    let path = host.data_dir().join("state.redb");
    let mut bytes = fs::read(&path).expect("the store");
    let old = br#""action":"createOrganization","target":"canary-organization""#;
    let new = br#""action":"createOrganization","target":"canary-organizatiom""#;
    let mut places = 0;
    for at in 0..bytes.len() - old.len() {
        if &bytes[at..at + old.len()] == old {
            bytes[at..at + new.len()].copy_from_slice(new);
            places += 1;
        }
    }
    assert!(places > 0, "the entry is not in the file as it is written");
    fs::write(&path, bytes).expect("the store");
    host.restart();
    let verdict = host.get("/audit/verify");
    assert_eq!(
        (&verdict["ok"], &verdict["firstBad"]["seq"]),
        (&json!(false), &json!(2)),
        "{verdict:#}"
    );
    assert_eq!(verdict["entries"], 1);
    let server = format!("http://{}", host.address());
    let environment = [("SYNCLINE_SERVER", server.as_str()), ("SYNCLINE_TOKEN", &host.token)];
    let output = program(&["audit", "verify"], &environment);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("entry 2"), "{said}");
}
