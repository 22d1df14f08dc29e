//! What can go wrong in a connector; each case says what the host does next.

use std::fmt;

use crate::http::Failure;

/// The result of everything a connector does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a connector could not answer. Messages are read by people: say what is wrong and what to do, and leave
/// personal data out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Credentials refused: the run stops and a person is asked.
    Auth(String),
    /// The host waits that many seconds if given, else backs off; costs no attempt.
    RateLimited(Option<u32>),
    /// Timeout, 5xx, broken connection: the host tries again later.
    Unavailable(String),
    /// The connector's settings are wrong: the run stops.
    Config(Vec<ConfigIssue>),
    /// An answer that cannot be understood: the run fails.
    BadResponse(String),
    /// The cursor is no longer known: the host starts over with a full sync.
    CursorExpired,
    /// The organization or record does not exist there.
    NotFound(String),
    /// A filter, mode or entity that this connector cannot do.
    Unsupported(String),
    Other(String),
}

/// One wrong setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigIssue {
    /// JSON pointer into the config (`/pageSize`), empty for all of it.
    pub pointer: String,
    pub message: String,
}

impl Error {
    /// A single wrong setting.
    pub fn config(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config(vec![ConfigIssue { pointer: pointer.into(), message: message.into() }])
    }

    /// Puts `what` (such as `page 3`) before the message of a bad or missing response; other errors stay as they are.
    #[must_use]
    pub fn at(self, what: impl fmt::Display) -> Self {
        match self {
            Self::BadResponse(message) => Self::BadResponse(format!("{what}: {message}")),
            Self::Unavailable(message) => Self::Unavailable(format!("{what}: {message}")),
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth(message) => write!(f, "credentials refused: {message}"),
            Self::RateLimited(Some(seconds)) => write!(f, "rate limited, retry after {seconds} s"),
            Self::RateLimited(None) => f.write_str("rate limited"),
            Self::Unavailable(message) => write!(f, "unavailable: {message}"),
            Self::Config(issues) => {
                f.write_str("wrong configuration")?;
                for issue in issues {
                    write!(f, "; {}: {}", issue.pointer, issue.message)?;
                }
                Ok(())
            }
            Self::BadResponse(message) => write!(f, "bad response: {message}"),
            Self::CursorExpired => f.write_str("the cursor is no longer valid"),
            Self::NotFound(message) => write!(f, "not found: {message}"),
            Self::Unsupported(message) => write!(f, "unsupported: {message}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(reason) => {
                Self::config("", format!("the host refused the request: {reason}"))
            }
            Failure::Timeout => Self::Unavailable("the server did not answer in time".to_owned()),
            Failure::TooLarge(bytes) => Self::BadResponse(format!(
                "the answer is larger than the {bytes} bytes that the host allows"
            )),
            Failure::Network(reason) => Self::Unavailable(reason),
            Failure::Stopped => Self::Other("the host stopped the call".to_owned()),
        }
    }
}

impl From<serde_json::Error> for Error {
    /// Names the place and never the content: serde's own message quotes values, which may be personal data.
    fn from(error: serde_json::Error) -> Self {
        use serde_json::error::Category;
        let what = match error.classify() {
            Category::Eof => "the JSON ends too early",
            Category::Syntax => "the answer is not valid JSON",
            Category::Data => "the JSON does not have the expected shape",
            Category::Io => "the answer could not be read",
        };
        Self::BadResponse(format!("{what} (line {}, column {})", error.line(), error.column()))
    }
}
