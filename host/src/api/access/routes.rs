//! The table of routes: who may call each one, and where the row that it names belongs. A route that is not listed is
//! open to platform admins only, and a test refuses it.

use super::Need::{Anyone, Nobody, OrgAdmin, PlatformAdmin, PlatformReader, Reader};
use super::Place::{
    Channel, Conflict, Connector, Failure, Hook, Organization, Platform, Run, Schedule, Template,
    Token, User,
};
use super::{Need, Place, Route};
use axum::http::Method;

const fn route(method: &'static str, path: &'static str, need: Need, place: Place) -> Route {
    Route { method, path, need, place }
}

#[rustfmt::skip] // One row per route reads as the table that it is.
static ROUTES: &[Route] = &[
    route("GET", "/plugins", PlatformReader, Platform),
    route("POST", "/plugins", PlatformAdmin, Platform),
    route("GET", "/plugins/{name}", PlatformReader, Platform),
    route("POST", "/plugins/{name}/approve", PlatformAdmin, Platform),
    route("POST", "/plugins/{name}/activate", PlatformAdmin, Platform),
    route("POST", "/plugins/reload", PlatformAdmin, Platform),

    route("GET", "/connectors", Reader, Platform),
    route("POST", "/connectors", PlatformAdmin, Platform),
    route("GET", "/connectors/{id}", Reader, Connector),
    route("PATCH", "/connectors/{id}", PlatformAdmin, Connector),
    route("DELETE", "/connectors/{id}", PlatformAdmin, Connector),
    route("PUT", "/connectors/{id}/credentials", PlatformAdmin, Connector),
    route("DELETE", "/connectors/{id}/credentials", PlatformAdmin, Connector),
    route("POST", "/connectors/{id}/check", PlatformAdmin, Connector),
    route("POST", "/connectors/{id}/status", PlatformAdmin, Connector),
    route("POST", "/connectors/{id}/clear-errors", PlatformAdmin, Connector),
    // The handler narrows: an admin of one organization acts for its connection.
    route("POST", "/connectors/{id}/oauth/start", OrgAdmin, Connector),
    route("POST", "/connectors/{id}/oauth/refresh", OrgAdmin, Connector),
    // A browser comes back here from the platform: the state is the proof.
    route("GET", "/oauth/callback", Nobody, Platform),
    route("GET", "/connectors/{id}/health", Reader, Connector),
    route("GET", "/connectors/{id}/webhooks", PlatformReader, Connector),
    route("GET", "/connectors/{id}/organizations", Reader, Connector),
    route("GET", "/connectors/{id}/template", Reader, Connector),

    route("GET", "/keys", PlatformAdmin, Platform),
    route("POST", "/keys/rotate", PlatformAdmin, Platform),

    route("GET", "/templates", Reader, Platform),
    route("POST", "/templates", PlatformAdmin, Platform),
    // Nothing is changed by a preview.
    route("POST", "/templates/preview", PlatformReader, Platform),
    route("POST", "/templates/{id}/preview", Reader, Template),
    route("GET", "/templates/{id}", Reader, Template),
    route("PUT", "/templates/{id}", PlatformAdmin, Template),
    route("DELETE", "/templates/{id}", PlatformAdmin, Template),

    route("GET", "/organizations", Reader, Platform),
    route("POST", "/organizations", PlatformAdmin, Platform),
    route("GET", "/organizations/{org}", Reader, Organization),
    route("PATCH", "/organizations/{org}", OrgAdmin, Organization),
    route("DELETE", "/organizations/{org}", PlatformAdmin, Organization),
    route("GET", "/organizations/{org}/connections", Reader, Organization),
    // Which of the federation's organizations one is, is for the platform to say: its credentials see them all.
    route("POST", "/organizations/{org}/connections", PlatformAdmin, Organization),
    route("GET", "/organizations/{org}/connections/{id}", Reader, Organization),
    route("PATCH", "/organizations/{org}/connections/{id}", OrgAdmin, Organization),
    route("DELETE", "/organizations/{org}/connections/{id}", OrgAdmin, Organization),
    route("GET", "/organizations/{org}/connections/{id}/health", Reader, Organization),
    // Their own credentials are the organization's to set and to take back.
    route("PUT", "/organizations/{org}/connections/{id}/credentials", OrgAdmin, Organization),
    route("DELETE", "/organizations/{org}/connections/{id}/credentials", OrgAdmin, Organization),
    route("GET", "/organizations/{org}/records", Reader, Organization),
    route("POST", "/organizations/{org}/records", OrgAdmin, Organization),
    route("GET", "/organizations/{org}/records/{id}", Reader, Organization),
    route("PATCH", "/organizations/{org}/records/{id}", OrgAdmin, Organization),
    route("GET", "/organizations/{org}/records/{id}/history", Reader, Organization),
    route("GET", "/organizations/{org}/records/{id}/why", Reader, Organization),
    route("GET", "/organizations/{org}/changes", Reader, Organization),
    route("GET", "/organizations/{org}/queue", Reader, Organization),

    route("POST", "/sync/{entity}", OrgAdmin, Platform),
    route("GET", "/sync/status", Reader, Platform),
    route("GET", "/sync/status/export", Reader, Platform),
    route("GET", "/sync/status/{id}", Reader, Run),
    route("GET", "/sync/status/{id}/conflicts", Reader, Run),
    route("GET", "/sync/status/{id}/records", Reader, Run),
    route("GET", "/sync/status/{id}/requests", Reader, Run),
    route("GET", "/sync/status/{id}/logs", Reader, Run),
    route("GET", "/sync/status/{id}/events", Reader, Run),
    route("GET", "/sync/status/{id}/export", Reader, Run),
    route("POST", "/sync/status/{id}/cancel", OrgAdmin, Run),
    route("POST", "/sync/status/{id}/approve", OrgAdmin, Run),
    route("POST", "/sync/status/{id}/undo", OrgAdmin, Run),
    route("GET", "/sync/schedules", Reader, Platform),
    route("POST", "/sync/schedules", OrgAdmin, Platform),
    route("GET", "/sync/schedules/{id}", Reader, Schedule),
    // The handler narrows: one for many organizations is the platform's.
    route("PUT", "/sync/schedules/{id}", OrgAdmin, Schedule),
    route("DELETE", "/sync/schedules/{id}", OrgAdmin, Schedule),
    route("POST", "/sync/schedules/{id}/pause", OrgAdmin, Schedule),
    route("POST", "/sync/schedules/{id}/resume", OrgAdmin, Schedule),
    route("POST", "/sync/schedules/{id}/trigger", OrgAdmin, Schedule),
    route("GET", "/sync/schedules/{id}/next", Reader, Schedule),
    route("GET", "/sync/schedules/{id}/fires", Reader, Schedule),
    route("GET", "/sync/failures", Reader, Platform),
    route("GET", "/sync/failures/{id}", Reader, Failure),
    route("POST", "/sync/failures/{id}/retry", OrgAdmin, Failure),
    // The handler narrows: an admin of one organization retries its failures.
    route("POST", "/sync/retry", OrgAdmin, Platform),
    route("GET", "/conflicts", Reader, Platform),
    route("POST", "/conflicts/resolve", OrgAdmin, Platform),
    route("GET", "/conflicts/{id}", Reader, Conflict),
    route("POST", "/conflicts/{id}/resolve", OrgAdmin, Conflict),

    // The handlers narrow: an organization sees what concerned it, and has that alone processed again.
    route("GET", "/webhooks/deliveries", Reader, Platform),
    route("GET", "/webhooks/deliveries/{id}", Reader, Hook),
    route("POST", "/webhooks/deliveries/{id}/replay", OrgAdmin, Hook),

    route("GET", "/notifications/channels", OrgAdmin, Platform),
    route("POST", "/notifications/channels", OrgAdmin, Platform),
    route("GET", "/notifications/channels/{id}", OrgAdmin, Channel),
    route("PATCH", "/notifications/channels/{id}", OrgAdmin, Channel),
    route("DELETE", "/notifications/channels/{id}", OrgAdmin, Channel),
    route("POST", "/notifications/channels/{id}/test", OrgAdmin, Channel),
    route("GET", "/notifications/deliveries", OrgAdmin, Platform),

    route("POST", "/session", Nobody, Platform),
    route("GET", "/session", Anyone, Platform),
    route("DELETE", "/session", Anyone, Platform),
    route("POST", "/session/password", Anyone, Platform),
    // Of the caller's own.
    route("GET", "/sessions", Anyone, Platform),
    route("DELETE", "/sessions/{id}", Anyone, Platform),
    route("GET", "/users", OrgAdmin, Platform),
    route("POST", "/users", OrgAdmin, Platform),
    route("GET", "/users/{id}", OrgAdmin, User),
    route("PATCH", "/users/{id}", OrgAdmin, User),
    route("DELETE", "/users/{id}", OrgAdmin, User),
    route("PUT", "/users/{id}/password", OrgAdmin, User),
    route("GET", "/tokens", OrgAdmin, Platform),
    route("POST", "/tokens", OrgAdmin, Platform),
    route("GET", "/tokens/{id}", OrgAdmin, Token),
    route("DELETE", "/tokens/{id}", OrgAdmin, Token),
    route("GET", "/audit", OrgAdmin, Platform),
    route("GET", "/audit/verify", PlatformAdmin, Platform),
];

/// What a request asks for; none where no route was declared for it.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    ROUTES.iter().find(|route| route.method == method && route.path == path)
}

/// Whether the path was declared, with whatever method.
pub(super) fn knows(path: &str) -> bool {
    ROUTES.iter().any(|route| route.path == path)
}
