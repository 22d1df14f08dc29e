//! Every route that changes something, done once: it succeeds for the least role that may, and leaves exactly one entry
//! in the audit log.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use syncline_tests::authority::Authority;
use syncline_tests::http::Answer;

use super::matrix;
use super::sessions::{cookie, login};
use super::world::{PASSWORD, World, channel, json_of, plain, template, token, user, with_token};
use crate::fixture::{Host, member, text};
use crate::plugins::{FOREIGN, foreign, upload};

/// Keeps the books: what was done, and how long the log is.
struct Doing<'a> {
    host: &'a Host,
    done: BTreeSet<(String, String)>,
    entries: u64,
}

impl<'a> Doing<'a> {
    fn new(host: &'a Host) -> Doing<'a> {
        Doing { host, done: BTreeSet::new(), entries: entries(host) }
    }

    /// After a call: its status, and the entries that it left.
    #[track_caller]
    fn note(&mut self, method: &str, route: &str, answer: &Answer, status: u16, left: u64) {
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{method} {route}: {body}");
        let now = entries(self.host);
        assert_eq!(now - self.entries, left, "{method} {route} leaves that many entries");
        self.entries = now;
        self.done.insert((method.to_owned(), route.to_owned()));
    }

    /// Calls `route` with its parameters filled in, and expects one entry.
    #[track_caller]
    fn call(
        &mut self,
        token: &str,
        (method, route): (&str, &str),
        fill: &[(&str, &str)],
        body: Value,
        status: u16,
    ) -> Value {
        let mut path = route.to_owned();
        for (name, value) in fill {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let answer = with_token(self.host, token, method, &path, &body);
        self.note(method, route, &answer, status, 1);
        if answer.body.is_empty() { Value::Null } else { json_of(&answer) }
    }

    /// What the test itself prepares does not count.
    fn forget(&mut self) {
        self.entries = entries(self.host);
    }
}

#[track_caller]
fn entries(host: &Host) -> u64 {
    let verdict = host.get("/audit/verify");
    assert_eq!(verdict["ok"], true, "{verdict:#}");
    verdict["entries"].as_u64().expect("a number")
}

#[test]
fn every_change_succeeds_and_leaves_one_entry() {
    let world = World::new();
    let admin = token(&world.host, "orgAdmin", Some("north"));
    let mut doing = Doing::new(&world.host);
    runs(&mut doing, &world, &admin);
    schedules(&mut doing, &world, &admin);
    records(&mut doing, &world, &admin);
    accounts(&mut doing, &admin);
    sessions(&mut doing);
    directory(&mut doing, &world);
    channels(&mut doing, &world, &admin);
    keys(&mut doing);
    plugins(&mut doing);
    authorizations(&mut doing);
    let all = matrix::mutating();
    let left: Vec<_> = all.difference(&doing.done).collect();
    assert!(left.is_empty(), "routes that nobody tried: {left:#?}");
}

fn runs(doing: &mut Doing<'_>, world: &World, admin: &str) {
    let north = &world.north;
    let delivery = [("id", north.delivery.as_str())];
    let replay = ("POST", "/webhooks/deliveries/{id}/replay");
    doing.call(admin, replay, &delivery, Value::Null, 202);
    let sync = json!({"organizationId": "north", "connectorId": north.connector});
    let one = [("entity", "member")];
    let decide = [("id", north.conflict.as_str())];
    let choice = json!({"choice": "local"});
    doing.call(admin, ("POST", "/conflicts/{id}/resolve"), &decide, choice.clone(), 200);
    doing.call(admin, ("POST", "/conflicts/resolve"), &[], choice, 200);
    world.sim.patch_member_of("north", "M-2", json!({"email": "moved@example.ie"}));
    let run = doing.call(admin, ("POST", "/sync/{entity}"), &one, sync.clone(), 202);
    world.host.ended(&text(&run, "syncId"));
    let id = text(&run, "syncId");
    doing.call(admin, ("POST", "/sync/status/{id}/undo"), &[("id", &id)], Value::Null, 200);
    let failure = [("id", north.failure.as_str())];
    let route = ("POST", "/sync/failures/{id}/retry");
    let run = doing.call(admin, route, &failure, Value::Null, 202);
    world.host.ended(&text(&run, "syncId"));
    let all = json!({"filter": {}});
    let retried = doing.call(admin, ("POST", "/sync/retry"), &[], all, 202);
    for job in retried["jobs"].as_array().expect("jobs") {
        world.host.ended(&text(job, "syncId"));
    }
    doing.forget();
    // Nobody is left at the source: such a run waits for a person.
    world.sim.set_members("north", &[]);
    for (action, status) in [("cancel", 202), ("approve", 202)] {
        let run = doing.call(admin, ("POST", "/sync/{entity}"), &one, sync.clone(), 202);
        let id = text(&run, "syncId");
        let held = world.host.ended(&id);
        assert_eq!(held["status"], "held", "{held:#}");
        let route = format!("/sync/status/{{id}}/{action}");
        let body = match action {
            "approve" => json!({"planHash": held["planHash"]}),
            _ => Value::Null,
        };
        doing.call(admin, ("POST", &route), &[("id", &id)], body, status);
        world.host.ended(&id);
    }
}

fn schedules(doing: &mut Doing<'_>, world: &World, admin: &str) {
    let body = json!({
        "organizationId": "north", "connectorId": world.north.connector, "cron": "0 2 29 2 *",
    });
    let made = doing.call(admin, ("POST", "/sync/schedules"), &[], body, 201);
    let id = text(&made, "id");
    let id = [("id", id.as_str())];
    let cron = json!({"cron": "0 3 29 2 *"});
    doing.call(admin, ("PUT", "/sync/schedules/{id}"), &id, cron, 200);
    let pause = json!({"reason": "holidays"});
    doing.call(admin, ("POST", "/sync/schedules/{id}/pause"), &id, pause, 200);
    doing.call(admin, ("POST", "/sync/schedules/{id}/resume"), &id, Value::Null, 200);
    let route = "/sync/schedules/{id}/trigger";
    let run = doing.call(admin, ("POST", route), &id, Value::Null, 202);
    world.host.ended(&text(&run, "syncId"));
    doing.call(admin, ("DELETE", "/sync/schedules/{id}"), &id, Value::Null, 204);
}

fn records(doing: &mut Doing<'_>, world: &World, admin: &str) {
    let org = [("org", "north")];
    let body = json!({"entity": "member", "fields": {"lastName": "New"}});
    let made = doing.call(admin, ("POST", "/organizations/{org}/records"), &org, body, 201);
    let id = text(&made, "id");
    let both = [("org", "north"), ("id", id.as_str())];
    let body = json!({"fields": {"email": "canary-of-a-person@example.ie"}});
    doing.call(admin, ("PATCH", "/organizations/{org}/records/{id}"), &both, body, 200);
    let logged = world.host.get("/audit?action=editRecord&limit=1")["items"][0].clone();
    assert_eq!(logged["after"]["fields"], json!(["email"]), "{logged:#}");
    assert!(!logged.to_string().contains("canary"), "values stay out: {logged:#}");
    let both = [("org", "north"), ("id", world.north.connection.as_str())];
    let body = json!({"strategy": "merge"});
    doing.call(admin, ("PATCH", "/organizations/{org}/connections/{id}"), &both, body, 200);
    let logged = world.host.get("/audit?action=updateConnection&limit=1")["items"][0].clone();
    assert_eq!(logged["before"], json!({"strategy": "manual"}), "{logged:#}");
    assert_eq!(logged["after"], json!({"strategy": "merge"}), "{logged:#}");
    let key = json!({"apiKey": "canary-of-a-connection"});
    let route = "/organizations/{org}/connections/{id}/credentials";
    doing.call(admin, ("PUT", route), &both, key, 200);
    doing.call(admin, ("DELETE", route), &both, Value::Null, 204);
    doing.call(admin, ("DELETE", "/organizations/{org}/connections/{id}"), &both, Value::Null, 204);
    doing.call(admin, ("PATCH", "/organizations/{org}"), &org, json!({"name": "North"}), 200);
}

fn accounts(doing: &mut Doing<'_>, admin: &str) {
    let body = json!({"email": "new@north.example", "role": "viewer", "password": PASSWORD});
    let made = doing.call(admin, ("POST", "/users"), &[], body, 201);
    assert_eq!(made["organizationId"], "north", "an admin's own, where none is named");
    let id = text(&made, "id");
    let id = [("id", id.as_str())];
    doing.call(admin, ("PATCH", "/users/{id}"), &id, json!({"name": "Nuala"}), 200);
    let body = json!({"password": "another long one"});
    doing.call(admin, ("PUT", "/users/{id}/password"), &id, body, 204);
    doing.call(admin, ("DELETE", "/users/{id}"), &id, Value::Null, 204);
    let body = json!({"name": "export", "role": "viewer"});
    let made = doing.call(admin, ("POST", "/tokens"), &[], body, 201);
    let id = text(&made, "id");
    doing.call(admin, ("DELETE", "/tokens/{id}"), &[("id", &id)], Value::Null, 204);
}

fn sessions(doing: &mut Doing<'_>) {
    let host = doing.host;
    user(host, "viewer@north.example", "viewer", Some("north"));
    doing.forget();
    let enter = |doing: &mut Doing<'_>| {
        let answer = login(host, "viewer@north.example", PASSWORD);
        doing.note("POST", "/session", &answer, 201, 1);
        (cookie(&answer), text(&json_of(&answer)["session"], "id"))
    };
    let (mine, id) = enter(doing);
    let headers = [("Cookie", mine.as_str())];
    let path = format!("/sessions/{id}");
    let answer = plain(host, "DELETE", &path, &headers, &Value::Null);
    doing.note("DELETE", "/sessions/{id}", &answer, 204, 1);
    let (mine, _) = enter(doing);
    let headers = [("Cookie", mine.as_str())];
    let answer = plain(host, "DELETE", "/session", &headers, &Value::Null);
    doing.note("DELETE", "/session", &answer, 204, 1);
    let (mine, _) = enter(doing);
    let headers = [("Cookie", mine.as_str())];
    let body = json!({"current": PASSWORD, "password": "a new and longer one"});
    let answer = plain(host, "POST", "/session/password", &headers, &body);
    doing.note("POST", "/session/password", &answer, 204, 1);
}

fn directory(doing: &mut Doing<'_>, world: &World) {
    let all = world.host.token.clone();
    let made = doing.call(&all, ("POST", "/templates"), &[], template("spare"), 201);
    let id = text(&made, "id");
    let id = [("id", id.as_str())];
    doing.call(&all, ("PUT", "/templates/{id}"), &id, template("renamed"), 200);
    // A preview changes nothing.
    let samples = json!({"records": [{"lastName": "Byrne"}]});
    let path = format!("/templates/{}/preview", id[0].1);
    let answer = with_token(doing.host, &all, "POST", &path, &samples);
    doing.note("POST", "/templates/{id}/preview", &answer, 200, 0);
    let samples = json!({"plugin": "gaa-foireann", "records": [{"lastName": "Byrne"}]});
    let answer = with_token(doing.host, &all, "POST", "/templates/preview", &samples);
    doing.note("POST", "/templates/preview", &answer, 200, 0);
    doing.call(&all, ("DELETE", "/templates/{id}"), &id, Value::Null, 204);
    let body = json!({
        "name": "Spare", "federationCode": "spare", "plugin": "gaa-foireann",
        "authType": "apiKey", "endpoints": {"baseUrl": world.sim.base_url()}, "config": {},
        "credentials": {"apiKey": "canary-of-a-key"},
    });
    let made = doing.call(&all, ("POST", "/connectors"), &[], body, 201);
    let id = text(&made, "id");
    let one = [("id", id.as_str())];
    doing.call(&all, ("PATCH", "/connectors/{id}"), &one, json!({"name": "Other"}), 200);
    let key = json!({"apiKey": "canary-of-another"});
    doing.call(&all, ("PUT", "/connectors/{id}/credentials"), &one, key, 200);
    let path = format!("/connectors/{id}/check");
    let answer = with_token(doing.host, &all, "POST", &path, &json!({}));
    doing.note("POST", "/connectors/{id}/check", &answer, 200, 0);
    let off = json!({"status": "inactive"});
    doing.call(&all, ("POST", "/connectors/{id}/status"), &one, off, 200);
    doing.call(&all, ("POST", "/connectors/{id}/clear-errors"), &one, Value::Null, 200);
    let body = json!({"id": "spare", "name": "Spare"});
    doing.call(&all, ("POST", "/organizations"), &[], body, 201);
    let org = [("org", "spare")];
    let body = json!({"connectorId": id, "federationOrgId": "spare"});
    let made = doing.call(&all, ("POST", "/organizations/{org}/connections"), &org, body, 201);
    let path = format!("/organizations/spare/connections/{}", text(&made, "id"));
    assert_eq!(with_token(doing.host, &all, "DELETE", &path, &Value::Null).status, 204);
    doing.forget();
    let route = "/connectors/{id}/credentials";
    doing.call(&all, ("DELETE", route), &one, Value::Null, 204);
    doing.call(&all, ("DELETE", "/connectors/{id}"), &one, Value::Null, 204);
    doing.call(&all, ("DELETE", "/organizations/{org}"), &org, Value::Null, 204);
    let log = json!(doing.host.list("/audit")).to_string();
    assert!(log.contains("setCredentials") && !log.contains("canary"), "{log}");
}

fn channels(doing: &mut Doing<'_>, world: &World, admin: &str) {
    let body = channel(&format!("{}/hook", world.sim.base_url()), Some("north"));
    let made = doing.call(admin, ("POST", "/notifications/channels"), &[], body, 201);
    let id = text(&made, "id");
    let id = [("id", id.as_str())];
    let name = json!({"name": "renamed"});
    doing.call(admin, ("PATCH", "/notifications/channels/{id}"), &id, name, 200);
    let route = "/notifications/channels/{id}/test";
    doing.call(admin, ("POST", route), &id, Value::Null, 200);
    doing.call(admin, ("DELETE", "/notifications/channels/{id}"), &id, Value::Null, 204);
}

fn keys(doing: &mut Doing<'_>) {
    let all = doing.host.token.clone();
    doing.call(&all, ("POST", "/keys/rotate"), &[], Value::Null, 202);
}

fn plugins(doing: &mut Doing<'_>) {
    let all = doing.host.token.clone();
    let answer = upload(doing.host, &foreign());
    doing.note("POST", "/plugins", &answer, 201, 1);
    let sha256 = json!({"sha256": json_of(&answer)["sha256"]});
    let name = [("name", FOREIGN)];
    doing.call(&all, ("POST", "/plugins/{name}/approve"), &name, sha256.clone(), 200);
    doing.call(&all, ("POST", "/plugins/{name}/activate"), &name, sha256, 200);
    doing.call(&all, ("POST", "/plugins/reload"), &[], Value::Null, 200);
}

/// Of an organization's own, on a host that may speak to a platform.
fn authorizations(doing: &mut Doing<'_>) {
    let authority = Authority::start().expect("an authority");
    let host = Host::start(&[authority.host_port()]);
    host.create_organization("north");
    let connector = host.create_connector(
        "",
        json!({
            "authType": "oauth2",
            "endpoints": {
                "baseUrl": authority.url("/api"),
                "authorizeUrl": authority.url("/authorize"),
                "tokenUrl": authority.url("/token"),
            },
            "credentials": {"clientId": "shared", "clientSecret": "canary-of-a-client"},
        }),
    );
    let connection = host.connect("north", &connector, "club-1", json!({}));
    let admin = token(&host, "orgAdmin", Some("north"));
    let mut own = Doing::new(&host);
    let both = [("org", "north"), ("id", connection.as_str())];
    let key = json!({
        "clientId": "own", "clientSecret": "canary-of-a-client", "refreshToken": "canary-refresh-0",
    });
    let route = "/organizations/{org}/connections/{id}/credentials";
    own.call(&admin, ("PUT", route), &both, key, 200);
    let (one, body) = ([("id", connector.as_str())], json!({"connectionId": connection}));
    let refreshed =
        own.call(&admin, ("POST", "/connectors/{id}/oauth/refresh"), &one, body.clone(), 200);
    assert_eq!(refreshed["connectionId"], connection.as_str(), "{refreshed:#}");
    own.call(&admin, ("POST", "/connectors/{id}/oauth/start"), &one, body, 200);
    let log = json!(host.list("/audit")).to_string();
    assert!(!log.contains("canary"), "{log}");
    doing.done.extend(own.done);
}

/// A change that is refused leaves nothing.
#[test]
fn what_is_refused_leaves_no_entry() {
    let world = World::new();
    let before = entries(&world.host);
    let viewer = {
        let made = token(&world.host, "viewer", Some("north"));
        assert_eq!(entries(&world.host), before + 1);
        made
    };
    let fields = json!({"fields": member(1, json!({}))});
    let path = format!("/organizations/north/records/{}", world.north.record);
    for (token, method, path, body, status) in [
        (&viewer, "PATCH", path.as_str(), &fields, 403),
        (&world.host.token, "POST", "/organizations", &json!({"id": "north", "name": "x"}), 409),
        (&world.host.token, "POST", "/users", &json!({"email": "x"}), 422),
        (&world.host.token, "POST", "/tokens", &json!({"role": "king"}), 422),
    ] {
        assert_eq!(with_token(&world.host, token, method, path, body).status, status, "{path}");
    }
    assert_eq!(entries(&world.host), before + 1);
}
