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

    /// A hint that an equal `send` of this GET comes next.
    fn prefetch(&self, request: HttpRequest);
}
