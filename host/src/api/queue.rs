//! `/organizations/{org}/queue`: what waits and what runs.

use super::paging::{Query, page_of};
use super::problem::Problem;
use super::{Api, organizations};
use crate::clock;
use crate::model::job::{Job, JobKind};
use crate::store::jobs;
use axum::Json;
use axum::extract::{Path, Query as Parameters, State};
use serde_json::{Value, json};
use std::collections::HashMap;

fn row(job: &Job) -> Value {
    let lease = job.lease.as_ref().map(|lease| json!({ "until": clock::to_text(lease.until) }));
    json!({
        "jobId": job.id,
        "syncId": job.run,
        "connectorId": job.connector,
        "connectionId": job.connection,
        "kind": match &job.kind {
            JobKind::Sync { dry_run: true, .. } => "dryRun",
            JobKind::Sync { .. } => "sync",
            JobKind::Apply { .. } => "apply",
        },
        "entities": job.entities,
        "trigger": job.trigger,
        "state": job.state,
        "createdAt": clock::to_text(job.created_at),
        "dueAt": clock::to_text(job.due_at),
        "attempt": job.attempt,
        "cancel": job.cancel,
        "lease": lease,
    })
}

pub(super) async fn list(
    State(api): State<Api>,
    Path(org): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["state"])?;
    let state = query.get("state").map(str::to_owned);
    let rows = api
        .read(move |read, _| {
            let organization = organizations::find(read, &org)?;
            let mine = jobs::all(read)?.into_iter().filter(|job| job.org_no == organization.no);
            Ok(mine.map(|job| row(&job)).collect::<Vec<_>>())
        })
        .await?;
    let wanted = |row: &Value| state.as_deref().is_none_or(|state| row["state"] == state);
    page_of(rows.into_iter().filter(wanted).collect(), &query)
}
