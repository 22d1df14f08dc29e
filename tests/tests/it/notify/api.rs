//! Channels over the API: bodies, versions, secrets, and who sees which.

use serde_json::{Value, json};

use super::*;
use crate::fixture::checked;

fn slack(url: &str) -> Value {
    json!({"name": "chat", "kind": "slack", "config": {"url": url}})
}

#[test]
fn a_channel_is_made_changed_and_deleted_by_its_version() {
    let host = Host::start(&[]);
    let answer = host.send(
        "POST",
        "/notifications/channels",
        &[],
        &slack("https://hooks.example/T/B/canary"),
    );
    let made = checked("POST", "/notifications/channels", &answer, 201);
    let path = format!("/notifications/channels/{}", text(&made, "id"));
    assert_eq!(made["config"]["url"]["set"], true, "{made:#}");
    assert_eq!((&made["enabled"], &made["events"]), (&json!(true), &Value::Null), "{made:#}");
    host.call("PATCH", &path, &json!({"name": "other"}), 428);
    let stale = host.send("PATCH", &path, &[("If-Match", "\"7\"")], &json!({"name": "other"}));
    assert_eq!(stale.status, 412);
    let events = json!({"events": ["runHeld", "runFailed", "runFailed"], "name": "other"});
    let changed = host.change("PATCH", &path, &events, 200);
    assert_eq!(changed["events"], json!(["runFailed", "runHeld"]), "{changed:#}");
    assert_eq!(
        (&changed["name"], &changed["version"]),
        (&json!("other"), &json!(2)),
        "{changed:#}"
    );
    assert_eq!(changed["config"]["url"], made["config"]["url"], "the address stays: {changed:#}");
    assert_eq!(host.change("PATCH", &path, &json!({"events": null}), 200)["events"], Value::Null);
    host.change("DELETE", &path, &Value::Null, 204);
    host.call("GET", &path, &Value::Null, 404);
    host.call("POST", &format!("{path}/test"), &json!({}), 404);
    host.call("GET", "/notifications/channels/con_1", &Value::Null, 404);
    assert!(!host.log().contains("canary") && !made.to_string().contains("canary"));
}

#[test]
fn wrong_bodies_are_named_by_their_pointers() {
    let host = Host::start(&[]);
    let mail = |more: Value| {
        let mut config = json!({
            "host": "mail.example.org", "port": 587, "tls": "starttls",
            "from": "sync@example.org", "to": ["a@example.org"],
        });
        config.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        json!({"name": "mail", "kind": "email", "config": config})
    };
    let hook = |secret: &str| {
        let config = json!({"url": "https://example.org/h", "secret": secret});
        json!({"name": "hook", "kind": "webhook", "config": config})
    };
    let laid = |more: Value| {
        let mut body = hook(SIGNING_SECRET);
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        body
    };
    let cases = [
        (json!({"kind": "slack", "config": {"url": "https://a.example/"}}), "/name"),
        (json!({"name": "x", "kind": "pigeon", "config": {}}), "/kind"),
        (json!({"name": "x", "kind": "slack"}), "/config"),
        (slack("not a url"), "/config/url"),
        (slack("ftp://example.org/x"), "/config/url"),
        (slack("http://hooks.example.org/in/the/clear"), "/config/url"),
        (slack("https://10.0.0.8/private"), "/config/url"),
        (slack("https://[::1]/private"), "/config/url"),
        (slack("https://169.254.169.254/latest"), "/config/url"),
        (
            json!({"name": "x", "kind": "slack", "config": {"url": "https://a.example/", "uri": 1}}),
            "/config/uri",
        ),
        (hook("whsec_c2hvcnQ="), "/config/secret"),
        (hook("no prefix"), "/config/secret"),
        (laid(json!({"events": ["runfailed"]})), "/events/0"),
        (laid(json!({"events": ["channelTest"]})), "/events/0"),
        (laid(json!({"events": []})), "/events"),
        (laid(json!({"organizationId": "nobody"})), "/organizationId"),
        (laid(json!({"quietHours": {"from": "22:00", "to": "7"}})), "/quietHours/to"),
        (
            laid(json!({"quietHours": {"from": "22:00", "to": "07:00", "timezone": "Mars"}})),
            "/quietHours/timezone",
        ),
        (laid(json!({"enable": true})), "/enable"),
        (mail(json!({"host": "mail example"})), "/config/host"),
        (mail(json!({"port": 0})), "/config/port"),
        (mail(json!({"port": 70_000})), "/config/port"),
        (mail(json!({"tls": "maybe"})), "/config/tls"),
        (mail(json!({"from": "nobody"})), "/config/from"),
        (mail(json!({"from": "a@example.org\r\nBcc: b@example.org"})), "/config/from"),
        (mail(json!({"to": []})), "/config/to"),
        (mail(json!({"to": ["a@example.org", "b"]})), "/config/to/1"),
        (mail(json!({"username": "u"})), "/config/password"),
        (mail(json!({"password": "p"})), "/config/username"),
    ];
    for (body, pointer) in cases {
        let problem = host.call("POST", "/notifications/channels", &body, 422);
        let pointers: Vec<&str> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|e| e["pointer"].as_str())
            .collect();
        assert!(pointers.contains(&pointer), "{pointer}: {problem:#}");
    }
    assert!(host.list("/notifications/channels").is_empty(), "nothing was written");
    host.call("GET", "/notifications/deliveries?event=nothing", &Value::Null, 422);
}

#[test]
fn organization_admins_see_their_own_channels_only() {
    let host = Host::start(&[]);
    host.create_organization("west");
    host.create_organization("east");
    let of = |org: Option<&str>| {
        let mut body = slack("https://hooks.example/T/B/x");
        body["organizationId"] = json!(org);
        create(&host, &body)
    };
    let (platform, west, east) = (of(None), of(Some("west")), of(Some("east")));
    let token = json!({"name": "west", "role": "orgAdmin", "organizationId": "west"});
    let token = text(&host.call("POST", "/tokens", &token, 201), "token");
    let bearer = format!("Bearer {token}");
    let send = |method: &str, path: &str, body: &Value| {
        host.send(method, path, &[("Authorization", &bearer), ("If-Match", "*")], body)
    };
    let listed = checked("GET", "", &send("GET", "/notifications/channels", &Value::Null), 200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed:#}");
    assert_eq!(listed["items"][0]["id"], json!(west));
    for foreign in [&platform, &east] {
        let path = format!("/notifications/channels/{foreign}");
        for (method, path) in [
            ("GET", path.clone()),
            ("PATCH", path.clone()),
            ("DELETE", path.clone()),
            ("POST", format!("{path}/test")),
        ] {
            assert_eq!(send(method, &path, &json!({})).status, 404, "{method} {path}");
        }
    }
    let own = format!("/notifications/channels/{west}");
    assert_eq!(send("PATCH", &own, &json!({"name": "ours"})).status, 200);
    let mut body = slack("https://hooks.example/T/B/x");
    assert_eq!(send("POST", "/notifications/channels", &body).status, 422, "one for everything");
    body["organizationId"] = json!("east");
    assert_eq!(send("POST", "/notifications/channels", &body).status, 422, "a foreign one");
    body["organizationId"] = json!("west");
    assert_eq!(send("POST", "/notifications/channels", &body).status, 201);
    let path = "/notifications/deliveries?organization=east";
    assert_eq!(send("GET", path, &Value::Null).status, 404);
    host.change("DELETE", "/organizations/west", &Value::Null, 204);
    assert_eq!(host.list("/notifications/channels").len(), 2, "its channels went with it");
}
