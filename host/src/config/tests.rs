use super::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsString;

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

/// Loads a file's text and some variables; errors and hints have the directory cut out.
fn load_text(file: &str, environment: &[(&str, &str)]) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), file).unwrap();
    let sources = Sources {
        data_dir: Some(dir.path().to_owned()),
        environment: variables(environment),
        ..Sources::default()
    };
    load(&sources).map_err(|error| {
        let hint = error.hint().map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{error}{hint}").replace(&format!("{}/", dir.path().display()), "")
    })
}

fn row(loaded: &Loaded, key: &str) -> Row {
    loaded.rows().into_iter().find(|row| row.key == key).unwrap()
}

#[track_caller]
fn check(file: &str, environment: &[(&str, &str)], key: &str, value: Value, origin: &str) {
    let loaded = load_text(file, environment).unwrap();
    let row = row(&loaded, key);
    assert_eq!(row.value, value);
    let shown = row.origin.to_string();
    assert!(shown.ends_with(origin), "{shown} should end with {origin}");
}

#[track_caller]
fn check_error(file: &str, environment: &[(&str, &str)], expect: &str) {
    assert_eq!(load_text(file, environment).unwrap_err(), expect);
}

#[test]
fn later_sources_win() {
    let max = "limits.runConcurrencyMax";
    let file = "[log]\nlevel = \"debug\"\n\n[limits]\nrunConcurrencyMax = 7\n";
    let environment = [("SYNCLINE_LIMITS_RUN_CONCURRENCY_MAX", "9")];
    check("", &[], max, json!(5), "built-in");
    check(file, &[], max, json!(7), "syncline.toml:5");
    check(file, &[], "log.level", json!("debug"), "syncline.toml:2");
    check(file, &environment, max, json!(9), "env SYNCLINE_LIMITS_RUN_CONCURRENCY_MAX");

    let flag = Flag { flag: "--runs", key: max, value: "11".to_owned() };
    let sources =
        Sources { environment: variables(&environment), flags: vec![flag], ..Sources::default() };
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.limits.run_concurrency_max, 11);
    assert_eq!(row(&loaded, max).origin, Origin::Flag("--runs"));
}

#[test]
fn values_reach_their_fields() {
    let file = r#"
        server.listen = "[::1]:0"
        [egress]
        allowPrivate = ["127.0.0.1:8081", "10.0.0.0/8", "[fd00::1]:80", "fc00::/7", "shop.lan:443"]
        [plugins]
        dir = "/opt/plugins"
        [limits]
        pageBytesMax = 0x10_0000
        [cli]
        server = "https://sync.example.org/base/"
    "#;
    let config = load_text(file, &[("SYNCLINE_TOKEN", "secret-1"), ("PATH", "/bin")]).unwrap();
    let config = config.config;
    assert_eq!(config.server.listen.to_string(), "[::1]:0");
    assert_eq!(config.egress.allow_private.len(), 5);
    assert_eq!(config.limits.page_bytes_max, 1 << 20);
    assert_eq!(config.cli.server, "https://sync.example.org/base");
    assert_eq!(config.cli.token.as_deref(), Some("secret-1"));
    assert_eq!(config.plugins_dir(Path::new("/data")), Path::new("/opt/plugins"));
    assert_eq!(Config::default().plugins_dir(Path::new("/data")), Path::new("/data/plugins"));
    assert_eq!(Config::default().key_file(Path::new("/data")), Path::new("/data/master.key"));
}

#[test]
fn lists_come_with_commas_in_variables() {
    let name = "SYNCLINE_EGRESS_ALLOW_PRIVATE";
    let key = "egress.allowPrivate";
    let two = json!(["127.0.0.1:8081", "10.0.0.0/8"]);
    check("", &[(name, "127.0.0.1:8081, 10.0.0.0/8")], key, two, name);
    check("[egress]\nallowPrivate = [\"a:1\"]", &[(name, "")], key, json!([]), name);
}

#[test]
fn unknown_names_are_errors_with_a_suggestion() {
    let cases = [
        (
            "[limits]\nrunConcurencyMax = 1",
            "syncline.toml:2: unknown setting `limits.runConcurencyMax` \
             | did you mean `limits.runConcurrencyMax`?",
        ),
        (
            "[sync]\nrunConcurrencyMax = 1",
            "syncline.toml:2: unknown setting `sync.runConcurrencyMax` \
             | did you mean `limits.runConcurrencyMax`?",
        ),
        (
            "[limit]\nrunConcurrencyMax = 1",
            "syncline.toml:1: unknown setting `limit` | did you mean `[limits]`?",
        ),
        (
            "\nlisten = \"127.0.0.1:1\"",
            "syncline.toml:2: unknown setting `listen` | did you mean `server.listen`?",
        ),
        ("log = 1", "syncline.toml:1: unknown setting `log` | did you mean `[log]`?"),
        (
            "[limits]\nrun_concurrency_max = 1",
            "syncline.toml:2: unknown setting `limits.run_concurrency_max` \
             | did you mean `limits.runConcurrencyMax`?",
        ),
        (
            "[zebra]\n",
            "syncline.toml:1: unknown setting `zebra` \
             | `syncline check-config` lists every setting",
        ),
    ];
    for (file, expect) in cases {
        check_error(file, &[], expect);
    }
    check_error(
        "",
        &[("SYNCLINE_EGRES_ALLOW_PRIVATE", "x")],
        "unknown variable `SYNCLINE_EGRES_ALLOW_PRIVATE` in the environment \
         | did you mean `SYNCLINE_EGRESS_ALLOW_PRIVATE`?",
    );
    check_error(
        "",
        &[("SYNCLINE_SOMETHING_ELSE_ALTOGETHER", "x")],
        "unknown variable `SYNCLINE_SOMETHING_ELSE_ALTOGETHER` in the environment | variables \
         that start with SYNCLINE_ are settings; `syncline check-config` lists them",
    );
}

#[test]
fn wrong_values_say_key_found_and_expected() {
    let number = "`limits.runConcurrencyMax` is";
    let range = "expected a whole number from 1 to 64";
    let target = "expected `host:port` or CIDR, such as \"127.0.0.1:8081\" or \"10.0.0.0/8\"";
    let url = "expected an http or https address without user, query or fragment";
    let cases = [
        ("[limits]\nrunConcurrencyMax = \"5\"", format!("{number} \"5\", {range}")),
        ("[limits]\nrunConcurrencyMax = 0", format!("{number} 0, {range}")),
        ("[limits]\nrunConcurrencyMax = 65", format!("{number} 65, {range}")),
        ("[limits]\nrunConcurrencyMax = -1", format!("{number} -1, {range}")),
        ("[limits]\nrunConcurrencyMax = 1.5", format!("{number} a float, {range}")),
        ("[limits]\nrunConcurrencyMax = [1]", format!("{number} a list, {range}")),
        (
            "[egress]\nallowPrivate = \"10.0.0.0/8\"",
            "`egress.allowPrivate` is \"10.0.0.0/8\", expected a list of texts".to_owned(),
        ),
        (
            "[egress]\nallowPrivate = [\"10.0.0.1\"]",
            format!("`egress.allowPrivate` is \"10.0.0.1\", {target}"),
        ),
        (
            "[egress]\nallowPrivate = [\"10.0.0.0/33\"]",
            format!("`egress.allowPrivate` is \"10.0.0.0/33\", {target}"),
        ),
        (
            "[egress]\nallowPrivate = [\"http://a:1\"]",
            format!("`egress.allowPrivate` is \"http://a:1\", {target}"),
        ),
        (
            "[log]\nlevel = \"loud\"",
            "`log.level` is \"loud\", expected one of error, warn, info, debug, trace".to_owned(),
        ),
        (
            "[server]\nlisten = \"8420\"",
            "`server.listen` is \"8420\", expected an address and port such as \"127.0.0.1:8420\""
                .to_owned(),
        ),
        ("[server]\npublicUrl = \"ftp://a\"", format!("`server.publicUrl` is \"ftp://a\", {url}")),
        (
            "[server]\npublicUrl = \"https://u@a\"",
            format!("`server.publicUrl` is \"https://u@a\", {url}"),
        ),
    ];
    for (file, expect) in cases {
        check_error(file, &[], &format!("syncline.toml:2: {expect}"));
    }
    check_error(
        "",
        &[("SYNCLINE_LIMITS_RUN_CONCURRENCY_MAX", "many")],
        &format!("env SYNCLINE_LIMITS_RUN_CONCURRENCY_MAX: {number} \"many\", {range}"),
    );
    check_error(
        "[sync]\npartialPercentMin = 90",
        &[],
        "`sync.partialPercentMin` (90) is above `sync.completedPercentMin` (80) \
         | lower `sync.partialPercentMin` or raise `sync.completedPercentMin`",
    );
}

#[test]
fn broken_files_are_named_with_the_line() {
    let error = load_text("[log]\nlevel = \n", &[]).unwrap_err();
    assert!(error.starts_with("syncline.toml:2: "), "{error}");
    let error = load_text("[log]\nlevel = \"info\"\nlevel = \"warn\"\n", &[]).unwrap_err();
    assert!(error.starts_with("syncline.toml:3: "), "{error}");
    let error = load_text(&"#".repeat(FILE_BYTES_MAX as usize + 1), &[]).unwrap_err();
    assert_eq!(error, "the configuration file syncline.toml is larger than 1048576 bytes");

    let missing = Sources { file: Some("/nowhere/at/all.toml".into()), ..Sources::default() };
    let error = load(&missing).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration file /nowhere/at/all.toml");
    let empty = tempfile::tempdir().unwrap();
    let absent = Sources { data_dir: Some(empty.path().to_owned()), ..Sources::default() };
    assert_eq!(load(&absent).unwrap().config, Config::default());
}

#[test]
fn secrets_are_never_shown() {
    let secret = "s3cr3t-value";
    let loaded = load_text(&format!("[cli]\ntoken = \"{secret}\""), &[]).unwrap();
    assert_eq!(row(&loaded, "cli.token").value, json!("[set]"));
    let wrong = load_text("", &[("SYNCLINE_TOKEN", "s3cr3t value")]).unwrap_err();
    assert!(!wrong.contains("s3cr3t"), "{wrong}");
    let wrong = load_text("[cli]\ntoken = 12345", &[]).unwrap_err();
    assert!(!wrong.contains("12345"), "{wrong}");
}

#[test]
fn every_default_is_in_its_own_range() {
    for row in load_text("", &[]).unwrap().rows() {
        let key = KEYS.iter().find(|key| key.name == row.key).unwrap();
        let text = match &row.value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                assert!(items.is_empty());
                continue;
            }
            other => other.to_string(),
        };
        let loaded = load_text("", &[(&key.variable(), &text)]).unwrap();
        assert_eq!(loaded.config, Config::default(), "{}", key.name);
    }
}

#[test]
fn every_key_sets_a_field_of_its_own() {
    for key in KEYS {
        let other = match key.value(&Config::default()) {
            Value::Number(number) => {
                let number = number.as_u64().unwrap();
                if number > 1 { number - 1 } else { number + 1 }.to_string()
            }
            _ => match key.name {
                "server.listen" => "127.0.0.1:9".to_owned(),
                "server.publicUrl" | "cli.server" => "https://a.example".to_owned(),
                "egress.allowPrivate" => "a:1".to_owned(),
                "log.level" => "warn".to_owned(),
                "log.format" => "json".to_owned(),
                _ => "other".to_owned(),
            },
        };
        let loaded = load_text("", &[(&key.variable(), &other)]).unwrap();
        let changed: Vec<&str> = loaded
            .rows()
            .into_iter()
            .filter(|row| {
                let key = KEYS.iter().find(|key| key.name == row.key).unwrap();
                row.value != key.value(&Config::default())
            })
            .map(|row| row.key)
            .collect();
        assert_eq!(changed, [key.name]);
    }
}

#[test]
fn names_and_variables_are_unique() {
    let names: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    let variables: BTreeSet<String> = KEYS.iter().map(Key::variable).collect();
    assert_eq!(names.len(), KEYS.len());
    assert_eq!(variables.len(), KEYS.len());
    assert!(variables.contains("SYNCLINE_SERVER") && variables.contains("SYNCLINE_SERVER_LISTEN"));
}

/// One line per key: the documentation must hold exactly these.
fn documented(key: &Key) -> String {
    let default = match key.value(&Config::default()) {
        Value::Null => "unset".to_owned(),
        Value::String(text) => format!("`\"{text}\"`"),
        other => format!("`{other}`"),
    };
    let range = match key.value(&Config::default()) {
        Value::Number(_) => key.expected().replace("a whole number from ", ""),
        _ => String::new(),
    };
    format!("| `{}` | {default} | {range} | {} |", key.name, key.help).replace("|  |", "| |")
}

#[test]
fn the_documentation_lists_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let missing: Vec<String> = KEYS
        .iter()
        .map(documented)
        .filter(|line| !page.lines().any(|written| written == line))
        .collect();
    assert!(missing.is_empty(), "put into docs/configuration.md:\n{}", missing.join("\n"));
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.contains('.')).count();
    assert_eq!(rows, KEYS.len(), "docs/configuration.md lists a key that does not exist");
}
