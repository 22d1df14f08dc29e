//! Wiring: makes a data directory, and brings a server up and down. Owns no rule of its own.

mod doctor;
mod init;
mod options;

pub use doctor::{Finding, Standing, examine};
pub use init::{FirstAdmin, Initialised, init};

use crate::api::{self, Api, Gate};
use crate::ask;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::disk::Disk;
use crate::egress::{self, Egress};
use crate::health;
use crate::inbox::{self, Inbox};
use crate::model::access::Token;
use crate::notify::Notifier;
use crate::oauth;
use crate::plugin::{self, Engine, Registry};
use crate::secrets;
use crate::store::{self, Read, Store, accounts, meta};
use crate::trigger::{self, Scheduler};
use crate::vault::{self, Keyring, TokenHash};
use crate::worker::{self, Deps, Pool, progress::Board};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Why a data directory cannot be made or a server cannot start. Nothing was rewritten.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Vault(#[from] vault::Error),
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    #[error("the data directory has no check value for its key: it was not initialised to the end")]
    NoKeyCheck,
    #[error(transparent)]
    Engine(#[from] plugin::EngineError),
    #[error(transparent)]
    Plugins(#[from] plugin::RegistryError),
    #[error(transparent)]
    Egress(#[from] egress::Error),
    #[error("cannot use {}: {source}", .path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("the deliveries of webhooks cannot be opened: {0}")]
    Inbox(#[from] inbox::Error),
    #[error("{} holds a data directory already", .0.display())]
    Initialised(PathBuf),
    #[error("the first admin cannot be made: {0}")]
    Admin(String),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// Adds an API token to a data directory that no server has open. It is returned this once and stored as a hash.
pub async fn add_token(config: &Config, data_dir: &Path, token: Token) -> Result<String, Error> {
    let (store, _) = open_aside(config, data_dir, options::store_options(config)).await?;
    let (secret, hash) = TokenHash::generate()?;
    store.write(move |txn| accounts::add_token(txn, hash.as_bytes(), token.clone())).await?;
    Ok(secret.expose().clone())
}

/// The OpenAPI description of the HTTP API.
pub fn openapi() -> serde_json::Value {
    api::document()
}

#[derive(Clone, Default)]
pub struct StartOptions {
    /// Approve plugin files without asking and reload them on change.
    pub dev: bool,
    pub plugins_dir: PathBuf,
    /// The time that everything in the server goes by.
    pub clock: Clock,
    /// For tests of crashes, in place of the files of the data directory.
    pub open_file: Option<store::OpenFile>,
    /// For tests of crashes, in place of the end of the process.
    pub on_fatal: Option<store::OnFatal>,
}

/// A server that accepts requests.
pub struct Running {
    address: SocketAddr,
    pool: Pool,
    oauth: Arc<oauth::Manager>,
    drain_max: Duration,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    working: JoinHandle<()>,
    notifying: JoinHandle<()>,
    tending: JoinHandle<()>,
    hooks: [JoinHandle<()>; 2],
    scheduler: Scheduler,
    scheduling: JoinHandle<()>,
    refreshing: JoinHandle<()>,
    watching: Option<JoinHandle<()>>,
}

/// Opens the data directory, takes up what a crash left, and serves.
pub async fn start(
    config: Config,
    data_dir: &Path,
    options: StartOptions,
) -> Result<Running, Error> {
    let clock = options.clock.clone();
    let mut storage = options::store_options(&config);
    storage.open_file = options.open_file.clone().unwrap_or(storage.open_file);
    storage.on_fatal = options.on_fatal.clone().unwrap_or(storage.on_fatal);
    let (store, keys) = open_aside(&config, data_dir, storage).await?;
    let keys = admit(&store, keys, &clock).await?;
    let plugins = plugins(&config, data_dir, &options).await?;
    let egress = Egress::new(options::egress_options(&config, data_dir)?, clock.clone());
    let limits = options::api_limits(&config);
    let oauth = oauth::Manager::new(
        store.clone(),
        Arc::clone(&egress),
        Arc::clone(&keys),
        clock.clone(),
        options::oauth_options(&config),
        oauth::of_plugins(&plugins),
    );
    let deps = Deps {
        store,
        plugins: Arc::clone(&plugins),
        egress,
        keys,
        oauth: Arc::clone(&oauth),
        clock: clock.clone(),
        disk: Disk::of(data_dir, options::disk_options(&config)),
        board: Board::default(),
        bell: Arc::default(),
        notices: Arc::default(),
        options: Arc::new(options::worker_options(&config)),
    };
    let drain_max = deps.options.drain_max;
    let process = owner()?;
    let pool = Pool::new(deps.clone(), process.clone());
    let reclaimed = pool.reclaim().await?;
    if reclaimed > 0 {
        tracing::info!(reclaimed, "took up jobs of a process that ended");
    }
    defer_probes(&deps).await?;
    let listen = config.server.listen;
    let bound = TcpListener::bind(listen).await;
    let listener = bound.map_err(|source| Error::Listen { address: listen, source })?;
    let address =
        listener.local_addr().map_err(|source| Error::Listen { address: listen, source })?;
    let stop = CancellationToken::new();
    let notifier = notifier(&config, &deps, address);
    let notifying = tokio::spawn(clock.task(notifier.clone().work(stop.clone())));
    let tending = tokio::spawn(clock.task(worker::upkeep(deps.clone(), stop.clone())));
    let inbox = inbox(&config, &deps).await?;
    let hooks = [
        tokio::spawn(clock.task(inbox.clone().tend(stop.clone()))),
        tokio::spawn(clock.task(dispatcher(&config, &deps, &inbox).work(stop.clone()))),
    ];
    let scheduler = scheduler(&config, &deps, &pool);
    let scheduling = tokio::spawn(clock.task(scheduler.clone().work(stop.clone())));
    let gate = Arc::new(Gate::new(options::gate_options(&config), process));
    let router = api::router(Api {
        deps,
        pool: pool.clone(),
        limits,
        public_url: Arc::new(options::public_url(&config, address)),
        gate,
        notifier,
        stop: stop.clone(),
        inbox,
        intake: options::intake(&config),
        scheduler: scheduler.clone(),
    });
    let serving =
        tokio::spawn(api::serve(listener, router, options::connections(&config), stop.clone()));
    let working = tokio::spawn(clock.task({
        let pool = pool.clone();
        async move { pool.work().await }
    }));
    let refreshing = tokio::spawn(clock.task(Arc::clone(&oauth).tend(stop.clone())));
    let watching = options.dev.then(|| tokio::spawn(plugins.watch()));
    Ok(Running {
        address,
        pool,
        oauth,
        drain_max,
        stop,
        serving,
        working,
        notifying,
        tending,
        hooks,
        scheduler,
        scheduling,
        refreshing,
        watching,
    })
}

impl Running {
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Follows how far the schedules have come: who sets the clock by hand waits for it.
    pub fn schedules_looked(&self) -> watch::Receiver<Option<trigger::Looked>> {
        self.scheduler.looked()
    }

    /// Stops intake, drains running work, closes the stores.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.pool.stop();
        if let Some(watching) = self.watching {
            watching.abort();
        }
        // The workers bound their own draining; the last answers get as long.
        let _ = self.working.await;
        let _ = self.notifying.await;
        let _ = tokio::time::timeout(self.drain_max, self.scheduling).await;
        let _ = tokio::time::timeout(self.drain_max, self.tending).await;
        let _ = tokio::time::timeout(self.drain_max, self.serving).await;
        for hooks in self.hooks {
            let _ = tokio::time::timeout(self.drain_max, hooks).await;
        }
        // What a platform answers to a refresh must not be lost.
        let _ = tokio::time::timeout(self.drain_max, self.oauth.settle()).await;
        self.refreshing.abort();
    }
}

/// Opens a data directory off the async threads.
async fn open_aside(
    config: &Config,
    data_dir: &Path,
    options: store::Options,
) -> Result<(Store, Keyring), Error> {
    let (dir, key_file) = (data_dir.to_owned(), config.key_file(data_dir));
    let opened = tokio::task::spawn_blocking(move || open(&dir, &key_file, &options));
    opened.await.map_err(|error| store::Error::Storage(error.to_string()))?
}

/// Brings the keys in order before anything is sealed.
async fn admit(store: &Store, keys: Keyring, clock: &Clock) -> Result<Arc<Keyring>, Error> {
    if matches!(keys.source(), vault::KeySource::Environment) {
        tracing::warn!(
            "the master key comes from the environment, which others of this user may read: prefer a file or a credential"
        );
    }
    let (store, now) = (store.clone(), clock::to_millis(clock.now()));
    let admitted = tokio::task::spawn_blocking(move || {
        secrets::start(&store, &keys, now)?;
        Ok::<_, Error>(Arc::new(keys))
    });
    admitted.await.map_err(|error| store::Error::Storage(error.to_string()))?
}

async fn defer_probes(deps: &Deps) -> Result<(), store::Error> {
    let (options, now) = (deps.options.health, clock::to_millis(deps.clock.now()));
    deps.store.write(move |txn| health::defer_probes(txn, &options, now)).await
}

fn open(
    data_dir: &Path,
    key_file: &Path,
    options: &store::Options,
) -> Result<(Store, Keyring), Error> {
    if !data_dir.join("state.redb").exists() {
        return Err(store::Error::NoDataDir { path: data_dir.to_owned() }.into());
    }
    let variable = |name: &str| std::env::var_os(name);
    let keys = Keyring::load(vault::locate(key_file, variable), data_dir, variable)?;
    // Opening writes: what must be refused is refused before, as far as it can be told.
    if let Some(before) = Store::peek(data_dir)? {
        verify(&keys, &before)?;
    }
    let store = Store::open(data_dir, options)?;
    verify(&keys, &store.read()?)?;
    Ok((store, keys))
}

/// Whether these are the keys of a store.
fn verify(keys: &Keyring, read: &dyn Read) -> Result<(), Error> {
    let checks = meta::key_checks(read)?.ok_or(Error::NoKeyCheck)?;
    Ok(keys.verify(&checks)?)
}

/// What `plugin inspect` shows of a component file, without a server.
pub async fn inspect(config: &Config, component: Vec<u8>) -> Result<plugin::Info, Error> {
    let engine = Engine::new(None, options::plugin_limits(config))?;
    let registry = Registry::open(engine, plugin::Options::default()).await?;
    Ok(registry.inspect(component).await.map_err(plugin::RegistryError::from)?)
}

async fn plugins(
    config: &Config,
    data_dir: &Path,
    options: &StartOptions,
) -> Result<Arc<Registry>, Error> {
    let cache = data_dir.join("cache");
    let engine = Engine::new(Some(&cache), options::plugin_limits(config))?;
    let directory = match options.plugins_dir.as_os_str().is_empty() {
        true => config.plugins_dir(data_dir),
        false => options.plugins_dir.clone(),
    };
    let settings = plugin::Options {
        directory: Some(directory),
        dev: options.dev,
        clock: options.clock.clone(),
        ..plugin::Options::bundled()
    };
    Ok(Registry::open(engine, settings).await?)
}

/// Names this process in leases: never the same twice.
fn owner() -> Result<String, Error> {
    let (secret, _) = TokenHash::generate()?;
    let digest = plugin::sha256_hex(secret.expose().as_bytes());
    Ok(digest.get(..16).unwrap_or_default().to_owned())
}

async fn inbox(config: &Config, deps: &Deps) -> Result<Inbox, inbox::Error> {
    let (store, keys) = (deps.store.clone(), Arc::clone(&deps.keys));
    let (clock, plugins) = (deps.clock.clone(), Arc::clone(&deps.plugins));
    let disk = deps.disk.clone();
    let is_full: inbox::IsFull = Arc::new(move || disk.is_full());
    Inbox::open(store, keys, clock, plugins, is_full, options::inbox_options(config)).await
}

/// Hands the dispatcher of deliveries what it must not know: where components are called.
fn dispatcher(config: &Config, deps: &Deps, inbox: &Inbox) -> trigger::webhook::Dispatcher {
    let reader = deps.clone();
    trigger::webhook::Dispatcher {
        store: deps.store.clone(),
        inbox: inbox.clone(),
        clock: deps.clock.clone(),
        read: Arc::new(move |connector, deliveries| {
            let deps = reader.clone();
            Box::pin(async move { worker::hooks::read(&deps, &connector, &deliveries).await })
        }),
        strategy_default: deps.options.strategy_default.as_str().into(),
        jobs: Arc::clone(&deps.bell),
        dedup_millis: options::inbox_options(config).dedup_millis,
    }
}

fn notifier(config: &Config, deps: &Deps, address: SocketAddr) -> Notifier {
    Notifier {
        store: deps.store.clone(),
        egress: Arc::clone(&deps.egress),
        keys: Arc::clone(&deps.keys),
        clock: deps.clock.clone(),
        bell: Arc::clone(&deps.notices),
        options: Arc::new(options::notify_options(config, address)),
    }
}

fn scheduler(config: &Config, deps: &Deps, pool: &Pool) -> Scheduler {
    let (plugins, pool) = (Arc::clone(&deps.plugins), pool.clone());
    let requests: trigger::Requests =
        Arc::new(move |connector, wish| ask::requests(&plugins, connector, wish));
    let cancel: trigger::Cancel = Arc::new(move |run| pool.cancel(run));
    let bells = (Arc::clone(&deps.bell), Arc::clone(&deps.notices));
    let (files, clock) = ((deps.store.clone(), deps.disk.clone()), deps.clock.clone());
    Scheduler::new(files, clock, (requests, cancel), bells, options::trigger_options(config))
}
