//! Tokens: shown once, bound to a role and an organization, and at an end when they expire, are deleted, or their
//! organization is gone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::world::{plain, token, with_token};
use crate::fixture::{Host, text};

fn host() -> Host {
    let host = Host::start(&[]);
    host.create_organization("north");
    host.create_organization("south");
    host
}

fn status(host: &Host, token: &str, path: &str) -> u16 {
    with_token(host, token, "GET", path, &Value::Null).status
}

#[test]
fn a_token_is_shown_once_and_works_until_it_is_deleted() {
    let mut host = host();
    let body =
        json!({"name": "reports", "role": "viewer", "organizationId": "north", "machine": true});
    let made = host.call("POST", "/tokens", &body, 201);
    let (id, secret) = (text(&made, "id"), text(&made, "token"));
    assert!(secret.starts_with("syn_"), "{made:#}");
    let path = format!("/tokens/{id}");
    for shown in [host.get(&path), json!(host.list("/tokens")), json!(host.list("/audit"))] {
        assert!(!shown.to_string().contains(&secret), "{shown:#}");
    }
    assert_eq!(host.get(&path)["machine"], true);
    assert_eq!(host.get(&path)["createdBy"], "admin");
    assert_eq!(status(&host, &secret, "/organizations/north"), 200);
    // Its last use is noted beside the request.
    let begin = Instant::now();
    while host.get(&path)["lastUsedAt"].is_null() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the use is not noted");
        std::thread::sleep(Duration::from_millis(10));
    }
    host.restart();
    assert_eq!(status(&host, &secret, "/organizations/north"), 200, "after a restart too");
    assert_eq!(host.send("DELETE", &path, &[], &Value::Null).status, 428);
    host.change("DELETE", &path, &Value::Null, 204);
    assert_eq!(status(&host, &secret, "/organizations/north"), 401);
    host.call("GET", &path, &Value::Null, 404);
}

#[test]
fn bodies_are_refused_with_a_pointer() {
    let host = host();
    for (body, pointer) in [
        (json!({"role": "viewer"}), "/name"),
        (json!({"name": "x"}), "/role"),
        (json!({"name": "x", "role": "admin"}), "/role"),
        (json!({"name": "x", "role": "orgAdmin"}), "/organizationId"),
        (json!({"name": "x", "role": "viewer", "organizationId": "nowhere"}), "/organizationId"),
        (json!({"name": "x", "role": "viewer", "expiresAt": "tomorrow"}), "/expiresAt"),
        (json!({"name": "x", "role": "viewer", "expiresAt": "2020-01-01T00:00:00Z"}), "/expiresAt"),
        (json!({"name": "x", "role": "viewer", "machine": 1}), "/machine"),
        (json!({"name": "x", "role": "viewer", "expires": "never"}), "/expires"),
    ] {
        let problem = host.call("POST", "/tokens", &body, 422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
}

#[test]
fn nobody_hands_out_more_than_they_have() {
    let host = host();
    let admin = token(&host, "orgAdmin", Some("north"));
    for (body, status) in [
        (json!({"name": "x", "role": "platformAdmin"}), 403),
        (json!({"name": "x", "role": "viewer", "organizationId": "south"}), 422),
        (json!({"name": "x", "role": "orgAdmin", "organizationId": "north"}), 201),
        (json!({"name": "x", "role": "viewer"}), 201),
    ] {
        let answer = with_token(&host, &admin, "POST", "/tokens", &body);
        assert_eq!(answer.status, status, "{body}: {}", String::from_utf8_lossy(&answer.body));
    }
    let mine = host.list("/tokens?organization=north");
    assert_eq!(mine.len(), 3, "the viewer's is bound to the organization too: {mine:#?}");
    assert!(!host.list("/tokens").is_empty() && host.list("/tokens?organization=south").is_empty());
}

#[test]
fn tokens_of_an_organization_end_with_it() {
    let host = host();
    let viewer = token(&host, "viewer", Some("south"));
    assert_eq!(status(&host, &viewer, "/organizations/south"), 200);
    host.change("DELETE", "/organizations/south", &Value::Null, 204);
    assert_eq!(status(&host, &viewer, "/organizations"), 401);
    // Another one of the same name is another one.
    host.create_organization("south");
    assert_eq!(status(&host, &viewer, "/organizations/south"), 401);
}

#[test]
fn what_is_no_token_is_refused_in_every_form() {
    let host = host();
    let good = format!("Bearer {}", host.token);
    for (header, wanted) in [
        (good.as_str(), 200),
        (&good.replace("Bearer", "bearer"), 200),
        (&good.replace("Bearer ", ""), 401),
        (&good.replace("Bearer", "Basic"), 401),
        (&good[..good.len() - 1], 401),
        ("Bearer ", 401),
        ("Bearer syn_", 401),
        ("", 401),
    ] {
        let headers = [("Authorization", header)];
        let answer = plain(&host, "GET", "/organizations", &headers, &Value::Null);
        assert_eq!(answer.status, wanted, "{header:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), wanted == 401);
    }
}
