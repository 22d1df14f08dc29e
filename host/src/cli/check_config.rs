//! `check-config`: every setting in force and where it came from.

use super::Session;
use super::problem::{Exit, Problem};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct CheckConfigArgs {
    /// Directory whose `syncline.toml` is read; SYNCLINE_DATA_DIR otherwise
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

pub(super) fn run(session: &mut Session<'_>) -> Result<Exit, Problem> {
    let rows = session.loaded.rows();
    if session.json {
        let settings: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({ "key": row.key, "value": row.value, "origin": row.origin.to_string() })
            })
            .collect();
        session.io.json(&json!({ "file": session.loaded.file, "settings": settings }))?;
        return Ok(Exit::Ok);
    }
    for row in rows {
        let value = match row.value {
            Value::Null => "(unset)".to_owned(),
            value => value.to_string(),
        };
        session.io.line(&format!("{} = {value}  ({})", row.key, row.origin))?;
    }
    Ok(Exit::Ok)
}
