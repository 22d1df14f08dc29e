//! Plugins: sandboxed components that fetch records and decide conflicts.
//!
//! Owns loading, approval, limits and calls; the only code that names wasmtime. Must not know the store, the vault or
//! egress: a session is handed the one way out that it may use. Nothing a plugin returns is trusted, and nothing it sees
//! contains a secret.

mod api;
mod catalog;
mod directory;
mod embedded;
mod engine;
mod failure;
mod imports;
mod info;
mod limits;
mod load;
mod lockfile;
mod manifest;
mod registry;
mod session;

pub use embedded::{COMPONENTS, EmbeddedComponent};
pub use engine::{Engine, EngineError};
pub use failure::Error;
pub use imports::log::LogLine;
pub use info::{Asks, Info, State};
pub use limits::{EPOCH_TICK, Limits};
pub use load::{API_VERSION, Abilities, Kind, LoadError, Loaded, load, sha256_hex};
pub use lockfile::LockError;
pub use manifest::ManifestFault;
pub use registry::{Options, Registry, RegistryError};
pub use session::{ConnectorSession, Delivery, IDS_PER_CALL_MAX, StrategySession};
