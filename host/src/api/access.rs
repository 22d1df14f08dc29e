//! Who asks, what that caller reaches, and the one place where a request is let through or not.
//!
//! `routes` declares for every route who may call it and where the row that it names belongs. [`guard`] decides before
//! the handler runs: 401 without a valid login, 404 for what is outside the caller's reach as for what does not exist,
//! 403 for what the caller may see and not do. Handlers of lists, and of bodies that name an organization, narrow by
//! [`Reach`].

mod places;
mod routes;

use super::problem::Problem;
use super::{Api, connectors, identity, organizations};
use crate::model::OrgNo;
use crate::model::access::{Grant, Role};
use crate::model::directory::{Connector, Organization};
use crate::model::ids::SessionId;
use crate::store::{Read, Store, directory};
use axum::RequestExt;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;
use std::sync::Arc;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Anyone, without a login.
    Nobody,
    /// Anyone who is logged in.
    Anyone,
    /// Every role; the answer shows what the caller reaches.
    Reader,
    /// Roles that are not bound to one organization.
    PlatformReader,
    /// The admin of the organization, and platform admins.
    OrgAdmin,
    PlatformAdmin,
}

impl Need {
    fn met_by(self, grant: &Grant) -> bool {
        match self {
            Need::Nobody | Need::Anyone | Need::Reader => true,
            Need::PlatformReader => grant.organization.is_none(),
            Need::OrgAdmin => grant.role >= Role::OrgAdmin,
            Need::PlatformAdmin => grant.role == Role::PlatformAdmin,
        }
    }
}

/// Where the row that the path names belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The path names no row, or one of the platform; the handler narrows what it answers.
    Platform,
    /// `{org}`.
    Organization,
    /// `{id}` is of this kind.
    Run,
    Failure,
    Conflict,
    Connector,
    Template,
    Hook,
    Channel,
    Schedule,
    User,
    Token,
}

/// What a route asks for. A path is written as in the router.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) need: Need,
    pub(super) place: Place,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) who: Who,
    pub(crate) name: Arc<str>,
    /// Its edits do not count as made by a person.
    pub(crate) machine: bool,
    pub(crate) grant: Grant,
    pub(crate) address: Option<IpAddr>,
    /// When it asked, in milliseconds since the epoch.
    pub(crate) at: i64,
    /// The id of the request.
    pub(crate) request: Option<Arc<str>>,
}

/// How the caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Token(crate::model::ids::TokenId),
    User(crate::model::ids::UserId, SessionId),
}

impl Caller {
    /// The id of the user or token.
    pub(crate) fn id(&self) -> String {
        match self.who {
            Who::Token(id) => id.to_string(),
            Who::User(id, _) => id.to_string(),
        }
    }

    pub(crate) fn reach(&self) -> Reach {
        Reach::of(&self.grant)
    }
}

/// Which organizations a caller reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    All,
    One(OrgNo),
}

impl Reach {
    fn of(grant: &Grant) -> Reach {
        match &grant.organization {
            None => Reach::All,
            Some(organization) => Reach::One(organization.no),
        }
    }

    pub(crate) fn holds(self, org: OrgNo) -> bool {
        match self {
            Reach::All => true,
            Reach::One(own) => own == org,
        }
    }

    /// The organization, or 404: a foreign one is as good as none.
    pub(crate) fn organization(self, read: &dyn Read, id: &str) -> Result<Organization, Problem> {
        let found = organizations::find(read, id)?;
        if self.holds(found.no) { Ok(found) } else { Err(organizations::missing(id)) }
    }

    /// What a list is about: the organization that its filter names, else all that the caller reaches (none: all).
    pub(crate) fn narrow(
        self,
        read: &dyn Read,
        filter: Option<&str>,
    ) -> Result<Option<OrgNo>, Problem> {
        match (filter, self) {
            (Some(id), _) => Ok(Some(self.organization(read, id)?.no)),
            (None, Reach::All) => Ok(None),
            (None, Reach::One(own)) => Ok(Some(own)),
        }
    }

    /// The connector, or 404 where it is not seen.
    pub(crate) fn connector(self, read: &dyn Read, id: &str) -> Result<Connector, Problem> {
        let found = connectors::find(read, id)?;
        if self.sees(read, &found)? { Ok(found) } else { Err(connectors::missing(id)) }
    }

    /// Whether a connector is seen: a caller of one organization sees those that it is connected to.
    pub(crate) fn sees(self, read: &dyn Read, connector: &Connector) -> Result<bool, Problem> {
        match self {
            Reach::All => Ok(true),
            Reach::One(own) => {
                Ok(directory::connection_between(read, own, connector.id)?.is_some())
            }
        }
    }
}

/// Lets a request through to its handler, with the [`Caller`] as an extension, or answers why not.
pub(super) async fn guard(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let path = matched.as_ref().map(|path| path.as_str().trim_start_matches(super::PREFIX));
    let route = path.and_then(|path| routes::find(request.method(), path));
    // Who is not known yet, or never, is known by the address.
    let address = identity::address(request.extensions());
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    if route.is_some_and(|route| route.need == Need::Nobody) {
        api.gate.pace(&address, api.now())?;
        return Ok(next.run(request).await);
    }
    let caller = match identity::authenticate(&api, &request) {
        Ok(caller) => caller,
        Err(refusal) => {
            api.gate.pace(&address, api.now())?;
            return Err(refusal);
        }
    };
    api.gate.pace(&caller.id(), caller.at)?;
    match (route, path) {
        (Some(route), _) => {
            let names = request.extract_parts::<RawPathParams>().await;
            let names: Vec<(String, String)> = names
                .iter()
                .flatten()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let read = api.deps.store.read()?;
            places::check(&api.deps.store, &read, caller.reach(), route.place, &names)?;
            if !route.need.met_by(&caller.grant) {
                return Err(forbidden(route.need, &caller));
            }
        }
        // Nobody said who may call it, so that only those get through who may do everything.
        (None, Some(path)) if caller.grant.role != Role::PlatformAdmin => {
            return Err(match routes::knows(path) {
                true => super::no_method().await,
                false => forbidden(Need::PlatformAdmin, &caller),
            });
        }
        (None, _) => {}
    }
    // What changes nothing goes on, and so does logging in and out.
    if !request.method().is_safe() && path != Some("/session") {
        room(&api)?;
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Whether a grant reaches the row that a path's parameters lead to; 404 where it does not.
pub(super) fn reaches(
    store: &Store,
    read: &dyn Read,
    grant: &Grant,
    place: Place,
    names: &[(String, String)],
) -> Result<(), Problem> {
    places::check(store, read, Reach::of(grant), place, names)
}

/// 503 where the disk is so full that nothing more is taken in.
pub(super) fn room(api: &Api) -> Result<(), Problem> {
    const RETRY_SECONDS: u32 = 60;
    if api.deps.disk.is_full() {
        let detail =
            "the disk of the data directory is full: nothing is taken in until there is room";
        return Err(Problem::later("disk.full", RETRY_SECONDS, detail));
    }
    Ok(())
}

/// Who may call an operation, by method and path below the prefix; none where nobody said.
pub(super) fn need(method: &str, path: &str) -> Option<Need> {
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok()?;
    routes::find(&method, path).map(|route| route.need)
}

fn forbidden(need: Need, caller: &Caller) -> Problem {
    let who = match need {
        Need::PlatformReader => "a caller who is not bound to one organization",
        Need::OrgAdmin => "an orgAdmin of the organization or a platformAdmin",
        Need::Nobody | Need::Anyone | Need::Reader | Need::PlatformAdmin => "a platformAdmin",
    };
    let role = caller.grant.role.as_str();
    Problem::new(403, "forbidden", format!("this takes {who}, and the caller is a {role}"))
}
