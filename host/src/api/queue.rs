//! `/organizations/{org}/queue`: what waits, what runs, and what failed for good.

use super::paging::{Gathered, Parameters, Query};
use super::problem::Problem;
use super::schema;
use super::{Api, organizations};
use crate::clock;
use crate::model::ConnectorId;
use crate::model::ids::JobId;
use crate::model::job::{Job, JobKind, JobState};
use crate::retry;
use crate::store::{self, Read, directory, jobs};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::HashMap;

fn row(job: &Job, max_retries: u32) -> Value {
    let text = |at: i64| clock::to_text(at);
    let lease = job.lease.as_ref().map(|lease| json!({ "until": text(lease.until) }));
    let waits = job.state == JobState::Waiting;
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
        "priority": job.priority,
        "state": job.state,
        "createdAt": text(job.created_at),
        "dueAt": text(job.due_at),
        "attempt": job.attempt + u32::from(job.state == JobState::Running),
        "retryCount": job.retry_count,
        "maxRetries": max_retries,
        "nextRetryAt": waits.then(|| text(job.due_at)),
        "error": job.error.as_ref().map(|error| json!({ "code": error.code, "message": error.message })),
        "endedAt": job.ended_at.map(text),
        "cancel": job.cancel,
        "lease": lease,
    })
}

/// How often the runs of a connector are tried again; read once for each connector.
#[derive(Default)]
struct Retries(HashMap<ConnectorId, u32>);

impl Retries {
    fn of(&mut self, read: &dyn Read, connector: ConnectorId) -> Result<u32, store::Error> {
        if let Some(known) = self.0.get(&connector) {
            return Ok(*known);
        }
        let row = directory::connector(read, connector)?;
        let max = row.as_ref().map_or(retry::RETRIES_DEFAULT, retry::retries_max);
        self.0.insert(connector, max);
        Ok(max)
    }
}

const STATES: [&str; 4] = ["pending", "waiting", "running", "dead"];

/// Jobs that wait or run, oldest first; with `state=dead` those that failed for good.
#[utoipa::path(
    get, path = "/organizations/{org}/queue", tag = "queue",
    params(schema::QueueFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Job>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(org): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["state"])?;
    let state = match query.word("state", &STATES)? {
        None => None,
        Some("running") => Some(JobState::Running),
        Some("waiting") => Some(JobState::Waiting),
        Some("dead") => Some(JobState::Dead),
        Some(_) => Some(JobState::Pending),
    };
    let dead = state == Some(JobState::Dead);
    let (mut found, after) = (Gathered::new(query.limit()?), query.cursor::<JobId>()?);
    api.read(move |read, _| {
        let organization = organizations::find(read, &org)?;
        jobs::scan_of_organization(read, organization.no, dead, after, &mut |job| {
            let wanted = state.is_none_or(|state| job.state == state);
            found.offer(job.id, job, wanted)
        })?;
        let mut retries = Retries::default();
        query.page(found, |job| Ok(row(&job, retries.of(read, job.connector)?)))
    })
    .await
}
