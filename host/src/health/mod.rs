//! When a connector counts as sick, when it is disabled, and when it is well again.
//!
//! A failure counts against the connector only where it says something about the connector: what is wrong with one
//! organization's data counts for that organization's connection alone. Every function takes the caller's transaction,
//! so that a run and what it means for the connector are written together. Must not ask the remote anything.

mod class;
mod view;

pub use class::{Class, class};
pub use view::{Report, report};

use crate::model::directory::{Connection, Connector, ConnectorStatus};
use crate::model::health::{Line, LineKind, Tripped};
use crate::model::notice::{Event, EventKind};
use crate::model::run::{Run, RunError};
use crate::model::{ConnectorId, RunStatus};
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
/// with credentials of its own. Dry, held and cancelled runs say nothing about health.
///
/// An attempt that another one follows is a failure of the connector where its fault is the connector's, and stands in
/// the log; the share of good runs and the failures of a connection count runs.
pub fn note_run(
    txn: &Txn,
    connection: &mut Connection,
    run: &Run,
    own: bool,
    options: &Options,
) -> Result<(), store::Error> {
    let good = match run.status {
        _ if run.dry_run => return Ok(()),
        RunStatus::Completed | RunStatus::Partial => true,
        RunStatus::Failed | RunStatus::NeedsReauth | RunStatus::Waiting => false,
        RunStatus::Queued | RunStatus::Running | RunStatus::Held | RunStatus::Cancelled => {
            return Ok(());
        }
    };
    let whose = [Whose(run.connector, None), Whose(run.connector, Some(run.connection))];
    if run.status == RunStatus::Waiting || run.superseded_by.is_some() {
        return note_attempt(txn, connection, run, own, whose, options);
    }
    let at = run.completed_at.unwrap_or(run.created_at);
    for whose in whose {
        health::change_day(txn, whose, health::day_of(at), |day| {
            *(if good { &mut day.good } else { &mut day.bad }) += 1;
        })?;
    }
    if good {
        connection.last_sync_at = run.completed_at;
        connection.consecutive_failures = 0;
        return note_success(txn, run.connector, at);
    }
    connection.consecutive_failures = connection.consecutive_failures.saturating_add(1);
    note_error(txn, connection, run, own, (whose, at), options)
}

fn note_attempt(
    txn: &Txn,
    connection: &mut Connection,
    run: &Run,
    own: bool,
    whose: [Whose; 2],
    options: &Options,
) -> Result<(), store::Error> {
    let at = run.errors.first().and_then(|error| error.at.parse::<jiff::Timestamp>().ok());
    let at = at.map_or(run.created_at, jiff::Timestamp::as_millisecond);
    note_error(txn, connection, run, own, (whose, at), options)
}

fn note_error(
    txn: &Txn,
    connection: &mut Connection,
    run: &Run,
    own: bool,
    (whose, at): ([Whose; 2], i64),
    options: &Options,
) -> Result<(), store::Error> {
    let error = run.errors.first();
    connection.last_error_at = Some(at);
    connection.last_error = error.map(|error| error.message.clone());
    let fault = error.is_some_and(|error| class(&error.code, own) == Class::Connector);
    let line = run_line(run, error, at, fault);
    whose.into_iter().try_for_each(|whose| health::append(txn, whose, &line))?;
    note_failure(txn, run.connector, &line, options)
}

fn run_line(run: &Run, error: Option<&RunError>, at: i64, fault: bool) -> Line {
    let unsaid = "less than half of the valid records could be applied";
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

fn note_success(txn: &Txn, connector: ConnectorId, at: i64) -> Result<(), store::Error> {
    let mut state = health::get(txn, connector)?;
    state.last_success_at = Some(at);
    // A run that began before the trip does not undo it: a probe or a person does.
    if state.tripped.is_none() {
        state.consecutive_faults = 0;
    }
    health::put(txn, connector, &state)
}

fn note_failure(
    txn: &Txn,
    connector: ConnectorId,
    line: &Line,
    options: &Options,
) -> Result<(), store::Error> {
    let mut state = health::get(txn, connector)?;
    state.last_error_at = Some(line.at);
    state.last_error = Some(line.message.clone());
    if line.fault {
        state.consecutive_faults = state.consecutive_faults.saturating_add(1);
    }
    let full = state.consecutive_faults >= options.faults_max && state.tripped.is_none();
    let row = if full && line.fault { directory::connector(txn, connector)? } else { None };
    if let Some(mut row) = row.filter(|row| row.status == ConnectorStatus::Active) {
        let probe_at = line.at.saturating_add(options.probe_first);
        state.tripped = Some(Tripped { at: line.at, probe_at, probes: 0 });
        let faults = state.consecutive_faults;
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
    health::put(txn, connector, &state)
}

/// A person says that a connector is well, or switches it on or off: counters start anew. A connector in `error` is
/// active afterwards; the status of any other is the caller's affair.
pub fn clear(txn: &Txn, connector: &mut Connector, by: &str, now: i64) -> Result<(), store::Error> {
    let mut state = health::get(txn, connector.id)?;
    if state.tripped.is_some() || connector.status == ConnectorStatus::Error {
        count_downtime(txn, connector.id, state.tripped.as_ref(), now)?;
        let message = format!("cleared by {by}");
        log(txn, connector.id, now, LineKind::Cleared, None, &message)?;
        connector.status = ConnectorStatus::Active;
    }
    state.tripped = None;
    state.consecutive_faults = 0;
    health::put(txn, connector.id, &state)?;
    for mut connection in directory::connections_of(txn, connector.id)? {
        if connection.consecutive_failures > 0 {
            connection.consecutive_failures = 0;
            directory::put_connection(txn, &connection)?;
        }
    }
    Ok(())
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
    let mut state = health::get(txn, connector)?;
    let row = directory::connector(txn, connector)?;
    let (Some(tripped), Some(mut row)) = (state.tripped.clone(), row) else { return Ok(false) };
    if tripped.at != tripped_at || row.status != ConnectorStatus::Error {
        return Ok(false);
    }
    match found {
        Ok(()) => {
            count_downtime(txn, connector, Some(&tripped), now)?;
            state.tripped = None;
            state.consecutive_faults = 0;
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
    health::put(txn, connector, &state)?;
    Ok(found.is_ok())
}

/// At start: probes that fell due while nothing ran wait once more, so that no probe runs at start-up.
pub fn defer_probes(txn: &Txn, options: &Options, now: i64) -> Result<(), store::Error> {
    for connector in health::due(txn, now)? {
        let mut state = health::get(txn, connector)?;
        if let Some(tripped) = &mut state.tripped {
            tripped.probe_at = now.saturating_add(options.probe_first);
        }
        health::put(txn, connector, &state)?;
    }
    Ok(())
}

/// The connectors to probe at `now`, each with the time at which it tripped.
pub fn due_probes(read: &dyn Read, now: i64) -> Result<Vec<(ConnectorId, i64)>, store::Error> {
    let mut due = Vec::new();
    for connector in health::due(read, now)? {
        due.extend(health::get(read, connector)?.tripped.map(|tripped| (connector, tripped.at)));
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
fn count_downtime(
    txn: &Txn,
    connector: ConnectorId,
    tripped: Option<&Tripped>,
    now: i64,
) -> Result<(), store::Error> {
    let Some(tripped) = tripped else { return Ok(()) };
    let today = health::day_of(now);
    let first = health::day_of(tripped.at).max((today + 1).saturating_sub(health::DAYS_MAX));
    for day in first..=today {
        let (begin, end) = view::bounds(day);
        let down = now.min(end) - tripped.at.max(begin);
        let down = u64::try_from(down).unwrap_or(0);
        health::change_day(txn, Whose(connector, None), day, |row| row.down_millis += down)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
