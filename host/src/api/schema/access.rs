//! Users, tokens, logins and the audit log.

use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// What a caller may do, least first.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum Role {
    Viewer,
    OrgAdmin,
    PlatformAdmin,
}

/// A person who logs in with a password.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct User {
    id: String,
    email: String,
    name: String,
    role: Role,
    /// Null reaches all organizations.
    organization_id: Option<String>,
    disabled: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_login_at: Option<String>,
    version: u64,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewUser {
    #[schema(min_length = 3, max_length = 254)]
    email: String,
    /// The e-mail address if it is left out.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(min_length = 1)]
    password: String,
    role: Role,
    organization_id: Option<String>,
    disabled: Option<bool>,
}

/// What is left out stays as it is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct UserChange {
    #[schema(max_length = 254)]
    email: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    role: Option<Role>,
    organization_id: Option<String>,
    disabled: Option<bool>,
}

#[derive(ToSchema)]
pub(in crate::api) struct NewPassword {
    #[schema(min_length = 1)]
    password: String,
}

#[derive(ToSchema)]
pub(in crate::api) struct PasswordChange {
    /// The one that the caller has.
    #[schema(min_length = 1)]
    current: String,
    #[schema(min_length = 1)]
    password: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct OrganizationFilter {
    organization: Option<String>,
}

/// What a program presents.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Token {
    id: String,
    name: String,
    role: Role,
    /// Null reaches all organizations.
    organization_id: Option<String>,
    /// Its edits do not count as made by a person.
    machine: bool,
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

/// The only answer that shows the token itself, and only the first time.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct CreatedToken {
    id: String,
    name: String,
    role: Role,
    organization_id: Option<String>,
    machine: bool,
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    /// Missing in a replay by its `Idempotency-Key`.
    token: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewToken {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    role: Role,
    organization_id: Option<String>,
    machine: Option<bool>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// Who the caller is.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Identity {
    /// `user` or `token`.
    kind: String,
    id: String,
    name: String,
    role: Role,
    organization_id: Option<String>,
    machine: bool,
    session_id: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Login {
    #[schema(min_length = 3, max_length = 254)]
    email: String,
    #[schema(min_length = 1)]
    password: String,
}

/// A login; the secret itself is in the cookie that comes along.
#[derive(ToSchema)]
pub(in crate::api) struct LoggedIn {
    user: User,
    session: Session,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Session {
    id: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    seen_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    address: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct AuditFilter {
    organization: Option<String>,
    /// Id or name.
    actor: Option<String>,
    action: Option<String>,
    #[param(format = DateTime)]
    since: Option<String>,
}

/// Who did what.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AuditEntry {
    seq: u64,
    #[schema(format = DateTime)]
    at: String,
    actor: Actor,
    address: Option<String>,
    action: String,
    target: String,
    organization_id: Option<String>,
    before: Value,
    after: Value,
    request_id: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Actor {
    /// `user`, `token`, or `nobody` where a login failed.
    kind: String,
    id: String,
    name: String,
}

/// Whether the log is as it was written.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AuditVerdict {
    ok: bool,
    /// How many are in order, from the first on.
    entries: u64,
    /// Hash of the last of them.
    head: String,
    first_bad: Option<BadEntry>,
}

#[derive(ToSchema)]
pub(in crate::api) struct BadEntry {
    seq: u64,
    reason: String,
}
