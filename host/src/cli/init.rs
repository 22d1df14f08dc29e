//! `init`: a data directory with its key, stores and first token.

use super::problem::{Exit, Problem};
use super::{Session, engine, secret};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Directory to prepare; SYNCLINE_DATA_DIR otherwise
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// E-mail address of the first platform admin
    #[arg(long, value_name = "EMAIL", requires = "admin_password_file")]
    admin_email: Option<String>,
    /// File of the first admin's password; `-` reads standard input
    #[arg(long, value_name = "FILE", requires = "admin_email")]
    admin_password_file: Option<String>,
}

/// The data directory, or how to name one.
pub(super) fn required(data_dir: Option<PathBuf>) -> Result<PathBuf, Problem> {
    data_dir.ok_or_else(|| {
        Problem::usage("no data directory")
            .hint("name one with --data-dir DIR or SYNCLINE_DATA_DIR")
    })
}

pub(super) async fn run(
    args: InitArgs,
    data_dir: Option<PathBuf>,
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
    let data_dir = required(data_dir)?;
    let admin = match (args.admin_email, args.admin_password_file) {
        (Some(email), Some(file)) => {
            let password = secret::from_file(&file, &mut *session.io.input)?.into();
            Some(engine::FirstAdmin { email, password })
        }
        _ => None,
    };
    let made = engine::init(&session.loaded.config, &data_dir, admin).await?;
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
