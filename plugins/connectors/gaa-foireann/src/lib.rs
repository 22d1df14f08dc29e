//! Members of a club from a Foireann-style API: a paged JSON list and a detail for each member.
//!
//! A profile and not a client of one server: base URL, path templates, parameter names and field names are settings.
//! Values are passed on as given; mapping and validation are the host's.

#![deny(unsafe_code)]

mod answer;
mod config;
mod decode;
mod hook;
mod json;
mod manifest;
mod record;
mod url;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use syncline_plugin_sdk::http::{self, Request};
use syncline_plugin_sdk::{
    Connector, ConnectorManifest, Context, Delivery, Error, Event, Fetch, Mode, Page, PageBuilder,
    PageRequest, Result, Value, Webhook,
};

use crate::answer::Subject;
use crate::config::{Config, PAGE_SIZE_MAX};
use crate::decode::{Found, Listing};
use crate::record::Plan;

const LIST: (&str, &str) = ("membershipList", "/clubs/{clubId}/members");
const DETAIL: (&str, &str) = ("memberDetail", "/members/{memberId}");

/// See the crate's documentation.
#[derive(Debug)]
pub struct GaaFoireann;

impl Connector for GaaFoireann {
    type Config = Config;

    fn manifest() -> ConnectorManifest {
        manifest::manifest()
    }

    fn check(context: &Context<Config>) -> Result<()> {
        let plan = Plan::new(&context.config)?;
        read_list(context, &plan, &Position { page: 1, limit: 1 }).map(drop)
    }

    fn fetch_page(request: &PageRequest<Config>) -> Result<Page> {
        require_member(&request.entity)?;
        if request.mode != Mode::Full {
            return Err(Error::Unsupported(
                "this server lists all members and cannot list changes".to_owned(),
            ));
        }
        if let Some(filter) = request.filters.first() {
            return Err(Error::Unsupported(format!(
                "the filter `{filter}`: this server cannot apply it"
            )));
        }
        let context = &request.context;
        let plan = Plan::new(&context.config)?;
        let position = Position::of(request)?;
        let Listing { page, count, total, more } = read_list(context, &plan, &position)?;
        if count > usize::try_from(request.records_max).unwrap_or(usize::MAX) {
            return Err(Error::BadResponse(format!(
                "page {} holds {count} records although {} were asked for: is `limitParam` right?",
                position.page, position.limit
            )));
        }
        // Without a word about more pages only an empty page is an end, or a first page that holds all there are.
        let complete = position.page == 1 && total.is_some_and(|total| total <= count as u64);
        let next = more.unwrap_or(count > 0 && !complete).then(|| position.next());
        if let Some(next) = &next {
            http::prefetch(list_request(context, next)?);
        }
        let mut page = page.next(next.map(|next| next.cursor())).total(total).build();
        if plan.health {
            add_health_data(context, &plan, &mut page)?;
        }
        Ok(page)
    }
}

impl Fetch for GaaFoireann {
    fn by_ids(context: &Context<Config>, entity: &str, ids: &[String]) -> Result<Page> {
        require_member(entity)?;
        let plan = Plan::new(&context.config)?;
        let mut page = PageBuilder::new(&plan.fields());
        for id in ids {
            read_detail(context, &plan, id, &mut page)?;
        }
        Ok(page.build())
    }
}

impl Webhook for GaaFoireann {
    fn parse(delivery: &Delivery<Config>) -> Result<Vec<Event>> {
        hook::events(&delivery.body)
    }
}

syncline_plugin_sdk::export_connector!(GaaFoireann with fetch, webhook);

/// Where in the listing a page is. The limit travels with the page number, because the number means nothing under
/// another limit.
#[derive(Debug)]
struct Position {
    page: u64,
    limit: u32,
}

impl Position {
    fn of(request: &PageRequest<Config>) -> Result<Self> {
        let size = request.context.config.page_size;
        if !(1..=PAGE_SIZE_MAX).contains(&size) {
            return Err(Error::config("/pageSize", format!("must be 1 to {PAGE_SIZE_MAX}")));
        }
        let Some(cursor) = &request.cursor else {
            return Ok(Self { page: 1, limit: size.min(request.records_max).max(1) });
        };
        let (page, limit) = cursor.split_once(':').ok_or(Error::CursorExpired)?;
        let page = page.parse().map_err(|_| Error::CursorExpired)?;
        let limit = limit.parse().map_err(|_| Error::CursorExpired)?;
        if page == 0 || page == u64::MAX || limit == 0 || limit > request.records_max {
            return Err(Error::CursorExpired);
        }
        Ok(Self { page, limit })
    }

    fn next(&self) -> Self {
        Self { page: self.page + 1, limit: self.limit }
    }

    fn cursor(&self) -> String {
        format!("{}:{}", self.page, self.limit)
    }
}

fn require_member(entity: &str) -> Result<()> {
    if entity == manifest::ENTITY {
        return Ok(());
    }
    Err(Error::Unsupported(format!(
        "the entity `{entity}`: this connector has `{}` only",
        manifest::ENTITY
    )))
}

fn list_request(context: &Context<Config>, position: &Position) -> Result<Request> {
    let config = &context.config;
    let url = url::endpoint(context, LIST, None)?;
    let (page, limit) = (position.page.to_string(), position.limit.to_string());
    let url = url::with_query(url, &[(&config.page_param, &page), (&config.limit_param, &limit)]);
    Ok(http::get(url).header("Accept", "application/json"))
}

fn read_list(context: &Context<Config>, plan: &Plan, position: &Position) -> Result<Listing> {
    let subject = Subject::List {
        page: position.page,
        club: context.organization.as_deref().unwrap_or_default(),
    };
    let response = list_request(context, position)?
        .send()
        .map_err(|failure| Error::from(failure).at(subject))?;
    let body = answer::json_text(&response, &subject)?;
    decode::listing(body, plan, &context.config).map_err(|error| error.at(subject))
}

/// Reads one member into the page: a row, a reject, or nothing where the server does not know it.
fn read_detail(
    context: &Context<Config>,
    plan: &Plan,
    id: &str,
    page: &mut PageBuilder,
) -> Result<()> {
    // No path can name these, so that no such member can exist.
    if url::is_unnameable(id) {
        return Ok(());
    }
    let subject = Subject::Detail;
    let url = url::endpoint(context, DETAIL, Some(id))?;
    let request = http::get(url).header("Accept", "application/json");
    let response = request.send().map_err(|failure| Error::from(failure).at(subject))?;
    if matches!(response.status, 404 | 410) {
        return Ok(());
    }
    let body = answer::json_text(&response, &subject)?;
    match decode::detail(body, plan, &context.config).map_err(|error| error.at(subject))? {
        Found::Row(member) if member.id() != id => {
            let reason =
                format!("the server was asked for this member and answered with `{}`", member.id());
            page.reject(Some(id.to_owned()), reason, "");
            Ok(())
        }
        Found::Row(member) => member.add_to(page),
        Found::Reject { reason, raw } => {
            page.reject(Some(id.to_owned()), reason, raw);
            Ok(())
        }
    }
}

/// Fills the health data from the details of those members whose list entry says nothing about them.
fn add_health_data(context: &Context<Config>, plan: &Plan, page: &mut Page) -> Result<()> {
    let health = plan.health_range();
    let mut rows = page.rows();
    for row in &mut rows {
        let Some(slots) = row.values.get_mut(health.clone()) else {
            continue;
        };
        if row.deleted || slots.iter().any(|value| *value != Value::Absent) {
            continue;
        }
        let mut detail = PageBuilder::new(&plan.fields());
        read_detail(context, plan, &row.id, &mut detail)?;
        let detail = detail.build().rows();
        if let Some(found) = detail.first().and_then(|row| row.values.get(health.clone())) {
            slots.clone_from_slice(found);
        }
    }
    page.set_rows(rows)
}
