//! `/session` and `/sessions`: logging in with a password, and what a caller can do about its own logins.

use super::access::{Caller, Who};
use super::accounts as shared;
use super::audit::{self, Act};
use super::body::{Members, object};
use super::etag::IfMatch;
use super::paging::{Parameters, Query, page_of};
use super::problem::Problem;
use super::schema;
use super::{Api, cookie, identity, request, users};
use crate::clock;
use crate::model::access::{Session, User};
use crate::model::ids::{SessionId, UserId};
use crate::store::{Read, accounts};
use crate::vault::{self, TokenHash};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

/// Logins that a user has at once; the oldest ends when there is one more.
const SESSIONS_MAX: usize = 20;

/// What a login sends.
struct Login {
    email: String,
    password: String,
}

fn login(bytes: &Bytes) -> Result<Login, Problem> {
    let mut members = Members::new(object(bytes)?);
    let email = members.required("email");
    let password = shared::secret(&mut members, "password");
    if password.is_none() {
        members.fault("password", "is missing");
    }
    let password = password.unwrap_or_default();
    if !users::is_bounded(&password) {
        members.fault("password", "is longer than any password here");
    }
    if !email.is_empty() && !users::is_email(&email) {
        members.fault("email", "must be an e-mail address");
    }
    members.finish()?;
    Ok(Login { email, password })
}

/// Logs in with a password.
#[utoipa::path(
    post, path = "/session", tag = "sessions",
    security(()),
    request_body = schema::Login,
    responses(
        (status = 201, body = schema::LoggedIn, headers(("Set-Cookie", description = "The session"))),
        (status = 401, description = "`login.failed`"),
        (status = 403, description = "`cross-site`"),
        (status = 429, description = "`login.throttled`"),
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    method: Method,
    headers: HeaderMap,
    extensions: Extensions,
    bytes: Bytes,
) -> Result<Response, Problem> {
    cookie::refuse_cross_site(&method, &headers, &api.gate.options)?;
    let address = identity::address(&extensions);
    let presented = cookie::presented(&headers, &api.gate.options).map(TokenHash::of);
    let login = login(&bytes)?;
    let (account, now) = (login.email.to_lowercase(), api.now());
    api.gate.login(&account, address, now)?;
    let wanted = account.clone();
    let found = api.read(move |read, _| Ok(accounts::user_by_email(read, &wanted)?)).await?;
    let stored = found.as_ref().map(|user| user.password_hash.clone());
    let verify = move || vault::verify_password(stored.as_deref(), &login.password);
    let right = api.gate.hashing(verify).await?;
    let user = found.filter(|user| right && !user.disabled);
    let by = |user: &User| Caller {
        who: Who::User(user.id, SessionId::default()),
        name: user.name.as_str().into(),
        machine: false,
        grant: user.grant.clone(),
        address,
        at: now,
        request: request::id(),
    };
    let Some(user) = user else {
        audit::failed_login(&api, &account, address, now).await?;
        return Err(Problem::new(401, "login.failed", "the e-mail address or password is wrong"));
    };
    let opened = open(&api, by(&user), user, presented).await?;
    api.gate.logged_in(&account, address);
    Ok(opened)
}

/// A new session under a new secret; the one that the browser had ends.
async fn open(
    api: &Api,
    caller: Caller,
    verified: User,
    presented: Option<TokenHash>,
) -> Result<Response, Problem> {
    let (secret, hash) = TokenHash::generate().map_err(|error| Problem::internal(&error))?;
    let now = caller.at;
    let (user, session) = api
        .deps
        .store
        .write(move |txn| -> Result<(User, Session), Problem> {
            let before = users::find(txn, &verified.id.to_string())?;
            if before.disabled || before.password_hash != verified.password_hash {
                return Err(Problem::unauthorized());
            }
            if let Some(old) = presented
                && let Some(session) = accounts::session(txn, old.as_bytes())?
            {
                accounts::delete_session(txn, old.as_bytes(), &session)?;
            }
            let mine = accounts::sessions(txn, before.id)?;
            for (old, session) in mine.iter().rev().skip(SESSIONS_MAX - 1) {
                accounts::delete_session(txn, old, session)?;
            }
            let session = Session {
                id: accounts::next_session_id(txn)?,
                user: before.id,
                created_at: now,
                seen_at: now,
                address: caller.address.map(|address| address.to_string()),
            };
            accounts::put_session(txn, hash.as_bytes(), &session)?;
            let user = User { last_login_at: Some(now), ..before.clone() };
            accounts::put_user(txn, Some(&before), &user)?;
            let act = Act::new("login", session.id).of_key(user.grant.organization.clone());
            caller.log(txn, act)?;
            Ok((user, session))
        })
        .await?;
    let shown = json!({ "user": users::row(&user), "session": row(api, &session, session.id) });
    let mut response = (StatusCode::CREATED, Json(shown)).into_response();
    if let Some(cookie) = cookie::set(secret.expose(), &api.gate.options) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn row(api: &Api, session: &Session, current: SessionId) -> Value {
    let options = &api.gate.options;
    let ends = (session.seen_at + identity::millis(options.session_idle))
        .min(session.created_at + identity::millis(options.session_max));
    json!({
        "id": session.id,
        "createdAt": clock::to_text(session.created_at),
        "seenAt": clock::to_text(session.seen_at),
        "expiresAt": clock::to_text(ends),
        "address": session.address,
        "current": session.id == current,
    })
}

/// Who the caller is.
#[utoipa::path(
    get, path = "/session", tag = "sessions",
    responses((status = 200, body = schema::Identity))
)]
pub(super) async fn show(Extension(caller): Extension<Caller>) -> Json<Value> {
    let (kind, id, session) = match caller.who {
        Who::Token(id) => ("token", id.to_string(), None),
        Who::User(id, session) => ("user", id.to_string(), Some(session)),
    };
    Json(json!({
        "kind": kind,
        "id": id,
        "name": &*caller.name,
        "role": caller.grant.role,
        "organizationId": caller.grant.organization.as_ref().map(|organization| &organization.id),
        "machine": caller.machine,
        "sessionId": session,
    }))
}

/// The login of the caller, which a token does not have.
fn own(caller: &Caller) -> Result<(UserId, SessionId), Problem> {
    match caller.who {
        Who::User(user, session) => Ok((user, session)),
        Who::Token(_) => Err(Problem::conflict("login.none", "a token has no login")),
    }
}

/// Logs out.
#[utoipa::path(
    delete, path = "/session", tag = "sessions",
    responses(
        (status = 204, description = "The login has ended"),
        (status = 409, description = "`login.none`"),
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let (_, session) = own(&caller)?;
    end(&api, caller, session, "logout").await?;
    Ok(logged_out(&api))
}

fn logged_out(api: &Api) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = cookie::set("", &api.gate.options) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

async fn end(
    api: &Api,
    caller: Caller,
    wanted: SessionId,
    action: &'static str,
) -> Result<(), Problem> {
    let (user, _) = own(&caller)?;
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let mut mine = accounts::sessions(txn, user)?.into_iter();
            let (hash, session) =
                mine.find(|(_, session)| session.id == wanted).ok_or_else(|| missing(wanted))?;
            accounts::delete_session(txn, &hash, &session)?;
            let act = Act::new(action, wanted).of_key(caller.grant.organization.clone());
            caller.log(txn, act)
        })
        .await
}

fn missing(id: impl std::fmt::Display) -> Problem {
    Problem::not_found(format!("you have no session {:?}", id.to_string()))
}

/// The own logins.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions",
    params(schema::Paging),
    responses((status = 200, body = schema::Page<schema::Session>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let Ok((user, current)) = own(&caller) else { return page_of(Vec::new(), &query) };
    let mine = api.read(move |read, _| Ok(accounts::sessions(read as &dyn Read, user)?)).await?;
    let rows = mine.iter().map(|(_, session)| row(&api, session, current));
    page_of(rows.collect(), &query)
}

/// Ends one of the own logins.
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "sessions",
    responses((status = 204, description = "It has ended"))
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let wanted: SessionId = id.parse().map_err(|_| missing(&id))?;
    let (_, current) = own(&caller).map_err(|_| missing(&id))?;
    end(&api, caller, wanted, "revokeSession").await?;
    if wanted == current {
        return Ok(logged_out(&api));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Changes the own password and ends all own logins.
#[utoipa::path(
    post, path = "/session/password", tag = "sessions",
    request_body = schema::PasswordChange,
    responses(
        (status = 204, description = "It is changed"),
        (status = 409, description = "`login.none`"),
        (status = 429, description = "`login.throttled`"),
    )
)]
pub(super) async fn password(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (id, session) = own(&caller)?;
    let if_match = IfMatch::optional(&headers).unwrap_or(IfMatch::Any);
    let mut members = Members::new(object(&bytes)?);
    let current = shared::secret(&mut members, "current").unwrap_or_default();
    let password = users::new_password(&mut members, "password");
    if current.is_empty() || !users::is_bounded(&current) {
        members.fault("current", "must be the password that you have");
    }
    members.finish()?;
    let user = api.read(move |read, _| users::find(read, &id.to_string())).await?;
    let account = user.email.to_lowercase();
    api.gate.login(&account, caller.address, caller.at)?;
    let right = users::Right::Own { session, verified: user.password_hash.clone() };
    let verify = move || vault::verify_password(Some(&user.password_hash), &current);
    if !api.gate.hashing(verify).await? {
        return Err(users::wrong_current());
    }
    api.gate.logged_in(&account, caller.address);
    users::replace_password(&api, caller, id, password, (right, if_match)).await?;
    Ok(logged_out(&api))
}
