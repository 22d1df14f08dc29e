//! `/organizations`.

use super::Api;
use super::body::{Members, object};
use super::etag::{IfMatch, tagged};
use super::paging::{Query, page_of};
use super::problem::Problem;
use crate::clock;
use crate::model::directory::Organization;
use crate::normalize::is_region;
use crate::store::{Read, directory};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::HashMap;

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

/// The organization, or 404.
pub(super) fn find(read: &dyn Read, id: &str) -> Result<Organization, Problem> {
    directory::organization(read, id)?
        .ok_or_else(|| Problem::not_found(format!("there is no organization {id:?}")))
}

pub(super) async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let rows = api.read(|read, _| Ok(directory::organizations(read)?)).await?;
    page_of(rows.iter().map(row).collect(), &query)
}

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
    let name = if new { Some(members.required("name")) } else { members.text("name") };
    let timezone = members.text("timezone");
    let default_region = members.text("defaultRegion");
    if id.as_deref().is_some_and(|id| !is_id(id)) {
        let message = format!("1 to {ID_CHARS_MAX} letters, digits, `-`, `_` or `.`");
        members.fault("id", message);
    }
    if name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
        members.fault("name", format!("at most {NAME_CHARS_MAX} characters"));
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
    !id.is_empty() && id.len() <= ID_CHARS_MAX && id.chars().all(allowed)
}

pub(super) fn is_zone(zone: &str) -> bool {
    jiff::tz::TimeZone::get(zone).is_ok()
}

pub(super) async fn create(State(api): State<Api>, bytes: Bytes) -> Result<Response, Problem> {
    let wanted = wanted(&bytes, true)?;
    let now = api.now();
    let created = api
        .deps
        .store
        .write(move |txn| -> Result<Organization, Problem> {
            if let Some(id) = &wanted.id
                && directory::organization(txn, id)?.is_some()
            {
                let detail = format!("an organization {id:?} exists already");
                return Err(Problem::conflict("organization.exists", detail));
            }
            let no = directory::next_org_no(txn)?;
            let organization = Organization {
                id: wanted.id.clone().unwrap_or_else(|| format!("org_{}", no.0)),
                no,
                name: wanted.name.clone().unwrap_or_default(),
                timezone: wanted.timezone.clone().unwrap_or_else(|| "UTC".to_owned()),
                default_region: wanted.default_region.clone().unwrap_or_else(|| "IE".to_owned()),
                created_at: now,
                version: 1,
            };
            directory::put_organization(txn, &organization)?;
            Ok(organization)
        })
        .await?;
    let mut response = tagged(created.version, row(&created));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(super) async fn update(
    State(api): State<Api>,
    Path(org): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let id = org.clone();
    api.read(move |read, _| find(read, &id)).await?;
    let if_match = IfMatch::required(&headers)?;
    let wanted = wanted(&bytes, false)?;
    let updated = api
        .deps
        .store
        .write(move |txn| -> Result<Organization, Problem> {
            let mut found = find(txn, &org)?;
            if_match.check(found.version)?;
            found.name = wanted.name.clone().unwrap_or(found.name);
            found.timezone = wanted.timezone.clone().unwrap_or(found.timezone);
            found.default_region = wanted.default_region.clone().unwrap_or(found.default_region);
            found.version += 1;
            directory::put_organization(txn, &found)?;
            Ok(found)
        })
        .await?;
    Ok(tagged(updated.version, row(&updated)))
}

/// An organization goes only when nothing is connected to it any more; its records stay unreachable under its number.
pub(super) async fn delete(
    State(api): State<Api>,
    Path(org): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = org.clone();
    api.read(move |read, _| find(read, &id)).await?;
    let if_match = IfMatch::required(&headers)?;
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let found = find(txn, &org)?;
            if_match.check(found.version)?;
            let live = directory::connections(txn, found.no)?;
            if live.iter().any(|connection| connection.disconnected_at.is_none()) {
                let detail = "disconnect its connectors first";
                return Err(Problem::conflict("organization.connected", detail));
            }
            Ok(directory::delete_organization(txn, &org)?)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
