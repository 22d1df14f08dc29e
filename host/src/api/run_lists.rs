//! What a run left behind, page by page: conflict lines, outcomes per record, requests, log lines.

use super::Api;
use super::paging::{Gathered, Parameters, Query};
use super::problem::Problem;
use super::runs::{find, with_details};
use super::schema;
use crate::clock;
use crate::model::{RecordId, RunId};
use crate::store::Snapshot;
use crate::store::runs::{self, ConflictLine, RecordOutcome};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

pub(super) fn conflict(line: &ConflictLine) -> Value {
    json!({
        "recordId": line.record,
        "externalId": line.external_id,
        "entity": line.entity,
        "field": line.field,
        "baseValue": line.base.to_json(),
        "remoteValue": line.remote.to_json(),
        "localValue": line.local.to_json(),
        "resolvedValue": line.resolved.as_ref().map(crate::model::Value::to_json),
        "held": line.resolved.is_none(),
        "strategy": line.strategy,
        "note": line.note,
    })
}

fn request(mut line: Value) -> Value {
    if let Some(at) = line["at"].as_i64() {
        line["at"] = json!(clock::to_text(at));
    }
    line
}

pub(super) fn outcome(outcome: &RecordOutcome) -> Value {
    let record = (outcome.record != 0).then(|| RecordId(outcome.record).to_string());
    json!({
        "recordId": record,
        "externalId": outcome.external_id,
        "outcome": outcome.outcome,
        "version": (outcome.version != 0).then_some(outcome.version),
        "note": outcome.note,
    })
}

/// The conflict lines of a run.
#[utoipa::path(
    get, path = "/sync/status/{id}/conflicts", tag = "runs",
    params(schema::Paging),
    responses((status = 200, body = schema::Page<schema::ConflictLine>))
)]
pub(super) async fn conflicts(
    State(api): State<Api>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    numbered(api, id, parameters, Of::Run, |read, run, from, limit| {
        let rows = runs::conflicts(read, run, from, limit)?;
        Ok(rows.into_iter().map(|(number, line)| (number, conflict(&line))).collect())
    })
    .await
}

/// The requests that a run sent.
#[utoipa::path(
    get, path = "/sync/status/{id}/requests", tag = "runs",
    params(schema::Paging),
    responses(
        (status = 200, body = schema::Page<schema::RequestLine>),
        (status = 410, description = "`run.details-gone`"),
    )
)]
pub(super) async fn requests(
    State(api): State<Api>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    numbered(api, id, parameters, Of::Details, |read, run, from, limit| {
        let rows = runs::requests(read, run, from, limit)?;
        Ok(rows.into_iter().map(|(number, line)| (number, request(line))).collect())
    })
    .await
}

/// The log lines of a run.
#[utoipa::path(
    get, path = "/sync/status/{id}/logs", tag = "runs",
    params(schema::Paging),
    responses(
        (status = 200, body = schema::Page<schema::LogLine>),
        (status = 410, description = "`run.details-gone`"),
    )
)]
pub(super) async fn logs(
    State(api): State<Api>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    numbered(api, id, parameters, Of::Details, |read, run, from, limit| {
        Ok(runs::logs(read, run, from, limit)?)
    })
    .await
}

/// How long a list is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// As long as the run.
    Run,
    Details,
}

/// A list whose rows are numbered; the cursor is the next number.
async fn numbered(
    api: Api,
    id: String,
    parameters: Parameters,
    of: Of,
    rows: impl FnOnce(&Snapshot, RunId, u32, usize) -> Result<Vec<(u32, Value)>, Problem>
    + Send
    + 'static,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let (limit, from) = (query.limit()?, query.cursor::<u32>()?.unwrap_or(0));
    api.read(move |read, _| {
        let run = find(read, &id)?;
        if of == Of::Details {
            with_details(&run)?;
        }
        let mut gathered = Gathered::new(limit);
        for (number, row) in rows(read, run.id, from, limit + 1)? {
            // The position is where the next page begins.
            if gathered.offer(number.saturating_add(1), row, true).is_break() {
                break;
            }
        }
        query.page(gathered, Ok)
    })
    .await
}

const OUTCOMES: [&str; 7] =
    ["created", "updated", "linked", "inactivated", "reactivated", "conflict", "quarantined"];

/// An outcome: the page of the listing, and the number in it.
#[derive(Default)]
struct Position {
    page: u32,
    index: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.page, self.index)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Position, ()> {
        let (page, index) = text.split_once('.').ok_or(())?;
        let (page, index) = (page.parse().map_err(drop)?, index.parse().map_err(drop)?);
        Ok(Position { page, index })
    }
}

/// What became of each record.
#[utoipa::path(
    get, path = "/sync/status/{id}/records", tag = "runs",
    params(schema::OutcomeFilter, schema::Paging),
    responses(
        (status = 200, body = schema::Page<schema::RecordOutcome>),
        (status = 410, description = "`run.details-gone`"),
    )
)]
pub(super) async fn records(
    State(api): State<Api>,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["outcome"])?;
    let mut found = Gathered::new(query.limit()?);
    let wanted = query.word("outcome", &OUTCOMES)?.map(str::to_owned);
    let from = query.cursor::<Position>()?.unwrap_or_default();
    api.read(move |read, _| {
        let run = find(read, &id)?;
        with_details(&run)?;
        runs::scan_outcomes(read, run.id, from.page, &mut |page, chunk| {
            let skip = if page == from.page { from.index } else { 0 };
            for (index, row) in chunk.iter().enumerate().skip(skip) {
                let row = outcome(row);
                let wanted = wanted.as_deref().is_none_or(|wanted| row["outcome"] == wanted);
                let behind = Position { page, index: index + 1 };
                if found.offer(behind, row, wanted).is_break() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        query.page(found, Ok)
    })
    .await
}
