//! `/organizations/{org}/connections`: which connectors an organization uses, and how.

use super::access::Reach;
use super::answer::Answer;
use super::audit::Act;
use super::body::object;
use super::connection_body::{self, Wanted};
use super::etag::{IfMatch, live, tagged};
use super::paging::{Parameters, Query};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller, audit, connector_body, connectors, oauth, organizations};
use crate::clock;
use crate::credentials::Given;
use crate::health;
use crate::model::directory::Connection;
use crate::model::health::Health;
use crate::model::{ConnectionId, ConnectorId};
use crate::store::health::Whose;
use crate::store::{self, Read, Txn, directory, lookup};
use crate::worker::setup;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

pub(super) fn row(read: &dyn Read, connection: &Connection) -> Result<Value, Problem> {
    let text = |at: Option<i64>| at.map(clock::to_text);
    let fares = fares(read, connection)?;
    Ok(json!({
        "id": connection.id,
        "organizationId": connection.organization,
        "connectorId": connection.connector_id,
        "federationOrgId": connection.federation_org_id,
        "strategy": connection.strategy,
        "enabledAt": clock::to_text(connection.enabled_at),
        "disconnectedAt": text(connection.disconnected_at),
        "lastSyncAt": text(fares.last_success_at),
        "webhooksEnabled": connection.webhooks_enabled,
        "entities": connection.entities,
        "credentials": oauth::credentials(read, &oauth::of_connection(connection))?,
        "health": health(connection, &fares),
        "version": connection.version,
    }))
}

pub(super) fn fares(read: &dyn Read, connection: &Connection) -> Result<Health, store::Error> {
    store::health::get(read, Whose(connection.connector_id, Some(connection.id)))
}

/// How the connection fares, in short.
pub(super) fn health(connection: &Connection, fares: &Health) -> Value {
    let text = |at: Option<i64>| at.map(clock::to_text);
    let status = match (connection.disconnected_at, fares.consecutive_failures) {
        (Some(_), _) => "disconnected",
        (None, 0) => "healthy",
        (None, 1..=4) => "degraded",
        (None, _) => "failing",
    };
    json!({
        "status": status,
        "consecutiveFailures": fares.consecutive_failures,
        "lastSuccessAt": text(fares.last_success_at),
        "lastErrorAt": text(fares.last_error_at),
        "lastError": fares.last_error,
    })
}

pub(super) fn find(read: &dyn Read, org: &str, id: &str) -> Result<Connection, Problem> {
    let missing = || Problem::not_found(format!("there is no connection {id:?}"));
    let organization = organizations::find(read, org)?;
    let id: ConnectionId = id.parse().map_err(|_| missing())?;
    directory::connection(read, organization.no, id)?.ok_or_else(missing)
}

/// The connections of an organization.
#[utoipa::path(
    get, path = "/organizations/{org}/connections", tag = "connections",
    params(schema::Paging),
    responses((status = 200, body = schema::Page<schema::Connection>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(org): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let (limit, after) = (query.limit()?, query.cursor::<ConnectorId>()?);
    api.read(move |read, _| {
        let org = organizations::find(read, &org)?.no;
        let found = lookup::connections_of_organization(read, org, after, limit + 1)?;
        let cursor = |found: &Connection| found.connector_id.to_string();
        query.page_behind(found, limit, cursor, |found| row(read, found))
    })
    .await
}

/// The organizations that use a connector, as connections.
#[utoipa::path(
    get, path = "/connectors/{id}/organizations", tag = "connectors",
    params(schema::Paging),
    responses((status = 200, body = schema::Page<schema::Connection>))
)]
pub(super) async fn of_connector(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let (limit, after) = (query.limit()?, query.cursor::<ConnectionId>()?);
    api.read(move |read, _| {
        let connector = connectors::find(read, &id)?.id;
        let found = match caller.reach() {
            Reach::All => lookup::connections_of_connector(read, connector, after, limit + 1)?,
            Reach::One(own) => {
                let own = directory::connection_between(read, own, connector)?;
                own.into_iter().filter(|found| Some(found.id) > after).collect()
            }
        };
        query.page_behind(found, limit, |found| found.id.to_string(), |found| row(read, found))
    })
    .await
}

/// One connection.
#[utoipa::path(
    get, path = "/organizations/{org}/connections/{id}", tag = "connections",
    responses((status = 200, body = schema::Connection))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    api.read(move |read, _| {
        let found = find(read, &org, &id)?;
        Ok(live(found.version, row(read, &found)?))
    })
    .await
}

/// Connects an organization to a connector.
#[utoipa::path(
    post, path = "/organizations/{org}/connections", tag = "connections",
    request_body = schema::NewConnection,
    responses(
        (status = 201, body = schema::Connection),
        (status = 409, description = "`connection.exists`, `connector.not-active`, `plugin.missing`"),
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    Path(org): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let known = org.clone();
    api.read(move |read, _| organizations::find(read, &known)).await?;
    let wanted = connection_body::read(&bytes, true)?;
    let (inner, now) = (api.clone(), api.now());
    let connected = api.commit(move |txn| {
        let created = connect(&inner, txn, &org, &wanted, now)?;
        let row = row(txn, &created)?;
        let act = Act::new("connect", created.id);
        let act = act.of_key(audit::key(&created.organization, created.org_no));
        caller.log(txn, act.with(row.clone()))?;
        Ok(Answer::created(created.version, row))
    });
    let connected = connected.await?;
    api.scheduler.ring();
    Ok(connected)
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
    if connector.deleted_at.is_some() {
        let detail = "the connector was deleted: activate it first";
        return Err(Problem::conflict("connector.not-active", detail));
    }
    if let Some(existing) = directory::connection_between(txn, organization.no, connector.id)? {
        let detail = format!("they are connected already by {}", existing.id);
        return Err(Problem::conflict("connection.exists", detail));
    }
    let strategy = wanted.strategy.clone().flatten();
    let wishes = wanted.entities.as_ref();
    let mut entities = connection_body::check(api, txn, &connector, strategy.as_deref(), wishes)?;
    let plugin = api.deps.plugins.connector(&connector.plugin);
    let manifest = plugin.as_ref().and_then(|plugin| setup::connector_manifest(plugin).ok());
    for spec in manifest.iter().flat_map(|manifest| &manifest.entities) {
        entities.entry(spec.name.clone()).or_default();
        api.deps.store.intern_entity(txn, &spec.name)?;
    }
    let federation_org_id = wanted.federation_org_id.clone().unwrap_or_default();
    // Who connects the same two again goes on where they stopped: otherwise every record would be met as a stranger.
    let former = lookup::former_connection(txn, organization.no, connector.id, &federation_org_id)?;
    let known = match former {
        Some(former) => {
            // Its own credentials are in use again.
            if let Some(at) = former.disconnected_at {
                directory::delete_left(txn, at, connector.id, Some(former.id))?;
            }
            health::forgive(txn, former.connector_id, former.id)?;
            Connection { version: former.version + 1, ..former }
        }
        None => Connection {
            id: directory::next_connection_id(txn)?,
            organization: organization.id,
            org_no: organization.no,
            connector_id: connector.id,
            federation_org_id,
            strategy: None,
            webhooks_enabled: true,
            entities: std::collections::BTreeMap::new(),
            enabled_at: now,
            disconnected_at: None,
            version: 1,
        },
    };
    let connection = Connection {
        strategy,
        webhooks_enabled: wanted.webhooks_enabled.unwrap_or(true),
        entities,
        enabled_at: now,
        disconnected_at: None,
        ..known
    };
    directory::put_connection(txn, &connection)?;
    Ok(connection)
}

/// Changes a connection.
#[utoipa::path(
    patch, path = "/organizations/{org}/connections/{id}", tag = "connections",
    request_body = schema::ConnectionChange,
    responses(
        (status = 200, body = schema::Connection),
        (status = 409, description = "`connection.ended`, `plugin.missing`"),
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let known = (org.clone(), id.clone());
    api.read(move |read, _| find(read, &known.0, &known.1)).await?;
    let if_match = IfMatch::required(&headers)?;
    let wanted = connection_body::read(&bytes, false)?;
    if wanted.federation_org_id.is_some() && caller.reach() != Reach::All {
        let detail = "which of the federation's organizations this is, only a platformAdmin says";
        return Err(Problem::new(403, "forbidden", detail));
    }
    let inner = api.clone();
    api.deps
        .store
        .write(move |txn| -> Result<Response, Problem> {
            let mut found = find(txn, &org, &id)?;
            if_match.check(found.version)?;
            connected(&found)?;
            let before = row(txn, &found)?;
            let connector = connectors::find(txn, &found.connector_id.to_string())?;
            let strategy = wanted.strategy.clone().unwrap_or(found.strategy);
            let wishes = wanted.entities.as_ref();
            let entities =
                connection_body::check(&inner, txn, &connector, strategy.as_deref(), wishes)?;
            found.strategy = strategy;
            found.entities.extend(entities);
            let federation_org_id = wanted.federation_org_id.clone();
            found.federation_org_id = federation_org_id.unwrap_or(found.federation_org_id);
            found.webhooks_enabled = wanted.webhooks_enabled.unwrap_or(found.webhooks_enabled);
            found.version += 1;
            directory::put_connection(txn, &found)?;
            let after = row(txn, &found)?;
            let act = Act::new("updateConnection", found.id);
            let act = act.of_key(audit::key(&found.organization, found.org_no));
            caller.log(txn, act.changed(&before, &after))?;
            Ok(tagged(found.version, after))
        })
        .await
}

/// What is over is history, and does not change.
fn connected(connection: &Connection) -> Result<(), Problem> {
    match connection.disconnected_at {
        None => Ok(()),
        Some(_) => {
            let detail = "the connection has ended: connect the two again first";
            Err(Problem::conflict("connection.ended", detail))
        }
    }
}

fn put(txn: &Txn, connection: &mut Connection) -> Result<Response, Problem> {
    connection.version += 1;
    directory::put_connection(txn, connection)?;
    Ok(tagged(connection.version, row(txn, connection)?))
}

/// Gives a connection credentials of its own, which go before the connector's; `If-Match` is optional.
#[utoipa::path(
    put, path = "/organizations/{org}/connections/{id}/credentials", tag = "connections",
    request_body = schema::Credentials,
    responses(
        (status = 200, body = schema::Connection),
        (status = 409, description = "`connection.ended`"),
    )
)]
pub(super) async fn credentials(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let known = (org.clone(), id.clone());
    api.read(move |read, _| find(read, &known.0, &known.1)).await?;
    let if_match = IfMatch::optional(&headers);
    let given = Given::new(Value::Object(object(&bytes)?));
    let (inner, now) = (api.clone(), api.now());
    api.deps
        .store
        .write(move |txn| -> Result<Response, Problem> {
            let mut found = find(txn, &org, &id)?;
            if let Some(if_match) = if_match {
                if_match.check(found.version)?;
            }
            connected(&found)?;
            let connector = connectors::find(txn, &found.connector_id.to_string())?;
            connector_body::check_credentials("", connector.auth_type, &given)?;
            connectors::seal(&inner, txn, &connector, Some(&found), &given, now)?;
            let act = Act::new("setConnectionCredentials", found.id);
            let act = act.of_key(audit::key(&found.organization, found.org_no));
            caller.log(txn, act.with(json!({ "credentials": "set" })))?;
            put(txn, &mut found)
        })
        .await
}

/// Disconnects: nothing runs any more, the history stays.
#[utoipa::path(
    delete, path = "/organizations/{org}/connections/{id}", tag = "connections",
    responses((status = 204, description = "It is disconnected"))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = (org.clone(), id.clone());
    api.read(move |read, _| find(read, &known.0, &known.1)).await?;
    let if_match = IfMatch::required(&headers)?;
    let (inner, now) = (api.clone(), api.now());
    let revocable = api
        .deps
        .store
        .write(move |txn| -> Result<_, Problem> {
            let mut found = find(txn, &org, &id)?;
            if_match.check(found.version)?;
            if found.disconnected_at.is_none() {
                found.disconnected_at = Some(now);
                put(txn, &mut found)?;
                directory::put_left(txn, now, found.connector_id, Some(found.id))?;
            }
            let act = Act::new("disconnect", found.id);
            caller.log(txn, act.of_key(audit::key(&found.organization, found.org_no)))?;
            oauth::detach(&inner, txn, &oauth::of_connection(&found))
        })
        .await?;
    oauth::revoke(&api, revocable);
    api.scheduler.ring();
    Ok(StatusCode::NO_CONTENT.into_response())
}
