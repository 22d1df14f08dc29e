//! Output, exit codes, and the verbs that need no server.

use super::*;
use crate::cli::output::table;

#[test]
fn a_list_is_a_table_for_people_and_the_answer_for_programs() {
    let answer = json!({
        "items": [{"id": "club-1", "name": "Na Fianna\u{1b}[2J", "timezone": "Europe/Dublin"}],
        "nextCursor": "abc",
    });
    let step = || vec![("GET /organizations?limit=50", 200, answer.clone())];
    let (ended, _) = against(step(), &["org", "list"], "");
    assert_eq!(ended.exit, Exit::Ok);
    assert_eq!(
        ended.out,
        "ID      NAME                TIMEZONE\n\
         club-1  Na Fianna\\u{1b}[2J  Europe/Dublin\n"
    );
    assert_eq!(ended.err, "there is more: --cursor abc\n");
    let (ended, _) = against(step(), &["org", "list", "--json"], "");
    assert_eq!(serde_json::from_str::<Value>(&ended.out).unwrap(), answer);
    let empty = vec![("GET /conflicts?organization=a&limit=5&cursor=x%26y", 200, list(json!([])))];
    let args = ["conflict", "list", "--org", "a", "--limit", "5", "--cursor", "x&y"];
    let (ended, _) = against(empty, &args, "");
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", "nothing to show\n"));
}

#[test]
fn answers_become_exit_codes_with_message_causes_and_hint() {
    let problem = |code: &str| json!({"title": "T", "detail": "It is so.", "code": code});
    let cases = [
        (400, Exit::Failed),
        (401, Exit::Permission),
        (403, Exit::Permission),
        (404, Exit::NotFound),
        (409, Exit::Conflict),
        (412, Exit::Conflict),
        (422, Exit::Failed),
        (428, Exit::Conflict),
        (429, Exit::Failed),
        (500, Exit::Failed),
    ];
    for (status, exit) in cases {
        let steps = vec![("GET /sync/status/run_1", status, problem("some.code"))];
        let (ended, _) = against(steps, &["run", "show", "run_1"], "");
        assert_eq!(ended.exit, exit, "{status}");
        assert!(ended.err.starts_with("error: It is so. (some.code)\n"), "{}", ended.err);
        assert_eq!(ended.out, "");
    }
    let detailed = json!({"title": "Not valid", "code": "body.invalid", "hint": "Look again.",
        "errors": [{"pointer": "/name", "message": "is empty"}]});
    let steps = vec![("POST /organizations", 422, detailed)];
    let (ended, _) = against(steps, &["org", "create", ""], "");
    assert_eq!(
        ended.err,
        "error: Not valid (body.invalid)\n  caused by: /name: is empty\nhint: Look again.\n"
    );
    let steps = vec![("GET /sync/status/run_1", 500, Value::Null)];
    let (ended, _) = against(steps, &["run", "show", "run_1"], "");
    assert_eq!(ended.err, "error: the server answered 500 without saying why\n");
}

/// Arguments, environment, exit and the beginning of what is said.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], Exit, &'static str);

#[test]
fn usage_configuration_and_absence_have_their_codes() {
    let cases: [Case; 9] = [
        (&["frobnicate"], &[], Exit::Usage, "error: unrecognized subcommand 'frobnicate'"),
        (&["version", "--help"], &[], Exit::Ok, ""),
        (&["sync", "member", "--ids", "1"], &[], Exit::Usage, "error: --ids needs `--mode ids`"),
        (&["conflict", "resolve", "c", "value"], &[], Exit::Usage, "error: `value` needs --value"),
        (&["run", "list", "--limit", "201"], &[], Exit::Usage, "error: invalid value '201'"),
        (&["serve"], &[], Exit::Usage, "error: no data directory\nhint: name one with --data-dir"),
        (
            &["version"],
            &[("SYNCLINE_TOKN", "x")],
            Exit::BadConfiguration,
            "error: unknown variable `SYNCLINE_TOKN` in the environment\nhint: did you mean \
             `SYNCLINE_TOKEN`?",
        ),
        (
            &["org", "list", "--server", "nowhere"],
            &[],
            Exit::BadConfiguration,
            "error: flag --server: `cli.server` is \"nowhere\", expected an http",
        ),
        (
            &["org", "list", "--server", "http://127.0.0.1:1"],
            &[],
            Exit::Unreachable,
            "error: cannot reach the server at http://127.0.0.1:1\n  caused by: ",
        ),
    ];
    for (args, environment, exit, starts) in cases {
        let ended = command(args, environment, "");
        assert_eq!(ended.exit, exit, "{args:?}: {}", ended.err);
        assert!(ended.err.starts_with(starts), "{args:?}: {}", ended.err);
    }
}

#[test]
fn check_config_and_version_need_no_server() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("syncline.toml"), "[log]\nlevel = \"debug\"\n").unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let token = [("SYNCLINE_TOKEN", "very-secret")];
    let ended = command(&["check-config", "--data-dir", data_dir], &token, "");
    assert_eq!(ended.exit, Exit::Ok);
    assert!(ended.out.contains("server.publicUrl = (unset)  (built-in)\n"), "{}", ended.out);
    assert!(ended.out.contains(&format!("log.level = \"debug\"  ({data_dir}/syncline.toml:2)\n")));
    assert!(ended.out.contains("cli.token = \"[set]\"  (env SYNCLINE_TOKEN)\n"));
    assert!(!ended.out.contains("very-secret"));
    let ended = command(&["check-config", "--json"], &[("SYNCLINE_DATA_DIR", data_dir)], "");
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    let level = answer["settings"].as_array().unwrap().iter();
    let level = level.clone().find(|row| row["key"] == "log.level").unwrap();
    assert_eq!(level["value"], "debug");
    let ended = command(&["version", "--json"], &[], "");
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn tables_align_and_cut() {
    let rows = [json!({"a": "é", "b": {"c": 1}}), json!({"a": "x".repeat(80), "b": null})];
    let lines = table(&rows, &[("A", "a"), ("C", "b.c")]);
    let cut = format!("{}…", "x".repeat(59));
    assert_eq!(lines[0], format!("A{}C", " ".repeat(61)));
    assert_eq!(lines[1], format!("é{}1", " ".repeat(61)));
    assert_eq!(lines[2], format!("{cut}  -"));
}

/// What scripts and documents call, of what is built.
const VERBS: &str = "init | serve | demo | check-config | doctor | version | completions | man | openapi | \
    plugin list | plugin install | plugin approve | plugin inspect | plugin activate | plugin reload | \
    connector list | connector create | connector update | connector credentials | connector check | \
    connector health | connector clear-errors | connector oauth start | connector oauth refresh | \
    org list | org create | org connect | org disconnect | template preview | sync | \
    run list | run show | run export | run approve | run undo | \
    conflict list | conflict show | conflict resolve | failure list | record edit | changes | \
    user create | user list | token create | token list | token delete | audit list | audit verify | \
    notify create | notify test | key status | key rotate";

#[test]
fn every_verb_that_others_rely_on_is_there() {
    for verb in VERBS.split('|') {
        let mut args: Vec<&str> = verb.split_whitespace().collect();
        args.push("--help");
        let ended = command(&args, &[], "");
        assert_eq!(ended.exit, Exit::Ok, "{verb}: {}", ended.err);
        assert!(ended.out.contains("Usage: syncline "), "{verb}: {}", ended.out);
    }
}

#[test]
fn shells_and_manuals_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = command(&["completions", shell], &[], "");
        assert_eq!(ended.exit, Exit::Ok, "{shell}: {}", ended.err);
        for word in ["destroy-credentials", "plan-hash", "check-config"] {
            assert!(ended.out.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(command(&["completions", "tcsh"], &[], "").exit, Exit::Usage);
    let ended = command(&["man"], &[], "");
    assert!(ended.out.contains(".TH syncline 1"), "{}", ended.out);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let ended = command(&["man", "--dir", at], &[], "");
    assert_eq!((ended.exit, ended.out.as_str()), (Exit::Ok, ""), "{}", ended.err);
    let page = std::fs::read_to_string(dir.path().join("syncline-connector-create.1")).unwrap();
    assert!(page.contains(".TH syncline-connector-create 1"), "{page}");
    assert!(page.contains("federation\\-code"), "{page}");
    let ended = command(&["man", "--dir", &format!("{at}/none")], &[], "");
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.starts_with("error: cannot write the pages into "), "{}", ended.err);
}
