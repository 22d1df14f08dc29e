//! The disk fails at operation 1, 2, 3, ... of one start, edits, a delivery of a webhook with the run that it asks for, a
//! sync and an orderly stop.
//!
//! After each failure the files are taken as the next process would find them: they must open, pass
//! redb's own check, agree with each other, hold all that was acknowledged, and the work must go on
//! to the end that it would have had.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use syncline::app::StartOptions;
use syncline::crash_point::{self, Bug};

use super::api::{Api, text};
use super::disk::{Disk, Trouble};
use super::hooks::{self, Deliveries, Signed};
use super::server::Server;
use super::stage::{self, ADDED, CHANGED, GONE, HOOKED_MEMBERS, HOOKED_ORG, MEMBERS, ORG, Stage};
use crate::dice::Dice;
use crate::foireann::generate::member_id;

/// How much of a violation is shown.
const SHOWN_CHARS_MAX: usize = 400;
/// Whoever notices a failure of the disk ends at once; this is for one who does not.
const SURVIVAL_MAX: Duration = Duration::from_secs(5);
/// A life takes a second. One that hangs, as a planted bug may make it, is taken as it stands.
const LIFE_MAX: Duration = Duration::from_secs(15);

/// What a sweep is asked to do.
#[derive(Debug, Clone)]
pub struct Setting {
    pub seed: u64,
    pub troubles: Vec<Trouble>,
    /// Of each trouble so many operations, spread over all of them; none: every one.
    pub points: Option<u64>,
    /// Only operations of the file with this name.
    pub file: Option<String>,
    /// A bug that the sweep should find.
    pub planted: Option<Bug>,
}

/// What a sweep found.
#[derive(Debug, Clone)]
pub struct Report {
    pub seed: u64,
    /// Disk operations where nothing fails.
    pub operations: u64,
    /// By what failed: how often.
    pub struck: BTreeMap<String, u64>,
    /// Operations that were not reached, because a run has not always the same number of them.
    pub missed: u64,
    /// Acknowledged edits, deliveries and syncs that were looked for afterwards.
    pub acknowledged: u64,
    pub violations: Vec<String>,
    pub took: Duration,
}

impl Report {
    pub fn points(&self) -> u64 {
        self.struck.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} disk operations; {} failures ({} operations not reached), {} acknowledgements checked, \
             {} violations, {} s",
            self.seed,
            self.operations,
            self.points(),
            self.missed,
            self.acknowledged,
            self.violations.len(),
            self.took.as_secs(),
        )?;
        for (what, times) in &self.struck {
            writeln!(f, "  {times:5} x {what}")?;
        }
        self.violations.iter().try_for_each(|violation| writeln!(f, "VIOLATION {violation}"))
    }
}

pub fn run(setting: &Setting) -> anyhow::Result<Report> {
    let begin = Instant::now();
    let stage = Stage::make(setting.seed)?;
    let file = setting.file.as_deref();
    let whole = point(&stage, Disk::new(None, 0).only(file), None)?;
    ensure!(whole.faults.is_empty(), "with a good disk: {:#?}", whole.faults);
    let mut report = Report {
        seed: setting.seed,
        operations: whole.operations,
        struck: BTreeMap::new(),
        missed: 0,
        acknowledged: 0,
        violations: Vec::new(),
        took: Duration::ZERO,
    };
    for trouble in &setting.troubles {
        for at in operations(setting, *trouble, whole.operations) {
            let disk = Disk::new(Some((*trouble, at)), setting.seed).only(file);
            let ended = point(&stage, disk.clone(), setting.planted)?;
            report.acknowledged += ended.acknowledged;
            let struck = disk.struck().map(|struck| struck.to_string());
            match &struck {
                Some(struck) => {
                    *report.struck.entry(format!("{trouble:?}, {struck}")).or_default() += 1;
                }
                None => report.missed += 1,
            }
            let what = struck.as_deref().unwrap_or("not reached");
            for fault in ended.faults {
                let fault: String = fault.chars().take(SHOWN_CHARS_MAX).collect();
                report.violations.push(format!("{trouble:?} at {at} ({what}): {fault}"));
            }
        }
    }
    report.took = begin.elapsed();
    Ok(report)
}

/// All operations, or as many as asked for, one out of each of that many equal parts.
fn operations(setting: &Setting, trouble: Trouble, all: u64) -> Vec<u64> {
    let Some(points) = setting.points.filter(|points| *points < all) else {
        return (1..=all).collect();
    };
    let mut dice = Dice::new(setting.seed, trouble as u64);
    let part = |point| all * point / points;
    (0..points).map(|point| part(point) + 1 + dice.below(part(point + 1) - part(point))).collect()
}

struct Ended {
    operations: u64,
    acknowledged: u64,
    faults: Vec<String>,
}

fn point(stage: &Stage, disk: Disk, planted: Option<Bug>) -> anyhow::Result<Ended> {
    let data = stage.copy()?;
    crash_point::plant(planted);
    let ledger = ordeal(stage, &disk, data.path());
    crash_point::plant(None);
    let mut faults = Vec::new();
    let struck = disk.struck();
    if ledger.started && struck.as_ref().is_some_and(|struck| !struck.stopping) {
        // Whoever ends on it calls this; whoever does not goes on with a disk that has failed.
        let survived = disk.fatal().is_none();
        faults.extend(survived.then(|| "the process would have gone on".to_owned()));
    } else if let (None, Some(why)) = (&struck, &ledger.broken) {
        faults.push(format!("on a good disk: {why}"));
    }
    disk.leave()?;
    match stage::faults_of_files(data.path())? {
        found if found.is_empty() => {}
        found => faults.extend(found),
    }
    let acknowledged = ledger.acknowledged();
    match aftermath(stage, ledger, data.path()) {
        Ok(found) => faults.extend(found),
        Err(why) => faults.push(format!("{why:#}")),
    }
    Ok(Ended { operations: disk.operations(), acknowledged, faults })
}

/// What the server has acknowledged.
#[derive(Debug, Default)]
struct Ledger {
    started: bool,
    edits: Vec<(u64, &'static str, &'static str)>,
    /// There is one.
    deliveries: Deliveries,
    run: Option<String>,
    /// The run's row, once it was seen to have ended.
    ended: Option<Value>,
    /// What could not be done.
    broken: Option<String>,
}

impl Ledger {
    fn acknowledged(&self) -> u64 {
        let edits = self.edits.len() as u64;
        edits + self.deliveries.acknowledged() + u64::from(self.run.is_some())
    }
}

/// Edits by a person: of a field that the federation changed too, and of two that it did not.
const EDITS: [(u64, &str, &str); 3] =
    [(3, "lastName", "Ours"), (4, "firstName", "Also"), (5, "lastName", "Later")];

/// One life of the server, until it stops or its disk ends it.
fn ordeal(stage: &Stage, disk: &Disk, data: &Path) -> Ledger {
    let mut ledger = Ledger::default();
    let options = StartOptions {
        open_file: Some(disk.open_file()),
        on_fatal: Some(disk.on_fatal()),
        ..StartOptions::default()
    };
    let server = match Server::start(&stage.config, data, &stage.token, options) {
        Ok(server) => server,
        Err(why) => return Ledger { broken: Some(format!("{why:#}")), ..ledger },
    };
    ledger.started = true;
    if let Err(why) = load(stage, disk, &server.api, &mut ledger) {
        ledger.broken = Some(format!("{why:#}"));
    }
    if disk.fatal().is_some() {
        server.vanish();
    } else {
        disk.stopping();
        server.stop();
    }
    ledger
}

fn load(stage: &Stage, disk: &Disk, api: &Api, ledger: &mut Ledger) -> anyhow::Result<()> {
    for edit in &EDITS[..2] {
        acknowledge_edit(stage, api, *edit, ledger)?;
    }
    let told = ledger.deliveries.begin(&member_id(HOOKED_MEMBERS.start));
    let delivery = deliver(stage, api, told, &mut ledger.deliveries)?;
    let run = ask(stage, api)?;
    ledger.run = Some(run.clone());
    let begin = Instant::now();
    let gone = || {
        let survived = disk.struck_since() > Some(SURVIVAL_MAX);
        disk.fatal().is_some() || survived || begin.elapsed() > LIFE_MAX
    };
    ledger.ended = Some(stage::ended_unless(api, &run, &gone)?);
    follow(api, &delivery, &gone)?;
    acknowledge_edit(stage, api, EDITS[2], ledger)
}

/// Sends the delivery, for the first time or once more; the host's id of it.
fn deliver(
    stage: &Stage,
    api: &Api,
    number: u64,
    deliveries: &mut Deliveries,
) -> anyhow::Result<String> {
    let delivery = deliveries.repeat(number);
    let answer = Signed::new(&stage.connector, &delivery)?.send(api.address)?;
    ensure!(answer.status == 200, "a delivery is answered {}", answer.status);
    deliveries.answered(number, &answer);
    deliveries.all[number as usize - 1].known.clone().context("it has no id")
}

/// Waits for the runs that a delivery asks for.
fn follow(api: &Api, delivery: &str, gone: &dyn Fn() -> bool) -> anyhow::Result<()> {
    let row = hooks::processed(api, delivery, gone)?;
    for run in row["runs"].as_array().into_iter().flatten() {
        stage::ended_unless(api, &text(run, "syncId")?, gone)?;
    }
    Ok(())
}

fn acknowledge_edit(
    stage: &Stage,
    api: &Api,
    edit: (u64, &'static str, &'static str),
    ledger: &mut Ledger,
) -> anyhow::Result<()> {
    let (number, field, value) = edit;
    let path = format!("/organizations/{ORG}/records/{}", stage.record(number)?);
    api.call("PATCH", &path, &json!({"fields": {field: value}}))?;
    ledger.edits.push(edit);
    Ok(())
}

/// Asks for the sync, always with the same key: only the first request may have an effect.
fn ask(stage: &Stage, api: &Api) -> anyhow::Result<String> {
    let body = json!({
        "organizationId": ORG,
        "connectorId": stage.connector,
        "mode": "full",
        "idempotencyKey": "the-one-sync",
    });
    text(&api.call("POST", "/sync/member", &body)?, "syncId")
}

/// The next life, on an ordinary disk: what is missing, doubled or wrong.
fn aftermath(stage: &Stage, mut ledger: Ledger, data: &Path) -> anyhow::Result<Vec<String>> {
    let server = Server::start(&stage.config, data, &stage.token, StartOptions::default())?;
    let found = go_on(stage, &mut ledger, &server.api);
    server.stop();
    let mut faults = found?;
    faults.extend(stage::inconsistencies(data)?);
    Ok(faults)
}

fn go_on(stage: &Stage, ledger: &mut Ledger, api: &Api) -> anyhow::Result<Vec<String>> {
    let mut faults = ledger.deliveries.missing(api)?;
    for (number, field, value) in &ledger.edits {
        let record =
            api.get(&format!("/organizations/{ORG}/records/{}", stage.record(*number)?))?;
        if record["fields"][field] != *value {
            faults.push(format!("the edit of {field} of {number} is lost: {record}"));
        }
    }
    // A caller that got no answer asks again.
    let run = ask(stage, api)?;
    if ledger.run.as_ref().is_some_and(|known| *known != run) {
        faults.push(format!("{:?} was accepted and {run} is another one", ledger.run));
    }
    let row = stage::ended(api, &run)?;
    if row["status"] != "completed" {
        faults.push(format!("the run did not complete: {} {}", row["status"], row["errors"]));
    }
    if let Some(before) = &ledger.ended
        && (before["status"] != row["status"] || before["counts"] != row["counts"])
    {
        let (was, is) = (&before["counts"], &row["counts"]);
        let (before, now) = (&before["status"], &row["status"]);
        faults.push(format!("the run ended as {before} {was} and is now {now} {is}"));
    }
    // Nor does a sender give up before it is answered.
    if ledger.deliveries.all.is_empty() {
        ledger.deliveries.begin(&member_id(HOOKED_MEMBERS.start));
    }
    let delivery = deliver(stage, api, 1, &mut ledger.deliveries)?;
    follow(api, &delivery, &|| false)?;
    faults.extend(ledger.deliveries.audit(api)?.all());
    let runs = api.list("/sync/status")?.len();
    if runs != 4 {
        faults.push(format!("{runs} runs instead of the first two, this one and the delivery's"));
    }
    let edited = |number: u64| ledger.edits.iter().any(|edit| edit.0 == number);
    let inbox = api.list("/conflicts")?.len();
    if edited(CHANGED[2].0) && inbox != 1 || inbox > 1 {
        faults.push(format!("{inbox} open conflicts"));
    }
    faults.extend(wrong_records(stage, ledger, api)?);
    for org in [HOOKED_ORG, ORG] {
        let again = stage::sync(api, org, &stage.connector)?;
        if !stage::did_nothing(&again) {
            faults.push(format!("a further sync of {org} counts {}", again["counts"]));
        }
    }
    Ok(faults)
}

/// The records against the federation, whose every change must have had one effect.
fn wrong_records(stage: &Stage, ledger: &Ledger, api: &Api) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
    for member in stage.federation.members(stage::CLUB)? {
        wanted.insert(text(&member, "memberId")?, member);
    }
    let mut records = BTreeMap::new();
    for record in stage::all_records(api)? {
        let id = text(&record["externalIds"], &stage.connection)?;
        if records.insert(id.clone(), record).is_some() {
            faults.push(format!("{id} has two records"));
        }
    }
    let all = MEMBERS + ADDED.len() as u64;
    if records.len() as u64 != all {
        faults.push(format!("{} records instead of {all}", records.len()));
    }
    for number in 1..=all {
        let id = member_id(number);
        let Some(record) = records.get(&id) else {
            faults.push(format!("{id} has no record"));
            continue;
        };
        let status = if number == GONE { "inactive" } else { "active" };
        if record["status"] != status
            && wanted.get(&id).is_none_or(|member| member["status"] == "active")
        {
            faults.push(format!("{id} is {}", record["status"]));
        }
        let edited: Vec<_> = EDITS.iter().filter(|edit| edit.0 == number).collect();
        for field in ["firstName", "lastName", "email"] {
            let Some(theirs) = wanted.get(&id).map(|member| &member[field]) else { continue };
            let ours = edited.iter().find(|edit| edit.1 == field);
            let (is, sure) =
                (&record["fields"][field], ledger.edits.iter().any(|edit| Some(&edit) == ours));
            let right = match ours {
                Some(edit) if sure => is == edit.2,
                Some(edit) => is == edit.2 || is == theirs,
                None => is == theirs,
            };
            if !right {
                faults.push(format!("{id}: {field} is {is}, the federation says {theirs}"));
            }
        }
        let changes = CHANGED.iter().filter(|change| change.0 == number).count() + edited.len();
        let versions = 1 + changes as u64 + u64::from(number == GONE);
        if record["version"].as_u64() > Some(versions) {
            faults.push(format!("{id} has version {} for {versions} changes", record["version"]));
        }
    }
    Ok(faults)
}
