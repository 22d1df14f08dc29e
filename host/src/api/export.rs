//! Exports of runs: JSON as it is, CSV for spreadsheets.

use super::paging::Query;
use super::problem::Problem;
use super::run_lists::{conflict, outcome};
use super::runs::{FILTERS, Filter, find, row};
use super::{Api, csv};
use crate::model::RunId;
use crate::model::run::Run;
use crate::store::Snapshot;
use crate::store::runs::{self, ConflictLine};
use axum::extract::{Path, Query as Parameters, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// How many runs one export holds.
const RUNS_MAX: usize = 10_000;
/// How many conflict lines or outcomes of a run one export holds.
const LINES_MAX: usize = 1_000_000;

enum Format {
    Json,
    Csv,
}

fn format(query: &Query) -> Result<Format, Problem> {
    match query.get("format") {
        None | Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        Some(_) => Err(Problem::invalid_at("?format", "must be `json` or `csv`")),
    }
}

fn file(format: &Format, name: &str, body: String) -> Response {
    let (kind, ending) = match format {
        Format::Json => ("application/json", "json"),
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    let disposition = format!("attachment; filename=\"{name}.{ending}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)], body)
        .into_response()
}

pub(super) async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Response, Problem> {
    let mut known = FILTERS.to_vec();
    known.push("format");
    let query = Query::new(parameters, &known)?;
    let format = format(&query)?;
    api.read(move |read, _| {
        let (found, _) = Filter::new(read, &query)?.runs(read, None, RUNS_MAX)?;
        let body = match format {
            Format::Json => {
                let items: Vec<Value> = found.iter().map(|run| row(run, None)).collect();
                json!({ "items": items }).to_string()
            }
            Format::Csv => runs_csv(&found),
        };
        Ok(file(&format, "runs", body))
    })
    .await
}

const RUN_COLUMNS: [&str; 12] = [
    "syncId",
    "organizationId",
    "connectorId",
    "entity",
    "mode",
    "trigger",
    "strategy",
    "dryRun",
    "status",
    "createdAt",
    "startedAt",
    "completedAt",
];
const COUNT_COLUMNS: [&str; 14] = [
    "fetched",
    "valid",
    "invalid",
    "created",
    "updated",
    "unchanged",
    "linked",
    "conflictsDetected",
    "conflictsResolved",
    "conflictsHeld",
    "deactivated",
    "reactivated",
    "quarantined",
    "pushed",
];

fn runs_csv(found: &[Run]) -> String {
    let header = RUN_COLUMNS.iter().chain(&COUNT_COLUMNS).map(|name| (*name).to_owned());
    let mut text = csv::line(&header.collect::<Vec<_>>());
    for run in found {
        let row = row(run, None);
        let of_run = RUN_COLUMNS.iter().map(|name| cell(&row[*name]));
        let of_counts = COUNT_COLUMNS.iter().map(|name| cell(&row["counts"][*name]));
        text.push_str(&csv::line(&of_run.chain(of_counts).collect::<Vec<_>>()));
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Response, Problem> {
    let query = Query::new(parameters, &["format"])?;
    let format = format(&query)?;
    api.read(move |read, _| {
        let run = find(read, &id)?;
        let lines = runs::conflicts(read, run.id, 0, LINES_MAX)?;
        let lines: Vec<ConflictLine> = lines.into_iter().map(|(_, line)| line).collect();
        let body = match format {
            Format::Json => json!({
                "run": row(&run, None),
                "conflicts": lines.iter().map(conflict).collect::<Vec<_>>(),
                "records": outcomes(read, run.id)?,
            })
            .to_string(),
            Format::Csv => conflicts_csv(&lines),
        };
        Ok(file(&format, &run.id.to_string(), body))
    })
    .await
}

fn outcomes(read: &Snapshot, run: RunId) -> Result<Vec<Value>, Problem> {
    let mut found = Vec::new();
    runs::scan_outcomes(read, run, 0, &mut |_, chunk| {
        found.extend(chunk.iter().map(outcome));
        if found.len() >= LINES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

fn conflicts_csv(lines: &[ConflictLine]) -> String {
    let header = [
        "recordId",
        "externalId",
        "entity",
        "field",
        "baseValue",
        "remoteValue",
        "localValue",
        "resolvedValue",
        "strategy",
        "note",
    ];
    let mut text = csv::line(&header.map(str::to_owned));
    for line in lines {
        text.push_str(&csv::line(&[
            line.record.to_string(),
            line.external_id.clone(),
            line.entity.clone(),
            line.field.clone(),
            line.base.display(),
            line.remote.display(),
            line.local.display(),
            line.resolved.as_ref().map(crate::model::Value::display).unwrap_or_default(),
            line.strategy.clone(),
            line.note.clone(),
        ]));
    }
    text
}
