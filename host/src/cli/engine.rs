//! The seam to the engine inside this process: what `init`, `serve`, `demo` and `plugin inspect` call.
//!
//! Owns the translation of the engine's errors into [`Problem`]s. Must not hold any logic.

use super::problem::Problem;
use crate::config::Config;
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What `init` made. The token is shown once.
pub(super) struct Initialised {
    pub(super) data_dir: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) token: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct StartOptions {
    /// Approve plugin files without asking and reload them on change.
    pub(super) dev: bool,
    pub(super) plugins_dir: PathBuf,
}

/// A server that accepts requests.
pub(super) struct Running(Infallible);

impl Running {
    pub(super) fn local_addr(&self) -> SocketAddr {
        match self.0 {}
    }

    /// Stops intake and lets running work reach a safe point.
    pub(super) async fn shutdown(self) {
        match self.0 {}
    }
}

fn absent() -> Problem {
    Problem::failed("this build has no engine")
}

pub(super) fn init(_data_dir: &Path) -> Result<Initialised, Problem> {
    Err(absent())
}

pub(super) async fn start(
    _config: Config,
    _data_dir: &Path,
    options: StartOptions,
) -> Result<Running, Problem> {
    let StartOptions { dev, plugins_dir } = options;
    drop((dev, plugins_dir));
    Err(absent())
}

/// What a component says about itself, and whether it would be accepted.
pub(super) fn inspect(_config: &Config, _component: &[u8]) -> Result<Value, Problem> {
    Err(absent())
}
