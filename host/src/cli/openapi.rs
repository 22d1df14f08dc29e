//! `openapi`: the description of the HTTP API, without a server.

use super::Session;
use super::problem::{Exit, Problem};
use crate::app;

pub(super) fn run(session: &mut Session<'_>) -> Result<Exit, Problem> {
    session.io.json(&app::openapi())?;
    Ok(Exit::Ok)
}
