//! A plugin's request to the remote system and what comes back: the border between the sandbox and egress.

/// A request as the plugin made it, without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    /// Absolute, or a path below the connector's base URL.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    /// Makes a write repeatable under the same handle.
    pub idempotency: Option<String>,
}

/// The whole answer, decoded, within the size limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: bytes::Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpFailure {
    #[error("request denied: {0}")]
    Denied(String),
    #[error("no answer in time")]
    Timeout,
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
    #[error("network failure: {0}")]
    Network(String),
    #[error("the run was stopped")]
    Stopped,
}

/// The way out of the sandbox, handed in per run: egress in production, a script in tests, a refusal in `describe`.
pub trait Outbound: Send + Sync {
    /// One request to its end, retries included.
    fn send(
        &self,
        request: HttpRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFailure>> + Send + '_>>;

    /// How long requests have waited for others by now: for a rate limit, a free connection, the next attempt.
    fn waited(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    /// A hint that an equal `send` of this GET comes next.
    fn prefetch(&self, request: HttpRequest);
}

/// One request as it left the house, for the run's list of requests. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// Milliseconds since the epoch at which the attempt began, waits before it excluded.
    pub at: i64,
    pub method: String,
    /// Without host-added parts; values of query parameters that look like secrets are replaced.
    pub url: String,
    /// 1 is the first. A redirect that was followed is a line of its own with the same number.
    pub attempt: u32,
    /// How many redirects were followed to get here.
    pub redirects: u32,
    /// How long the house waited before this attempt: for the next attempt, the rate limit, a free connection.
    pub waited_millis: u64,
    pub millis: u64,
    /// Of the decoded body, as far as it was read.
    pub bytes: u64,
    /// `None` when no answer came.
    pub status: Option<u16>,
    /// Why there is no answer, or no whole one.
    pub failure: Option<String>,
}
