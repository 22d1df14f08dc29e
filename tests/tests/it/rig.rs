//! What the tests of faults, crashes and the command line share beyond [`crate::fixture`]: a club on
//! pages of ten with small limits, everything that a failed run must leave alone, and the program
//! started by hand.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syncline_tests::foireann::{Options, Sim};

use crate::fixture::{CLUB, Host, ORG, Setup, federation, syncline, text};

/// 11 pages of [`PAGE_ROWS`].
pub(crate) const MEMBERS: u64 = 110;
pub(crate) const PAGE_ROWS: u64 = 10;

/// Limits under which every fault shows quickly. Staged pages are written one by one.
pub(crate) const SMALL_LIMITS: &str = "
[limits]
requestAttemptsMax = 2
retryBackoffMillisMin = 1
retryBackoffMillisMax = 4
retryAfterSecondsMax = 2
requestTimeoutSecondsMax = 1
responseBytesMax = 1000000
responseHeaderBytesMax = 16384
listingPagesMax = 40
stageFlushRecords = 1
";

/// A club of generated members on pages of ten.
#[track_caller]
pub(crate) fn paged(members: u64, config: &str, connection: Value) -> Setup {
    paged_over(federation(Options::members(members)), config, connection)
}

/// The same over a simulator that is there already.
#[track_caller]
pub(crate) fn paged_over(sim: Sim, config: &str, connection: Value) -> Setup {
    let host = Host::with_config(&[sim.host_port()], config);
    host.create_organization(ORG);
    let config = json!({"config": {"pageSize": PAGE_ROWS, "requestsPerMinute": 1_000_000}});
    let connector = host.create_connector(&sim.base_url(), config);
    let connection = host.connect(ORG, &connector, CLUB, connection);
    Setup { host, sim, connector, connection }
}

/// Everything that a run without effect leaves as it was.
#[track_caller]
pub(crate) fn state(setup: &Setup) -> Value {
    json!({
        "records": setup.records(),
        "changes": setup.host.changes(ORG, 0),
        "inbox": setup.inbox(),
        "failures": setup.failures(),
    })
}

/// How many members are active.
#[track_caller]
pub(crate) fn active(setup: &Setup) -> usize {
    let path = format!("/organizations/{ORG}/records?entity=member&status=active");
    setup.host.list(&path).len()
}

/// The external ids of all records, sorted, each as often as it occurs.
#[track_caller]
pub(crate) fn external_ids(setup: &Setup) -> Vec<String> {
    let id = |record: &Value| text(&record["externalIds"], &setup.connection);
    let mut ids: Vec<String> = setup.records().iter().map(id).collect();
    ids.sort();
    ids
}

/// The ids that the simulator gives members `1..=count`.
pub(crate) fn generated_ids(count: u64) -> Vec<String> {
    let id = syncline_tests::foireann::generate::member_id;
    let mut ids: Vec<String> = (1..=count).map(id).collect();
    ids.sort();
    ids
}

/// The requests of a run as its history lists them.
#[track_caller]
pub(crate) fn requests(setup: &Setup, run: &Value) -> Vec<Value> {
    let path = format!("/sync/status/{}/requests", text(run, "syncId"));
    setup.host.list(&path)
}

/// The lines of a run's list of requests that asked for one page of the listing.
#[track_caller]
pub(crate) fn requests_of_page(setup: &Setup, run: &Value, page: u64) -> Vec<Value> {
    let ends = format!("page={page}&limit={PAGE_ROWS}");
    let of_page = |line: &Value| line["url"].as_str().is_some_and(|url| url.ends_with(&ends));
    let mut lines = requests(setup, run);
    lines.retain(of_page);
    lines
}

/// Runs the program to its end, in an environment without settings.
#[track_caller]
pub(crate) fn program<S: AsRef<OsStr>>(arguments: &[S], environment: &[(&str, &str)]) -> Output {
    syncline()
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// `serve` on a data directory where it must not start: its exit code and what it said.
#[track_caller]
pub(crate) fn refused_start(
    data_dir: &Path,
    environment: &[(&str, &str)],
) -> (Option<i32>, String) {
    let data_dir = data_dir.to_string_lossy().into_owned();
    let serve = ["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir", &data_dir];
    let begin = Instant::now();
    let output = program(&serve, environment);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.stdout.is_empty(), "it says that it listens: {said}");
    assert!(begin.elapsed() < Duration::from_secs(30), "{said}");
    (output.status.code(), said)
}

/// Sends a signal by its name.
#[track_caller]
pub(crate) fn signal(process_id: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process_id.to_string()]).status();
    assert!(sent.expect("kill starts").success(), "kill -s {name} {process_id}");
}
