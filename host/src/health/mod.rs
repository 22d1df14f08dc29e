//! When a connector counts as sick, when it is disabled, and when it is well again.
//!
//! A failure counts against the connector only where it says something about the connector: what is wrong with one
//! organization's data counts for that organization's connection alone. Every function takes the caller's transaction,
//! so that a run and what it means for the connector are written together. Must not ask the remote anything.

mod class;
mod view;

pub use class::{Class, class};
pub use view::{Report, report};

use crate::model::directory::{Connector, ConnectorStatus};
use crate::model::health::{Health, Line, LineKind, Tripped, day_of, first_of};
use crate::model::notice::{Event, EventKind};
use crate::model::run::{Run, RunError};
use crate::model::{ConnectionId, ConnectorId, RunStatus};
use crate::notify;
use crate::store::health::{self, Whose};
use crate::store::{self, Read, Txn, directory};

/// How much is forgiven and how patiently is asked. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Consecutive faults that disable a connector.
    pub faults_max: u32,
    /// From the trip to the first probe.
    pub probe_first: i64,
    /// The pauses double up to this.
    pub probe_max: i64,
}

impl Default for Options {
    fn default() -> Options {
        Options { faults_max: 5, probe_first: 15 * 60_000, probe_max: 6 * 60 * 60_000 }
    }
}

/// Notes the end of a real run: for its connection, and for its connector. `own` says whether the connection logs in
/// with credentials of its own. Dry, held and cancelled runs say nothing about health. True if the connection is well
/// again after runs that failed.
///
/// An attempt that another one follows is a failure of the connector where its fault is the connector's, and stands in
/// the log; the share of good runs and the failures of a connection count runs.
pub fn note_run(txn: &Txn, run: &Run, own: bool, options: &Options) -> Result<bool, store::Error> {
    let good = match run.status {
        _ if run.dry_run => return Ok(false),
        RunStatus::Completed | RunStatus::Partial => true,
        RunStatus::Failed | RunStatus::NeedsReauth | RunStatus::Waiting => false,
        RunStatus::Queued | RunStatus::Running | RunStatus::Held | RunStatus::Cancelled => {
            return Ok(false);
        }
    };
    let connector = Whose(run.connector, None);
    let connection = Whose(run.connector, Some(run.connection));
    let at = run.completed_at.unwrap_or(run.created_at);
    if good {
        health::change(txn, connector, |state| Ok(note_success(state, at)))?;
        return health::change(txn, connection, |state| Ok(note_success(state, at)));
    }
    let over = run.status != RunStatus::Waiting && run.superseded_by.is_none();
    let at = if over { at } else { attempt_at(run) };
    let error = run.errors.first();
    let fault = error.is_some_and(|error| class(&error.code, own) == Class::Connector);
    let line = run_line(run, error, at, fault);
    health::append(txn, connector, &line)?;
    health::append(txn, connection, &line)?;
    health::change(txn, connection, |state| {
        state.last_error_at = Some(at);
        state.last_error = error.map(|error| error.message.clone());
        if over {
            state.consecutive_failures = state.consecutive_failures.saturating_add(1);
            state.change_day(day_of(at), |day| day.bad += 1);
        }
        Ok(())
    })?;
    health::change(txn, connector, |state| {
        if over {
            state.change_day(day_of(at), |day| day.bad += 1);
        }
        note_failure(txn, run.connector, state, &line, options)
    })?;
    Ok(false)
}

/// When an attempt failed that another one follows.
fn attempt_at(run: &Run) -> i64 {
    let at = run.errors.first().and_then(|error| error.at.parse::<jiff::Timestamp>().ok());
    at.map_or(run.created_at, jiff::Timestamp::as_millisecond)
}

/// True where failures went before it.
fn note_success(state: &mut Health, at: i64) -> bool {
    let failed = state.consecutive_failures > 0;
    state.change_day(day_of(at), |day| day.good += 1);
    state.last_success_at = Some(at);
    // A run that began before the trip does not undo it: a probe or a person does.
    if state.tripped.is_none() {
        state.consecutive_failures = 0;
    }
    failed
}

fn run_line(run: &Run, error: Option<&RunError>, at: i64, fault: bool) -> Line {
    let unsaid = "the run says no more";
    Line {
        at,
        kind: LineKind::Run,
        code: error.map(|error| error.code.clone()),
        message: error.map_or_else(|| unsaid.to_owned(), |error| error.message.clone()),
        page: error.and_then(|error| error.page),
        sync_id: Some(run.id),
        organization: Some(run.organization.clone()),
        fault,
    }
}

fn note_failure(
    txn: &Txn,
    connector: ConnectorId,
    state: &mut Health,
    line: &Line,
    options: &Options,
) -> Result<(), store::Error> {
    state.last_error_at = Some(line.at);
    state.last_error = Some(line.message.clone());
    if !line.fault {
        return Ok(());
    }
    state.consecutive_failures = state.consecutive_failures.saturating_add(1);
    if state.consecutive_failures < options.faults_max || state.tripped.is_some() {
        return Ok(());
    }
    let row = directory::connector(txn, connector)?;
    if let Some(mut row) = row.filter(|row| row.status == ConnectorStatus::Active) {
        let probe_at = line.at.saturating_add(options.probe_first);
        state.tripped = Some(Tripped { at: line.at, probe_at, probes: 0 });
        let faults = state.consecutive_failures;
        let message = format!(
            "disabled after {faults} consecutive faults of the connector; the last: {}",
            line.message
        );
        set_status(txn, &mut row, ConnectorStatus::Error, line.at)?;
        log(txn, connector, line.at, LineKind::Disabled, line.code.clone(), &message)?;
        tracing::warn!(%connector, message, "a connector was disabled");
        let event = Event::new(EventKind::ConnectorDisabled, line.at).of_connector(connector);
        let event = event.fact(Event::REASON, &line.message);
        let event = line.code.iter().fold(event, |event, code| event.fact(Event::CODE, code));
        notify::raise(txn, event)?;
    }
    Ok(())
}

/// A person says that a connector is well, or switches it on or off: counters start anew. A connector in `error` is
/// active afterwards; the status of any other is the caller's affair.
pub fn clear(txn: &Txn, connector: &mut Connector, by: &str, now: i64) -> Result<(), store::Error> {
    let id = connector.id;
    health::change(txn, Whose(id, None), |state| {
        if state.tripped.is_some() || connector.status == ConnectorStatus::Error {
            count_downtime(state, now);
            log(txn, id, now, LineKind::Cleared, None, &format!("cleared by {by}"))?;
            connector.status = ConnectorStatus::Active;
        }
        state.tripped = None;
        state.consecutive_failures = 0;
        Ok(())
    })?;
    health::failing(txn, id)?.into_iter().try_for_each(|failing| forgive(txn, id, failing))
}

/// The failures of a connection begin anew.
pub fn forgive(
    txn: &Txn,
    connector: ConnectorId,
    connection: ConnectionId,
) -> Result<(), store::Error> {
    health::change(txn, Whose(connector, Some(connection)), |state| {
        state.consecutive_failures = 0;
        Ok(())
    })
}

/// What a probe found, `Err` with code and words. True if the connector is active again by it. A probe that was
/// overtaken (a person cleared the connector, it tripped anew) changes nothing.
pub fn note_probe(
    txn: &Txn,
    connector: ConnectorId,
    tripped_at: i64,
    found: &Result<(), (String, String)>,
    options: &Options,
    now: i64,
) -> Result<bool, store::Error> {
    let row = directory::connector(txn, connector)?;
    let Some(mut row) = row.filter(|row| row.status == ConnectorStatus::Error) else {
        return Ok(false);
    };
    health::change(txn, Whose(connector, None), |state| {
        let Some(tripped) = state.tripped.clone().filter(|tripped| tripped.at == tripped_at) else {
            return Ok(false);
        };
        match found {
            Ok(()) => {
                count_downtime(state, now);
                state.tripped = None;
                state.consecutive_failures = 0;
                set_status(txn, &mut row, ConnectorStatus::Active, now)?;
                let message = "a probe found the connector well: it is active again";
                log(txn, connector, now, LineKind::Recovered, None, message)?;
                tracing::info!(%connector, "a connector is active again");
                let event = Event::new(EventKind::ConnectorRecovered, now).of_connector(connector);
                notify::raise(txn, event)?;
            }
            Err((code, message)) => {
                let pause = options.probe_first.saturating_mul(1 << (tripped.probes + 1).min(20));
                let probe_at = now.saturating_add(pause.min(options.probe_max));
                let probes = tripped.probes.saturating_add(1);
                state.tripped = Some(Tripped { at: tripped.at, probe_at, probes });
                state.last_error_at = Some(now);
                state.last_error = Some(message.clone());
                log(txn, connector, now, LineKind::Probe, Some(code.clone()), message)?;
            }
        }
        Ok(found.is_ok())
    })
}

/// At start: probes that fell due while nothing ran wait once more, so that no probe runs at start-up.
pub fn defer_probes(txn: &Txn, options: &Options, now: i64) -> Result<(), store::Error> {
    for connector in health::due(txn, now)? {
        health::change(txn, Whose(connector, None), |state| {
            if let Some(tripped) = &mut state.tripped {
                tripped.probe_at = now.saturating_add(options.probe_first);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The connectors to probe at `now`, each with the time at which it tripped.
pub fn due_probes(read: &dyn Read, now: i64) -> Result<Vec<(ConnectorId, i64)>, store::Error> {
    let mut due = Vec::new();
    for connector in health::due(read, now)? {
        let state = health::get(read, Whose(connector, None))?;
        due.extend(state.tripped.map(|tripped| (connector, tripped.at)));
    }
    Ok(due)
}

fn set_status(
    txn: &Txn,
    connector: &mut Connector,
    status: ConnectorStatus,
    now: i64,
) -> Result<(), store::Error> {
    connector.status = status;
    connector.version += 1;
    connector.updated_at = now;
    directory::put_connector(txn, connector)
}

fn log(
    txn: &Txn,
    connector: ConnectorId,
    at: i64,
    kind: LineKind,
    code: Option<String>,
    message: &str,
) -> Result<(), store::Error> {
    let message = message.to_owned();
    let line = Line {
        at,
        kind,
        code,
        message,
        page: None,
        sync_id: None,
        organization: None,
        fault: false,
    };
    health::append(txn, Whose(connector, None), &line)
}

/// Spreads the time since the trip over its days.
fn count_downtime(state: &mut Health, now: i64) {
    let Some(at) = state.tripped.as_ref().map(|tripped| tripped.at) else { return };
    let today = day_of(now);
    for day in day_of(at).max(first_of(today))..=today {
        let (begin, end) = view::bounds(day);
        let down = u64::try_from(now.min(end) - at.max(begin)).unwrap_or(0);
        state.change_day(day, |row| row.down_millis += down);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
