//! `/tokens`: what programs present. Shown once, stored as a hash.

use super::Api;
use super::access::Caller;
use super::accounts as shared;
use super::answer::Answer;
use super::audit::Act;
use super::body::{Members, object};
use super::etag::{IfMatch, live};
use super::paging::{Parameters, Query};
use super::problem::Problem;
use super::schema;
use crate::clock;
use crate::model::access::{Role, Token};
use crate::model::ids::TokenId;
use crate::store::{Read, accounts};
use crate::vault::TokenHash;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

const NAME_CHARS_MAX: usize = 200;
/// A token is made and deleted, and in between stays as it is.
const VERSION: u64 = 1;

fn row(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "role": token.grant.role,
        "organizationId": token.grant.organization.as_ref().map(|organization| &organization.id),
        "machine": token.machine,
        "createdBy": token.created_by,
        "createdAt": clock::to_text(token.created_at),
        "expiresAt": token.expires_at.map(clock::to_text),
        "lastUsedAt": token.last_used_at.map(clock::to_text),
    })
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no token {id:?}"))
}

/// The token and its hash, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<(accounts::Hash, Token), Problem> {
    let number: TokenId = id.parse().map_err(|_| missing(id))?;
    accounts::token_by_id(read, number)?.ok_or_else(|| missing(id))
}

/// What programs present.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens",
    params(schema::OrganizationFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Token>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["organization"])?;
    let (limit, after) = (query.limit()?, query.cursor::<TokenId>()?.unwrap_or_default());
    api.read(move |read, _| {
        let org = caller.reach().narrow(read, query.get("organization"))?;
        let found = accounts::tokens(read, org, after, limit + 1)?;
        query.page_behind(found, limit, |token| token.id, |token| Ok(row(token)))
    })
    .await
}

/// One token, without its secret.
#[utoipa::path(
    get, path = "/tokens/{id}", tag = "tokens",
    responses((status = 200, body = schema::Token))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (_, found) = api.read(move |read, _| find(read, &id)).await?;
    Ok(live(VERSION, row(&found)))
}

/// Creates a token and shows it this once.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens",
    request_body = schema::NewToken,
    responses((status = 201, body = schema::CreatedToken))
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let name = members.required("name");
    let asked = shared::asked(&mut members);
    let machine = members.flag("machine").unwrap_or(false);
    let expires = members.text("expiresAt");
    let expires_at = expires.as_deref().map(str::parse::<jiff::Timestamp>);
    if expires_at.as_ref().is_some_and(Result::is_err) {
        members.fault("expiresAt", "must be an RFC 3339 instant such as 2027-01-31T00:00:00Z");
    }
    let expires_at = expires_at.and_then(Result::ok).map(clock::to_millis);
    if expires_at.is_some_and(|at| at <= caller.at) {
        members.fault("expiresAt", "must lie in the future");
    }
    if name.chars().count() > NAME_CHARS_MAX {
        members.fault("name", format!("at most {NAME_CHARS_MAX} characters"));
    }
    if asked.role.is_none() && members.faults.is_empty() {
        members.fault("role", "is missing: one of viewer, orgAdmin, platformAdmin");
    }
    members.finish()?;
    let (secret, hash) = TokenHash::generate().map_err(|error| Problem::internal(&error))?;
    api.commit(move |txn| {
        let organization = asked.organization.clone().flatten();
        let role = asked.role.unwrap_or(Role::Viewer);
        let token = Token {
            id: TokenId::default(),
            name: name.clone(),
            grant: shared::grant(txn, &caller, role, organization.as_deref())?,
            machine,
            created_by: caller.name.to_string(),
            created_at: caller.at,
            expires_at,
            last_used_at: None,
        };
        let token = accounts::add_token(txn, hash.as_bytes(), token)?;
        let act = Act::new("createToken", token.id).of_key(token.grant.organization.clone());
        caller.log(txn, act.with(row(&token)))?;
        Ok(Answer::created(VERSION, row(&token)).with_secret("token", secret.expose()))
    })
    .await
}

/// Deletes a token.
#[utoipa::path(
    delete, path = "/tokens/{id}", tag = "tokens",
    responses((status = 204, description = "It is gone"))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = id.clone();
    let (_, found) = api.read(move |read, _| find(read, &known)).await?;
    if !caller.grant.covers(&found.grant) {
        let detail = "a token is deleted by those who could have made it";
        return Err(Problem::new(403, "forbidden", detail));
    }
    let if_match = IfMatch::required(&headers)?;
    if_match.check(VERSION)?;
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let (hash, token) = find(txn, &id)?;
            accounts::delete_token(txn, &hash, &token)?;
            let act = Act::new("deleteToken", token.id).of_key(token.grant.organization.clone());
            caller.log(txn, act.removed(row(&token)))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
