//! The vocabulary of faults, which is also the JSON of the control surface.
//!
//! Plain data. Which request a fault hits is in [`super::rule`], what it does to an answer in
//! [`super::sabotage`].

use serde::{Deserialize, Serialize};

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
    SetField { row: usize, field: String, json: String },
    /// Sets a field to so many letters.
    HugeField { row: usize, field: String, bytes: usize },
    /// Sets a field to lists within lists.
    DeepField { row: usize, field: String, depth: usize },
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

impl Fault {
    /// A status with the federation's own error body and no `Retry-After`.
    pub fn status(status: u16) -> Fault {
        Fault::Status { status, retry_after: None, body: ErrorBody::Json }
    }

    /// 429 with a `Retry-After`.
    pub fn too_many(retry_after: RetryAfter) -> Fault {
        Fault::Status { status: 429, retry_after: Some(retry_after), body: ErrorBody::Json }
    }

    /// A status with an HTML body, as a proxy in front would answer.
    pub fn html_error(status: u16) -> Fault {
        Fault::Status { status, retry_after: None, body: ErrorBody::Html }
    }

    /// A redirect to a path or an URL.
    pub fn redirect(status: u16, location: &str) -> Fault {
        Fault::Redirect { status, location: location.to_owned() }
    }

    /// A row's field set to a JSON value.
    pub fn set_field(row: usize, field: &str, value: &serde_json::Value) -> Fault {
        Fault::SetField { row, field: field.to_owned(), json: value.to_string() }
    }

    /// The fault as a flat list, in order.
    pub fn flat(self) -> Vec<Fault> {
        match self {
            Fault::Several { faults } => faults.into_iter().flat_map(Fault::flat).collect(),
            one => vec![one],
        }
    }
}
