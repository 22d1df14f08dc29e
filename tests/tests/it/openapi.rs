//! The HTTP API as such: its description, paging, entity tags, and requests that nobody means well.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::described;
use crate::fixture::{Host, ORG, Setup, checked, members, text};
use crate::tidy::source;

#[test]
fn the_checked_in_document_is_the_served_one() {
    let host = Host::start(&[]);
    let open = [("Authorization", "none")];
    let served = checked(
        "GET",
        "/openapi.json",
        &host.send("GET", "/openapi.json", &open, &Value::Null),
        200,
    );
    let renew = "renew it: syncline openapi > docs/openapi.json";
    assert!(
        &served == described::document(),
        "docs/openapi.json is not what the server says; {renew}"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_syncline-under-test")).arg("openapi").output();
    let printed = String::from_utf8(output.expect("the command runs").stdout).expect("UTF-8");
    let kept = fs::read_to_string(source::root().join("docs/openapi.json")).expect("the document");
    assert!(printed == kept, "docs/openapi.json is not what the command prints; {renew}");
}

#[test]
fn every_operation_has_what_a_reader_needs() {
    let document = described::document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let place = format!("{method} {path}");
            ids.push(text(operation, "operationId"));
            assert!(!text(operation, "summary").is_empty(), "{place}");
            let responses = operation["responses"].as_object().expect("responses");
            assert!(responses.keys().any(|status| status.starts_with('2')), "{place}");
            let parameters = operation["parameters"].as_array().expect("parameters");
            let has = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
            let is_open = operation["security"] == json!([]);
            assert_eq!(has("Idempotency-Key"), method == "post" && !is_open, "{place}");
            // A login has no version.
            let changes = matches!(method.as_str(), "put" | "patch" | "delete");
            assert_eq!(has("If-Match"), changes && !path.contains("/session"), "{place}");
            assert_eq!(has("cursor"), has("limit"), "{place}");
            assert!(is_open || operation["x-role"].is_string(), "{place}");
            assert!(is_open || responses.contains_key("401"), "{place}");
        }
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "operation ids are not unique");
}

#[test]
fn a_row_that_did_not_change_is_not_sent_again() {
    let host = Host::start(&[]);
    host.create_organization(ORG);
    let path = format!("/organizations/{ORG}");
    let read = |tag: &str| host.send("GET", &path, &[("If-None-Match", tag)], &Value::Null).status;
    assert_eq!(read("\"1\""), 304);
    assert_eq!(read("\"7\", W/\"1\""), 304);
    assert_eq!(read("*"), 304);
    assert_eq!(read("\"2\""), 200);
    host.change("PATCH", &path, &json!({"name": "Another"}), 200);
    assert_eq!(read("\"1\""), 200);
    assert_eq!(read("\"2\""), 304);
}

#[test]
fn what_is_missing_is_said_before_what_is_wrong() {
    let setup = Setup::new(&members(1));
    setup.synced();
    let host = &setup.host;
    let record = text(&setup.records()[0], "id");
    let template = host.call(
        "POST",
        "/templates",
        &json!({"name": "T", "plugin": "gaa-foireann", "entities":
            {"member": {"fields": [{"source": "firstName", "target": "firstName"}]}}}),
        201,
    );
    let rows = [
        ("/connectors/con_9".to_owned(), format!("/connectors/{}", setup.connector), "PATCH"),
        ("/organizations/none".to_owned(), format!("/organizations/{ORG}"), "PATCH"),
        (
            format!("/organizations/{ORG}/connections/link_9"),
            format!("/organizations/{ORG}/connections/{}", setup.connection),
            "PATCH",
        ),
        (
            format!("/organizations/{ORG}/records/rec_9"),
            format!("/organizations/{ORG}/records/{record}"),
            "PATCH",
        ),
        ("/templates/tpl_9".to_owned(), format!("/templates/{}", text(&template, "id")), "PUT"),
    ];
    let wrong = json!({"nonsense": 1});
    for (missing, there, method) in rows {
        let send = |path: &str, headers: &[(&str, &str)]| host.send(method, path, headers, &wrong);
        let tag = host.send("GET", &there, &[], &Value::Null);
        let tag = tag.header("etag").expect("a tag").to_owned();
        assert_eq!(send(&missing, &[]).status, 404, "{method} {missing}");
        assert_eq!(send(&there, &[("Authorization", "Bearer no")]).status, 401, "{method} {there}");
        assert_eq!(send(&there, &[]).status, 428, "{method} {there}");
        assert_eq!(send(&there, &[("If-Match", &tag)]).status, 422, "{method} {there}");
        assert_eq!(send(&there, &[("If-Match", "*")]).status, 422, "{method} {there}");
    }
    let path = format!("/organizations/{ORG}");
    let stale = host.send("PATCH", &path, &[("If-Match", "\"99\"")], &json!({"name": "x"}));
    assert_eq!(checked("PATCH", &path, &stale, 412)["code"], "stale");
    let unknown = "/connectors/con_9/credentials";
    assert_eq!(host.send("PUT", unknown, &[], &wrong).status, 404);
}

#[test]
fn lists_are_paged_to_their_end() {
    let host = Host::start(&[]);
    for number in 0..5 {
        host.create_organization(&format!("org-{number}"));
    }
    let mut seen = Vec::new();
    let mut path = "/organizations?limit=2".to_owned();
    loop {
        let page = host.get(&path);
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 2 && !items.is_empty(), "{page:#}");
        seen.extend(items.iter().map(|row| text(row, "id")));
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/organizations?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["org-0", "org-1", "org-2", "org-3", "org-4"]);
}

#[test]
fn a_cursor_of_another_list_is_refused() {
    let host = Host::start(&[]);
    for id in ["a", "b", "c"] {
        host.create_organization(id);
    }
    let page = host.get("/organizations?limit=1");
    let cursor = text(&page, "nextCursor");
    for path in [
        format!("/connectors?cursor={cursor}"),
        format!("/sync/status?cursor={cursor}"),
        "/organizations?cursor=a".to_owned(),
        "/organizations?cursor=%00".to_owned(),
        format!("/organizations?cursor={cursor}x"),
    ] {
        let answer = host.call("GET", &path, &Value::Null, 422);
        assert_eq!(answer["errors"][0]["pointer"], "?cursor", "{path}");
    }
    let again = host.get(&format!("/organizations?limit=1&cursor={cursor}"));
    assert_eq!(again["items"][0]["id"], "b");
}

#[test]
fn a_history_is_paged_with_its_beginning() {
    let setup = Setup::new(&members(1));
    setup.synced();
    for number in 0..3 {
        setup.edit("M-1", json!({"phone": format!("087 000 000{number}")}));
    }
    let record = text(&setup.record("M-1"), "id");
    let whole = setup.host.list(&format!("/organizations/{ORG}/records/{record}/history"));
    let mut paged = Vec::new();
    let base = format!("/organizations/{ORG}/records/{record}/history?limit=1");
    let mut path = base.clone();
    loop {
        let page = setup.host.get(&path);
        paged.extend(page["items"].as_array().expect("items").clone());
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("{base}&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(whole.len(), 4, "{whole:#?}");
    assert_eq!(paged, whole);
    assert_eq!(whole[3]["kind"], "created");
}

#[test]
fn hostile_requests_get_a_described_refusal() {
    let host = Host::start(&[]);
    host.create_organization(ORG);
    let long = "x".repeat(5_000);
    let deep = format!("{{\"name\": {}{}}}", "[".repeat(500), "]".repeat(500));
    let json = ("Content-Type", "application/json");
    let text = ("Content-Type", "text/plain");
    type Case<'a> = (&'a [u8], (&'a str, &'a str), u16, &'a str);
    let bodies: [Case<'_>; 10] = [
        (b"{\"name\": \"\xff\"}", json, 422, "bad-json"),
        (b"{\"name\": \"a\", \"name\": \"b\"}", json, 422, "invalid"),
        (b"{\"name\": 1e999}", json, 422, "bad-json"),
        (b"{\"name\"", json, 422, "bad-json"),
        (deep.as_bytes(), json, 422, "bad-json"),
        // Not as good as no body, which stands for an empty object.
        (b" ", json, 422, "bad-json"),
        (b"[]", json, 422, "invalid"),
        (b"{\"name\": 123456789012345678901234567890}", json, 422, "invalid"),
        (b"{\"name\": \"a\"}", text, 415, "body.not-json"),
        (b"{\"id\": \"a\\u0000b\", \"name\": \"a\"}", json, 422, "invalid"),
    ];
    for (body, kind, status, code) in bodies {
        let answer = host.raw("POST", "/organizations", &[kind], body);
        let shown = String::from_utf8_lossy(body);
        assert_eq!(checked("POST", &shown, &answer, status)["code"], code, "{shown}");
    }
    let large = vec![b' '; 2 << 20];
    let answer = host.raw("POST", "/organizations", &[json], &large);
    assert_eq!(checked("POST", "a large body", &answer, 413)["code"], "body.too-large");
    for (path, status) in [
        (format!("/organizations/{ORG}%00"), 404),
        (format!("/organizations/{ORG}%00x/records"), 404),
        ("/organizations/%ff".to_owned(), 404),
        ("/organizations/%2e%2e%2f".to_owned(), 404),
        (format!("/organizations/{long}"), 404),
        ("/connectors/con_99999999999999999999".to_owned(), 404),
        ("/connectors/con_01".to_owned(), 404),
        ("/connectors?status=active&status=error".to_owned(), 422),
        ("/connectors?status=".to_owned(), 422),
        ("/connectors?limit=".to_owned(), 422),
        ("/connectors?limit=-1".to_owned(), 422),
        ("/connectors?limit=99999999999999999999".to_owned(), 422),
        ("/connectors?color=red".to_owned(), 422),
        ("/sync/status?status=completed,gone".to_owned(), 422),
        ("/sync/status?since=yesterday".to_owned(), 422),
        (format!("/organizations/{ORG}/queue?state=lost"), 422),
    ] {
        host.call("GET", &path, &Value::Null, status);
    }
    host.call("DELETE", "/organizations", &Value::Null, 405);
    let fields = json!({"entity": "starship", "fields": {}});
    let path = format!("/organizations/{ORG}/records");
    let refused = host.call("POST", &path, &fields, 422);
    assert_eq!(refused["errors"][0]["pointer"], "/entity");
}
