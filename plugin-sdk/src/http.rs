//! Requests to the remote system.
//!
//! The host adds the credentials, lets only granted hosts and methods through, retries what may be repeated, limits
//! and records. A status of 400 or more is an answer, not a failure: look at [`Response::status`].

use std::fmt;

use crate::Error;

/// Longest piece of a server's own words in a message, in characters.
const WORDS_CHARS_MAX: usize = 200;

/// A request that is being built; [`Request::send`] sends it.
#[must_use = "a request does nothing until it is sent"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Absolute, or a path below the connector's base URL.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    /// Makes a write repeatable: the host may send it again under the same handle.
    pub idempotency: Option<String>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Host or method not granted, a reserved header, or the address is private.
    Denied(String),
    Timeout,
    /// The answer is larger than this many bytes.
    TooLarge(u64),
    Network(String),
    /// The run was cancelled or its budget is spent: return at once.
    Stopped,
}

/// Begins a request of any method that the manifest asks for.
pub fn request(method: &str, url: impl Into<String>) -> Request {
    Request {
        method: method.to_owned(),
        url: url.into(),
        headers: Vec::new(),
        body: None,
        idempotency: None,
    }
}

/// Begins a GET.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

impl Request {
    /// Adds a header. `Authorization`, `Cookie`, `Host` and other headers of the host are refused.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Makes a write repeatable under this handle.
    pub fn idempotency(mut self, handle: impl Into<String>) -> Self {
        self.idempotency = Some(handle.into());
        self
    }

    /// Sends the request and waits for the whole answer.
    pub fn send(self) -> Result<Response, Failure> {
        #[cfg(target_family = "wasm")]
        return crate::guest::send(self);
        #[cfg(not(target_family = "wasm"))]
        return crate::testing::send(self);
    }

    /// Tells the host that this GET will be the next request, so that it may send it while it works on the page that
    /// is about to be returned. The answer waits for an equal request; nothing is lost if none comes.
    pub fn prefetch(self) {
        #[cfg(target_family = "wasm")]
        crate::guest::prefetch(self);
        #[cfg(not(target_family = "wasm"))]
        crate::testing::prefetch(self);
    }
}

/// See [`Request::prefetch`].
pub fn prefetch(request: Request) {
    request.prefetch();
}

impl Response {
    /// The first header of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// `Retry-After` in seconds; `None` where it is missing or says nothing. A plugin has no clock: where the server told a
    /// date, the host tells the seconds until then.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u32> {
        self.header("retry-after")?.trim().parse().ok()
    }

    /// What the status says to do next; `Ok` for 200 only. `subject` names what was asked for (`page 3`), and the
    /// server's own words are added where the body is JSON with a `message`.
    pub fn check_status(&self, subject: impl fmt::Display) -> crate::Result<()> {
        let status = self.status;
        let said = self.words();
        match status {
            200 => Ok(()),
            401 => Err(Error::Auth(format!(
                "{subject}: the server does not accept the credentials (401){said}"
            ))),
            403 => Err(Error::Auth(format!(
                "{subject}: the credentials give no access to this (403){said}"
            ))),
            404 | 410 => Err(Error::NotFound(format!(
                "{subject}: the server does not know it ({status}){said}"
            ))),
            429 => Err(Error::RateLimited(self.retry_after_s())),
            500..=599 => {
                Err(Error::Unavailable(format!("{subject}: the server answered {status}{said}")))
            }
            _ => Err(Error::BadResponse(format!("{subject}: the server answered {status}{said}"))),
        }
    }

    /// The `message` of a JSON error body, as `: message`; empty where there is none.
    fn words(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Said {
            message: String,
        }
        if self.status == 200 {
            return String::new();
        }
        match serde_json::from_slice::<Said>(&self.body) {
            Ok(Said { message }) if !message.trim().is_empty() => {
                format!(": {}", message.trim().chars().take(WORDS_CHARS_MAX).collect::<String>())
            }
            _ => String::new(),
        }
    }

    /// Whether the answer is a web page: servers and proxies send those where an API was expected.
    #[must_use]
    pub fn is_html(&self) -> bool {
        let declared = self.header("content-type").is_some_and(|kind| {
            kind.trim_start().get(..9).is_some_and(|head| head.eq_ignore_ascii_case("text/html"))
        });
        let start = self.body.trim_ascii_start();
        let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start();
        declared || start.first() == Some(&b'<')
    }
}
