//! Contract `syncline:plugin@0.1`: what the host offers to a component and how it calls one.
//!
//! Owns the generated bindings. Nothing outside this module sees a generated type.

mod convert;
mod page;

use crate::model::remote::{CallContext, PageRequest};
use crate::model::webhook::HookEvent;
use crate::model::{Conflict, Decision, GuestError, RemotePage};
use crate::plugin::Error;
use crate::plugin::imports::http::Gate;
use crate::plugin::imports::log::LogBuffer;
use crate::plugin::limits::{Guard, Limits};
use crate::plugin::load::Abilities;
use crate::plugin::session::Delivery;
use exports::syncline::plugin::{connector_info, fetch, pull, resolve, strategy_info, webhook};
use syncline::plugin::{http, log, types};
use wasmtime::Store;
use wasmtime::component::{HasSelf, InstancePre, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, p2};

pub(in crate::plugin) use page::Bounds;

// One world with everything in it, so that all interfaces share their types; a component is probed interface by
// interface.
wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package syncline:host;

        world everything {
            import syncline:plugin/types@0.1.0;
            import syncline:plugin/http@0.1.0;
            import syncline:plugin/log@0.1.0;
            export syncline:plugin/connector-info@0.1.0;
            export syncline:plugin/pull@0.1.0;
            export syncline:plugin/fetch@0.1.0;
            export syncline:plugin/webhook@0.1.0;
            export syncline:plugin/strategy-info@0.1.0;
            export syncline:plugin/resolve@0.1.0;
        }
    ",
    imports: { "syncline:plugin/http@0.1.0.send": async },
    exports: { default: async },
});

/// What a connector's store holds.
pub(in crate::plugin) struct ConnectorState {
    pub(in crate::plugin) guard: Guard,
    pub(in crate::plugin) gate: Gate,
    pub(in crate::plugin) log: LogBuffer,
    pub(in crate::plugin) wasi: WasiCtx,
    pub(in crate::plugin) table: ResourceTable,
}

/// What a strategy's store holds: a strategy imports nothing.
pub(in crate::plugin) struct StrategyState {
    pub(in crate::plugin) guard: Guard,
}

/// One linker for each kind, built once.
pub(in crate::plugin) struct Linkers {
    pub(in crate::plugin) connector: Linker<ConnectorState>,
    pub(in crate::plugin) strategy: Linker<StrategyState>,
}

impl Linkers {
    pub(in crate::plugin) fn new(engine: &wasmtime::Engine) -> wasmtime::Result<Linkers> {
        let mut connector = Linker::new(engine);
        types::add_to_linker::<_, HasSelf<_>>(&mut connector, |state: &mut ConnectorState| state)?;
        http::add_to_linker::<_, HasSelf<_>>(&mut connector, |state: &mut ConnectorState| state)?;
        log::add_to_linker::<_, HasSelf<_>>(&mut connector, |state: &mut ConnectorState| state)?;
        add_wasi(&mut connector)?;
        let mut strategy = Linker::new(engine);
        types::add_to_linker::<_, HasSelf<_>>(&mut strategy, |state: &mut StrategyState| state)?;
        Ok(Linkers { connector, strategy })
    }
}

/// Streams, clocks, random and the CLI set; no files and no sockets, not even empty ones.
fn add_wasi(linker: &mut Linker<ConnectorState>) -> wasmtime::Result<()> {
    use p2::bindings::cli;
    use wasmtime_wasi::cli::{WasiCli, WasiCliView};
    p2::add_to_linker_proxy_interfaces_async(linker)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, |state| state.cli())?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, |state| state.cli())?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, |state| state.cli())?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, |state| state.cli())?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, |state| state.cli())?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, |state| state.cli())?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, |state| state.cli())
}

impl WasiView for ConnectorState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for ConnectorState {}
impl types::Host for StrategyState {}

impl http::Host for ConnectorState {
    async fn send(&mut self, request: http::Request) -> Result<http::Response, http::Failure> {
        let answer = self.gate.send(convert::request(request)).await;
        self.guard.excuse();
        answer.map(convert::response).map_err(convert::http_failure)
    }

    fn prefetch(&mut self, request: http::Request) {
        self.gate.prefetch(convert::request(request));
    }
}

impl log::Host for ConnectorState {
    fn write(&mut self, level: String, message: String) {
        self.log.write(&level, &message);
    }
}

/// A connector, linked and looked up; instantiating it is all that is left.
pub(in crate::plugin) struct ConnectorCode {
    pre: InstancePre<ConnectorState>,
    info: connector_info::GuestIndices,
    pull: pull::GuestIndices,
    fetch: Option<fetch::GuestIndices>,
    webhook: Option<webhook::GuestIndices>,
}

impl ConnectorCode {
    /// Fails where a required export is missing or has another shape.
    pub(in crate::plugin) fn new(pre: InstancePre<ConnectorState>) -> wasmtime::Result<Self> {
        Ok(ConnectorCode {
            info: connector_info::GuestIndices::new(&pre)?,
            pull: pull::GuestIndices::new(&pre)?,
            fetch: fetch::GuestIndices::new(&pre).ok(),
            webhook: webhook::GuestIndices::new(&pre).ok(),
            pre,
        })
    }

    pub(in crate::plugin) fn abilities(&self) -> Abilities {
        Abilities { fetch: self.fetch.is_some(), webhook: self.webhook.is_some() }
    }

    pub(in crate::plugin) async fn start(
        &self,
        store: &mut Store<ConnectorState>,
    ) -> wasmtime::Result<ConnectorCalls> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        Ok(ConnectorCalls {
            info: self.info.load(&mut *store, &instance)?,
            pull: self.pull.load(&mut *store, &instance)?,
            fetch: match &self.fetch {
                Some(fetch) => Some(fetch.load(&mut *store, &instance)?),
                None => None,
            },
            webhook: match &self.webhook {
                Some(webhook) => Some(webhook.load(&mut *store, &instance)?),
                None => None,
            },
        })
    }
}

/// The functions of a running connector. The outer error is a trap, the inner one the plugin's own.
pub(in crate::plugin) struct ConnectorCalls {
    info: connector_info::Guest,
    pull: pull::Guest,
    fetch: Option<fetch::Guest>,
    webhook: Option<webhook::Guest>,
}

type Called<T> = wasmtime::Result<Result<T, GuestError>>;

/// A page as the guest gave it: lifted, not yet believed.
pub(in crate::plugin) struct RawPage(types::Page);

impl RawPage {
    pub(in crate::plugin) fn check(self, bounds: &Bounds<'_>) -> Result<RemotePage, Error> {
        page::page(self.0, bounds).map_err(Error::BadAnswer)
    }
}

impl ConnectorCalls {
    pub(in crate::plugin) async fn describe(
        &self,
        store: &mut Store<ConnectorState>,
    ) -> wasmtime::Result<String> {
        Ok(self.info.call_describe(store).await?.manifest)
    }

    pub(in crate::plugin) async fn check(
        &self,
        store: &mut Store<ConnectorState>,
        context: &CallContext,
        limits: &Limits,
    ) -> Called<()> {
        let answer = self.info.call_check(store, &convert::context(context)).await?;
        Ok(answer.map_err(|error| convert::guest_error(error, limits)))
    }

    pub(in crate::plugin) async fn fetch_page(
        &self,
        store: &mut Store<ConnectorState>,
        context: &CallContext,
        request: &PageRequest,
        limits: &Limits,
    ) -> Called<RawPage> {
        let request = convert::page_request(context, request);
        let answer = self.pull.call_fetch_page(store, &request).await?;
        Ok(answer.map(RawPage).map_err(|error| convert::guest_error(error, limits)))
    }

    /// Only for connectors that export `fetch`.
    pub(in crate::plugin) async fn by_ids(
        &self,
        store: &mut Store<ConnectorState>,
        context: &CallContext,
        entity: &str,
        ids: &[String],
        limits: &Limits,
    ) -> Called<RawPage> {
        let Some(fetch) = &self.fetch else {
            return Err(wasmtime::Error::msg("the component does not export `fetch`"));
        };
        let answer = fetch.call_by_ids(store, &convert::context(context), entity, ids).await?;
        Ok(answer.map(RawPage).map_err(|error| convert::guest_error(error, limits)))
    }
}

impl ConnectorCalls {
    /// Only for connectors that export `webhook`. Events are lifted, and checked one by one.
    pub(in crate::plugin) async fn parse(
        &self,
        store: &mut Store<ConnectorState>,
        delivery: &Delivery<'_>,
        limits: &Limits,
    ) -> Called<Result<Vec<HookEvent>, String>> {
        let Some(webhook) = &self.webhook else {
            return Err(wasmtime::Error::msg("the component does not export `webhook`"));
        };
        let answer = webhook.call_parse(store, &convert::delivery(delivery)).await?;
        Ok(answer
            .map(|events| convert::events(events, limits))
            .map_err(|error| convert::guest_error(error, limits)))
    }
}

/// A strategy, linked and looked up.
pub(in crate::plugin) struct StrategyCode {
    pre: InstancePre<StrategyState>,
    info: strategy_info::GuestIndices,
    resolve: resolve::GuestIndices,
}

impl StrategyCode {
    pub(in crate::plugin) fn new(pre: InstancePre<StrategyState>) -> wasmtime::Result<Self> {
        Ok(StrategyCode {
            info: strategy_info::GuestIndices::new(&pre)?,
            resolve: resolve::GuestIndices::new(&pre)?,
            pre,
        })
    }

    pub(in crate::plugin) async fn describe(
        &self,
        store: &mut Store<StrategyState>,
    ) -> wasmtime::Result<String> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let info = self.info.load(&mut *store, &instance)?;
        Ok(info.call_describe(store).await?.manifest)
    }

    /// Instantiates and asks once. The inner error says how the answer breaks the contract.
    pub(in crate::plugin) async fn decide(
        &self,
        store: &mut Store<StrategyState>,
        conflicts: &[Conflict],
        values_declared: bool,
        limits: &Limits,
    ) -> wasmtime::Result<Result<Vec<Decision>, String>> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let resolve = self.resolve.load(&mut *store, &instance)?;
        let batch: Vec<_> = conflicts.iter().map(convert::conflict).collect();
        let answer = resolve.call_decide(store, &batch).await?;
        Ok(convert::decisions(answer, conflicts.len(), values_declared, limits))
    }
}
