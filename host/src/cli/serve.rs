//! `serve`: the server in this process, until a signal ends it.

use super::Session;
use super::engine::{self, Running, StartOptions};
use super::init::required;
use super::problem::{Exit, Problem};
use crate::config::Flag;
use crate::telemetry;
use clap::Args;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use serde_json::json;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Directory that `init` prepared; SYNCLINE_DATA_DIR otherwise
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Directory of plugin files
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Approve plugin files without asking and reload them on change
    #[arg(long)]
    dev: bool,
}

impl ServeArgs {
    pub(super) fn flags(&self) -> Result<Vec<Flag>, Problem> {
        let mut flags = Vec::new();
        if let Some(listen) = &self.listen {
            let value = listen.clone();
            flags.push(Flag { flag: "--listen", key: "server.listen", value });
        }
        if let Some(dir) = &self.plugins {
            // A setting counts from the data directory, a flag from where the person stands.
            let dir = std::path::absolute(dir)
                .map_err(|error| Problem::usage("--plugins is no path").caused_by(&error))?;
            let value = dir.into_os_string().into_string();
            let value = value.map_err(|_| Problem::usage("--plugins must be valid UTF-8"))?;
            flags.push(Flag { flag: "--plugins", key: "plugins.dir", value });
        }
        Ok(flags)
    }
}

pub(super) async fn run(
    args: ServeArgs,
    data_dir: Option<PathBuf>,
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
    let data_dir = required(data_dir)?;
    let config = session.loaded.config.clone();
    telemetry::init(&config.log, session.io.color)
        .map_err(|error| Problem::failed("cannot set up logging").caused_by(&error))?;
    keep_memory_private();
    // Before the start, so that no signal falls into a gap.
    let mut signals = Signals::listen()?;
    let plugins_dir = config.plugins_dir(&data_dir);
    let options = StartOptions { dev: args.dev, plugins_dir, ..StartOptions::default() };
    let running = engine::start(config, &data_dir, options).await?;
    announce(&running, session)?;
    signals.first().await;
    drain(running, &mut signals, session).await;
    Ok(Exit::Ok)
}

/// No core dump, and no other process of this user reads the memory or the environment: both hold keys.
fn keep_memory_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = dumpable.and_then(|()| setrlimit(Resource::Core, none)) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
}

/// The address, for people and, with `--json`, as the one line that a supervisor reads.
pub(super) fn announce(running: &Running, session: &mut Session<'_>) -> Result<(), Problem> {
    let address = format!("http://{}", running.local_addr());
    session.io.say(&format!("listening on {address}"));
    if session.json {
        session.io.line(&json!({ "listen": address }).to_string())?;
        session.io.bytes(b"")?;
    }
    Ok(())
}

/// Shuts down in order; a second signal ends the wait at once.
pub(super) async fn drain(running: Running, signals: &mut Signals, session: &mut Session<'_>) {
    session.io.say("stopping; a second signal ends at once");
    tokio::select! {
        () = running.shutdown() => {}
        () = signals.first() => session.io.say("ended without waiting"),
    }
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Signals, Problem> {
        let install = |kind| {
            signal(kind)
                .map_err(|error| Problem::failed("cannot listen for signals").caused_by(&error))
        };
        Ok(Signals {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
