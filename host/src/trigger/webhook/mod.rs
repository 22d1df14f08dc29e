//! From deliveries to jobs: reads what was accepted, in order, and asks the queue for the records that it names.
//!
//! How far it came is stored with the jobs, so that a crash repeats nothing and skips nothing. A delivery that cannot be
//! read is put aside and stops no other, and a connector whose component wastes time is left alone for a while, so that
//! it does not stop the others. Must not fetch a record: an event is a hint.

mod replay;
mod route;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use replay::{NoReplay, replay};

use crate::clock::{self, Clock};
use crate::crash_point;
use crate::inbox::{self, Inbox, Opened};
use crate::model::directory::Connector;
use crate::model::ids::HookId;
use crate::model::webhook::{HookDue, Parsed, Reading, Refetch, Verdict};
use crate::model::{ConnectionId, ConnectorId};
use crate::store::hooks::StoredHook;
use crate::store::{self, Store, Txn, directory, hook_outcomes, hooks};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Deliveries that are read together, and their bodies together.
const BATCH: usize = 4_096;
const BATCH_BYTES: usize = 8 << 20;
/// Where so many came at once, more are coming: they are given this time to gather, so that many share a commit of the
/// truth and leave the disk to those who wait for an answer.
const CROWD: usize = 16;
const GATHER: Duration = Duration::from_millis(100);
/// Events that one transaction takes; the delivery that goes over it is the last.
const EVENTS_AT_ONCE: usize = 20_000;
/// First and longest wait before a delivery that could not be tried is tried again; it doubles.
const WAIT_MILLIS_MIN: i64 = 60_000;
const WAIT_MILLIS_MAX: i64 = 60 * 60_000;
/// So many times; about three days.
const ATTEMPTS_MAX: u32 = 78;
/// How long a connector is left alone whose component wasted time.
const ALONE_MILLIS: i64 = 60_000;

/// Reads deliveries of one connector: where components are called is for others to know.
pub type Read =
    Arc<dyn Fn(Arc<Connector>, Arc<[Opened]>) -> BoxFuture<'static, Reading> + Send + Sync>;

#[derive(Clone)]
pub struct Dispatcher {
    pub store: Store,
    pub inbox: Inbox,
    pub clock: Clock,
    pub read: Read,
    /// Conflict strategy where neither connection nor connector names one.
    pub strategy_default: Arc<str>,
    /// Rung when there are new jobs.
    pub jobs: Arc<Notify>,
    /// How long ids of events are remembered.
    pub dedup_millis: i64,
}

/// A delivery with what its connector's plugin made of it.
struct Dispatched {
    id: HookId,
    connector: ConnectorId,
    /// Set where the address named one.
    connection: Option<ConnectionId>,
    acknowledged_at: Option<i64>,
    /// None where there is nothing to read: it only counts as processed.
    parsed: Option<Parsed>,
    entities: Arc<[Refetch]>,
    /// Set where it was put off, or asked for again.
    due: Option<HookDue>,
}

/// Connectors that are left alone, and until when (milliseconds since the epoch).
type LeftAlone = HashMap<ConnectorId, i64>;

/// Deliveries of one connector, and their places among all.
type Group = (Vec<Opened>, Vec<(bool, usize)>);

/// How far one turn came.
struct Turn {
    taken: usize,
    /// Where nothing was left to take: when the next one that was put off is due.
    next: Option<i64>,
}

/// A delivery on its way, before it is read.
struct Taken {
    stored: StoredHook,
    due: Option<HookDue>,
}

impl Dispatcher {
    /// Works until `stop`.
    pub async fn work(self, stop: CancellationToken) {
        let mut left_alone = LeftAlone::new();
        while !stop.is_cancelled() {
            let next = match self.turn(&mut left_alone).await {
                Ok(Turn { taken: 0, next }) => next,
                // There may be more.
                Ok(Turn { taken, .. }) => {
                    if (CROWD..BATCH).contains(&taken) {
                        tokio::time::sleep(GATHER).await;
                    }
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, "deliveries cannot be processed");
                    Some(self.now() + 1_000)
                }
            };
            let due = async {
                match next.and_then(|at| jiff::Timestamp::from_millisecond(at).ok()) {
                    Some(at) => self.clock.until(at).await,
                    None => std::future::pending().await,
                }
            };
            let woken = async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.inbox.bell().notified() => {}
                    () = due => {}
                }
            };
            self.clock.rest(woken).await;
        }
    }

    fn now(&self) -> i64 {
        clock::to_millis(self.clock.now())
    }

    /// Takes what waits.
    async fn turn(&self, left_alone: &mut LeftAlone) -> Result<Turn, inbox::Error> {
        let now = self.now();
        left_alone.retain(|_, until| *until > now);
        let store = self.store.clone();
        let taken = tokio::task::spawn_blocking(move || take(&store, now));
        let (taken, next) =
            taken.await.map_err(|error| store::Error::Storage(error.to_string()))??;
        let turn = Turn { taken: taken.len(), next };
        if taken.is_empty() {
            return Ok(turn);
        }
        let mut dispatched = self.read(taken, left_alone).await?;
        crash_point::reached("webhook:read");
        while !dispatched.is_empty() {
            let (mut count, mut events) = (0, 0);
            for one in &dispatched {
                count += 1;
                events += match &one.parsed {
                    Some(Parsed::Events(found)) => found.len(),
                    _ => 0,
                };
                if events >= EVENTS_AT_ONCE {
                    break;
                }
            }
            let rest = dispatched.split_off(count);
            self.route(dispatched).await?;
            dispatched = rest;
        }
        crash_point::reached("webhook:routed");
        Ok(turn)
    }

    /// Has the bodies read, connector by connector; what is in the result is in the order of the deliveries.
    async fn read(
        &self,
        taken: Vec<Taken>,
        left_alone: &mut LeftAlone,
    ) -> Result<Vec<Dispatched>, inbox::Error> {
        let nothing: Arc<[Refetch]> = Arc::from([]);
        let mut dispatched = BTreeMap::new();
        let mut by_connector: HashMap<ConnectorId, Group> = HashMap::new();
        for (order, Taken { stored, due }) in taken.into_iter().enumerate() {
            let key = (due.is_some(), order);
            let (id, connector) = (stored.id, stored.hook.connector);
            let mut one = Dispatched {
                id,
                connector,
                connection: stored.hook.connection,
                acknowledged_at: None,
                parsed: None,
                entities: Arc::clone(&nothing),
                due,
            };
            if stored.hook.verdict == Verdict::Accepted {
                match self.inbox.open_body(stored) {
                    Ok(opened) => {
                        let group = by_connector.entry(connector).or_default();
                        group.0.push(opened);
                        group.1.push(key);
                    }
                    Err(error) => {
                        tracing::error!(%error, %id, "the body of a delivery cannot be opened");
                        let code = "webhook.sealed".to_owned();
                        one.parsed = Some(Parsed::Unreadable(code, error.to_string()));
                    }
                }
            }
            dispatched.insert(key, one);
        }
        for (connector, (opened, keys)) in by_connector {
            let found = directory::connector(&self.store.read()?, connector)?;
            let opened: Arc<[Opened]> = opened.into();
            let reading = match found {
                Some(_) if left_alone.contains_key(&connector) => {
                    Reading { wasteful: true, ..Reading::default() }
                }
                Some(row) => (self.read)(Arc::new(row), Arc::clone(&opened)).await,
                None => Reading::default(),
            };
            let wasteful = reading.wasteful;
            if wasteful {
                left_alone.entry(connector).or_insert_with(|| self.now() + ALONE_MILLIS);
            }
            let entities: Arc<[Refetch]> = reading.entities.into();
            let mut parsed = reading.parsed.into_iter();
            for key in &keys {
                let parsed = parsed.next().unwrap_or_else(|| unread(wasteful));
                if let Some(one) = dispatched.get_mut(key) {
                    (one.parsed, one.entities) = (Some(parsed), Arc::clone(&entities));
                }
            }
        }
        Ok(dispatched.into_values().collect())
    }

    /// One transaction: the jobs that deliveries ask for, what each came to, and that they were processed.
    async fn route(&self, mut dispatched: Vec<Dispatched>) -> Result<(), store::Error> {
        let (now, dedup_millis) = (self.now(), self.dedup_millis);
        // As late as can be: a delivery may be read before its sender has heard of it.
        for one in &mut dispatched {
            one.acknowledged_at = self.inbox.take_acknowledged(one.id);
        }
        let (default, dispatched) = (Arc::clone(&self.strategy_default), Arc::new(dispatched));
        let asked = self
            .store
            .write(move |txn: &Txn| route::all(txn, &dispatched, &default, now, dedup_millis))
            .await?;
        if asked {
            self.jobs.notify_one();
        }
        Ok(())
    }
}

/// What becomes of a delivery that its connector's component was not asked about.
fn unread(wasteful: bool) -> Parsed {
    if wasteful {
        let message = "the connector's plugin died of other deliveries and took long over it";
        Parsed::Later("webhook.put-off".to_owned(), message.to_owned())
    } else {
        Parsed::Unreadable("connector.gone".to_owned(), "the connector is gone".to_owned())
    }
}

/// The next deliveries: those that were put off and are due, and those behind the last that was processed. Also when the
/// next one is due.
fn take(store: &Store, now: i64) -> Result<(Vec<Taken>, Option<i64>), store::Error> {
    let state = store.read()?;
    let processed = hook_outcomes::processed(&state)?;
    let (mut taken, mut bytes) = (Vec::new(), 0);
    // Behind the look at what was processed, so that nothing that is there is missed.
    let view = hooks::view(store)?;
    hooks::scan(&view, processed, &mut |stored| {
        bytes += stored.body.len();
        taken.push(Taken { stored, due: None });
        let full = taken.len() >= BATCH || bytes >= BATCH_BYTES;
        if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let due = hook_outcomes::all_due(&state, now, BATCH)?;
    for (id, one) in due.now {
        if bytes >= BATCH_BYTES {
            break;
        }
        if let Some(stored) = hooks::get(&view, id)? {
            bytes += stored.body.len();
            taken.push(Taken { stored, due: Some(one) });
        }
    }
    Ok((taken, due.next))
}
