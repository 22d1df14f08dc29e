//! What each trial begins with: a data directory after a first sync, and a federation that has changed since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use syncline::app::StartOptions;
use syncline::config::Config;
use syncline::store::{self, Store, consistency};
use tempfile::TempDir;

use super::api::{Api, text};
use super::hooks;
use super::server::{self, Server};
use crate::foireann::generate::member_id;
use crate::foireann::local::Local;
use crate::foireann::server::{Auth, Settings};

pub const ORG: &str = "club";
pub const CLUB: &str = "club-1";
/// An organization that asks for nothing: deliveries of webhooks tell of its members.
pub const HOOKED_ORG: &str = "hooked";
pub const HOOKED_CLUB: &str = "club-2";
/// Numbers of its members.
pub const HOOKED_MEMBERS: std::ops::Range<u64> = 501..513;
const API_KEY: &str = "key-of-the-trials";
/// Members of the first sync.
pub const MEMBERS: u64 = 12;
const PAGE_ROWS: u64 = 5;
/// How long a run may take before a trial gives up on it.
pub const RUN_MAX: Duration = Duration::from_secs(120);
pub const POLL: Duration = Duration::from_millis(5);

/// The first member of those that the federation has added, changed and taken away since the first sync.
pub const CHANGED: [(u64, &str, &str); 3] =
    [(1, "email", "new@example.ie"), (2, "firstName", "Theirs"), (3, "lastName", "Theirs")];
pub const GONE: u64 = 12;
pub const ADDED: [u64; 2] = [13, 14];

/// A directory to copy, and the federation that it was synced from.
pub struct Stage {
    directory: TempDir,
    pub federation: Local,
    pub config: Config,
    pub token: String,
    pub connector: String,
    pub connection: String,
    /// Record ids by the ids of the federation.
    pub records: BTreeMap<String, String>,
}

impl Stage {
    pub fn make(seed: u64) -> anyhow::Result<Stage> {
        let federation = federation(MEMBERS, seed)?;
        let directory = TempDir::new()?;
        let mut config = Config::default();
        config.server.listen.set_port(0);
        config.egress.allow_private = vec![federation.host_port()];
        // Each page is staged by itself, so that there is more to interrupt.
        config.limits.stage_flush_records = 1;
        config.limits.caller_requests_per_minute_max = 1_000_000;
        let data = directory.path().join("data");
        let token = server::init(&config, &data)?;
        let server = Server::start(&config, &data, &token, StartOptions::default())?;
        let api = server.api.clone();
        let (connector, connection) = connect(&api, &federation)?;
        for org in [ORG, HOOKED_ORG] {
            let run = sync(&api, org, &connector)?;
            ensure!(run["status"] == "completed", "the first sync of {org}: {run:#}");
        }
        let mut records = BTreeMap::new();
        for record in all_records(&api)? {
            records.insert(text(&record["externalIds"], &connection)?, text(&record, "id")?);
        }
        server.stop();
        for (number, field, value) in CHANGED {
            federation.patch(&member_id(number), &json!({field: value}))?;
        }
        federation.delete(&member_id(GONE))?;
        federation.add(CLUB, ADDED[0], ADDED[1])?;
        federation
            .patch(&member_id(HOOKED_MEMBERS.start), &json!({"firstName": hooks::named(1)}))?;
        Ok(Stage { directory, federation, config, token, connector, connection, records })
    }

    /// A copy of the data directory. What components were compiled to is shared.
    pub fn copy(&self) -> anyhow::Result<TempDir> {
        let (from, to) = (self.directory.path().join("data"), TempDir::new()?);
        for entry in std::fs::read_dir(&from)? {
            let entry = entry?;
            let target = to.path().join(entry.file_name());
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), target)?;
            } else {
                std::os::unix::fs::symlink(entry.path(), target)?;
            }
        }
        Ok(to)
    }

    pub fn record(&self, number: u64) -> anyhow::Result<&str> {
        let id = member_id(number);
        self.records.get(&id).map(String::as_str).with_context(|| format!("no record of {id}"))
    }
}

/// A federation with two clubs of generated members: one of as many, and the one that deliveries tell of.
pub fn federation(members: u64, seed: u64) -> anyhow::Result<Local> {
    let federation = Local::start(Settings {
        clubs: vec![CLUB.to_owned()],
        members,
        seed,
        page_size_max: 1000,
        base_path: String::new(),
        auth: Auth::ApiKey(API_KEY.to_owned()),
        csv: crate::foireann::members_csv::CsvStyle::default(),
        clock_skew_s: 0,
    })?;
    let members = HOOKED_MEMBERS.end - HOOKED_MEMBERS.start;
    federation.world().roster.generate(HOOKED_CLUB, members, HOOKED_MEMBERS.start);
    Ok(federation)
}

/// Makes the organizations, a connector for the federation and its connections: the ids of the connector and of the
/// connection of [`ORG`].
pub fn connect(api: &Api, federation: &Local) -> anyhow::Result<(String, String)> {
    for org in [ORG, HOOKED_ORG] {
        let organization = json!({
            "id": org, "name": org, "timezone": "Europe/Dublin", "defaultRegion": "IE",
        });
        api.call("POST", "/organizations", &organization)?;
    }
    let connector = json!({
        "name": "Federation",
        "federationCode": "gaa_foireann",
        "plugin": "gaa-foireann",
        "authType": "apiKey",
        "endpoints": {"baseUrl": federation.base_url()},
        "config": {
            "pageSize": PAGE_ROWS, "requestsPerMinute": 1_000_000, "webhookScheme": hooks::SCHEME,
        },
        "credentials": {"apiKey": API_KEY, "webhookSecret": hooks::SECRET},
    });
    let connector = text(&api.call("POST", "/connectors", &connector)?, "id")?;
    let connection = |org: &str, club: &str| {
        let connection =
            json!({"connectorId": connector, "federationOrgId": club, "strategy": "manual"});
        let path = format!("/organizations/{org}/connections");
        text(&api.call("POST", &path, &connection)?, "id")
    };
    connection(HOOKED_ORG, HOOKED_CLUB)?;
    let connection = connection(ORG, CLUB)?;
    Ok((connector, connection))
}

/// Asks for a full sync of an organization and waits for its end.
pub fn sync(api: &Api, org: &str, connector: &str) -> anyhow::Result<Value> {
    let body = json!({"organizationId": org, "connectorId": connector, "mode": "full"});
    let run = text(&api.call("POST", "/sync/member", &body)?, "syncId")?;
    ended(api, &run)
}

/// Waits for the end of a run.
pub fn ended(api: &Api, run: &str) -> anyhow::Result<Value> {
    ended_unless(api, run, &|| false)
}

/// The same of a server that may be gone and go on answering what it has in memory.
pub fn ended_unless(api: &Api, run: &str, gone: &dyn Fn() -> bool) -> anyhow::Result<Value> {
    let begin = Instant::now();
    loop {
        let row = api.get(&format!("/sync/status/{run}"))?;
        if !["queued", "running", "waiting"].contains(&row["status"].as_str().unwrap_or_default()) {
            return Ok(row);
        }
        ensure!(!gone(), "the server is gone");
        if begin.elapsed() > RUN_MAX {
            bail!("{run} does not end: {row:#}");
        }
        std::thread::sleep(POLL);
    }
}

/// Whether a run found nothing to do.
pub fn did_nothing(run: &Value) -> bool {
    let effects = ["created", "updated", "linked", "deactivated", "reactivated"];
    effects.iter().all(|count| run["counts"][count] == 0)
}

pub fn all_records(api: &Api) -> anyhow::Result<Vec<Value>> {
    api.list(&format!("/organizations/{ORG}/records?entity=member"))
}

/// What is wrong with the files that a process has left, before another one uses them.
pub fn faults_of_files(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    // A check writes, and what it repairs must not help the next process.
    let copy = copy_of(data)?;
    for name in databases(copy.path())? {
        let path = copy.path().join(&name);
        faults.extend(integrity(&path).err().map(|why| format!("{name}: {why:#}")));
    }
    faults.extend(inconsistencies(data)?);
    Ok(faults)
}

/// The names of the files that hold state.
fn databases(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(data)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.ends_with(".redb").then_some(name));
    }
    ensure!(names.iter().any(|name| name == "state.redb"), "there is no state.redb");
    names.sort();
    Ok(names)
}

fn copy_of(data: &Path) -> anyhow::Result<TempDir> {
    let copy = TempDir::new()?;
    for name in databases(data)? {
        std::fs::copy(data.join(&name), copy.path().join(&name))?;
    }
    Ok(copy)
}

fn integrity(path: &PathBuf) -> anyhow::Result<()> {
    let mut database = redb::Database::open(path).context("it does not open")?;
    ensure!(database.check_integrity()?, "it does not pass its integrity check");
    Ok(())
}

/// What the rows of a data directory, which no process uses, say against each other.
pub fn inconsistencies(data: &Path) -> anyhow::Result<Vec<String>> {
    let copy = copy_of(data)?;
    let fatal: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&fatal);
    let options = store::Options {
        on_fatal: Arc::new(move |reason| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(reason.to_owned());
        }),
        ..store::Options::default()
    };
    let found =
        Store::open(copy.path(), &options).and_then(|store| consistency::violations(&store));
    let mut found = match found {
        Ok(found) => found,
        Err(error) => vec![format!("the store cannot be read: {error}")],
    };
    found.append(&mut fatal.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(found)
}
