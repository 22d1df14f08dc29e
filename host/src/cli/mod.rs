//! The command line: parsing, the verbs, exit codes.
//!
//! Verbs speak HTTP to a running server, except for those that are the server (`serve`, `demo`) or
//! need none (`init`, `check-config`, `doctor`, `version`, `completions`, `man`,
//! `plugin inspect`, `key generate`). The only module that names clap.

mod args;
mod audit;
mod changes;
mod check_config;
mod client;
mod conflict;
mod connector;
mod demo;
mod doctor;
mod engine;
mod events;
mod failure;
mod init;
mod key;
mod lookup;
mod notify;
mod openapi;
mod org;
mod output;
mod plugin;
mod problem;
mod progress;
mod record;
mod runs;
mod schedule;
mod secret;
mod serve;
mod shell;
mod sync;
mod template;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod token;
mod user;
mod version;
mod webhook;

use crate::config::{self, Loaded, Sources};
use args::{Arguments, Command};
use clap::Parser;
use client::Client;
use output::Io;
use problem::{Exit, Problem};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let no_color = environment.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    let err_terminal = std::io::stderr().is_terminal();
    let io = Io {
        out: &mut std::io::stdout(),
        err: &mut std::io::stderr(),
        input: &mut std::io::stdin(),
        err_terminal,
        color: err_terminal && !no_color,
    };
    ExitCode::from(run(std::env::args_os().collect(), environment, io).code())
}

/// What every verb is handed.
struct Session<'a> {
    loaded: Loaded,
    environment: Vec<(OsString, OsString)>,
    json: bool,
    io: Io<'a>,
}

impl Session<'_> {
    fn client(&self) -> Result<Client, Problem> {
        Client::new(&self.loaded.config.cli)
    }
}

fn run(args: Vec<OsString>, environment: Vec<(OsString, OsString)>, io: Io<'_>) -> Exit {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => return parse_failed(&error, io),
    };
    let Io { out, err, input, err_terminal, color } = io;
    let streams = Io { out, err: &mut *err, input, err_terminal, color };
    match execute(arguments, environment, streams) {
        Ok(exit) => exit,
        // Whoever read the output has seen enough, as `head` does.
        Err(problem) if problem.exit == Exit::Ok => Exit::Ok,
        Err(problem) => {
            // Nobody is left to tell when standard error is gone.
            let _ = err.write_all(problem.render(color).as_bytes());
            problem.exit
        }
    }
}

/// Help and version go to standard output and are no failure.
fn parse_failed(error: &clap::Error, io: Io<'_>) -> Exit {
    let text = error.render();
    let text = if io.color { text.ansi().to_string() } else { text.to_string() };
    if error.use_stderr() {
        let _ = io.err.write_all(text.as_bytes());
        return Exit::Usage;
    }
    let _ = io.out.write_all(text.as_bytes());
    Exit::Ok
}

fn execute(
    arguments: Arguments,
    environment: Vec<(OsString, OsString)>,
    io: Io<'_>,
) -> Result<Exit, Problem> {
    let variable = |wanted: &str| {
        let found = environment.iter().find(|(name, value)| name == wanted && !value.is_empty());
        found.map(|(_, value)| PathBuf::from(value))
    };
    let Arguments { global, command } = arguments;
    let from_environment = || {
        command
            .takes_data_dir_of_environment()
            .then(|| variable(config::DATA_DIR_VARIABLE))
            .flatten()
    };
    let data_dir = command.data_dir().or_else(from_environment);
    let mut flags = global.flags();
    flags.extend(command.flags()?);
    let sources = Sources {
        data_dir: data_dir.clone(),
        file: global.config.or_else(|| variable(config::CONFIG_VARIABLE)),
        environment,
        flags,
    };
    let loaded = config::load(&sources)?;
    let Sources { environment, .. } = sources;
    let mut session = Session { loaded, environment, json: global.json, io };
    // Only the server itself has work for more than one thread.
    let mut builder = if command.serves() {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Problem::failed("cannot start the runtime").caused_by(&error))?;
    runtime.block_on(dispatch(command, data_dir, &mut session))
}

async fn dispatch(
    command: Command,
    data_dir: Option<PathBuf>,
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
    match command {
        Command::Init(args) => init::run(args, data_dir, session).await,
        Command::Serve(args) => serve::run(args, data_dir, session).await,
        Command::Demo(args) => demo::run(args, session).await,
        Command::CheckConfig(_) => check_config::run(session),
        Command::Doctor(_) => doctor::run(data_dir, session).await,
        Command::Version => version::run(session),
        Command::Openapi => openapi::run(session),
        Command::Completions(args) => shell::completions(&args, session),
        Command::Man(args) => shell::man(&args, session),
        Command::Plugin { verb } => plugin::run(verb, session).await,
        Command::Org { verb } => org::run(verb, session).await,
        Command::Connector { verb } => connector::run(verb, session).await,
        Command::Template { verb } => template::run(verb, session).await,
        Command::Sync(args) => sync::run(args, session).await,
        Command::Schedule { verb } => schedule::run(verb, session).await,
        Command::Run { verb } => runs::run(verb, session).await,
        Command::Conflict { verb } => conflict::run(verb, session).await,
        Command::Failure { verb } => failure::run(verb, session).await,
        Command::Webhook { verb } => webhook::run(verb, session).await,
        Command::Notify { verb } => notify::run(verb, session).await,
        Command::Key { verb } => key::run(verb, session).await,
        Command::Record { verb } => record::run(verb, session).await,
        Command::User { verb } => user::run(verb, session).await,
        Command::Token { verb } => token::run(verb, session).await,
        Command::Audit { verb } => audit::run(verb, session).await,
        Command::Changes(args) => changes::run(args, session).await,
    }
}
