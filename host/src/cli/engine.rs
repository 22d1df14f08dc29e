//! The seam to the engine inside this process: what `init`, `serve`, `demo`, `doctor` and
//! `plugin inspect` call.
//!
//! Owns the translation of the engine's errors into [`Problem`]s. Must not hold any logic.

use super::problem::{Exit, Problem};
use crate::app;
pub(super) use crate::app::{Finding, FirstAdmin, Initialised, Running, Standing, StartOptions};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::model::access::Token;
use crate::{plugin, secrets, store, vault};
use serde_json::Value;
use std::path::Path;
use zeroize::Zeroizing;

pub(super) async fn init(
    config: &Config,
    data_dir: &Path,
    admin: Option<FirstAdmin>,
) -> Result<Initialised, Problem> {
    app::init(config, data_dir, admin)
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
    let token = Token::platform_admin(name, true, created_at);
    app::add_token(config, data_dir, token)
        .await
        .map_err(|error| problem("cannot add a token to the data directory", &error))
}

/// A new master key in its text form, stored nowhere.
pub(super) fn new_key() -> Result<Zeroizing<String>, Problem> {
    vault::new_master_line().map_err(|error| Problem::failed("cannot make a key").caused_by(&error))
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

/// What can be found out about a data directory without a server.
pub(super) async fn examine(config: &Config, data_dir: &Path) -> Vec<Finding> {
    app::examine(config, data_dir).await
}

/// Why something that was examined does not work, with what to do about it.
pub(super) fn broken(what: &str, error: &app::Error) -> Problem {
    problem(what, error)
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
        app::Error::Admin(_) => (Exit::Usage, None),
        app::Error::NoKeyCheck => {
            (Exit::BadConfiguration, Some("run `syncline init`: it finishes what was begun"))
        }
        app::Error::Vault(_) | app::Error::Secrets(secrets::Error::Vault(_)) => (
            Exit::BadConfiguration,
            Some(
                "nothing was changed; give the server the key files that belong to this data directory",
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
