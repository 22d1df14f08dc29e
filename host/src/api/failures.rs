//! `/sync/failures`: records in quarantine, and why.

use super::paging::{Gathered, IndexKey, Parameters, Query};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller};
use crate::clock;
use crate::model::ids::FailureId;
use crate::store::Read;
use crate::store::failures::{self, Failure};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};

fn row(failure: &Failure) -> Value {
    json!({
        "id": failure.id,
        "organizationId": failure.organization,
        "connectorId": failure.connector,
        "connectionId": failure.connection,
        "entity": failure.entity,
        "externalId": failure.external_id,
        "place": Some(&failure.place).filter(|place| !place.is_empty()),
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

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no failure {id:?}"))
}

/// The failure, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<Failure, Problem> {
    let number: FailureId = id.parse().map_err(|_| missing(id))?;
    failures::get(read, number)?.ok_or_else(|| missing(id))
}

/// Records that wait in quarantine.
#[utoipa::path(
    get, path = "/sync/failures", tag = "failures",
    params(schema::FailureFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Failure>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let known = ["organization", "connector", "entity", "stage", "code"];
    let query = Query::new(parameters, &known)?;
    let get = |name: &str| query.get(name).map(str::to_owned);
    let (organization, connector) = (get("organization"), get("connector"));
    let (entity, stage, code) = (get("entity"), get("stage"), get("code"));
    let (mut found, after) = (Gathered::new(query.limit()?), query.cursor::<IndexKey>()?);
    api.read(move |read, _| {
        let org = caller.reach().narrow(read, organization.as_deref())?;
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        let after = after.as_ref().map(|key| key.0.as_slice());
        failures::scan_open(read, org, after, &mut |key, failure| {
            let wanted = is(&connector, &failure.connector.to_string())
                && is(&entity, &failure.entity)
                && is(&stage, &failure.stage)
                && is(&code, &failure.code);
            found.offer(IndexKey(key.to_vec()), failure, wanted)
        })?;
        query.page(found, |failure| Ok(row(&failure)))
    })
    .await
}

/// One failure.
#[utoipa::path(
    get, path = "/sync/failures/{id}", tag = "failures",
    responses((status = 200, body = schema::Failure))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let found = api.read(move |read, _| find(read, &id)).await?;
    Ok(Json(row(&found)))
}
