//! The HTTP API under `/api/v1`: reads what was committed, turns requests into commits and queue entries.
//!
//! Owns shapes, status codes and authentication. Must not run a sync, and must not let a storage type out. The only
//! code beside the console that names axum.

mod access;
mod accounts;
mod answer;
mod audit;
mod body;
mod changes;
mod conflicts;
mod connection_body;
mod connections;
mod connector_body;
mod connectors;
mod cookie;
mod credentials;
mod csv;
mod etag;
mod export;
mod failure_retry;
mod failures;
mod gate;
mod health;
mod hooks;
mod idempotency;
mod identity;
mod intake;
mod json;
mod keys;
mod listen;
mod live;
mod logins;
mod notification_body;
mod notifications;
mod oauth;
mod openapi;
mod organizations;
mod pace;
mod paging;
mod patience;
mod plugins;
mod problem;
mod queue;
mod records;
mod request;
mod run_events;
mod run_lists;
mod runs;
mod schedule_acts;
mod schedule_body;
mod schedule_fires;
mod schedule_view;
mod schedules;
mod schema;
mod seats;
mod sessions;
mod sync;
mod template_preview;
mod templates;
mod throttle;
mod tokens;
mod users;
mod why;

use crate::clock;
use crate::inbox::Inbox;
use crate::notify::Notifier;
use crate::store::{self, Snapshot};
use crate::trigger::Scheduler;
use crate::worker::{Deps, Pool};
use axum::extract::DefaultBodyLimit;
use axum::{Extension, Router, middleware};
use problem::Problem;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use access::Caller;
pub use gate::{Gate, Options as GateOptions};
pub use intake::Intake;
pub use listen::{Connections, serve};
pub(crate) use users::is_email;

/// Where the routes are.
const PREFIX: &str = "/api/v1";

/// What the handlers stand on. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub deps: Deps,
    pub pool: Pool,
    pub limits: Limits,
    /// Where browsers reach this server, without a slash at its end.
    pub public_url: Arc<String>,
    pub gate: Arc<Gate>,
    pub notifier: Notifier,
    /// The server stops: answers that go on end.
    pub stop: CancellationToken,
    pub inbox: Inbox,
    pub intake: Intake,
    pub scheduler: Scheduler,
}

/// Maxima of a request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub body_bytes_max: usize,
    pub component_bytes_max: usize,
    /// How long the answer to a request with an idempotency key is kept, and how many.
    pub idempotency_millis: i64,
    pub idempotency_keys_max: u64,
    /// From the head to the first byte of the answer.
    pub request_max: Duration,
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

    /// Does what must not stop halfway in a task of its own: a request ends when its caller hangs up or its time is over,
    /// and an effect outside of the store would then lack its entry in the audit log, or its end.
    async fn to_its_end<T, F>(&self, act: F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
        T: Send + 'static,
    {
        let task = tokio::spawn(self.deps.clock.task(act.in_current_span()));
        task.await.map_err(|error| Problem::internal(&error))?
    }
}

/// All routes of the server.
pub fn router(api: Api) -> Router {
    let document = openapi::Document::new(document().to_string());
    let (v1, _) = v1(api.limits).split_for_parts();
    let v1 = v1
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(api.clone(), idempotency::once))
        .layer(middleware::from_fn(etag::not_modified))
        .layer(middleware::from_fn_with_state(api.clone(), access::guard));
    // Nothing that the API gives a request is needed there.
    let door = intake::Door { inbox: api.inbox.clone(), intake: api.intake.clone() };
    let (intake, _) = intake().split_for_parts();
    let intake = intake.method_not_allowed_fallback(no_method).with_state(Arc::new(door));
    let (root, _) = root().split_for_parts();
    root.layer(Extension(document))
        .nest(PREFIX, v1)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::map_response(problem::in_our_form))
        .layer(middleware::from_fn_with_state(api.clone(), request::frame))
        .with_state(api)
        .merge(intake)
}

/// The OpenAPI document of all routes.
pub fn document() -> Value {
    let limits = Limits {
        body_bytes_max: 0,
        component_bytes_max: 0,
        idempotency_millis: 0,
        idempotency_keys_max: 0,
        request_max: Duration::ZERO,
    };
    let mut root = root();
    root.get_openapi_mut().merge(intake().into_openapi());
    openapi::complete(root.nest(PREFIX, v1(limits)).get_openapi())
}

/// What is open to everybody.
fn root() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::empty())
        .routes(routes!(openapi::show))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
}

/// Where deliveries come in: open to everybody, since the signature says who it is.
fn intake() -> OpenApiRouter<Arc<intake::Door>> {
    OpenApiRouter::with_openapi(openapi::empty())
        .routes(routes!(intake::listening, intake::federation))
        .routes(routes!(intake::connector))
        .routes(routes!(intake::connection))
}

/// What needs a token. A route that is not described cannot be added here.
fn v1(limits: Limits) -> OpenApiRouter<Api> {
    let uploads = OpenApiRouter::default()
        .routes(routes!(plugins::list, plugins::install))
        .layer(DefaultBodyLimit::max(limits.component_bytes_max));
    OpenApiRouter::default()
        .routes(routes!(plugins::show))
        .routes(routes!(plugins::approve))
        .routes(routes!(plugins::activate))
        .routes(routes!(plugins::reload))
        .routes(routes!(connectors::list, connectors::create))
        .routes(routes!(connectors::show, connectors::update, connectors::delete))
        .routes(routes!(connectors::credentials, credentials::delete_of_connector))
        .routes(routes!(connectors::check))
        .routes(routes!(connectors::status))
        .routes(routes!(connectors::clear_errors))
        .routes(routes!(health::connector))
        .routes(routes!(hooks::reception))
        .routes(routes!(oauth::start))
        .routes(routes!(oauth::refresh))
        .routes(routes!(oauth::callback))
        .routes(routes!(connections::of_connector))
        .routes(routes!(organizations::list, organizations::create))
        .routes(routes!(organizations::show, organizations::update, organizations::delete))
        .routes(routes!(connections::list, connections::create))
        .routes(routes!(connections::show, connections::update, connections::delete))
        .routes(routes!(connections::credentials, credentials::delete_of_connection))
        .routes(routes!(health::connection))
        .routes(routes!(records::list, records::create))
        .routes(routes!(records::show, records::update))
        .routes(routes!(records::history))
        .routes(routes!(why::show))
        .routes(routes!(changes::list))
        .routes(routes!(queue::list))
        .routes(routes!(keys::status))
        .routes(routes!(keys::rotate))
        .routes(routes!(templates::list, templates::create))
        .routes(routes!(templates::show, templates::replace, templates::delete))
        .routes(routes!(template_preview::unsaved))
        .routes(routes!(template_preview::stored))
        .routes(routes!(templates::of_connector))
        .routes(routes!(sync::start))
        .routes(routes!(runs::list))
        .routes(routes!(export::list))
        .routes(routes!(runs::show))
        .routes(routes!(run_lists::conflicts))
        .routes(routes!(run_lists::records))
        .routes(routes!(run_lists::requests))
        .routes(routes!(run_lists::logs))
        .routes(routes!(run_events::follow))
        .routes(routes!(export::one))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::approve))
        .routes(routes!(runs::undo))
        .routes(routes!(schedules::list, schedules::create))
        .routes(routes!(schedules::show, schedules::replace, schedules::delete))
        .routes(routes!(schedule_acts::pause))
        .routes(routes!(schedule_acts::resume))
        .routes(routes!(schedule_acts::trigger))
        .routes(routes!(schedule_fires::next))
        .routes(routes!(schedule_fires::fires))
        .routes(routes!(failures::list))
        .routes(routes!(failures::show))
        .routes(routes!(failure_retry::one))
        .routes(routes!(failure_retry::many))
        .routes(routes!(sessions::show, sessions::create, sessions::delete))
        .routes(routes!(sessions::password))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::revoke))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::show, users::update, users::delete))
        .routes(routes!(users::password))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::show, tokens::delete))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(notifications::list, notifications::create))
        .routes(routes!(notifications::show, notifications::update, notifications::delete))
        .routes(routes!(notifications::test))
        .routes(routes!(notifications::deliveries))
        .routes(routes!(hooks::list))
        .routes(routes!(hooks::show))
        .routes(routes!(hooks::again))
        .routes(routes!(conflicts::list))
        .routes(routes!(conflicts::resolve_many))
        .routes(routes!(conflicts::show))
        .routes(routes!(conflicts::resolve))
        .layer(middleware::from_fn(body::json_only))
        .layer(DefaultBodyLimit::max(limits.body_bytes_max))
        .merge(uploads)
}

async fn no_route() -> Problem {
    Problem::not_found("there is nothing at this path")
}

async fn no_method() -> Problem {
    Problem::new(405, "method.not-allowed", "this path does not take that method")
}
