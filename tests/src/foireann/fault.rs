//! Rules: which request goes wrong, how, and how often.
//!
//! Owns the vocabulary of faults, which is also the JSON of the control surface, and the
//! counting. What a fault does to an answer is in [`super::sabotage`].

use serde::{Deserialize, Serialize};

/// One scripted fault.
///
/// JSON: `{"match": {"page": 3, "times": 1}, "fault": {"kind": "status", "status": 503}}`. Of the
/// rules that match a request, the first with a turn left fires, and only that one; so two rules
/// with `times` 1 on the same page fire one after the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(rename = "match", default)]
    pub when: When,
    pub fault: Fault,
}

/// What a request must look like; a field that is not set matches everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct When {
    /// The path below the base, with `*` for any run of characters: `/clubs/*/members`.
    pub path: Option<String>,
    pub club: Option<String>,
    /// The page of a listing; a request without `page` asks for page 1.
    pub page: Option<u64>,
    /// The member of a detail request.
    pub member_id: Option<String>,
    /// Fire from the n-th matching request on (1-based, counted from when the rule was added).
    pub nth: Option<u64>,
    /// Fire so often, then never again. Default: once with `nth`, else without end.
    pub times: Option<u64>,
}

/// What goes wrong. Faults on rows and pages concern listings only; row numbers are 0-based
/// within the page that is answered, and a row past the end means the last one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Fault {
    /// All of these on one answer.
    Several { faults: Vec<Fault> },

    /// Another status instead of the answer.
    Status {
        status: u16,
        #[serde(default)]
        retry_after: Option<RetryAfter>,
        #[serde(default)]
        body: ErrorBody,
    },
    /// An HTML page (a login form), with 200 or any other status.
    Html { status: u16 },
    /// `{status, message}` with HTTP 200.
    ErrorBody,
    /// Any bytes as the body; `hex` wins over `text`.
    Body {
        #[serde(default = "ok")]
        status: u16,
        #[serde(default = "json_type")]
        content_type: String,
        #[serde(default)]
        text: String,
        #[serde(default)]
        hex: Option<String>,
    },
    /// A redirect; the target is sent as given, so it can name another host or a private address.
    Redirect { status: u16, location: String },
    /// The request's headers (credentials too) inside the error message, or with status 200 in the
    /// first row's `address`: a federation that gives away what it was told.
    EchoHeaders { status: u16 },
    /// Adds or replaces a header of the answer.
    Header { name: String, value: String },
    /// Shifts the answer's `Date` header: a federation whose clock is wrong.
    ClockSkew { seconds: i64 },

    /// Waits before the answer.
    Delay { ms: u64 },
    /// Never answers; holds the connection until the client gives up.
    Hang,
    /// Sends the body (and with `head` the head too) in small pieces with pauses.
    SlowLoris {
        piece_bytes: usize,
        pause_ms: u64,
        #[serde(default)]
        head: bool,
    },
    /// Ends the connection where it should not end: by reset, or quietly.
    Cut { moment: Moment, reset: bool },
    /// The first `keep_bytes` of the JSON as a complete answer (its length is consistent).
    TruncatedJson { keep_bytes: usize },
    /// Something that is not HTTP.
    NotHttp { text: String },
    /// Head lines without end.
    EndlessHead,
    /// One header of so many bytes.
    HugeHeader { bytes: usize },
    /// A legal answer in chunked coding without a length.
    Chunked { piece_bytes: usize },
    /// So many bytes of well-formed list answer: one row that is repeated under the same id.
    BigBody { bytes: u64 },
    /// A gzip body that unpacks to so many bytes.
    GzipBomb { unpacked_bytes: u64 },

    /// `hasMore` is true for ever.
    EndlessCursor { cursor: Cursor },
    /// `hasMore` says this, whatever is true.
    HasMore { value: bool },
    /// `totalCount` is off by so much, plus `per_page_drift` x page: a total that changes.
    TotalCount {
        #[serde(default)]
        off_by: i64,
        #[serde(default)]
        per_page_drift: i64,
    },
    /// No rows, with this `hasMore`.
    EmptyPage { has_more: bool },
    /// The page's first rows are repeated at its end; `changed` gives the copies another name.
    DuplicateRows { count: usize, changed: bool },
    /// Rows move before this page is cut: a list that changes while it is read. Lasting.
    Shuffle { shuffle: Shuffle },

    /// Replaces a row by any text, JSON or not.
    ReplaceRow { row: usize, text: String },
    /// Replaces a row by a text in hex, for bytes that are not UTF-8.
    ReplaceRowHex { row: usize, hex: String },
    /// Removes a field of a row (`memberId`: a record without an id).
    RemoveField { row: usize, field: String },
    /// Sets a field of a row to any JSON text: wrong types, numbers past 2^53, `"\ud83d"`.
    SetField {
        row: usize,
        field: String,
        json: String,
    },
    /// Sets a field to so many letters.
    HugeField {
        row: usize,
        field: String,
        bytes: usize,
    },
    /// Sets a field to lists within lists.
    DeepField {
        row: usize,
        field: String,
        depth: usize,
    },
    /// Puts the byte 0xFF into a row's first name.
    InvalidUtf8 { row: usize },
}

/// The form of a `Retry-After` header.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryAfter {
    Seconds(u64),
    /// An HTTP-date so many seconds from now.
    DateInSeconds(i64),
    /// As given: nonsense, a year, a negative number.
    Raw(String),
}

/// The body of an error status.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorBody {
    /// `{status, message}`, as the federation's own errors.
    #[default]
    Json,
    Html,
    Empty,
    Text(String),
}

/// Where a connection is cut.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    BeforeHead,
    AfterHead,
    /// After so many bytes of the body.
    AfterBytes(usize),
    /// In the middle of the body.
    MidBody,
}

/// How a cursor never ends.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cursor {
    /// Past the real end there are always new members.
    NewIds,
    /// Every page is page 1.
    SamePage,
    /// Past the real end there are empty pages.
    EmptyPages,
}

/// How rows move between pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Shuffle {
    /// The list loses its first rows: later rows move towards pages that were read already.
    DropFirst(usize),
    /// New members (numbers from 5,000,000) come first: rows that were read appear again.
    InsertFirst(usize),
    /// One row goes from one 0-based place of the list to another.
    Move { from: usize, to: usize },
}

fn ok() -> u16 {
    200
}

fn json_type() -> String {
    "application/json".to_owned()
}

impl Rule {
    /// For every request of the API.
    pub fn any(fault: Fault) -> Rule {
        Rule {
            when: When::default(),
            fault,
        }
    }

    /// For the listings of every club, whatever the page.
    pub fn listing(fault: Fault) -> Rule {
        Rule::path("/clubs/*/members", fault)
    }

    /// For a page (1-based) of any listing.
    pub fn page(page: u64, fault: Fault) -> Rule {
        Rule {
            when: When {
                page: Some(page),
                ..When::default()
            },
            fault,
        }
    }

    /// For the detail request of a member.
    pub fn member(id: &str, fault: Fault) -> Rule {
        Rule {
            when: When {
                member_id: Some(id.to_owned()),
                ..When::default()
            },
            fault,
        }
    }

    /// For a path below the base, `*` matching anything: `/members.csv`.
    pub fn path(path: &str, fault: Fault) -> Rule {
        Rule {
            when: When {
                path: Some(path.to_owned()),
                ..When::default()
            },
            fault,
        }
    }

    /// Only for this club.
    pub fn club(mut self, club: &str) -> Rule {
        self.when.club = Some(club.to_owned());
        self
    }

    /// From the n-th matching request on (1-based).
    pub fn nth(mut self, nth: u64) -> Rule {
        self.when.nth = Some(nth);
        self
    }

    /// So often, then never again.
    pub fn times(mut self, times: u64) -> Rule {
        self.when.times = Some(times);
        self
    }

    /// One shot.
    pub fn once(self) -> Rule {
        self.times(1)
    }
}

impl Fault {
    /// A status with the federation's own error body and no `Retry-After`.
    pub fn status(status: u16) -> Fault {
        Fault::Status {
            status,
            retry_after: None,
            body: ErrorBody::Json,
        }
    }

    /// 429 with a `Retry-After`.
    pub fn too_many(retry_after: RetryAfter) -> Fault {
        Fault::Status {
            status: 429,
            retry_after: Some(retry_after),
            body: ErrorBody::Json,
        }
    }

    /// A status with an HTML body, as a proxy in front would answer.
    pub fn html_error(status: u16) -> Fault {
        Fault::Status {
            status,
            retry_after: None,
            body: ErrorBody::Html,
        }
    }

    /// A redirect to a path or an URL.
    pub fn redirect(status: u16, location: &str) -> Fault {
        Fault::Redirect {
            status,
            location: location.to_owned(),
        }
    }

    /// A row's field set to a JSON value.
    pub fn set_field(row: usize, field: &str, value: &serde_json::Value) -> Fault {
        Fault::SetField {
            row,
            field: field.to_owned(),
            json: value.to_string(),
        }
    }

    /// The fault as a flat list, in order.
    pub fn flat(self) -> Vec<Fault> {
        match self {
            Fault::Several { faults } => faults.into_iter().flat_map(Fault::flat).collect(),
            one => vec![one],
        }
    }
}

/// What the rules look at.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Below the base path, without the query.
    pub path: String,
    pub club: Option<String>,
    pub page: Option<u64>,
    pub member_id: Option<String>,
}

/// The rules in force, with their counts.
#[derive(Default)]
pub struct RuleBook {
    entries: Vec<Entry>,
}

struct Entry {
    rule: Rule,
    matched: u64,
    fired: u64,
}

/// A rule as the control surface shows it.
#[derive(Debug, Serialize)]
pub struct RuleState<'a> {
    #[serde(flatten)]
    pub rule: &'a Rule,
    /// Requests that matched, whether it fired or not.
    pub matched: u64,
    pub fired: u64,
}

impl RuleBook {
    pub fn add(&mut self, rule: Rule) {
        self.entries.push(Entry {
            rule,
            matched: 0,
            fired: 0,
        });
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn states(&self) -> impl Iterator<Item = RuleState<'_>> {
        self.entries.iter().map(|entry| RuleState {
            rule: &entry.rule,
            matched: entry.matched,
            fired: entry.fired,
        })
    }

    /// Counts a request and tells what goes wrong with it, if anything does.
    pub fn strike(&mut self, target: &Target) -> Option<Fault> {
        let mut fault = None;
        for entry in &mut self.entries {
            if !entry.rule.when.matches(target) {
                continue;
            }
            entry.matched += 1;
            if fault.is_none() && entry.has_turn() {
                entry.fired += 1;
                fault = Some(entry.rule.fault.clone());
            }
        }
        fault
    }
}

impl Entry {
    fn has_turn(&self) -> bool {
        let When { nth, times, .. } = self.rule.when;
        let times_max = times.or(nth.map(|_| 1)).unwrap_or(u64::MAX);
        self.matched >= nth.unwrap_or(1) && self.fired < times_max
    }
}

impl When {
    fn matches(&self, target: &Target) -> bool {
        fn same<T: PartialEq>(wanted: Option<&T>, seen: Option<&T>) -> bool {
            wanted.is_none() || wanted == seen
        }
        same(self.club.as_ref(), target.club.as_ref())
            && same(self.page.as_ref(), target.page.as_ref())
            && same(self.member_id.as_ref(), target.member_id.as_ref())
            && self
                .path
                .as_deref()
                .is_none_or(|pattern| glob(pattern, &target.path))
    }
}

/// `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            text.char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .any(|at| glob(rest, &text[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(page: u64) -> Target {
        Target {
            path: "/clubs/club-1/members".to_owned(),
            club: Some("club-1".to_owned()),
            page: Some(page),
            member_id: None,
        }
    }

    fn struck(book: &mut RuleBook, pages: &[u64]) -> Vec<u16> {
        let status = |fault| match fault {
            Some(Fault::Status { status, .. }) => status,
            Some(_) => 1,
            None => 200,
        };
        pages
            .iter()
            .map(|&page| status(book.strike(&listing(page))))
            .collect()
    }

    #[test]
    fn rules_take_turns_and_count_down() {
        let busy = || Fault::status(503);
        let table: [(Vec<Rule>, &[u64], &[u16]); 6] = [
            (
                vec![Rule::page(2, busy()).once()],
                &[1, 2, 2],
                &[200, 503, 200],
            ),
            (
                vec![
                    Rule::page(1, busy()).once(),
                    Rule::page(1, Fault::status(429)).once(),
                ],
                &[1, 1, 1],
                &[503, 429, 200],
            ),
            (
                vec![Rule::listing(busy()).nth(2)],
                &[1, 2, 3],
                &[200, 503, 200],
            ),
            (
                vec![Rule::listing(busy()).nth(2).times(2)],
                &[1, 2, 3, 4],
                &[200, 503, 503, 200],
            ),
            (vec![Rule::any(busy())], &[1, 9], &[503, 503]),
            (
                vec![
                    Rule::any(busy()).club("club-2"),
                    Rule::member("GAA-1", busy()),
                ],
                &[1],
                &[200],
            ),
        ];
        for (case, (rules, pages, statuses)) in table.into_iter().enumerate() {
            let mut book = RuleBook::default();
            rules.into_iter().for_each(|rule| book.add(rule));
            assert_eq!(struck(&mut book, pages), statuses, "case {case}");
        }
    }

    #[test]
    fn paths_match_by_glob() {
        for (pattern, path, matches) in [
            ("/members.csv", "/members.csv", true),
            ("/clubs/*/members", "/clubs/club-9/members", true),
            ("/clubs/*/members", "/clubs/club-9/members.csv", false),
            ("/members/*", "/members/GAA-000001", true),
            ("*", "/anything", true),
        ] {
            assert_eq!(glob(pattern, path), matches, "{pattern} on {path}");
        }
    }

    #[test]
    fn rules_are_plain_json() {
        for text in [
            r#"{"match":{"page":3,"times":1},"fault":{"kind":"status","status":503}}"#,
            r#"{"fault":{"kind":"status","status":429,"retryAfter":{"seconds":2}}}"#,
            r#"{"fault":{"kind":"cut","moment":{"afterBytes":100},"reset":true}}"#,
            r#"{"fault":{"kind":"endlessCursor","cursor":"newIds"}}"#,
            r#"{"match":{"memberId":"GAA-000001"},"fault":{"kind":"slowLoris","pieceBytes":1,"pauseMs":50}}"#,
            r#"{"fault":{"kind":"shuffle","shuffle":{"move":{"from":0,"to":20}}}}"#,
        ] {
            let rule: Rule = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let again = serde_json::to_string(&rule).unwrap();
            serde_json::from_str::<Rule>(&again).unwrap_or_else(|e| panic!("{again}: {e}"));
        }
        assert!(serde_json::from_str::<Rule>(r#"{"fault":{"kind":"status","code":503}}"#).is_err());
        assert!(
            serde_json::from_str::<Rule>(r#"{"match":{"pge":3},"fault":{"kind":"hang"}}"#).is_err()
        );
    }
}
