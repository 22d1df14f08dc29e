//! The command line from end to end: every verb against a running server, its JSON and its exit
//! codes.

use std::cell::RefCell;
use std::fs;

use serde_json::{Value, json};
use syncline_tests::foireann::{Fault, Options, Rule, Sim};
use tempfile::TempDir;

use crate::fixture::{API_KEY, CLUB, Host, federation, member, syncline, text};
use crate::rig::program;

const FORMULA: &str = "=HYPERLINK(\"http://x.example\",\"Click\")";

/// Somebody at a shell: a server's address and token in the environment.
struct Shell {
    server: String,
    token: String,
    /// Everything that was printed, to look for secrets in.
    heard: RefCell<String>,
}

impl Shell {
    fn of(host: &Host) -> Shell {
        Shell {
            server: format!("http://{}", host.address()),
            token: host.token.clone(),
            heard: RefCell::default(),
        }
    }

    /// The exit code, standard output and standard error.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let environment = [
            ("SYNCLINE_SERVER", self.server.as_str()),
            ("SYNCLINE_TOKEN", self.token.as_str()),
            ("CANARY", API_KEY),
        ];
        let output = program(arguments, &environment);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(!err.contains("panicked"), "{arguments:?}: {err}");
        self.heard.borrow_mut().push_str(&format!("{out}{err}"));
        (output.status.code().expect("an exit code"), out, err)
    }

    /// The JSON of a command that must end with this code.
    #[track_caller]
    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let (found, out, err) = self.run(&all);
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        serde_json::from_str(&out).unwrap_or_else(|cause| panic!("{arguments:?}: {cause}: {out}"))
    }

    /// A command that must fail with this code and these words on standard error, and print nothing else.
    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, words: &str) {
        let (found, out, err) = self.run(arguments);
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        assert!(err.contains(words), "{arguments:?}: no {words:?} in {err}");
        assert_eq!(out, "", "{arguments:?}");
    }
}

/// A club of three whose third has a name that a spreadsheet would run.
fn club() -> Sim {
    let sim = federation(Options::members(0));
    let rows =
        [member(1, json!({})), member(2, json!({})), member(3, json!({"lastName": FORMULA}))];
    sim.set_members(CLUB, &rows);
    sim
}

/// The three commands of the README.
#[track_caller]
fn connected(shell: &Shell, sim: &Sim) {
    let made = shell.json(
        &[
            "org",
            "create",
            "Na Piarsaigh",
            "--id",
            "piarsaigh",
            "--timezone",
            "Europe/Dublin",
            "--default-region",
            "IE",
        ],
        0,
    );
    assert_eq!(made["id"], "piarsaigh", "{made:#}");
    let made = shell.json(
        &[
            "connector",
            "create",
            "--name",
            "Foireann",
            "--federation-code",
            "gaa",
            "--plugin",
            "gaa-foireann",
            "--base-url",
            &sim.base_url(),
            "--api-key-env",
            "CANARY",
        ],
        0,
    );
    assert_eq!(made["authType"], "apiKey", "{made:#}");
    assert_eq!(made["credentials"]["set"], true, "{made:#}");
    let made = shell.json(
        &[
            "org",
            "connect",
            "piarsaigh",
            "Foireann",
            "--federation-org-id",
            CLUB,
            "--strategy",
            "manual",
        ],
        0,
    );
    assert_eq!(made["federationOrgId"], CLUB, "{made:#}");
}

#[test]
fn from_nothing_to_resolved_conflicts() {
    let sim = club();
    let host = Host::start(&[sim.host_port()]);
    let shell = Shell::of(&host);
    connected(&shell, &sim);
    let first = shell.json(&["sync", "member", "--wait"], 0);
    assert_eq!(first["counts"]["created"], 3, "{first:#}");
    let id = text(&first, "syncId");

    let records = shell.json(&["record", "list", "--entity", "member", "--org", "piarsaigh"], 0);
    let of = |name: &str| {
        let rows = records["items"].as_array().expect("items");
        let row = rows.iter().find(|row| row["fields"]["lastName"] == name);
        text(row.expect("a record"), "id")
    };
    let (second, formula) = (of("Member2"), of(FORMULA));
    let edited = shell.json(&["record", "edit", &formula, "lastName==SUM(1,2)", "phone:=null"], 0);
    assert_eq!(edited["fields"]["lastName"], "=SUM(1,2)", "{edited:#}");
    assert_eq!(edited["fields"]["phone"], Value::Null, "{edited:#}");
    shell.json(&["record", "edit", &second, "firstName=Máire"], 0);
    sim.patch_member("M-3", json!({"lastName": format!("{FORMULA}2")}));
    sim.patch_member("M-2", json!({"firstName": "Maire"}));

    let (code, out, err) = shell.run(&["sync", "member", "--dry-run", "--wait"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("completed (dry run)"), "{out}");
    let run = shell.json(&["sync", "member", "--wait"], 0);
    assert_eq!(run["counts"]["conflictsHeld"], 2, "{run:#}");
    let second_id = text(&run, "syncId");

    let listed = shell.json(&["run", "list"], 0);
    let ids: Vec<&str> = listed["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|run| run["syncId"].as_str())
        .collect();
    assert_eq!((ids.first(), ids.last()), (Some(&&*second_id), Some(&&*id)), "the newest first");
    assert_eq!(shell.json(&["run", "show", &id], 0)["syncId"], id);
    let lines = shell.json(&["run", "show", &second_id, "--conflicts"], 0);
    assert_eq!(lines["items"].as_array().map(Vec::len), Some(2), "{lines:#}");
    let export = shell.json(&["run", "export", &second_id], 0);
    assert_eq!(export["conflicts"].as_array().map(Vec::len), Some(2), "{export:#}");
    guarded(&shell, &second_id);

    let inbox = shell.json(&["conflict", "list"], 0);
    let rows = inbox["items"].as_array().expect("items").clone();
    assert_eq!(rows.len(), 2, "{inbox:#}");
    let item =
        |field: &str| text(rows.iter().find(|row| row["field"] == field).expect("an item"), "id");
    let (name, first_name) = (item("lastName"), item("firstName"));
    assert_eq!(shell.json(&["conflict", "show", &name], 0)["remoteValue"], format!("{FORMULA}2"));
    shell.fails(&["conflict", "resolve", &name, "value"], 2, "--value");
    let resolved = shell.json(&["conflict", "resolve", &name, "value", "--value", "Ó Sé"], 0);
    assert_eq!(resolved["resolution"]["choice"], "value", "{resolved:#}");
    shell.json(&["conflict", "resolve", &first_name, "local"], 0);
    shell.fails(&["conflict", "resolve", &first_name, "remote"], 5, "already-decided");
    assert_eq!(shell.json(&["conflict", "list"], 0)["items"], json!([]));
    let shown = shell.json(&["record", "show", &formula], 0);
    assert_eq!(shown["fields"]["lastName"], "Ó Sé", "{shown:#}");
    let history = shell.json(&["record", "history", &formula], 0);
    assert!(history["items"].as_array().is_some_and(|rows| rows.len() >= 3), "{history:#}");
    let changes = shell.json(&["changes", "--org", "piarsaigh"], 0);
    assert!(changes["items"].as_array().is_some_and(|rows| rows.len() >= 6), "{changes:#}");
    let heard = shell.heard.borrow();
    assert!(!heard.contains(API_KEY) && !heard.contains(&shell.token), "a secret was printed");
}

/// In the CSV no cell is a formula, also where quotes hide its begin.
#[track_caller]
fn guarded(shell: &Shell, run: &str) {
    let (code, csv, err) = shell.run(&["run", "export", run, "--format", "csv"]);
    assert_eq!(code, 0, "{err}");
    assert!(csv.contains("\"'=HYPERLINK(\"\"http://x.example\"\""), "{csv}");
    assert!(csv.contains("'=SUM(1,2)"), "{csv}");
    assert_eq!(csv.lines().count(), 3, "{csv}");
    for cell in csv.lines().flat_map(|line| line.split(',')) {
        assert!(!cell.trim_start_matches('"').starts_with('='), "{cell} in {csv}");
    }
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("run.csv");
    let (code, out, err) =
        shell.run(&["run", "export", run, "--format", "csv", "--output", &file.to_string_lossy()]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert_eq!(fs::read_to_string(file).expect("a file"), csv);
}

#[test]
fn exit_codes_tell_scripts_how_it_went() {
    let sim = club();
    let host = Host::with_config(&[sim.host_port()], "[limits]\nrequestAttemptsMax = 1\n");
    let shell = Shell::of(&host);
    shell.fails(&["sync", "member", "--wait"], 4, "");
    connected(&shell, &sim);
    shell.json(&["sync", "member", "--wait"], 0);

    let mut nameless = member(4, json!({}));
    nameless["lastName"] = json!("");
    sim.add_members(CLUB, &[nameless]);
    let run = shell.json(&["sync", "member", "--wait"], 3);
    assert_eq!(run["counts"]["quarantined"], 1, "{run:#}");
    let failures = shell.json(&["failure", "list"], 0);
    assert_eq!(failures["items"][0]["externalId"], "M-4", "{failures:#}");

    sim.fault(Rule::any(Fault::status(503)));
    let run = shell.json(&["sync", "member", "--wait"], 1);
    assert_eq!(run["errors"][0]["code"], "remote.unavailable", "{run:#}");
    let (code, out, err) = shell.run(&["sync", "member", "--wait"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("failed") && err.contains("page 1"), "{out}{err}");
    let check = shell.json(&["connector", "check", "Foireann"], 1);
    assert_eq!(check["ok"], false, "{check:#}");
    sim.clear_faults();
    assert_eq!(shell.json(&["connector", "check", "Foireann"], 0)["ok"], true);
    let joined = shell.json(&["sync", "member", "--wait"], 3);
    assert_eq!((&joined["syncId"], &joined["attempt"]), (&run["syncId"], &json!(3)), "{joined:#}");

    shell.fails(
        &["sync", "member", "--org", "nobody", "--connector", "Foireann"],
        4,
        "organization",
    );
    shell.fails(&["sync", "member", "--connector", "nobody"], 4, "nobody");
    shell.fails(&["sync", "dragon"], 4, "dragon");
    shell.fails(&["run", "show", "run_999"], 4, "run_999");
    shell.fails(&["org", "connect", "piarsaigh", "Foireann", "--federation-org-id", CLUB], 5, "");
    shell.fails(&["org", "create", "Twice", "--id", "piarsaigh"], 5, "");
    shell.fails(&["sync"], 2, "ENTITY");
    shell.fails(&["sync", "member", "--ids", "M-1"], 2, "--mode ids");
    shell.fails(&["sync", "member", "--server", "http://127.0.0.1:1"], 69, "127.0.0.1:1");
    shell.fails(&["run", "list", "--token", "wrong"], 77, "token");
    let directory = TempDir::new().expect("a directory");
    let config = directory.path().join("syncline.toml");
    fs::write(&config, "[limits]\nbatchRecord = 5\n").expect("written");
    shell.fails(&["run", "list", "--config", &config.to_string_lossy()], 78, "batchRecords");
    let (code, out, _) =
        shell.run(&["sync", "member", "--mode", "ids", "--ids", "M-1,M-2", "--wait", "--json"]);
    let run: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &run["counts"]["fetched"]), (0, &json!(2)), "{run:#}");
    let shown = shell.json(&["sync", "member"], 0);
    let ended = host.ended(&text(&shown, "syncId"));
    assert_eq!(ended["status"], "completed", "{ended:#}");
}

/// Every reading verb, as a table for people and as JSON for programs.
#[test]
fn every_reading_verb_speaks_both_ways() {
    let sim = club();
    let host = Host::start(&[sim.host_port()]);
    let shell = Shell::of(&host);
    connected(&shell, &sim);
    let run = text(&shell.json(&["sync", "member", "--wait"], 0), "syncId");
    let verbs: [&[&str]; 14] = [
        &["version"],
        &["check-config"],
        &["plugin", "list"],
        &["org", "list"],
        &["org", "show", "piarsaigh"],
        &["org", "connections", "piarsaigh"],
        &["connector", "list"],
        &["connector", "show", "Foireann"],
        &["connector", "health", "Foireann"],
        &["run", "list"],
        &["run", "show", &run],
        &["record", "list", "--entity", "member"],
        &["conflict", "list"],
        &["failure", "list"],
    ];
    for verb in verbs {
        let answer = shell.json(verb, 0);
        assert!(answer.is_object(), "{verb:?}: {answer}");
        let (code, out, err) = shell.run(verb);
        assert_eq!(code, 0, "{verb:?}: {err}");
        let empty = answer["items"] == json!([]);
        assert!(
            if empty { err.contains("nothing to show") } else { !out.trim().is_empty() },
            "{verb:?}: {out}{err}"
        );
        assert!(
            serde_json::from_str::<Value>(&out).is_err() || out.trim().is_empty(),
            "{verb:?}: {out}"
        );
    }
    let disconnected = shell.json(&["org", "disconnect", "piarsaigh", "Foireann"], 0);
    assert_eq!(disconnected["disconnected"], true, "{disconnected:#}");
    assert_eq!(
        shell.json(&["record", "list", "--entity", "member"], 0)["items"].as_array().map(Vec::len),
        Some(3)
    );
    let deleted = shell.json(&["connector", "delete", "Foireann"], 0);
    assert_eq!(deleted["status"], "inactive", "{deleted:#}");
    let heard = shell.heard.borrow();
    assert!(!heard.contains(API_KEY) && !heard.contains(&shell.token), "a secret was printed");
}

/// As in `syncline plugin list | head -0`.
#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let host = Host::start(&[]);
    let mut child = syncline()
        .args(["plugin", "list", "--json", "--server", &format!("http://{}", host.address())])
        .env("SYNCLINE_TOKEN", &host.token)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*said), (Some(0), ""));
}
