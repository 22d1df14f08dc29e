//! From bytes to a plugin that can run, or to one sentence that says why not.
//!
//! Owns the checks in their order: size, format, contract version, imports, shape, `describe`, manifest. Must not decide
//! whether a plugin may run; the registry does.

use super::api::v0_1::{ConnectorCode, StrategyCode};
use super::engine::Engine;
use super::failure::Error;
use super::limits::Limits;
use super::manifest::{self, ManifestFault};
use super::session;
use crate::model::manifest::Manifest;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use wasmtime::component::Component;

/// The contract that this host speaks, as a plugin author writes it.
pub const API_VERSION: &str = "0.1";

const PACKAGE: &str = "syncline:plugin/";
const CONNECTOR_EXPORT: &str = "pull";
const STRATEGY_EXPORT: &str = "resolve";
const HOST_IMPORTS: [&str; 3] = ["types", "http", "log"];
const WASI_PACKAGES: [&str; 4] = ["wasi:io/", "wasi:cli/", "wasi:clocks/", "wasi:random/"];
const WASI_VERSION: &str = "0.2.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Connector,
    Strategy,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Connector => "connector",
            Kind::Strategy => "strategy",
        }
    }
}

/// What a connector can do besides listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Abilities {
    /// Single records by id.
    pub fetch: bool,
    /// Reading the remote's deliveries.
    pub webhook: bool,
}

impl Abilities {
    /// By the names of their interfaces.
    pub fn names(self) -> Vec<&'static str> {
        let all = [(self.fetch, "fetch"), (self.webhook, "webhook")];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect()
    }
}

/// Why a file is no plugin. Each message stands alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("the file has {bytes} bytes; a component may have at most {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("the file is not WebAssembly: it does not begin with `\\0asm`")]
    NotWasm,
    #[error("the file is a core WebAssembly module, not a component: build it for wasm32-wasip2")]
    CoreModule,
    #[error("the component is damaged or uses what this host does not support: {0}")]
    Malformed(String),
    #[error("the component is built for {found}; this host supports version {API_VERSION}")]
    OtherApi { found: String },
    #[error("the component imports `{import}`, which a {} may not use", .kind.as_str())]
    Import { import: String, kind: Kind },
    #[error(
        "the component is neither a connector nor a strategy: it exports neither `syncline:plugin/pull` nor \
         `syncline:plugin/resolve`"
    )]
    NotAPlugin,
    #[error("the component is a connector and a strategy at once: build two components")]
    TwoKinds,
    #[error("an import or export has another shape than the contract: {0}")]
    Shape(String),
    /// `describe` trapped, took too long or went over a limit.
    #[error("`describe` failed: {0}")]
    Describe(Error),
    #[error("the manifest is not valid at `{}`: {}", .0.pointer, .0.reason)]
    Manifest(ManifestFault),
}

impl LoadError {
    /// Stable code for API errors.
    pub fn code(&self) -> &'static str {
        match self {
            LoadError::TooLarge { .. } => "plugin.component-too-large",
            LoadError::NotWasm => "plugin.not-wasm",
            LoadError::CoreModule => "plugin.core-module",
            LoadError::Malformed(_) => "plugin.malformed",
            LoadError::OtherApi { .. } => "plugin.other-api",
            LoadError::Import { .. } => "plugin.import",
            LoadError::NotAPlugin | LoadError::TwoKinds => "plugin.kind",
            LoadError::Shape(_) => "plugin.shape",
            LoadError::Describe(_) => "plugin.describe",
            LoadError::Manifest(_) => "plugin.manifest",
        }
    }
}

/// A plugin that can run. Jobs hold it by `Arc` and so end on the code that they began with.
pub struct Loaded {
    /// The manifest's id.
    pub name: String,
    pub kind: Kind,
    /// The manifest's version.
    pub version: String,
    /// Of the component's bytes, lower-case hex.
    pub sha256: String,
    pub bytes: usize,
    pub manifest: Manifest,
    pub abilities: Abilities,
    pub(super) code: Code,
    pub(super) engine: Arc<Engine>,
}

pub(super) enum Code {
    Connector(ConnectorCode),
    Strategy(StrategyCode),
}

impl Loaded {
    pub fn limits(&self) -> &Limits {
        &self.engine.limits
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.name, self.version, self.sha256)
    }
}

/// Checks, compiles, describes. Compiling runs on a blocking thread; with a warm cache all of it takes milliseconds.
pub async fn load(engine: &Arc<Engine>, bytes: Arc<[u8]>) -> Result<Arc<Loaded>, LoadError> {
    check_format(&bytes, engine.limits().component_bytes_max)?;
    let compiling = {
        let (engine, bytes) = (engine.clone(), bytes.clone());
        tokio::task::spawn_blocking(move || compile(&engine, &bytes))
    };
    // A panic in the compiler is a bad file, not a dead host.
    let (kind, code, sha256) =
        compiling.await.unwrap_or_else(|error| Err(LoadError::Malformed(error.to_string())))?;
    let abilities = match &code {
        Code::Connector(code) => code.abilities(),
        Code::Strategy(_) => Abilities::default(),
    };
    let text = session::describe(&engine.wasm, &engine.limits, &code)
        .await
        .map_err(LoadError::Describe)?;
    let manifest =
        manifest::read(kind, abilities, &text, engine.limits()).map_err(LoadError::Manifest)?;
    let (name, version) = match &manifest {
        Manifest::Connector(connector) => (connector.id.clone(), connector.version.clone()),
        Manifest::Strategy(strategy) => (strategy.id.clone(), strategy.version.clone()),
    };
    let engine = engine.clone();
    let bytes = bytes.len();
    Ok(Arc::new(Loaded { name, kind, version, sha256, bytes, manifest, abilities, code, engine }))
}

/// Lower-case hex, as plugins are pinned.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn check_format(bytes: &[u8], bytes_max: usize) -> Result<(), LoadError> {
    if bytes.len() > bytes_max {
        return Err(LoadError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    match bytes {
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => Err(LoadError::CoreModule),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', ..] => Err(LoadError::Malformed("unknown layer".to_owned())),
        _ => Err(LoadError::NotWasm),
    }
}

fn compile(engine: &Engine, bytes: &[u8]) -> Result<(Kind, Code, String), LoadError> {
    let component = Component::from_binary(&engine.wasm, bytes)
        .map_err(|error| LoadError::Malformed(first_line(&format!("{error:#}"))))?;
    let types = component.component_type();
    let exports: Vec<&str> = types.exports(&engine.wasm).map(|(name, _)| name).collect();
    let imports: Vec<&str> = types.imports(&engine.wasm).map(|(name, _)| name).collect();
    let kind = check_contract(&exports, &imports)?;
    let shape = |error: wasmtime::Error| LoadError::Shape(first_line(&format!("{error:#}")));
    let code = match kind {
        Kind::Connector => {
            let pre = engine.linkers.connector.instantiate_pre(&component).map_err(shape)?;
            Code::Connector(ConnectorCode::new(pre).map_err(shape)?)
        }
        Kind::Strategy => {
            let pre = engine.linkers.strategy.instantiate_pre(&component).map_err(shape)?;
            Code::Strategy(StrategyCode::new(pre).map_err(shape)?)
        }
    };
    Ok((kind, code, sha256_hex(bytes)))
}

/// Kind, version and imports, from names alone.
fn check_contract(exports: &[&str], imports: &[&str]) -> Result<Kind, LoadError> {
    if let Some(other) = exports.iter().chain(imports).find(|name| is_other_api(name)) {
        return Err(LoadError::OtherApi { found: (*other).to_owned() });
    }
    let has = |interface| exports.iter().any(|name| own_interface(name) == Some(interface));
    let kind = match (has(CONNECTOR_EXPORT), has(STRATEGY_EXPORT)) {
        (true, false) => Kind::Connector,
        (false, true) => Kind::Strategy,
        (true, true) => return Err(LoadError::TwoKinds),
        (false, false) => return Err(LoadError::NotAPlugin),
    };
    match imports.iter().find(|name| !may_import(kind, name)) {
        None => Ok(kind),
        Some(import) => Err(LoadError::Import { import: (*import).to_owned(), kind }),
    }
}

/// The interface's name, if it is one of this contract's version.
fn own_interface(name: &str) -> Option<&str> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    is_supported(version).then_some(interface)
}

fn is_supported(version: &str) -> bool {
    version
        .strip_prefix(API_VERSION)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_other_api(name: &str) -> bool {
    name.starts_with(PACKAGE) && own_interface(name).is_none()
}

fn may_import(kind: Kind, name: &str) -> bool {
    match (kind, own_interface(name)) {
        (Kind::Connector, Some(interface)) => HOST_IMPORTS.contains(&interface),
        (Kind::Strategy, Some(interface)) => interface == "types",
        (Kind::Strategy, None) => false,
        (Kind::Connector, None) => {
            let version = name.split_once('@').map_or("", |(_, version)| version);
            version.starts_with(WASI_VERSION)
                && WASI_PACKAGES.iter().any(|package| name.starts_with(package))
        }
    }
}

fn first_line(text: &str) -> String {
    super::imports::log::clean(text.lines().next().unwrap_or_default(), 500)
}
