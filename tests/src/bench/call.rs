//! The fixed cost of a plugin call: a new store, an instance, one `check` whose request is answered at once.
//!
//! Runs as a process of its own, by the host's library: over the API a run has much else to do.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use syncline::model::http::{HttpFailure, HttpRequest, HttpResponse, Outbound};
use syncline::model::remote::CallContext;
use syncline::plugin::{ConnectorSession, Engine, Limits, Options, Registry};

const PLUGIN: &str = "gaa-foireann";
const CALLS: usize = 2_000;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// The median.
    pub micros: f64,
}

/// Measures in this process.
pub async fn run() -> anyhow::Result<Cost> {
    let cache = tempfile::tempdir()?;
    let engine = Engine::new(Some(cache.path()), Limits::default())?;
    let registry = Registry::open(engine, Options::bundled()).await?;
    let plugin = registry.connector(PLUGIN).context("the connector is not bundled")?;
    let context = CallContext {
        config: "{}".to_owned(),
        endpoints: vec![("baseUrl".to_owned(), "https://federation.test".to_owned())],
        organization: Some("club-1".to_owned()),
        started_at: "2026-02-28T10:00:00Z".to_owned(),
        ..CallContext::default()
    };
    let mut micros = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begun = Instant::now();
        let mut session = ConnectorSession::open(&plugin, Arc::new(Empty)).await?;
        let answer = session.check(&context).await;
        drop(session);
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
        if let Err(cause) = answer {
            bail!("the check answers {cause}");
        }
    }
    Ok(Cost { micros: super::median(micros).unwrap_or_default() })
}

/// A federation without members, without a network.
struct Empty;

impl Outbound for Empty {
    fn send(
        &self,
        _: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFailure>> + Send + '_>> {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let body = br#"{"members":[],"totalCount":0,"hasMore":false}"#.as_slice().into();
        Box::pin(async { Ok(HttpResponse { status: 200, headers, body }) })
    }

    fn prefetch(&self, _: HttpRequest) {}
}
