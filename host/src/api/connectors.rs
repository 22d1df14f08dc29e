//! `/connectors`. Credentials go in and never come out.

use super::body::{Members, object};
use super::connector_body::{self, Wanted};
use super::etag::{IfMatch, tagged};
use super::paging::{Query, page_of};
use super::problem::Problem;
use super::{Api, organizations};
use crate::clock;
use crate::credentials;
use crate::model::ConnectorId;
use crate::model::directory::{AuthType, Connector, ConnectorStatus, SyncConfig};
use crate::store::{Read, Txn, directory};
use crate::worker;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::HashMap;

pub(super) fn row(read: &dyn Read, connector: &Connector) -> Result<Value, Problem> {
    let sealed = directory::credentials(read, connector.id, None)?;
    let updated = sealed.as_ref().map(|sealed| clock::to_text(sealed.updated_at));
    Ok(json!({
        "id": connector.id,
        "name": connector.name,
        "federationCode": connector.federation_code,
        "plugin": connector.plugin,
        "authType": connector.auth_type,
        "endpoints": connector.endpoints,
        "config": connector.config,
        "syncConfig": connector.sync_config,
        "templateId": connector.template_id,
        "status": connector.status,
        "credentials": { "set": sealed.is_some(), "updatedAt": updated },
        "createdAt": clock::to_text(connector.created_at),
        "updatedAt": clock::to_text(connector.updated_at),
        "version": connector.version,
    }))
}

/// The connector, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<Connector, Problem> {
    let missing = || Problem::not_found(format!("there is no connector {id:?}"));
    let id: ConnectorId = id.parse().map_err(|_| missing())?;
    directory::connector(read, id)?.ok_or_else(missing)
}

pub(super) async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["status", "federationCode"])?;
    let status = query.get("status").map(parse_status).transpose()?;
    let code = query.get("federationCode").map(str::to_owned);
    let rows = api
        .read(move |read, _| {
            let found = directory::connectors(read)?;
            let wanted = found.iter().filter(|connector| {
                status.is_none_or(|status| connector.status == status)
                    && code.as_ref().is_none_or(|code| connector.federation_code == *code)
            });
            wanted.map(|connector| row(read, connector)).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    page_of(rows, &query)
}

fn parse_status(text: &str) -> Result<ConnectorStatus, Problem> {
    serde_json::from_value(Value::String(text.to_owned()))
        .map_err(|_| Problem::invalid_at("?status", "must be one of active, inactive, error"))
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    api.read(move |read, _| {
        let found = find(read, &id)?;
        Ok(tagged(found.version, row(read, &found)?))
    })
    .await
}

pub(super) async fn create(State(api): State<Api>, bytes: Bytes) -> Result<Response, Problem> {
    let wanted = connector_body::read(object(&bytes)?, true)?;
    let now = api.now();
    let inner = api.clone();
    let created = api
        .deps
        .store
        .write(move |txn| -> Result<Value, Problem> {
            let connector = new_connector(txn, &wanted, now)?;
            let given = wanted.credentials.as_ref();
            connector_body::check(&inner, txn, &connector, given)?;
            if given.is_none() && connector.auth_type != AuthType::None {
                // Without credentials the connector can be set up, and says so when it is checked.
                tracing::debug!(connector = %connector.id, "created without credentials");
            }
            directory::put_connector(txn, &connector)?;
            if let Some(json) = given {
                seal(&inner, txn, &connector, json, now)?;
            }
            row(txn, &connector)
        })
        .await?;
    let mut response = tagged(1, created);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn new_connector(txn: &Txn, wanted: &Wanted, now: i64) -> Result<Connector, Problem> {
    Ok(Connector {
        id: directory::next_connector_id(txn)?,
        name: wanted.name.clone().unwrap_or_default(),
        federation_code: wanted.federation_code.clone().unwrap_or_default(),
        plugin: wanted.plugin.clone().unwrap_or_default(),
        auth_type: wanted.auth_type.unwrap_or(AuthType::None),
        endpoints: wanted.endpoints.clone().unwrap_or_default(),
        config: wanted.config.clone().unwrap_or_else(|| json!({})),
        sync_config: wanted.sync_config.clone().unwrap_or_else(sync_default),
        template_id: wanted.template_id.flatten(),
        status: ConnectorStatus::Active,
        created_at: now,
        updated_at: now,
        version: 1,
    })
}

fn sync_default() -> SyncConfig {
    SyncConfig {
        enabled: true,
        schedule: None,
        timezone: None,
        conflict_strategy: None,
        max_retries: None,
    }
}

fn seal(
    api: &Api,
    txn: &Txn,
    connector: &Connector,
    json: &Value,
    now: i64,
) -> Result<(), Problem> {
    let sealed = credentials::seal(&api.deps.key, connector.id, None, json, now)
        .map_err(|error| Problem::internal(&error))?;
    Ok(directory::put_credentials(txn, connector.id, None, &sealed)?)
}

pub(super) async fn update(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (known, now) = (id.clone(), api.now());
    api.read(move |read, _| find(read, &known)).await?;
    let if_match = IfMatch::required(&headers)?;
    let wanted = connector_body::read(object(&bytes)?, false)?;
    let inner = api.clone();
    api.deps
        .store
        .write(move |txn| -> Result<Response, Problem> {
            let mut found = find(txn, &id)?;
            if_match.check(found.version)?;
            found.name = wanted.name.clone().unwrap_or(found.name);
            found.federation_code = wanted.federation_code.clone().unwrap_or(found.federation_code);
            found.endpoints = wanted.endpoints.clone().unwrap_or(found.endpoints);
            found.config = wanted.config.clone().unwrap_or(found.config);
            found.sync_config = wanted.sync_config.clone().unwrap_or(found.sync_config);
            found.template_id = wanted.template_id.unwrap_or(found.template_id);
            connector_body::check(&inner, txn, &found, None)?;
            put(txn, &mut found, now)
        })
        .await
}

fn put(txn: &Txn, connector: &mut Connector, now: i64) -> Result<Response, Problem> {
    connector.version += 1;
    connector.updated_at = now;
    directory::put_connector(txn, connector)?;
    Ok(tagged(connector.version, row(txn, connector)?))
}

/// Soft: the connector is inactive, its credentials and history stay.
pub(super) async fn delete(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (known, now) = (id.clone(), api.now());
    api.read(move |read, _| find(read, &known)).await?;
    let if_match = IfMatch::required(&headers)?;
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let mut found = find(txn, &id)?;
            if_match.check(found.version)?;
            found.status = ConnectorStatus::Inactive;
            put(txn, &mut found, now).map(drop)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn credentials(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let json = Value::Object(object(&bytes)?);
    let (inner, now) = (api.clone(), api.now());
    let if_match = IfMatch::optional(&headers);
    api.deps
        .store
        .write(move |txn| -> Result<Response, Problem> {
            let mut found = find(txn, &id)?;
            if let Some(if_match) = if_match {
                if_match.check(found.version)?;
            }
            credentials::check(found.auth_type, &json)
                .map_err(|error| Problem::invalid_at("", error.to_string()))?;
            seal(&inner, txn, &found, &json, now)?;
            put(txn, &mut found, now)
        })
        .await
}

pub(super) async fn check(
    State(api): State<Api>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let org = members.text("organizationId");
    members.finish()?;
    let (connector, connection) = api
        .read(move |read, _| {
            let connector = find(read, &id)?;
            let live = |connection: &crate::model::directory::Connection| {
                connection.disconnected_at.is_none()
                    && org.as_ref().is_none_or(|org| *org == connection.organization)
            };
            if let Some(org) = &org {
                organizations::find(read, org)?;
            }
            let connection = directory::connections_of(read, connector.id)?.into_iter().find(live);
            if connection.is_none() && org.is_some() {
                let message = "this organization is not connected to the connector";
                return Err(Problem::invalid_at("/organizationId", message));
            }
            Ok((connector, connection))
        })
        .await?;
    let report = worker::check(&api.deps, connector, connection).await;
    Ok(Json(match report.error {
        None => json!({ "ok": true, "latencyMs": report.latency_millis }),
        Some(failure) => json!({
            "ok": false,
            "latencyMs": report.latency_millis,
            "error": { "code": failure.code, "message": failure.message },
        }),
    }))
}

pub(super) async fn status(
    State(api): State<Api>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let status = members.required("status");
    members.finish()?;
    let status = match status.as_str() {
        "active" => ConnectorStatus::Active,
        "inactive" => ConnectorStatus::Inactive,
        _ => return Err(Problem::invalid_at("/status", "must be `active` or `inactive`")),
    };
    set_status(api, id, status).await
}

/// A person says that the connector is well again.
pub(super) async fn clear_errors(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    set_status(api, id, ConnectorStatus::Active).await
}

async fn set_status(api: Api, id: String, status: ConnectorStatus) -> Result<Response, Problem> {
    let now = api.now();
    api.deps
        .store
        .write(move |txn| -> Result<Response, Problem> {
            let mut found = find(txn, &id)?;
            found.status = status;
            if status == ConnectorStatus::Active {
                for mut connection in directory::connections_of(txn, found.id)? {
                    connection.consecutive_failures = 0;
                    directory::put_connection(txn, &connection)?;
                }
            }
            put(txn, &mut found, now)
        })
        .await
}
