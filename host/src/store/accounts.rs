//! Users, tokens and sessions, with their indexes by e-mail, by organization and by owner.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::tables::{
    SESSIONS, SESSIONS_BY_USER, TOKEN_IDS, TOKENS, TOKENS_BY_ORGANIZATION, Table, USERS,
    USERS_BY_EMAIL, USERS_BY_ORGANIZATION,
};
use super::{Error, meta, rows};
use crate::model::OrgNo;
use crate::model::access::{Grant, Session, Token, User};
use crate::model::ids::{SessionId, TokenId, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::{Bound, ControlFlow};

/// The sha256 of a token's or session's secret.
pub type Hash = [u8; 32];

fn one<T: DeserializeOwned>(read: &dyn Read, table: Table, key: &[u8]) -> Result<Option<T>, Error> {
    read.get_row(table, key)?.map(|row| rows::from_json(table, &row)).transpose()
}

fn put<T: Serialize>(txn: &Txn, table: Table, key: &[u8], value: &T) -> Result<(), Error> {
    txn.put(table, key, &rows::to_json(value)?)
}

fn number(txn: &Txn, sequence: &str) -> Result<u32, Error> {
    u32::try_from(meta::next(txn, sequence)?).map_err(|error| Error::Storage(error.to_string()))
}

/// The bucket of an index by organization: 0 holds who belongs to none.
fn bucket(grant: &Grant) -> OrgNo {
    grant.organization.as_ref().map_or(OrgNo(0), |organization| organization.no)
}

/// At most `limit` numbers behind `after` that an index lists: of all rows, or of one organization's.
fn page(
    read: &dyn Read,
    tables: (Table, Table),
    org: Option<OrgNo>,
    after: u32,
    limit: usize,
) -> Result<Vec<u32>, Error> {
    let (all, by_organization) = tables;
    let (table, prefix) = match org {
        None => (all, Key::new()),
        Some(org) => (by_organization, Key::org(org)),
    };
    let lower = prefix.clone().u32(after);
    let end = prefix.prefix_end();
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut found = Vec::new();
    read.scan_rows(table, (Bound::Excluded(lower.bytes()), upper), false, &mut |key, _| {
        let mut parts = Parts(key);
        let number =
            if org.is_some() { parts.u32().and_then(|_| parts.u32()) } else { parts.u32() };
        found.extend(number);
        Ok(if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

pub fn user(read: &dyn Read, id: UserId) -> Result<Option<User>, Error> {
    one(read, USERS, Key::new().u32(id.0).bytes())
}

/// The user with this e-mail address, in whatever case it is written.
pub fn user_by_email(read: &dyn Read, email: &str) -> Result<Option<User>, Error> {
    let id: Option<UserId> = one(read, USERS_BY_EMAIL, email_key(email).bytes())?;
    id.map(|id| user(read, id)).transpose().map(Option::flatten)
}

fn email_key(email: &str) -> Key {
    Key::new().text(&email.to_lowercase())
}

/// Users behind `after` in the order of their ids: all, or those of one organization.
pub fn users(
    read: &dyn Read,
    org: Option<OrgNo>,
    after: UserId,
    limit: usize,
) -> Result<Vec<User>, Error> {
    let ids = page(read, (USERS, USERS_BY_ORGANIZATION), org, after.0, limit)?;
    let found = ids.into_iter().map(|id| user(read, UserId(id)));
    Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

pub fn next_user_id(txn: &Txn) -> Result<UserId, Error> {
    number(txn, "user").map(UserId)
}

/// Writes a user; `before` is the row that it replaces.
pub fn put_user(txn: &Txn, before: Option<&User>, user: &User) -> Result<(), Error> {
    if let Some(before) = before {
        delete_user(txn, before)?;
    }
    let by_organization = Key::org(bucket(&user.grant)).u32(user.id.0);
    txn.put(USERS_BY_ORGANIZATION, by_organization.bytes(), &[])?;
    put(txn, USERS_BY_EMAIL, email_key(&user.email).bytes(), &user.id)?;
    put(txn, USERS, Key::new().u32(user.id.0).bytes(), user)
}

pub fn delete_user(txn: &Txn, user: &User) -> Result<(), Error> {
    let by_organization = Key::org(bucket(&user.grant)).u32(user.id.0);
    txn.delete(USERS_BY_ORGANIZATION, by_organization.bytes())?;
    txn.delete(USERS_BY_EMAIL, email_key(&user.email).bytes())?;
    txn.delete(USERS, Key::new().u32(user.id.0).bytes())
}

/// The token with this hash.
pub fn token(read: &dyn Read, hash: &Hash) -> Result<Option<Token>, Error> {
    one(read, TOKENS, hash)
}

pub fn token_by_id(read: &dyn Read, id: TokenId) -> Result<Option<(Hash, Token)>, Error> {
    let hash: Option<Hash> = one(read, TOKEN_IDS, Key::new().u32(id.0).bytes())?;
    let Some(hash) = hash else { return Ok(None) };
    Ok(token(read, &hash)?.map(|token| (hash, token)))
}

/// Tokens behind `after` in the order of their ids: all, or those of one organization.
pub fn tokens(
    read: &dyn Read,
    org: Option<OrgNo>,
    after: TokenId,
    limit: usize,
) -> Result<Vec<Token>, Error> {
    let ids = page(read, (TOKEN_IDS, TOKENS_BY_ORGANIZATION), org, after.0, limit)?;
    let found = ids.into_iter().map(|id| token_by_id(read, TokenId(id)));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().map(|(_, token)| token).collect())
}

/// Stores a new token and gives it its id.
pub fn add_token(txn: &Txn, hash: &Hash, token: Token) -> Result<Token, Error> {
    let token = Token { id: number(txn, "token").map(TokenId)?, ..token };
    let by_organization = Key::org(bucket(&token.grant)).u32(token.id.0);
    txn.put(TOKENS_BY_ORGANIZATION, by_organization.bytes(), &[])?;
    put(txn, TOKEN_IDS, Key::new().u32(token.id.0).bytes(), hash)?;
    put(txn, TOKENS, hash, &token)?;
    Ok(token)
}

/// Notes when a token was used last; nothing where it is gone.
pub fn touch_token(txn: &Txn, hash: &Hash, at: i64) -> Result<(), Error> {
    let Some(mut found) = token(txn, hash)? else { return Ok(()) };
    found.last_used_at = found.last_used_at.max(Some(at));
    put(txn, TOKENS, hash, &found)
}

pub fn delete_token(txn: &Txn, hash: &Hash, token: &Token) -> Result<(), Error> {
    let by_organization = Key::org(bucket(&token.grant)).u32(token.id.0);
    txn.delete(TOKENS_BY_ORGANIZATION, by_organization.bytes())?;
    txn.delete(TOKEN_IDS, Key::new().u32(token.id.0).bytes())?;
    txn.delete(TOKENS, hash)
}

pub fn session(read: &dyn Read, hash: &Hash) -> Result<Option<Session>, Error> {
    one(read, SESSIONS, hash)
}

/// The sessions of a user, oldest first, each with its key.
pub fn sessions(read: &dyn Read, user: UserId) -> Result<Vec<(Hash, Session)>, Error> {
    let prefix = Key::new().u32(user.0);
    let hashes = rows::collect_json::<Hash>(read, SESSIONS_BY_USER, &prefix)?;
    let mut found = Vec::with_capacity(hashes.len());
    for hash in hashes {
        found.extend(session(read, &hash)?.map(|session| (hash, session)));
    }
    Ok(found)
}

pub fn next_session_id(txn: &Txn) -> Result<SessionId, Error> {
    meta::next(txn, "session").map(SessionId)
}

pub fn put_session(txn: &Txn, hash: &Hash, session: &Session) -> Result<(), Error> {
    let by_user = Key::new().u32(session.user.0).u64(session.id.0);
    put(txn, SESSIONS_BY_USER, by_user.bytes(), hash)?;
    put(txn, SESSIONS, hash, session)
}

pub fn delete_session(txn: &Txn, hash: &Hash, session: &Session) -> Result<(), Error> {
    let by_user = Key::new().u32(session.user.0).u64(session.id.0);
    txn.delete(SESSIONS_BY_USER, by_user.bytes())?;
    txn.delete(SESSIONS, hash)
}

/// Ends the sessions of a user and answers how many there were.
pub fn end_sessions(txn: &Txn, user: UserId) -> Result<usize, Error> {
    let found = sessions(txn, user)?;
    for (hash, session) in &found {
        delete_session(txn, hash, session)?;
    }
    Ok(found.len())
}

/// Notes when a session was used last; nothing where it has ended.
pub fn touch_session(txn: &Txn, hash: &Hash, at: i64) -> Result<(), Error> {
    let Some(mut found) = session(txn, hash)? else { return Ok(()) };
    found.seen_at = found.seen_at.max(at);
    put(txn, SESSIONS, hash, &found)
}
