//! `version`.

use super::Session;
use super::problem::{Exit, Problem};
use serde_json::json;

pub(super) fn run(session: &mut Session<'_>) -> Result<Exit, Problem> {
    let version = env!("CARGO_PKG_VERSION");
    if session.json {
        session.io.json(&json!({ "name": "syncline", "version": version }))?;
    } else {
        session.io.line(&format!("syncline {version}"))?;
    }
    Ok(Exit::Ok)
}
