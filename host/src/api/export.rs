//! Exports of runs: JSON as it is, NDJSON line by line, CSV for spreadsheets.
//!
//! An export is read and sent piece by piece, each from a view of the store of its own, so that its length costs no
//! memory and a slow reader holds nothing. One that cannot go on breaks off, so that nobody takes a part for the whole.

use super::access::{self, Place};
use super::csv::{self, Cell};
use super::paging::{Parameters, Query};
use super::problem::Problem;
use super::run_lists::{conflict, outcome};
use super::runs::{FILTERS, Filter, find, row};
use super::schema;
use super::{Api, Caller, identity};
use crate::model::{RunId, Value as Field};
use crate::store::runs::{self, ConflictLine};
use crate::store::{Read, Snapshot};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io;
use std::ops::ControlFlow;

/// Runs that are read at once.
const RUNS_BATCH: usize = 200;
/// Conflict lines that are read at once; outcomes come in the chunks that they are stored in.
const LINES_BATCH: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Ndjson,
    Csv,
}

fn format(query: &Query) -> Result<Format, Problem> {
    Ok(match query.word("format", &["json", "ndjson", "csv"])? {
        Some("csv") => Format::Csv,
        Some("ndjson") => Format::Ndjson,
        _ => Format::Json,
    })
}

/// The text of rows in one format; JSON separates them with commas.
struct Rows {
    format: Format,
    text: String,
    separate: bool,
}

impl Rows {
    fn new(format: Format, separate: bool) -> Rows {
        Rows { format, text: String::new(), separate }
    }

    /// `member` names the kind of a row where a line has to tell it.
    fn push(&mut self, member: Option<&str>, row: &Value) {
        match (self.format, member) {
            (Format::Ndjson, Some(member)) => {
                self.text.push_str(&json!({ member: row }).to_string());
                self.text.push('\n');
            }
            (Format::Ndjson, None) => {
                self.text.push_str(&row.to_string());
                self.text.push('\n');
            }
            (Format::Json | Format::Csv, _) => {
                if self.separate {
                    self.text.push(',');
                }
                self.separate = true;
                self.text.push_str(&row.to_string());
            }
        }
    }
}

/// An export under way.
trait Export: Send + Sized + 'static {
    /// The next piece; an empty one where there was nothing to say, none at the end.
    fn piece(&mut self, read: &Snapshot) -> Result<Option<String>, Problem>;
}

/// Who exports, and what the path names.
struct Access {
    caller: Caller,
    place: Place,
    names: Vec<(String, String)>,
}

impl Access {
    /// Its login may have ended while a long export goes on.
    fn holds(&self, api: &Api, read: &dyn Read) -> Result<(), Problem> {
        let standing = identity::standing(api, read, &self.caller)?;
        let standing = standing.ok_or_else(Problem::unauthorized)?;
        access::reaches(&api.deps.store, read, &standing.grant, self.place, &self.names)
    }
}

fn file(api: Api, access: Access, format: Format, name: &str, export: impl Export) -> Response {
    let (kind, ending) = match format {
        Format::Json => ("application/json", "json"),
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    let disposition = format!("attachment; filename=\"{name}.{ending}\"");
    let begun = Some((api, access, export));
    let pieces = futures_util::stream::unfold(begun, |state| async {
        let (api, access, mut export) = state?;
        let known = api.clone();
        let step = known.read(move |read, _| {
            access.holds(&api, read)?;
            let piece = export.piece(read)?;
            Ok((piece, api, access, export))
        });
        match step.await {
            Ok((Some(piece), api, access, export)) => {
                Some((Ok(Bytes::from(piece)), Some((api, access, export))))
            }
            Ok((None, ..)) => None,
            Err(problem) => {
                tracing::warn!(reason = problem.detail(), "an export broke off");
                Some((Err(io::Error::other("the export cannot go on")), None))
            }
        }
    });
    let headers =
        [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (headers, Body::from_stream(pieces)).into_response()
}

/// Runs as a file.
#[utoipa::path(
    get, path = "/sync/status/export", tag = "runs", operation_id = "export",
    params(schema::RunFilter, schema::ExportFormat),
    responses((status = 200, content(
        (schema::RunsExport = "application/json"),
        (String = "application/x-ndjson"),
        (String = "text/csv"),
    )))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let mut known = FILTERS.to_vec();
    known.push("format");
    let query = Query::new(parameters, &known)?;
    let format = format(&query)?;
    let reach = caller.reach();
    let filter = api.read(move |read, _| Filter::new(read, reach, &query)).await?;
    let access = Access { caller, place: Place::Platform, names: Vec::new() };
    let runs = Runs { filter, format, before: None, at: At::Head, separate: false };
    Ok(file(api, access, format, "runs", runs))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Head,
    Rows,
    End,
}

struct Runs {
    filter: Filter,
    format: Format,
    before: Option<RunId>,
    at: At,
    separate: bool,
}

impl Export for Runs {
    fn piece(&mut self, read: &Snapshot) -> Result<Option<String>, Problem> {
        match self.at {
            At::Head => {
                self.at = At::Rows;
                Ok(Some(match self.format {
                    Format::Json => "{\"items\":[".to_owned(),
                    Format::Ndjson => String::new(),
                    Format::Csv => run_header(),
                }))
            }
            At::Rows => self.rows(read).map(Some),
            At::End => Ok(None),
        }
    }
}

impl Runs {
    fn rows(&mut self, read: &Snapshot) -> Result<String, Problem> {
        let mut rows = Rows::new(self.format, self.separate);
        let (mut seen, mut last) = (0, None);
        self.filter.scan(read, self.before, &mut |id, run| {
            if let Some(run) = run {
                match self.format {
                    Format::Csv => run_line(&mut rows.text, &row(&run, None)),
                    Format::Json | Format::Ndjson => rows.push(None, &row(&run, None)),
                }
            }
            (seen, last) = (seen + 1, Some(id));
            if seen < RUNS_BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        self.separate = rows.separate;
        if seen < RUNS_BATCH {
            self.at = At::End;
            if self.format == Format::Json {
                rows.text.push_str("]}");
            }
        }
        self.before = last;
        Ok(rows.text)
    }
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

fn run_header() -> String {
    let mut text = String::new();
    csv::line(&mut text, RUN_COLUMNS.iter().chain(&COUNT_COLUMNS).map(|name| Cell::text(*name)));
    text
}

fn run_line(into: &mut String, row: &Value) {
    let of_run = RUN_COLUMNS.iter().map(|name| Cell::of_json(&row[*name]));
    let of_counts = COUNT_COLUMNS.iter().map(|name| Cell::of_json(&row["counts"][*name]));
    csv::line(into, of_run.chain(of_counts));
}

/// A run as a file; CSV holds its conflict lines.
#[utoipa::path(
    get, path = "/sync/status/{id}/export", tag = "runs", operation_id = "exportOne",
    params(schema::ExportFormat),
    responses((status = 200, content(
        (schema::RunExport = "application/json"),
        (String = "application/x-ndjson"),
        (String = "text/csv"),
    )))
)]
pub(super) async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let query = Query::new(parameters, &["format"])?;
    let format = format(&query)?;
    let known = id.clone();
    let run = api.read(move |read, _| find(read, &known)).await?;
    let name = run.id.to_string();
    let access = Access { caller, place: Place::Run, names: vec![("id".to_owned(), id)] };
    let one = One { id: run.id, format, part: Part::Head, separate: false };
    Ok(file(api, access, format, &name, one))
}

#[derive(Clone, Copy)]
enum Part {
    Head,
    /// The next line.
    Conflicts(u32),
    /// The next page of outcomes.
    Records(u32),
    End,
}

struct One {
    id: RunId,
    format: Format,
    part: Part,
    separate: bool,
}

impl Export for One {
    fn piece(&mut self, read: &Snapshot) -> Result<Option<String>, Problem> {
        match self.part {
            Part::Head => self.head(read).map(Some),
            Part::Conflicts(from) => self.conflicts(read, from).map(Some),
            Part::Records(from) => self.records(read, from).map(Some),
            Part::End => Ok(None),
        }
    }
}

impl One {
    fn head(&mut self, read: &Snapshot) -> Result<String, Problem> {
        self.part = Part::Conflicts(0);
        let run = row(&find(read, &self.id.to_string())?, None);
        Ok(match self.format {
            Format::Json => format!("{{\"run\":{run},\"conflicts\":["),
            Format::Ndjson => format!("{}\n", json!({ "run": run })),
            Format::Csv => conflict_header(),
        })
    }

    fn conflicts(&mut self, read: &Snapshot, from: u32) -> Result<String, Problem> {
        let lines = runs::conflicts(read, self.id, from, LINES_BATCH)?;
        let mut rows = Rows::new(self.format, self.separate);
        for (_, line) in &lines {
            match self.format {
                Format::Csv => conflict_line(&mut rows.text, line),
                Format::Json | Format::Ndjson => rows.push(Some("conflict"), &conflict(line)),
            }
        }
        self.separate = rows.separate;
        self.part = match lines.last() {
            Some((last, _)) if lines.len() == LINES_BATCH => Part::Conflicts(last + 1),
            _ if self.format == Format::Csv => Part::End,
            _ => {
                self.separate = false;
                if self.format == Format::Json {
                    rows.text.push_str("],\"records\":[");
                }
                Part::Records(0)
            }
        };
        Ok(rows.text)
    }

    fn records(&mut self, read: &Snapshot, from: u32) -> Result<String, Problem> {
        let mut rows = Rows::new(self.format, self.separate);
        let mut next = None;
        runs::scan_outcomes(read, self.id, from, &mut |page, chunk| {
            chunk.iter().for_each(|row| rows.push(Some("record"), &outcome(row)));
            next = page.checked_add(1);
            ControlFlow::Break(())
        })?;
        self.separate = rows.separate;
        self.part = next.map_or(Part::End, Part::Records);
        if next.is_none() && self.format == Format::Json {
            rows.text.push_str("]}");
        }
        Ok(rows.text)
    }
}

fn conflict_header() -> String {
    const COLUMNS: [&str; 10] = [
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
    let mut text = String::new();
    csv::line(&mut text, COLUMNS.map(Cell::text));
    text
}

fn conflict_line(into: &mut String, line: &ConflictLine) {
    let value = |value: &Field| match value {
        Field::Int(number) => Cell::Number(number.to_string()),
        other => Cell::text(other.display()),
    };
    csv::line(
        into,
        [
            Cell::text(line.record.to_string()),
            Cell::text(line.external_id.clone()),
            Cell::text(line.entity.clone()),
            Cell::text(line.field.clone()),
            value(&line.base),
            value(&line.remote),
            value(&line.local),
            line.resolved.as_ref().map_or_else(|| Cell::text(""), value),
            Cell::text(line.strategy.clone()),
            Cell::text(line.note.clone()),
        ],
    );
}
