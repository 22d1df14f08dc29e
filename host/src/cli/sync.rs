//! `sync`: asks for a run and, with `--wait`, follows it to its end.

use super::Session;
use super::client::{Client, segment};
use super::lookup::{self, text};
use super::org::object;
use super::output::{Io, at};
use super::problem::{Exit, Problem};
use super::progress::Progress;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::time::Duration;

const POLL_MILLIS_MIN: u64 = 100;
const POLL_MILLIS_MAX: u64 = 1_000;
/// How often in a row a server may be out of reach before it is given up: about 20 seconds.
const AWAY_MAX: u32 = 24;

#[derive(Args, Debug)]
pub(super) struct SyncArgs {
    /// Record type, such as `member`, or `all`
    entity: String,
    /// Organization; may be left out if there is only one connection
    #[arg(long)]
    org: Option<String>,
    /// Connector by name or id; may be left out if there is only one connection
    #[arg(long)]
    connector: Option<String>,
    #[arg(long, value_enum, default_value_t = Mode::Full)]
    mode: Mode,
    /// External ids, separated by commas; with `--mode ids`
    #[arg(long, value_delimiter = ',', required_if_eq("mode", "ids"))]
    ids: Vec<String>,
    /// Filters, as the API takes them: {"modifiedAfter": "...", "status": [...]}
    #[arg(long, value_name = "JSON")]
    filters_json: Option<String>,
    /// Work out what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Follow the run to its end; the exit code says how it went
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    Full,
    Incremental,
    Ids,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Mode::Full => "full",
            Mode::Incremental => "incremental",
            Mode::Ids => "ids",
        }
    }
}

pub(super) async fn run(args: SyncArgs, session: &mut Session<'_>) -> Result<Exit, Problem> {
    if !args.ids.is_empty() && args.mode != Mode::Ids {
        return Err(Problem::usage("--ids needs `--mode ids`"));
    }
    let client = session.client()?;
    let target = lookup::target(&client, args.org, args.connector).await?;
    let mut body = json!({
        "organizationId": target.organization,
        "connectorId": target.connector,
        "mode": args.mode.as_str(),
        "dryRun": args.dry_run,
    });
    if let Some(members) = body.as_object_mut() {
        if args.mode == Mode::Ids {
            members.insert("ids".to_owned(), args.ids.into());
        }
        if let Some(filters) = &args.filters_json {
            members.insert("filters".to_owned(), object("--filters-json", filters)?.into());
        }
    }
    let accepted = client.post(&format!("/sync/{}", segment(&args.entity)), &body).await?;
    let id = text(&accepted, "syncId");
    if at(&accepted, "joined").as_bool() == Some(true) {
        session.io.say(&format!("joined {id}, which was already waiting"));
    }
    if !args.wait {
        session.io.object(session.json, &accepted)?;
        return Ok(Exit::Ok);
    }
    let run = follow(&client, &id, &mut session.io).await?;
    if session.json {
        session.io.json(&run)?;
    } else {
        summary(&run, &mut session.io)?;
    }
    Ok(verdict(&run))
}

/// Follows the run until it has ended. A held run counts as ended, since it waits for a person, and so does one that
/// waits for a retry: its attempt failed, and the next one may be hours away. A stream that breaks is taken up again;
/// where there is none, the run is asked for now and then.
pub(super) async fn follow(client: &Client, id: &str, io: &mut Io<'_>) -> Result<Value, Problem> {
    let path = format!("/sync/status/{}", segment(id));
    let mut progress = Progress::new(io.err_terminal);
    let (mut last, mut millis, mut away) = (None::<String>, POLL_MILLIS_MIN, 0);
    loop {
        let events = client.events(&format!("{path}/events"), &[], last.as_deref()).await;
        if let Ok(Some(mut events)) = events {
            while let Some(event) = events.next().await {
                last = event.id.or(last);
                if event.kind == "end" || !is_under_way(&event.data) {
                    progress.finish();
                    return Ok(event.data);
                }
                progress.show(&event.data, io);
                (millis, away) = (POLL_MILLIS_MIN, 0);
            }
        }
        match client.get(&path, &[]).await {
            Ok(run) if !is_under_way(&run) => {
                progress.finish();
                return Ok(run);
            }
            Ok(run) => progress.show(&run, io),
            // The server may be restarting.
            Err(problem) if problem.exit == Exit::Unreachable && away < AWAY_MAX => away += 1,
            Err(problem) => return Err(problem),
        }
        tokio::time::sleep(Duration::from_millis(millis)).await;
        millis = (millis * 3 / 2).min(POLL_MILLIS_MAX);
    }
}

fn is_under_way(run: &Value) -> bool {
    matches!(text(run, "status").as_str(), "queued" | "running")
}

/// What a run's outcome means to a script.
pub(super) fn verdict(run: &Value) -> Exit {
    let count = |name: &str| at(run, "counts").get(name).and_then(Value::as_u64).unwrap_or(0);
    match text(run, "status").as_str() {
        "completed" if count("invalid") + count("quarantined") == 0 => Exit::Ok,
        "completed" | "partial" => Exit::RecordFailures,
        "queued" | "running" => Exit::Ok,
        _ => Exit::Failed,
    }
}

/// One line of outcome, one line of counts, then errors and what to do.
fn summary(run: &Value, io: &mut Io<'_>) -> Result<(), Problem> {
    let (id, status) = (text(run, "syncId"), text(run, "status"));
    let dry = if at(run, "dryRun").as_bool() == Some(true) { " (dry run)" } else { "" };
    let how = match at(run, "attempt").as_u64().filter(|_| status == "waiting") {
        Some(attempt) => format!(": attempt {attempt} failed"),
        None => String::new(),
    };
    io.line(&format!("{id} {status}{dry}{how}"))?;
    let counts = at(run, "counts").as_object();
    let counts: Vec<String> = counts
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0))
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if !counts.is_empty() {
        io.line(&counts.join(", "))?;
    }
    for error in at(run, "errors").as_array().into_iter().flatten() {
        io.say(&format!("{}: {}", text(error, "code"), text(error, "message")));
    }
    let reason = text(run, "heldReason");
    if !dry.is_empty() && !reason.is_empty() {
        io.say(&format!("the run itself would be held: {reason}"));
    }
    match status.as_str() {
        "held" => io.say(&format!(
            "held: `syncline run show {id}` says why, `syncline run export {id}` what it would do; \
             `syncline run approve {id}` lets it go on"
        )),
        "waiting" => io.say(&format!(
            "it is tried again at {}; `syncline sync` makes it due at once",
            text(run, "nextRetryAt")
        )),
        "needsReauth" => io.say("the federation refused the credentials"),
        "partial" => io.say("`syncline failure list` shows what was left out"),
        _ => {}
    }
    Ok(())
}
