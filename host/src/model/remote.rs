//! What a connector answers: pages of rows by position, and failures that say what the host does next.

use super::rows::Rows;
use super::value::Value;

/// One page of a listing. The cells of its rows follow `fields` by position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemotePage {
    pub fields: Vec<String>,
    pub rows: Rows,
    /// Cursor of the next page; none ends the listing.
    pub next: Option<String>,
    pub checkpoint: Option<String>,
    /// How many rows the remote claims in all.
    pub total: Option<u64>,
    pub rejects: Vec<Reject>,
}

/// One row, unpacked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteRow {
    /// External id, unique within (connection, entity).
    pub id: String,
    /// Other ids under which a local record may know it: (kind, value).
    pub aliases: Vec<(String, String)>,
    /// RFC 3339.
    pub updated_at: Option<String>,
    pub version: Option<String>,
    pub deleted: bool,
    pub values: Vec<Value>,
}

/// A row that the connector could not read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    pub id: Option<String>,
    pub reason: String,
    pub raw: String,
}

/// A request for one page.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    pub entity: String,
    /// `full` or `incremental`.
    pub mode: String,
    pub since: Option<String>,
    pub checkpoint: Option<String>,
    /// JSON text.
    pub filters: Option<String>,
    pub cursor: Option<String>,
    pub records_max: u32,
}

/// The same for every call of a run.
#[derive(Clone, Debug, Default)]
pub struct CallContext {
    /// JSON text, valid against the manifest's schema, without the host's keys.
    pub config: String,
    /// (name, URL or path template).
    pub endpoints: Vec<(String, String)>,
    pub organization: Option<String>,
    /// RFC 3339.
    pub started_at: String,
    pub extras: Vec<(String, String)>,
}

/// An issue without a pointer is about the settings as a whole.
fn in_words(issues: &[(String, String)]) -> String {
    let words = issues.iter().map(|(pointer, message)| match pointer.as_str() {
        "" => message.clone(),
        pointer => format!("{pointer}: {message}"),
    });
    words.collect::<Vec<_>>().join("; ")
}

/// What a plugin reports instead of a page: the case decides what the host does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    #[error("the remote system refused the credentials: {0}")]
    Auth(String),
    #[error("the remote system asks to slow down{}", .0.map(|s| format!(" for {s} s")).unwrap_or_default())]
    RateLimited(Option<u32>),
    #[error("the remote system is unavailable: {0}")]
    Unavailable(String),
    /// (JSON pointer, message) of each setting that is wrong.
    #[error("the connector's settings are wrong: {}", in_words(.0))]
    Config(Vec<(String, String)>),
    #[error("the answer cannot be understood: {0}")]
    BadResponse(String),
    #[error("the position in the listing is no longer known to the remote system")]
    CursorExpired,
    #[error("not found: {0}")]
    NotFound(String),
    #[error("not supported by this connector: {0}")]
    Unsupported(String),
    #[error("{0}")]
    Other(String),
}
