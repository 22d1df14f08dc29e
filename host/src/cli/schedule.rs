//! `schedule`: when connections are synced by themselves, and what became of it.

use super::Session;
use super::args::Paging;
use super::client::segment;
use super::lookup;
use super::org::given;
use super::problem::{Exit, Problem};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// All schedules, also those that connectors have by themselves
    List {
        /// Those that are for one organization
        #[arg(long)]
        org: Option<String>,
        /// Those of one connector, by name or id
        #[arg(long)]
        connector: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// One schedule, and how it kept up over the last seven days
    Show { schedule: String },
    /// A new schedule, or a change of the one that is named
    Set(Box<SetArgs>),
    /// Let a schedule rest; what would fire meanwhile is not made up for
    Pause {
        schedule: String,
        #[arg(long)]
        reason: String,
        /// RFC 3339; until `resume` if absent
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// End a pause
    Resume { schedule: String },
    /// The next fires, at their nominal times
    Next {
        schedule: String,
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=200))]
        count: u16,
    },
    /// What became of the fires, newest first
    Fires {
        schedule: String,
        /// Of one organization
        #[arg(long)]
        org: Option<String>,
        #[arg(long)]
        outcome: Option<Outcome>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Run it now, whether it is paused or not
    Trigger { schedule: String },
    /// Delete a schedule; its runs stay in the history
    Delete { schedule: String },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "camelCase")]
pub(super) enum Outcome {
    Fired,
    CaughtUp,
    Skipped,
    Missed,
    Triggered,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Mode {
    Full,
    Incremental,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "camelCase")]
pub(super) enum Overlap {
    /// Leave the fire out
    Skip,
    /// Let one more wait
    BufferOne,
    /// Cancel the run that a schedule started before
    CancelOther,
}

#[derive(Args, Debug)]
pub(super) struct SetArgs {
    /// The schedule to change; a new one if absent
    schedule: Option<String>,
    /// Of a new one: for this organization only
    #[arg(long, conflicts_with = "schedule")]
    org: Option<String>,
    /// Of a new one: name or id of the connector
    #[arg(long, conflicts_with = "schedule", required_unless_present = "schedule")]
    connector: Option<String>,
    /// Five fields such as `0 2 * * *`, or a word such as `@daily`
    #[arg(long, required_unless_present = "schedule", value_name = "PATTERN")]
    cron: Option<String>,
    /// IANA time zone; that of each organization if absent
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    #[arg(long)]
    name: Option<String>,
    /// Or `all`
    #[arg(long)]
    entity: Option<String>,
    #[arg(long)]
    mode: Option<Mode>,
    /// When a run for the same is not over yet
    #[arg(long)]
    overlap: Option<Overlap>,
    /// How late a missed fire is made up for, such as 24h
    #[arg(long, value_name = "TIME")]
    catch_up: Option<String>,
    /// So long connections are spread over, such as 5m; 0s fires on the minute
    #[arg(long, value_name = "TIME")]
    jitter: Option<String>,
    /// Switch it on or off
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    match verb {
        Verb::List { org, connector, paging } => {
            let connector = match connector {
                Some(named) => Some(lookup::connector(&client, &named).await?),
                None => None,
            };
            let [limit, cursor] = paging.query();
            let query = [("organization", org), ("connector", connector), limit, cursor];
            let answer = client.get("/sync/schedules", &query).await?;
            let columns = [
                ("ID", "id"),
                ("NAME", "name"),
                ("ORGANIZATION", "organizationId"),
                ("CONNECTOR", "connectorId"),
                ("WHEN", "description"),
                ("NEXT", "nextFireAt"),
                ("LAST", "lastFireAt"),
                ("PAUSED", "paused.reason"),
                ("BLOCKED", "blocked.code"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Show { schedule } => {
            session.io.object(json, &client.get(&path(&schedule), &[]).await?)?;
        }
        Verb::Set(args) => return set(*args, session).await,
        Verb::Pause { schedule, reason, until } => {
            let body = given(&[("reason", Some(reason)), ("until", until)]);
            let answer = client.post(&format!("{}/pause", path(&schedule)), &body.into()).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Resume { schedule } => {
            let answer = client.post(&format!("{}/resume", path(&schedule)), &json!({})).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Next { schedule, count } => {
            let query = [("count", Some(count.to_string()))];
            let answer = client.get(&format!("{}/next", path(&schedule)), &query).await?;
            session.io.list(json, &answer, &[("NOMINAL", "nominalAt"), ("LOCAL", "localTime")])?;
        }
        Verb::Fires { schedule, org, outcome, paging } => {
            let outcome = outcome.and_then(|outcome| outcome.to_possible_value());
            let outcome = outcome.map(|value| value.get_name().to_owned());
            let [limit, cursor] = paging.query();
            let query = [("organization", org), ("outcome", outcome), limit, cursor];
            let answer = client.get(&format!("{}/fires", path(&schedule)), &query).await?;
            let columns = [
                ("NOMINAL", "nominalAt"),
                ("AT", "at"),
                ("ORGANIZATION", "organizationId"),
                ("OUTCOME", "outcome"),
                ("COUNT", "count"),
                ("RUN", "syncId"),
                ("REASON", "reason"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Trigger { schedule } => {
            let answer = client.post(&format!("{}/trigger", path(&schedule)), &json!({})).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Delete { schedule } => {
            let tagged = client.get_tagged(&path(&schedule)).await?;
            client.delete(&path(&schedule), &tagged).await?;
            session.io.say(&format!("deleted {schedule}; its runs stay in the history"));
            if json {
                session.io.json(&json!({ "id": schedule, "deleted": true }))?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn path(schedule: &str) -> String {
    format!("/sync/schedules/{}", segment(schedule))
}

async fn set(args: SetArgs, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let connector = match &args.connector {
        Some(named) => Some(lookup::connector(&client, named).await?),
        None => None,
    };
    let named = args.schedule.clone();
    let mut body = body(args);
    let answer = match named {
        None => {
            body.extend(given(&[("connectorId", connector)]));
            client.post("/sync/schedules", &body.into()).await?
        }
        Some(schedule) => {
            let tagged = client.get_tagged(&path(&schedule)).await?;
            client.replace(&path(&schedule), &tagged, &body.into()).await?
        }
    };
    session.io.object(session.json, &answer)?;
    Ok(Exit::Ok)
}

/// What the flags say; the server keeps the rest.
fn body(args: SetArgs) -> Map<String, Value> {
    fn word(value: Option<impl ValueEnum>) -> Option<String> {
        let value = value.and_then(|value| value.to_possible_value());
        value.map(|value| value.get_name().to_owned())
    }
    let mut body = given(&[
        ("name", args.name),
        ("organizationId", args.org),
        ("entity", args.entity),
        ("mode", word(args.mode)),
        ("cron", args.cron),
        ("timezone", args.timezone),
        ("overlap", word(args.overlap)),
        ("catchUpWindow", args.catch_up),
        ("jitter", args.jitter),
    ]);
    if let Some(enabled) = args.enabled {
        body.insert("enabled".to_owned(), enabled.into());
    }
    body
}
