//! `run`: what was asked, how it stands, and what can be done about it.

use super::Session;
use super::args::Paging;
use super::client::segment;
use super::lookup::text;
use super::problem::{Exit, Problem};
use super::sync;
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
        /// Follow the run to its end first
        #[arg(long, conflicts_with = "conflicts")]
        follow: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// A run with its conflict lines, or all runs that the filters let through, for a file
    Export {
        /// One run; without it the list of runs
        id: Option<String>,
        #[command(flatten)]
        filter: Filter,
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
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Args, Debug)]
pub(super) struct Filter {
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
}

impl Filter {
    fn query(self) -> [(&'static str, Option<String>); 5] {
        [
            ("organization", self.org),
            ("connector", self.connector),
            ("trigger", self.trigger),
            ("status", self.status),
            ("since", self.since),
        ]
    }

    fn is_empty(&self) -> bool {
        let Filter { org, connector, trigger, status, since } = self;
        [org, connector, trigger, status, since].into_iter().all(Option::is_none)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Json,
    Ndjson,
    Csv,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    let path = |id: &str| format!("/sync/status/{}", segment(id));
    match verb {
        Verb::List(args) => {
            let query: Vec<_> =
                args.filter.query().into_iter().chain(args.paging.query()).collect();
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
        Verb::Show { id, conflicts: false, follow, .. } => {
            let mut run = client.get(&path(&id), &[]).await?;
            if follow {
                run = sync::follow(&client, &id, &mut session.io).await?;
            }
            session.io.object(json, &run)?;
        }
        Verb::Show { id, conflicts: true, paging, .. } => {
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
        Verb::Export { id: Some(_), filter, .. } if !filter.is_empty() => {
            return Err(Problem::usage("a filter chooses among runs: leave the id away"));
        }
        Verb::Export { id, filter, format, output } => {
            let format = match format {
                Format::Json => "json",
                Format::Ndjson => "ndjson",
                Format::Csv => "csv",
            };
            let mut query = vec![("format", Some(format.to_owned()))];
            query.extend(filter.query());
            let path = id.map_or_else(|| "/sync/status".to_owned(), |id| path(&id));
            let bytes = client.get_bytes(&format!("{path}/export"), &query).await?;
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
