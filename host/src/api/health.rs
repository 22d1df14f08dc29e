//! Health: of the process (`/healthz`, `/readyz`), and of a connector over its runs.

use super::problem::Problem;
use super::{Api, connectors};
use crate::clock;
use crate::model::RunStatus;
use crate::model::directory::ConnectorStatus;
use crate::model::run::Run;
use crate::store::{Read, directory, meta, runs};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::ops::ControlFlow;

const WINDOW_MILLIS: i64 = 30 * 24 * 60 * 60 * 1000;
/// How many runs of the window are looked at.
const RUNS_MAX: usize = 1_000;
const ERRORS_MAX: usize = 20;

/// The process answers.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The store can be read.
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    api.read(|read, _| Ok(meta::key_check(read as &dyn Read).map(drop)?)).await?;
    Ok(Json(json!({ "status": "ready" })))
}

pub(super) async fn connector(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let since = api.now() - WINDOW_MILLIS;
    api.read(move |read, _| {
        let connector = connectors::find(read, &id)?;
        let connections = directory::connections_of(read, connector.id)?;
        let mut real = Vec::new();
        runs::scan_newest(read, None, None, &mut |run| {
            if run.created_at < since || real.len() >= RUNS_MAX {
                return ControlFlow::Break(());
            }
            if run.connector == connector.id && !run.dry_run && run.completed_at.is_some() {
                real.push(run);
            }
            ControlFlow::Continue(())
        })?;
        let good = |run: &&Run| matches!(run.status, RunStatus::Completed | RunStatus::Partial);
        let bad = |run: &&Run| matches!(run.status, RunStatus::Failed | RunStatus::NeedsReauth);
        let (successes, failures) =
            (real.iter().filter(good).count(), real.iter().filter(bad).count());
        let percent = |part: usize| {
            let all = successes + failures;
            (all > 0).then(|| (part * 1000 / all) as f64 / 10.0)
        };
        let last = |keep: &dyn Fn(&&Run) -> bool| {
            real.iter().find(keep).and_then(|run| run.completed_at).map(clock::to_text)
        };
        let errors: Vec<Value> = real
            .iter()
            .filter(bad)
            .take(ERRORS_MAX)
            .flat_map(|run| {
                run.errors.iter().map(move |error| json!({ "syncId": run.id, "error": error }))
            })
            .collect();
        let worst = connections.iter().map(|c| c.consecutive_failures).max().unwrap_or(0);
        let status = match (connector.status, worst) {
            (ConnectorStatus::Inactive, _) => "inactive",
            (ConnectorStatus::Error, _) => "error",
            (ConnectorStatus::Active, 0) => "healthy",
            (ConnectorStatus::Active, _) => "degraded",
        };
        Ok(Json(json!({
            "status": status,
            "consecutiveFailures": worst,
            "lastSuccessAt": last(&good),
            "lastErrorAt": last(&bad),
            "lastSyncAt": last(&good),
            "uptime": percent(successes),
            "successRate": percent(successes),
            "errorRate": percent(failures),
            "errors": errors,
        })))
    })
    .await
}
