//! One compiler and one clock tick for all plugins of the process.
//!
//! Owns the wasmtime engine, its compile cache, the linkers and the limits. Must not know what a plugin says.

use super::api::v0_1;
use super::limits::{EPOCH_TICK, Limits};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The plugin engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the compile cache directory {} cannot be used: {reason}", .path.display())]
    Cache { path: PathBuf, reason: String },
    #[error("the sandbox cannot start on this machine: {0}")]
    Sandbox(String),
}

/// Compiles and links components; every session holds it alive through its plugin.
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    pub(super) limits: Arc<Limits>,
    pub(super) linkers: v0_1::Linkers,
}

impl Engine {
    /// `cache_dir` keeps compiled code between starts; whoever writes there owns the process, so it is made 0700.
    /// Without one every start compiles anew.
    pub fn new(cache_dir: Option<&Path>, limits: Limits) -> Result<Arc<Engine>, EngineError> {
        let mut config = settings();
        if let Some(directory) = cache_dir {
            config.cache(Some(open_cache(directory)?));
        }
        let wasm = wasmtime::Engine::new(&config).map_err(sandbox)?;
        let linkers = v0_1::Linkers::new(&wasm).map_err(sandbox)?;
        start_ticker(&wasm)?;
        Ok(Arc::new(Engine { wasm, limits: Arc::new(limits), linkers }))
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

fn sandbox(error: wasmtime::Error) -> EngineError {
    EngineError::Sandbox(format!("{error:#}"))
}

fn settings() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        // A strategy must answer the same on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        // Guests are called one at a time: nothing needs the bookkeeping of concurrent calls.
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32));
    config
}

fn open_cache(directory: &Path) -> Result<wasmtime::Cache, EngineError> {
    let fail = |reason: String| EngineError::Cache { path: directory.to_path_buf(), reason };
    std::fs::create_dir_all(directory).map_err(|error| fail(error.to_string()))?;
    restrict(directory).map_err(|error| fail(error.to_string()))?;
    let absolute = directory.canonicalize().map_err(|error| fail(error.to_string()))?;
    let mut config = wasmtime::CacheConfig::new();
    config.with_directory(absolute);
    wasmtime::Cache::new(config).map_err(|error| fail(format!("{error:#}")))
}

#[cfg(unix)]
fn restrict(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn restrict(_directory: &Path) -> std::io::Result<()> {
    Ok(())
}

/// A thread of its own: a tick that waits for a busy executor would never stop the guest that keeps it busy.
fn start_ticker(engine: &wasmtime::Engine) -> Result<(), EngineError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("plugin-ticker".into())
        .spawn(move || {
            loop {
                std::thread::sleep(EPOCH_TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })
        .map(drop)
        .map_err(|error| EngineError::Sandbox(format!("no thread for the ticker: {error}")))
}
