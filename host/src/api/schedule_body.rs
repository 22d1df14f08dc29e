//! The body of a schedule: what it takes, and what is wrong with it.

use super::body::{Members, kind, object};
use super::problem::Problem;
use crate::cron;
use crate::model::schedule::{Overlap, Pause, Schedule};
use crate::model::{ConnectorId, Mode};
use crate::trigger;
use axum::body::Bytes;
use jiff::Timestamp;
use serde_json::Value;

const NAME_CHARS_MAX: usize = 200;
const REASON_CHARS_MAX: usize = 500;
const ENTITY_CHARS_MAX: usize = 64;
const CATCH_UP_SECONDS_MAX: i64 = 30 * 24 * 60 * 60;
const JITTER_SECONDS_MAX: i64 = 24 * 60 * 60;

/// What a row shows beside what can be set: a row that was read may be sent back as it is.
const SHOWN: [&str; 11] = [
    "id",
    "generated",
    "description",
    "paused",
    "blocked",
    "lastFireAt",
    "nextFireAt",
    "drift",
    "createdAt",
    "updatedAt",
    "version",
];

/// What a body sets. What it leaves out stays as it is; `Some(None)` goes back to the default.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) connector: Option<String>,
    pub(super) organization: Option<Option<String>>,
    name: Option<Option<String>>,
    entity: Option<Option<String>>,
    mode: Option<Option<Mode>>,
    cron: Option<String>,
    timezone: Option<Option<String>>,
    overlap: Option<Option<Overlap>>,
    catch_up_millis: Option<Option<i64>>,
    jitter_millis: Option<Option<i64>>,
    enabled: Option<Option<bool>>,
}

/// Reads a body without looking at rows. `new`: required members must be there.
pub(super) fn read(bytes: &Bytes, new: bool) -> Result<Wanted, Problem> {
    let mut object = object(bytes)?;
    if !new {
        object.retain(|name, _| !SHOWN.contains(&name.as_str()));
    }
    let mut members = Members::new(object);
    let connector = match new {
        true => Some(members.required("connectorId")),
        false => members.text("connectorId"),
    };
    let organization = optional(&mut members, "organizationId", Members::text);
    let name =
        optional(&mut members, "name", |members, name| members.name(name, false, NAME_CHARS_MAX));
    let entity = optional(&mut members, "entity", |members, name| {
        members.name(name, false, ENTITY_CHARS_MAX)
    });
    let mode = optional(&mut members, "mode", |members, name| {
        members.word(name, &["full", "incremental"])?.parse().ok()
    });
    let cron = match new {
        true => Some(members.required("cron")),
        false => members.text("cron"),
    };
    let timezone = optional(&mut members, "timezone", Members::text);
    let overlap = optional(&mut members, "overlap", |members, name| {
        members.word(name, &Overlap::ALL.map(Overlap::as_str))?.parse().ok()
    });
    let catch_up = optional(&mut members, "catchUpWindow", |members, name| {
        duration(members, name, CATCH_UP_SECONDS_MAX)
    });
    let jitter = optional(&mut members, "jitter", |members, name| {
        duration(members, name, JITTER_SECONDS_MAX)
    });
    let enabled = optional(&mut members, "enabled", Members::flag);
    if let Some(Err(error)) = cron.as_deref().filter(|cron| !cron.is_empty()).map(cron::parse) {
        members.fault("cron", error.to_string());
    }
    let zone = timezone.as_ref().and_then(Option::as_deref);
    if let Some(zone) = zone.filter(|zone| !trigger::is_zone(zone)) {
        let message = format!("{zone:?} is no IANA time zone such as `Europe/Dublin`");
        members.fault("timezone", message);
    }
    members.finish()?;
    Ok(Wanted {
        connector,
        organization,
        name,
        entity,
        mode,
        cron,
        timezone,
        overlap,
        catch_up_millis: catch_up,
        jitter_millis: jitter,
        enabled,
    })
}

/// A member that may be left out (none) or null (`Some(None)`).
fn optional<T>(
    members: &mut Members,
    name: &'static str,
    take: impl FnOnce(&mut Members, &'static str) -> Option<T>,
) -> Option<Option<T>> {
    members.has(name).then(|| take(members, name))
}

/// Whole seconds, or a text such as `24h` or `PT24H`; answers milliseconds.
fn duration(members: &mut Members, name: &'static str, max: i64) -> Option<i64> {
    let value = members.take(name)?;
    let seconds = match &value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse::<jiff::Span>().ok().and_then(|span| {
            let days = jiff::SpanRelativeTo::days_are_24_hours();
            let exact = span.to_duration(days).ok()?;
            (exact.subsec_nanos() == 0).then(|| exact.as_secs())
        }),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| (0..=max).contains(seconds));
    if seconds.is_none() {
        let found = match &value {
            Value::Number(_) | Value::String(_) => value.to_string(),
            other => kind(other).to_owned(),
        };
        let message =
            format!("must be whole seconds from 0 to {max}, or a text such as `24h`, not {found}");
        members.fault(name, message);
    }
    seconds.map(|seconds| seconds * 1_000)
}

/// Lays what a body says over a schedule: a blank one, or the one that is there.
pub(super) fn apply(
    schedule: &mut Schedule,
    wanted: Wanted,
    options: &trigger::Options,
    now: i64,
) -> Result<(), Problem> {
    let before = schedule.clone();
    if let Some(name) = wanted.name {
        schedule.name = name.unwrap_or_default();
    }
    if let Some(entity) = wanted.entity {
        schedule.entity = entity.unwrap_or_else(|| crate::ask::ALL.to_owned());
    }
    schedule.mode = wanted.mode.map_or(schedule.mode, |mode| mode.unwrap_or(Mode::Full));
    schedule.cron = wanted.cron.unwrap_or_else(|| schedule.cron.clone());
    if let Some(timezone) = wanted.timezone {
        schedule.timezone = timezone;
    }
    let overlap = wanted.overlap.map(Option::unwrap_or_default);
    schedule.overlap = overlap.unwrap_or(schedule.overlap);
    if let Some(window) = wanted.catch_up_millis {
        schedule.catch_up_millis = window.unwrap_or(options.catch_up_millis);
    }
    if let Some(jitter) = wanted.jitter_millis {
        schedule.jitter_millis = jitter.unwrap_or(options.jitter_millis);
    }
    if let Some(enabled) = wanted.enabled {
        schedule.enabled = enabled.unwrap_or(true);
    }
    if schedule.generated {
        own(&before, schedule)?;
    }
    // Another pattern does not make up for what it would have done before, nor one that was switched off.
    let moved = before.cron != schedule.cron || before.timezone != schedule.timezone;
    if moved || schedule.enabled && !before.enabled {
        schedule.armed_at = now;
    }
    Ok(())
}

/// What the connector rules of its own schedule is changed there.
fn own(before: &Schedule, wanted: &Schedule) -> Result<(), Problem> {
    let mut members = Members::new(serde_json::Map::new());
    let connector: ConnectorId = before.connector;
    let at = format!("it belongs to the connector: PATCH /connectors/{connector}");
    if before.cron != wanted.cron {
        members.fault("cron", format!("{at} with `syncConfig.schedule`"));
    }
    if before.timezone != wanted.timezone {
        members.fault("timezone", format!("{at} with `syncConfig.timezone`"));
    }
    if before.name != wanted.name {
        members.fault("name", format!("{at} with `name`"));
    }
    if before.enabled != wanted.enabled {
        let message = format!("{at} with `syncConfig.enabled`, or pause the schedule");
        members.fault("enabled", message);
    }
    members.finish()
}

/// The body of a pause.
pub(super) fn pause(bytes: &Bytes, by: &str, now: i64) -> Result<Pause, Problem> {
    let mut members = Members::new(object(bytes)?);
    let reason = members.name("reason", true, REASON_CHARS_MAX).unwrap_or_default();
    let until = members.text("until");
    let until = until.and_then(|text| match text.parse::<Timestamp>() {
        Ok(until) if until.as_millisecond() > now => Some(until.as_millisecond()),
        Ok(_) => {
            members.fault("until", "must lie ahead");
            None
        }
        Err(_) => {
            let message = "must be an RFC 3339 instant such as 2026-12-24T18:00:00Z";
            members.fault("until", message);
            None
        }
    });
    members.finish()?;
    Ok(Pause { until, reason, by: by.to_owned(), at: now })
}
