//! What users and tokens have in common: roles and organizations in bodies, and who may hand them out.

use super::access::Caller;
use super::body::Members;
use super::problem::Problem;
use crate::model::access::{Grant, OrgKey, Role};
use crate::store::Read;
use serde_json::Value;

/// A role and organization as a body names them.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) role: Option<Role>,
    /// `Some(None)`: none, said so.
    pub(super) organization: Option<Option<String>>,
}

pub(super) fn asked(members: &mut Members) -> Asked {
    let has_organization = members.has("organizationId");
    let organization = members.text("organizationId");
    let role = members.text("role").and_then(|text| match text.parse() {
        Ok(role) => Some(role),
        Err(()) => {
            members.fault("role", "must be one of viewer, orgAdmin, platformAdmin");
            None
        }
    });
    Asked { role, organization: has_organization.then_some(organization) }
}

/// A text that is taken as it is, blanks included.
pub(super) fn secret(members: &mut Members, name: &'static str) -> Option<String> {
    match members.take(name)? {
        Value::String(text) => Some(text),
        _ => {
            members.fault(name, "must be a text");
            None
        }
    }
}

/// What is asked for as a grant that this caller may hand out.
pub(super) fn grant(
    read: &dyn Read,
    caller: &Caller,
    role: Role,
    organization: Option<&str>,
) -> Result<Grant, Problem> {
    let own = caller.grant.organization.as_ref();
    let organization = match organization {
        Some(id) => {
            let message = "there is no such organization";
            let found = caller.reach().organization(read, id);
            let found = found.map_err(|_| Problem::invalid_at("/organizationId", message))?;
            Some(OrgKey { id: found.id, no: found.no })
        }
        None if role == Role::PlatformAdmin => None,
        None => own.cloned(),
    };
    let message = match (role, &organization) {
        (Role::PlatformAdmin, Some(_)) => Some("a platformAdmin belongs to no organization"),
        (Role::OrgAdmin, None) => Some("is missing: an orgAdmin belongs to one organization"),
        _ => None,
    };
    if let Some(message) = message {
        return Err(Problem::invalid_at("/organizationId", message));
    }
    let grant = Grant { role, organization };
    if caller.grant.covers(&grant) {
        return Ok(grant);
    }
    let detail = "nobody hands out a role above their own, or beyond their organization";
    Err(Problem::new(403, "forbidden", detail))
}
