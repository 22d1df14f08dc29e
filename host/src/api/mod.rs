//! The HTTP API under `/api/v1`: reads what was committed, turns requests into commits and queue entries.
//!
//! Owns shapes, status codes and authentication. Must not run a sync, and must not let a storage type out. The only
//! code beside the console that names axum.

mod body;
mod changes;
mod conflicts;
mod connections;
mod connector_body;
mod connectors;
mod csv;
mod etag;
mod export;
mod failures;
mod health;
mod organizations;
mod paging;
mod plugins;
mod problem;
mod queue;
mod records;
mod run_lists;
mod runs;
mod sync;
mod templates;

use crate::clock;
use crate::store::{self, Snapshot, directory};
use crate::vault::TokenHash;
use crate::worker::{Deps, Pool};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use problem::Problem;
use std::sync::Arc;

/// What the handlers stand on. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub deps: Deps,
    pub pool: Pool,
    pub limits: Limits,
}

/// Maxima of a request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub body_bytes_max: usize,
    pub component_bytes_max: usize,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) name: Arc<str>,
    /// Its edits do not count as made by a person.
    pub(crate) machine: bool,
}

impl Api {
    fn now(&self) -> i64 {
        clock::to_millis(self.deps.clock.now())
    }

    /// Runs a read of the store on a thread that may block.
    async fn read<T, F>(&self, read: F) -> Result<T, Problem>
    where
        F: FnOnce(&Snapshot, &store::Store) -> Result<T, Problem> + Send + 'static,
        T: Send + 'static,
    {
        let store = self.deps.store.clone();
        let task = tokio::task::spawn_blocking(move || {
            let snapshot = store.read()?;
            read(&snapshot, &store)
        });
        task.await.map_err(|error| Problem::internal(&error))?
    }
}

/// All routes of the server.
pub fn router(api: Api) -> Router {
    let limits = api.limits;
    let uploads = Router::new()
        .route("/plugins", get(plugins::list).post(plugins::install))
        .layer(DefaultBodyLimit::max(limits.component_bytes_max));
    let v1 = Router::new()
        .route("/plugins/{name}/approve", post(plugins::approve))
        .route("/plugins/{name}/activate", post(plugins::activate))
        .route("/plugins/reload", post(plugins::reload))
        .route("/connectors", get(connectors::list).post(connectors::create))
        .route(
            "/connectors/{id}",
            get(connectors::show).patch(connectors::update).delete(connectors::delete),
        )
        .route("/connectors/{id}/credentials", put(connectors::credentials))
        .route("/connectors/{id}/check", post(connectors::check))
        .route("/connectors/{id}/status", post(connectors::status))
        .route("/connectors/{id}/clear-errors", post(connectors::clear_errors))
        .route("/connectors/{id}/health", get(health::connector))
        .route("/connectors/{id}/organizations", get(connections::of_connector))
        .route("/organizations", get(organizations::list).post(organizations::create))
        .route(
            "/organizations/{org}",
            get(organizations::show).patch(organizations::update).delete(organizations::delete),
        )
        .route("/organizations/{org}/connections", get(connections::list).post(connections::create))
        .route(
            "/organizations/{org}/connections/{id}",
            get(connections::show).patch(connections::update).delete(connections::delete),
        )
        .route("/organizations/{org}/records", get(records::list).post(records::create))
        .route("/organizations/{org}/records/{id}", get(records::show).patch(records::update))
        .route("/organizations/{org}/records/{id}/history", get(records::history))
        .route("/organizations/{org}/changes", get(changes::list))
        .route("/organizations/{org}/queue", get(queue::list))
        .route("/templates", get(templates::list).post(templates::create))
        .route(
            "/templates/{id}",
            get(templates::show).put(templates::replace).delete(templates::delete),
        )
        .route("/sync/{entity}", post(sync::start))
        .route("/sync/status", get(runs::list))
        .route("/sync/status/export", get(export::list))
        .route("/sync/status/{id}", get(runs::show))
        .route("/sync/status/{id}/conflicts", get(run_lists::conflicts))
        .route("/sync/status/{id}/records", get(run_lists::records))
        .route("/sync/status/{id}/requests", get(run_lists::requests))
        .route("/sync/status/{id}/logs", get(run_lists::logs))
        .route("/sync/status/{id}/export", get(export::one))
        .route("/sync/status/{id}/cancel", post(runs::cancel))
        .route("/sync/status/{id}/approve", post(runs::approve))
        .route("/sync/status/{id}/undo", post(runs::undo))
        .route("/sync/failures", get(failures::list))
        .route("/sync/failures/{id}", get(failures::show))
        .route("/conflicts", get(conflicts::list))
        .route("/conflicts/resolve", post(conflicts::resolve_many))
        .route("/conflicts/{id}", get(conflicts::show))
        .route("/conflicts/{id}/resolve", post(conflicts::resolve))
        .layer(DefaultBodyLimit::max(limits.body_bytes_max))
        .merge(uploads)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::map_response(in_our_form))
        .layer(middleware::from_fn_with_state(api.clone(), authenticate));
    Router::new()
        .nest("/api/v1", v1)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(no_route)
        .with_state(api)
}

async fn no_route() -> Problem {
    Problem::not_found("there is nothing at this path")
}

async fn no_method() -> Problem {
    Problem::new(405, "method.not-allowed", "this path does not take that method")
}

/// A body that is too large is refused by the framework, in a form of its own.
async fn in_our_form(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let ours = kind.is_some_and(|kind| kind == "application/problem+json");
    if response.status() != StatusCode::PAYLOAD_TOO_LARGE || ours {
        return response;
    }
    let detail = "the body is larger than this server takes: `limits.requestBodyBytesMax`";
    Problem::new(413, "body.too-large", detail).into_response()
}

async fn authenticate(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let header = request.headers().get(header::AUTHORIZATION);
    let presented = header
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| TokenHash::of(token.trim()));
    let Some(hash) = presented else {
        return Err(Problem::unauthorized());
    };
    let found = directory::token(&api.deps.store.read()?, hash.as_bytes())?;
    let token = found.ok_or_else(Problem::unauthorized)?;
    request.extensions_mut().insert(Caller { name: token.name.into(), machine: token.machine });
    Ok(next.run(request).await)
}

/// Answers requests until `stop`, then lets those under way finish.
pub async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    stop: tokio_util::sync::CancellationToken,
) {
    let stopped = async move { stop.cancelled().await };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the server ended");
    }
}
