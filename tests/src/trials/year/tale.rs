//! What happened in a year: the log, a line of JSON for each event in the order of time, and what was measured meanwhile.
//!
//! Lines hold simulated times and nothing that differs between two runs of the same seed: no address, no real time.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::receiver::Message;
use super::world::{CLUBS, Ids, MEMBER_OF_PLATFORM};
use crate::trials::api::{Api, text};

/// How long before the last look a run may have been asked for that was not over then.
const OPEN_FOR: SignedDuration = SignedDuration::from_hours(48);

/// What is taken down of a run: the trial is to grow little beside the server.
const RUN: [&str; 15] = [
    "syncId",
    "organizationId",
    "connectorId",
    "connectionId",
    "trigger",
    "status",
    "attempt",
    "retryCount",
    "maxRetries",
    "createdAt",
    "completedAt",
    "counts",
    "errors",
    "supersededBy",
    "requestedBy",
];

#[derive(Default)]
pub struct Tale {
    lines: Vec<(Timestamp, String)>,
    /// By id, as they stood when they were last seen.
    pub runs: BTreeMap<String, Value>,
    /// Lines of each schedule's list, oldest first.
    pub fires: Vec<(String, Vec<Value>)>,
    /// Deliveries of webhooks that were answered with success.
    pub accepted: Vec<String>,
    /// The log of deliveries, by id.
    pub delivered: BTreeMap<String, Value>,
    /// When the server was off.
    pub away: Vec<(Timestamp, Timestamp)>,
    /// Of each day: bytes of the data directory, and of this process in memory.
    pub sizes: Vec<(u64, u64)>,
    /// Records of each organization at the end.
    pub records: BTreeMap<String, Vec<Value>>,
    looked_at: Option<Timestamp>,
}

impl Tale {
    pub fn note(&mut self, at: Timestamp, event: &str, more: Value) {
        let mut line = json!({"at": at.to_string(), "event": event});
        let members = line.as_object_mut().zip(more.as_object());
        members.into_iter().for_each(|(to, from)| to.extend(from.clone()));
        self.lines.push((at, line.to_string()));
    }

    /// Takes down what will be kept no longer.
    pub fn look(&mut self, api: &Api) -> anyhow::Result<()> {
        let since = self.looked_at.map_or(Timestamp::UNIX_EPOCH, |at| at - OPEN_FOR);
        let mut newest = self.looked_at;
        for run in api.list(&format!("/sync/status?since={since}"))? {
            newest = newest.max(text(&run, "createdAt")?.parse().ok());
            self.runs.insert(text(&run, "syncId")?, picked(&run, &RUN));
        }
        self.looked_at = newest;
        for row in api.list("/webhooks/deliveries")? {
            self.delivered.insert(text(&row, "id")?, row);
        }
        Ok(())
    }

    /// Takes down what is there at the end.
    pub fn close(&mut self, api: &Api, ids: &Ids) -> anyhow::Result<()> {
        for schedule in &ids.schedules {
            let mut fires = api.list(&format!("/sync/schedules/{}/fires", schedule.id))?;
            fires.reverse();
            self.fires.push((schedule.name.clone(), fires));
        }
        for club in CLUBS.iter().chain([&MEMBER_OF_PLATFORM]) {
            let path = format!("/organizations/{}/records?entity=member", club.name);
            self.records.insert(club.name.to_owned(), api.list(&path)?);
        }
        Ok(())
    }

    /// Measures the day.
    pub fn size(&mut self, data: &Path) -> anyhow::Result<()> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(data)? {
            let entry = entry?.metadata()?;
            bytes += if entry.is_file() { entry.len() } else { 0 };
        }
        self.sizes.push((bytes, resident()));
        Ok(())
    }

    /// All events in the order of time; those of one moment in that of their words.
    pub fn log(
        &self,
        ids: &Ids,
        messages: &[Message],
        granted: &[Timestamp],
    ) -> anyhow::Result<String> {
        let mut lines = Tale { lines: self.lines.clone(), ..Tale::default() };
        for (schedule, fires) in &self.fires {
            for fire in fires {
                let members = [
                    "organizationId",
                    "outcome",
                    "nominalAt",
                    "nominalFrom",
                    "count",
                    "dueAt",
                    "syncId",
                    "joined",
                    "code",
                ];
                let mut line = picked(fire, &members);
                line["schedule"] = json!(schedule);
                lines.note(time(fire, "at")?, "fire", line);
            }
        }
        for run in self.runs.values() {
            let members = [
                "syncId",
                "organizationId",
                "trigger",
                "status",
                "attempt",
                "retryCount",
                "createdAt",
                "counts",
            ];
            let mut line = picked(run, &members);
            line["connector"] = json!(ids.name(&run["connectorId"]));
            line["code"] = run["errors"][0]["code"].clone();
            lines.note(time(run, "completedAt")?, "run", line);
        }
        for message in messages {
            lines.note(message.at, "notice", json!({"kinds": message.kinds}));
        }
        for (number, at) in granted.iter().enumerate() {
            lines.note(*at, "token", json!({"number": number + 1}));
        }
        lines.lines.sort();
        let texts: Vec<&str> = lines.lines.iter().map(|(_, line)| line.as_str()).collect();
        Ok(texts.join("\n") + "\n")
    }
}

fn picked(row: &Value, members: &[&str]) -> Value {
    Value::Object(members.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect())
}

pub fn time(row: &Value, member: &str) -> anyhow::Result<Timestamp> {
    text(row, member)?.parse().with_context(|| format!("{member} of {row}"))
}

/// Bytes of this process that are in memory; 0 where that cannot be told.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}
