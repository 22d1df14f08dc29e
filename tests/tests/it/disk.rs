//! A disk that runs full and has room again, as a person and a program meet it. How much is free is stated by the test:
//! a debug build reads it from a file.

use std::fs;

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Options, Rule};

use crate::fixture::{CLUB, Host, ORG, federation, text};
use crate::notify;

const MIB: u64 = 1 << 20;
const LOOK_EVERY_SECOND: &str = "
[disk]
lookSeconds = 1
[notify]
digestSeconds = 1
retrySecondsMin = 1
retrySecondsMax = 2
";

struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Room {
        let room = Room(tempfile::TempDir::new().expect("a temporary directory"));
        room.state(10_000);
        room
    }

    /// What is free from now on. Replaced in one step, so that no half of it is read.
    fn state(&self, mebibytes: u64) {
        let (new, file) = (self.0.path().join("new"), self.0.path().join("free"));
        fs::write(&new, (mebibytes * MIB).to_string()).expect("a file");
        fs::rename(new, file).expect("a file");
    }

    #[track_caller]
    fn host(&self, allowed: &[String]) -> Host {
        let mut host = Host::with_config(allowed, LOOK_EVERY_SECOND);
        let file = self.0.path().join("free").display().to_string();
        host.restart_in(&[("FREE_BYTES_FOR_SYNCLINE", &file)]);
        host
    }
}

#[test]
fn a_full_disk_refuses_changes_and_heals_without_a_restart() {
    let (room, sim) = (Room::new(), federation(Options::members(30)));
    let host = room.host(&[sim.host_port()]);
    host.create_organization(ORG);
    let connector = host.create_connector(&sim.base_url(), json!({}));
    host.connect(ORG, &connector, CLUB, json!({}));
    // A run that waits for an answer when the disk fills up; one that still waits to begin would go on waiting.
    sim.fault(Rule::any(Fault::Delay { ms: 2_000 }));
    let run = text(&host.ask(ORG, &connector, json!({})), "syncId");
    host.run_when(&run, "to run", |run| run["status"] == "running");
    room.state(100);
    let body = json!({"id": "other", "name": "Other"});
    let refused = host.send("POST", "/organizations", &[], &body);
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("60"));
    let problem: Value = serde_json::from_slice(&refused.body).expect("a problem");
    assert_eq!(problem["code"], "disk.full");
    assert_eq!(host.get("/organizations")["items"].as_array().map(Vec::len), Some(1));
    let ended = host.ended(&run);
    assert_eq!(ended["errors"][0]["code"], "disk.full", "it ends before it writes more: {ended:#}");
    assert!(host.records(ORG).is_empty(), "and has no effect");
    let sync = host.send("POST", "/sync/member", &[], &json!({}));
    assert_eq!(sync.status, 503, "a sync is a change too");
    room.state(10_000);
    sim.clear_faults();
    host.call("POST", "/organizations", &body, 201);
    let run = host.sync(ORG, &connector, json!({}));
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(host.records(ORG).len(), 30);
}

#[test]
fn low_full_and_recovered_are_told_once_each_over_restarts_too() {
    let Some(python) = notify::python() else { return };
    let (room, sink) = (Room::new(), notify::Sink::receiver(&python));
    let mut host = room.host(&[sink.host_port()]);
    notify::webhook(&host, &sink);
    let last = |count: usize| {
        let got = sink.wait_for(&host, count);
        assert_eq!(got.len(), count, "{got:#?}");
        let data = notify::data(&got[count - 1]);
        assert_eq!(data["count"], 1, "{data:#}");
        data["events"][0].clone()
    };
    room.state(900);
    let low = last(1);
    assert_eq!(low["kind"], "diskLow", "{low:#}");
    assert!(text(&low["facts"], "reason").starts_with("900 MiB"), "{low:#}");
    room.state(200);
    let full = last(2);
    assert_eq!((&full["kind"], &full["facts"]["code"]), (&json!("diskLow"), &json!("disk.full")));
    // A message that was on its way at the restart would come again.
    notify::settled(&host);
    let file = room.0.path().join("free").display().to_string();
    host.restart_in(&[("FREE_BYTES_FOR_SYNCLINE", &file)]);
    // Neither the restart nor what is only a little above the mark tells anything.
    room.state(1_050);
    host.until("/connectors", "to be read after two looks", {
        let begun = std::time::Instant::now();
        move |_| begun.elapsed().as_millis() > 2_200
    });
    room.state(5_000);
    let got = sink.wait_for(&host, 3);
    let data = notify::data(&got[2]);
    assert_eq!(data["events"][0]["kind"], "diskRecovered", "{data:#}");
    assert_eq!(notify::settled(&host).len(), 3);
}
