//! `/sync/failures`: records in quarantine, and why.

use super::paging::{Query, page_of};
use super::problem::Problem;
use super::{Api, organizations};
use crate::clock;
use crate::model::ids::FailureId;
use crate::store::failures::{self, Failure};
use axum::Json;
use axum::extract::{Path, Query as Parameters, State};
use serde_json::{Value, json};
use std::collections::HashMap;

/// How many open items one list looks at.
const ITEMS_MAX: usize = 10_000;

fn row(failure: &Failure) -> Value {
    json!({
        "id": failure.id,
        "organizationId": failure.organization,
        "connectorId": failure.connector,
        "connectionId": failure.connection,
        "entity": failure.entity,
        "externalId": failure.external_id,
        "stage": failure.stage,
        "code": failure.code,
        "message": failure.message,
        "payload": failure.payload,
        "attempts": failure.attempts,
        "firstRunId": failure.first_run,
        "runId": failure.last_run,
        "firstSeenAt": clock::to_text(failure.first_seen_at),
        "lastSeenAt": clock::to_text(failure.last_seen_at),
        "resolvedAt": failure.resolved_at.map(clock::to_text),
        "resolvedBy": failure.resolved_by,
    })
}

pub(super) async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let known = ["organization", "connector", "entity", "stage", "code"];
    let query = Query::new(parameters, &known)?;
    let get = |name: &str| query.get(name).map(str::to_owned);
    let (organization, connector) = (get("organization"), get("connector"));
    let (entity, stage, code) = (get("entity"), get("stage"), get("code"));
    let rows = api
        .read(move |read, _| {
            let org = match &organization {
                Some(id) => Some(organizations::find(read, id)?.no),
                None => None,
            };
            let is =
                |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
            let mut keep = |failure: &Failure| {
                is(&connector, &failure.connector.to_string())
                    && is(&entity, &failure.entity)
                    && is(&stage, &failure.stage)
                    && is(&code, &failure.code)
            };
            Ok(failures::list_open(read, org, &mut keep, ITEMS_MAX)?)
        })
        .await?;
    page_of(rows.iter().map(row).collect(), &query)
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let missing = format!("there is no failure {id:?}");
    let parsed: Result<FailureId, _> = id.parse();
    let found = api
        .read(move |read, _| {
            Ok(parsed.ok().map(|id| failures::get(read, id)).transpose()?.flatten())
        })
        .await?;
    Ok(Json(row(&found.ok_or_else(|| Problem::not_found(missing))?)))
}
