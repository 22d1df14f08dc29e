//! What a run left behind, page by page: conflict lines, outcomes per record, requests, log lines.

use super::Api;
use super::paging::{Query, page};
use super::problem::Problem;
use super::runs::find;
use crate::model::{RecordId, RunId};
use crate::store::Snapshot;
use crate::store::runs::{self, ConflictLine, RecordOutcome};
use axum::Json;
use axum::extract::{Path, Query as Parameters, State};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ops::ControlFlow;

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

pub(super) async fn conflicts(
    State(api): State<Api>,
    Path(id): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    numbered(api, id, parameters, |read, run, from, limit| {
        let rows = runs::conflicts(read, run, from, limit)?;
        Ok(rows.into_iter().map(|(number, line)| (number, conflict(&line))).collect())
    })
    .await
}

pub(super) async fn requests(
    State(api): State<Api>,
    Path(id): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    numbered(api, id, parameters, |read, run, from, limit| {
        Ok(runs::requests(read, run, from, limit)?)
    })
    .await
}

pub(super) async fn logs(
    State(api): State<Api>,
    Path(id): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    numbered(api, id, parameters, |read, run, from, limit| Ok(runs::logs(read, run, from, limit)?))
        .await
}

/// A list whose rows are numbered; the cursor is the next number.
async fn numbered(
    api: Api,
    id: String,
    parameters: HashMap<String, String>,
    rows: impl FnOnce(&Snapshot, RunId, u32, usize) -> Result<Vec<(u32, Value)>, Problem>
    + Send
    + 'static,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let (limit, from) = (query.limit()?, query.cursor::<u32>()?.unwrap_or(0));
    api.read(move |read, _| {
        let run = find(read, &id)?;
        let mut found = rows(read, run.id, from, limit + 1)?;
        let next = found.get(limit).map(|(number, _)| number.to_string());
        found.truncate(limit);
        Ok(page(found.into_iter().map(|(_, row)| row).collect(), next))
    })
    .await
}

/// The cursor is `page.index`.
pub(super) async fn records(
    State(api): State<Api>,
    Path(id): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["outcome"])?;
    let (limit, cursor) = (query.limit()?, query.get("cursor").map(str::to_owned));
    let wanted = query.get("outcome").map(str::to_owned);
    let (first, skip) = match cursor.as_deref().map(|cursor| cursor.split_once('.')) {
        None => (0, 0),
        Some(Some((page, index))) => {
            let bad = || Problem::invalid_at("?cursor", "must be a `nextCursor`");
            (page.parse::<u32>().map_err(|_| bad())?, index.parse::<usize>().map_err(|_| bad())?)
        }
        Some(None) => return Err(Problem::invalid_at("?cursor", "must be a `nextCursor`")),
    };
    api.read(move |read, _| {
        let run = find(read, &id)?;
        let (mut items, mut next) = (Vec::new(), None);
        runs::scan_outcomes(read, run.id, first, &mut |page, chunk| {
            let start = if page == first { skip } else { 0 };
            for (index, row) in chunk.iter().enumerate().skip(start) {
                let row = outcome(row);
                if wanted.as_deref().is_some_and(|wanted| row["outcome"] != wanted) {
                    continue;
                }
                if items.len() == limit {
                    next = Some(format!("{page}.{index}"));
                    return ControlFlow::Break(());
                }
                items.push(row);
            }
            ControlFlow::Continue(())
        })?;
        Ok(page(items, next))
    })
    .await
}
