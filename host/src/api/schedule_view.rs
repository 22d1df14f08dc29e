//! A schedule as it is shown: its pattern in words, when it fires next, and what keeps it from being synced.

use super::access::Reach;
use super::problem::Problem;
use crate::clock;
use crate::cron;
use crate::model::ConnectionId;
use crate::model::schedule::Schedule;
use crate::store::{Read, directory, schedules};
use crate::trigger::{self, hindrance, upcoming};
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// A schedule as a caller sees it: of one for many organizations, what concerns its own.
pub(super) fn row(
    read: &dyn Read,
    reach: Reach,
    schedule: &Schedule,
    now: i64,
) -> Result<Value, Problem> {
    let only = seen_connection(read, reach, schedule)?;
    let next = upcoming(read, schedule, only, now, 1)?.pop();
    let zone = trigger::zone_words(read, schedule)?;
    let description = cron::parse(&schedule.cron).map(|pattern| cron::describe(&pattern, &zone));
    let paused = schedule.pause_at(now).map(|pause| {
        json!({
            "until": pause.until.map(clock::to_text),
            "reason": pause.reason,
            "by": pause.by,
            "at": clock::to_text(pause.at),
        })
    });
    let blocked = blocked(read, schedule)?;
    Ok(json!({
        "id": schedule.id,
        "name": schedule.name,
        "organizationId": schedule.organization.as_ref().map(|own| &own.id),
        "connectorId": schedule.connector,
        "entity": schedule.entity,
        "mode": schedule.mode,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "overlap": schedule.overlap,
        "catchUpWindow": schedule.catch_up_millis / 1_000,
        "jitter": schedule.jitter_millis / 1_000,
        "enabled": schedule.enabled,
        "generated": schedule.generated,
        "description": description.unwrap_or_default(),
        "paused": paused,
        "blocked": blocked.map(|(code, message)| json!({ "code": code, "message": message })),
        "lastFireAt": last_fire(read, reach, schedule)?.map(clock::to_text),
        "nextFireAt": next.map(|next| clock::to_text(next.nominal.as_millisecond())),
        "createdAt": clock::to_text(schedule.created_at),
        "updatedAt": clock::to_text(schedule.updated_at),
        "version": schedule.version,
    }))
}

/// The connection to which what a caller sees of a schedule is narrowed; none: all of them.
pub(super) fn seen_connection(
    read: &dyn Read,
    reach: Reach,
    schedule: &Schedule,
) -> Result<Option<ConnectionId>, Problem> {
    let Reach::One(own) = reach else { return Ok(None) };
    let found = directory::connection_between(read, own, schedule.connector)?;
    // One that is not there narrows to nothing.
    Ok(Some(found.map(|found| found.id).unwrap_or_default()))
}

/// What keeps all that the schedule is for from being synced.
fn blocked(read: &dyn Read, schedule: &Schedule) -> Result<Option<(String, String)>, Problem> {
    let Some(connector) = directory::connector(read, schedule.connector)? else {
        return Ok(None);
    };
    let connection = match &schedule.organization {
        None => None,
        Some(own) => match directory::connection_between(read, own.no, connector.id)? {
            Some(found) => Some(found),
            None => {
                let message = "the organization is not connected to the connector any more";
                return Ok(Some(("connection.ended".to_owned(), message.to_owned())));
            }
        },
    };
    Ok(hindrance(read, &connector, connection.as_ref())?)
}

/// The nominal time of the last fire that a caller sees.
fn last_fire(read: &dyn Read, reach: Reach, schedule: &Schedule) -> Result<Option<i64>, Problem> {
    let (mut last, mut seen) = (None, 0);
    schedules::scan_fires(read, schedule.id, None, &mut |fire| {
        seen += 1;
        if reach.holds(fire.organization.no) {
            last = fire.nominal_at;
        }
        // One of very many organizations may have none among the newest.
        match last.is_some() || seen == LAST_FIRE_LOOKS_MAX {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    Ok(last)
}

const LAST_FIRE_LOOKS_MAX: usize = 1_000;
