//! Authorizing at a platform: `/connectors/{id}/oauth/...` and the address to which platforms send people back.

use super::access::{Reach, Who};
use super::answer::Answer;
use super::audit::{self, Act};
use super::body::{Members, object};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller, PREFIX, connectors, identity};
use crate::clock;
use crate::credentials::{self, Given};
use crate::model::access::OrgKey;
use crate::model::directory::{AuthType, Connection, Connector, ConnectorStatus};
use crate::model::oauth::{BlockedReason, Grant, Holder, Initiator};
use crate::oauth::{self, Callback, Completed, Detached, WARN_DAYS};
use crate::store::{self, Read, Txn, directory, grants};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use url::form_urlencoded;

/// Below `/api/v1`, as the router has it. Platforms know the whole address and compare it letter by letter.
const CALLBACK: &str = "/oauth/callback";

/// Codes and states are short, and so is everything else that a platform adds.
const QUERY_BYTES_MAX: usize = 8 << 10;

/// Nothing on the page can load, run, be framed or be kept.
const PAGE_POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Begins an authorization in a browser.
#[utoipa::path(
    post, path = "/connectors/{id}/oauth/start", tag = "oauth",
    request_body = Option<schema::AuthorizationOf>,
    responses(
        (status = 200, body = schema::AuthorizationStarted),
        (status = 409, description = "`oauth.not-offered`, `connector.not-active`, `connector.config`"),
    )
)]
pub(super) async fn start(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let (holder, organization) = holder(&api, &caller, id, &bytes).await?;
    let redirect_uri = format!("{}{PREFIX}{CALLBACK}", api.public_url);
    let (kind, session) = match caller.who {
        Who::Token(_) => ("token", None),
        Who::User(_, session) => ("user", Some(session)),
    };
    let (id, name) = (caller.id(), caller.name.to_string());
    let initiator = Initiator { kind: kind.to_owned(), id, name, session };
    let target = holder.to_string();
    let started = api.deps.oauth.start(holder, organization.clone(), initiator, redirect_uri)?;
    api.commit(move |txn| {
        started.keep(txn)?;
        caller.log(txn, Act::new("startAuthorization", &target).of_key(organization.clone()))?;
        let answer = json!({ "expiresAt": clock::to_text(started.expires_at()) });
        Ok(Answer::ok(answer)
            .with_secret("authorizationUrl", started.authorization_url.as_ref())
            .with_secret("state", started.state.expose()))
    })
    .await
}

/// Refreshes the access now.
#[utoipa::path(
    post, path = "/connectors/{id}/oauth/refresh", tag = "oauth",
    request_body = Option<schema::AuthorizationOf>,
    responses(
        (status = 200, body = schema::Authorization),
        (status = 409, description = "`oauth.not-authorized`, `oauth.needs-reauth`, `oauth.client-refused`, `oauth.not-offered`"),
        (status = 502, description = "`oauth.unavailable`"),
    )
)]
pub(super) async fn refresh(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let (holder, organization) = holder(&api, &caller, id, &bytes).await?;
    // What all organizations use is not for one of them to replace.
    let shared = caller.reach() == Reach::All;
    let grant = api.deps.oauth.refresh_now(&holder, shared).await?;
    let act = Act::new("refreshAuthorization", &grant.holder).of_key(organization);
    caller.log_alone(&api, act).await?;
    let mut row = Map::new();
    row.insert("connectorId".to_owned(), json!(grant.holder.connector));
    row.insert("connectionId".to_owned(), json!(grant.holder.connection_id()));
    row.extend(facts(&grant));
    Ok(Json(Value::Object(row)))
}

/// What a body names: the connector itself, or one of its connections and whose it is. Who manages one organization acts
/// for its connection alone.
async fn holder(
    api: &Api,
    caller: &Caller,
    id: String,
    bytes: &Bytes,
) -> Result<(Holder, Option<OrgKey>), Problem> {
    let (object, reach) = (object(bytes), caller.reach());
    api.read(move |read, _| {
        let connector = connectors::find(read, &id)?;
        let mut members = Members::new(object?);
        let connection = members.text("connectionId");
        members.finish()?;
        usable(&connector)?;
        let Some(wanted) = connection else {
            return match reach {
                Reach::All => Ok((Holder::of_connector(connector.id), None)),
                Reach::One(_) => {
                    let detail =
                        "name your own `connectionId`: the connector's authorization is for all";
                    Err(Problem::new(403, "forbidden", detail))
                }
            };
        };
        let live = |found: &Connection| {
            found.id.to_string() == wanted
                && found.disconnected_at.is_none()
                && reach.holds(found.org_no)
        };
        let found = directory::connections_of(read, connector.id)?.into_iter().find(live);
        let missing =
            || Problem::not_found(format!("the connector has no live connection {wanted:?}"));
        let found = found.ok_or_else(missing)?;
        Ok((of_connection(&found), audit::key(&found.organization, found.org_no)))
    })
    .await
}

fn usable(connector: &Connector) -> Result<(), Problem> {
    if connector.auth_type != AuthType::OAuth2 {
        let detail = "the connector's `authType` is not `oauth2`";
        return Err(Problem::conflict("oauth.not-offered", detail));
    }
    if connector.status == ConnectorStatus::Inactive {
        let detail = "the connector is inactive: activate it first";
        return Err(Problem::conflict("connector.not-active", detail));
    }
    Ok(())
}

pub(super) fn of_connection(connection: &Connection) -> Holder {
    Holder::of_connection(connection.connector_id, &connection.organization, connection.id)
}

/// Where a platform sends a person back to; a page, or JSON for who accepts only that.
#[utoipa::path(
    get, path = "/oauth/callback", tag = "oauth",
    security(()),
    params(schema::CallbackParameters),
    responses(
        (status = 200, content((schema::Authorized = "application/json"), (String = "text/html"))),
        (status = 400, description = "`oauth.callback`, `oauth.declined`"),
        (status = 409, description = "`oauth.client-refused`, `connector.config`"),
        (status = 502, description = "`oauth.unavailable`"),
    )
)]
pub(super) async fn callback(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let session = identity::authenticate(&api, &request).ok().and_then(|caller| match caller.who {
        Who::User(_, session) => Some(session),
        Who::Token(_) => None,
    });
    let accepted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let wants_json = accepted.is_some_and(|accepted| {
        accepted.contains("application/json") && !accepted.contains("text/html")
    });
    drop(request);
    let result = match parameters(query.as_deref().unwrap_or_default()) {
        Ok(parameters) => {
            let completed = api.deps.oauth.complete(Callback(parameters), session).await;
            completed.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    let mut response = match (result, wants_json) {
        (Ok(completed), true) => Json(row(&completed)).into_response(),
        (Err(problem), true) => problem.into_response(),
        (Ok(_), false) => page(
            StatusCode::OK,
            "Access was authorized",
            "Syncline may now talk to the platform. You can close this page.",
        ),
        (Err(problem), false) => {
            page(problem.status(), "Access was not authorized", problem.detail())
        }
    };
    let fixed = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn parameters(query: &str) -> Result<BTreeMap<String, String>, Problem> {
    let wrong = |detail: &str| Err(Problem::new(400, "oauth.callback", detail));
    if query.len() > QUERY_BYTES_MAX {
        return wrong("the address has too many parameters");
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
            return wrong("a parameter of the address occurs twice");
        }
    }
    Ok(parameters)
}

fn row(completed: &Completed) -> Value {
    json!({
        "connectorId": completed.holder.connector,
        "connectionId": completed.holder.connection_id(),
        "authorizedAt": clock::to_text(completed.authorized_at),
        "expiresAt": completed.expires_at.map(clock::to_text),
    })
}

fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let text = escaped(text);
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title></head>\n<body><h1>{title}</h1>\n\
         <p>{text}</p></body>\n</html>\n"
    );
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, kind, page).into_response()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// What may be told of a grant.
pub(super) fn facts(grant: &Grant) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut fact = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    for (name, at) in [
        ("authorizedAt", grant.authorized_at),
        ("expiresAt", grant.expires_at),
        ("refreshExpiresAt", grant.refresh_expires_at),
    ] {
        if let Some(at) = at {
            fact(name, json!(clock::to_text(at)));
        }
    }
    let reauth = |reason| reason == BlockedReason::NeedsReauth;
    let blocked = grant.blocked.as_ref();
    fact("needsReauth", json!(blocked.is_some_and(|blocked| reauth(blocked.reason))));
    if let Some(blocked) = blocked {
        fact("reason", json!(blocked.message));
    }
    facts
}

/// The `credentials` of a row: whether there are any, and what is known of the grant beside them. Never a value.
pub(super) fn credentials(read: &dyn Read, holder: &Holder) -> Result<Value, store::Error> {
    let of = holder.connection.as_ref();
    let connection = of.map(|connection| (connection.organization.as_str(), connection.id));
    let updated = credentials::updated_at(read, holder.connector, connection)?.map(clock::to_text);
    let mut shown = Map::new();
    shown.insert("set".to_owned(), json!(updated.is_some()));
    shown.insert("updatedAt".to_owned(), json!(updated));
    if let Some(grant) = grants::get(read, holder)? {
        shown.extend(facts(&grant));
    }
    Ok(Value::Object(shown))
}

/// What a connector's health says of its grants and those of these connections: which need a person, and which soon will.
pub(super) fn health(
    read: &dyn Read,
    connector: &Connector,
    connections: &[Connection],
    now: i64,
) -> Result<Value, store::Error> {
    let mut grants = grants::of_connector(read, connector.id)?;
    let seen = |id| connections.iter().any(|connection| connection.id == id);
    grants.retain(|grant| grant.holder.connection_id().is_none_or(seen));
    let blocked = grants.iter().filter_map(|grant| {
        let blocked = grant.blocked.as_ref()?;
        Some(json!({
            "connectionId": grant.holder.connection_id(),
            "needsReauth": blocked.reason == BlockedReason::NeedsReauth,
            "reason": blocked.message,
            "at": clock::to_text(blocked.at),
        }))
    });
    let expiring = oauth::expiring(&grants, now, WARN_DAYS[0]).into_iter().map(|soon| {
        json!({
            "connectionId": soon.holder.connection_id(),
            "refreshExpiresAt": clock::to_text(soon.refresh_expires_at),
            "daysLeft": soon.days_left,
        })
    });
    Ok(json!({ "blocked": blocked.collect::<Vec<_>>(), "expiring": expiring.collect::<Vec<_>>() }))
}

/// New credentials of a connector or connection: the tokens in them become a grant; answers what is to be sealed.
pub(super) fn adopt(
    api: &Api,
    txn: &Txn,
    auth_type: AuthType,
    holder: &Holder,
    given: &Given,
    now: i64,
) -> Result<Given, Problem> {
    match auth_type {
        AuthType::OAuth2 => Ok(oauth::adopt(txn, &api.deps.keys, holder, given, now)?),
        _ => Ok(Given::new(given.expose().clone())),
    }
}

/// Takes a grant away in the caller's transaction; [`revoke`] then tells the platform.
pub(super) fn detach(api: &Api, txn: &Txn, holder: &Holder) -> Result<Option<Detached>, Problem> {
    Ok(oauth::detach(txn, &api.deps.keys, holder)?)
}

pub(super) fn revoke(api: &Api, detached: Option<Detached>) {
    if let Some(detached) = detached {
        api.deps.oauth.revoke_later(detached);
    }
}

impl From<oauth::Error> for Problem {
    fn from(error: oauth::Error) -> Problem {
        let text = error.to_string();
        match error {
            oauth::Error::NotAuthorized => Problem::conflict("oauth.not-authorized", text),
            oauth::Error::NeedsReauth(_) => Problem::conflict("oauth.needs-reauth", text),
            oauth::Error::ClientRefused(_) => Problem::conflict("oauth.client-refused", text),
            oauth::Error::Unavailable(_) => Problem::new(502, "oauth.unavailable", text),
            oauth::Error::Config(_) => Problem::conflict("connector.config", text),
            oauth::Error::Callback(_) => Problem::new(400, "oauth.callback", text),
            oauth::Error::Declined(_) => Problem::new(400, "oauth.declined", text),
            oauth::Error::Inside(_) => Problem::internal(&error),
        }
    }
}
