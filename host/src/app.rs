//! Wiring: makes a data directory, and brings a server up and down. Owns no rule of its own.

use crate::api::{self, Api};
use crate::brake;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::egress::{self, Egress};
use crate::model::directory::Token;
use crate::plugin::{self, Engine, Registry};
use crate::queue::Caps;
use crate::store::{self, Read, Store, directory, meta};
use crate::vault::{self, MasterKey, TokenHash};
use crate::worker::{self, Deps, Pool, progress::Board};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Why a data directory cannot be made or a server cannot start. Nothing was rewritten.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Vault(#[from] vault::Error),
    #[error("the master key does not belong to this data directory: {0}")]
    WrongKey(vault::Error),
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
    #[error("{} holds a data directory already", .0.display())]
    Initialised(PathBuf),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// What `init` made. The token is shown once and stored as a hash.
pub struct Initialised {
    pub data_dir: PathBuf,
    pub key_file: PathBuf,
    pub token: String,
}

/// Makes a data directory: key file, stores, one API token.
pub async fn init(config: &Config, data_dir: &Path) -> Result<Initialised, Error> {
    let directory = |source| Error::Directory { path: data_dir.to_owned(), source };
    std::fs::create_dir_all(data_dir).map_err(directory)?;
    let data_dir = data_dir.canonicalize().map_err(directory)?;
    if data_dir.join("state.redb").exists() {
        return Err(Error::Initialised(data_dir));
    }
    let key_file = config.key_file(&data_dir);
    let variable = |name: &str| std::env::var_os(name);
    let key = match vault::locate(&key_file, variable) {
        vault::KeySource::File(path) if !path.exists() => MasterKey::create(&path)?,
        source => source.load(variable)?,
    };
    let store = Store::create(&data_dir, &store_options(config))?;
    let (secret, hash) = TokenHash::generate()?;
    let check = key.key_check()?;
    let now = clock::to_millis(Clock::system().now());
    let written = store.write(move |txn| -> Result<(), store::Error> {
        meta::put_key_check(txn, &check)?;
        let token = Token { name: "admin".to_owned(), machine: false, created_at: now };
        directory::put_token(txn, hash.as_bytes(), &token)
    });
    written.await?;
    Ok(Initialised { data_dir, key_file, token: secret.expose().clone() })
}

/// Adds an API token to a data directory that no server has open. It is returned this once and stored as a hash.
pub async fn add_token(config: &Config, data_dir: &Path, token: Token) -> Result<String, Error> {
    let (store, _) = open_aside(config, data_dir).await?;
    let (secret, hash) = TokenHash::generate()?;
    store.write(move |txn| directory::put_token(txn, hash.as_bytes(), &token)).await?;
    Ok(secret.expose().clone())
}

#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Approve plugin files without asking and reload them on change.
    pub dev: bool,
    pub plugins_dir: PathBuf,
}

/// A server that accepts requests.
pub struct Running {
    address: SocketAddr,
    pool: Pool,
    drain_max: Duration,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    working: JoinHandle<()>,
    watching: Option<JoinHandle<()>>,
}

/// Opens the data directory, takes up what a crash left, and serves.
pub async fn start(
    config: Config,
    data_dir: &Path,
    options: StartOptions,
) -> Result<Running, Error> {
    let (store, key) = open_aside(&config, data_dir).await?;
    let plugins = plugins(&config, data_dir, &options).await?;
    let egress = Egress::new(egress_options(&config)?, Clock::system());
    let limits = api_limits(&config);
    let deps = Deps {
        store,
        plugins: Arc::clone(&plugins),
        egress,
        key: Arc::new(key),
        clock: Clock::system(),
        board: Board::default(),
        bell: Arc::default(),
        options: Arc::new(worker_options(&config)),
    };
    let drain_max = deps.options.drain_max;
    let pool = Pool::new(deps.clone(), owner()?);
    let reclaimed = pool.reclaim().await?;
    if reclaimed > 0 {
        tracing::info!(reclaimed, "took up jobs of a process that ended");
    }
    let listen = config.server.listen;
    let bound = TcpListener::bind(listen).await;
    let listener = bound.map_err(|source| Error::Listen { address: listen, source })?;
    let address =
        listener.local_addr().map_err(|source| Error::Listen { address: listen, source })?;
    let stop = CancellationToken::new();
    let router = api::router(Api { deps, pool: pool.clone(), limits });
    let serving = tokio::spawn(api::serve(listener, router, stop.clone()));
    let working = tokio::spawn({
        let pool = pool.clone();
        async move { pool.work().await }
    });
    let watching = options.dev.then(|| tokio::spawn(plugins.watch()));
    Ok(Running { address, pool, drain_max, stop, serving, working, watching })
}

impl Running {
    pub fn local_addr(&self) -> SocketAddr {
        self.address
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
        let _ = tokio::time::timeout(self.drain_max, self.serving).await;
    }
}

/// Opens a data directory off the async threads.
async fn open_aside(config: &Config, data_dir: &Path) -> Result<(Store, MasterKey), Error> {
    let (dir, key_file) = (data_dir.to_owned(), config.key_file(data_dir));
    let options = store_options(config);
    let opened = tokio::task::spawn_blocking(move || open(&dir, &key_file, &options));
    opened.await.map_err(|error| store::Error::Storage(error.to_string()))?
}

fn open(
    data_dir: &Path,
    key_file: &Path,
    options: &store::Options,
) -> Result<(Store, MasterKey), Error> {
    if !data_dir.join("state.redb").exists() {
        return Err(store::Error::NoDataDir { path: data_dir.to_owned() }.into());
    }
    let variable = |name: &str| std::env::var_os(name);
    let key = vault::locate(key_file, variable).load(variable)?;
    let verify = |read: &dyn Read| -> Result<(), Error> {
        let check = meta::key_check(read)?.ok_or(Error::NoKeyCheck)?;
        key.verify_check(&check).map_err(Error::WrongKey)
    };
    // Opening writes: what must be refused is refused before, as far as it can be told.
    if let Some(before) = Store::peek(data_dir)? {
        verify(&before)?;
    }
    let store = Store::open(data_dir, options)?;
    verify(&store.read()?)?;
    Ok((store, key))
}

/// What `plugin inspect` shows of a component file, without a server.
pub async fn inspect(config: &Config, component: Vec<u8>) -> Result<plugin::Info, Error> {
    let engine = Engine::new(None, plugin_limits(config))?;
    let registry = Registry::open(engine, plugin::Options::default()).await?;
    Ok(registry.inspect(component).await.map_err(plugin::RegistryError::from)?)
}

async fn plugins(
    config: &Config,
    data_dir: &Path,
    options: &StartOptions,
) -> Result<Arc<Registry>, Error> {
    let cache = data_dir.join("cache");
    let engine = Engine::new(Some(&cache), plugin_limits(config))?;
    let directory = match options.plugins_dir.as_os_str().is_empty() {
        true => config.plugins_dir(data_dir),
        false => options.plugins_dir.clone(),
    };
    let settings = plugin::Options {
        directory: Some(directory),
        dev: options.dev,
        clock: Clock::system(),
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

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn store_options(config: &Config) -> store::Options {
    let cache_bytes_max = size(config.limits.store_cache_bytes_max);
    store::Options { cache_bytes_max, ..store::Options::default() }
}

fn api_limits(config: &Config) -> api::Limits {
    api::Limits {
        body_bytes_max: size(config.limits.request_body_bytes_max),
        component_bytes_max: size(config.limits.plugin_file_bytes_max),
    }
}

fn plugin_limits(config: &Config) -> plugin::Limits {
    let limits = &config.limits;
    plugin::Limits {
        component_bytes_max: size(limits.plugin_file_bytes_max),
        memory_bytes_max: size(limits.plugin_memory_bytes_max),
        table_elements_max: size(limits.plugin_table_elements_max),
        instances_max: size(limits.plugin_instances_max),
        handles_max: size(limits.plugin_handles_max),
        cpu_millis_max: limits.plugin_cpu_millis_max,
        wall_millis_max: limits.plugin_call_seconds_max.saturating_mul(1000),
        page_bytes_max: size(limits.page_bytes_max),
        http_calls_max: short(limits.plugin_host_calls_max),
        log_lines_max: short(limits.plugin_log_lines_max),
        log_line_bytes_max: size(limits.plugin_log_line_bytes_max),
        stderr_bytes_max: size(limits.plugin_stderr_bytes_max),
        conflicts_per_batch_max: size(limits.conflict_batch_max),
        ..plugin::Limits::default()
    }
}

fn egress_options(config: &Config) -> Result<egress::Options, Error> {
    let limits = &config.limits;
    let allow = config.egress.allow_private.iter().map(|entry| entry.parse());
    Ok(egress::Options {
        allow_private: allow.collect::<Result<_, _>>()?,
        limits: egress::Limits {
            response_bytes_max: limits.response_bytes_max,
            response_header_bytes_max: limits.response_header_bytes_max,
            connect_timeout: Duration::from_secs(limits.connect_timeout_seconds_max),
            request_timeout: Duration::from_secs(limits.request_timeout_seconds_max),
            retry_after_max: Duration::from_secs(limits.retry_after_seconds_max),
            redirects_max: short(limits.redirects_max),
            requests_max: limits.run_requests_max,
            run_bytes_max: limits.run_response_bytes_max,
            ..egress::Limits::default()
        },
        retry: crate::backoff::RequestRetry {
            attempts_max: short(limits.request_attempts_max),
            wait_first: Duration::from_millis(limits.retry_backoff_millis_min),
            wait_max: Duration::from_millis(limits.retry_backoff_millis_max),
        },
    })
}

fn worker_options(config: &Config) -> worker::Options {
    let (limits, sync) = (&config.limits, &config.sync);
    worker::Options {
        caps: Caps {
            running_max: size(limits.run_concurrency_max),
            running_per_connector_max: size(limits.connector_concurrency_max),
        },
        run_max: Duration::from_secs(limits.run_minutes_max.saturating_mul(60)),
        lease: Duration::from_secs(limits.lease_seconds),
        drain_max: Duration::from_secs(limits.drain_seconds_max),
        strategy_default: sync.strategy.clone(),
        brakes: brake::Options {
            deactivations_free: sync.deactivate_records_min,
            deactivations_max_percent: sync.deactivate_percent_max,
            updates_free: sync.update_records_min,
            updates_max_percent: sync.update_percent_max,
            valid_min_percent: sync.valid_percent_min,
            completed_min_percent: sync.completed_percent_min,
            partial_min_percent: sync.partial_percent_min,
            ..brake::Options::default()
        },
        batch_records: short(limits.batch_records),
        stage_flush_records: limits.stage_flush_records,
        stage_flush: Duration::from_millis(limits.stage_flush_millis),
        listing_pages_max: limits.listing_pages_max,
        listing_records_max: limits.listing_records_max,
        commit_rounds_max: short(limits.commit_rounds_max),
        run_errors_max: size(limits.run_errors_max),
        overlap_millis: i64::try_from(sync.watermark_overlap_seconds.saturating_mul(1000))
            .unwrap_or(i64::MAX),
    }
}
