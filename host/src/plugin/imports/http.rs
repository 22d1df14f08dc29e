//! A connector's requests: counted, checked for reserved headers, then handed to whatever way out the session was given.

use crate::model::http::{HttpFailure, HttpRequest, HttpResponse, Outbound};
use std::sync::Arc;

/// Headers that belong to the host: credentials, routing and encoding are never the guest's.
const RESERVED: [&str; 5] = ["authorization", "cookie", "host", "accept-encoding", "x-api-key"];

const PURE: &str = "`describe` must not send requests";

/// The way out of one session; none while a component is being described.
pub(in crate::plugin) struct Gate {
    outbound: Option<Arc<dyn Outbound>>,
    calls: u32,
    calls_max: u32,
}

impl Gate {
    pub(in crate::plugin) fn new(outbound: Option<Arc<dyn Outbound>>, calls_max: u32) -> Gate {
        Gate { outbound, calls: 0, calls_max }
    }

    pub(in crate::plugin) fn begin(&mut self) {
        self.calls = 0;
    }

    pub(in crate::plugin) async fn send(
        &mut self,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpFailure> {
        self.admit(&request)?.send(request).await
    }

    /// A hint that may not be taken: refusals stay silent.
    pub(in crate::plugin) fn prefetch(&mut self, request: HttpRequest) {
        if let Ok(outbound) = self.admit(&request) {
            outbound.prefetch(request);
        }
    }

    fn admit(&mut self, request: &HttpRequest) -> Result<Arc<dyn Outbound>, HttpFailure> {
        let outbound = self.outbound.clone().ok_or_else(|| HttpFailure::Denied(PURE.to_owned()))?;
        if self.calls >= self.calls_max {
            return Err(HttpFailure::Stopped);
        }
        self.calls += 1;
        match request.headers.iter().find(|(name, _)| is_reserved(name)) {
            Some((name, _)) => {
                Err(HttpFailure::Denied(format!("the header `{name}` is set by the host only")))
            }
            None => Ok(outbound),
        }
    }
}

fn is_reserved(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    RESERVED.contains(&name.as_str()) || name.starts_with("proxy-")
}
