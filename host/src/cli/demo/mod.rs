//! `demo`: a federation, a server and a story, all in this process.
//!
//! Owns the life of the three: where the data go, which address is served, when it ends. The story is `crate::demo`'s.

mod report;
mod script;

use super::Session;
use super::engine::{self, StartOptions};
use super::problem::{Exit, Problem};
use super::serve::{Signals, drain};
use crate::config::{Config, LogLevel, Origin};
use crate::demo::{Federation, MEMBERS_MAX, MEMBERS_MIN};
use crate::telemetry;
use clap::Args;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// How many members the federation has
    #[arg(long, default_value_t = 250, value_name = "N",
          value_parser = clap::value_parser!(u32).range(i64::from(MEMBERS_MIN)..=i64::from(MEMBERS_MAX)))]
    members: u32,
    /// Empty directory to keep the data in; otherwise they go with the demo
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// End after the summary instead of serving
    #[arg(long)]
    exit: bool,
}

pub(super) async fn run(args: DemoArgs, session: &mut Session<'_>) -> Result<Exit, Problem> {
    // Before anything else, so that a signal at any moment leaves nothing behind.
    let mut signals = Signals::listen()?;
    let home = Home::prepare(args.data_dir.as_deref())?;
    let federation = Federation::start(args.members)
        .await
        .map_err(|error| Problem::failed("the federation finds no port").caused_by(&error))?;
    let config = settings(&args, session, &federation);
    telemetry::init(&config.log, session.io.color)
        .map_err(|error| Problem::failed("cannot set up logging").caused_by(&error))?;
    let token = engine::init(&config, home.path(), None).await?.token;
    let machine_token = engine::add_machine_token(&config, home.path(), "import").await?;
    let running = engine::start(config, home.path(), StartOptions::default()).await?;
    let server = format!("http://{}", running.local_addr());
    let access = script::Access { server, token, machine_token };
    session.io.say(&format!(
        "a federation of {} members at http://{}, Syncline at {}",
        args.members,
        federation.address(),
        access.server
    ));
    let played = tokio::select! {
        played = script::play(&access, &federation, args.members, &mut session.io) => played,
        () = signals.first() => Err(Problem::failed("interrupted before the story ended")),
    };
    let told = match played {
        Ok(told) => told,
        Err(problem) => {
            running.shutdown().await;
            return Err(problem);
        }
    };
    report::print(&told, session)?;
    let verdict = told.verdict();
    if args.exit || verdict.is_err() {
        running.shutdown().await;
        return verdict.map(|()| Exit::Ok);
    }
    report::explore(&told, &access, home.kept(), session);
    signals.first().await;
    drain(running, &mut signals, session).await;
    Ok(Exit::Ok)
}

/// Where the data are: in a directory that goes with the demo, or in one that a person named.
enum Home {
    Passing(TempDir),
    Kept(PathBuf),
}

impl Home {
    fn prepare(named: Option<&Path>) -> Result<Home, Problem> {
        let Some(dir) = named else {
            let made = tempfile::Builder::new().prefix("syncline-demo-").tempdir();
            return made.map(Home::Passing).map_err(|error| {
                Problem::failed("cannot make a temporary directory").caused_by(&error)
            });
        };
        let unusable = |error: std::io::Error| {
            let exit = match error.kind() {
                ErrorKind::PermissionDenied => Exit::Permission,
                _ => Exit::Failed,
            };
            Problem::new(exit, format!("cannot use {}", dir.display())).caused_by(&error)
        };
        match std::fs::read_dir(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(error)),
            Ok(entries) => {
                for entry in entries {
                    // A configuration may wait there for the demo.
                    if entry.map_err(unusable)?.file_name() != crate::config::FILE_NAME {
                        return Err(occupied(dir));
                    }
                }
            }
        }
        Ok(Home::Kept(dir.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Home::Passing(dir) => dir.path(),
            Home::Kept(dir) => dir,
        }
    }

    fn kept(&self) -> Option<&Path> {
        match self {
            Home::Passing(_) => None,
            Home::Kept(dir) => Some(dir),
        }
    }
}

fn occupied(dir: &Path) -> Problem {
    let dir = dir.display();
    Problem::new(Exit::Conflict, format!("{dir} is not empty")).hint(format!(
        "the demo writes invented records and needs a directory of its own: name an empty one; what \
         {dir} holds is served by `syncline serve --data-dir {dir}`"
    ))
}

/// The settings in force, with what the demo needs.
fn settings(args: &DemoArgs, session: &Session<'_>, federation: &Federation) -> Config {
    let mut config = session.loaded.config.clone();
    let built_in = |key: &str| {
        let rows = session.loaded.rows();
        rows.iter().any(|row| row.key == key && row.origin == Origin::BuiltIn)
    };
    config.egress.allow_private.push(federation.address().to_string());
    if args.data_dir.is_none() {
        // A key or plugins of another installation are none of the demo's business.
        config.vault.key_file = None;
        config.plugins.dir = None;
    }
    if built_in("log.level") {
        config.log.level = LogLevel::Error;
    }
    let taken = || TcpListener::bind(config.server.listen).is_err();
    if built_in("server.listen") && (args.exit || taken()) {
        config.server.listen.set_port(0);
    }
    config
}
