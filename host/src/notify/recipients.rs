//! Who is written to for an organization that has no channel of its own.

use crate::model::OrgNo;
use crate::model::access::Role;
use crate::model::ids::UserId;
use crate::store::{Error, Read, accounts};

/// An organization has few admins; more than these are not written to.
const ADMINS_MAX: usize = 50;
const PAGE: usize = 200;

/// The addresses of the admins of an organization, as far as they can log in.
pub(super) fn admins_of(read: &dyn Read, organization: OrgNo) -> Result<Vec<String>, Error> {
    let (mut addresses, mut after) = (Vec::new(), UserId(0));
    while addresses.len() < ADMINS_MAX {
        let users = accounts::users(read, Some(organization), after, PAGE)?;
        let Some(last) = users.last() else { break };
        after = last.id;
        let admins =
            users.into_iter().filter(|user| user.grant.role == Role::OrgAdmin && !user.disabled);
        addresses.extend(admins.map(|user| user.email));
    }
    addresses.truncate(ADMINS_MAX);
    Ok(addresses)
}
