//! `foireann-sim`: a Foireann-style federation with scripted faults, as a process of its own.
//! See `tests/README.md`.

use clap::Parser;
use syncline_tests::foireann::process;

/// A stand-in for a federation, for tests, demos and benchmarks.
#[derive(Parser)]
#[command(name = "foireann-sim")]
struct Program {
    #[command(flatten)]
    arguments: process::Arguments,
}

fn main() -> anyhow::Result<()> {
    process::main(Program::parse().arguments)
}
