//! The lives of one server that is killed again and again: its world, what happens in each life, and the last one.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::api::{Api, text};
use super::callers::Callers;
use super::hooks::{Deliveries, Signed};
use super::kills::{READY_MAX, Report, Setting};
use super::ledger::{Ledger, edited};
use super::process::{self, Place, Process};
use super::stage::{self, HOOKED_ORG, ORG};
use crate::dice::Dice;
use crate::foireann::generate::member_id;
use crate::foireann::local::Local;

const MEMBERS: u64 = 40;
/// How long a life lasts from its being ready.
const LIFE_MILLIS: std::ops::Range<u64> = 5..500;
/// One life in so many ends in the moment in which a delivery was answered: the most that an answer may have promised too
/// early. So long it waits for one.
const AT_ANSWER_PERCENT: u64 = 25;
const ANSWER_MAX: Duration = Duration::from_millis(100);
/// How long one lasts at most that ends before it is ready.
const STILLBORN_MILLIS: u64 = 150;
const SETTLE_MAX: Duration = Duration::from_secs(300);
const SETTLE_POLL: Duration = Duration::from_millis(200);

/// The world of one trial.
pub(super) struct Trial {
    place: Place,
    pub(super) federation: Local,
    pub(super) connector: String,
    connection: String,
    /// Record ids of the members that are edited.
    pub(super) records: Vec<String>,
    ledger: Mutex<Ledger>,
    deliveries: Mutex<Deliveries>,
    pub(super) dice: Dice,
    /// Requests for syncs before this one were repeated, where they were not answered.
    settled: usize,
    /// Numbers of edits and of the federation's changes.
    edits: u64,
    changes: u64,
}

impl Trial {
    pub(super) fn begin(setting: &Setting, directory: &Path) -> anyhow::Result<Trial> {
        let federation = stage::federation(MEMBERS, setting.seed)?;
        let allowed = json!([federation.host_port()]);
        // No brake: after many short lives a sync may meet more changes than it takes by itself.
        let config = format!(
            "[egress]\nallowPrivate = {allowed}\n[sync]\nupdateRecordsMin = 1000000\n[limits]\n\
             stageFlushRecords = 1\ncallerRequestsPerMinuteMax = 1000000\n[webhook]\n\
             verifiedPerMinuteMax = 1000000\nunverifiedPerMinuteMax = 1000000\n"
        );
        let mut place = Place::make(&setting.binary, directory, &config)?;
        let server = Process::start(&place)?;
        let (connector, connection) = stage::connect(&server.api, &federation)?;
        let mut ledger = Ledger::default();
        for org in [ORG, HOOKED_ORG] {
            let run = stage::sync(&server.api, org, &connector)?;
            ensure!(run["status"] == "completed", "the first sync of {org}: {run}");
            ledger.own_runs.push(text(&run, "syncId")?);
        }
        let records = stage::all_records(&server.api)?;
        let records = records.iter().map(|record| text(record, "id"));
        let records: Vec<String> = records.collect::<anyhow::Result<_>>()?;
        server.stop()?;
        place.planted = setting.planted;
        Ok(Trial {
            place,
            federation,
            connector,
            connection,
            records,
            ledger: Mutex::new(ledger),
            deliveries: Mutex::default(),
            dice: Dice::new(setting.seed, 0),
            settled: 0,
            edits: 0,
            changes: 0,
        })
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that is killed while it starts.
    pub(super) fn stillborn(&mut self) -> anyhow::Result<()> {
        let mut child = self.place.spawn()?;
        std::thread::sleep(Duration::from_millis(self.dice.below(STILLBORN_MILLIS)));
        process::end(&mut child);
        Ok(())
    }

    /// A process that works for a while.
    pub(super) fn life(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let server = self.born(report)?;
        // What was seen in one life is looked for in the next one, and then at the end.
        self.ledger().ended.clear();
        self.change_federation()?;
        let life = self.dice.below(LIFE_MILLIS.end - LIFE_MILLIS.start) + LIFE_MILLIS.start;
        let (over, seed) = (AtomicBool::new(false), self.dice.roll());
        let first_edit = self.edits + 1;
        let api = server.api.clone();
        let at_answer = self.dice.percent(AT_ANSWER_PERCENT);
        let (answered, answers) = mpsc::channel();
        let callers = &Callers { trial: self, api: &api, over: &over, answered };
        let edits = std::thread::scope(|scope| {
            let editor = scope.spawn(move || callers.edit(Dice::new(seed, 1), first_edit));
            scope.spawn(move || callers.ask(Dice::new(seed, 2)));
            scope.spawn(move || callers.deliver(Dice::new(seed, 3)));
            std::thread::sleep(Duration::from_millis(life));
            if at_answer {
                answers.try_iter().for_each(drop);
                let _ = answers.recv_timeout(ANSWER_MAX);
            }
            server.kill();
            over.store(true, Ordering::SeqCst);
            editor.join()
        });
        self.edits = edits.map_err(|_| anyhow::anyhow!("the editor panicked"))?;
        report.wrong.append(&mut self.ledger().refused);
        report.add(std::mem::take(&mut self.deliveries().findings));
        Ok(())
    }

    /// A process that is ready, and holds what the one before has acknowledged.
    fn born(&mut self, report: &mut Report) -> anyhow::Result<Process> {
        let server = Process::start(&self.place)?;
        report.ready.push(server.ready_in);
        if server.ready_in > READY_MAX {
            report.wrong.push(format!("ready only after {:?}", server.ready_in));
        }
        let lost = self.ledger().settle(&server.api, &self.connector, self.settled)?;
        report.lost.extend(lost);
        let asked = self.ledger().asks.len();
        self.settled = asked;
        report.lost.extend(self.deliveries().missing(&server.api)?);
        Ok(server)
    }

    /// A few members of the federation change, under a number that no other change has.
    fn change_federation(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.dice.below(4) {
            self.changes += 1;
            let id = member_id(self.dice.below(MEMBERS) + 1);
            self.federation
                .patch(&id, &json!({"firstName": format!("Change {}", self.changes)}))?;
        }
        Ok(())
    }

    pub(super) fn look_into_files(&self, report: &mut Report) -> anyhow::Result<()> {
        let found = stage::faults_of_files(&self.place.data)?;
        let at = report.kills;
        report.wrong.extend(found.into_iter().map(|line| format!("after kill {at}: {line}")));
        Ok(())
    }

    /// The last life: everything comes to its end, and is compared.
    pub(super) fn end(&mut self, report: &mut Report) -> anyhow::Result<()> {
        self.place.planted = None;
        let server = self.born(report)?;
        let api = server.api.clone();
        self.repeat_unanswered(&api)?;
        self.wait_until_idle(&api)?;
        // Before anybody else asks for the members that only deliveries told of.
        let findings = self.deliveries().audit(&api)?;
        report.add(findings);
        for org in [HOOKED_ORG, ORG] {
            let last = stage::sync(&api, org, &self.connector)?;
            self.ledger().own_runs.push(text(&last, "syncId")?);
            if last["status"] != "completed" {
                report.wrong.push(format!("the last sync of {org}: {last}"));
            }
            if org == HOOKED_ORG && !stage::did_nothing(&last) {
                report.lost.push(format!("a full sync finds what deliveries told of: {last}"));
            }
        }
        let (lost, doubled) = self.ledger().audit(&api)?;
        report.lost.extend(lost);
        report.doubled.extend(doubled);
        report.wrong.extend(self.differences(&api)?);
        report.acknowledged = self.ledger().acknowledged();
        report.deliveries = self.deliveries().acknowledged();
        report.sends = self.deliveries().sends();
        report.runs = api.list("/sync/status")?.len() as u64;
        report.changes = self.changes + self.deliveries().all.len() as u64;
        server.stop()?;
        self.look_into_files(report)
    }

    /// A sender goes on until it is answered.
    fn repeat_unanswered(&self, api: &Api) -> anyhow::Result<()> {
        let mut deliveries = self.deliveries();
        for number in deliveries.unanswered() {
            let delivery = deliveries.repeat(number);
            let answer = Signed::new(&self.connector, &delivery)?.send(api.address)?;
            deliveries.answered(number, &answer);
        }
        Ok(())
    }

    fn wait_until_idle(&self, api: &Api) -> anyhow::Result<()> {
        let begin = Instant::now();
        let wait = |path: &str, busy: &[&str]| loop {
            let rows = api.list(path)?;
            let is_open =
                |row: &&Value| row["status"].as_str().is_some_and(|is| busy.contains(&is));
            let Some(row) = rows.iter().find(is_open) else { return anyhow::Ok(()) };
            if begin.elapsed() > SETTLE_MAX {
                bail!("{path} does not come to an end: {row}");
            }
            std::thread::sleep(SETTLE_POLL);
        };
        // Deliveries become runs.
        wait("/webhooks/deliveries", &["pending", "waiting"])?;
        wait("/sync/status", &["queued", "running", "waiting"])
    }

    /// What the records say otherwise than federation and ledger do.
    fn differences(&self, api: &Api) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        let records = stage::all_records(api)?;
        if records.len() as u64 != MEMBERS {
            found.push(format!("{} records instead of {MEMBERS}", records.len()));
        }
        let ledger = self.ledger();
        let members = self.federation.members(stage::CLUB)?;
        for record in &records {
            let id = text(&record["externalIds"], &self.connection)?;
            let member = members.iter().find(|member| member["memberId"] == *id);
            let member = member.with_context(|| format!("{id} is no member"))?;
            if record["fields"]["firstName"] != member["firstName"] {
                found.push(format!("{id} is {} and not {member}", record["fields"]));
            }
            let edits =
                ledger.edits.get(&text(record, "id")?).map(Vec::as_slice).unwrap_or_default();
            let is = &record["fields"]["lastName"];
            let from = edits.iter().rposition(|edit| edit.acknowledged).unwrap_or(0);
            let may_be = edits.iter().skip(from).any(|edit| *is == edited(edit.number));
            let untouched =
                edits.iter().all(|edit| !edit.acknowledged) && *is == member["lastName"];
            if !may_be && !untouched {
                found.push(format!("{id} has the last name {is} after {:?}", edits.last()));
            }
        }
        Ok(found)
    }
}
