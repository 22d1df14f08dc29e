//! `completions` and `man`: the command line told to a shell and to a manual reader. Prints; installs nothing.

use super::Session;
use super::args::Arguments;
use super::problem::{Exit, Problem};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// Write a page for every command into this directory instead of printing the first one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(
    args: &CompletionsArgs,
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    session.io.bytes(&script)?;
    Ok(Exit::Ok)
}

pub(super) fn man(args: &ManArgs, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let command = Arguments::command();
    match &args.dir {
        None => {
            let mut page = Vec::new();
            let rendered = Man::new(command).render(&mut page);
            rendered.map_err(|error| Problem::failed("cannot make the page").caused_by(&error))?;
            session.io.bytes(&page)?;
        }
        Some(dir) => clap_mangen::generate_to(command, dir).map_err(|error| {
            let what = format!("cannot write the pages into {}", dir.display());
            Problem::failed(what).caused_by(&error)
        })?,
    }
    Ok(Exit::Ok)
}
