//! `/users`: people who log in with a password.

use super::Api;
use super::access::Caller;
use super::accounts::{self as shared, Asked};
use super::answer::Answer;
use super::audit::Act;
use super::body::{Members, object};
use super::etag::{IfMatch, live, tagged};
use super::paging::{Parameters, Query};
use super::problem::Problem;
use super::schema;
use crate::clock;
use crate::model::OrgNo;
use crate::model::access::{Role, User};
use crate::model::ids::{SessionId, UserId};
use crate::store::{Read, accounts};
use crate::vault::{self, PASSWORD_BYTES_MAX, password_fault};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

const EMAIL_BYTES_MAX: usize = 254;
const NAME_CHARS_MAX: usize = 200;
/// How many users of the platform are looked at for another admin.
const PLATFORM_USERS_MAX: usize = 10_000;

pub(super) fn row(user: &User) -> Value {
    json!({
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.grant.role,
        "organizationId": user.grant.organization.as_ref().map(|organization| &organization.id),
        "disabled": user.disabled,
        "createdAt": clock::to_text(user.created_at),
        "lastLoginAt": user.last_login_at.map(clock::to_text),
        "version": user.version,
    })
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no user {id:?}"))
}

/// The user, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<User, Problem> {
    let number: UserId = id.parse().map_err(|_| missing(id))?;
    accounts::user(read, number)?.ok_or_else(|| missing(id))
}

/// People who log in.
#[utoipa::path(
    get, path = "/users", tag = "users",
    params(schema::OrganizationFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::User>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["organization"])?;
    let (limit, after) = (query.limit()?, query.cursor::<UserId>()?.unwrap_or_default());
    api.read(move |read, _| {
        let org = caller.reach().narrow(read, query.get("organization"))?;
        let found = accounts::users(read, org, after, limit + 1)?;
        query.page_behind(found, limit, |user| user.id, |user| Ok(row(user)))
    })
    .await
}

/// One user.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users",
    responses((status = 200, body = schema::User))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = api.read(move |read, _| find(read, &id)).await?;
    Ok(live(found.version, row(&found)))
}

/// What a body may set.
struct Wanted {
    email: Option<String>,
    name: Option<String>,
    password: Option<String>,
    disabled: Option<bool>,
    grant: Asked,
}

fn wanted(bytes: &Bytes, new: bool) -> Result<Wanted, Problem> {
    let mut members = Members::new(object(bytes)?);
    let email = if new { Some(members.required("email")) } else { members.text("email") };
    let name = members.text("name");
    let grant = shared::asked(&mut members);
    let password = if new { shared::secret(&mut members, "password") } else { None };
    let disabled = members.flag("disabled");
    if email.as_deref().is_some_and(|email| !email.is_empty() && !is_email(email)) {
        let message = format!("must be an e-mail address of at most {EMAIL_BYTES_MAX} bytes");
        members.fault("email", message);
    }
    if name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > NAME_CHARS_MAX) {
        members.fault("name", format!("1 to {NAME_CHARS_MAX} characters"));
    }
    match &password {
        Some(password) => {
            if let Some(fault) = password_fault(password) {
                members.fault("password", fault);
            }
        }
        None if new => members.fault("password", "is missing"),
        None => {}
    }
    if new && grant.role.is_none() && members.faults.is_empty() {
        members.fault("role", "is missing: one of viewer, orgAdmin, platformAdmin");
    }
    members.finish()?;
    Ok(Wanted { email, name, password, disabled, grant })
}

/// Whether it may be one; whether it is, a login shows.
pub(crate) fn is_email(text: &str) -> bool {
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let halves = text.split_once('@');
    text.len() <= EMAIL_BYTES_MAX
        && plain
        && halves.is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !host.contains('@')
        })
}

/// An organization admin manages the viewers of the organization, and no equals.
fn may_manage(caller: &Caller, user: &User) -> Result<(), Problem> {
    let above = caller.grant.role == Role::PlatformAdmin
        || caller.grant.role > user.grant.role && caller.grant.covers(&user.grant);
    if above {
        return Ok(());
    }
    let detail = "users are managed by those of a higher role";
    Err(Problem::new(403, "forbidden", detail))
}

fn check_email(read: &dyn Read, email: &str, own: Option<UserId>) -> Result<(), Problem> {
    match accounts::user_by_email(read, email)? {
        Some(user) if Some(user.id) != own => {
            let detail = "there is a user with this e-mail address already";
            Err(Problem::conflict("user.exists", detail))
        }
        _ => Ok(()),
    }
}

/// 409 where nobody would be left who can do everything.
fn check_last_admin(read: &dyn Read, user: &User) -> Result<(), Problem> {
    if user.disabled || user.grant.role != Role::PlatformAdmin {
        return Ok(());
    }
    let platform = accounts::users(read, Some(OrgNo(0)), UserId(0), PLATFORM_USERS_MAX)?;
    let is_other = |other: &User| {
        other.id != user.id && !other.disabled && other.grant.role == Role::PlatformAdmin
    };
    if platform.iter().any(is_other) {
        return Ok(());
    }
    let detail = "this is the last platformAdmin who can log in: make another one first";
    Err(Problem::conflict("user.last-admin", detail))
}

/// Creates a user.
#[utoipa::path(
    post, path = "/users", tag = "users",
    request_body = schema::NewUser,
    responses((status = 201, body = schema::User), (status = 409, description = "`user.exists`"))
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let wanted = wanted(&bytes, true)?;
    let password = wanted.password.clone().unwrap_or_default();
    let hash = api.gate.hashing(move || vault::hash_password(&password)).await?;
    let hash = hash.map_err(|error| Problem::internal(&error))?;
    api.commit(move |txn| {
        let role = wanted.grant.role.unwrap_or(Role::Viewer);
        let organization = wanted.grant.organization.clone().flatten();
        let email = wanted.email.clone().unwrap_or_default();
        let user = User {
            id: accounts::next_user_id(txn)?,
            name: wanted.name.clone().unwrap_or_else(|| email.clone()),
            email,
            grant: shared::grant(txn, &caller, role, organization.as_deref())?,
            disabled: wanted.disabled.unwrap_or(false),
            password_hash: hash.clone(),
            created_at: caller.at,
            last_login_at: None,
            version: 1,
        };
        may_manage(&caller, &user)?;
        check_email(txn, &user.email, None)?;
        accounts::put_user(txn, None, &user)?;
        let act = Act::new("createUser", user.id).of_key(user.grant.organization.clone());
        caller.log(txn, act.with(row(&user)))?;
        Ok(Answer::created(1, row(&user)))
    })
    .await
}

/// Changes a user; a new role ends the logins.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "users",
    request_body = schema::UserChange,
    responses(
        (status = 200, body = schema::User),
        (status = 409, description = "`user.exists`, `user.last-admin`"),
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let known = id.clone();
    let found = api.read(move |read, _| find(read, &known)).await?;
    may_manage(&caller, &found)?;
    let if_match = IfMatch::required(&headers)?;
    let wanted = wanted(&bytes, false)?;
    let updated = api
        .deps
        .store
        .write(move |txn| -> Result<User, Problem> {
            let before = find(txn, &id)?;
            may_manage(&caller, &before)?;
            if_match.check(before.version)?;
            let user = changed(txn, &caller, &before, &wanted)?;
            if user.disabled || user.grant != before.grant {
                if user.disabled || user.grant.role != Role::PlatformAdmin {
                    check_last_admin(txn, &before)?;
                }
                accounts::end_sessions(txn, user.id)?;
            }
            accounts::put_user(txn, Some(&before), &user)?;
            let act = Act::new("updateUser", user.id).of_key(user.grant.organization.clone());
            caller.log(txn, act.changed(&row(&before), &row(&user)))?;
            Ok(user)
        })
        .await?;
    Ok(tagged(updated.version, row(&updated)))
}

fn changed(
    read: &dyn Read,
    caller: &Caller,
    before: &User,
    wanted: &Wanted,
) -> Result<User, Problem> {
    let mut user = before.clone();
    if wanted.grant.role.is_some() || wanted.grant.organization.is_some() {
        let role = wanted.grant.role.unwrap_or(before.grant.role);
        let kept = before.grant.organization.as_ref().map(|organization| organization.id.clone());
        let kept = kept.filter(|_| role != Role::PlatformAdmin);
        let organization = wanted.grant.organization.clone().unwrap_or(kept);
        user.grant = shared::grant(read, caller, role, organization.as_deref())?;
    }
    if let Some(email) = &wanted.email {
        check_email(read, email, Some(before.id))?;
        user.email.clone_from(email);
    }
    user.name = wanted.name.clone().unwrap_or(user.name);
    user.disabled = wanted.disabled.unwrap_or(user.disabled);
    user.version += 1;
    may_manage(caller, &user)?;
    Ok(user)
}

/// Deletes a user and ends the logins.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "users",
    responses(
        (status = 204, description = "The user is gone"),
        (status = 409, description = "`user.last-admin`"),
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = id.clone();
    let found = api.read(move |read, _| find(read, &known)).await?;
    may_manage(&caller, &found)?;
    let if_match = IfMatch::required(&headers)?;
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let found = find(txn, &id)?;
            may_manage(&caller, &found)?;
            if_match.check(found.version)?;
            check_last_admin(txn, &found)?;
            accounts::end_sessions(txn, found.id)?;
            accounts::delete_user(txn, &found)?;
            let act = Act::new("deleteUser", found.id).of_key(found.grant.organization.clone());
            caller.log(txn, act.removed(row(&found)))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sets the password of somebody else.
#[utoipa::path(
    put, path = "/users/{id}/password", tag = "users",
    request_body = schema::NewPassword,
    responses((status = 204, description = "It is set"))
)]
pub(super) async fn password(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let known = id.clone();
    let found = api.read(move |read, _| find(read, &known)).await?;
    may_manage(&caller, &found)?;
    let if_match = IfMatch::optional(&headers).unwrap_or(IfMatch::Any);
    let mut members = Members::new(object(&bytes)?);
    let password = new_password(&mut members, "password");
    members.finish()?;
    replace_password(&api, caller, found.id, password, (Right::Manager, if_match)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A password that will do.
pub(super) fn new_password(members: &mut Members, name: &'static str) -> String {
    let password = shared::secret(members, name);
    let fault = match &password {
        None => Some("is missing".to_owned()),
        Some(password) => password_fault(password),
    };
    if let Some(fault) = fault {
        members.fault(name, fault);
    }
    password.unwrap_or_default()
}

/// Whether a password is short enough to be looked at.
pub(super) fn is_bounded(password: &str) -> bool {
    password.len() <= PASSWORD_BYTES_MAX
}

/// What lets a caller set a password. Hashing takes a while and may have to wait, so that the transaction looks again.
pub(super) enum Right {
    /// It manages the user.
    Manager,
    /// It is the user: logged in, and knew the password that this is the hash of.
    Own { session: SessionId, verified: String },
}

impl Right {
    fn check(&self, read: &dyn Read, caller: &Caller, user: &User) -> Result<(), Problem> {
        let Right::Own { session, verified } = self else {
            return may_manage(caller, user);
        };
        let mine = accounts::sessions(read, user.id)?;
        if !mine.iter().any(|(_, known)| known.id == *session) {
            return Err(Problem::unauthorized());
        }
        if user.password_hash != *verified {
            return Err(wrong_current());
        }
        Ok(())
    }
}

pub(super) fn wrong_current() -> Problem {
    Problem::invalid_at("/current", "is not the password that you have")
}

/// Stores a new password and ends all logins of the user.
pub(super) async fn replace_password(
    api: &Api,
    caller: Caller,
    id: UserId,
    password: String,
    (right, if_match): (Right, IfMatch),
) -> Result<(), Problem> {
    let hash = api.gate.hashing(move || vault::hash_password(&password)).await?;
    let hash = hash.map_err(|error| Problem::internal(&error))?;
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let before = find(txn, &id.to_string())?;
            right.check(txn, &caller, &before)?;
            if_match.check(before.version)?;
            let user =
                User { password_hash: hash.clone(), version: before.version + 1, ..before.clone() };
            accounts::put_user(txn, Some(&before), &user)?;
            accounts::end_sessions(txn, user.id)?;
            let act = Act::new("setPassword", user.id).of_key(user.grant.organization.clone());
            caller.log(txn, act.with(json!({ "password": "set" })))
        })
        .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
