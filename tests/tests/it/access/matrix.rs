//! Every route, by every role, on rows of its own, of others and of nobody. The table below says what each route takes;
//! it has to name exactly the routes of the router, so that none is forgotten.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::world::{Ids, World, plain, token, unknown, with_token};
use crate::fixture::text;
use crate::tidy::routes;

/// Who may, least first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum May {
    Nobody,
    Anyone,
    /// Viewers and above, of the organization or of all.
    Read,
    /// Viewers of all, platform admins.
    ReadPlatform,
    Manage,
    Platform,
}

/// What `{id}` is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The path names no row of an organization.
    None,
    Org,
    Connection,
    Record,
    Run,
    Conflict,
    Failure,
    Connector,
    Template,
    Delivery,
    Channel,
    Schedule,
    User,
    Token,
}

use Kind::{
    Channel, Conflict, Connection, Connector, Delivery, Failure, None, Org, Record, Run, Schedule,
    Template, Token, User,
};
use May::{Anyone, Manage, Nobody, Platform, Read, ReadPlatform};

#[rustfmt::skip] // One row per route reads as the table that it is.
const ROUTES: &[(&str, &str, May, Kind)] = &[
    ("GET", "/plugins", ReadPlatform, None),
    ("POST", "/plugins", Platform, None),
    ("GET", "/plugins/{name}", ReadPlatform, None),
    ("POST", "/plugins/{name}/approve", Platform, None),
    ("POST", "/plugins/{name}/activate", Platform, None),
    ("POST", "/plugins/reload", Platform, None),
    ("GET", "/connectors", Read, None),
    ("POST", "/connectors", Platform, None),
    ("GET", "/connectors/{id}", Read, Connector),
    ("PATCH", "/connectors/{id}", Platform, Connector),
    ("DELETE", "/connectors/{id}", Platform, Connector),
    ("PUT", "/connectors/{id}/credentials", Platform, Connector),
    ("DELETE", "/connectors/{id}/credentials", Platform, Connector),
    ("POST", "/connectors/{id}/check", Platform, Connector),
    ("POST", "/connectors/{id}/status", Platform, Connector),
    ("POST", "/connectors/{id}/clear-errors", Platform, Connector),
    ("GET", "/connectors/{id}/health", Read, Connector),
    ("GET", "/connectors/{id}/webhooks", ReadPlatform, Connector),
    ("GET", "/connectors/{id}/organizations", Read, Connector),
    ("GET", "/connectors/{id}/template", Read, Connector),
    ("POST", "/connectors/{id}/oauth/start", Manage, Connector),
    ("POST", "/connectors/{id}/oauth/refresh", Manage, Connector),
    ("GET", "/oauth/callback", Nobody, None),
    ("GET", "/keys", Platform, None),
    ("POST", "/keys/rotate", Platform, None),
    ("GET", "/templates", Read, None),
    ("POST", "/templates", Platform, None),
    ("POST", "/templates/preview", ReadPlatform, None),
    ("POST", "/templates/{id}/preview", Read, Template),
    ("GET", "/templates/{id}", Read, Template),
    ("PUT", "/templates/{id}", Platform, Template),
    ("DELETE", "/templates/{id}", Platform, Template),
    ("GET", "/organizations", Read, None),
    ("POST", "/organizations", Platform, None),
    ("GET", "/organizations/{org}", Read, Org),
    ("PATCH", "/organizations/{org}", Manage, Org),
    ("DELETE", "/organizations/{org}", Platform, Org),
    ("GET", "/organizations/{org}/connections", Read, Org),
    ("POST", "/organizations/{org}/connections", Platform, Org),
    ("GET", "/organizations/{org}/connections/{id}", Read, Connection),
    ("PATCH", "/organizations/{org}/connections/{id}", Manage, Connection),
    ("DELETE", "/organizations/{org}/connections/{id}", Manage, Connection),
    ("GET", "/organizations/{org}/connections/{id}/health", Read, Connection),
    ("PUT", "/organizations/{org}/connections/{id}/credentials", Manage, Connection),
    ("DELETE", "/organizations/{org}/connections/{id}/credentials", Manage, Connection),
    ("GET", "/organizations/{org}/records", Read, Org),
    ("POST", "/organizations/{org}/records", Manage, Org),
    ("GET", "/organizations/{org}/records/{id}", Read, Record),
    ("PATCH", "/organizations/{org}/records/{id}", Manage, Record),
    ("GET", "/organizations/{org}/records/{id}/history", Read, Record),
    ("GET", "/organizations/{org}/records/{id}/why", Read, Record),
    ("GET", "/organizations/{org}/changes", Read, Org),
    ("GET", "/organizations/{org}/queue", Read, Org),
    ("POST", "/sync/{entity}", Manage, None),
    ("GET", "/sync/status", Read, None),
    ("GET", "/sync/status/export", Read, None),
    ("GET", "/sync/status/{id}", Read, Run),
    ("GET", "/sync/status/{id}/conflicts", Read, Run),
    ("GET", "/sync/status/{id}/records", Read, Run),
    ("GET", "/sync/status/{id}/requests", Read, Run),
    ("GET", "/sync/status/{id}/logs", Read, Run),
    ("GET", "/sync/status/{id}/events", Read, Run),
    ("GET", "/sync/status/{id}/export", Read, Run),
    ("POST", "/sync/status/{id}/cancel", Manage, Run),
    ("POST", "/sync/status/{id}/approve", Manage, Run),
    ("POST", "/sync/status/{id}/undo", Manage, Run),
    ("GET", "/sync/schedules", Read, None),
    ("POST", "/sync/schedules", Manage, None),
    ("GET", "/sync/schedules/{id}", Read, Schedule),
    ("PUT", "/sync/schedules/{id}", Manage, Schedule),
    ("DELETE", "/sync/schedules/{id}", Manage, Schedule),
    ("POST", "/sync/schedules/{id}/pause", Manage, Schedule),
    ("POST", "/sync/schedules/{id}/resume", Manage, Schedule),
    ("POST", "/sync/schedules/{id}/trigger", Manage, Schedule),
    ("GET", "/sync/schedules/{id}/next", Read, Schedule),
    ("GET", "/sync/schedules/{id}/fires", Read, Schedule),
    ("GET", "/sync/failures", Read, None),
    ("GET", "/sync/failures/{id}", Read, Failure),
    ("POST", "/sync/failures/{id}/retry", Manage, Failure),
    ("POST", "/sync/retry", Manage, None),
    ("GET", "/conflicts", Read, None),
    ("POST", "/conflicts/resolve", Manage, None),
    ("GET", "/conflicts/{id}", Read, Conflict),
    ("POST", "/conflicts/{id}/resolve", Manage, Conflict),
    ("GET", "/webhooks/deliveries", Read, None),
    ("GET", "/webhooks/deliveries/{id}", Read, Delivery),
    ("POST", "/webhooks/deliveries/{id}/replay", Manage, Delivery),
    ("GET", "/notifications/channels", Manage, None),
    ("POST", "/notifications/channels", Manage, None),
    ("GET", "/notifications/channels/{id}", Manage, Channel),
    ("PATCH", "/notifications/channels/{id}", Manage, Channel),
    ("DELETE", "/notifications/channels/{id}", Manage, Channel),
    ("POST", "/notifications/channels/{id}/test", Manage, Channel),
    ("GET", "/notifications/deliveries", Manage, None),
    ("POST", "/session", Nobody, None),
    ("GET", "/session", Anyone, None),
    ("DELETE", "/session", Anyone, None),
    ("POST", "/session/password", Anyone, None),
    ("GET", "/sessions", Anyone, None),
    ("DELETE", "/sessions/{id}", Anyone, None),
    ("GET", "/users", Manage, None),
    ("POST", "/users", Manage, None),
    ("GET", "/users/{id}", Manage, User),
    ("PATCH", "/users/{id}", Manage, User),
    ("DELETE", "/users/{id}", Manage, User),
    ("PUT", "/users/{id}/password", Manage, User),
    ("GET", "/tokens", Manage, None),
    ("POST", "/tokens", Manage, None),
    ("GET", "/tokens/{id}", Manage, Token),
    ("DELETE", "/tokens/{id}", Manage, Token),
    ("GET", "/audit", Manage, None),
    ("GET", "/audit/verify", Platform, None),
];

/// The mutating routes, for the test that performs each of them once.
pub(super) fn mutating() -> BTreeSet<(String, String)> {
    let routes = ROUTES.iter().filter(|(method, ..)| *method != "GET");
    routes.map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Without,
    Expired,
    PlatformAdmin,
    ViewerOfAll,
    Admin,
    Viewer,
}

impl Role {
    fn of_one(self) -> bool {
        matches!(self, Role::Admin | Role::Viewer)
    }

    fn may(self, may: May) -> bool {
        match may {
            Nobody | Anyone | Read => true,
            ReadPlatform => !self.of_one(),
            Manage => matches!(self, Role::Admin | Role::PlatformAdmin),
            Platform => self == Role::PlatformAdmin,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Own,
    Foreign,
    Unknown,
}

/// The status at the door; none where the request goes through to its handler.
fn refused(role: Role, may: May, kind: Kind, whose: Whose) -> Option<u16> {
    if may == Nobody {
        return Option::None;
    }
    if matches!(role, Role::Without | Role::Expired) {
        return Some(401);
    }
    let reached = kind == None || whose == Whose::Own || whose == Whose::Foreign && !role.of_one();
    if !reached {
        return Some(404);
    }
    (!role.may(may)).then_some(403)
}

fn path_of(path: &str, kind: Kind, ids: &Ids) -> String {
    let id = match kind {
        None | Org => "4000000",
        Connection => &ids.connection,
        Record => &ids.record,
        Run => &ids.run,
        Conflict => &ids.conflict,
        Failure => &ids.failure,
        Connector => &ids.connector,
        Template => &ids.template,
        Delivery => &ids.delivery,
        Channel => &ids.channel,
        Schedule => &ids.schedule,
        User => &ids.user,
        Token => &ids.token,
    };
    let path = path.replace("{org}", &ids.org).replace("{id}", id);
    path.replace("{name}", "absent").replace("{entity}", "member")
}

#[test]
fn the_table_names_every_route() {
    let stated: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(stated.len(), ROUTES.len(), "a route is named twice");
    assert_eq!(stated, routes::of_router(), "left: this table, right: the router");
    assert_eq!(stated, routes::declared(), "left: this table, right: `api/access/routes.rs`");
}

/// Nothing is sent along, so that what gets through to a handler that changes something is turned away there, except
/// where nothing is needed; that comes last.
#[test]
fn every_route_by_every_role_on_every_row() {
    let world = World::new();
    let host = &world.host;
    let expires = json!({
        "name": "expired", "role": "platformAdmin", "expiresAt": soon(),
    });
    let expired = host.call("POST", "/tokens", &expires, 201)["token"].clone();
    let expired = expired.as_str().expect("a token").to_owned();
    let callers = [
        (Role::Without, String::new()),
        (Role::Expired, expired),
        (Role::Viewer, token(host, "viewer", Some("north"))),
        (Role::ViewerOfAll, token(host, "viewer", Option::None)),
        (Role::Admin, token(host, "orgAdmin", Some("north"))),
        (Role::PlatformAdmin, host.token.clone()),
    ];
    until_expired(&world, &callers[1].1);
    let nowhere = unknown();
    let mut wrong = Vec::new();
    let mut cells = 0;
    for through in [false, true] {
        for (role, token) in &callers {
            for (method, path, may, kind) in ROUTES {
                let all = [
                    (Whose::Unknown, &nowhere),
                    (Whose::Foreign, &world.south),
                    (Whose::Own, &world.north),
                ];
                for (whose, ids) in all {
                    let refused = refused(*role, *may, *kind, whose);
                    if refused.is_none() != through || (*kind == None && whose != Whose::Own) {
                        continue;
                    }
                    cells += 1;
                    let path = path_of(path, *kind, ids);
                    let status = match role {
                        Role::Without => plain(host, method, &path, &[], &Value::Null).status,
                        _ => bare(&world, token, method, &path),
                    };
                    let good = match refused {
                        Some(wanted) => status == wanted,
                        // Without what a platform sends along it leads nowhere.
                        Option::None if path == "/oauth/callback" => status == 400,
                        Option::None if *method == "GET" && !path.starts_with("/plugins/") => {
                            status == 200
                        }
                        // Turned away by the handler, or done.
                        Option::None => goes_through(status, path.as_str()),
                    };
                    if !good {
                        let wanted =
                            refused.map_or_else(|| "through".to_owned(), |w| w.to_string());
                        wrong.push(format!(
                            "{role:?} {method} {path} ({whose:?}): {status}, not {wanted}"
                        ));
                    }
                }
            }
        }
    }
    println!("{cells} cells");
    assert!(cells > 700, "only {cells} cells");
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
}

/// Without `If-Match`, so that rows stay.
#[track_caller]
fn bare(world: &World, token: &str, method: &str, path: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    plain(&world.host, method, path, &headers, &Value::Null).status
}

fn goes_through(status: u16, path: &str) -> bool {
    match status {
        200..=299 | 400 | 409 | 422 | 428 => true,
        // There is no such plugin, and nobody has such a session.
        404 => path.starts_with("/plugins/absent") || path.starts_with("/sessions/"),
        _ => false,
    }
}

/// A second from now.
fn soon() -> String {
    let at = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    let since = at.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    jiff::Timestamp::from_millisecond(i64::try_from(since.as_millis()).expect("in range"))
        .expect("in range")
        .to_string()
}

fn until_expired(world: &World, token: &str) {
    let begin = std::time::Instant::now();
    while with_token(&world.host, token, "GET", "/session", &Value::Null).status != 401 {
        assert!(begin.elapsed().as_secs() < 30, "the token does not expire");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_is_no_route_is_refused_like_one() {
    let world = World::new();
    let viewer = token(&world.host, "viewer", Some("north"));
    for (method, path, status) in
        [("GET", "/nothing", 404), ("PUT", "/organizations", 405), ("POST", "/audit", 405)]
    {
        assert_eq!(plain(&world.host, method, path, &[], &Value::Null).status, 401, "{path}");
        assert_eq!(bare(&world, &viewer, method, path), status, "{method} {path}");
        assert_eq!(bare(&world, &world.host.token, method, path), status, "{method} {path}");
    }
}

/// Lists show what the caller reaches, and a filter does not widen it.
#[test]
fn lists_show_only_what_the_caller_reaches() {
    let world = World::new();
    let viewer = token(&world.host, "viewer", Some("north"));
    let admin = token(&world.host, "orgAdmin", Some("north"));
    let list = |token: &str, path: &str, status: u16| {
        let answer = with_token(&world.host, token, "GET", path, &Value::Null);
        assert_eq!(answer.status, status, "{path}");
        super::world::json_of(&answer)["items"].clone()
    };
    for path in ["/sync/status", "/sync/failures", "/conflicts"] {
        let rows = list(&viewer, path, 200);
        let rows = rows.as_array().expect("items");
        assert!(!rows.is_empty(), "{path}");
        assert!(rows.iter().all(|row| row["organizationId"] == "north"), "{path}: {rows:#?}");
        list(&viewer, &format!("{path}?organization=south"), 404);
        list(&viewer, &format!("{path}?organization=north"), 200);
    }
    for path in ["/users", "/tokens", "/audit"] {
        let rows = list(&admin, path, 200);
        let rows = rows.as_array().expect("items");
        assert!(!rows.is_empty(), "{path}");
        assert!(rows.iter().all(|row| row["organizationId"] == "north"), "{path}: {rows:#?}");
        list(&admin, &format!("{path}?organization=south"), 404);
    }
    assert_eq!(list(&viewer, "/organizations", 200)[0]["id"], "north");
    assert_eq!(list(&viewer, "/organizations", 200).as_array().map(Vec::len), Some(1));
    let connectors = list(&viewer, "/connectors", 200);
    assert_eq!(connectors.as_array().map(Vec::len), Some(1), "{connectors:#}");
    assert_eq!(connectors[0]["id"], world.north.connector.as_str());
    for hidden in ["endpoints", "config", "credentials"] {
        assert!(connectors[0].get(hidden).is_none(), "{connectors:#}");
    }
    assert_eq!(list(&viewer, "/templates", 200)[0]["id"], world.north.template.as_str());
    list(&viewer, &format!("/sync/status?connector={}", world.south.connector), 404);
    let export = with_token(&world.host, &viewer, "GET", "/sync/status/export", &Value::Null);
    let export = String::from_utf8_lossy(&export.body).into_owned();
    assert!(export.contains("\"north\"") && !export.contains("\"south\""), "{export}");
    // A cursor of somebody else's page does not lead there either.
    let everything = world.host.get("/sync/status?limit=1");
    list(&viewer, &format!("/sync/status?cursor={}", text(&everything, "nextCursor")), 200)
        .as_array()
        .expect("items")
        .iter()
        .for_each(|row| assert_eq!(row["organizationId"], "north"));
}

/// Bodies that name another organization.
#[test]
fn bodies_do_not_reach_beyond_the_caller() {
    let world = World::new();
    let admin = token(&world.host, "orgAdmin", Some("north"));
    let send = |method: &str, path: &str, body: Value, status: u16| {
        let answer = with_token(&world.host, &admin, method, path, &body);
        let shown = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{method} {path} {body}: {shown}");
    };
    let sync = |org: &str, connector: &str| json!({"organizationId": org, "connectorId": connector, "mode": "full"});
    send("POST", "/sync/member", sync("south", &world.south.connector), 404);
    send("POST", "/sync/member", sync("north", &world.south.connector), 404);
    send("POST", "/sync/member", sync("nowhere", &world.north.connector), 404);
    send("POST", "/sync/member", sync("north", &world.north.connector), 202);
    let all = json!({"choice": "local", "filter": {"organizationId": "south"}});
    send("POST", "/conflicts/resolve", all, 404);
    send("POST", "/conflicts/resolve", json!({"choice": "local"}), 200);
    assert_eq!(world.host.list("/conflicts?organization=south").len(), 1, "left alone");
    let mine = format!("/organizations/north/connections/{}", world.north.connection);
    send("PATCH", &mine, json!({"federationOrgId": "south"}), 403);
    send("PATCH", &mine, json!({"strategy": "merge"}), 200);
    let across = format!("/organizations/north/records/{}", world.south.record);
    send("PATCH", &across, json!({"fields": {"email": "x@example.ie"}}), 404);
    let across = format!("/organizations/north/connections/{}", world.south.connection);
    send("PATCH", &across, json!({"strategy": "merge"}), 404);
}
