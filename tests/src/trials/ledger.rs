//! Everything that a server has acknowledged, and what it then must hold: each effect once, nothing less.
//!
//! What was asked and not answered may have had its effect or not, but not twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::api::{Api, text};
use super::stage::ORG;

/// An edit of one member's last name; numbers grow over the whole trial.
#[derive(Debug, Clone, Copy)]
pub struct Edit {
    pub number: u64,
    pub acknowledged: bool,
}

/// A request for a sync, repeated under its key until it is answered.
#[derive(Debug, Clone)]
pub struct Ask {
    pub key: String,
    pub run: Option<String>,
}

#[derive(Debug, Default)]
pub struct Ledger {
    /// By record, in the order in which they were asked for.
    pub edits: BTreeMap<String, Vec<Edit>>,
    pub asks: Vec<Ask>,
    /// Runs that the trial asked for itself, before everything and behind it.
    pub own_runs: Vec<String>,
    /// Runs that were seen to have ended, with their status and counts.
    pub ended: BTreeMap<String, (Value, Value)>,
    /// What the server answered that it never may.
    pub refused: Vec<String>,
}

/// The value that edit `number` writes.
pub fn edited(number: u64) -> String {
    format!("Edit {number}")
}

/// The number behind a word that makes a value tell its change.
pub fn number_of(value: &Value, word: &str) -> Option<u64> {
    value.as_str()?.strip_prefix(word)?.trim_start().parse().ok()
}

impl Ledger {
    pub fn acknowledged(&self) -> u64 {
        let edits = self.edits.values().flatten().filter(|edit| edit.acknowledged).count();
        let asks = self.asks.iter().filter(|ask| ask.run.is_some()).count();
        (edits + asks) as u64
    }

    /// Repeats what was not answered, and answers what a new life lacks of the one before.
    pub fn settle(
        &mut self,
        api: &Api,
        connector: &str,
        since: usize,
    ) -> anyhow::Result<Vec<String>> {
        let mut lost = Vec::new();
        for ask in &mut self.asks[since..] {
            let run =
                text(&api.call("POST", "/sync/member", &request(connector, &ask.key))?, "syncId")?;
            if ask.run.as_ref().is_some_and(|known| *known != run) {
                lost.push(format!("{} was accepted as {:?} and is {run} now", ask.key, ask.run));
            }
            ask.run = Some(run);
        }
        for (record, edits) in &self.edits {
            let Some(last) = edits.iter().rev().find(|edit| edit.acknowledged) else { continue };
            let row = api.get(&format!("/organizations/{ORG}/records/{record}"))?;
            let is = number_of(&row["fields"]["lastName"], "Edit");
            if is < Some(last.number) {
                lost.push(format!("{record}: edit {} is lost: {}", last.number, row["fields"]));
            }
        }
        for (run, (status, counts)) in &self.ended {
            let (_, row) = api.send("GET", &format!("/sync/status/{run}"), &[], &Value::Null)?;
            if row["status"] != *status || row["counts"] != *counts {
                lost.push(format!("{run} was {status} {counts} and is {row}"));
            }
        }
        Ok(lost)
    }

    /// The whole ledger against timelines and runs: (lost, doubled).
    pub fn audit(&self, api: &Api) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let (mut lost, mut doubled) = (Vec::new(), Vec::new());
        for (record, edits) in &self.edits {
            let path = format!("/organizations/{ORG}/records/{record}/history");
            let timeline = api.list(&path)?;
            let mut times: BTreeMap<u64, u64> = BTreeMap::new();
            for entry in &timeline {
                if let Some(number) = number_of(&entry["fields"]["lastName"]["after"], "Edit") {
                    *times.entry(number).or_default() += 1;
                }
            }
            for edit in edits {
                match times.remove(&edit.number).unwrap_or(0) {
                    0 if edit.acknowledged => lost.push(format!("{record}: edit {}", edit.number)),
                    0 | 1 => {}
                    more => doubled.push(format!("{record}: edit {} {more} times", edit.number)),
                }
            }
            doubled.extend(times.keys().map(|number| format!("{record}: edit {number} of nobody")));
            doubled.extend(repeated(record, &timeline));
        }
        let asked = self.asks.iter().filter_map(|ask| ask.run.as_deref());
        let known: BTreeSet<&str> = asked.chain(self.own_runs.iter().map(String::as_str)).collect();
        let mut stored = BTreeSet::new();
        for run in api.list("/sync/status")? {
            let id = text(&run, "syncId")?;
            if !known.contains(id.as_str()) && run["trigger"] == "manual" {
                doubled.push(format!("{id}, which nobody asked for"));
            }
            stored.insert(id);
        }
        lost.extend(known.iter().filter(|id| !stored.contains(**id)).map(|id| (*id).to_owned()));
        Ok((lost, doubled))
    }
}

/// Each change of the federation has a number of its own: a timeline that shows one twice, or a later one first, had an
/// effect twice.
fn repeated(record: &str, timeline: &[Value]) -> Option<String> {
    let numbers: Vec<u64> = timeline
        .iter()
        .filter_map(|entry| number_of(&entry["fields"]["firstName"]["after"], "Change"))
        .collect();
    let rising = numbers.windows(2).all(|pair| pair[0] < pair[1]);
    let falling = numbers.windows(2).all(|pair| pair[0] > pair[1]);
    (!rising && !falling).then(|| format!("{record}: the federation's changes {numbers:?}"))
}

/// The body of a request for a sync.
pub fn request(connector: &str, key: &str) -> Value {
    json!({
        "organizationId": ORG, "connectorId": connector, "mode": "full", "idempotencyKey": key,
    })
}
