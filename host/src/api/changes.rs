//! `/organizations/{org}/changes`: the change feed, how an application consumes what commits did.

use super::paging::Query;
use super::problem::Problem;
use super::{Api, organizations};
use crate::clock;
use crate::store::feed::{self, FeedRow};
use axum::Json;
use axum::extract::{Path, Query as Parameters, State};
use serde_json::{Value, json};
use std::collections::HashMap;

/// `after` is the `seq` of the last row that the caller has; `nextAfter` continues, also when there is nothing new.
pub(super) async fn list(
    State(api): State<Api>,
    Path(org): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["after"])?;
    let after = match query.cursor::<u64>()? {
        Some(cursor) => cursor,
        None => query.parsed::<u64>("after", "a `seq`")?.unwrap_or(0),
    };
    let limit = query.limit()?;
    api.read(move |read, store| {
        let organization = organizations::find(read, &org)?;
        let rows = feed::after(read, organization.no, after, limit)?;
        let last = rows.last().map_or(after, |row| row.seq);
        let more = last < feed::last(read, organization.no)?;
        let item = |row: &FeedRow| -> Result<Value, Problem> {
            Ok(json!({
                "seq": row.seq,
                "recordId": row.record,
                "entity": &*store.entity_name(row.record.entity())?,
                "kind": row.kind,
                "fields": row.fields,
                "runId": row.run,
                "at": clock::to_text(row.at),
            }))
        };
        let items = rows.iter().map(item).collect::<Result<Vec<_>, _>>()?;
        let next = more.then(|| last.to_string());
        Ok(Json(json!({ "items": items, "nextCursor": next, "nextAfter": last })))
    })
    .await
}
