//! The seam to the engine inside this process: what `init`, `serve`, `demo` and
//! `plugin inspect` call.
//!
//! Owns the translation of the engine's errors into [`Problem`]s. Must not hold any logic.

use super::problem::{Exit, Problem};
use crate::app;
pub(super) use crate::app::{Initialised, Running, StartOptions};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::model::directory::Token;
use crate::{plugin, store};
use serde_json::Value;
use std::path::Path;

pub(super) async fn init(config: &Config, data_dir: &Path) -> Result<Initialised, Problem> {
    app::init(config, data_dir)
        .await
        .map_err(|error| problem("cannot make the data directory", &error))
}

/// A token of a program: what it edits does not count as edited by a person.
pub(super) async fn add_machine_token(
    config: &Config,
    data_dir: &Path,
    name: &str,
) -> Result<String, Problem> {
    let created_at = clock::to_millis(Clock::system().now());
    let token = Token { name: name.to_owned(), machine: true, created_at };
    app::add_token(config, data_dir, token)
        .await
        .map_err(|error| problem("cannot add a token to the data directory", &error))
}

pub(super) async fn start(
    config: Config,
    data_dir: &Path,
    options: StartOptions,
) -> Result<Running, Problem> {
    app::start(config, data_dir, options)
        .await
        .map_err(|error| problem("cannot start the server", &error))
}

/// What a component says about itself, and whether it would be accepted.
pub(super) async fn inspect(config: &Config, component: Vec<u8>) -> Result<Value, Problem> {
    let info = app::inspect(config, component).await;
    let info = info.map_err(|error| problem("the component would not be accepted", &error))?;
    serde_json::to_value(&info).map_err(|error| Problem::failed("no JSON").caused_by(&error))
}

fn problem(message: &str, error: &app::Error) -> Problem {
    let (exit, hint) = match error {
        app::Error::Store(store::Error::NoDataDir { .. }) => {
            (Exit::NotFound, Some("run `syncline init` first"))
        }
        app::Error::Store(store::Error::Locked { .. }) | app::Error::Initialised(_) => {
            (Exit::Conflict, None)
        }
        app::Error::Vault(_) | app::Error::WrongKey(_) | app::Error::NoKeyCheck => (
            Exit::BadConfiguration,
            Some(
                "nothing was changed; give the server the key file that `init` made for this data directory",
            ),
        ),
        app::Error::Egress(_) | app::Error::Store(store::Error::NewerSchema { .. }) => {
            (Exit::BadConfiguration, None)
        }
        app::Error::Store(store::Error::Denied { .. }) => (Exit::Permission, None),
        app::Error::Plugins(plugin::RegistryError::Lock(_)) => (Exit::BadConfiguration, None),
        app::Error::Directory { source, .. } | app::Error::Listen { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            (Exit::Permission, None)
        }
        _ => (Exit::Failed, None),
    };
    let problem = Problem::new(exit, message).caused_by(error);
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
