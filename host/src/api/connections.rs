//! `/organizations/{org}/connections`: which connectors an organization uses, and how.

use super::body::{Members, object};
use super::connector_body::{knows, unknown_strategy};
use super::etag::{IfMatch, tagged};
use super::paging::{Query, page_of};
use super::problem::Problem;
use super::{Api, connectors, organizations};
use crate::clock;
use crate::model::ConnectionId;
use crate::model::directory::{Connection, ConnectionEntity, Connector, Direction};
use crate::store::{Read, Txn, directory};
use crate::worker::setup;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

const FEDERATION_ID_CHARS_MAX: usize = 200;

pub(super) fn row(connection: &Connection) -> Value {
    let text = |at: Option<i64>| at.map(clock::to_text);
    let status = match (connection.disconnected_at, connection.consecutive_failures) {
        (Some(_), _) => "disconnected",
        (None, 0) => "healthy",
        (None, 1..=4) => "degraded",
        (None, _) => "failing",
    };
    json!({
        "id": connection.id,
        "organizationId": connection.organization,
        "connectorId": connection.connector_id,
        "federationOrgId": connection.federation_org_id,
        "strategy": connection.strategy,
        "enabledAt": clock::to_text(connection.enabled_at),
        "disconnectedAt": text(connection.disconnected_at),
        "lastSyncAt": text(connection.last_sync_at),
        "webhooksEnabled": connection.webhooks_enabled,
        "entities": connection.entities,
        "health": {
            "status": status,
            "consecutiveFailures": connection.consecutive_failures,
            "lastSuccessAt": text(connection.last_sync_at),
            "lastErrorAt": text(connection.last_error_at),
            "lastError": connection.last_error,
        },
        "version": connection.version,
    })
}

fn find(read: &dyn Read, org: &str, id: &str) -> Result<Connection, Problem> {
    let missing = || Problem::not_found(format!("there is no connection {id:?}"));
    let organization = organizations::find(read, org)?;
    let id: ConnectionId = id.parse().map_err(|_| missing())?;
    directory::connection(read, organization.no, id)?.ok_or_else(missing)
}

pub(super) async fn list(
    State(api): State<Api>,
    Path(org): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let rows = api
        .read(move |read, _| {
            let organization = organizations::find(read, &org)?;
            Ok(directory::connections(read, organization.no)?)
        })
        .await?;
    page_of(live(&rows), &query)
}

pub(super) async fn of_connector(
    State(api): State<Api>,
    Path(id): Path<String>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let rows = api
        .read(move |read, _| {
            let connector = connectors::find(read, &id)?;
            Ok(directory::connections_of(read, connector.id)?)
        })
        .await?;
    page_of(live(&rows), &query)
}

fn live(rows: &[Connection]) -> Vec<Value> {
    rows.iter().filter(|connection| connection.disconnected_at.is_none()).map(row).collect()
}

pub(super) async fn show(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let found = api.read(move |read, _| find(read, &org, &id)).await?;
    Ok(tagged(found.version, row(&found)))
}

/// What a body may set.
struct Wanted {
    connector_id: String,
    federation_org_id: Option<String>,
    /// `Some(None)` goes back to the connector's.
    strategy: Option<Option<String>>,
    webhooks_enabled: Option<bool>,
    entities: Option<Map<String, Value>>,
}

fn wanted(bytes: &Bytes, new: bool) -> Result<Wanted, Problem> {
    let mut members = Members::new(object(bytes)?);
    let connector_id = if new { members.required("connectorId") } else { String::new() };
    let federation_org_id = if new {
        Some(members.required("federationOrgId"))
    } else {
        members.text("federationOrgId")
    };
    let has_strategy = members.has("strategy");
    let strategy = members.text("strategy");
    let webhooks_enabled = members.flag("webhooksEnabled");
    let entities = members.object("entities");
    let too_long = |id: &String| id.chars().count() > FEDERATION_ID_CHARS_MAX || id.contains('\0');
    if federation_org_id.as_ref().is_some_and(too_long) {
        members.fault("federationOrgId", format!("at most {FEDERATION_ID_CHARS_MAX} characters"));
    }
    members.finish()?;
    let strategy = has_strategy.then_some(strategy);
    Ok(Wanted { connector_id, federation_org_id, strategy, webhooks_enabled, entities })
}

/// Checks what a connection asks for against what its connector can do.
fn check(
    api: &Api,
    connector: &Connector,
    strategy: Option<&str>,
    entities: Option<&Map<String, Value>>,
) -> Result<BTreeMap<String, ConnectionEntity>, Problem> {
    let mut members = Members::new(Map::new());
    let plugin = setup::connector_plugin(&api.deps, connector)
        .map_err(|failure| Problem::conflict(&failure.code, failure.message))?;
    let manifest = setup::connector_manifest(&plugin)
        .map_err(|failure| Problem::conflict(&failure.code, failure.message))?;
    if let Some(strategy) = strategy.filter(|name| !knows(api, name)) {
        members.fault("strategy", unknown_strategy(api, strategy));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in entities.into_iter().flatten() {
        let at = format!("entities/{}", super::body::escape(name));
        let Some(spec) = manifest.entity(name) else {
            members.fault(&at, format!("the plugin `{}` has no such entity", plugin.name));
            continue;
        };
        match serde_json::from_value::<ConnectionEntity>(value.clone()) {
            Err(error) => members.fault(&at, error.to_string()),
            Ok(policy) => {
                if policy.direction != Direction::Pull {
                    let message = format!("the plugin `{}` cannot push {name}s", plugin.name);
                    members.fault(&format!("{at}/direction"), message);
                }
                let named =
                    policy.strategy.iter().chain(policy.fields.values().map(|f| &f.strategy));
                for strategy in named.filter(|name| !knows(api, name)) {
                    members.fault(&at, unknown_strategy(api, strategy));
                }
                let mapped = manifest.template.entities.get(name);
                for field in policy.fields.keys() {
                    let known = spec.fields.iter().any(|spec| spec.name == *field)
                        || mapped.is_some_and(|m| m.fields.iter().any(|f| f.target == *field));
                    if !known && connector.template_id.is_none() {
                        members.fault(&format!("{at}/fields/{field}"), "there is no such field");
                    }
                }
                checked.insert(name.clone(), policy);
            }
        }
    }
    members.finish()?;
    Ok(checked)
}

pub(super) async fn create(
    State(api): State<Api>,
    Path(org): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let known = org.clone();
    api.read(move |read, _| organizations::find(read, &known)).await?;
    let wanted = wanted(&bytes, true)?;
    let (inner, now) = (api.clone(), api.now());
    let created = api
        .deps
        .store
        .write(move |txn| -> Result<Connection, Problem> {
            connect(&inner, txn, &org, &wanted, now)
        })
        .await?;
    let mut response = tagged(created.version, row(&created));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn connect(
    api: &Api,
    txn: &Txn,
    org: &str,
    wanted: &Wanted,
    now: i64,
) -> Result<Connection, Problem> {
    let organization = organizations::find(txn, org)?;
    let connector = connectors::find(txn, &wanted.connector_id)
        .map_err(|_| Problem::invalid_at("/connectorId", "there is no such connector"))?;
    let strategy = wanted.strategy.clone().flatten();
    let mut entities = check(api, &connector, strategy.as_deref(), wanted.entities.as_ref())?;
    if let Some(existing) = directory::connection_between(txn, organization.no, connector.id)? {
        let detail = format!("they are connected already by {}", existing.id);
        return Err(Problem::conflict("connection.exists", detail));
    }
    let plugin = api.deps.plugins.connector(&connector.plugin);
    let manifest = plugin.as_ref().and_then(|plugin| setup::connector_manifest(plugin).ok());
    for spec in manifest.iter().flat_map(|manifest| &manifest.entities) {
        entities.entry(spec.name.clone()).or_default();
        api.deps.store.intern_entity(txn, &spec.name)?;
    }
    let connection = Connection {
        id: directory::next_connection_id(txn)?,
        organization: organization.id,
        org_no: organization.no,
        connector_id: connector.id,
        federation_org_id: wanted.federation_org_id.clone().unwrap_or_default(),
        strategy,
        webhooks_enabled: wanted.webhooks_enabled.unwrap_or(true),
        entities,
        enabled_at: now,
        disconnected_at: None,
        last_sync_at: None,
        last_error_at: None,
        last_error: None,
        consecutive_failures: 0,
        version: 1,
    };
    directory::put_connection(txn, &connection)?;
    Ok(connection)
}

pub(super) async fn update(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let known = (org.clone(), id.clone());
    api.read(move |read, _| find(read, &known.0, &known.1)).await?;
    let if_match = IfMatch::required(&headers)?;
    let wanted = wanted(&bytes, false)?;
    let inner = api.clone();
    let updated = api
        .deps
        .store
        .write(move |txn| -> Result<Connection, Problem> {
            let mut found = find(txn, &org, &id)?;
            if_match.check(found.version)?;
            let connector = connectors::find(txn, &found.connector_id.to_string())?;
            let strategy = wanted.strategy.clone().unwrap_or(found.strategy);
            let entities =
                check(&inner, &connector, strategy.as_deref(), wanted.entities.as_ref())?;
            found.strategy = strategy;
            found.entities.extend(entities);
            let federation_org_id = wanted.federation_org_id.clone();
            found.federation_org_id = federation_org_id.unwrap_or(found.federation_org_id);
            found.webhooks_enabled = wanted.webhooks_enabled.unwrap_or(found.webhooks_enabled);
            found.version += 1;
            directory::put_connection(txn, &found)?;
            Ok(found)
        })
        .await?;
    Ok(tagged(updated.version, row(&updated)))
}

/// Disconnects: nothing runs any more, the history stays.
pub(super) async fn delete(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = (org.clone(), id.clone());
    api.read(move |read, _| find(read, &known.0, &known.1)).await?;
    let if_match = IfMatch::required(&headers)?;
    let now = api.now();
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let mut found = find(txn, &org, &id)?;
            if_match.check(found.version)?;
            if found.disconnected_at.is_none() {
                found.disconnected_at = Some(now);
                found.version += 1;
                directory::put_connection(txn, &found)?;
            }
            Ok(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
