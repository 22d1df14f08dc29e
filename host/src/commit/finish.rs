//! How a run ends: its row, its job, its request list, the watermark and the connection's health, together.

use super::{EntityPlan, Error, Plan};
use crate::clock;
use crate::credentials;
use crate::health;
use crate::model::RunStatus;
use crate::model::job::Job;
use crate::model::notice::{Event, EventKind};
use crate::model::run::{PhaseTiming, Run};
use crate::notify;
use crate::queue::{self, Postponed};
use crate::store::health::Whose;
use crate::store::{self, Store, Txn, directory, failures, runs};
use std::sync::Arc;
use std::time::Instant;

/// The claim as the store has it, which must still be the caller's: claimed by nobody else since, and not ended.
pub(super) fn check_fence(txn: &Txn, job: &Job) -> Result<Job, Error> {
    queue::holder(txn, job)?.ok_or(Error::Fenced)
}

/// Ends a run whose effects are in the same transaction.
pub(super) fn end(txn: &Txn, plan: &Plan, started: Instant) -> Result<(), Error> {
    for entity in plan.entities.iter() {
        keep_watermark(txn, plan, entity)?;
    }
    runs::delete_plan(txn, plan.run.id)?;
    let mut run = (*plan.run).clone();
    run.completed_at = Some(clock::to_millis(plan.clock.now()));
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    run.phases.push(PhaseTiming { phase: "commit".to_owned(), millis });
    close(txn, plan, run)
}

fn keep_watermark(txn: &Txn, plan: &Plan, entity: &EntityPlan) -> Result<(), Error> {
    let wanted = entity.watermark.as_ref().filter(|_| !plan.run.dry_run);
    match wanted.filter(|_| plan.run.status == RunStatus::Completed) {
        Some(watermark) => {
            let (org, connection) = (plan.org, plan.connection.id);
            Ok(directory::put_watermark(txn, org, connection, entity.entity, watermark)?)
        }
        None => Ok(()),
    }
}

/// Keeps the whole plan of a run that tripped a brake, shows what it would do, and lets the run wait for a person.
pub async fn hold(plan: Plan) -> Result<(), Error> {
    let store = plan.store.clone();
    store
        .write_bulk(move |txn| {
            check_fence(txn, &plan.job)?;
            for page in plan.entities.iter().flat_map(|entity| entity.pages.clone()) {
                let bytes = (plan.page)(&plan.store, page)?.ok_or(Error::PlanGone(page))?;
                runs::put_plan_page(txn, plan.run.id, page, &bytes)?;
            }
            super::show(txn, &plan)?;
            close(txn, &plan, (*plan.run).clone())
        })
        .await
}

/// Ends a run that applies nothing because of what it read; its quarantine is kept, and tells why.
pub async fn abort(plan: Plan) -> Result<(), Error> {
    let store = plan.store.clone();
    store
        .write_bulk(move |txn| {
            check_fence(txn, &plan.job)?;
            for entity in plan.entities.iter().filter(|_| !plan.run.dry_run) {
                let scope = plan.scope(entity);
                for page in entity.pages.clone() {
                    for failure in &plan.read_page(page)?.failures {
                        failures::record(txn, &scope, failure, plan.run.id, plan.at)?;
                    }
                }
            }
            close(txn, &plan, (*plan.run).clone())
        })
        .await
}

/// How an attempt without effects ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// As it shall stand: failed, cancelled, needing a new login.
    pub run: Run,
    pub logs: Vec<serde_json::Value>,
    /// When another attempt follows: then the run waits for it.
    pub postponed: Option<Postponed>,
    pub health: health::Options,
}

/// Ends an attempt that has no effects; answers the run as it stands afterwards.
pub async fn note_failure(store: &Store, job: Arc<Job>, ending: Ending) -> Result<Run, Error> {
    let asked = ending.run.clone();
    let other = store
        .write(move |txn| -> Result<Option<Run>, Error> {
            let Ending { run, logs, postponed, health } = &ending;
            let held = check_fence(txn, &job)?;
            runs::append_logs(txn, run.id, logs)?;
            // None where it ends as it was asked to.
            let other = match postponed {
                // Whoever cancelled it wants no further attempt.
                Some(_) if held.cancel => Some(cancelled(run.clone())),
                Some(postponed) => Some(queue::postpone(txn, &held, run.clone(), *postponed)?),
                None => None,
            };
            let run = other.as_ref().unwrap_or(run);
            if postponed.is_none() || held.cancel {
                queue::finish(txn, &held, run)?;
            }
            tell(txn, run, health)?;
            Ok(other)
        })
        .await?;
    Ok(other.unwrap_or(asked))
}

fn cancelled(run: Run) -> Run {
    Run { status: RunStatus::Cancelled, next_retry_at: None, ..run }
}

/// Ends a run by its plan: its row, its job, its lists, and what it means to others.
fn close(txn: &Txn, plan: &Plan, run: Run) -> Result<(), Error> {
    let held = check_fence(txn, &plan.job)?;
    runs::append_requests(txn, run.id, &plan.requests)?;
    runs::append_logs(txn, run.id, &plan.logs)?;
    queue::finish(txn, &held, &run)?;
    tell(txn, &run, &plan.health)
}

/// What the end of an attempt means to its connection's health and to the people who look after it.
fn tell(txn: &Txn, run: &Run, health: &health::Options) -> Result<(), Error> {
    // Whose credentials they are matters only to who is to blame.
    let connection = (run.organization.as_str(), run.connection);
    let own = !run.errors.is_empty() && credentials::is_own(txn, run.connector, connection)?;
    if !run.dry_run {
        if is_refused_anew(txn, run, own)? {
            notify::raise(txn, because(EventKind::CredentialsDead, run))?;
        }
        if let Some(event) = event_of(run) {
            notify::raise(txn, event)?;
        }
    }
    if health::note_run(txn, run, own, health)? {
        notify::raise(txn, about(EventKind::Recovered, run))?;
    }
    Ok(())
}

/// Whether the login is refused for the first time since the connection was well or the credentials were set: a key that
/// was revoked fails every night, and is told of once. An authorization that died is told of by its status.
fn is_refused_anew(txn: &Txn, run: &Run, own: bool) -> Result<bool, store::Error> {
    let refused =
        |code: Option<&str>| matches!(code, Some("remote.auth" | "connector.credentials"));
    let code = run.errors.first().map(|error| error.code.as_str());
    if run.status != RunStatus::Failed || run.superseded_by.is_some() || !refused(code) {
        return Ok(false);
    }
    let whose = Whose(run.connector, Some(run.connection));
    let failing = store::health::get(txn, whose)?.consecutive_failures > 0;
    let last = store::health::lines(txn, whose, 1)?.pop();
    let Some(last) = last.filter(|line| failing && refused(line.code.as_deref())) else {
        return Ok(true);
    };
    let connection = own.then_some((run.organization.as_str(), run.connection));
    let set = credentials::updated_at(txn, run.connector, connection)?;
    Ok(set.is_some_and(|at| at >= last.at))
}

/// What a run's end tells the people who look after the connection, where it did not end well.
fn event_of(run: &Run) -> Option<Event> {
    let kind = match run.status {
        // One that another run takes over has not failed for good.
        RunStatus::Failed if run.superseded_by.is_none() => EventKind::RunFailed,
        RunStatus::NeedsReauth => EventKind::CredentialsDead,
        RunStatus::Held => EventKind::RunHeld,
        _ => return None,
    };
    let event = because(kind, run);
    let reason = run.held_reason.as_ref().filter(|_| kind == EventKind::RunHeld);
    Some(match reason {
        Some(reason) => event.fact(Event::REASON, reason),
        None => event,
    })
}

/// An event about a run that has ended, with its first error.
fn because(kind: EventKind, run: &Run) -> Event {
    let event = about(kind, run);
    match run.errors.first() {
        Some(error) => event.fact(Event::CODE, &error.code).fact(Event::REASON, &error.message),
        None => event,
    }
}

/// An event about a run that has ended.
pub(super) fn about(kind: EventKind, run: &Run) -> Event {
    Event::new(kind, run.completed_at.unwrap_or(run.created_at))
        .of_organization(&run.organization)
        .of_connector(run.connector)
        .of_run(run.id)
}
