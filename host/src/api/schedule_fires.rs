//! What a schedule will do and what it did: its next nominal fires, and the list of those that were.

use super::paging::{Gathered, Parameters, Query};
use super::problem::Problem;
use super::schedule_view::seen_connection;
use super::schedules::find;
use super::schema;
use super::{Api, Caller};
use crate::clock;
use crate::model::schedule::{Fire, Outcome};
use crate::store::schedules;
use crate::trigger::upcoming;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

const COUNT_MAX: usize = 200;
const COUNT_DEFAULT: usize = 5;

/// The next fires at their nominal times, over all time zones that the schedule meets.
#[utoipa::path(
    get, path = "/sync/schedules/{id}/next", tag = "schedules",
    params(schema::NextFilter),
    responses((status = 200, body = schema::Page<schema::NextFire>))
)]
pub(super) async fn next(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["count"])?;
    let count = query.parsed::<usize>("count", "a number from 1 to 200")?;
    let count = count.unwrap_or(COUNT_DEFAULT);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(Problem::invalid_at("?count", "must be a number from 1 to 200"));
    }
    let now = api.now();
    api.read(move |read, _| {
        let schedule = find(read, &id)?;
        let only = seen_connection(read, caller.reach(), &schedule)?;
        let found = upcoming(read, &schedule, only, now, count)?;
        let items = found.iter().map(|next| {
            let zone = TimeZone::get(&next.zone).unwrap_or(TimeZone::UTC);
            json!({
                "nominalAt": clock::to_text(next.nominal.as_millisecond()),
                "localTime": next.nominal.to_zoned(zone).to_string(),
                "timezone": next.zone,
            })
        });
        Ok(Json(json!({ "items": items.collect::<Vec<_>>(), "nextCursor": null })))
    })
    .await
}

fn row(fire: &Fire) -> Value {
    json!({
        "number": fire.number,
        "organizationId": fire.organization.id,
        "connectionId": fire.connection,
        "outcome": fire.outcome,
        "nominalAt": fire.nominal_at.map(clock::to_text),
        "nominalFrom": fire.nominal_from.map(clock::to_text),
        "dueAt": fire.due_at.map(clock::to_text),
        "at": clock::to_text(fire.at),
        "count": fire.count,
        "syncId": fire.run,
        "joined": fire.joined,
        "code": fire.code,
        "reason": fire.reason,
        "by": fire.by,
    })
}

/// What became of the fires of a schedule, newest first.
#[utoipa::path(
    get, path = "/sync/schedules/{id}/fires", tag = "schedules",
    params(schema::FireFilter, schema::Paging),
    responses((status = 200, body = schema::Page<schema::Fire>))
)]
pub(super) async fn fires(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["organization", "outcome"])?;
    let (mut found, before) = (Gathered::new(query.limit()?), query.cursor::<u64>()?);
    let outcome = query.word("outcome", &Outcome::ALL.map(Outcome::as_str))?.map(str::to_owned);
    let organization = query.get("organization").map(str::to_owned);
    api.read(move |read, _| {
        let org = caller.reach().narrow(read, organization.as_deref())?;
        let schedule = find(read, &id)?;
        schedules::scan_fires(read, schedule.id, before, &mut |fire| {
            let wanted = org.is_none_or(|org| org == fire.organization.no)
                && outcome.as_ref().is_none_or(|wanted| wanted == fire.outcome.as_str());
            found.offer(fire.number, fire, wanted)
        })?;
        query.page(found, |fire| Ok(row(&fire)))
    })
    .await
}
