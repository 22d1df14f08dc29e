//! `failure`: the quarantine.

use super::Session;
use super::args::Paging;
use super::client::segment;
use super::lookup::text;
use super::output::at;
use super::problem::{Exit, Problem};
use clap::Subcommand;
use serde_json::{Map, Value, json};

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
    /// Have records read again: one by its id, or all that match the flags
    Retry {
        /// Failure id, such as `fail_3`
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// All open failures, or those that the other flags choose
        #[arg(long)]
        all: bool,
        #[arg(long, requires = "all")]
        org: Option<String>,
        /// Connector id
        #[arg(long, requires = "all")]
        connector: Option<String>,
        #[arg(long, requires = "all")]
        entity: Option<String>,
        /// Where it failed: fetch, validate, map, resolve, apply, push
        #[arg(long, requires = "all")]
        stage: Option<String>,
        #[arg(long, requires = "all")]
        code: Option<String>,
    },
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    match verb {
        Verb::List { org, connector, paging } => list(org, connector, paging, session).await,
        Verb::Retry { id: Some(id), .. } => retry(&id, session).await,
        Verb::Retry { org, connector, entity, stage, code, .. } => {
            let members = [
                ("organizationId", org),
                ("connectorId", connector),
                ("entity", entity),
                ("stage", stage),
                ("code", code),
            ];
            retry_all(members, session).await
        }
    }
}

async fn retry(id: &str, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let path = format!("/sync/failures/{}/retry", segment(id));
    let answer = session.client()?.post(&path, &json!({})).await?;
    session.io.object(session.json, &answer)?;
    Ok(Exit::Ok)
}

async fn retry_all(
    members: [(&str, Option<String>); 5],
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
    let filter: Map<String, Value> = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))))
        .collect();
    let answer = session.client()?.post("/sync/retry", &json!({ "filter": filter })).await?;
    if session.json {
        session.io.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let number = |name: &str| at(&answer, name).as_u64().unwrap_or(0);
    let items = |name: &str| at(&answer, name).as_array().cloned().unwrap_or_default();
    let runs: Vec<String> = items("jobs").iter().map(|job| text(job, "syncId")).collect();
    session.io.line(&format!(
        "{} failures are read again: {}",
        number("retried"),
        runs.join(", ")
    ))?;
    for skipped in items("skipped") {
        let (connection, count) =
            (text(&skipped, "connectionId"), at(&skipped, "failures").clone());
        let message = text(&skipped, "message");
        session.io.say(&format!("{count} of {connection} are left out: {message}"));
    }
    if at(&answer, "more").as_bool() == Some(true) {
        session.io.say("there are more: ask again when these are done");
    }
    Ok(Exit::Ok)
}

async fn list(
    org: Option<String>,
    connector: Option<String>,
    paging: Paging,
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
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
