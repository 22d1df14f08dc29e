//! Egress against real sockets: a scripted server, one test for each rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broken;
mod credentials;
mod destination;
mod pacing;
mod prefetching;
mod retrying;
mod server;
mod tls;
mod wire;

use super::*;
use crate::model::http::{HttpFailure, HttpRequest, HttpResponse, Outbound, RequestLine};
use server::Server;
use std::net::IpAddr;
use std::sync::Mutex;
use tokio_util::sync::CancellationToken;
use url::Url;

/// A run against a server, with what it recorded.
struct Bench {
    egress: Arc<Egress>,
    client: RunClient,
    cancel: CancellationToken,
    lines: Arc<Mutex<Vec<RequestLine>>>,
}

/// The settings of a bench, to be changed by a test.
struct Plan {
    options: Options,
    clock: Clock,
    names: Vec<(&'static str, Vec<&'static str>)>,
    base: String,
    granted: Vec<String>,
    methods: Vec<http::Method>,
    auth: Auth,
    pace: Pace,
}

impl Plan {
    /// Grants the server, and allows its private address. Retries wait a few milliseconds.
    fn for_server(server: &Server) -> Plan {
        let endpoint = server.address().to_string();
        let retry = RequestRetry {
            attempts_max: 3,
            wait_first: Duration::from_millis(4),
            wait_max: Duration::from_millis(8),
        };
        let allow_private = vec![endpoint.parse().unwrap()];
        Plan {
            options: Options { allow_private, retry, ..Options::default() },
            clock: Clock::running("2026-11-20T12:00:00Z".parse().unwrap()),
            names: Vec::new(),
            base: format!("http://{endpoint}"),
            granted: vec![format!("http://{endpoint}")],
            methods: vec![http::Method::POST, http::Method::PUT],
            auth: Auth::None,
            pace: Pace::default(),
        }
    }

    fn limits(&mut self) -> &mut Limits {
        &mut self.options.limits
    }

    fn start(self) -> Bench {
        let egress = self.egress();
        self.on(egress)
    }

    fn egress(&self) -> Arc<Egress> {
        let names = self.names.clone();
        let lookup: Lookup = Arc::new(move |asked| {
            let found = names.iter().find(|(name, _)| *name == asked).map(|(_, answers)| {
                answers.iter().map(|address| address.parse::<IpAddr>().unwrap()).collect()
            });
            let missing = || std::io::Error::other(format!("no such name {asked}"));
            let found = found.ok_or_else(missing);
            Box::pin(async move { found })
        });
        Egress::with_lookup(self.options.clone(), self.clock.clone(), lookup)
    }

    /// One more run on the same process.
    fn on(self, egress: Arc<Egress>) -> Bench {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let cancel = CancellationToken::new();
        let client = egress.run(RunSettings {
            base_url: Url::parse(&self.base).unwrap(),
            granted: self.granted.iter().map(|origin| origin.parse().unwrap()).collect(),
            methods: self.methods,
            auth: self.auth,
            pace: self.pace,
            limits: egress.limits(),
            cancel: cancel.clone(),
            recorder: Arc::new(move |line| sink.lock().unwrap().push(line)),
        });
        Bench { egress, client, cancel, lines }
    }
}

impl Bench {
    async fn get(&self, url: &str) -> Result<HttpResponse, HttpFailure> {
        self.client.send(get(url)).await
    }

    fn lines(&self) -> Vec<RequestLine> {
        self.lines.lock().unwrap().clone()
    }

    /// `status` or `failure` of each line.
    fn outcomes(&self) -> Vec<String> {
        let lines = self.lines();
        let told = |line: &RequestLine| match (&line.failure, line.status) {
            (Some(failure), _) => failure.clone(),
            (None, status) => status.unwrap_or(0).to_string(),
        };
        lines.iter().map(told).collect()
    }
}

fn get(url: &str) -> HttpRequest {
    HttpRequest { method: "GET".into(), url: url.into(), ..HttpRequest::default() }
}

fn request(method: &str, url: &str) -> HttpRequest {
    HttpRequest { method: method.into(), url: url.into(), ..HttpRequest::default() }
}

#[track_caller]
fn denied(result: Result<HttpResponse, HttpFailure>) -> String {
    match result {
        Err(HttpFailure::Denied(reason)) => reason,
        other => panic!("not denied: {other:?}"),
    }
}
