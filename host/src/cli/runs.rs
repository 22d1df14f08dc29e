//! `run`: what was asked, how it stands, and what can be done about it.

use super::Session;
use super::args::Paging;
use super::client::segment;
use super::lookup::text;
use super::problem::{Exit, Problem};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Runs, the newest first
    List(ListArgs),
    /// One run with its counts and errors
    Show {
        id: String,
        /// Show the run's conflict lines instead
        #[arg(long)]
        conflicts: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// A run with its conflict lines, for a file
    Export {
        id: String,
        #[arg(long, value_enum, default_value_t = Format::Json)]
        format: Format,
        /// File to write instead of standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Ask a run to stop
    Cancel { id: String },
    /// Let a held run apply its plan
    Approve {
        id: String,
        /// Approve only this plan; the one that is held now if absent
        #[arg(long, value_name = "HASH")]
        plan_hash: Option<String>,
    },
    /// Take back what a run changed; fields edited since are skipped
    Undo { id: String },
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[arg(long)]
    org: Option<String>,
    /// Connector id
    #[arg(long)]
    connector: Option<String>,
    /// `manual`, `scheduled`, `webhook` or `retry`
    #[arg(long)]
    trigger: Option<String>,
    /// `completed`, `partial`, `failed`, `held` ...
    #[arg(long)]
    status: Option<String>,
    /// Only runs since this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Json,
    Csv,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    let path = |id: &str| format!("/sync/status/{}", segment(id));
    match verb {
        Verb::List(args) => {
            let [limit, cursor] = args.paging.query();
            let query = [
                ("organization", args.org),
                ("connector", args.connector),
                ("trigger", args.trigger),
                ("status", args.status),
                ("since", args.since),
                limit,
                cursor,
            ];
            let answer = client.get("/sync/status", &query).await?;
            let columns = [
                ("ID", "syncId"),
                ("ENTITY", "entity"),
                ("MODE", "mode"),
                ("TRIGGER", "trigger"),
                ("STATUS", "status"),
                ("CREATED", "counts.created"),
                ("UPDATED", "counts.updated"),
                ("CONFLICTS", "counts.conflictsDetected"),
                ("STARTED", "startedAt"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Show { id, conflicts: false, .. } => {
            session.io.object(json, &client.get(&path(&id), &[]).await?)?;
        }
        Verb::Show { id, conflicts: true, paging } => {
            let path = format!("{}/conflicts", path(&id));
            let answer = client.get(&path, &paging.query()).await?;
            let columns = [
                ("RECORD", "recordId"),
                ("FIELD", "field"),
                ("BASE", "baseValue"),
                ("REMOTE", "remoteValue"),
                ("LOCAL", "localValue"),
                ("RESOLVED", "resolvedValue"),
                ("STRATEGY", "strategy"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Export { id, format, output } => {
            let format = if format == Format::Csv { "csv" } else { "json" };
            let query = [("format", Some(format.to_owned()))];
            let bytes = client.get_bytes(&format!("{}/export", path(&id)), &query).await?;
            match output {
                None => session.io.bytes(&bytes)?,
                Some(file) => std::fs::write(&file, &bytes).map_err(|error| {
                    Problem::failed(format!("cannot write {}", file.display())).caused_by(&error)
                })?,
            }
        }
        Verb::Cancel { id } => {
            let answer = client.post(&format!("{}/cancel", path(&id)), &json!({})).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Approve { id, plan_hash } => {
            let plan_hash = match plan_hash {
                Some(hash) => hash,
                None => text(&client.get(&path(&id), &[]).await?, "planHash"),
            };
            if plan_hash.is_empty() {
                return Err(Problem::new(Exit::Conflict, format!("{id} holds no plan")));
            }
            let body = json!({ "planHash": plan_hash });
            let answer = client.post(&format!("{}/approve", path(&id)), &body).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Undo { id } => {
            let answer = client.post(&format!("{}/undo", path(&id)), &json!({})).await?;
            session.io.object(json, &answer)?;
        }
    }
    Ok(Exit::Ok)
}
