//! What every request gets: an id that logs, answers and the audit log share, and a limit to its time.

use super::Api;
use super::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::Instrument;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static ID: Arc<str>;
}

/// Numbers the requests of this process; the process has a random name.
pub(super) struct Ids {
    process: String,
    next: AtomicU64,
}

impl Ids {
    /// `process` tells this process from others and from earlier ones.
    pub(super) fn new(process: String) -> Ids {
        Ids { process, next: AtomicU64::new(1) }
    }

    fn next(&self) -> Arc<str> {
        format!("{}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed)).into()
    }
}

/// The id of the request that this task answers.
pub(super) fn id() -> Option<Arc<str>> {
    ID.try_with(Arc::clone).ok()
}

/// Names the request, and gives up on it when it takes too long.
pub(super) async fn frame(State(api): State<Api>, request: Request, next: Next) -> Response {
    let id = api.gate.ids.next();
    let span = tracing::info_span!("request", %id);
    let answer = async {
        let limit = api.limits.request_max;
        let _work = api.deps.clock.work();
        match tokio::time::timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let detail = "the request took too long: `limits.apiRequestSecondsMax`; what it \
                              asked for may still happen";
                Problem::new(503, "request.timeout", detail).into_response()
            }
        }
    };
    let mut response = ID.scope(Arc::clone(&id), answer.instrument(span)).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
