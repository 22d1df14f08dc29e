//! Two organizations with one of everything each, and callers of every role.

use serde_json::{Value, json};
use syncline::signature;
use syncline_tests::foireann::{Options, Sim};
use syncline_tests::http::{Answer, Connection, Request};

use crate::fixture::{API_KEY, Host, federation, member, text};

pub(crate) const PASSWORD: &str = "long and unguessed";
/// Of the webhooks of both connectors.
const SECRET: &str = "a secret of webhooks";

/// A request below `/api/v1` with these headers and no others.
#[track_caller]
pub(crate) fn plain(
    host: &Host,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let target = format!("/api/v1{path}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request { method, target: &target, headers, body: body.as_bytes() };
    Connection::open(host.address())
        .and_then(|mut connection| connection.send(&request))
        .unwrap_or_else(|cause| panic!("{method} {target}: {cause}\n{}", host.log()))
}

/// A request with a token of one's own, and `If-Match: *`.
#[track_caller]
pub(crate) fn with_token(
    host: &Host,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str()), ("If-Match", "*")];
    plain(host, method, path, &headers, body)
}

#[track_caller]
pub(crate) fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("a JSON answer")
}

/// A new token; its secret.
#[track_caller]
pub(crate) fn token(host: &Host, role: &str, organization: Option<&str>) -> String {
    let body = json!({"name": format!("a {role}"), "role": role, "organizationId": organization});
    text(&host.call("POST", "/tokens", &body, 201), "token")
}

/// A new user with [`PASSWORD`]; its id.
#[track_caller]
pub(crate) fn user(host: &Host, email: &str, role: &str, organization: Option<&str>) -> String {
    let body = json!({
        "email": email, "role": role, "organizationId": organization, "password": PASSWORD,
    });
    text(&host.call("POST", "/users", &body, 201), "id")
}

/// The ids of what one organization has.
pub(crate) struct Ids {
    pub(crate) org: String,
    pub(crate) connector: String,
    pub(crate) template: String,
    pub(crate) connection: String,
    pub(crate) record: String,
    pub(crate) run: String,
    pub(crate) conflict: String,
    pub(crate) failure: String,
    pub(crate) delivery: String,
    pub(crate) channel: String,
    pub(crate) schedule: String,
    pub(crate) user: String,
    pub(crate) token: String,
}

/// Ids that nothing has.
pub(crate) fn unknown() -> Ids {
    let id = |prefix: &str| format!("{prefix}_4000000");
    Ids {
        org: "nowhere".to_owned(),
        connector: id("con"),
        template: id("tpl"),
        connection: id("link"),
        record: id("rec"),
        run: id("run"),
        conflict: id("conf"),
        failure: id("fail"),
        delivery: id("hook"),
        channel: id("chan"),
        schedule: id("sch"),
        user: id("usr"),
        token: id("tok"),
    }
}

/// A host with `north` and `south`, each with a connector, template, run, conflict, failure and accounts of its own.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) sim: Sim,
    pub(crate) north: Ids,
    pub(crate) south: Ids,
}

impl World {
    #[track_caller]
    pub(crate) fn new() -> World {
        let sim = federation(Options::members(0));
        let host = Host::start(&[sim.host_port()]);
        let north = furnish(&host, &sim, "north");
        let south = furnish(&host, &sim, "south");
        World { host, sim, north, south }
    }
}

#[track_caller]
fn furnish(host: &Host, sim: &Sim, org: &str) -> Ids {
    let nameless = member(9, json!({"lastName": ""}));
    sim.set_members(org, &[member(1, json!({})), member(2, json!({})), nameless]);
    host.create_organization(org);
    let template = host.call("POST", "/templates", &template(org), 201);
    let template = text(&template, "id");
    let credentials = json!({"apiKey": API_KEY, "webhookSecret": SECRET});
    let connector = host.create_connector(
        &sim.base_url(),
        json!({"templateId": template, "credentials": credentials}),
    );
    let connection = host.connect(org, &connector, org, json!({"strategy": "manual"}));
    let run = host.sync(org, &connector, json!({}));
    assert_eq!(run["status"], "completed", "{run:#}");
    let records = host.records(org);
    let record = text(&records[0], "id");
    host.edit(org, &record, json!({"email": "ours@example.ie"}));
    sim.patch_member_of(org, "M-1", json!({"email": "theirs@example.ie"}));
    let run = host.sync(org, &connector, json!({}));
    let of_org = |path: &str| host.list(&format!("{path}?organization={org}"));
    let (conflicts, failures) = (of_org("/conflicts"), of_org("/sync/failures"));
    assert_eq!((conflicts.len(), failures.len()), (1, 1), "{conflicts:#?} {failures:#?}");
    let delivery = delivered(host, &connector, org);
    let made = channel(&format!("{}/hook", sim.base_url()), Some(org));
    let channel = text(&host.call("POST", "/notifications/channels", &made, 201), "id");
    let made = json!({"name": "of the world", "role": "viewer", "organizationId": org});
    let token = text(&host.call("POST", "/tokens", &made, 201), "id");
    let made = json!({"organizationId": org, "connectorId": connector, "cron": "0 2 29 2 *"});
    let schedule = text(&host.call("POST", "/sync/schedules", &made, 201), "id");
    Ids {
        org: org.to_owned(),
        connector,
        template,
        connection,
        record,
        run: text(&run, "syncId"),
        conflict: text(&conflicts[0], "id"),
        failure: text(&failures[0], "id"),
        delivery,
        channel,
        schedule,
        user: user(host, &format!("somebody@{org}.example"), "viewer", Some(org)),
        token,
    }
}

/// A delivery that concerned the organization, processed; its id.
#[track_caller]
fn delivered(host: &Host, connector: &str, org: &str) -> String {
    let event = json!({
        "connectorId": connector, "federationOrgId": org, "memberId": "M-2", "event": "updated",
    });
    let form = signature::shipped("original").expect("a scheme");
    let signed = signature::sign(&form, SECRET, "", 0, event.to_string().as_bytes());
    let body = signed.expect("it can be signed").body;
    let target = "/webhooks/federation";
    let request = Request { method: "POST", target, headers: &[], body: &body };
    let answer = Connection::open(host.address()).and_then(|mut server| server.send(&request));
    let id = text(&json_of(&answer.expect("an answer")), "deliveryId");
    let row = host.until(&format!("/webhooks/deliveries/{id}"), "to be processed", |row| {
        row["status"] == "ended"
    });
    host.ended(&text(&row["runs"][0], "syncId"));
    id
}

/// A channel that no run writes to.
pub(crate) fn channel(url: &str, organization: Option<&str>) -> Value {
    json!({
        "name": "backups", "kind": "webhook", "organizationId": organization,
        "events": ["backupFailed"],
        "config": {"url": url, "secret": "whsec_Y2FuYXJ5LW9mLWEtY2hhbm5lbC1zZWNyZXQ="},
    })
}

/// A template that only wants a name.
pub(crate) fn template(name: &str) -> Value {
    let fields = json!([
        {"source": "lastName", "target": "lastName", "required": true},
        {"source": "email", "target": "email"},
    ]);
    json!({"name": name, "plugin": "gaa-foireann", "entities": {"member": {"fields": fields}}})
}
