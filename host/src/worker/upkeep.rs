//! What is done in the background while the server runs, all by the clock: connectors in `error` are asked whether they
//! are well again, secrets that nobody needs any more are destroyed, what is old enough goes, and people are told when the
//! disk runs full.

use super::{Deps, check};
use crate::clock;
use crate::credentials;
use crate::disk::Room;
use crate::health;
use crate::model::ConnectorId;
use crate::model::directory::{Connection, Connector};
use crate::model::notice::{Event, EventKind};
use crate::notify;
use crate::secrets;
use crate::store::health::Whose;
use crate::store::{self, Read, directory, lookup, meta, retention};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::HashMap;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// How long a view of the store from before a change of keys may be held.
const OLD_VIEW_MILLIS_MAX: i64 = 60_000;
/// How long a connector is left alone after a probe, also where nothing came of it.
const REST_MILLIS: i64 = 1_000;
/// Connections that a probe asks through at the most: what is wrong with one of them says nothing of the connector.
const PROBED_MAX: usize = 5;
/// Connections that these are chosen among.
const PROBED_AMONG: usize = 200;
/// Rows that are gone through in one transaction.
const BATCH: usize = 64;
/// How often it is looked for what is old enough to go.
const PRUNE_MILLIS: i64 = 60 * 60 * 1000;
/// Rows that go in one transaction: others write between two of them.
const PRUNED_AT_ONCE: usize = 500;

/// When what comes again and again is due, in milliseconds since the epoch.
struct Due {
    destroy: i64,
    disk: i64,
    prune: i64,
}

/// Works until `stop`.
pub async fn upkeep(deps: Deps, stop: CancellationToken) {
    let now = || clock::to_millis(deps.clock.now());
    if let Err(error) = secrets::finish(&deps.store, &deps.keys, &deps.clock).await {
        tracing::error!(%error, "the change of keys that was under way cannot go on");
    }
    let mut due = Due { destroy: now(), disk: now(), prune: now() };
    let mut probes = JoinSet::new();
    // Until when each is left alone: those that are being asked, and those that were asked just now.
    let mut asked: HashMap<ConnectorId, i64> = HashMap::new();
    // A connector is disabled, or given another time, in a commit.
    let mut commits = deps.store.commits();
    while !stop.is_cancelled() {
        commits.mark_unchanged();
        deps.keys.forget_retired(now() - OLD_VIEW_MILLIS_MAX);
        if now() >= due.destroy {
            due.destroy = now() + DAY_MILLIS;
            if let Err(error) = destroy_left(&deps, now()).await {
                tracing::error!(%error, "credentials that nobody uses cannot be destroyed");
            }
        }
        if now() >= due.disk {
            due.disk = now() + deps.options.disk_look_millis;
            if let Err(error) = look_at_disk(&deps, now()).await {
                tracing::error!(%error, "how full the disk is cannot be told");
            }
        }
        if now() >= due.prune {
            due.prune = now() + PRUNE_MILLIS;
            if let Err(error) = prune(&deps, &stop, now()).await {
                tracing::error!(%error, "what is old enough cannot be removed");
            }
        }
        let looked_at = now();
        for (connector, tripped_at) in due_probes(&deps, looked_at) {
            // A probe may take longer than until the next look.
            if asked.get(&connector).is_none_or(|until| *until <= looked_at) {
                asked.insert(connector, i64::MAX);
                let (probe, work) = (probe(deps.clone(), connector, tripped_at), deps.clock.work());
                probes.spawn(async move { (probe.await, work) });
            }
        }
        asked.retain(|_, until| *until > looked_at);
        let instant = |at| Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX);
        let next = next_probe(&deps, looked_at).into_iter().chain(asked.values().copied());
        let next = instant(next.fold(i64::MAX, i64::min));
        let look = instant(due.destroy.min(due.disk).min(due.prune));
        let woken = async {
            tokio::select! {
                () = stop.cancelled() => None,
                Some(done) = probes.join_next() => Some(done),
                Ok(()) = commits.changed() => None,
                () = deps.clock.until(next) => None,
                () = deps.clock.look(look) => None,
            }
        };
        match deps.clock.rest(woken).await {
            None => {}
            Some(Ok((connector, _))) => drop(asked.insert(connector, now() + REST_MILLIS)),
            // Which one it was is not known: all may be asked again.
            Some(Err(_)) => asked.clear(),
        }
    }
}

fn due_probes(deps: &Deps, now: i64) -> Vec<(ConnectorId, i64)> {
    let due = deps.store.read().and_then(|read| health::due_probes(&read, now));
    due.unwrap_or_else(|error| {
        tracing::error!(%error, "cannot look for connectors to probe");
        Vec::new()
    })
}

/// When the first probe behind `now` is due; those before it were begun.
fn next_probe(deps: &Deps, now: i64) -> Option<i64> {
    let next = deps.store.read().and_then(|read| store::health::next_due(&read, now));
    next.unwrap_or_else(|error| {
        tracing::error!(%error, "cannot look for the next connector to probe");
        None
    })
}

/// Destroys credentials that were left long enough ago, and whatever else was deleted or replaced since the last time.
async fn destroy_left(deps: &Deps, now: i64) -> Result<(), secrets::Error> {
    let before = now.saturating_sub(deps.options.credentials_kept_millis).saturating_add(1);
    loop {
        let write = move |txn: &store::Txn| credentials::delete_left(txn, before, BATCH);
        let gone_through: Result<usize, store::Error> = deps.store.write(write).await;
        if gone_through? < BATCH {
            break;
        }
    }
    secrets::shred(&deps.store, &deps.keys, &deps.clock).await
}

/// Removes what is old enough, class by class, a bounded piece at a time.
async fn prune(deps: &Deps, stop: &CancellationToken, now: i64) -> Result<(), store::Error> {
    for (class, kept) in deps.options.kept.iter().copied() {
        let before = now.saturating_sub(kept);
        let mut rows = 0;
        while retention::any_before(&deps.store.read()?, class, before)? && !stop.is_cancelled() {
            let write =
                move |txn: &store::Txn| retention::prune(txn, class, before, now, PRUNED_AT_ONCE);
            let pruned: Result<retention::Pruned, store::Error> = deps.store.write(write).await;
            let pruned = pruned?;
            rows += pruned.rows;
            if !pruned.more {
                break;
            }
        }
        if rows > 0 {
            tracing::info!(?class, rows, "what was old enough is gone");
        }
    }
    Ok(())
}

/// Tells when the disk becomes low, when it becomes full, and when there is room again; each once, over restarts too.
async fn look_at_disk(deps: &Deps, now: i64) -> Result<(), store::Error> {
    let told = meta::disk_told(&deps.store.read()?)?;
    let level = match deps.disk.room() {
        Room::Full => 2,
        Room::Low => 1,
        Room::Enough if told > 0 && !deps.disk.has_recovered() => told.min(1),
        Room::Enough => 0,
    };
    if level == told {
        return Ok(());
    }
    if level < 2 {
        // Runs that waited for room may begin.
        deps.bell.notify_one();
    }
    let free = deps.disk.free().unwrap_or_default() >> 20;
    let event = match level {
        0 => Some(Event::new(EventKind::DiskRecovered, now)),
        // From full to low is not yet good news, and no new bad one.
        1 if told == 2 => None,
        1 => Some(Event::new(EventKind::DiskLow, now)),
        _ => Some(Event::new(EventKind::DiskLow, now).fact(Event::CODE, "disk.full")),
    };
    tracing::warn!(free_mebibytes = free, level, "the room on the disk changed");
    let reason = format!("{free} MiB are free on the disk of the data directory");
    let event = event.map(|event| event.fact(Event::REASON, &reason));
    let write = move |txn: &store::Txn| -> Result<(), store::Error> {
        meta::put_disk_told(txn, level)?;
        event.iter().try_for_each(|event| notify::raise(txn, event.clone()))
    };
    deps.store.write(write).await
}

/// Cheap authenticated calls decide whether the connector is active again.
async fn probe(deps: Deps, id: ConnectorId, tripped_at: i64) -> ConnectorId {
    let parties = deps.store.read().and_then(|read| {
        let connections = telling(&read, id)?;
        Ok((directory::connector(&read, id)?, connections))
    });
    let (connector, connections) = match parties {
        Ok((Some(connector), connections)) => (connector, connections),
        Ok((None, _)) => return id,
        Err(error) => {
            tracing::error!(%error, connector = %id, "cannot probe");
            return id;
        }
    };
    let found = ask(&deps, &connector, connections).await;
    let (options, now) = (deps.options.health, clock::to_millis(deps.clock.now()));
    let noted: Result<bool, store::Error> = deps
        .store
        .write(move |txn| health::note_probe(txn, id, tripped_at, &found, &options, now))
        .await;
    match noted {
        // Jobs that waited for it may run.
        Ok(true) => deps.bell.notify_one(),
        Ok(false) => {}
        Err(error) => tracing::error!(%error, connector = %id, "cannot note a probe"),
    }
    id
}

/// The connections to probe through, each with whether it logs in with something of its own. Those that use the
/// connector's login say most, and among them those that worked last.
fn telling(read: &dyn Read, id: ConnectorId) -> Result<Vec<(Connection, bool)>, store::Error> {
    let mut found = Vec::new();
    for row in lookup::connections_of_connector(read, id, None, PROBED_AMONG)? {
        let own = credentials::is_own(read, id, (row.organization.as_str(), row.id))?;
        let fares = store::health::get(read, Whose(id, Some(row.id)))?;
        found.push((own, Reverse(fares.last_success_at), row));
    }
    found.sort_by_key(|(own, worked, _)| (*own, *worked));
    Ok(found.into_iter().take(PROBED_MAX).map(|(own, _, row)| (row, own)).collect())
}

/// Asks through one connection after the other until an answer says something of the connector.
async fn ask(
    deps: &Deps,
    connector: &Connector,
    connections: Vec<(Connection, bool)>,
) -> Result<(), (String, String)> {
    let mut connections = connections.into_iter();
    let mut through = connections.next();
    loop {
        let own = through.as_ref().is_some_and(|(_, own)| *own);
        let connection = through.map(|(row, _)| row);
        let report = check::check(deps, connector.clone(), connection).await;
        let Some(failure) = report.error else { return Ok(()) };
        through = connections.next();
        if through.is_none() || health::class(&failure.code, own) == health::Class::Connector {
            return Err((failure.code, failure.message));
        }
    }
}
