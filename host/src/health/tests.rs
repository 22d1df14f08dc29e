//! The rules of health on a store, with time set by hand.

use super::*;
use crate::model::directory::Connection;
use crate::model::run::Counts;
use crate::model::{ConnectionId, RunId, Trigger};
use crate::store::Store;
use crate::test_rows;

const CONNECTOR: ConnectorId = ConnectorId(1);
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// Noon of some day.
const BEGIN: i64 = 20_000 * DAY + 12 * 60 * MINUTE;

struct Rig {
    _directory: tempfile::TempDir,
    store: Store,
    options: Options,
}

impl Rig {
    fn new() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(directory.path(), &store::Options::default()).unwrap();
        let rig = Rig { _directory: directory, store, options: Options::default() };
        rig.write(|txn| {
            directory::put_connector(txn, &test_rows::connector())?;
            (1..=2).try_for_each(|id| directory::put_connection(txn, &connection(id)))
        });
        rig
    }

    fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&Txn) -> Result<T, store::Error> + Send + 'static,
    ) -> T {
        self.store.write_blocking(write).unwrap()
    }

    /// A run of a connection that ended so.
    fn run(&self, connection: u32, at: i64, status: RunStatus, code: Option<&str>) {
        self.run_as(connection, at, status, code, false, false);
    }

    fn run_as(
        &self,
        connection: u32,
        at: i64,
        status: RunStatus,
        code: Option<&str>,
        dry_run: bool,
        own: bool,
    ) {
        let run = Run { dry_run, ..run(connection, at, status, code) };
        let options = self.options;
        self.write(move |txn| note_run(txn, &run, own, &options));
    }

    fn fail(&self, connection: u32, at: i64, code: &str) {
        self.run(connection, at, RunStatus::Failed, Some(code));
    }

    fn status(&self) -> ConnectorStatus {
        directory::connector(&self.store.read().unwrap(), CONNECTOR).unwrap().unwrap().status
    }

    fn failures_of(&self, connection: u32) -> u32 {
        let whose = Whose(CONNECTOR, Some(ConnectionId(connection)));
        health::get(&self.store.read().unwrap(), whose).unwrap().consecutive_failures
    }

    fn report(&self, connection: Option<u32>, now: i64) -> Report {
        let read = self.store.read().unwrap();
        report(&read, CONNECTOR, connection.map(ConnectionId), BEGIN - 10 * DAY, now).unwrap()
    }

    fn due(&self, now: i64) -> Vec<(ConnectorId, i64)> {
        due_probes(&self.store.read().unwrap(), now).unwrap()
    }

    fn probe(&self, tripped_at: i64, found: Result<(), (String, String)>, now: i64) -> bool {
        let options = self.options;
        self.write(move |txn| note_probe(txn, CONNECTOR, tripped_at, &found, &options, now))
    }
}

fn connection(id: u32) -> Connection {
    Connection { enabled_at: BEGIN, ..test_rows::connection(id) }
}

fn run(connection: u32, at: i64, status: RunStatus, code: Option<&str>) -> Run {
    let error = |code: &str| RunError {
        code: code.to_owned(),
        message: format!("page 3: {code}"),
        page: Some(3),
        record_id: None,
        at: String::new(),
    };
    Run {
        id: RunId(1),
        organization: format!("org-{connection}"),
        connector: CONNECTOR,
        connection: ConnectionId(connection),
        requests: Vec::new(),
        trigger: Trigger::Manual,
        dry_run: false,
        status,
        counts: Counts::default(),
        errors: code.map(error).into_iter().collect(),
        errors_more: 0,
        strategy: String::new(),
        plugin: None,
        template: None,
        strategies: Vec::new(),
        plan_hash: None,
        waited_millis: 0,
        held_reason: None,
        listing_complete: None,
        attempt: 1,
        next_retry_at: None,
        retry_count: 0,
        max_retries: 0,
        job: None,
        superseded_by: None,
        created_at: at,
        started_at: Some(at),
        completed_at: Some(at),
        requested_by: String::new(),
        undone_by: None,
        undone_at: None,
        details_gone_at: None,
        pages: 0,
        page_starts: Vec::new(),
        phases: Vec::new(),
    }
}

#[test]
fn the_fifth_fault_disables_whatever_connection_it_came_by() {
    let rig = Rig::new();
    for fault in 0..4 {
        rig.fail(1 + fault % 2, BEGIN + i64::from(fault), "remote.unavailable");
        assert_eq!(rig.status(), ConnectorStatus::Active, "after {} faults", fault + 1);
    }
    rig.fail(1, BEGIN + 10, "remote.auth");
    assert_eq!(rig.status(), ConnectorStatus::Error);
    let report = rig.report(None, BEGIN + 20);
    assert_eq!(report.state.consecutive_failures, 5);
    let kinds: Vec<LineKind> = report.lines.iter().map(|line| line.kind).collect();
    assert!(kinds.contains(&LineKind::Disabled) && kinds.len() == 6, "{kinds:?}");
    assert!(report.lines.iter().any(|line| line.page == Some(3) && line.fault));
    assert_eq!((rig.failures_of(1), rig.failures_of(2)), (3, 2));
}

#[test]
fn only_faults_of_the_connector_count_against_it() {
    for code in [
        "remote.not-found",
        "run.too-few-valid",
        "run.too-few-applied",
        "remote.rate-limited",
        "run.commit",
    ] {
        let rig = Rig::new();
        for fault in 0..9 {
            rig.fail(1, BEGIN + fault, code);
        }
        assert_eq!(rig.status(), ConnectorStatus::Active, "{code}");
        assert_eq!(rig.report(None, BEGIN + 20).state.consecutive_failures, 0, "{code}");
        assert_eq!((rig.failures_of(1), rig.failures_of(2)), (9, 0), "{code}");
    }
    // A refused login does, unless it was with credentials of the connection's own.
    for code in
        ["remote.auth", "oauth.client-refused", "oauth.needs-reauth", "oauth.not-authorized"]
    {
        for own in [true, false] {
            let rig = Rig::new();
            for fault in 0..9 {
                rig.run_as(1, BEGIN + fault, RunStatus::NeedsReauth, Some(code), false, own);
            }
            let wanted = if own { ConnectorStatus::Active } else { ConnectorStatus::Error };
            assert_eq!(rig.status(), wanted, "{code}, own: {own}");
        }
    }
    // Where a platform gives no tokens, all wait for the same one.
    assert_eq!(class("oauth.unavailable", true), Class::Connector);
}

#[test]
fn a_good_run_begins_the_count_anew_and_organizations_data_does_not() {
    let rig = Rig::new();
    for fault in 0..4 {
        rig.fail(1, BEGIN + fault, "plugin.timeout");
    }
    rig.run(2, BEGIN + 5, RunStatus::Partial, None);
    rig.fail(1, BEGIN + 6, "remote.bad-response");
    assert_eq!(rig.status(), ConnectorStatus::Active);
    assert_eq!(rig.failures_of(1), 5, "another organization's luck does not hide its failures");
    for fault in 0..3 {
        rig.fail(1, BEGIN + 7 + fault, "remote.bad-response");
        rig.fail(2, BEGIN + 7 + fault, "remote.not-found");
    }
    assert_eq!(rig.status(), ConnectorStatus::Active);
    rig.fail(1, BEGIN + 20, "remote.bad-response");
    assert_eq!(rig.status(), ConnectorStatus::Error);
}

#[test]
fn dry_held_and_cancelled_runs_say_nothing() {
    let rig = Rig::new();
    rig.run_as(1, BEGIN, RunStatus::Failed, Some("remote.unavailable"), true, false);
    rig.run(1, BEGIN, RunStatus::Held, None);
    rig.run(1, BEGIN, RunStatus::Cancelled, Some("run.cancelled"));
    let report = rig.report(None, BEGIN + 1);
    assert_eq!((report.success_rate, report.runs.bad, report.lines.len()), (None, 0, 0));
}

#[test]
fn rates_cover_thirty_days_and_no_more() {
    let rig = Rig::new();
    rig.run(1, BEGIN, RunStatus::Completed, None);
    rig.run(1, BEGIN, RunStatus::Completed, None);
    rig.fail(2, BEGIN + DAY, "remote.not-found");
    let report = rig.report(None, BEGIN + DAY);
    assert_eq!((report.success_rate, report.error_rate), (Some(66.7), Some(33.3)));
    assert_eq!(rig.report(Some(1), BEGIN + DAY).success_rate, Some(100.0));
    assert_eq!(rig.report(Some(2), BEGIN + DAY).success_rate, Some(0.0));
    assert_eq!(rig.report(None, BEGIN + 29 * DAY).success_rate, Some(66.7));
    assert_eq!(rig.report(None, BEGIN + 30 * DAY).success_rate, Some(0.0), "the first day is out");
    assert_eq!(rig.report(None, BEGIN + 31 * DAY).success_rate, None);
    assert_eq!(report.uptime, 100.0);
}

#[test]
fn the_error_log_keeps_the_newest_hundred() {
    let rig = Rig::new();
    for at in 0..130 {
        rig.fail(1, BEGIN + at, "remote.not-found");
    }
    let read = rig.store.read().unwrap();
    let lines = health::lines(&read, Whose(CONNECTOR, None), 1000).unwrap();
    assert_eq!(lines.len(), health::LINES_MAX);
    assert_eq!((lines[0].at, lines[99].at), (BEGIN + 129, BEGIN + 30));
}

fn tripped(rig: &Rig, at: i64) {
    for _ in 0..5 {
        rig.fail(1, at, "remote.unavailable");
    }
    assert_eq!(rig.status(), ConnectorStatus::Error);
}

#[test]
fn probes_wait_a_quarter_of_an_hour_then_twice_as_long_each_time() {
    let rig = Rig::new();
    tripped(&rig, BEGIN);
    let sick = || Err(("remote.unavailable".to_owned(), "still down".to_owned()));
    let mut now = BEGIN;
    for minutes in [15, 30, 60, 120, 240, 360, 360] {
        assert_eq!(rig.due(now + minutes * MINUTE - 1), [], "{minutes} minutes");
        now += minutes * MINUTE;
        assert_eq!(rig.due(now), [(CONNECTOR, BEGIN)], "{minutes} minutes");
        assert!(!rig.probe(BEGIN, sick(), now));
    }
    assert!(rig.probe(BEGIN, Ok(()), now));
    assert_eq!(rig.status(), ConnectorStatus::Active);
    assert_eq!(rig.due(i64::MAX), [], "nothing is left to probe");
    let report = rig.report(None, now);
    assert_eq!(report.lines[0].kind, LineKind::Recovered);
    assert_eq!(report.state.consecutive_failures, 0);
    // 1,185 minutes of the 10 days and 1,185 minutes since `BEGIN - 10 * DAY`.
    assert_eq!(report.uptime, 92.4);
    assert_eq!(rig.report(None, now + DAY).uptime, 93.0);
}

#[test]
fn no_probe_runs_at_start_up() {
    let rig = Rig::new();
    tripped(&rig, BEGIN);
    let options = rig.options;
    // Down while the probe fell due.
    let start = BEGIN + 60 * MINUTE;
    rig.write(move |txn| defer_probes(txn, &options, start));
    assert_eq!(rig.due(start), []);
    assert_eq!(rig.due(start + 15 * MINUTE), [(CONNECTOR, BEGIN)]);
    // A restart before it is due leaves it where it is.
    rig.write(move |txn| defer_probes(txn, &options, start + MINUTE));
    assert_eq!(rig.due(start + 15 * MINUTE), [(CONNECTOR, BEGIN)]);
}

#[test]
fn a_person_clears_and_a_late_probe_or_run_changes_nothing() {
    let rig = Rig::new();
    tripped(&rig, BEGIN);
    rig.run(2, BEGIN + 1, RunStatus::Completed, None);
    assert_eq!(rig.status(), ConnectorStatus::Error, "a run that began before does not heal it");
    rig.write(|txn| {
        let mut row = directory::connector(txn, CONNECTOR)?.unwrap();
        clear(txn, &mut row, "admin", BEGIN + MINUTE)?;
        directory::put_connector(txn, &row)
    });
    assert_eq!(rig.status(), ConnectorStatus::Active);
    assert_eq!((rig.failures_of(1), rig.due(i64::MAX)), (0, vec![]));
    assert!(!rig.probe(BEGIN, Ok(()), BEGIN + 20 * MINUTE), "it was overtaken");
    tripped(&rig, BEGIN + 30 * MINUTE);
    let late = Err(("remote.unavailable".to_owned(), "down".to_owned()));
    assert!(!rig.probe(BEGIN, late, BEGIN + 31 * MINUTE));
    assert_eq!(rig.due(BEGIN + 45 * MINUTE), [(CONNECTOR, BEGIN + 30 * MINUTE)]);
}
