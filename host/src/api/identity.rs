//! Finds out who asks, from what a request presents: a token in the header, else a session's cookie. Must not decide
//! what the caller may do.

use super::access::{Caller, Who};
use super::problem::Problem;
use super::{Api, cookie, request};
use crate::model::access::{Grant, Session, Token, User};
use crate::store::{Read, Txn, accounts, directory};
use crate::vault::TokenHash;
use axum::extract::{ConnectInfo, Request};
use axum::http::{Extensions, header};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How late the times of last use may be.
const TOKEN_GRAIN_MILLIS: i64 = 10 * 60 * 1_000;
const SESSION_GRAIN_MILLIS: i64 = 60 * 1_000;

/// The caller, or 401.
pub(super) fn authenticate(api: &Api, request: &Request) -> Result<Caller, Problem> {
    let read = api.deps.store.read()?;
    let caller = match request.headers().get(header::AUTHORIZATION) {
        Some(header) => {
            let presented = header.to_str().ok().and_then(|value| value.split_once(' '));
            let bearer = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            let (_, token) = bearer.ok_or_else(Problem::unauthorized)?;
            by_token(api, &read, TokenHash::of(token.trim()))?
        }
        None => {
            let secret = cookie::presented(request.headers(), &api.gate.options);
            let secret = secret.ok_or_else(Problem::unauthorized)?;
            let caller = by_session(api, &read, TokenHash::of(secret))?;
            cookie::refuse_cross_site(request.method(), request.headers(), &api.gate.options)?;
            caller
        }
    };
    if !holds(&read, &caller.grant)? {
        return Err(Problem::unauthorized());
    }
    Ok(Caller { address: address(request.extensions()), ..caller })
}

fn by_token(api: &Api, read: &dyn Read, hash: TokenHash) -> Result<Caller, Problem> {
    let now = api.now();
    let expired = |token: &Token| token.expires_at.is_some_and(|at| at <= now);
    let found = accounts::token(read, hash.as_bytes())?;
    let token = found.filter(|token| !expired(token)).ok_or_else(Problem::unauthorized)?;
    if token.last_used_at.is_none_or(|at| now - at >= TOKEN_GRAIN_MILLIS) {
        aside(api, move |txn| accounts::touch_token(txn, hash.as_bytes(), now));
    }
    Ok(Caller {
        who: Who::Token(token.id),
        name: token.name.into(),
        machine: token.machine,
        grant: token.grant,
        address: None,
        at: now,
        request: request::id(),
    })
}

fn by_session(api: &Api, read: &dyn Read, hash: TokenHash) -> Result<Caller, Problem> {
    let now = api.now();
    let (session, user) = live(api, read, &hash, now)?.ok_or_else(Problem::unauthorized)?;
    if now - session.seen_at >= SESSION_GRAIN_MILLIS {
        aside(api, move |txn| accounts::touch_session(txn, hash.as_bytes(), now));
    }
    Ok(Caller {
        who: Who::User(user.id, session.id),
        name: user.name.into(),
        machine: false,
        grant: user.grant,
        address: None,
        at: now,
        request: request::id(),
    })
}

/// The session of a secret and its user, unless it has ended.
fn live(
    api: &Api,
    read: &dyn Read,
    hash: &TokenHash,
    now: i64,
) -> Result<Option<(Session, User)>, Problem> {
    let Some(session) = accounts::session(read, hash.as_bytes())? else { return Ok(None) };
    let user = accounts::user(read, session.user)?;
    let fresh = session_end(api, &session) > now;
    Ok(user.filter(|user| fresh && !user.disabled).map(|user| (session, user)))
}

/// What a caller who was let in may do by now.
pub(super) struct Standing {
    pub(super) grant: Grant,
    /// When its login ends by itself, in milliseconds since the epoch.
    pub(super) until: Option<i64>,
}

/// Whether a caller would still be let in, for what takes long; none where its login has ended.
pub(super) fn standing(
    api: &Api,
    read: &dyn Read,
    caller: &Caller,
) -> Result<Option<Standing>, Problem> {
    let now = api.now();
    let standing = match caller.who {
        Who::Token(id) => accounts::token_by_id(read, id)?
            .map(|(_, token)| token)
            .filter(|token| token.expires_at.is_none_or(|at| at > now))
            .map(|token| Standing { grant: token.grant, until: token.expires_at }),
        Who::User(user, id) => {
            let sessions = accounts::sessions(read, user)?;
            let own = sessions.into_iter().find(|(_, session)| session.id == id);
            let own = own.filter(|(_, session)| session_end(api, session) > now);
            let user = accounts::user(read, user)?.filter(|user| !user.disabled);
            own.zip(user).map(|((_, session), user)| Standing {
                grant: user.grant,
                until: Some(session_end(api, &session)),
            })
        }
    };
    match standing {
        Some(standing) if holds(read, &standing.grant)? => Ok(Some(standing)),
        _ => Ok(None),
    }
}

/// When a session ends that is not used again.
fn session_end(api: &Api, session: &Session) -> i64 {
    let options = &api.gate.options;
    let idle = session.seen_at.saturating_add(millis(options.session_idle));
    idle.min(session.created_at.saturating_add(millis(options.session_max)))
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Writes something that no answer waits for.
fn aside(api: &Api, write: impl Fn(&Txn) -> Result<(), crate::store::Error> + Send + 'static) {
    let store = api.deps.store.clone();
    tokio::spawn(api.deps.clock.task(async move {
        if let Err(error) = store.write(write).await {
            tracing::warn!(%error, "a time of last use was not noted");
        }
    }));
}

/// Whether the organization that a grant is for is still there.
fn holds(read: &dyn Read, grant: &Grant) -> Result<bool, Problem> {
    let Some(own) = &grant.organization else { return Ok(true) };
    let found = directory::organization(read, &own.id)?;
    Ok(found.is_some_and(|organization| organization.no == own.no))
}

/// The network address of the peer.
pub(super) fn address(extensions: &Extensions) -> Option<IpAddr> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(peer)| peer.ip().to_canonical())
}
