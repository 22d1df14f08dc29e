//! Lists: `{items, nextCursor}`, with `cursor` and `limit`.

use super::problem::Problem;
use axum::Json;
use serde_json::{Value, json};
use std::collections::HashMap;

pub(crate) const LIMIT_MAX: usize = 200;
const LIMIT_DEFAULT: usize = 50;

/// The query of a list: known parameters only, each once.
pub(crate) struct Query {
    parameters: HashMap<String, String>,
}

impl Query {
    /// 422 for a parameter that the list does not know: a filter that is ignored would be a lie.
    pub(crate) fn new(
        parameters: HashMap<String, String>,
        known: &[&str],
    ) -> Result<Query, Problem> {
        for name in parameters.keys() {
            if !known.contains(&name.as_str()) && !matches!(name.as_str(), "cursor" | "limit") {
                let message = format!("is not known here; known are {}", known.join(", "));
                return Err(Problem::invalid_at(&format!("?{name}"), message));
            }
        }
        Ok(Query { parameters })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn parsed<T: std::str::FromStr>(
        &self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, Problem> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Problem::invalid_at(&format!("?{name}"), format!("must be {what}"))
                })
            })
            .transpose()
    }

    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let limit = self.parsed::<usize>("limit", "a number from 1 to 200")?;
        match limit.unwrap_or(LIMIT_DEFAULT) {
            0 => Err(Problem::invalid_at("?limit", "must be a number from 1 to 200")),
            limit => Ok(limit.min(LIMIT_MAX)),
        }
    }

    /// The cursor, in the form in which this list made it.
    pub(crate) fn cursor<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        self.parsed("cursor", "the `nextCursor` of the page before")
    }
}

pub(crate) fn page(items: Vec<Value>, next: Option<String>) -> Json<Value> {
    Json(json!({ "items": items, "nextCursor": next }))
}

/// A page of rows that are all in memory; the cursor is the offset.
pub(crate) fn page_of(rows: Vec<Value>, query: &Query) -> Result<Json<Value>, Problem> {
    let (limit, offset) = (query.limit()?, query.cursor::<usize>()?.unwrap_or(0));
    let more = rows.len() > offset.saturating_add(limit);
    let items = rows.into_iter().skip(offset).take(limit).collect();
    Ok(page(items, more.then(|| (offset + limit).to_string())))
}
