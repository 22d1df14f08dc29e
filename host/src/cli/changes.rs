//! `changes`: the change feed.

use super::Session;
use super::client::{Client, segment};
use super::lookup::{self, text};
use super::problem::{Exit, Problem};
use crate::telemetry::escape_control;
use clap::Args;
use serde_json::Value;
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct ChangesArgs {
    /// Organization; may be left out if there is only one
    #[arg(long)]
    org: Option<String>,
    /// Only changes after this sequence number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Rows at most: 50 of a page if absent, and no end with --follow
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: Option<u16>,
    /// Go on with what comes, a line for each change
    #[arg(long)]
    follow: bool,
}

const PAGE_ROWS: u16 = 50;
const RECONNECT: Duration = Duration::from_millis(500);

pub(super) async fn run(args: ChangesArgs, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let org = lookup::organization(&client, args.org).await?;
    let path = format!("/organizations/{}/changes", segment(&org));
    if args.follow {
        return follow(&client, &path, (args.after, args.limit), session).await;
    }
    let limit = args.limit.unwrap_or(PAGE_ROWS);
    let query =
        [("after", args.after.map(|seq| seq.to_string())), ("limit", Some(limit.to_string()))];
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

/// Prints changes as they come, over broken streams too: the id of the last one says where to go on.
async fn follow(
    client: &Client,
    path: &str,
    (after, mut left): (Option<u64>, Option<u16>),
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
    let after = after.map_or_else(|| "latest".to_owned(), |seq| seq.to_string());
    let mut last = None::<String>;
    loop {
        let query = [("after", Some(after.clone()))];
        let stream = client.events(path, &query, last.as_deref()).await;
        let mut events = match stream {
            Ok(Some(events)) => events,
            Ok(None) => return Ok(Exit::Ok),
            // It was reached before: it may be restarting.
            Err(problem) if problem.exit == Exit::Unreachable && last.is_some() => {
                tokio::time::sleep(RECONNECT).await;
                continue;
            }
            Err(problem) => return Err(problem),
        };
        while let Some(event) = events.next().await {
            if event.kind != "change" {
                return Err(Problem::failed(text(&event.data, "detail")));
            }
            print(&event.data, session)?;
            last = event.id.or(last);
            left = left.map(|left| left.saturating_sub(1));
            if left == Some(0) {
                return Ok(Exit::Ok);
            }
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

fn print(row: &Value, session: &mut Session<'_>) -> Result<(), Problem> {
    if session.json {
        return session.io.line(&row.to_string());
    }
    let fields = row.get("fields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let fields: Vec<&str> = fields.iter().filter_map(Value::as_str).collect();
    let line = format!(
        "{} {} {} {}",
        row.get("seq").unwrap_or(&Value::Null),
        text(row, "kind"),
        text(row, "recordId"),
        fields.join(",")
    );
    session.io.line(&escape_control(&line))
}
