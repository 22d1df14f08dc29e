//! What becomes of a fire: in one transaction it is written down and, where nothing keeps it, its run is asked for. So a
//! crash loses none and doubles none.

use super::due::{Due, Fires};
use super::targets::{self, Timetable, obstacle};
use super::{Options, Requests};
use crate::ask::{self, Wish};
use crate::clock;
use crate::crash_point::{Bug, planted};
use crate::model::access::OrgKey;
use crate::model::directory::{Connection, Connector};
use crate::model::ids::ScheduleId;
use crate::model::job::{Job, JobKind, JobState};
use crate::model::notice::{Event, EventKind};
use crate::model::run::EntityRequest;
use crate::model::schedule::{Fire, Outcome, Overlap, Schedule, Target};
use crate::model::{ConnectionId, OrgNo, RunId, Trigger};
use crate::notify;
use crate::queue::{self, Cancelled, Enqueued};
use crate::retry;
use crate::store::{self, Txn, directory, jobs, schedules};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// A connection of a schedule, with the time at which something is to be done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) at: i64,
    pub(super) schedule: ScheduleId,
    pub(super) org: OrgNo,
    pub(super) connection: ConnectionId,
}

/// What a transaction of fires leaves to be done after it.
#[derive(Debug, Default)]
pub(super) struct Fired {
    /// When the same connections are due again.
    pub(super) again: Vec<Entry>,
    pub(super) enqueued: bool,
    pub(super) raised: bool,
    /// Runs that are not wanted any more.
    pub(super) cancelled: Vec<RunId>,
}

/// What fires stand on.
pub(super) struct Ground<'a> {
    pub(super) requests: &'a Requests,
    pub(super) options: &'a Options,
    pub(super) now: i64,
}

/// Deals with what is due of one connection; all that the entry says is looked at again.
pub(super) fn fire(
    txn: &Txn,
    ground: &Ground<'_>,
    entry: Entry,
    fired: &mut Fired,
) -> Result<(), store::Error> {
    let now = ground.now;
    let Some(schedule) = schedules::get(txn, entry.schedule)? else { return Ok(()) };
    let connection = directory::connection(txn, entry.org, entry.connection)?;
    let Some(connection) = connection.filter(|row| row.disconnected_at.is_none()) else {
        return Ok(());
    };
    let Some(connector) = directory::connector(txn, schedule.connector)? else { return Ok(()) };
    let target = schedules::target(txn, schedule.id, connection.id)?;
    let mut timetable = Timetable::new(&schedule);
    let mut at = At {
        txn,
        ground,
        schedule: &schedule,
        connection: &connection,
        target: target.unwrap_or_default(),
    };
    if targets::is_lost(&schedule, (&connection, &at.target), now) {
        tracing::warn!(schedule = %schedule.id, connection = %connection.id, "the clock was set back by far: counting anew");
        at.target.last = now;
        at.keep()?;
    }
    let due = targets::due(txn, &schedule, &mut timetable, (&connection, &at.target), now)?;
    if let Some(Due::Now { run, late, missed, last }) = due {
        if let Some(missed) = missed {
            at.miss(missed)?;
            fired.raised = true;
        }
        let lost = late && planted(Bug::FireLost);
        if let Some((fires, due_at)) = run.filter(|_| !lost) {
            at.run(&connector, (fires, due_at, late), fired)?;
        }
        at.target.last = last;
        at.keep()?;
    }
    let due = targets::due(txn, &schedule, &mut timetable, (&connection, &at.target), now)?;
    if let Some(Due::Later(at)) = due {
        fired.again.push(Entry { at, ..entry });
    }
    Ok(())
}

/// One connection of a schedule while something is done for it.
struct At<'a, 't> {
    txn: &'a Txn<'t>,
    ground: &'a Ground<'a>,
    schedule: &'a Schedule,
    connection: &'a Connection,
    target: Target,
}

impl At<'_, '_> {
    fn keep(&self) -> Result<(), store::Error> {
        schedules::put_target(self.txn, self.schedule.id, self.connection.id, &self.target)
    }

    fn line(&self, outcome: Outcome) -> Fire {
        let (id, no) = (self.connection.organization.clone(), self.connection.org_no);
        Fire {
            number: 0,
            organization: OrgKey { id, no },
            connection: self.connection.id,
            outcome,
            nominal_at: None,
            nominal_from: None,
            due_at: None,
            at: self.ground.now,
            count: 1,
            run: None,
            joined: false,
            code: None,
            reason: None,
            by: None,
        }
    }

    fn line_of(&self, outcome: Outcome, fires: Fires) -> Fire {
        Fire {
            nominal_at: Some(fires.last),
            nominal_from: Some(fires.first),
            count: fires.count,
            ..self.line(outcome)
        }
    }

    fn append(&mut self, fire: Fire) -> Result<(), store::Error> {
        let (id, keep_max) = (self.schedule.id, self.ground.options.fires_kept_max);
        self.target.fire = Some(schedules::append_fire(self.txn, id, fire, keep_max)?);
        Ok(())
    }

    /// Writes down that nothing was asked for. Fires in a row that are left out for the same reason are one line a day (UTC),
    /// so that a line stands for the time at which it was written.
    fn skip(&mut self, fires: Fires, code: &str, reason: String) -> Result<(), store::Error> {
        let before = match self.target.fire {
            Some(number) => schedules::fire(self.txn, self.schedule.id, number)?,
            None => None,
        };
        let same = |fire: &Fire| {
            fire.outcome == Outcome::Skipped
                && fire.connection == self.connection.id
                && fire.code.as_deref() == Some(code)
                && fire.at.div_euclid(DAY_MILLIS) == self.ground.now.div_euclid(DAY_MILLIS)
        };
        let code = Some(code.to_owned());
        match before.filter(same) {
            Some(before) => {
                let count = before.count.saturating_add(fires.count);
                let (nominal_at, reason) = (Some(fires.last), Some(reason));
                let more = Fire { count, nominal_at, reason, at: self.ground.now, ..before };
                schedules::put_fire(self.txn, self.schedule.id, &more)
            }
            None => {
                let line = self.line_of(Outcome::Skipped, fires);
                self.append(Fire { code, reason: Some(reason), ..line })
            }
        }
    }

    /// Writes down that it is too late, and tells the organization's people.
    fn miss(&mut self, fires: Fires) -> Result<(), store::Error> {
        let window = window_words(self.schedule.catch_up_millis);
        let reason = format!(
            "nothing could run then, and the catch-up window of {window} had passed before anything could"
        );
        let line = self.line_of(Outcome::Missed, fires);
        let code = Some("schedule.missed".to_owned());
        self.append(Fire { code, reason: Some(reason), ..line })?;
        let name = &self.schedule.name;
        let event = Event::new(EventKind::ScheduleMissed, self.ground.now)
            .of_organization(&self.connection.organization)
            .of_connector(self.schedule.connector)
            .fact(Event::COUNT, &fires.count.to_string())
            .fact(
                Event::REASON,
                &format!(
                    "`{name}` was due at {} and nothing could run",
                    clock::to_text(fires.last)
                ),
            );
        notify::raise(self.txn, event)
    }

    /// Asks for the run of a fire, or writes down why not.
    fn run(
        &mut self,
        connector: &Connector,
        (fires, due_at, late): (Fires, i64, bool),
        fired: &mut Fired,
    ) -> Result<(), store::Error> {
        if let Some((code, reason)) = obstacle(self.txn, connector, self.connection)? {
            return self.skip(fires, &code, reason);
        }
        let requests = match self.requests(connector) {
            Ok(requests) => requests,
            Err(refusal) => return self.skip(fires, refusal.code(), refusal.to_string()),
        };
        if let Some((code, reason)) = self.overlap(&requests, fired)? {
            return self.skip(fires, code, reason);
        }
        let by = format!("schedule {}", self.schedule.id);
        let enqueued = self.enqueue(connector, requests, Trigger::Scheduled, by)?;
        fired.enqueued = true;
        self.target.run = Some(enqueued.run);
        let outcome = if late { Outcome::CaughtUp } else { Outcome::Fired };
        let line = self.line_of(outcome, fires);
        let (run, joined) = (Some(enqueued.run), enqueued.joined);
        self.append(Fire { due_at: Some(due_at), run, joined, ..line })
    }

    fn requests(&self, connector: &Connector) -> Result<Vec<EntityRequest>, ask::Refusal> {
        let (entity, mode) = (self.schedule.entity.as_str(), self.schedule.mode);
        (self.ground.requests)(connector, Wish { entity, mode, ids: &[], filters: None })
    }

    fn enqueue(
        &self,
        connector: &Connector,
        requests: Vec<EntityRequest>,
        trigger: Trigger,
        requested_by: String,
    ) -> Result<Enqueued, store::Error> {
        let default = &self.ground.options.strategy_default;
        let request = queue::Request {
            strategy: ask::policy_words(connector, self.connection, default),
            connection: self.connection.clone(),
            requests,
            trigger,
            dry_run: false,
            requested_by,
            max_retries: retry::retries_max(connector),
            now: self.ground.now,
        };
        queue::enqueue(self.txn, request)
    }

    /// Makes way for a run as the overlap policy says, or answers why there is none: code and words.
    fn overlap(
        &self,
        requests: &[EntityRequest],
        fired: &mut Fired,
    ) -> Result<Option<(&'static str, String)>, store::Error> {
        let mut live = jobs::of_connection(self.txn, self.connection.org_no, self.connection.id)?;
        live.retain(|job| {
            let own = Some(job.run) == self.target.run || covers(job, requests);
            !job.cancel && is_sync(job) && own
        });
        let waits = |job: &&Job| matches!(job.state, JobState::Pending | JobState::Waiting);
        Ok(match self.schedule.overlap {
            Overlap::Skip => live.first().map(|job| {
                let how = if waits(&job) { "waits for its turn" } else { "is still running" };
                ("schedule.overlap", format!("{} for the same {how}", job.run))
            }),
            Overlap::BufferOne => live.iter().find(waits).map(|job| {
                let words = format!("{} waits already, and one is enough", job.run);
                ("schedule.buffered", words)
            }),
            Overlap::CancelOther => {
                for job in &live {
                    if self.is_own(job)?
                        && queue::cancel(self.txn, job.run, self.ground.now)? == Cancelled::Asked
                    {
                        fired.cancelled.push(job.run);
                    }
                }
                None
            }
        })
    }

    /// Whether a job is what this schedule asked for the last time, and nobody else wants it: no person, and no other
    /// schedule that asked for the same run.
    fn is_own(&self, job: &Job) -> Result<bool, store::Error> {
        if Some(job.run) != self.target.run || job.trigger == Trigger::Manual {
            return Ok(false);
        }
        for other in schedules::of_connector(self.txn, self.schedule.connector)? {
            let target = schedules::target(self.txn, other.id, self.connection.id)?;
            let wants = target.is_some_and(|target| target.run == Some(job.run));
            if wants && other.id != self.schedule.id {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A window in its own unit: the largest one that it is a whole number of.
fn window_words(millis: i64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0 => "0 s".to_owned(),
        _ if seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        _ if seconds % 60 == 0 => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

fn is_sync(job: &Job) -> bool {
    matches!(job.kind, JobKind::Sync { dry_run: false, .. })
}

/// Whether a job does all that is asked for.
fn covers(job: &Job, requests: &[EntityRequest]) -> bool {
    let JobKind::Sync { requests: known, .. } = &job.kind else { return false };
    requests.iter().all(|request| {
        known.iter().any(|known| {
            known.entity == request.entity && known.mode >= request.mode && known.filters.is_none()
        })
    })
}

/// What a person's wish to run a schedule now came to, for one connection.
#[derive(Clone, Debug)]
pub struct Triggered {
    pub connection: Connection,
    /// The job, or code and words of what keeps it.
    pub outcome: Result<Enqueued, (String, String)>,
}

/// Runs a schedule now for all its connections, whether it is paused or not. Its own fires come as they would have come.
pub fn trigger(
    txn: &Txn,
    schedule: &Schedule,
    requests: &Requests,
    options: &Options,
    (by, now): (&str, i64),
) -> Result<Vec<Triggered>, store::Error> {
    let Some(connector) = directory::connector(txn, schedule.connector)? else {
        return Ok(Vec::new());
    };
    let ground = Ground { requests, options, now };
    let mut triggered = Vec::new();
    for connection in targets::connections(txn, schedule)? {
        let target = schedules::target(txn, schedule.id, connection.id)?.unwrap_or_default();
        let mut at = At { txn, ground: &ground, schedule, connection: &connection, target };
        let line = Fire { by: Some(by.to_owned()), ..at.line(Outcome::Triggered) };
        // A person may try what a machine leaves alone: only what cannot run at all is refused.
        let wish = ask::standing(&connector).and_then(|()| at.requests(&connector));
        let outcome = match wish {
            Ok(wish) => {
                let enqueued = at.enqueue(&connector, wish, Trigger::Manual, by.to_owned())?;
                let (run, joined) = (Some(enqueued.run), enqueued.joined);
                at.append(Fire { run, joined, ..line })?;
                at.target.run = Some(enqueued.run);
                Ok(enqueued)
            }
            Err(refusal) => Err((refusal.code().to_owned(), refusal.to_string())),
        };
        at.keep()?;
        triggered.push(Triggered { connection, outcome });
    }
    Ok(triggered)
}
