//! `bench`: the project's benchmarks. See `tests/README.md`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use syncline_tests::bench::sync::{Contestant, Phase, Setting, measure};
use syncline_tests::bench::{Source, floor, product, report};
use syncline_tests::foireann::process;

/// Benchmarks of Syncline against a native floor and an afternoon's script.
#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// First sync, unchanged re-sync, re-sync with 1 % changed.
    Sync(Sync),
    #[command(hide = true)]
    Floor(Floor),
    #[command(hide = true)]
    FoireannSim(Box<process::Arguments>),
}

#[derive(Args)]
struct Sync {
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    members: u64,
    /// Rounds; the figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Also first syncs of these sizes, one round each (10,000, 100,000 and 1,000,000 unless told).
    #[arg(long, value_name = "SIZES", value_delimiter = ',', num_args = 0..=1, default_missing_value = "10000,100000,1000000")]
    growth: Option<Vec<u64>>,
    /// End with one JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// The host binary; without it the one beside this program is built.
    #[arg(long, value_name = "PATH")]
    syncline: Option<PathBuf>,
    /// Who is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "floor,syncline,script")]
    contestants: Vec<Contestant>,
    /// Where all databases are made.
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

#[derive(Args)]
struct Floor {
    address: SocketAddr,
    club: String,
    api_key: String,
    database: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Program::parse().command {
        Command::Sync(arguments) => sync(arguments),
        Command::FoireannSim(arguments) => process::main(*arguments),
        Command::Floor(Floor { address, club, api_key, database }) => {
            let measure = floor::run(&Source { address, club, api_key }, &database)?;
            println!("{}", serde_json::to_string(&measure)?);
            Ok(())
        }
    }
}

fn sync(arguments: Sync) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("these figures mean nothing: run with --release");
    }
    let syncs = arguments.contestants.contains(&Contestant::Syncline);
    let syncline = match arguments.syncline {
        None if syncs => Some(product::build()?),
        given => given,
    };
    let rounds = usize::from(arguments.runs);
    let setting = Setting {
        members: arguments.members,
        rounds,
        phases: Phase::ALL.to_vec(),
        contestants: arguments.contestants,
        syncline,
        own_binary: std::env::current_exe()?,
        directory: arguments.work_dir.unwrap_or_else(std::env::temp_dir),
    };
    let outcome = measure(&setting)?;
    let mut growth = Vec::new();
    for members in arguments.growth.unwrap_or_default() {
        let phases = vec![Phase::First];
        growth.push(measure(&Setting { members, rounds: 1, phases, ..setting.clone() })?);
    }
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", report::table(&outcome, &growth))?;
    if arguments.json {
        writeln!(output, "{}", report::object(&outcome, &growth, rounds))?;
    }
    Ok(())
}
