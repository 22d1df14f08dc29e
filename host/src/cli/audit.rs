//! `audit`: who changed what, and whether the log is as it was written.

use super::Session;
use super::args::Paging;
use super::problem::{Exit, Problem};
use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Entries, newest first
    List(ListArgs),
    /// Check the chain of hashes; fails with the number of the first entry that is not in order
    Verify,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[arg(long)]
    org: Option<String>,
    /// Id or name of a user or token
    #[arg(long)]
    actor: Option<String>,
    /// Such as login, editRecord or setCredentials
    #[arg(long)]
    action: Option<String>,
    /// Entries from this instant on, such as 2026-03-01T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    match verb {
        Verb::List(args) => {
            let mut query = args.paging.query().to_vec();
            query.extend([
                ("organization", args.org),
                ("actor", args.actor),
                ("action", args.action),
                ("since", args.since),
            ]);
            let columns = [
                ("SEQ", "seq"),
                ("AT", "at"),
                ("WHO", "actor.name"),
                ("ADDRESS", "address"),
                ("ACTION", "action"),
                ("TARGET", "target"),
                ("ORGANIZATION", "organizationId"),
            ];
            session.io.list(json, &client.get("/audit", &query).await?, &columns)?;
            Ok(Exit::Ok)
        }
        Verb::Verify => {
            let verdict = client.get("/audit/verify", &[]).await?;
            if json {
                session.io.json(&verdict)?;
            }
            if verdict["ok"] == true {
                if !json {
                    session.io.object(false, &verdict)?;
                }
                return Ok(Exit::Ok);
            }
            let (seq, reason) = (&verdict["firstBad"]["seq"], &verdict["firstBad"]["reason"]);
            let reason = reason.as_str().unwrap_or_default();
            let message = format!("the audit log is not in order from entry {seq} on: {reason}");
            Err(Problem::failed(message))
        }
    }
}
