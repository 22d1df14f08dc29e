//! The API of a running server, as the verbs use it.
//!
//! Turns problem answers into [`Problem`]s. Ignores proxy variables and follows no redirect, so that
//! the token only goes to the named server.

use super::events::Events;
use super::problem::{self, Exit, Problem};
use crate::config;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use std::time::Duration;

const CONNECT_SECONDS_MAX: u64 = 10;
const REQUEST_SECONDS_MAX: u64 = 120;
/// One connection of a stream; afterwards it is taken up again.
const STREAM_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// An export may be long; anything longer than this belongs into pages.
const ANSWER_BYTES_MAX: usize = 1 << 30;

pub(super) struct Client {
    http: reqwest::Client,
    server: String,
    authorization: Option<HeaderValue>,
}

/// A row with the tag that a change to it must carry.
pub(super) struct Tagged {
    pub(super) row: Value,
    etag: Option<HeaderValue>,
}

impl Client {
    pub(super) fn new(settings: &config::Cli) -> Result<Client, Problem> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .timeout(Duration::from_secs(REQUEST_SECONDS_MAX))
            .user_agent(concat!("syncline/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Problem::failed("cannot set up HTTP").caused_by(&error))?;
        let authorization = match &settings.token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| Problem::usage("the token holds characters that no token has"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Client { http, server: settings.server.clone(), authorization })
    }

    /// `query` members without a value are left out.
    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<Value, Problem> {
        json(self.read(path, query).await?).await
    }

    /// The answer as it came, for exports.
    pub(super) async fn get_bytes(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<Vec<u8>, Problem> {
        body(self.read(path, query).await?).await
    }

    /// A stream behind the event that the caller has; none where there is nothing more.
    pub(super) async fn events(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        last_event_id: Option<&str>,
    ) -> Result<Option<Events>, Problem> {
        let mut request = self.request(Method::GET, path, query);
        request = request.header(ACCEPT, "text/event-stream").timeout(STREAM_MAX);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = self.send(request).await?;
        let is_over = response.status() == reqwest::StatusCode::NO_CONTENT;
        Ok((!is_over).then(|| Events::new(response)))
    }

    pub(super) async fn get_tagged(&self, path: &str) -> Result<Tagged, Problem> {
        let response = self.read(path, &[]).await?;
        let etag = response.headers().get(ETAG).cloned();
        Ok(Tagged { row: json(response).await?, etag })
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Problem> {
        json(self.send(with_json(self.request(Method::POST, path, &[]), body)).await?).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, Problem> {
        json(self.send(with_json(self.request(Method::PUT, path, &[]), body)).await?).await
    }

    pub(super) async fn post_bytes(
        &self,
        path: &str,
        content_type: &'static str,
        bytes: Vec<u8>,
    ) -> Result<Value, Problem> {
        let request = self.request(Method::POST, path, &[]).header(CONTENT_TYPE, content_type);
        json(self.send(request.body(bytes)).await?).await
    }

    /// Changes the row that was read, unless it changed meanwhile.
    pub(super) async fn patch(
        &self,
        path: &str,
        tagged: &Tagged,
        body: &Value,
    ) -> Result<Value, Problem> {
        let request = tagged.guard(self.request(Method::PATCH, path, &[]));
        json(self.send(with_json(request, body)).await?).await
    }

    /// Replaces the row that was read, unless it changed meanwhile.
    pub(super) async fn replace(
        &self,
        path: &str,
        tagged: &Tagged,
        body: &Value,
    ) -> Result<Value, Problem> {
        let request = tagged.guard(self.request(Method::PUT, path, &[]));
        json(self.send(with_json(request, body)).await?).await
    }

    /// Deletes the row that was read, unless it changed meanwhile.
    pub(super) async fn delete(&self, path: &str, tagged: &Tagged) -> Result<(), Problem> {
        self.send(tagged.guard(self.request(Method::DELETE, path, &[]))).await.map(drop)
    }

    async fn read(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<Response, Problem> {
        self.send(self.request(Method::GET, path, query)).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> RequestBuilder {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in query {
            if let Some(value) = value {
                pairs.append_pair(name, value);
            }
        }
        let query = pairs.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let address = format!("{}/api/v1{path}{mark}{query}", self.server);
        let request = self.http.request(method, address).header(ACCEPT, "application/json");
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Problem> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        Err(problem::from_answer(status, &body(response).await.unwrap_or_default()))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Problem {
        let mut problem =
            Problem::new(Exit::Unreachable, format!("cannot reach the server at {}", self.server));
        if let Some(source) = std::error::Error::source(error) {
            problem = problem.caused_by(source);
        }
        problem.hint(
            "start it with `syncline serve --data-dir DIR`, or name another one with --server or \
             SYNCLINE_SERVER",
        )
    }
}

impl Tagged {
    fn guard(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.etag {
            Some(etag) => request.header(IF_MATCH, etag.clone()),
            None => request,
        }
    }
}

/// One segment of a path, with everything that could end it escaped. A segment of dots alone would
/// climb, escaped or not, so its escape is escaped too and the server finds nothing by that name.
pub(super) fn segment(text: &str) -> String {
    let climbs = text.bytes().all(|byte| byte == b'.');
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'.' if climbs => escaped.push_str("%252E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'.' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn with_json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/json").body(body.to_string())
}

async fn body(mut response: Response) -> Result<Vec<u8>, Problem> {
    let cut_off = |error: reqwest::Error| {
        Problem::new(Exit::Unreachable, "the server's answer broke off").caused_by(&error)
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(cut_off)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Problem::failed(format!(
                "the server's answer is larger than {ANSWER_BYTES_MAX} bytes"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// An empty answer is `null`.
async fn json(response: Response) -> Result<Value, Problem> {
    let bytes = body(response).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::failed("the server's answer is not JSON")
            .caused_by(&error)
            .hint("is the address that of a Syncline server?")
    })
}
