//! `/connectors`. Credentials go in and never come out.

use super::access::Reach;
use super::answer::Answer;
use super::audit::Act;
use super::body::{Members, object};
use super::connector_body::{self, Wanted};
use super::etag::{IfMatch, live};
use super::paging::{Parameters, Query};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller, oauth, organizations};
use crate::clock;
use crate::credentials::{self, Given};
use crate::health;
use crate::model::ConnectorId;
use crate::model::directory::{AuthType, Connection, Connector, ConnectorStatus, SyncConfig};
use crate::model::oauth::Holder;
use crate::store::lookup::{self, By};
use crate::store::{Read, Txn, directory};
use crate::trigger;
use crate::worker;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

pub(super) fn row(read: &dyn Read, connector: &Connector) -> Result<Value, Problem> {
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
        "credentials": oauth::credentials(read, &Holder::of_connector(connector.id))?,
        "deletedAt": connector.deleted_at.map(clock::to_text),
        "createdAt": clock::to_text(connector.created_at),
        "updatedAt": clock::to_text(connector.updated_at),
        "version": connector.version,
    }))
}

/// The row as a caller sees it: where the federation is and how it is spoken to are the platform's affair.
pub(super) fn row_for(
    read: &dyn Read,
    reach: Reach,
    connector: &Connector,
) -> Result<Value, Problem> {
    let mut row = row(read, connector)?;
    if let (Reach::One(_), Some(members)) = (reach, row.as_object_mut()) {
        members.retain(|name, _| !matches!(name.as_str(), "endpoints" | "config" | "credentials"));
    }
    Ok(row)
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no connector {id:?}"))
}

/// The connector, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<Connector, Problem> {
    let number: ConnectorId = id.parse().map_err(|_| missing(id))?;
    directory::connector(read, number)?.ok_or_else(|| missing(id))
}

/// Connectors in the order of their creation.
#[utoipa::path(
    get, path = "/connectors", tag = "connectors",
    params(schema::ConnectorFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Connector>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["status", "federationCode"])?;
    let (limit, after) = (query.limit()?, query.cursor::<ConnectorId>()?);
    let status = query.word("status", &STATUSES)?.map(parse_status).transpose()?;
    let code = query.get("federationCode").map(str::to_owned);
    let reach = caller.reach();
    api.read(move |read, _| {
        let found = match reach {
            Reach::All => {
                let by = match (code, status) {
                    (Some(code), Some(status)) => Some(By::CodeAndStatus(code, status)),
                    (Some(code), None) => Some(By::Code(code)),
                    (None, Some(status)) => Some(By::Status(status)),
                    (None, None) => None,
                };
                lookup::connectors(read, by.as_ref(), after, limit + 1)?
            }
            Reach::One(own) => {
                let mut found = lookup::connectors_of_organization(read, own, after)?;
                found.retain(|connector| {
                    status.is_none_or(|status| connector.status == status)
                        && code.as_ref().is_none_or(|code| connector.federation_code == *code)
                });
                found
            }
        };
        query.page_behind(
            found,
            limit,
            |found| found.id.to_string(),
            |found| row_for(read, reach, found),
        )
    })
    .await
}

const STATUSES: [&str; 3] = ["active", "inactive", "error"];

fn parse_status(text: &str) -> Result<ConnectorStatus, Problem> {
    serde_json::from_value(Value::String(text.to_owned()))
        .map_err(|_| Problem::invalid_at("?status", "must be one of active, inactive, error"))
}

/// One connector.
#[utoipa::path(
    get, path = "/connectors/{id}", tag = "connectors",
    responses((status = 200, body = schema::Connector))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    api.read(move |read, _| {
        let found = find(read, &id)?;
        Ok(live(found.version, row_for(read, caller.reach(), &found)?))
    })
    .await
}

/// Creates a connector; credentials may come along.
#[utoipa::path(
    post, path = "/connectors", tag = "connectors",
    request_body = schema::NewConnector,
    responses((status = 201, body = schema::Connector))
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let wanted = connector_body::read(object(&bytes)?, true)?;
    let now = api.now();
    let inner = api.clone();
    let created = api.commit(move |txn| {
        let connector = new_connector(txn, &wanted, now)?;
        // Without credentials the connector can be set up, and says so when it is checked.
        let given = wanted.credentials.as_ref();
        connector_body::check(&inner, txn, &connector, given)?;
        directory::put_connector(txn, &connector)?;
        trigger::keep_in_step(txn, &connector, inner.scheduler.options(), now)?;
        if let Some(given) = given {
            seal(&inner, txn, &connector, None, given, now)?;
        }
        let created = row(txn, &connector)?;
        caller.log(txn, Act::new("createConnector", connector.id).with(created.clone()))?;
        Ok(Answer::created(1, created))
    });
    let created = created.await?;
    api.scheduler.ring();
    Ok(created)
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
        sync_config: wanted.sync_config.over(sync_default()),
        template_id: wanted.template_id.flatten(),
        status: ConnectorStatus::Active,
        deleted_at: None,
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

/// Stores credentials: the connector's, or those that one of its connections has of its own.
pub(super) fn seal(
    api: &Api,
    txn: &Txn,
    connector: &Connector,
    connection: Option<&Connection>,
    given: &Given,
    now: i64,
) -> Result<(), Problem> {
    let holder =
        connection.map_or_else(|| Holder::of_connector(connector.id), oauth::of_connection);
    let given = oauth::adopt(api, txn, connector.auth_type, &holder, given, now)?;
    let whose = connection.map(|row| (row.organization.as_str(), row.id));
    credentials::put(txn, &api.deps.keys, connector.id, whose, &given, now)
        .map_err(|error| Problem::internal(&error))
}

/// Changes a connector.
#[utoipa::path(
    patch, path = "/connectors/{id}", tag = "connectors",
    request_body = schema::ConnectorChange,
    responses((status = 200, body = schema::Connector))
)]
pub(super) async fn update(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let (known, now) = (id.clone(), api.now());
    api.read(move |read, _| find(read, &known)).await?;
    let if_match = IfMatch::required(&headers)?;
    let wanted = connector_body::read(object(&bytes)?, false)?;
    let inner = api.clone();
    let updated = api
        .deps
        .store
        .write(move |txn| -> Result<Answer, Problem> {
            let mut found = find(txn, &id)?;
            if_match.check(found.version)?;
            let before = row(txn, &found)?;
            found.name = wanted.name.clone().unwrap_or(found.name);
            found.federation_code = wanted.federation_code.clone().unwrap_or(found.federation_code);
            found.endpoints = wanted.endpoints.clone().unwrap_or(found.endpoints);
            found.config = wanted.config.clone().unwrap_or(found.config);
            found.sync_config = wanted.sync_config.over(found.sync_config);
            found.template_id = wanted.template_id.unwrap_or(found.template_id);
            connector_body::check(&inner, txn, &found, None)?;
            let answer = put(&inner, txn, &mut found, now)?;
            let act = Act::new("updateConnector", found.id);
            caller.log(txn, act.changed(&before, &row(txn, &found)?))?;
            Ok(answer)
        })
        .await?;
    api.scheduler.ring();
    Ok(updated)
}

fn put(api: &Api, txn: &Txn, connector: &mut Connector, now: i64) -> Result<Answer, Problem> {
    connector.version += 1;
    connector.updated_at = now;
    directory::put_connector(txn, connector)?;
    trigger::keep_in_step(txn, connector, api.scheduler.options(), now)?;
    Ok(Answer::ok(row(txn, connector)?).tagged(connector.version))
}

/// Switches a connector off for good; its credentials and history stay.
#[utoipa::path(
    delete, path = "/connectors/{id}", tag = "connectors",
    responses((status = 204, description = "It is inactive"))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (known, now) = (id.clone(), api.now());
    api.read(move |read, _| find(read, &known)).await?;
    let if_match = IfMatch::required(&headers)?;
    let inner = api.clone();
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let mut found = find(txn, &id)?;
            if_match.check(found.version)?;
            health::clear(txn, &mut found, &caller.name, now)?;
            found.status = ConnectorStatus::Inactive;
            if found.deleted_at.is_none() {
                found.deleted_at = Some(now);
                directory::put_left(txn, now, found.id, None)?;
            }
            caller.log(txn, Act::new("deleteConnector", found.id))?;
            put(&inner, txn, &mut found, now).map(drop)
        })
        .await?;
    api.scheduler.ring();
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Replaces the credentials; `If-Match` is optional.
#[utoipa::path(
    put, path = "/connectors/{id}/credentials", tag = "connectors",
    request_body = schema::Credentials,
    responses((status = 200, body = schema::Connector))
)]
pub(super) async fn credentials(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let known = id.clone();
    api.read(move |read, _| find(read, &known)).await?;
    let if_match = IfMatch::optional(&headers);
    let given = Given::new(Value::Object(object(&bytes)?));
    let (inner, now) = (api.clone(), api.now());
    api.deps
        .store
        .write(move |txn| -> Result<Answer, Problem> {
            let mut found = find(txn, &id)?;
            if let Some(if_match) = if_match {
                if_match.check(found.version)?;
            }
            connector_body::check_credentials("", found.auth_type, &given)?;
            seal(&inner, txn, &found, None, &given, now)?;
            let act = Act::new("setCredentials", found.id);
            caller.log(txn, act.with(json!({ "credentials": "set" })))?;
            put(&inner, txn, &mut found, now)
        })
        .await
}

/// Tries the connector with one cheap authenticated call.
#[utoipa::path(
    post, path = "/connectors/{id}/check", tag = "connectors",
    request_body = Option<schema::CheckRequest>,
    responses((status = 200, body = schema::CheckReport))
)]
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
            let connection = match &org {
                Some(org) => {
                    let org = organizations::find(read, org)?.no;
                    directory::connection_between(read, org, connector.id)?
                }
                None => lookup::connections_of_connector(read, connector.id, None, 1)?.pop(),
            };
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

/// Switches a connector on or off.
#[utoipa::path(
    post, path = "/connectors/{id}/status", tag = "connectors",
    request_body = schema::StatusChange,
    responses((status = 200, body = schema::Connector))
)]
pub(super) async fn status(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let known = id.clone();
    api.read(move |read, _| find(read, &known)).await?;
    let mut members = Members::new(object(&bytes)?);
    members.require("status");
    let status = members.word("status", &["active", "inactive"]);
    members.finish()?;
    let status = match status.as_deref() {
        Some("active") => ConnectorStatus::Active,
        _ => ConnectorStatus::Inactive,
    };
    cleared(api, id, Some(status), (caller, "setConnectorStatus")).await
}

/// Says that the connector is well again.
#[utoipa::path(
    post, path = "/connectors/{id}/clear-errors", tag = "connectors",
    responses((status = 200, body = schema::Connector))
)]
pub(super) async fn clear_errors(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Answer, Problem> {
    cleared(api, id, None, (caller, "clearErrors")).await
}

/// Counters start anew; `status` is set where one is wanted.
async fn cleared(
    api: Api,
    id: String,
    status: Option<ConnectorStatus>,
    (caller, action): (Caller, &'static str),
) -> Result<Answer, Problem> {
    let (inner, now) = (api.clone(), api.now());
    let answer = api
        .commit(move |txn| {
            let mut found = find(txn, &id)?;
            let before = json!({ "status": found.status });
            health::clear(txn, &mut found, &caller.name, now)?;
            found.status = status.unwrap_or(found.status);
            let after = json!({ "status": found.status });
            caller.log(txn, Act::new(action, found.id).changed(&before, &after))?;
            if found.status == ConnectorStatus::Active {
                found.deleted_at = None;
            }
            put(&inner, txn, &mut found, now)
        })
        .await?;
    // Jobs that waited for it may run.
    api.deps.bell.notify_one();
    api.scheduler.ring();
    Ok(answer)
}
