//! `failure`: the quarantine.

use super::Session;
use super::args::Paging;
use super::problem::{Exit, Problem};
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Open failures
    List {
        #[arg(long)]
        org: Option<String>,
        /// Connector id
        #[arg(long)]
        connector: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let Verb::List { org, connector, paging } = verb;
    let [limit, cursor] = paging.query();
    let query = [("organization", org), ("connector", connector), limit, cursor];
    let answer = session.client()?.get("/sync/failures", &query).await?;
    let columns = [
        ("ID", "id"),
        ("EXTERNAL ID", "externalId"),
        ("ENTITY", "entity"),
        ("STAGE", "stage"),
        ("CODE", "code"),
        ("MESSAGE", "message"),
        ("LAST SEEN", "lastSeenAt"),
    ];
    session.io.list(session.json, &answer, &columns)?;
    Ok(Exit::Ok)
}
