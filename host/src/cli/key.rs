//! `key`: the keys under which secrets are sealed. A key itself is shown by `generate` alone, which makes a new one for a
//! place that only the administrator can write.

use super::problem::{Exit, Problem};
use super::{Session, engine};
use clap::Subcommand;
use serde_json::json;

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Which master key is in use, and how much is sealed under it
    Status,
    /// Change the master key; runs go on
    Rotate,
    /// Print a new master key, for a credential of the service manager; needs no server
    Generate,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let json = session.json;
    match verb {
        Verb::Status => {
            let answer = session.client()?.get("/keys", &[]).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Rotate => {
            let answer = session.client()?.post("/keys/rotate", &json!({})).await?;
            session
                .io
                .say("the new key is in use; keep a copy of the key file apart from the data");
            session.io.object(json, &answer)?;
        }
        Verb::Generate => {
            let line = engine::new_key()?;
            session.io.line(line.as_str())?;
        }
    }
    Ok(Exit::Ok)
}
