//! A running plugin: one store per job, one function per question.
//!
//! Owns the life of a store: a trap, a limit, a timeout or a dropped call ends it for good. Must not retry, stage or log
//! outcomes; the worker does.

use super::api::v0_1::{Bounds, ConnectorCalls, ConnectorState, StrategyState};
use super::failure::{Error, classify};
use super::imports::http::Gate;
use super::imports::log::{LogBuffer, LogLine};
use super::imports::wasi::{self, Tail};
use super::limits::{Breach, Budget, Guard, Limits};
use super::load::{Code, Loaded};
use crate::model::http::Outbound;
use crate::model::manifest::Manifest;
use crate::model::remote::{CallContext, PageRequest};
use crate::model::webhook::HookEvent;
use crate::model::{Conflict, Decision, RemotePage};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};

/// How often a call that is over its time is looked at while it waits for its turn.
const WALL_LOOK: Duration = Duration::from_millis(50);

/// How many ids one `by_ids` may ask for: part of the contract.
pub const IDS_PER_CALL_MAX: usize = 100;

/// A verified delivery as a connector gets it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub config: &'a str,
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

/// A connector for one job. Calls come one after another; after an error that is not the plugin's own
/// ([`Error::Guest`], [`Error::BadAnswer`]) or after a dropped call, it answers [`Error::Dead`].
pub struct ConnectorSession {
    loaded: Arc<Loaded>,
    running: Option<Running>,
    /// Tells how long calls have waited for a rate limit.
    outbound: Option<Arc<dyn Outbound>>,
    log: LogBuffer,
    stdout: Tail,
    stderr: Tail,
}

struct Running {
    store: Store<ConnectorState>,
    calls: ConnectorCalls,
}

impl ConnectorSession {
    /// Makes a store and an instance. All requests of the session leave by `outbound`.
    pub async fn open(
        loaded: &Arc<Loaded>,
        outbound: Arc<dyn Outbound>,
    ) -> Result<ConnectorSession, Error> {
        ConnectorSession::start(loaded, Some(outbound), loaded.limits().call_budget()).await
    }

    /// The same without a way out: for calls that ask the remote nothing.
    pub async fn open_pure(loaded: &Arc<Loaded>) -> Result<ConnectorSession, Error> {
        ConnectorSession::start(loaded, None, loaded.limits().parse_budget()).await
    }

    async fn start(
        loaded: &Arc<Loaded>,
        outbound: Option<Arc<dyn Outbound>>,
        budget: Budget,
    ) -> Result<ConnectorSession, Error> {
        let Code::Connector(code) = &loaded.code else {
            return Err(Error::NoAbility("syncline:plugin/pull"));
        };
        let limits = &loaded.engine.limits;
        let log = LogBuffer::new(&loaded.name, limits);
        let (stdout, stderr) =
            (Tail::new(limits.stderr_bytes_max), Tail::new(limits.stderr_bytes_max));
        let mut store =
            connector_store(&loaded.engine.wasm, limits, outbound.clone(), &log, &stdout, &stderr);
        store.data_mut().guard.begin(budget);
        store.set_epoch_deadline(1);
        let started = tokio::time::timeout(budget.wall, code.start(&mut store)).await;
        let calls = match started {
            Ok(Ok(calls)) => calls,
            Ok(Err(error)) => return Err(start_error(&error, limits, budget, stderr.take())),
            Err(_) => {
                return Err(Error::WallClock { millis: millis(budget.wall) });
            }
        };
        let running = Some(Running { store, calls });
        Ok(ConnectorSession { loaded: loaded.clone(), running, outbound, log, stdout, stderr })
    }

    pub fn plugin(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// The lines that the plugin wrote since the last time, also after the session has ended.
    pub fn drain_log(&self) -> Vec<LogLine> {
        self.log.drain()
    }

    /// Bytes of linear memory in use; none after the end.
    pub fn memory_bytes(&self) -> Option<usize> {
        self.running.as_ref().map(|running| running.store.data().guard.memory_bytes())
    }

    /// One cheap authenticated request.
    pub async fn check(&mut self, context: &CallContext) -> Result<(), Error> {
        let (mut running, budget) = self.begin()?;
        let limits = self.loaded.limits();
        let call = running.calls.check(&mut running.store, context, limits);
        let outcome = within(budget.wall, self.outbound.as_deref(), call).await;
        self.finish(running, budget, outcome)?.map_err(Error::Guest)
    }

    /// One page; at most `request.records_max` records.
    pub async fn fetch_page(
        &mut self,
        context: &CallContext,
        request: &PageRequest,
    ) -> Result<RemotePage, Error> {
        let (mut running, budget) = self.begin()?;
        let limits = self.loaded.limits();
        let call = running.calls.fetch_page(&mut running.store, context, request, limits);
        let outcome = within(budget.wall, self.outbound.as_deref(), call).await;
        let page = self.finish(running, budget, outcome)?.map_err(Error::Guest)?;
        let limits = self.loaded.limits();
        let records_max = request.records_max.min(limits.records_per_page_max);
        page.check(&Bounds { limits, records_max: records_max.try_into().unwrap_or(usize::MAX) })
    }

    /// The records with these ids, at most [`IDS_PER_CALL_MAX`]; one that is missing in the page does not exist there.
    pub async fn by_ids(
        &mut self,
        context: &CallContext,
        entity: &str,
        ids: &[String],
    ) -> Result<RemotePage, Error> {
        if !self.loaded.abilities.fetch {
            return Err(Error::NoAbility("syncline:plugin/fetch"));
        }
        if ids.len() > IDS_PER_CALL_MAX {
            return Err(Error::Limit(format!("{IDS_PER_CALL_MAX} ids in one call")));
        }
        let (mut running, budget) = self.begin()?;
        let limits = self.loaded.limits();
        let call = running.calls.by_ids(&mut running.store, context, entity, ids, limits);
        let outcome = within(budget.wall, self.outbound.as_deref(), call).await;
        let page = self.finish(running, budget, outcome)?.map_err(Error::Guest)?;
        let page = page.check(&Bounds { limits: self.loaded.limits(), records_max: ids.len() })?;
        let asked_for = |id: &str| ids.iter().any(|asked| asked == id);
        let forged = page.rows.iter().map(|row| row.id()).find(|id| !asked_for(id));
        match forged.map(str::to_owned) {
            None => Ok(page),
            Some(id) => Err(Error::BadAnswer(format!("the id `{id}` was not asked for"))),
        }
    }

    /// What a delivery says, as far as the connector understands it.
    pub async fn parse(&mut self, delivery: &Delivery<'_>) -> Result<Vec<HookEvent>, Error> {
        if !self.loaded.abilities.webhook {
            return Err(Error::NoAbility("syncline:plugin/webhook"));
        }
        let budget = self.loaded.limits().parse_budget();
        let (mut running, budget) = self.begin_within(budget)?;
        let limits = self.loaded.limits();
        let call = running.calls.parse(&mut running.store, delivery, limits);
        let outcome = within(budget.wall, self.outbound.as_deref(), call).await;
        let events = self.finish(running, budget, outcome)?.map_err(Error::Guest)?;
        events.map_err(Error::BadAnswer)
    }

    /// Takes the store out for the call: a call that is dropped half-way leaves a session that is over.
    fn begin(&mut self) -> Result<(Running, Budget), Error> {
        self.begin_within(self.loaded.limits().call_budget())
    }

    fn begin_within(&mut self, budget: Budget) -> Result<(Running, Budget), Error> {
        let mut running = self.running.take().ok_or(Error::Dead)?;
        let state = running.store.data_mut();
        state.guard.begin(budget);
        state.gate.begin();
        self.log.begin();
        // Relative to now: the time between two calls is nobody's CPU.
        running.store.set_epoch_deadline(1);
        Ok((running, budget))
    }

    fn finish<T>(
        &mut self,
        running: Running,
        budget: Budget,
        outcome: Result<wasmtime::Result<T>, Elapsed>,
    ) -> Result<T, Error> {
        let stderr = self.stderr.take();
        for (level, text) in [("debug", self.stdout.take()), ("warn", stderr.clone())] {
            text.lines().for_each(|line| self.log.write(level, line));
        }
        self.log.end();
        match outcome {
            Ok(Ok(answer)) => {
                self.running = Some(running);
                Ok(answer)
            }
            Ok(Err(error)) => {
                Err(classify(&error, self.loaded.limits(), budget.cpu_millis, stderr))
            }
            Err(_) => Err(Error::WallClock { millis: millis(budget.wall) }),
        }
    }
}

/// A strategy for one run: a fresh store for each batch, so that no decision depends on an earlier one.
pub struct StrategySession {
    loaded: Arc<Loaded>,
}

impl StrategySession {
    pub fn open(loaded: &Arc<Loaded>) -> Result<StrategySession, Error> {
        match &loaded.code {
            Code::Strategy(_) => Ok(StrategySession { loaded: loaded.clone() }),
            Code::Connector(_) => Err(Error::NoAbility("syncline:plugin/resolve")),
        }
    }

    pub fn plugin(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// One decision for each conflict, in order.
    pub async fn decide(&self, conflicts: &[Conflict]) -> Result<Vec<Decision>, Error> {
        let mut decisions = Vec::with_capacity(conflicts.len());
        for batch in conflicts.chunks(self.loaded.limits().conflicts_per_batch_max.max(1)) {
            decisions.append(&mut self.decide_batch(batch).await?);
        }
        Ok(decisions)
    }

    async fn decide_batch(&self, batch: &[Conflict]) -> Result<Vec<Decision>, Error> {
        let Code::Strategy(code) = &self.loaded.code else {
            return Err(Error::NoAbility("syncline:plugin/resolve"));
        };
        let limits = &self.loaded.engine.limits;
        let values =
            matches!(&self.loaded.manifest, Manifest::Strategy(strategy) if strategy.values);
        let budget = limits.call_budget();
        let mut store = strategy_store(&self.loaded.engine.wasm, limits, budget);
        let call = code.decide(&mut store, batch, values, limits);
        match tokio::time::timeout(budget.wall, call).await {
            Ok(Ok(answer)) => answer.map_err(Error::BadAnswer),
            Ok(Err(error)) => Err(classify(&error, limits, budget.cpu_millis, String::new())),
            Err(_) => Err(Error::WallClock { millis: millis(budget.wall) }),
        }
    }
}

/// Ends a call that takes longer than `wall`. The clock stands still while its requests wait for their turn.
async fn within<T>(
    wall: Duration,
    outbound: Option<&dyn Outbound>,
    call: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let waited = || outbound.map_or(Duration::ZERO, Outbound::waited);
    let (begun, before) = (Instant::now(), waited());
    let mut call = pin!(call);
    let mut deadline = begun + wall;
    loop {
        match tokio::time::timeout_at(deadline, &mut call).await {
            Ok(answer) => return Ok(answer),
            Err(elapsed) => {
                let extended = begun + wall + waited().saturating_sub(before);
                if extended <= deadline {
                    return Err(elapsed);
                }
                // A wait that goes on moves the deadline all the time.
                deadline = extended.max(Instant::now() + WALL_LOOK);
            }
        }
    }
}

/// Asks a component what it is, in a store whose imports all refuse. Answers the manifest's text.
pub(super) async fn describe(
    engine: &wasmtime::Engine,
    limits: &Arc<Limits>,
    code: &Code,
) -> Result<String, Error> {
    let budget = limits.describe_budget();
    let stderr = Tail::new(limits.stderr_bytes_max);
    let outcome = match code {
        Code::Connector(code) => {
            let log = LogBuffer::muted(limits);
            let stdout = Tail::new(0);
            let mut store = connector_store(engine, limits, None, &log, &stdout, &stderr);
            store.data_mut().guard.begin(budget);
            store.set_epoch_deadline(1);
            let call = async {
                let calls = code.start(&mut store).await?;
                calls.describe(&mut store).await
            };
            tokio::time::timeout(budget.wall, call).await
        }
        Code::Strategy(code) => {
            let mut store = strategy_store(engine, limits, budget);
            tokio::time::timeout(budget.wall, code.describe(&mut store)).await
        }
    };
    match outcome {
        Ok(Ok(manifest)) => Ok(manifest),
        Ok(Err(error)) => Err(classify(&error, limits, budget.cpu_millis, stderr.take())),
        Err(_) => Err(Error::WallClock { millis: millis(budget.wall) }),
    }
}

fn connector_store(
    engine: &wasmtime::Engine,
    limits: &Arc<Limits>,
    outbound: Option<Arc<dyn Outbound>>,
    log: &LogBuffer,
    stdout: &Tail,
    stderr: &Tail,
) -> Store<ConnectorState> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles_max);
    let state = ConnectorState {
        guard: Guard::new(limits),
        gate: Gate::new(outbound, limits.http_calls_max),
        log: log.clone(),
        wasi: wasi::context(stdout, stderr),
        table,
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.guard);
    store.set_hostcall_fuel(limits.page_bytes_max);
    store.set_max_component_handles(limits.handles_max);
    store.epoch_deadline_callback(|mut context| next_tick(&mut context.data_mut().guard));
    store
}

fn strategy_store(
    engine: &wasmtime::Engine,
    limits: &Limits,
    budget: Budget,
) -> Store<StrategyState> {
    let mut guard = Guard::new(limits);
    guard.begin(budget);
    let mut store = Store::new(engine, StrategyState { guard });
    store.limiter(|state| &mut state.guard);
    store.set_hostcall_fuel(limits.page_bytes_max);
    store.set_max_component_handles(limits.handles_max);
    store.epoch_deadline_callback(|mut context| next_tick(&mut context.data_mut().guard));
    store.set_epoch_deadline(1);
    store
}

/// Gives the other tasks of this thread their turn at every tick. Tokio's own yield, because wasmtime's may be scheduled
/// again at once.
fn next_tick(guard: &mut Guard) -> wasmtime::Result<UpdateDeadline> {
    match guard.tick() {
        Ok(()) => Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))),
        Err(breach) => Err(wasmtime::Error::new::<Breach>(breach)),
    }
}

/// A start that traps is a trap; one that the linker refuses is not the guest's doing.
fn start_error(error: &wasmtime::Error, limits: &Limits, budget: Budget, stderr: String) -> Error {
    match classify(error, limits, budget.cpu_millis, stderr) {
        Error::Trap { message, .. } if error.downcast_ref::<wasmtime::Trap>().is_none() => {
            Error::Start(message)
        }
        classified => classified,
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
