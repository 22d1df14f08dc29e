//! The real binary on a disk that answers with errors: the kernel's answer to a write or a sync is replaced under the
//! running process. It must end over it, keep what it acknowledged, and go on at its next start.
//!
//! Wants `strace` and the right to trace a process of one's own; the trials of `syncline_tests::trials` fail every single
//! write of a store without either.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::http::{Connection, Request};

use crate::fixture::{CLUB, ORG, Setup, text};
use crate::rig::{SMALL_LIMITS, external_ids, generated_ids, paged};

const DEADLINE: Duration = Duration::from_secs(60);
const NEW_MEMBERS: u64 = 20;

/// A tracer that answers for the kernel; it ends with its process, or when this is dropped.
struct Faults(Child);

impl Faults {
    /// Fails a call of every thread of a process, counted by thread: `3` the third one, `3+` that and all behind it. None
    /// where this may not be done here.
    fn inject(process: u32, call: &str, when: &str) -> Option<Faults> {
        let started = Command::new("strace")
            .args(["-f", "-e", &format!("trace={call}"), "-o", "/dev/null"])
            .args(["-e", &format!("inject={call}:error=EIO:when={when}")])
            .args(["-p", &process.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut tracer = started.ok()?;
        let mut said = String::new();
        BufReader::new(tracer.stderr.take()?).read_line(&mut said).ok()?;
        let faults = Faults(tracer);
        if said.contains("attached") {
            return Some(faults);
        }
        println!("SKIPPED, no process can be traced here: {said}");
        None
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An answer, unless the host ends over the request.
fn answer(setup: &Setup, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let (target, bearer) = (format!("/api/v1{path}"), format!("Bearer {}", setup.host.token));
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("If-Match", "*"),
    ];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request { method, target: &target, headers: &headers, body: body.as_bytes() };
    let answer = Connection::open(setup.host.address()).ok()?.send(&request).ok()?;
    Some((answer.status, serde_json::from_slice(&answer.body).ok()?))
}

/// Waits for the end of the run, or of the host: whether it was the host's.
#[track_caller]
fn host_ends(setup: &Setup, run: &str) -> bool {
    let (begun, path) = (Instant::now(), format!("/sync/status/{run}"));
    while let Some((_, now)) = answer(setup, "GET", &path, &Value::Null) {
        if now["status"] != "queued" && now["status"] != "running" {
            return false;
        }
        assert!(begun.elapsed() < DEADLINE, "{now:#}\n{}", setup.host.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn an_error_of_the_disk_ends_the_host_and_costs_nothing_that_was_acknowledged() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: strace is not installed");
        return;
    }
    let mut setup = paged(NEW_MEMBERS, SMALL_LIMITS, json!({}));
    setup.synced();
    let record = text(&setup.record("GAA-000001"), "id");
    let record = format!("/organizations/{ORG}/records/{record}");
    let writes = ["1", "2", "3", "5", "8", "13", "21", "34", "1+", "4+", "16+"];
    let syncs = ["1", "2", "3", "5", "1+"];
    let cases = writes.map(|when| ("pwrite64", when)).into_iter();
    let cases: Vec<_> = cases.chain(syncs.map(|when| ("fdatasync", when))).collect();
    let mut hit = 0;
    for (round, (call, when)) in (1_u64..).zip(&cases) {
        let what = format!("{call} {when}");
        setup.host.restart();
        let members = NEW_MEMBERS * (round + 1);
        setup.sim.generate(CLUB, members, 1);
        let Some(faults) = Faults::inject(setup.host.process_id(), call, when) else { return };
        // An edit, and a sync.
        let phone = format!("085 {round:04}");
        let edited = answer(&setup, "PATCH", &record, &json!({"fields": {"phone": phone}}));
        let wish = json!({"organizationId": ORG, "connectorId": setup.connector, "mode": "full"});
        let asked = answer(&setup, "POST", "/sync/member", &wish);
        let ended = asked.as_ref().is_none_or(|(_, run)| host_ends(&setup, &text(run, "syncId")));
        if ended {
            let status = setup.host.wait();
            assert!(!status.success(), "{what}: {status}\n{}", setup.host.log());
            hit += 1;
        }
        drop(faults);
        setup.host.restart();
        if edited.is_some_and(|(status, _)| status == 200) {
            let now = setup.host.get(&record);
            assert_eq!(now["fields"]["phone"], json!(phone), "{what}: an edit is lost: {now:#}");
        }
        let run = match asked {
            Some((202, run)) => setup.host.ended(&text(&run, "syncId")),
            _ => setup.sync(),
        };
        assert_eq!(run["status"], "completed", "{what}: {run:#}\n{}", setup.host.log());
        assert_eq!(external_ids(&setup), generated_ids(members), "{what}");
    }
    println!("{hit} of {} cases ended the host", cases.len());
    assert!(hit * 3 >= cases.len() * 2, "only {hit} of {} cases met a write", cases.len());
}
