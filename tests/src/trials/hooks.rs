//! Deliveries of webhooks as their sender knows them: what was sent and answered, and what a host must then hold of it.
//!
//! A sender counts its deliveries, signs each, and repeats it under its id until it is answered, and
//! sometimes beyond. What was answered with success is in the log once, whatever came between; what
//! was not answered may be there or not, but not twice. Each delivery names a member that the
//! federation has changed before, under the delivery's number. The club that it names is in no other
//! trial's hands: nothing but deliveries tells of its changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use syncline::signature::{self, shipped};

use super::api::{Api, text};
use super::ledger::number_of;
use super::stage::{HOOKED_CLUB, HOOKED_ORG};
use crate::http::{Answer, Connection, Request};

/// Standard Webhooks: signs id, time and body.
pub const SCHEME: &str = "standard";
pub const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY";

/// What the federation calls a member when delivery `number` tells of it.
pub fn named(number: u64) -> String {
    format!("Hook {number}")
}

/// The sender's id of a delivery.
fn sender_id(number: u64) -> String {
    format!("msg_{number}")
}

/// One delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub number: u64,
    pub member: String,
    /// How often it was sent, answered or not.
    pub sends: u64,
    /// The host's id of it, once that was answered.
    pub known: Option<String>,
}

/// Everything that was sent, in the order of its numbers, which begin with 1.
#[derive(Debug, Default)]
pub struct Deliveries {
    pub all: Vec<Delivery>,
    /// Numbers of those that were answered since it was last looked for them.
    fresh: BTreeSet<u64>,
    /// What answers gave away.
    pub findings: Findings,
}

/// A delivery as it goes over the wire now.
pub struct Signed {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Signed {
    /// Signed at this moment: a repetition has the same id, and another time.
    pub fn new(connector: &str, delivery: &Delivery) -> anyhow::Result<Signed> {
        let verifier = shipped(SCHEME).context("no scheme")?;
        let body = json!({
            "connectorId": connector,
            "federationOrgId": HOOKED_CLUB,
            "memberId": delivery.member,
            "event": "updated",
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let id = sender_id(delivery.number);
        let body = body.to_string();
        let signed = signature::sign(&verifier, SECRET, &id, i64::try_from(now)?, body.as_bytes())?;
        let path = format!("/webhooks/{connector}");
        Ok(Signed { path, headers: signed.headers, body: signed.body })
    }

    /// Writes it; the answer is another step, so that two of them can be on their way at once.
    pub fn write(&self, connection: &mut Connection) -> std::io::Result<()> {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        connection.write(&Request {
            method: "POST",
            target: &self.path,
            headers: &headers,
            body: &self.body,
        })
    }

    pub fn send(&self, address: SocketAddr) -> std::io::Result<Answer> {
        let mut connection = Connection::open(address)?;
        self.write(&mut connection)?;
        connection.read()
    }
}

impl Deliveries {
    /// A new delivery; its number.
    pub fn begin(&mut self, member: &str) -> u64 {
        let number = self.all.len() as u64 + 1;
        self.all.push(Delivery { number, member: member.to_owned(), sends: 0, known: None });
        number
    }

    /// A delivery that is about to be sent, for the first time or once more.
    pub fn repeat(&mut self, number: u64) -> Delivery {
        let delivery = &mut self.all[number as usize - 1];
        delivery.sends += 1;
        delivery.clone()
    }

    /// Notes an answer.
    pub fn answered(&mut self, number: u64, answer: &Answer) {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let (status, id) = (body["status"].as_str(), body["deliveryId"].as_str());
        let (200, Some(status), Some(id)) = (answer.status, status, id) else {
            let what = format!("delivery {number}: {} {body}", answer.status);
            return self.findings.wrong.push(what);
        };
        self.fresh.insert(number);
        let delivery = &mut self.all[number as usize - 1];
        match (status, delivery.known.replace(id.to_owned())) {
            (_, Some(known)) if known != id => {
                let what = format!("delivery {number} was accepted as {known}, now as {id}");
                self.findings.doubled.push(what);
            }
            ("duplicate", None) if delivery.sends == 1 => {
                let what = format!("delivery {number} is called a duplicate of {id} at once");
                self.findings.wrong.push(what);
            }
            _ => {}
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.all.iter().filter(|delivery| delivery.known.is_some()).count() as u64
    }

    /// Numbers of those that were sent and not answered.
    pub fn unanswered(&self) -> Vec<u64> {
        let open = self.all.iter().filter(|delivery| delivery.known.is_none());
        open.map(|delivery| delivery.number).collect()
    }

    pub fn sends(&self) -> u64 {
        self.all.iter().map(|delivery| delivery.sends).sum()
    }

    /// Of the deliveries that were answered since the last look: those that are not in the log.
    pub fn missing(&mut self, api: &Api) -> anyhow::Result<Vec<String>> {
        let mut lost = Vec::new();
        for number in std::mem::take(&mut self.fresh) {
            let Some(id) = &self.all[number as usize - 1].known else { continue };
            let path = format!("/webhooks/deliveries/{id}");
            let (status, row) = api.send("GET", &path, &[], &Value::Null)?;
            if status != 200 || row["deliveryId"] != sender_id(number) {
                lost.push(format!(
                    "delivery {number}, {id} by its answer, is lost: {status} {row}"
                ));
            }
        }
        Ok(lost)
    }

    /// The whole log, and what each delivery came to, when nothing is under way any more.
    pub fn audit(&mut self, api: &Api) -> anyhow::Result<Findings> {
        let mut findings = std::mem::take(&mut self.findings);
        let mut rows: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in api.list("/webhooks/deliveries")? {
            rows.entry(text(&row, "deliveryId")?).or_default().push(row);
        }
        let mut runs = BTreeMap::new();
        for run in api.list("/sync/status")? {
            runs.insert(text(&run, "syncId")?, run);
        }
        let mut asked = BTreeSet::new();
        for delivery in &self.all {
            let found = rows.remove(&sender_id(delivery.number)).unwrap_or_default();
            delivery.audit(&found, &runs, &mut asked, &mut findings)?;
        }
        findings.doubled.extend(rows.keys().map(|id| format!("the delivery {id} of nobody")));
        for (id, run) in &runs {
            if run["trigger"] == "webhook" && !asked.contains(id) {
                findings.doubled.push(format!("{id}, which no delivery asked for"));
            }
        }
        self.effects(api, &mut findings)?;
        Ok(findings)
    }

    /// The club's timelines: each change once and in order, and none that was told of is missing.
    fn effects(&self, api: &Api, findings: &mut Findings) -> anyhow::Result<()> {
        let mut told: BTreeMap<&str, Vec<&Delivery>> = BTreeMap::new();
        for delivery in &self.all {
            told.entry(&delivery.member).or_default().push(delivery);
        }
        let path = format!("/organizations/{HOOKED_ORG}/records");
        for record in api.list(&format!("{path}?entity=member"))? {
            let ids = record["externalIds"].as_object().context("no external ids")?;
            let member = ids.values().next().and_then(Value::as_str).context("no external id")?;
            let of_it = told.remove(member).unwrap_or_default();
            let timeline = api.list(&format!("{path}/{}/history", text(&record, "id")?))?;
            let numbers: Vec<u64> = timeline
                .iter()
                .filter_map(|entry| number_of(&entry["fields"]["firstName"]["after"], "Hook"))
                .collect();
            // Newest first.
            if !numbers.windows(2).all(|pair| pair[0] > pair[1]) {
                findings.doubled.push(format!("{member}: its changes are {numbers:?}"));
            }
            let strange = |number: &&u64| !of_it.iter().any(|one| one.number == **number);
            if let Some(number) = numbers.iter().find(strange) {
                findings.wrong.push(format!("{member} shows change {number} of another"));
            }
            let last = of_it.iter().rev().find(|one| one.known.is_some()).map(|one| one.number);
            if numbers.first() < last.as_ref() {
                findings.lost.push(format!("{member}: change {last:?}, it shows {numbers:?}"));
            }
        }
        let nowhere = told.keys().map(|member| format!("{member} has no record"));
        findings.wrong.extend(nowhere);
        Ok(())
    }
}

/// What an audit found.
#[derive(Debug, Default)]
pub struct Findings {
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    pub wrong: Vec<String>,
}

impl Findings {
    pub fn all(self) -> Vec<String> {
        [self.lost, self.doubled, self.wrong].concat()
    }
}

impl Delivery {
    /// Its rows in the log: one original, which became one run, and what only repeats it.
    fn audit(
        &self,
        rows: &[Value],
        runs: &BTreeMap<String, Value>,
        asked: &mut BTreeSet<String>,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let number = self.number;
        let originals: Vec<&Value> =
            rows.iter().filter(|row| row["duplicateOf"].is_null()).collect();
        if rows.len() as u64 > self.sends {
            let sends = self.sends;
            findings.doubled.push(format!("delivery {number}: {} rows of {sends}", rows.len()));
        }
        let original = match originals.as_slice() {
            [] => {
                if let Some(known) = &self.known {
                    findings
                        .lost
                        .push(format!("delivery {number}, {known} by its answer, is lost"));
                }
                return Ok(());
            }
            [original] => *original,
            more => {
                findings
                    .doubled
                    .push(format!("delivery {number} was accepted {} times", more.len()));
                return Ok(());
            }
        };
        let id = text(original, "id")?;
        if self.known.as_ref().is_some_and(|known| *known != id) {
            findings.wrong.push(format!("delivery {number} is {:?} and {id}", self.known));
        }
        let strays = rows.iter().filter(|row| row["id"] != id && row["duplicateOf"] != id);
        findings.wrong.extend(strays.map(|row| format!("delivery {number}: {row}")));
        let asked_for = original["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let events = original["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_done = original["status"] == "ended" && original["verdict"] == "accepted";
        let was_queued = events.len() == 1 && events[0]["result"] == "queued";
        let [run] = asked_for else {
            findings.lost.push(format!("delivery {number} became no run: {original}"));
            return Ok(());
        };
        let run = text(run, "syncId")?;
        let completed = runs.get(&run).is_some_and(|run| run["status"] == "completed");
        if !is_done || !was_queued || !completed {
            let run = runs.get(&run);
            findings.wrong.push(format!("delivery {number}: {original}, its run is {run:?}"));
        }
        asked.insert(run);
        Ok(())
    }
}

/// Waits until a delivery was processed; its row.
pub fn processed(api: &Api, id: &str, gone: &dyn Fn() -> bool) -> anyhow::Result<Value> {
    let begin = std::time::Instant::now();
    loop {
        let row = api.get(&format!("/webhooks/deliveries/{id}"))?;
        if row["status"] == "ended" {
            return Ok(row);
        }
        anyhow::ensure!(!gone(), "the server is gone");
        if begin.elapsed() > super::stage::RUN_MAX {
            bail!("{id} is not processed: {row:#}");
        }
        std::thread::sleep(super::stage::POLL);
    }
}
