//! `doctor`: what is wrong with an installation and what to do about it, with a server and without.

use super::Session;
use super::client::Client;
use super::engine::{self, Standing};
use super::lookup::{self, items, text};
use super::problem::{Exit, Problem};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Data directory to look at; SYNCLINE_DATA_DIR otherwise
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Failed,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "failed",
        }
    }
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    message: String,
    hint: Option<String>,
}

impl Check {
    fn new(check: &'static str, state: State, message: impl Into<String>) -> Check {
        Check { check, state, message: message.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Check {
        Check { hint: Some(hint.into()), ..self }
    }

    fn failed(check: &'static str, problem: Problem) -> Check {
        let Problem { message, causes, hint, .. } = problem;
        let message = causes.iter().fold(message, |message, cause| format!("{message}: {cause}"));
        Check { check, state: State::Failed, message, hint }
    }
}

pub(super) async fn run(
    data_dir: Option<PathBuf>,
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
    let file = session.loaded.file.as_ref();
    let mut checks = vec![Check::new(
        "settings",
        State::Ok,
        match file {
            Some(file) => format!("from {}", file.display()),
            None => "no configuration file".to_owned(),
        },
    )];
    if let Some(dir) = &data_dir {
        checks.extend(of_directory(session, dir).await);
    }
    checks.extend(of_server(session, data_dir.is_some()).await);
    report(&checks, session)?;
    let is_bad = checks.iter().any(|check| check.state == State::Failed);
    Ok(if is_bad { Exit::Failed } else { Exit::Ok })
}

async fn of_directory(session: &Session<'_>, dir: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    for finding in engine::examine(&session.loaded.config, dir).await {
        checks.push(match finding.standing {
            Standing::Fine(says) => Check::new(finding.what, State::Ok, says),
            Standing::Doubtful(says, hint) => {
                Check::new(finding.what, State::Warning, says).hint(hint)
            }
            Standing::Broken(error) => {
                Check::failed(finding.what, engine::broken("does not work", &error))
            }
        });
    }
    checks
}

/// Without a data directory a server is all that there is to look at, so that it has to be there.
async fn of_server(session: &Session<'_>, may_be_down: bool) -> Vec<Check> {
    const SERVER: &str = "server";
    let client = match session.client() {
        Ok(client) => client,
        Err(problem) => return vec![Check::failed(SERVER, problem)],
    };
    let address = &session.loaded.config.cli.server;
    match client.get("/session", &[]).await {
        Ok(caller) => {
            let says = format!(
                "answers at {address}; you are {:?}, a {}",
                text(&caller, "name"),
                text(&caller, "role")
            );
            let mut checks = vec![Check::new(SERVER, State::Ok, says)];
            checks.extend(connectors(&client).await);
            checks.extend(pending(&client).await);
            checks
        }
        Err(problem) if problem.exit == Exit::Unreachable && may_be_down => {
            vec![
                Check::new(SERVER, State::Warning, format!("none answers at {address}"))
                    .hint("start it with `syncline serve`, or name another one with --server"),
            ]
        }
        Err(problem)
            if problem.exit == Exit::Permission && session.loaded.config.cli.token.is_none() =>
        {
            vec![
                Check::new(SERVER, State::Ok, format!("answers at {address}"))
                    .hint("with a token (SYNCLINE_TOKEN) more can be seen"),
            ]
        }
        Err(problem) => vec![Check::failed(SERVER, problem)],
    }
}

/// What a caller may not see is not worth a line.
async fn connectors(client: &Client) -> Option<Check> {
    let query = [("status", Some("error".to_owned()))];
    let sick = client.get("/connectors", &query).await.ok()?;
    let names: Vec<String> = items(&sick).iter().map(|row| text(row, "name")).collect();
    Some(match names.as_slice() {
        [] => Check::new("connectors", State::Ok, "none is disabled"),
        [first, ..] => {
            let says = format!("disabled after faults: {}", names.join(", "));
            let hint = format!(
                "`syncline connector health {first}` says which, `clear-errors` takes it back"
            );
            Check::new("connectors", State::Warning, says).hint(hint)
        }
    })
}

async fn pending(client: &Client) -> Option<Check> {
    let rows = lookup::all(client, "/plugins").await.ok()?;
    let waiting = rows.iter().find(|row| text(row, "state") == "pending")?;
    let name = text(waiting, "name");
    let hint = format!("`syncline plugin approve {name}` lets it run");
    let says = format!("`{name}` waits for approval");
    Some(Check::new("components", State::Warning, says).hint(hint))
}

fn report(checks: &[Check], session: &mut Session<'_>) -> Result<(), Problem> {
    if session.json {
        let ok = checks.iter().all(|check| check.state != State::Failed);
        let rows: Vec<Value> =
            checks.iter().map(|check| serde_json::to_value(check).unwrap_or_default()).collect();
        return session.io.json(&json!({ "ok": ok, "checks": rows }));
    }
    for Check { check, state, message, hint } in checks {
        let line = format!("{:8} {check}: {message}", state.as_str());
        session.io.line(&crate::telemetry::escape_control(&line))?;
        if let Some(hint) = hint {
            let line = format!("{:8}   {hint}", "");
            session.io.line(&crate::telemetry::escape_control(&line))?;
        }
    }
    Ok(())
}
