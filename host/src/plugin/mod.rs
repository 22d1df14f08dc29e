//! Plugins: sandboxed components that fetch records and decide conflicts.
//!
//! Owns loading, approval, limits and calls; the only code that names wasmtime. Must not know the store, the vault or
//! egress: a session is handed the one way out that it may use. Nothing a plugin returns is trusted, and nothing it sees
//! contains a secret.

mod api;
mod engine;
mod failure;
mod imports;
mod limits;
mod load;
mod manifest;
mod session;

pub use engine::{Engine, EngineError};
pub use failure::Error;
pub use imports::log::LogLine;
pub use limits::{EPOCH_TICK, Limits};
pub use load::{API_VERSION, Abilities, Kind, LoadError, Loaded, load, sha256_hex};
pub use manifest::ManifestFault;
pub use session::{ConnectorSession, IDS_PER_CALL_MAX, StrategySession};
