//! The way out: the only code that sends requests for plugins. Owns the checks on where a request goes, the
//! credentials that are added to it, its limits, its retries and the line that each attempt leaves behind.
//!
//! Must not know plugins or the store: origins, credentials and the recorder are handed in per run. There is one
//! [`Egress`] per process, so that runs share connections, and one [`RunClient`] per run.

mod address;
mod auth;
mod body;
mod bucket;
mod checks;
mod client;
mod direct;
mod echo;
mod exchange;
mod headers;
mod lanes;
mod origin;
mod prefetch;
mod quota;
mod recorder;
mod resolver;
#[cfg(test)]
mod tests;
mod tls;
mod waits;

pub use address::AllowPrivate;
pub use auth::{Auth, TokenAsk, TokenSource};
pub use client::{Recorder, RunClient, RunSettings, Usage};
pub use direct::Reachable;
pub use lanes::{Concurrency, Pace};
pub use origin::Origin;
pub use resolver::Lookup;
pub use tls::ExtraCa;
pub use waits::{WaitReason, Waits};

use crate::backoff::RequestRetry;
use crate::clock::Clock;
use lanes::Lanes;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const USER_AGENT: &str = concat!("syncline/", env!("CARGO_PKG_VERSION"));
/// Shorter than what common servers keep, so that a write seldom meets a connection that is being closed.
const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 8;
const RESPONSE_HEADERS_MAX: usize = 256;

/// What is wrong with a setting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is not an origin; write scheme://host, scheme://host:port or scheme://*.domain")]
    Origin(String),
    #[error(
        "{0:?} is no entry for egress.allowPrivate; write host:port, such as \"10.0.0.5:8080\", or a network, \
         such as \"10.0.0.0/8\""
    )]
    AllowPrivate(String),
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    #[error(
        "egress.extraCaFile: {path} {what}; name a PEM file with the certificates of your own authorities"
    )]
    ExtraCa { path: String, what: String },
}

/// Settings of the process, the `egress` part of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Private endpoints and networks that may be reached after all.
    pub allow_private: Vec<AllowPrivate>,
    /// Trusted besides the authorities of the system.
    pub extra_ca: ExtraCa,
    pub limits: Limits,
    pub retry: RequestRetry,
    pub concurrency: Concurrency,
}

/// The maxima of one request and of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one answer's body, decoded.
    pub response_bytes_max: u64,
    /// Of one answer's headers.
    pub response_header_bytes_max: u64,
    pub request_bytes_max: u64,
    /// Of the headers that a plugin sets.
    pub request_header_bytes_max: usize,
    pub connect_timeout: Duration,
    /// From the first byte sent to the last byte received, for each attempt.
    pub request_timeout: Duration,
    /// One request does not wait longer, neither for its turn nor for a pause that a server asks for: the run ends, or
    /// the answer goes to the plugin.
    pub retry_after_max: Duration,
    pub redirects_max: u32,
    /// Attempts, redirects and prefetches of one run, all counted.
    pub requests_max: u64,
    /// Decoded bytes that one run may receive.
    pub run_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            response_bytes_max: 16 << 20,
            response_header_bytes_max: 64 << 10,
            request_bytes_max: 16 << 20,
            request_header_bytes_max: 16 << 10,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(60),
            redirects_max: 3,
            requests_max: 100_000,
            run_bytes_max: 8 << 30,
        }
    }
}

/// The process's connections to remote systems.
pub struct Egress {
    options: Options,
    clock: Clock,
    lookup: Lookup,
    lanes: Lanes,
    guarded: OnceLock<Result<reqwest::Client, String>>,
    excepted: OnceLock<Result<reqwest::Client, String>>,
}

impl Egress {
    /// Names are looked up with the system's resolver.
    pub fn new(options: Options, clock: Clock) -> Arc<Egress> {
        Egress::with_lookup(options, clock, resolver::system())
    }

    /// Names are looked up with `lookup`.
    pub fn with_lookup(options: Options, clock: Clock, lookup: Lookup) -> Arc<Egress> {
        let (guarded, excepted) = (OnceLock::new(), OnceLock::new());
        let lanes = Lanes::new(options.concurrency, clock.clone());
        Arc::new(Egress { options, clock, lookup, lanes, guarded, excepted })
    }

    /// The limits that a run gets unless its connector has narrower ones.
    pub fn limits(&self) -> Limits {
        self.options.limits
    }

    /// The way out for one run.
    pub fn run(self: &Arc<Egress>, settings: RunSettings) -> RunClient {
        RunClient::new(Arc::clone(self), settings)
    }

    /// The client for an endpoint. The connector knows names but no ports, so endpoints that the operator excepted by
    /// name and port have a client, and a connection pool, of their own; all others go through the one that refuses.
    fn client(&self, excepted: bool) -> Result<&reqwest::Client, Error> {
        let cell = if excepted { &self.excepted } else { &self.guarded };
        let client = cell.get_or_init(|| self.build(excepted).map_err(|error| error.to_string()));
        client.as_ref().map_err(|error| Error::Client(error.clone()))
    }

    fn build(&self, excepted: bool) -> reqwest::Result<reqwest::Client> {
        let networks = if excepted { None } else { Some(self.options.allow_private.clone()) };
        reqwest::Client::builder()
            .dns_resolver(resolver::Checked::new(Arc::clone(&self.lookup), networks))
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .tls_certs_merge(self.options.extra_ca.certificates())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(USER_AGENT)
            .connect_timeout(self.options.limits.connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST_MAX)
            .http1_max_headers(RESPONSE_HEADERS_MAX)
            .tcp_nodelay(true)
            .build()
    }
}
