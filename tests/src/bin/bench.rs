//! `bench`: the project's benchmarks. See `tests/README.md`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use syncline_tests::bench::sync::{Contestant, Phase, Setting, measure};
use syncline_tests::bench::{Source, call, floor, product, queue, report, webhooks};
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
    /// Empty jobs through the queue, and 200 connections that are due at once.
    Queue(Queue),
    /// Deliveries acknowledged in a second, and how long the slowest wait.
    Webhooks(Webhooks),
    #[command(hide = true)]
    WebhookFloor { database: PathBuf },
    #[command(hide = true)]
    Floor(Floor),
    #[command(hide = true)]
    PluginCall,
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
struct Queue {
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// Callers at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=64))]
    lanes: u32,
    /// Rounds; the figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Connections that are due at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// End with one JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// The host binary; without it the one beside this program is built.
    #[arg(long, value_name = "PATH")]
    syncline: Option<PathBuf>,
    /// Where all databases are made.
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

#[derive(Args)]
struct Webhooks {
    /// Rounds; the figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Of load in each round, for each contestant.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Of the run that commits meanwhile.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    members: u64,
    /// End with one JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// The host binary; without it the one beside this program is built.
    #[arg(long, value_name = "PATH")]
    syncline: Option<PathBuf>,
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
        Command::Queue(arguments) => queue(arguments),
        Command::Webhooks(arguments) => webhooks(arguments),
        Command::WebhookFloor { database } => webhooks::floor::serve(&database),
        Command::FoireannSim(arguments) => process::main(*arguments),
        Command::PluginCall => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            println!("{}", serde_json::to_string(&runtime.block_on(call::run())?)?);
            Ok(())
        }
        Command::Floor(Floor { address, club, api_key, database }) => {
            let measure = floor::run(&Source { address, club, api_key }, &database)?;
            println!("{}", serde_json::to_string(&measure)?);
            Ok(())
        }
    }
}

fn queue(arguments: Queue) -> anyhow::Result<()> {
    warn_of_debug();
    let setting = queue::Setting {
        jobs: arguments.jobs,
        lanes: arguments.lanes,
        rounds: usize::from(arguments.runs),
        directory: arguments.work_dir.unwrap_or_else(std::env::temp_dir),
        syncline: arguments.syncline.map_or_else(product::build, Ok)?,
        own_binary: std::env::current_exe()?,
        connections: arguments.connections,
    };
    let outcome = queue::measure(&setting)?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", outcome.table())?;
    if arguments.json {
        writeln!(output, "{}", outcome.object())?;
    }
    Ok(())
}

fn webhooks(arguments: Webhooks) -> anyhow::Result<()> {
    warn_of_debug();
    let setting = webhooks::Setting {
        rounds: usize::from(arguments.runs),
        seconds: arguments.seconds,
        members: arguments.members,
        syncline: arguments.syncline.map_or_else(product::build, Ok)?,
        own_binary: std::env::current_exe()?,
        directory: arguments.work_dir.unwrap_or_else(std::env::temp_dir),
    };
    let figures = webhooks::measure(&setting)?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", figures.table())?;
    if arguments.json {
        writeln!(output, "{}", figures.object())?;
    }
    Ok(())
}

fn warn_of_debug() {
    if cfg!(debug_assertions) {
        eprintln!("these figures mean nothing: run with --release");
    }
}

fn sync(arguments: Sync) -> anyhow::Result<()> {
    warn_of_debug();
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
