//! `changes`: the change feed.

use super::Session;
use super::client::segment;
use super::lookup;
use super::problem::{Exit, Problem};
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct ChangesArgs {
    /// Organization; may be left out if there is only one
    #[arg(long)]
    org: Option<String>,
    /// Only changes after this sequence number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Rows at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
}

pub(super) async fn run(args: ChangesArgs, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let org = lookup::organization(&client, args.org).await?;
    let path = format!("/organizations/{}/changes", segment(&org));
    let query =
        [("after", args.after.map(|seq| seq.to_string())), ("limit", Some(args.limit.to_string()))];
    let answer = client.get(&path, &query).await?;
    let columns = [
        ("SEQ", "seq"),
        ("RECORD", "recordId"),
        ("ENTITY", "entity"),
        ("KIND", "kind"),
        ("FIELDS", "fields"),
        ("RUN", "runId"),
    ];
    session.io.list(session.json, &answer, &columns)?;
    Ok(Exit::Ok)
}
