//! `trials`: what happens to the host when the world does not behave. See `docs/reliability.md`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use syncline::crash_point::{self, Bug};
use syncline_tests::bench::product;
use syncline_tests::trials::disk::Trouble;
use syncline_tests::trials::{kills, sweep, year};

/// Trials of Syncline, each repeatable by its seed. Ends with 1 where a promise was broken.
#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The disk fails at operation 1, 2, 3, ... of a start, edits, a delivery, a sync and a stop.
    Disk(Disk),
    /// The real binary is killed again and again while it works.
    Kills(Kills),
    /// A year by a clock that is moved: nights, outages, tokens that end, restarts.
    Year(Year),
}

#[derive(Args)]
struct Disk {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of each trouble so many operations, spread over all; without it every one.
    #[arg(long)]
    points: Option<u64>,
    /// Only operations of this file, such as `inbox.redb`.
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "once,always,power-cut")]
    trouble: Vec<Trouble>,
    /// Plants a bug, which must be found (debug builds only).
    #[arg(long, value_parser = bug)]
    plant: Option<Bug>,
}

#[derive(Args)]
struct Kills {
    #[arg(long, default_value_t = 50)]
    kills: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The host binary; without it the one beside this program is built.
    #[arg(long, value_name = "PATH")]
    syncline: Option<PathBuf>,
    /// Plants a bug, which must be found (debug builds only).
    #[arg(long, value_parser = bug)]
    plant: Option<Bug>,
}

#[derive(Args)]
struct Year {
    #[arg(long, default_value_t = 365)]
    days: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lets it go by twice: both logs must be equal.
    #[arg(long)]
    twice: bool,
    /// Writes the log, a line of JSON for each event.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Plants a bug, which must be found (debug builds only).
    #[arg(long, value_parser = bug)]
    plant: Option<Bug>,
}

fn bug(name: &str) -> Result<Bug, String> {
    let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    let found = Bug::ALL.into_iter().find(|bug| bug.name() == name);
    found.ok_or_else(|| format!("must be one of {}", names.join(", ")))
}

fn main() -> anyhow::Result<ExitCode> {
    match Program::parse().command {
        Command::Disk(arguments) => disk(arguments),
        Command::Kills(arguments) => kills(arguments),
        Command::Year(arguments) => year(arguments),
    }
}

fn disk(arguments: Disk) -> anyhow::Result<ExitCode> {
    if arguments.plant.is_some() && !crash_point::plant(None) {
        bail!("this build cannot hold a bug: build without --release");
    }
    let report = sweep::run(&sweep::Setting {
        seed: arguments.seed,
        troubles: arguments.trouble,
        points: arguments.points,
        file: arguments.file,
        planted: arguments.plant,
    })?;
    print!("{report}");
    Ok(verdict(report.violations.is_empty()))
}

fn kills(arguments: Kills) -> anyhow::Result<ExitCode> {
    let binary = arguments.syncline.map_or_else(product::build, Ok)?;
    let (kills, seed) = (arguments.kills, arguments.seed);
    let report = kills::run(&kills::Setting { kills, seed, binary, planted: arguments.plant })?;
    print!("{report}");
    Ok(verdict(report.held()))
}

fn year(arguments: Year) -> anyhow::Result<ExitCode> {
    let Year { days, seed, twice, log, plant: planted } = arguments;
    if planted.is_some() && !crash_point::plant(None) {
        bail!("this build cannot hold a bug: build without --release");
    }
    let report = year::run(&year::Setting { days, seed, twice, log, planted })?;
    print!("{report}");
    Ok(verdict(report.violations.is_empty()))
}

fn verdict(held: bool) -> ExitCode {
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
