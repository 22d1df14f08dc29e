//! Lists: `{items, nextCursor}`, with `cursor` and `limit`.
//!
//! A cursor is opaque: the position behind the last row, bound to the list and the filters that it belongs to. A list is
//! read from there by index, and a filter looks at a bounded number of rows before it answers what it has.

use super::problem::Problem;
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

pub(crate) const LIMIT_MAX: usize = 200;
const LIMIT_DEFAULT: usize = 50;
/// How many rows one page looks at: a filter that few rows pass continues behind its cursor.
const ROWS_SEEN_MAX: usize = 10_000;
const SCOPE_BYTES: usize = 8;

/// The query of a request, each parameter once, with the path that it belongs to.
pub(crate) struct Parameters {
    path: String,
    pairs: BTreeMap<String, String>,
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Parameters, Problem> {
        let mut pairs = BTreeMap::new();
        let query = parts.uri.query().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if pairs.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Problem::invalid_at(&format!("?{name}"), "is there more than once"));
            }
        }
        Ok(Parameters { path: parts.uri.path().to_owned(), pairs })
    }
}

/// The query of a list: known parameters only.
pub(crate) struct Query {
    parameters: BTreeMap<String, String>,
    /// What a cursor of this list begins with.
    scope: [u8; SCOPE_BYTES],
}

impl Query {
    /// 422 for a parameter that the list does not know: a filter that is ignored would be a lie.
    pub(crate) fn new(parameters: Parameters, known: &[&str]) -> Result<Query, Problem> {
        let Parameters { path, pairs } = parameters;
        for name in pairs.keys() {
            if !known.contains(&name.as_str()) && !is_paging(name) {
                let known = known.iter().chain(&["cursor", "limit"]).copied().collect::<Vec<_>>();
                let message = format!("is not known here; known are {}", known.join(", "));
                return Err(Problem::invalid_at(&format!("?{name}"), message));
            }
        }
        Ok(Query { scope: scope(&path, &pairs), parameters: pairs })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that is one of these words, or left out.
    pub(crate) fn word(&self, name: &str, words: &[&str]) -> Result<Option<&str>, Problem> {
        let given = self.parameters.get(name).map(String::as_str);
        if given.is_some_and(|given| !words.contains(&given)) {
            let message = format!("must be one of {}", words.join(", "));
            return Err(Problem::invalid_at(&format!("?{name}"), message));
        }
        Ok(given)
    }

    pub(crate) fn parsed<T: std::str::FromStr>(
        &self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, Problem> {
        let given = self.parameters.get(name);
        given
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

    /// The position that this list put into the cursor.
    pub(crate) fn cursor<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        let Some(cursor) = self.get("cursor") else {
            return Ok(None);
        };
        let position = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            let (scope, position) = bytes.split_first_chunk::<SCOPE_BYTES>()?;
            let text = std::str::from_utf8(position).ok().filter(|_| *scope == self.scope)?;
            text.parse().ok()
        };
        let wrong = "must be the `nextCursor` of the page before, with the same filters";
        position().map(Some).ok_or_else(|| Problem::invalid_at("?cursor", wrong))
    }

    /// The cursor behind a position.
    pub(crate) fn seal(&self, position: &impl std::fmt::Display) -> String {
        let mut bytes = self.scope.to_vec();
        bytes.extend_from_slice(position.to_string().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// A page of rows that were read behind the cursor, one more than the limit where there are more. `position` names
    /// the row behind which the next page begins.
    pub(crate) fn page_behind<T, P: std::fmt::Display>(
        &self,
        mut rows: Vec<T>,
        limit: usize,
        position: impl Fn(&T) -> P,
        show: impl FnMut(&T) -> Result<Value, Problem>,
    ) -> Result<Json<Value>, Problem> {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| self.seal(&position(last)));
        let items = rows.iter().map(show).collect::<Result<Vec<_>, _>>()?;
        Ok(Json(json!({ "items": items, "nextCursor": next })))
    }

    /// A page as it was gathered, row by row.
    pub(crate) fn page<T, P: std::fmt::Display>(
        &self,
        gathered: Gathered<T, P>,
        row: impl FnMut(T) -> Result<Value, Problem>,
    ) -> Result<Json<Value>, Problem> {
        let next = gathered.last.filter(|_| gathered.more).map(|last| self.seal(&last));
        let items = gathered.rows.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
        Ok(Json(json!({ "items": items, "nextCursor": next })))
    }
}

fn is_paging(name: &str) -> bool {
    matches!(name, "cursor" | "limit")
}

fn scope(path: &str, pairs: &BTreeMap<String, String>) -> [u8; SCOPE_BYTES] {
    let mut hash = Sha256::new();
    hash.update(path);
    for (name, value) in pairs.iter().filter(|(name, _)| !is_paging(name)) {
        hash.update([0]);
        hash.update(name);
        hash.update([0]);
        hash.update(value);
    }
    let digest: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default())
}

/// The rows of one page while a scan offers them.
pub(crate) struct Gathered<T, P> {
    rows: Vec<T>,
    limit: usize,
    seen: usize,
    /// The position of the last row that needs no second look.
    last: Option<P>,
    more: bool,
}

impl<T, P> Gathered<T, P> {
    pub(crate) fn new(limit: usize) -> Gathered<T, P> {
        Gathered { rows: Vec::new(), limit, seen: 0, last: None, more: false }
    }

    /// Takes a row if it is wanted; breaks when the page is full or enough was looked at.
    pub(crate) fn offer(&mut self, position: P, row: T, is_wanted: bool) -> ControlFlow<()> {
        if is_wanted && self.rows.len() == self.limit {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.seen += 1;
        self.last = Some(position);
        if is_wanted {
            self.rows.push(row);
        }
        if self.seen == ROWS_SEEN_MAX {
            self.more = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// A page of rows that are all in memory, and few; the position is an offset.
pub(crate) fn page_of(rows: Vec<Value>, query: &Query) -> Result<Json<Value>, Problem> {
    let (limit, offset) = (query.limit()?, query.cursor::<usize>()?.unwrap_or(0));
    let next = offset.saturating_add(limit);
    let more = rows.len() > next;
    let items: Vec<Value> = rows.into_iter().skip(offset).take(limit).collect();
    Ok(Json(json!({ "items": items, "nextCursor": more.then(|| query.seal(&next)) })))
}

/// A position that is the key of an index, in hex.
pub(crate) struct IndexKey(pub(crate) Vec<u8>);

impl std::fmt::Display for IndexKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl std::str::FromStr for IndexKey {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<IndexKey, hex::FromHexError> {
        hex::decode(text).map(IndexKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(path: &str, pairs: &[(&str, &str)]) -> Query {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let parameters = Parameters { path: path.to_owned(), pairs: pairs.collect() };
        Query::new(parameters, &["status", "q"]).unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    #[test]
    fn a_cursor_belongs_to_its_list_and_filters() {
        let sealed = query("/a", &[("status", "x"), ("limit", "5")]).seal(&42);
        let position = |path: &str, pairs: &[(&str, &str)]| {
            let mut pairs = pairs.to_vec();
            pairs.push(("cursor", &sealed));
            query(path, &pairs).cursor::<u64>().ok().flatten()
        };
        assert_eq!(position("/a", &[("status", "x")]), Some(42));
        assert_eq!(position("/a", &[("status", "x"), ("limit", "9")]), Some(42));
        assert_eq!(position("/a", &[("status", "y")]), None);
        assert_eq!(position("/a", &[]), None);
        assert_eq!(position("/b", &[("status", "x")]), None);
    }

    #[test]
    fn a_broken_cursor_is_refused() {
        for cursor in ["42", "run_1", "%%%", "AAAA", "AAAAAAAAAAAA", "\0"] {
            assert!(query("/a", &[("cursor", cursor)]).cursor::<u64>().is_err(), "{cursor:?}");
        }
    }

    #[test]
    fn a_page_ends_at_its_limit_or_where_enough_was_seen() {
        #[track_caller]
        fn check(rows: usize, limit: usize, every: usize, expect: (usize, Option<usize>)) {
            let mut gathered = Gathered::new(limit);
            for at in 0..rows {
                if gathered.offer(at, at, at % every == 0).is_break() {
                    break;
                }
            }
            let next = gathered.last.filter(|_| gathered.more);
            assert_eq!((gathered.rows.len(), next), expect);
        }
        check(0, 2, 1, (0, None));
        check(2, 2, 1, (2, None));
        check(3, 2, 1, (2, Some(1)));
        // The rows between the second and the third that is wanted were looked at.
        check(9, 2, 4, (2, Some(7)));
        check(8, 2, 4, (2, None));
        check(ROWS_SEEN_MAX + 1, 2, ROWS_SEEN_MAX * 2, (1, Some(ROWS_SEEN_MAX - 1)));
    }
}
