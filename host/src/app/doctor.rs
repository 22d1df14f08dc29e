//! What can be found out about an installation without a server. Looks only: nothing is written that stays, nothing is
//! started, and a server that runs is not disturbed.

use super::{Error, options};
use crate::clock::Clock;
use crate::config::Config;
use crate::disk::{Disk, Room};
use crate::egress::Egress;
use crate::plugin::{self, Engine, Registry, State};
use crate::store::{self, Store};
use crate::vault::{self, KeySource, Keyring};
use std::path::Path;

/// How one thing stands.
#[derive(Debug)]
pub struct Finding {
    pub what: &'static str,
    pub standing: Standing,
}

#[derive(Debug)]
pub enum Standing {
    Fine(String),
    /// It works, and somebody should look at it: what, and what to do.
    Doubtful(String, String),
    /// A server would not start, or not do its work.
    Broken(Error),
}

use Standing::{Broken, Doubtful, Fine};

/// Looks at a data directory and what belongs to it.
pub async fn examine(config: &Config, data_dir: &Path) -> Vec<Finding> {
    let finding = |what, standing: Result<Standing, Error>| Finding {
        what,
        standing: standing.unwrap_or_else(Broken),
    };
    vec![
        finding("data directory", directory(data_dir)),
        finding("keys", keys(config, data_dir)),
        finding("store", stored(config, data_dir)),
        finding("plugins", plugins(config, data_dir).await),
        finding("requests", requests(config, data_dir)),
        finding("disk", disk(config, data_dir)),
    ]
}

fn directory(data_dir: &Path) -> Result<Standing, Error> {
    if !data_dir.join("state.redb").exists() {
        return Err(store::Error::NoDataDir { path: data_dir.to_owned() }.into());
    }
    // Modes and owners do not tell all: a file system may be read-only.
    tempfile::tempfile_in(data_dir)
        .map_err(|source| Error::Directory { path: data_dir.to_owned(), source })?;
    Ok(Fine(format!("{} can be written", data_dir.display())))
}

fn load(config: &Config, data_dir: &Path) -> Result<(KeySource, Keyring), Error> {
    let variable = |name: &str| std::env::var_os(name);
    let source = vault::locate(&config.key_file(data_dir), variable);
    Ok((source.clone(), Keyring::load(source, data_dir, variable)?))
}

fn keys(config: &Config, data_dir: &Path) -> Result<Standing, Error> {
    let (source, _) = load(config, data_dir)?;
    let from = source.as_str();
    Ok(match source {
        KeySource::Environment => Doubtful(
            format!("the master key comes from the {from}, which others of this user may read"),
            "prefer a file or a systemd credential".to_owned(),
        ),
        KeySource::File(path) if path.starts_with(data_dir) => Fine(format!(
            "the master key comes from {}: keep a copy apart from the data directory",
            path.display()
        )),
        _ => Fine(format!("the master key comes from a {from}")),
    })
}

/// Whether the store can be read and the keys are its own.
fn stored(config: &Config, data_dir: &Path) -> Result<Standing, Error> {
    let before = match Store::peek(data_dir) {
        Err(store::Error::Locked { .. }) => {
            return Ok(Fine("in use by a server: it is not looked into".to_owned()));
        }
        before => before?,
    };
    let Some(before) = before else {
        return Ok(Doubtful(
            "the server was not stopped in order".to_owned(),
            "nothing to do: the next start puts it in order".to_owned(),
        ));
    };
    let (_, keys) = load(config, data_dir)?;
    super::verify(&keys, &before)?;
    Ok(Fine("it can be read, and its keys are the right ones".to_owned()))
}

fn disk(config: &Config, data_dir: &Path) -> Result<Standing, Error> {
    let disk = Disk::of(data_dir, options::disk_options(config));
    let free = disk.free();
    let free = free.map_err(|source| Error::Directory { path: data_dir.to_owned(), source })?;
    let says = format!("{} MiB free", free >> 20);
    Ok(match disk.room() {
        Room::Enough => Fine(says),
        Room::Low => Doubtful(says, "make room: people are told, and it gets no better".to_owned()),
        Room::Full => Doubtful(says, "make room: nothing is taken in before".to_owned()),
    })
}

/// The files beside the embedded components.
async fn plugins(config: &Config, data_dir: &Path) -> Result<Standing, Error> {
    let directory = config.plugins_dir(data_dir);
    if !directory.is_dir() {
        return Ok(Fine("only the embedded ones".to_owned()));
    }
    let engine = Engine::new(None, options::plugin_limits(config))?;
    let settings = plugin::Options { directory: Some(directory), ..plugin::Options::default() };
    let rows = Registry::open(engine, settings).await?.list();
    let rejected = rows.iter().find(|row| row.state == State::Rejected);
    if let Some(row) = rejected {
        let reason = row.reason.as_deref().unwrap_or("it cannot be loaded");
        let says = format!("{} is rejected: {reason}", row.source);
        return Ok(Doubtful(says, "replace the file, or take it away".to_owned()));
    }
    if let Some(row) = rows.iter().find(|row| row.state == State::Pending) {
        let hint = format!(
            "`syncline plugin inspect` shows what it asks for, then `syncline plugin approve {}`",
            row.name
        );
        return Ok(Doubtful(format!("{} waits for approval", row.name), hint));
    }
    Ok(Fine(format!("{} beside the embedded ones", rows.len())))
}

/// Whether the settings of outbound requests can be used: permitted addresses, an authority of one's own.
fn requests(config: &Config, data_dir: &Path) -> Result<Standing, Error> {
    drop(Egress::new(options::egress_options(config, data_dir)?, Clock::system()));
    Ok(Fine(match config.egress.allow_private.len() {
        0 => "private addresses are refused".to_owned(),
        _ => format!(
            "private addresses are refused but for {}",
            config.egress.allow_private.join(", ")
        ),
    }))
}
