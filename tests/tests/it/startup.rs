//! Starts that must not succeed: one clear error, the documented exit code, and not a byte of the
//! data directory rewritten.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use redb::{Database, TableDefinition};
use serde_json::json;
use tempfile::TempDir;

use crate::fixture::{Host, syncline};
use crate::rig::{program, refused_start, signal};

/// The data directory of a host that ran and was stopped in order.
fn stopped() -> Host {
    let mut host = Host::start(&[]);
    host.create_organization("club");
    signal(host.process_id(), "TERM");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    host
}

fn init(data_dir: &Path) -> (Option<i32>, String) {
    let data_dir = data_dir.to_string_lossy().into_owned();
    let output = program(&["init", "--json", "--data-dir", &data_dir], &[]);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The start fails with this code and these words; the stores keep every byte.
#[track_caller]
fn check(host: &Host, environment: &[(&str, &str)], code: i32, words: &[&str]) {
    let files = ["state.redb", "staging.redb", "master.key", "shred.key", "plugins.lock"];
    let bytes = || files.map(|file| fs::read(host.data_dir().join(file)).ok());
    let before = bytes();
    let (found, said) = refused_start(&host.data_dir(), environment);
    assert_eq!(found, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    assert!(said.starts_with("error: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for ((file, before), after) in files.iter().zip(before).zip(bytes()) {
        assert!(before == after, "{file} was rewritten");
    }
}

#[test]
fn a_missing_exposed_damaged_or_foreign_key_is_refused() {
    let mut host = stopped();
    let key = host.data_dir().join("master.key");
    let kept = fs::read(&key).expect("a key file");

    fs::remove_file(&key).expect("removed");
    check(&host, &[], 78, &["there is no master key", "key file"]);

    fs::write(&key, &kept).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("opened");
    check(&host, &[], 78, &["can be read by others", "chmod 600"]);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("closed");
    fs::write(&key, "syncline-key-1.nonsense\n").expect("written");
    check(&host, &[], 78, &["does not hold a master key"]);

    fs::write(&key, "").expect("written");
    check(&host, &[], 78, &["does not hold a master key"]);

    let other = TempDir::new().expect("a directory");
    let (code, said) = init(&other.path().join("data"));
    assert_eq!(code, Some(0), "{said}");
    fs::copy(other.path().join("data/master.key"), &key).expect("copied");
    check(&host, &[], 78, &["the master key does not belong to this data directory"]);

    fs::write(&key, &kept).expect("written");
    let shred = host.data_dir().join("shred.key");
    let kept_shred = fs::read(&shred).expect("a shred key");
    fs::remove_file(&shred).expect("removed");
    check(&host, &[], 78, &["there is no shred key", "same backup"]);

    fs::copy(other.path().join("data/shred.key"), &shred).expect("copied");
    check(&host, &[], 78, &["shred.key does not belong to this state.redb", "same backup"]);

    fs::write(&shred, &kept).expect("written");
    check(&host, &[], 78, &["it holds a master key and not a shred key"]);

    fs::write(&shred, &kept_shred).expect("written");
    fs::set_permissions(&shred, fs::Permissions::from_mode(0o640)).expect("opened");
    check(&host, &[], 78, &["can be read by others", "chmod 600"]);

    fs::set_permissions(&shred, fs::Permissions::from_mode(0o600)).expect("closed");
    host.restart();
    assert_eq!(host.list("/organizations").len(), 1, "with its own keys it starts");
}

/// `schema` in `meta`: a format byte, then the number.
#[test]
fn a_newer_schema_is_refused() {
    const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
    let mut host = stopped();
    let set = |number: u8| {
        let database = Database::open(host.data_dir().join("state.redb")).expect("it opens");
        let txn = database.begin_write().expect("a transaction");
        {
            let mut meta = txn.open_table(META).expect("a table");
            let old = meta.insert(&b"schema\0"[..], &[1, number][..]).expect("written");
            assert!(old.is_some(), "the schema is where it was");
        }
        txn.commit().expect("committed");
    };
    set(2);
    check(&host, &[], 78, &["schema 2", "up to 1", "use the newer program"]);
    set(1);
    host.restart();
    assert_eq!(host.list("/organizations").len(), 1);
}

#[test]
fn a_damaged_store_is_refused() {
    let host = stopped();
    let state = host.data_dir().join("state.redb");
    let kept = fs::read(&state).expect("a store");
    for (what, bytes) in [
        ("text", b"this is no database, whatever its name says".to_vec()),
        ("nothing", Vec::new()),
        ("its head", kept[..100].to_vec()),
    ] {
        fs::write(&state, &bytes).expect("written");
        let (code, said) = refused_start(&host.data_dir(), &[]);
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(said.contains("state.redb"), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        assert_eq!(fs::read(&state).expect("a store"), bytes, "{what} was rewritten");
    }
}

#[test]
fn a_second_host_on_the_same_directory_is_refused() {
    let host = Host::start(&[]);
    let (code, said) = refused_start(&host.data_dir(), &[]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("another process uses the data directory"), "{said}");
    host.create_organization("club");
    assert_eq!(host.list("/organizations").len(), 1, "the first one goes on");
}

#[test]
fn a_directory_that_was_not_prepared_is_refused() {
    let directory = TempDir::new().expect("a directory");
    for data_dir in [directory.path().join("nowhere"), directory.path().to_owned()] {
        let (code, said) = refused_start(&data_dir, &[]);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("syncline init"), "{said}");
    }
    assert_eq!(fs::read_dir(directory.path()).expect("a list").count(), 0, "nothing was made");
}

#[test]
fn init_never_overwrites() {
    let host = stopped();
    let before = fs::read(host.data_dir().join("state.redb")).expect("a store");
    let (code, said) = init(&host.data_dir());
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("holds a data directory already"), "{said}");
    assert!(before == fs::read(host.data_dir().join("state.redb")).expect("a store"));

    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "x").expect("written");
    let (code, said) = init(&file.join("data"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot use"), "{said}");
}

/// The program ends itself where its first file is about to get its name, and where it just has it.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release has no places to crash at")]
fn an_init_that_was_cut_off_is_taken_up() {
    for place in ["store:draft", "store:made"] {
        let directory = TempDir::new().expect("a directory");
        let data_dir = directory.path().join("data");
        let name = data_dir.to_string_lossy().into_owned();
        let output = program(&["init", "--data-dir", &name], &[("ABORT_SYNCLINE_AT", place)]);
        assert_eq!(output.status.code(), None, "{place}: it did not abort");
        assert_eq!(data_dir.join("state.redb").exists(), place == "store:made");
        let (_, said) = refused_start(&data_dir, &[]);
        assert!(said.contains("syncline init"), "{place}: {said}");
        let (code, said) = init(&data_dir);
        assert_eq!(code, Some(0), "{place}: {said}");
        let output = program(&["doctor", "--data-dir", &name], &[]);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("its keys are the right ones"), "{place}: {told}");
        assert_eq!(init(&data_dir).0, Some(5), "{place}: a whole one is made again");
        let files = fs::read_dir(&data_dir).expect("a list").map(|entry| entry.expect("an entry"));
        let drafts = files.filter(|file| file.file_name().to_string_lossy().ends_with(".new"));
        assert_eq!(drafts.count(), 0, "{place}: something lies about");
    }
}

#[test]
fn a_wrong_setting_is_refused() {
    let host = stopped();
    check(
        &host,
        &[("SYNCLINE_LIMITS_RUN_MINUTES_MAX", "soon")],
        78,
        &["limits.runMinutesMax", "soon"],
    );
    check(&host, &[("SYNCLINE_SYNC_STRATEGY", "")], 78, &["sync.strategy"]);
    check(&host, &[("SYNCLINE_EGRESS_ALLOW_PRIVATE", "everything")], 78, &["egress.allowPrivate"]);
    let file = host.data_dir().join("syncline.toml");
    fs::write(&file, "[limits]\nrunMinuteMax = 3\n").expect("written");
    check(&host, &[], 78, &["runMinuteMax", "runMinutesMax"]);
    fs::write(&file, "[limits\n").expect("written");
    check(&host, &[], 78, &["syncline.toml"]);
    fs::remove_file(file).expect("removed");
    fs::write(host.data_dir().join("plugins.lock"), "[[plugin]\n").expect("written");
    let (code, said) = refused_start(&host.data_dir(), &[]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("plugins.lock"), "{said}");
}

/// As a user who may read everything and write nothing.
#[test]
fn a_data_directory_that_cannot_be_written_is_refused() {
    let host = stopped();
    let data_dir = host.data_dir();
    let above = data_dir.parent().expect("a directory").to_owned();
    let files = ["state.redb", "staging.redb", "master.key", "shred.key"];
    let files = files.map(|file| data_dir.join(file));
    let root = fs::metadata(&above).expect("metadata").uid() == 0;
    let nobody = 65_534;
    if root {
        // Root may write whatever the modes say, so that the host runs as nobody.
        for path in files.iter().chain([&data_dir]) {
            std::os::unix::fs::chown(path, Some(nobody), Some(nobody)).expect("handed over");
        }
        fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).expect("opened");
    }
    for path in &files {
        fs::set_permissions(path, fs::Permissions::from_mode(0o400)).expect("closed");
    }
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o500)).expect("closed");
    let before = fs::read(&files[0]).expect("a store");
    let mut serve = syncline();
    serve.args(["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data_dir);
    serve.stdin(Stdio::null()).current_dir("/");
    if root {
        serve.uid(nobody).gid(nobody);
    }
    let output = serve.output();
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o700)).expect("opened");
    let output = match output {
        Ok(output) => output,
        // The program lies where nobody may not go: there is nothing to try.
        Err(error) => return println!("skipped: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.contains("state.redb") && said.contains("denied"), "{said}");
    assert!(before == fs::read(&files[0]).expect("a store"), "state.redb was rewritten");
}

#[test]
fn an_address_in_use_is_refused() {
    let host = stopped();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = taken.local_addr().expect("an address").to_string();
    let data_dir = host.data_dir().to_string_lossy().into_owned();
    let output = program(&["serve", "--listen", &listen, "--data-dir", &data_dir], &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {listen}")), "{said}");
}

/// The two words that every script starts with.
#[test]
fn version_and_settings_are_told_without_a_server() {
    let output = program(&["version", "--json"], &[]);
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(version, json!({"name": "syncline", "version": env!("CARGO_PKG_VERSION")}));
    let environment = [("SYNCLINE_TOKEN", "canary"), ("SYNCLINE_LIMITS_BATCH_RECORDS", "7")];
    let output = program(&["check-config", "--json"], &environment);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("canary"), "{text}");
    let settings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let rows = settings["settings"].as_array().expect("rows");
    let row = |key: &str| rows.iter().find(|row| row["key"] == key).expect("a row");
    assert_eq!(row("limits.batchRecords")["value"], 7);
    assert_eq!(row("cli.token")["value"], "[set]");
    assert!(
        row("limits.batchRecords")["origin"]
            .as_str()
            .is_some_and(|origin| origin.contains("SYNCLINE_LIMITS_BATCH_RECORDS"))
    );
    assert_eq!(
        program(&["check-config"], &[("SYNCLINE_NO_SUCH_KEY", "1")]).status.code(),
        Some(78)
    );
    assert_eq!(program(&["no-such-verb"], &[]).status.code(), Some(2));
}
