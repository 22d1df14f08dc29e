//! `/organizations/{org}/changes`: the change feed, how an application consumes what commits did; in pages, or followed
//! as a stream.

use super::access::Place;
use super::live::{self, Source, Watch, Woken};
use super::paging::{Parameters, Query};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller, organizations};
use crate::clock;
use crate::model::OrgNo;
use crate::store::feed::{self, FeedRow};
use crate::store::{Read, Store};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

/// Rows that a stream reads at once.
const BATCH: usize = 200;
/// What `after` says to begin with what comes from now on.
const LATEST: &str = "latest";

/// The change feed, in the order of the commits.
///
/// `after` is the `seq` of the last row that the caller has; `nextAfter` continues, also when there is nothing new. With
/// `Accept: text/event-stream` the answer goes on: each row is an event `change` whose id is its `seq`, and
/// `Last-Event-ID` continues.
#[utoipa::path(
    get, path = "/organizations/{org}/changes", tag = "changes",
    params(schema::ChangeFilter, schema::Paging, schema::LastEventId),
    responses(
        (status = 200, content((schema::Changes = "application/json"), (schema::Event = "text/event-stream"))),
        (status = 410, description = "`changes.gone`"),
        (status = 429, description = "`stream.too-many`"),
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(org): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let query = Query::new(parameters, &["after"])?;
    let streamed = live::wanted(&headers);
    let after = match query.cursor::<u64>()? {
        Some(cursor) => Some(cursor),
        None => position(&query, &headers, streamed)?,
    };
    if streamed {
        let known = org.clone();
        let start = move |read: &dyn Read| {
            let organization = organizations::find(read, &known)?;
            Ok((organization.no, start(read, organization.no, after)?))
        };
        let (no, after) = api.read(move |read, _| start(read)).await?;
        let watch = Watch::open(&api, caller, Place::Organization, &[("org", &org)])?;
        let waiting = Vec::new().into_iter();
        return Ok(live::answer(Feed { watch, org: no, after, waiting, first: true, over: false }));
    }
    let limit = query.limit()?;
    api.read(move |read, store| {
        let organization = organizations::find(read, &org)?;
        let after = start(read, organization.no, after)?;
        let rows = feed::after(read, organization.no, after, limit)?;
        let last = rows.last().map_or(after, |row| row.seq);
        let more = last < feed::last(read, organization.no)?;
        let items = rows.iter().map(|row| item(store, row)).collect::<Result<Vec<_>, _>>()?;
        let next = more.then(|| query.seal(&last));
        let page = json!({ "items": items, "nextCursor": next, "nextAfter": last });
        Ok(Json(page).into_response())
    })
    .await
}

/// Behind which row the caller wants to go on; none is behind the newest. A stream that broke names its last event.
fn position(query: &Query, headers: &HeaderMap, streamed: bool) -> Result<Option<u64>, Problem> {
    if let Some(id) = live::last_event_id(headers).filter(|_| streamed) {
        let wrong = || Problem::invalid_at("?after", "`Last-Event-ID` must be the id of an event");
        return id.parse().map(Some).map_err(|_| wrong());
    }
    match query.get("after") {
        Some(LATEST) => Ok(None),
        _ => Ok(Some(query.parsed::<u64>("after", "a `seq`, or `latest`")?.unwrap_or(0))),
    }
}

/// Where the caller goes on, or 410 where rows behind it are kept no longer.
fn start(read: &dyn Read, org: OrgNo, after: Option<u64>) -> Result<u64, Problem> {
    let (floor, last) = (feed::floor(read, org)?, feed::last(read, org)?);
    match after {
        None => Ok(last),
        Some(after) if after < floor => {
            let detail = format!(
                "changes up to {floor} are kept no longer: ask for `after=latest` and keep its `nextAfter`, read the \
                 records anew, then go on from what you kept"
            );
            Err(Problem::new(410, "changes.gone", detail))
        }
        Some(after) => Ok(after),
    }
}

fn item(store: &Store, row: &FeedRow) -> Result<Value, Problem> {
    Ok(json!({
        "seq": row.seq,
        "recordId": row.record,
        "entity": &*store.entity_name(row.record.entity())?,
        "kind": row.kind,
        "fields": row.fields,
        "runId": row.run,
        "at": clock::to_text(row.at),
    }))
}

/// The feed as a stream.
struct Feed {
    watch: Watch,
    org: OrgNo,
    /// The last row that was read.
    after: u64,
    /// Rows that were read and not yet sent.
    waiting: std::vec::IntoIter<FeedRow>,
    first: bool,
    over: bool,
}

impl Source for Feed {
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.over {
                return None;
            }
            // What was read is sent row by row only so far as it is asked for.
            let store = self.watch.api.deps.store.clone();
            if let Some(row) = self.waiting.next() {
                return Some(live::event("change", &row.seq, &item(&store, &row).ok()?));
            }
            let woken = if self.first { Woken::Look } else { self.watch.wait().await };
            if woken == Woken::Over {
                return None;
            }
            self.watch.looks();
            let read = store.read().ok()?;
            if !self.watch.admits(&read) {
                return None;
            }
            if let Err(gone) = start(&read, self.org, Some(self.after)) {
                self.over = true;
                let problem = json!({ "code": "changes.gone", "detail": gone.detail() });
                return Some(format!("event: gone\ndata: {problem}\n\n"));
            }
            let (org, after) = (self.org, self.after);
            let rows = tokio::task::spawn_blocking(move || feed::after(&read, org, after, BATCH));
            let rows = rows.await.ok()?.ok()?;
            // A full batch may have more behind it, for which no commit rings.
            self.first = rows.len() == BATCH;
            if let Some(last) = rows.last() {
                self.after = last.seq;
                self.waiting = rows.into_iter();
            } else if woken == Woken::Heartbeat {
                return Some(": still here\n\n".to_owned());
            }
        }
    }
}
