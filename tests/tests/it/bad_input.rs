//! Input that cannot be: each wrong member is named by its pointer with what would be right, and nothing changes.

use serde_json::{Value, json};
use syncline_tests::http::{Answer, Connection, Request};

use crate::fixture::{CLUB, Host, ORG, Setup, members, text};

/// Everything that requests about the set-up could change.
#[track_caller]
fn everything(setup: &Setup) -> Value {
    let host = &setup.host;
    let connector = host.get(&format!("/connectors/{}", setup.connector));
    json!({
        "organizations": host.list("/organizations"),
        "connectors": host.list("/connectors"),
        "connector": connector,
        "connections": host.list(&format!("/organizations/{ORG}/connections")),
        "templates": host.list("/templates"),
        "runs": host.list("/sync/status"),
        "records": setup.records(),
        "queue": host.list(&format!("/organizations/{ORG}/queue")),
    })
}

/// A request whose body is sent as it stands.
#[track_caller]
fn raw(host: &Host, method: &str, path: &str, body: &[u8]) -> Answer {
    let authorization = format!("Bearer {}", host.token);
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", authorization.as_str()),
        ("If-Match", "*"),
    ];
    let target = format!("/api/v1{path}");
    let request = Request { method, target: &target, headers: &headers, body };
    let mut connection = Connection::open(host.address()).expect("a connection");
    connection.send(&request).expect("an answer")
}

/// What an answer lacks that should refuse with this status, name this pointer and say these words about it.
fn lacks(answer: &Answer, status: u16, pointer: &str, words: &str) -> Option<String> {
    let shown = String::from_utf8_lossy(&answer.body);
    let Ok(problem) = serde_json::from_slice::<Value>(&answer.body) else {
        return Some(format!("is no JSON: {shown}"));
    };
    if answer.status != status || !problem["code"].is_string() || !problem["detail"].is_string() {
        return Some(format!("is not a {status}: {} {shown}", answer.status));
    }
    let faults = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let fault = faults.iter().find(|fault| fault["pointer"] == pointer);
    let message = fault.and_then(|fault| fault["message"].as_str());
    match message {
        _ if status != 422 => None,
        Some(message) if message.contains(words) => None,
        _ => Some(format!("has no {pointer:?} with {words:?}: {shown}")),
    }
}

#[track_caller]
fn refused(answer: &Answer, asked: &str, status: u16, pointer: &str, words: &str) {
    if let Some(lack) = lacks(answer, status, pointer, words) {
        panic!("{asked} {lack}");
    }
}

/// A set-up with a template, and a second organization that is connected too.
#[track_caller]
fn set_up() -> (Setup, String) {
    let setup = Setup::new(&members(2));
    setup.synced();
    let body = json!({"name": "Mine", "plugin": "gaa-foireann", "entities": {"member": {"fields": [
        {"source": "firstName", "target": "firstName"},
    ]}}});
    let template = text(&setup.host.call("POST", "/templates", &body, 201), "id");
    setup.host.create_organization("other");
    setup.host.connect("other", &setup.connector, "club-2", json!({}));
    (setup, template)
}

#[test]
fn every_wrong_member_is_named_and_nothing_changes() {
    let (setup, template) = set_up();
    let before = everything(&setup);
    let mut cases = organizations();
    cases.extend(connectors(&setup));
    cases.extend(connections(&setup));
    cases.extend(templates(&template));
    cases.extend(syncs(&setup));
    let mut complaints = Vec::new();
    for (method, path, body, pointer, words) in &cases {
        let answer = raw(&setup.host, method, path, body.to_string().as_bytes());
        let lack = lacks(&answer, 422, pointer, words);
        complaints.extend(lack.map(|lack| format!("{method} {path} {body}: the answer {lack}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(everything(&setup), before, "a refused request left something behind");
}

/// Method, path, body, pointer of the fault, words about it.
type Case = (&'static str, String, Value, &'static str, &'static str);

fn with(mut base: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    base.pointer_mut(parent).expect("a parent")[name] = value;
    base
}

fn organizations() -> Vec<Case> {
    let make = |pointer: &'static str, value: Value, words| -> Case {
        let body = with(json!({"name": "New", "id": "new"}), pointer, value);
        ("POST", "/organizations".to_owned(), body, pointer, words)
    };
    let change = |pointer: &'static str, value: Value, words| -> Case {
        ("PATCH", format!("/organizations/{ORG}"), with(json!({}), pointer, value), pointer, words)
    };
    vec![
        make("/name", json!(7), "must be a text, not a number"),
        make("/name", json!("  "), "must not be empty"),
        make("/name", json!("x".repeat(201)), "at most 200"),
        make("/name", json!("two\nlines"), "control characters"),
        make("/id", json!("a b"), "letters, digits"),
        make("/id", json!(".."), "letters, digits"),
        make("/timezone", json!("Mars/Olympus"), "Europe/Dublin"),
        make("/defaultRegion", json!("Ireland"), "`IE`"),
        make("/tiemzone", json!("UTC"), "did you mean `timezone`?"),
        ("POST", "/organizations".to_owned(), json!({}), "/name", "is missing"),
        ("POST", "/organizations".to_owned(), json!([1]), "", "must be a JSON object, not a list"),
        change("/name", json!(""), "must not be empty"),
        change("/name", json!(null), "must not be empty"),
        change("/id", json!("else"), "cannot be changed"),
        change("/timezone", json!("Dublin"), "IANA"),
    ]
}

fn connectors(setup: &Setup) -> Vec<Case> {
    let whole = json!({
        "name": "Second", "federationCode": "code", "plugin": "gaa-foireann", "authType": "apiKey",
        "endpoints": {"baseUrl": setup.sim.base_url()}, "config": {}, "syncConfig": {},
        "credentials": {"apiKey": "k"},
    });
    let make = |pointer: &'static str, value: Value, words| -> Case {
        ("POST", "/connectors".to_owned(), with(whole.clone(), pointer, value), pointer, words)
    };
    let path = format!("/connectors/{}", setup.connector);
    let change = |body: Value, pointer: &'static str, words| -> Case {
        ("PATCH", path.clone(), body, pointer, words)
    };
    let secret = |body: Value, pointer: &'static str, words| -> Case {
        ("PUT", format!("{path}/credentials"), body, pointer, words)
    };
    vec![
        make("/name", json!(""), "must not be empty"),
        make("/federationCode", json!("a b"), "letters, digits"),
        make("/plugin", json!("nothing"), "no active connector plugin"),
        make("/plugin", json!("merge"), "no active connector plugin"),
        make("/authType", json!("apikey"), "did you mean `apiKey`?"),
        make("/authType", json!("key"), "oauth2, apiKey"),
        make("/authType", json!(null), "is missing"),
        make("/plugin", json!(null), "is missing"),
        make("/endpoints", json!("x"), "must be an object"),
        make("/endpoints/baseUrl", json!(1), "must be a text"),
        make("/endpoints/baseUrl", json!("example.org"), "https://"),
        make("/endpoints/baseUrl", json!("ftp://example.org"), "https://"),
        make("/endpoints/baseUrl", json!("http://example.org"), "egress.allowPrivate"),
        make("/endpoints/baseUrl", json!("https://10.0.0.1"), "a private address"),
        make("/endpoints/baseUrl", json!("https://0x7f.1"), "a loopback address"),
        make("/endpoints/baseUrl", json!("https://u:p@example.org"), "credentials"),
        make("/endpoints/baseUrl", json!("https://example.org/#x"), "fragment"),
        make("/endpoints/baseUrl", json!("https://exa\nmple.org"), "control characters"),
        make("/endpoints/basUrl", json!("https://example.org"), "did you mean `baseUrl`?"),
        make("/endpoints/memberDetail", json!("members/{id}"), "/items/{id}"),
        make("/endpoints/memberDetail", json!("/members/{id"), "/items/{id}"),
        make("/config/pageSize", json!("many"), "\"many\""),
        make("/config/requestsPerMinute", json!(0), "from 1"),
        make("/config/batchRecords", json!("x"), "from 1"),
        make("/config/authIn", json!("body"), "`header` or `query`"),
        make("/config/webhookScheme", json!(1), "scheme"),
        make("/credentials", json!("k"), "must be an object"),
        make("/credentials/apiKey", json!(null), "is missing"),
        make("/credentials/apiKey", json!(5), "must be a text"),
        make("/credentials/apikey", json!("k"), "known are apiKey"),
        make("/credentials/apiKey", json!("k\n"), "control characters"),
        make("/syncConfig/schedule", json!("every night"), "`0 2 * * *`"),
        make("/syncConfig/schedule", json!("0 0 2 * * *"), "`0 2 * * *`"),
        make("/syncConfig/timezone", json!("GMT+25"), "Europe/Dublin"),
        make("/syncConfig/conflictStrategy", json!("mine"), "active are"),
        make("/syncConfig/enabled", json!("yes"), "true or false"),
        make("/syncConfig/maxRetries", json!(-1), "from 0"),
        make("/syncConfig/shcedule", json!("@daily"), "did you mean `schedule`?"),
        make("/templateId", json!("tpl_99"), "no template"),
        make("/templateId", json!("99"), "no template"),
        change(json!({"plugin": "csv-members"}), "/plugin", "cannot be changed"),
        change(json!({"authType": "none"}), "/authType", "cannot be changed"),
        change(json!({"credentials": {}}), "/credentials", "PUT"),
        change(json!({"status": "inactive"}), "/status", "/status"),
        change(json!({"name": ""}), "/name", "must not be empty"),
        change(json!({"endpoints": {}}), "/endpoints/baseUrl", "is missing"),
        change(
            json!({"syncConfig": {"schedule": "99 * * * *"}}),
            "/syncConfig/schedule",
            "five fields",
        ),
        secret(json!({}), "/apiKey", "is missing"),
        secret(json!({"apiKey": " "}), "/apiKey", "is missing"),
        secret(json!({"apiKey": ["k"]}), "/apiKey", "must be a text"),
        secret(json!({"apiKey": "k", "key": "k"}), "/key", "is not known"),
        (
            "POST",
            format!("{path}/status"),
            json!({"status": "error"}),
            "/status",
            "active, inactive",
        ),
        ("POST", format!("{path}/status"), json!({}), "/status", "is missing"),
        ("POST", format!("{path}/status"), json!({"status": null}), "/status", "is missing"),
        (
            "POST",
            format!("{path}/check"),
            json!({"organisationId": "x"}),
            "/organisationId",
            "did you mean",
        ),
        ("GET", "/connectors?status=on".to_owned(), json!({}), "?status", "active"),
        ("GET", "/connectors?limit=0".to_owned(), json!({}), "?limit", "from 1"),
        ("GET", "/connectors?cursor=x".to_owned(), json!({}), "?cursor", "nextCursor"),
        ("GET", "/connectors?sort=name".to_owned(), json!({}), "?sort", "known are"),
    ]
}

fn connections(setup: &Setup) -> Vec<Case> {
    let path = format!("/organizations/{ORG}/connections");
    let change = |body: Value, pointer: &'static str, words| -> Case {
        ("PATCH", format!("{path}/{}", setup.connection), body, pointer, words)
    };
    let policy = |value: Value| json!({"entities": {"member": value}});
    let connect = |body: Value, pointer: &'static str, words| -> Case {
        ("POST", path.clone(), body, pointer, words)
    };
    vec![
        connect(json!({"federationOrgId": "x"}), "/connectorId", "is missing"),
        connect(
            json!({"connectorId": "con_77", "federationOrgId": "x"}),
            "/connectorId",
            "no such",
        ),
        connect(json!({"connectorId": setup.connector}), "/federationOrgId", "is missing"),
        change(json!({"connectorId": "con_2"}), "/connectorId", "cannot be changed"),
        change(json!({"federationOrgId": ""}), "/federationOrgId", "must not be empty"),
        change(json!({"federationOrgId": "x".repeat(201)}), "/federationOrgId", "at most 200"),
        change(json!({"federationOrgId": "a\u{0}b"}), "/federationOrgId", "control characters"),
        change(json!({"strategy": "mine"}), "/strategy", "active are"),
        change(json!({"webhooksEnabled": "on"}), "/webhooksEnabled", "true or false"),
        change(json!({"entities": []}), "/entities", "must be an object"),
        change(json!({"entities": {"team": {}}}), "/entities/team", "known are member"),
        change(policy(json!(true)), "/entities/member", "must be an object"),
        change(
            policy(json!({"direction": "up"})),
            "/entities/member/direction",
            "pull, push, both",
        ),
        change(policy(json!({"direction": "push"})), "/entities/member/direction", "`pull`"),
        change(policy(json!({"strategy": "x"})), "/entities/member/strategy", "active are"),
        change(
            policy(json!({"sourceOfTruth": "us"})),
            "/entities/member/sourceOfTruth",
            "remote, local",
        ),
        change(policy(json!({"mode": "full"})), "/entities/member/mode", "known are"),
        change(
            policy(json!({"fields": {"emial": {"strategy": "manual"}}})),
            "/entities/member/fields/emial",
            "did you mean `email`?",
        ),
        change(
            policy(json!({"fields": {"email": "manual"}})),
            "/entities/member/fields/email",
            "object",
        ),
        change(
            policy(json!({"fields": {"email": {}}})),
            "/entities/member/fields/email/strategy",
            "missing",
        ),
        change(
            policy(json!({"fields": {"email": {"strategy": null}}})),
            "/entities/member/fields/email/strategy",
            "missing",
        ),
        change(
            policy(json!({"fields": {"email": {"strategy": "x"}}})),
            "/entities/member/fields/email/strategy",
            "active are",
        ),
        (
            "PUT",
            format!("{path}/{}/credentials", setup.connection),
            json!({"token": "t"}),
            "/apiKey",
            "is missing",
        ),
    ]
}

fn templates(template: &str) -> Vec<Case> {
    let whole = json!({"name": "T", "plugin": "gaa-foireann", "entities": {"member": {"fields": [
        {"source": "firstName", "target": "firstName", "transforms": ["trim"]},
    ]}}});
    let make = |pointer: &'static str, value: Value, words| -> Case {
        ("POST", "/templates".to_owned(), with(whole.clone(), pointer, value), pointer, words)
    };
    let field = |value: Value, pointer: &'static str, words| -> Case {
        let mut body = whole.clone();
        body["entities"]["member"]["fields"] = json!([value]);
        ("POST", "/templates".to_owned(), body, pointer, words)
    };
    let transform = |value: Value, pointer: &'static str, words| -> Case {
        field(json!({"source": "email", "target": "t", "transforms": [value]}), pointer, words)
    };
    let preview = format!("/templates/{template}/preview");
    let look = |body: Value, pointer: &'static str, words| -> Case {
        ("POST", preview.clone(), body, pointer, words)
    };
    const AT: &str = "/entities/member/fields/0/transforms/0";
    vec![
        make("/name", json!(" "), "must not be empty"),
        make("/plugin", json!("nothing"), "no active"),
        make("/entities", json!({}), "at least one"),
        make("/entities/team", json!({"fields": []}), "known are member"),
        field(
            json!({"source": "fristName", "target": "a"}),
            "/entities/member/fields/0/source",
            "did you mean `firstName`?",
        ),
        field(
            json!({"source": "firstName", "target": ""}),
            "/entities/member/fields/0/target",
            "1 to 100",
        ),
        field(json!({"source": "firstName"}), "/entities/member/fields/0", "target"),
        field(
            json!({"source": "firstName", "target": "a", "type": "number"}),
            "/entities/member/fields/0/type",
            "integer",
        ),
        field(
            json!({"source": "joinDate", "target": "a", "type": "boolean"}),
            "/entities/member/fields/0/type",
            "never",
        ),
        field(
            json!({"source": "firstName", "target": "a", "onError": "drop"}),
            "/entities/member/fields/0/onError",
            "skip",
        ),
        field(
            json!({"source": "firstName", "target": "a", "unique": true}),
            "/entities/member/fields/0/unique",
            "unknown field",
        ),
        transform(json!("tirm"), AT, "unknown variant"),
        transform(
            json!({"regex": {"pattern": "("}}),
            "/entities/member/fields/0/transforms/0/regex/pattern",
            "pattern",
        ),
        (
            "PUT",
            format!("/templates/{template}"),
            with(whole.clone(), "/plugin", json!("csv-members")),
            "/plugin",
            "stays with its plugin",
        ),
        look(json!({}), "/records", "is missing"),
        look(json!({"records": null}), "/records", "is missing"),
        look(json!({"records": []}), "/records", "1 to 100"),
        look(json!({"records": [1]}), "/records/0", "must be an object"),
        look(
            json!({"records": [{"fristName": "A"}]}),
            "/records/0/fristName",
            "did you mean `firstName`?",
        ),
        look(json!({"records": [{}], "entity": "team"}), "/entity", "member"),
        (
            "POST",
            "/templates/preview".to_owned(),
            json!({"plugin": "x", "records": [{}]}),
            "/plugin",
            "no active",
        ),
    ]
}

fn syncs(setup: &Setup) -> Vec<Case> {
    let whole = json!({"organizationId": ORG, "connectorId": setup.connector});
    let ask = |pointer: &'static str, value: Value, words| -> Case {
        ("POST", "/sync/member".to_owned(), with(whole.clone(), pointer, value), pointer, words)
    };
    vec![
        ask("/mode", json!("all"), "full, incremental, ids"),
        ask("/mode", json!("incremental"), "modes"),
        ask("/ids", json!(["1"]), "mode `ids`"),
        ask("/dryRun", json!(1), "true or false"),
    ]
}

/// Members that are null are missing, however many there are.
#[test]
fn each_missing_member_is_named() {
    let host = Host::start(&[]);
    let body = json!({"name": null, "federationCode": null, "plugin": null, "authType": null});
    let problem = host.call("POST", "/connectors", &body, 422);
    let faults = problem["errors"].as_array().expect("errors");
    let named: Vec<&str> = faults.iter().filter_map(|fault| fault["pointer"].as_str()).collect();
    assert_eq!(named, ["/name", "/federationCode", "/plugin", "/authType"], "{problem:#}");
    assert!(faults.iter().all(|fault| fault["message"] == "is missing"), "{problem:#}");
}

#[test]
fn bodies_that_are_no_json_are_refused_with_their_place() {
    let (setup, template) = set_up();
    let before = everything(&setup);
    let connector = format!("/connectors/{}", setup.connector);
    let connection = format!("/organizations/{ORG}/connections/{}", setup.connection);
    let routes = [
        ("POST", "/organizations".to_owned()),
        ("PATCH", format!("/organizations/{ORG}")),
        ("POST", "/connectors".to_owned()),
        ("PATCH", connector.clone()),
        ("PUT", format!("{connector}/credentials")),
        ("POST", format!("{connector}/status")),
        ("POST", format!("{connector}/check")),
        ("POST", format!("/organizations/{ORG}/connections")),
        ("PATCH", connection.clone()),
        ("PUT", format!("{connection}/credentials")),
        ("POST", "/templates".to_owned()),
        ("PUT", format!("/templates/{template}")),
        ("POST", format!("/templates/{template}/preview")),
        ("POST", "/templates/preview".to_owned()),
        ("POST", "/sync/member".to_owned()),
    ];
    let deep = "[".repeat(5_000);
    let bodies: [(&[u8], &str, &str); 7] = [
        (b"{\"name\": \"a\",\n \"b\" 1}", "", "line 2 column"),
        (b"{", "", "line 1"),
        (b"\xff\xfe", "", "no JSON"),
        (deep.as_bytes(), "", "recursion"),
        (b"\"text\"", "", "must be a JSON object, not a text"),
        (b"{\"name\": \"a\", \"name\": \"b\"}", "/name", "stands twice"),
        (b"{\"x\": [{\"y\": 1, \"y\": 2}]}", "/x/0/y", "stands twice"),
    ];
    for (method, path) in &routes {
        for (body, pointer, words) in bodies {
            let answer = raw(&setup.host, method, path, body);
            let asked =
                format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(40)]));
            refused(&answer, &asked, 422, pointer, words);
        }
    }
    assert_eq!(everything(&setup), before);
}

#[test]
fn unknown_and_foreign_ids_and_stale_edits() {
    let (setup, template) = set_up();
    let before = everything(&setup);
    let other = setup.host.list("/organizations/other/connections");
    let foreign = text(&other[0], "id");
    let null = Value::Null;
    let missing = [
        ("GET", "/organizations/nobody".to_owned()),
        ("PATCH", "/organizations/nobody".to_owned()),
        ("DELETE", "/organizations/nobody".to_owned()),
        ("GET", "/organizations/nobody/connections".to_owned()),
        ("POST", "/organizations/nobody/connections".to_owned()),
        ("GET", "/connectors/con_99".to_owned()),
        ("GET", "/connectors/99".to_owned()),
        ("PATCH", "/connectors/con_99".to_owned()),
        ("DELETE", "/connectors/con_99".to_owned()),
        ("PUT", "/connectors/con_99/credentials".to_owned()),
        ("GET", "/connectors/con_99/organizations".to_owned()),
        ("GET", "/connectors/con_99/template".to_owned()),
        ("GET", "/plugins/nothing".to_owned()),
        ("GET", "/templates/tpl_99".to_owned()),
        ("PUT", "/templates/tpl_99".to_owned()),
        ("DELETE", "/templates/tpl_99".to_owned()),
        ("POST", "/templates/tpl_99/preview".to_owned()),
        ("GET", format!("/organizations/{ORG}/connections/{foreign}")),
        ("PATCH", format!("/organizations/{ORG}/connections/{foreign}")),
        ("DELETE", format!("/organizations/{ORG}/connections/{foreign}")),
        ("PUT", format!("/organizations/{ORG}/connections/{foreign}/credentials")),
        ("GET", format!("/organizations/{ORG}/connections/link_99")),
    ];
    for (method, path) in &missing {
        let answer = setup.host.send(method, path, &[("If-Match", "*")], &json!({}));
        refused(&answer, &format!("{method} {path}"), 404, "", "");
    }
    let rows = [
        format!("/organizations/{ORG}"),
        format!("/connectors/{}", setup.connector),
        format!("/organizations/{ORG}/connections/{}", setup.connection),
        format!("/templates/{template}"),
    ];
    for path in &rows {
        let change = if path.starts_with("/templates") { "PUT" } else { "PATCH" };
        for method in [change, "DELETE"] {
            let body = if method == "DELETE" { &null } else { &json!({"name": "x"}) };
            let without = setup.host.send(method, path, &[], body);
            refused(&without, &format!("{method} {path} without a tag"), 428, "", "");
        }
        let valid = match change {
            "PUT" => {
                json!({"name": "x", "plugin": "gaa-foireann", "entities": {"member": {"fields": []}}})
            }
            _ => json!({}),
        };
        for tag in ["\"999\"", "W/\"1\"", "x"] {
            let stale = setup.host.send(change, path, &[("If-Match", tag)], &valid);
            refused(&stale, &format!("{change} {path} with {tag}"), 412, "", "");
            let stale = setup.host.send("DELETE", path, &[("If-Match", tag)], &null);
            refused(&stale, &format!("DELETE {path} with {tag}"), 412, "", "");
        }
    }
    let twice = json!({"connectorId": setup.connector, "federationOrgId": CLUB});
    let path = format!("/organizations/{ORG}/connections");
    let answer = setup.host.call("POST", &path, &twice, 409);
    assert_eq!(answer["code"], "connection.exists");
    assert_eq!(everything(&setup), before);
}
