//! `/organizations`.

use super::answer::Answer;
use super::audit::Act;
use super::body::{Members, object};
use super::etag::{IfMatch, tagged};
use super::paging::{Parameters, Query};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller};
use crate::clock;
use crate::model::directory::Organization;
use crate::model::{ConnectionId, OrgNo};
use crate::normalize::is_region;
use crate::notify;
use crate::store::{Read, Txn, channels, directory, lookup, schedules};
use crate::trigger;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

const NAME_CHARS_MAX: usize = 200;
const ID_CHARS_MAX: usize = 64;

pub(super) fn row(organization: &Organization) -> Value {
    json!({
        "id": organization.id,
        "name": organization.name,
        "timezone": organization.timezone,
        "defaultRegion": organization.default_region,
        "createdAt": clock::to_text(organization.created_at),
        "version": organization.version,
    })
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no organization {id:?}"))
}

/// The organization, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<Organization, Problem> {
    // A key ends at a zero byte: what is behind it must not be looked past.
    let found = if id.contains('\0') { None } else { directory::organization(read, id)? };
    found.ok_or_else(|| missing(id))
}

/// The organization that a run or a conflict belongs to, by its connection: a later organization may have the id of one
/// that was deleted. None where it is gone.
pub(super) fn owner(
    read: &dyn Read,
    id: &str,
    connection: ConnectionId,
) -> Result<Option<Organization>, Problem> {
    let Some(found) = directory::organization(read, id)? else { return Ok(None) };
    let is_its = directory::connection(read, found.no, connection)?.is_some();
    Ok(Some(found).filter(|_| is_its))
}

/// [`owner`], or 404.
pub(super) fn find_owner(
    read: &dyn Read,
    id: &str,
    connection: ConnectionId,
) -> Result<Organization, Problem> {
    owner(read, id, connection)?.ok_or_else(|| missing(id))
}

/// Organizations in the order of their ids.
#[utoipa::path(
    get, path = "/organizations", tag = "organizations",
    params(schema::Paging),
    responses((status = 200, body = schema::Page<schema::Organization>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let (limit, after) = (query.limit()?, query.cursor::<String>()?);
    let rows = api
        .read(move |read, _| match &caller.grant.organization {
            None => Ok(lookup::organizations(read, after.as_deref(), limit + 1)?),
            Some(own) => {
                let found = directory::organization(read, &own.id)?;
                let seen = |found: &Organization| {
                    found.no == own.no && after.as_ref().is_none_or(|after| found.id > *after)
                };
                Ok(found.into_iter().filter(seen).collect())
            }
        })
        .await?;
    query.page_behind(rows, limit, |found| found.id.clone(), |found| Ok(row(found)))
}

/// One organization.
#[utoipa::path(
    get, path = "/organizations/{org}", tag = "organizations",
    responses((status = 200, body = schema::Organization))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(org): Path<String>,
) -> Result<Response, Problem> {
    let found = api.read(move |read, _| find(read, &org)).await?;
    Ok(tagged(found.version, row(&found)))
}

/// The members that a body may set, checked.
struct Wanted {
    id: Option<String>,
    name: Option<String>,
    timezone: Option<String>,
    default_region: Option<String>,
}

fn wanted(bytes: &Bytes, new: bool) -> Result<Wanted, Problem> {
    let mut members = Members::new(object(bytes)?);
    let id = if new { members.text("id") } else { None };
    if !new {
        members.fixed("id", "everything of the organization is filed under it");
    }
    let name = members.name("name", new, NAME_CHARS_MAX);
    let timezone = members.text("timezone");
    let default_region = members.text("defaultRegion");
    if id.as_deref().is_some_and(|id| !is_id(id)) {
        let message = format!("must have 1 to {ID_CHARS_MAX} letters, digits, `-`, `_` or `.`");
        members.fault("id", message);
    }
    if let Some(zone) = timezone.as_deref().filter(|zone| !is_zone(zone)) {
        let message = format!("{zone:?} is no IANA time zone such as `Europe/Dublin`");
        members.fault("timezone", message);
    }
    if let Some(region) = default_region.as_deref().filter(|region| !is_region(region)) {
        members.fault("defaultRegion", format!("{region:?} is no region code such as `IE`"));
    }
    members.finish()?;
    Ok(Wanted { id, name, timezone, default_region })
}

fn is_id(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    // `.` and `..` would be steps of a path, and not a part of one.
    !id.is_empty()
        && id.len() <= ID_CHARS_MAX
        && id.chars().all(allowed)
        && !id.chars().all(|c| c == '.')
}

pub(super) fn is_zone(zone: &str) -> bool {
    jiff::tz::TimeZone::get(zone).is_ok()
}

/// A number, and the id that goes with it: one that nobody has chosen by hand.
fn unused(txn: &Txn) -> Result<(OrgNo, String), Problem> {
    loop {
        let no = directory::next_org_no(txn)?;
        let id = format!("org_{}", no.0);
        if directory::organization(txn, &id)?.is_none() {
            return Ok((no, id));
        }
    }
}

/// Creates an organization.
#[utoipa::path(
    post, path = "/organizations", tag = "organizations",
    request_body = schema::NewOrganization,
    responses(
        (status = 201, body = schema::Organization),
        (status = 409, description = "`organization.exists`"),
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let wanted = wanted(&bytes, true)?;
    let now = api.now();
    api.commit(move |txn| {
        if let Some(id) = &wanted.id
            && directory::organization(txn, id)?.is_some()
        {
            let detail = format!("an organization {id:?} exists already");
            return Err(Problem::conflict("organization.exists", detail));
        }
        let (no, own_id) = unused(txn)?;
        let organization = Organization {
            id: wanted.id.clone().unwrap_or(own_id),
            no,
            name: wanted.name.clone().unwrap_or_default(),
            timezone: wanted.timezone.clone().unwrap_or_else(|| "UTC".to_owned()),
            default_region: wanted.default_region.clone().unwrap_or_else(|| "IE".to_owned()),
            created_at: now,
            version: 1,
        };
        directory::put_organization(txn, &organization)?;
        let act = Act::new("createOrganization", &organization.id).of(&organization);
        caller.log(txn, act.with(row(&organization)))?;
        Ok(Answer::created(1, row(&organization)))
    })
    .await
}

/// Changes an organization.
#[utoipa::path(
    patch, path = "/organizations/{org}", tag = "organizations",
    request_body = schema::OrganizationChange,
    responses((status = 200, body = schema::Organization))
)]
pub(super) async fn update(
    State(api): State<Api>,
    Path(org): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let id = org.clone();
    api.read(move |read, _| find(read, &id)).await?;
    let if_match = IfMatch::required(&headers)?;
    let (wanted, now) = (wanted(&bytes, false)?, api.now());
    let updated = api
        .deps
        .store
        .write(move |txn| -> Result<Organization, Problem> {
            let mut found = find(txn, &org)?;
            if_match.check(found.version)?;
            let before = row(&found);
            found.name = wanted.name.clone().unwrap_or(found.name);
            found.timezone = wanted.timezone.clone().unwrap_or(found.timezone);
            found.default_region = wanted.default_region.clone().unwrap_or(found.default_region);
            found.version += 1;
            directory::put_organization(txn, &found)?;
            if before["timezone"] != found.timezone.as_str() {
                trigger::rearm(txn, found.no, now)?;
            }
            let act = Act::new("updateOrganization", &found.id).of(&found);
            caller.log(txn, act.changed(&before, &row(&found)))?;
            Ok(found)
        })
        .await?;
    // Schedules may count in its time zone.
    api.scheduler.ring();
    Ok(tagged(updated.version, row(&updated)))
}

/// Deletes an organization that nothing is connected to.
#[utoipa::path(
    delete, path = "/organizations/{org}", tag = "organizations",
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "`organization.connected`"),
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(org): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, now) = (org.clone(), api.now());
    api.read(move |read, _| find(read, &id)).await?;
    let if_match = IfMatch::required(&headers)?;
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let found = find(txn, &org)?;
            if_match.check(found.version)?;
            if lookup::is_connected(txn, found.no)? {
                let detail = "disconnect its connectors first";
                return Err(Problem::conflict("organization.connected", detail));
            }
            caller
                .log(txn, Act::new("deleteOrganization", &org).of(&found).removed(row(&found)))?;
            let owned = channels::channels(txn)?.into_iter();
            for channel in owned.filter(|channel| channel.belongs_to(found.no)) {
                channels::hurry(txn, channel.id, now)?;
                notify::delete_secret(txn, &channel)?;
                channels::delete_channel(txn, channel.id)?;
            }
            for schedule in schedules::all(txn)? {
                if schedule.organization.as_ref().is_some_and(|own| own.no == found.no) {
                    schedules::delete(txn, &schedule)?;
                }
            }
            Ok(directory::delete_organization(txn, &org)?)
        })
        .await?;
    api.deps.notices.notify_one();
    Ok(StatusCode::NO_CONTENT.into_response())
}
