//! `init`: a data directory with its key, stores and first token.

use super::problem::{Exit, Problem};
use super::{Session, engine};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Directory to prepare; SYNCLINE_DATA_DIR otherwise
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

/// The data directory, or how to name one.
pub(super) fn required(data_dir: Option<PathBuf>) -> Result<PathBuf, Problem> {
    data_dir.ok_or_else(|| {
        Problem::usage("no data directory")
            .hint("name one with --data-dir DIR or SYNCLINE_DATA_DIR")
    })
}

pub(super) async fn run(
    data_dir: Option<PathBuf>,
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
    let made = engine::init(&session.loaded.config, &required(data_dir)?).await?;
    if session.json {
        session.io.json(&json!({
            "dataDir": made.data_dir,
            "keyFile": made.key_file,
            "token": made.token,
        }))?;
        return Ok(Exit::Ok);
    }
    session.io.say(&format!("prepared {}", made.data_dir.display()));
    session.io.say(&format!("key file {}: keep a copy elsewhere", made.key_file.display()));
    session.io.say("API token, shown only now:");
    session.io.line(&made.token)?;
    Ok(Exit::Ok)
}
