//! Finds out whose the row is that a path names. What a caller does not reach is missing, in the words of the handler.

use super::{Place, Reach};
use crate::api::problem::Problem;
use crate::api::{
    conflicts, failures, hooks, notifications, runs, schedules, templates, tokens, users,
};
use crate::model::ConnectionId;
use crate::model::access::Grant;
use crate::model::directory::StoredTemplate;
use crate::store::{Read, Store, directory, lookup};

/// 404 unless the caller reaches the row that `names`, the path's parameters, lead to.
pub(super) fn check(
    store: &Store,
    read: &dyn Read,
    reach: Reach,
    place: Place,
    names: &[(String, String)],
) -> Result<(), Problem> {
    let named = |wanted: &str| {
        let found = names.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let id = named("id");
    // By the connection and not by the organization's id, which a later organization may have again.
    let over = |connection: ConnectionId| match reach {
        Reach::All => Ok(true),
        Reach::One(own) => directory::connection(read, own, connection).map(|row| row.is_some()),
    };
    let (seen, missing) = match place {
        Place::Platform => return Ok(()),
        Place::Organization => return reach.organization(read, named("org")).map(drop),
        Place::Run => (over(runs::find(read, id)?.connection)?, runs::missing(id)),
        Place::Failure => (over(failures::find(read, id)?.connection)?, failures::missing(id)),
        Place::Conflict => (over(conflicts::find(read, id)?.connection)?, conflicts::missing(id)),
        Place::Channel => {
            let channel = notifications::find(read, id)?;
            (notifications::seen(reach, &channel), notifications::missing(id))
        }
        Place::Hook => (hooks::seen(store, read, reach, id)?, hooks::missing(id)),
        Place::Schedule => {
            let schedule = schedules::find(read, id)?;
            (schedules::seen(read, reach, &schedule)?, schedules::missing(id))
        }
        Place::Connector => return reach.connector(read, id).map(drop),
        Place::Template => {
            (sees_template(read, reach, &templates::find(read, id)?)?, templates::missing(id))
        }
        Place::User => (within(reach, &users::find(read, id)?.grant), users::missing(id)),
        Place::Token => (within(reach, &tokens::find(read, id)?.1.grant), tokens::missing(id)),
    };
    if seen { Ok(()) } else { Err(missing) }
}

/// Whether somebody with this grant belongs to what the caller reaches.
fn within(reach: Reach, grant: &Grant) -> bool {
    match (reach, &grant.organization) {
        (Reach::All, _) => true,
        (Reach::One(own), Some(organization)) => organization.no == own,
        (Reach::One(_), None) => false,
    }
}

/// A caller of one organization sees the templates of the connectors that it sees.
fn sees_template(
    read: &dyn Read,
    reach: Reach,
    template: &StoredTemplate,
) -> Result<bool, Problem> {
    let Reach::One(own) = reach else { return Ok(true) };
    let seen = lookup::connectors_of_organization(read, own, None)?;
    Ok(seen.iter().any(|connector| connector.template_id == Some(template.id)))
}
