//! Health: of the process (`/healthz`, `/readyz`), of a connector and of a connection over their runs.

use super::access::Reach;
use super::problem::Problem;
use super::schema;
use super::{Api, Caller, connections, connectors, oauth};
use crate::clock;
use crate::health;
use crate::model::directory::ConnectorStatus;
use crate::model::health::Line;
use crate::store::{self, Read, directory, meta};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};

/// Whether the process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "process",
    security(()),
    responses((status = 200, body = schema::Alive))
)]
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Whether the store can be read.
#[utoipa::path(
    get, path = "/readyz", tag = "process",
    security(()),
    responses((status = 200, body = schema::Ready))
)]
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    api.read(|read, _| Ok(meta::key_checks(read as &dyn Read).map(drop)?)).await?;
    Ok(Json(json!({ "status": "ready" })))
}

/// How a connector fared over 30 days.
///
/// A caller of one organization sees how its own connection fares.
#[utoipa::path(
    get, path = "/connectors/{id}/health", tag = "connectors",
    responses((status = 200, body = schema::ConnectorHealth))
)]
pub(super) async fn connector(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let now = api.now();
    api.read(move |read, _| {
        let connector = connectors::find(read, &id)?;
        let rows = directory::connections_of(read, connector.id)?;
        let reach = caller.reach();
        let own = match reach {
            Reach::All => None,
            Reach::One(org) => {
                let own = rows.iter().find(|row| row.org_no == org);
                Some(own.ok_or_else(|| connectors::missing(&id))?)
            }
        };
        let seen: Vec<_> = rows.iter().filter(|row| reach.holds(row.org_no)).cloned().collect();
        let (whose, since) =
            own.map_or((None, connector.created_at), |row| (Some(row.id), row.enabled_at));
        let report = health::report(read, connector.id, whose, since, now)?;
        let state = &report.state;
        let failing = store::health::failing(read, connector.id)?;
        let suffering = seen.iter().any(|row| failing.contains(&row.id));
        let status = match connector.status {
            ConnectorStatus::Inactive => "inactive",
            ConnectorStatus::Error => "error",
            ConnectorStatus::Active if suffering || state.consecutive_failures > 0 => "degraded",
            ConnectorStatus::Active => "healthy",
        };
        let text = |at: Option<i64>| at.map(clock::to_text);
        let tripped = report.tripped.as_ref();
        Ok(Json(json!({
            "status": status,
            "consecutiveFailures": state.consecutive_failures,
            "lastSuccessAt": text(state.last_success_at),
            "lastSyncAt": text(state.last_success_at),
            "lastErrorAt": text(state.last_error_at),
            "lastError": state.last_error,
            "disabledAt": text(tripped.map(|tripped| tripped.at)),
            "nextProbeAt": text(tripped.map(|tripped| tripped.probe_at)),
            "uptime": report.uptime,
            "successRate": report.success_rate,
            "errorRate": report.error_rate,
            "runs": report.runs.good + report.runs.bad,
            "errors": lines(&report),
            "authorizations": oauth::health(read, &connector, &seen, now)?,
        })))
    })
    .await
}

/// How a connection fared over 30 days: its own failures, whoever is to blame.
#[utoipa::path(
    get, path = "/organizations/{org}/connections/{id}/health", tag = "connections",
    operation_id = "health",
    responses((status = 200, body = schema::ConnectionFare))
)]
pub(super) async fn connection(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let now = api.now();
    api.read(move |read, _| {
        let row = connections::find(read, &org, &id)?;
        let connector = row.connector_id;
        let report = health::report(read, connector, Some(row.id), row.enabled_at, now)?;
        let fares = connections::fares(read, &row)?;
        let mut shown = connections::health(&row, &fares);
        let more = json!({
            "lastSyncAt": fares.last_success_at.map(clock::to_text),
            "uptime": report.uptime,
            "successRate": report.success_rate,
            "errorRate": report.error_rate,
            "runs": report.runs.good + report.runs.bad,
            "errors": lines(&report),
        });
        if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
            shown.extend(more);
        }
        Ok(Json(shown))
    })
    .await
}

fn lines(report: &health::Report) -> Vec<Value> {
    let line = |line: &Line| {
        json!({
            "at": clock::to_text(line.at),
            "kind": line.kind,
            "code": line.code,
            "message": line.message,
            "page": line.page,
            "syncId": line.sync_id,
            "organizationId": line.organization,
            "fault": line.fault,
        })
    };
    report.lines.iter().map(line).collect()
}
