//! What a message says: what happened, what it means, what to do next, and where to look. Pure.
//!
//! Names come from people and from remote systems: control characters in them are shown as escapes, so that no name
//! makes a line or a header of its own.

use crate::clock;
use crate::model::channel::Delivery;
use crate::model::notice::{Event, EventKind};
use crate::telemetry::escape_control;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SUBJECT_CHARS_MAX: usize = 150;
const NAME_CHARS_MAX: usize = 60;

/// Names for people by id, as far as the rows are still there.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) organizations: BTreeMap<String, String>,
    pub(super) connectors: BTreeMap<String, String>,
}

/// A message, ready for every kind of channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    /// One line.
    pub(super) subject: String,
    /// Plain text in lines of any length.
    pub(super) text: String,
    /// For programs.
    pub(super) data: Value,
}

/// `base` is the server's public address, without a slash at its end.
pub(super) fn message(delivery: &Delivery, names: &Names, base: &str) -> Message {
    let total = delivery.total();
    let single = delivery.events.last().filter(|_| total == 1);
    let subject = match single {
        Some(event) => headline(event, names),
        None => digest_subject(delivery, total),
    };
    let mut text = Vec::new();
    if single.is_none() {
        text.push(format!("{total} events, the newest last."));
    }
    for (kind, count) in &delivery.more {
        text.push(format!("{count} x {}: counted, not listed.", title(*kind)));
    }
    for event in &delivery.events {
        text.push(paragraph(event, names, base));
    }
    text.push(format!("Sent by Syncline at {base}"));
    let events: Vec<Value> = delivery.events.iter().map(|event| entry(event, base)).collect();
    let data = json!({
        "subject": subject,
        "count": total,
        "events": events,
        "more": delivery.more,
    });
    Message { subject: cut(&subject, SUBJECT_CHARS_MAX), text: text.join("\n\n"), data }
}

fn digest_subject(delivery: &Delivery, total: u64) -> String {
    match delivery.kinds().as_slice() {
        [kind] => format!("{total} x {}", title(*kind)),
        kinds => {
            let titles: Vec<&str> = kinds.iter().map(|kind| title(*kind)).collect();
            format!("{total} events: {}", titles.join(", "))
        }
    }
}

fn title(kind: EventKind) -> &'static str {
    match kind {
        EventKind::RunFailed => "sync failed",
        EventKind::ConnectorDisabled => "connector switched off",
        EventKind::ConnectorRecovered => "connector works again",
        EventKind::CredentialsExpiring => "credentials expire soon",
        EventKind::CredentialsDead => "log-in needed",
        EventKind::RunHeld => "sync waits for approval",
        EventKind::FirstHeldConflict => "conflict waits for a decision",
        EventKind::ScheduleMissed => "scheduled sync missed",
        EventKind::DiskLow => "disk almost full",
        EventKind::DiskRecovered => "disk has room again",
        EventKind::BackupFailed => "backup failed",
        EventKind::RestoreDrillFailed => "restore drill failed",
        EventKind::Recovered => "sync works again",
        EventKind::ChannelTest => "test message",
    }
}

/// The event in one line.
fn headline(event: &Event, names: &Names) -> String {
    match parties(event, names) {
        parties if parties.is_empty() => format!("Syncline: {}", title(event.kind)),
        parties => format!("Syncline: {} ({parties})", title(event.kind)),
    }
}

/// Whom the event is about: organization and connector by name.
fn parties(event: &Event, names: &Names) -> String {
    let connector = event.connector.map(|id| id.to_string());
    let known = [
        event.organization.as_deref().map(|id| name(&names.organizations, id)),
        connector.as_deref().map(|id| name(&names.connectors, id)),
    ];
    known.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn name(names: &BTreeMap<String, String>, id: &str) -> String {
    line(names.get(id).map_or(id, String::as_str), NAME_CHARS_MAX)
}

/// Text from outside as a part of one line.
pub(super) fn line(text: &str, chars_max: usize) -> String {
    cut(&escape_control(text), chars_max)
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

fn paragraph(event: &Event, names: &Names, base: &str) -> String {
    let mut lines = vec![headline(event, names), format!("When: {}", clock::to_text(event.at))];
    if let Some(why) = why(event) {
        lines.push(format!("Why: {why}"));
    }
    lines.push(format!("Effect: {}", effect(event)));
    lines.push(format!("Next: {}", next(event)));
    lines.push(format!("Look: {}", link(event, base)));
    lines.join("\n")
}

fn fact<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.facts.get(name).map(String::as_str)
}

fn why(event: &Event) -> Option<String> {
    let reason = fact(event, Event::REASON)?;
    let reason = line(reason, crate::model::notice::FACT_CHARS_MAX);
    Some(match fact(event, Event::CODE) {
        Some(code) => format!("{reason} ({})", line(code, NAME_CHARS_MAX)),
        None => reason,
    })
}

fn effect(event: &Event) -> String {
    let fixed = match event.kind {
        EventKind::RunFailed => "The records stay as the last good sync left them.",
        EventKind::ConnectorDisabled => {
            "Nothing is synced over this connector, for any of its organizations."
        }
        EventKind::ConnectorRecovered => "Syncs over this connector run again.",
        EventKind::CredentialsExpiring => {
            return match fact(event, Event::UNTIL) {
                Some(until) => format!("Syncs stop at {}.", line(until, NAME_CHARS_MAX)),
                None => "Syncs stop when they have expired.".to_owned(),
            };
        }
        EventKind::CredentialsDead => {
            "The remote system refuses the log-in: nothing is synced until somebody renews it."
        }
        EventKind::RunHeld => "Nothing was changed yet: the plan waits.",
        EventKind::FirstHeldConflict => {
            "The field keeps its local value; the rest of the record is synced."
        }
        EventKind::ScheduleMissed => "A planned sync did not run; the records may be out of date.",
        EventKind::DiskLow if fact(event, Event::CODE) == Some("disk.full") => {
            "No sync begins and no change is taken in; reading goes on."
        }
        EventKind::DiskLow => "Soon nothing can be stored and syncs will stop.",
        EventKind::DiskRecovered => "Everything runs as usual.",
        EventKind::BackupFailed => "The newest backup is older than it should be.",
        EventKind::RestoreDrillFailed => "The newest backup may not be usable.",
        EventKind::Recovered => "The records are in agreement again.",
        EventKind::ChannelTest => "None: somebody tested this channel.",
    };
    fixed.to_owned()
}

fn next(event: &Event) -> String {
    let run = event.run.map_or_else(|| "ID".to_owned(), |run| run.to_string());
    let connector = event.connector.map_or_else(|| "ID".to_owned(), |id| id.to_string());
    let organization =
        event.organization.as_deref().map_or_else(|| "ORG".to_owned(), |id| line(id, 64));
    match event.kind {
        EventKind::RunFailed => {
            format!("See the reason with `syncline run show {run}`, mend it, then sync again.")
        }
        EventKind::ConnectorDisabled => format!(
            "See why with `syncline connector health {connector}`, mend it, then \
             `syncline connector clear-errors {connector}`."
        ),
        EventKind::CredentialsExpiring | EventKind::CredentialsDead => format!(
            "Log in again, or store new credentials with \
             `syncline connector credentials {connector}`."
        ),
        EventKind::RunHeld => format!(
            "Look at the plan with `syncline run show {run}`, then `syncline run approve {run}` \
             or `syncline run cancel {run}`."
        ),
        EventKind::FirstHeldConflict => {
            format!("Decide it: `syncline conflict list --org {organization}`.")
        }
        EventKind::ScheduleMissed => {
            "Check that the server was running, and sync by hand if it cannot wait.".to_owned()
        }
        EventKind::DiskLow => "Make room on the disk of the data directory.".to_owned(),
        EventKind::BackupFailed => "Mend the reason and make a backup by hand.".to_owned(),
        EventKind::RestoreDrillFailed => {
            "Make a new backup and verify it before you need it.".to_owned()
        }
        EventKind::ConnectorRecovered
        | EventKind::DiskRecovered
        | EventKind::Recovered
        | EventKind::ChannelTest => "Nothing to do.".to_owned(),
    }
}

/// The page about it.
fn link(event: &Event, base: &str) -> String {
    match (event.kind, event.run, event.connector) {
        (EventKind::FirstHeldConflict, ..) => format!("{base}/conflicts"),
        (_, Some(run), _) => format!("{base}/runs/{run}"),
        (_, None, Some(connector)) => format!("{base}/connectors/{connector}"),
        (_, None, None) => format!("{base}/"),
    }
}

fn entry(event: &Event, base: &str) -> Value {
    json!({
        "kind": event.kind,
        "at": clock::to_text(event.at),
        "organizationId": event.organization,
        "connectorId": event.connector,
        "runId": event.run,
        "facts": event.facts,
        "link": link(event, base),
    })
}
