//! The connections of a schedule: which there are, in which zone each of them counts, since when, and what keeps it from
//! being synced.

use super::due::{Beat, Due, share};
use crate::ask::{self, Refusal};
use crate::cron::{self, Calendar, Pattern};
use crate::model::directory::{AuthType, Connection, Connector};
use crate::model::oauth::{BlockedReason, Holder};
use crate::model::schedule::{Schedule, Target};
use crate::model::{ConnectionId, OrgNo};
use crate::oauth;
use crate::store::{self, Read, Txn, directory, lookup, schedules};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};

/// What lies further ahead than this was written while a clock ran wrong: waiting for it to come again would be silence
/// for as long as the clock was wrong.
const AHEAD_MILLIS_MAX: i64 = 26 * 60 * 60 * 1000;
/// A clock that shows a time before 2020 is wrong, as that of a machine whose battery is empty.
const CLOCK_MIN: i64 = 1_577_836_800_000;

/// A schedule whose pattern was read, with a calendar for each zone that it meets.
pub(super) struct Timetable {
    pattern: Option<Pattern>,
    calendars: BTreeMap<String, Calendar>,
}

impl Timetable {
    pub(super) fn new(schedule: &Schedule) -> Timetable {
        let pattern = cron::parse(&schedule.cron);
        if let Err(error) = &pattern {
            tracing::error!(schedule = %schedule.id, %error, "a stored pattern cannot be read");
        }
        Timetable { pattern: pattern.ok(), calendars: BTreeMap::new() }
    }

    /// The calendar in a zone; none where pattern or zone cannot be read.
    pub(super) fn calendar(&mut self, zone: &str) -> Option<&Calendar> {
        if !self.calendars.contains_key(zone) {
            let time_zone = TimeZone::get(zone)
                .inspect_err(|error| tracing::error!(zone, %error, "a stored zone is not known"));
            let calendar = Calendar::new(self.pattern.clone()?, time_zone.ok()?);
            self.calendars.insert(zone.to_owned(), calendar);
        }
        self.calendars.get(zone)
    }
}

/// The live connections that a schedule is for.
pub(super) fn connections(
    read: &dyn Read,
    schedule: &Schedule,
) -> Result<Vec<Connection>, store::Error> {
    match &schedule.organization {
        None => lookup::connections_of_connector(read, schedule.connector, None, usize::MAX),
        Some(own) => {
            let found = directory::connection_between(read, own.no, schedule.connector)?;
            Ok(found.into_iter().collect())
        }
    }
}

/// The zone in which a schedule counts for an organization.
fn zone(read: &dyn Read, schedule: &Schedule, organization: &str) -> Result<String, store::Error> {
    if let Some(zone) = &schedule.timezone {
        return Ok(zone.clone());
    }
    let found = directory::organization(read, organization)?;
    Ok(found.map_or_else(|| "UTC".to_owned(), |found| found.timezone))
}

/// Whether there is such a zone, by its IANA name.
pub fn is_zone(zone: &str) -> bool {
    TimeZone::get(zone).is_ok()
}

/// The zone of a schedule, for people.
pub fn zone_words(read: &dyn Read, schedule: &Schedule) -> Result<String, store::Error> {
    match (&schedule.timezone, &schedule.organization) {
        (Some(zone), _) => Ok(zone.clone()),
        (None, Some(own)) => zone(read, schedule, &own.id),
        (None, None) => Ok("in the time zone of each organization".to_owned()),
    }
}

fn is_ahead(at: i64, now: i64) -> bool {
    at > now.saturating_add(AHEAD_MILLIS_MAX)
}

/// Whether a clock that ran far ahead left nothing to count from: then it is counted from now on.
pub(super) fn is_lost(
    schedule: &Schedule,
    (connection, target): (&Connection, &Target),
    now: i64,
) -> bool {
    let begins = [schedule.armed_at(now), connection.enabled_at];
    let fresh = target.last == 0 && begins.into_iter().any(|at| is_ahead(at, now));
    now >= CLOCK_MIN && (fresh || is_ahead(target.last, now))
}

/// What is due of a connection at `now`; none where the schedule rests.
pub(super) fn due(
    read: &dyn Read,
    schedule: &Schedule,
    timetable: &mut Timetable,
    (connection, target): (&Connection, &Target),
    now: i64,
) -> Result<Option<Due>, store::Error> {
    if !schedule.enabled || schedule.pause_at(now).is_some() || now < CLOCK_MIN {
        return Ok(None);
    }
    let zone = zone(read, schedule, &connection.organization)?;
    let Some(calendar) = timetable.calendar(&zone) else { return Ok(None) };
    let beat = Beat {
        calendar,
        share: share(schedule.id, connection.id),
        jitter_millis: schedule.jitter_millis,
        catch_up_millis: schedule.catch_up_millis,
    };
    // Fires from before schedule and connection were there are none of theirs.
    let begins = [target.last, schedule.armed_at(now), connection.enabled_at];
    let base = begins.into_iter().filter(|at| !is_ahead(*at, now)).max();
    Ok(Some(beat.due(base.unwrap_or(now), now)))
}

/// Lets schedules count from now on for an organization whose time zone changed: what the new zone would have done
/// before is not made up for.
pub fn rearm(txn: &Txn, org: OrgNo, now: i64) -> Result<(), store::Error> {
    for connection in lookup::connections_of_organization(txn, org, None, usize::MAX)? {
        for schedule in schedules::of_connector(txn, connection.connector_id)? {
            let other = schedule.organization.as_ref().is_some_and(|own| own.no != org);
            if other || schedule.timezone.is_some() {
                continue;
            }
            let target = schedules::target(txn, schedule.id, connection.id)?.unwrap_or_default();
            let target = Target { last: target.last.max(now), ..target };
            schedules::put_target(txn, schedule.id, connection.id, &target)?;
        }
    }
    Ok(())
}

/// What keeps a connector, or one of its connections, from being synced by a schedule: code and words.
pub fn hindrance(
    read: &dyn Read,
    connector: &Connector,
    connection: Option<&Connection>,
) -> Result<Option<(String, String)>, store::Error> {
    match ask::standing(connector) {
        Err(refusal) => Ok(Some((refusal.code().to_owned(), refusal.to_string()))),
        Ok(()) => unauthorized(read, connector, connection),
    }
}

/// What keeps a fire from asking for its run. Not that the connector is disabled: the queue holds its jobs back until it
/// is well, so that an outage of minutes costs no connection its night.
pub(super) fn obstacle(
    read: &dyn Read,
    connector: &Connector,
    connection: &Connection,
) -> Result<Option<(String, String)>, store::Error> {
    match ask::standing(connector) {
        Err(refusal) if refusal != Refusal::Disabled => {
            Ok(Some((refusal.code().to_owned(), refusal.to_string())))
        }
        _ => unauthorized(read, connector, Some(connection)),
    }
}

fn unauthorized(
    read: &dyn Read,
    connector: &Connector,
    connection: Option<&Connection>,
) -> Result<Option<(String, String)>, store::Error> {
    let Some(connection) = connection.filter(|_| connector.auth_type == AuthType::OAuth2) else {
        return Ok(None);
    };
    let holder = Holder::of_connection(connector.id, &connection.organization, connection.id);
    let code_and_words = |code: &str, words: &str| Some((code.to_owned(), words.to_owned()));
    Ok(match oauth::grant_in_force(read, &holder)? {
        None => code_and_words("oauth.not-authorized", "nobody has authorized access yet"),
        Some(grant) => grant.blocked.and_then(|blocked| match blocked.reason {
            BlockedReason::NeedsReauth => code_and_words("oauth.needs-reauth", &blocked.message),
            BlockedReason::ClientRefused => {
                code_and_words("oauth.client-refused", &blocked.message)
            }
        }),
    })
}

/// A nominal fire that is to come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upcoming {
    pub nominal: Timestamp,
    pub zone: String,
}

/// The next nominal fires after `now`, over all zones of a schedule's connections, whether or not something keeps them
/// from being synced; none while it is switched off, or paused without an end. `only` narrows it to one connection.
pub fn upcoming(
    read: &dyn Read,
    schedule: &Schedule,
    only: Option<ConnectionId>,
    now: i64,
    count: usize,
) -> Result<Vec<Upcoming>, store::Error> {
    let pause = schedule.pause_at(now);
    if !schedule.enabled || pause.is_some_and(|pause| pause.until.is_none()) {
        return Ok(Vec::new());
    }
    let until = pause.and_then(|pause| pause.until).map(|until| until - 1);
    let after = now.max(schedule.armed_at(now)).max(until.unwrap_or(i64::MIN));
    let zones: BTreeSet<String> = match &schedule.timezone {
        Some(zone) => BTreeSet::from([zone.clone()]),
        None => {
            let mut connections = connections(read, schedule)?;
            connections.retain(|connection| only.is_none_or(|only| connection.id == only));
            let zones = connections.iter().map(|row| zone(read, schedule, &row.organization));
            zones.collect::<Result<_, _>>()?
        }
    };
    let mut timetable = Timetable::new(schedule);
    let mut found = Vec::new();
    for zone in zones {
        let Some(calendar) = timetable.calendar(&zone) else { continue };
        let mut at = super::due::instant(after);
        for _ in 0..count {
            let Some(nominal) = calendar.next(at) else { break };
            at = nominal;
            found.push(Upcoming { nominal, zone: zone.clone() });
        }
    }
    found.sort();
    found.truncate(count);
    Ok(found)
}
