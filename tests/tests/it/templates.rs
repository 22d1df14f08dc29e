//! Templates of one's own: what a preview tells, what a run makes of them, and who may not delete them.

use serde_json::{Value, json};

use crate::fixture::{Setup, assert_counts, member, members, text};

fn template(fields: Value) -> Value {
    json!({"name": "Mine", "plugin": "gaa-foireann", "entities": {"member": {
        "fields": fields,
        "status": {"source": "membershipStatus", "active": ["active"], "inactive": ["lapsed"]},
        "match": [["membershipNumber"], ["fullName", "dateOfBirth"]],
    }}})
}

/// Names in one field, a day from a date, a region for the phone, and a constant.
fn mine() -> Value {
    template(json!([
        {"target": "fullName", "required": true, "onError": "fail",
         "transforms": [{"concat": {"with": ["firstName", "lastName"], "sep": " "}}]},
        {"source": "dateOfBirth", "target": "dateOfBirth", "type": "date", "required": true, "onError": "fail"},
        {"source": "phone", "target": "phone", "type": "phone", "onError": "skip",
         "transforms": [{"phone": {"region": "IE"}}]},
        {"source": "address", "target": "town", "transforms": [{"addressPart": "town"}, "upper"]},
        {"source": "gender", "target": "gender", "onError": {"default": "other"}, "transforms": ["gender"]},
        {"source": "membershipNumber", "target": "membershipNumber"},
        {"target": "country", "transforms": [{"const": "IE"}]},
    ]))
}

#[test]
fn a_preview_shows_fields_problems_and_match_keys_and_changes_nothing() {
    let setup = Setup::new(&members(1));
    let id = text(&setup.host.call("POST", "/templates", &mine(), 201), "id");
    let records = json!([
        {"memberId": "M-1", "firstName": "Aoife", "lastName": "Byrne", "dateOfBirth": "2010-02-28",
         "phone": "087 123 4567", "address": "1 Main St, Naas, Kildare", "gender": "?",
         "membershipNumber": "123-45678-901", "membershipStatus": "Active"},
        {"firstName": "Una", "dateOfBirth": "2010-02-31", "phone": "none", "membershipStatus": "Pending"},
    ]);
    let body = json!({"records": records, "organizationId": "club"});
    let answer = setup.host.call("POST", &format!("/templates/{id}/preview"), &body, 200);
    assert_eq!(answer["counts"], json!({"mapped": 1, "rejected": 1}), "{answer:#}");
    let first = &answer["items"][0];
    assert_eq!(
        first["fields"],
        json!({
            "fullName": "Aoife Byrne", "dateOfBirth": "2010-02-28", "phone": "+353871234567",
            "town": "NAAS", "gender": "other", "membershipNumber": "123-45678-901", "country": "IE",
        })
    );
    assert_eq!((&first["externalId"], &first["status"]), (&json!("M-1"), &json!("active")));
    assert_eq!(first["warnings"][0]["field"], "gender", "{first:#}");
    assert_eq!(
        first["matchKeys"],
        json!([
            {"fields": ["membershipNumber"], "key": ["123-45678-901"]},
            {"fields": ["fullName", "dateOfBirth"], "key": ["aoife byrne", "2010-02-28"]},
        ])
    );
    let second = &answer["items"][1];
    assert_eq!(
        (&second["outcome"], &second["errors"][0]["field"]),
        (&json!("rejected"), &json!("dateOfBirth"))
    );
    assert_eq!(second["errors"][0]["code"], "type");
    // The same without storing it first; and the plugin's own, where none is given.
    let mut unsaved = mine();
    unsaved.as_object_mut().expect("an object").remove("name");
    unsaved
        .as_object_mut()
        .expect("an object")
        .extend(body.as_object().expect("an object").clone());
    assert_eq!(setup.host.call("POST", "/templates/preview", &unsaved, 200), answer);
    let own = json!({"plugin": "gaa-foireann", "records": [records[0]]});
    let own = setup.host.call("POST", "/templates/preview", &own, 200);
    assert_eq!(own["items"][0]["fields"]["firstName"], "Aoife", "{own:#}");
    assert!(setup.host.list("/sync/status").is_empty());
    assert_eq!(setup.host.list("/templates").len(), 1);
}

/// Who may only read can neither make the server build what no memory holds nor hold up others.
#[test]
fn a_preview_is_bounded() {
    let setup = Setup::new(&members(0));
    let check = |fields: Vec<Value>, record: Value, pointer: &str| {
        let entities = json!({"member": {"fields": fields}});
        let body = json!({"plugin": "gaa-foireann", "entities": entities, "records": [record]});
        let problem = setup.host.call("POST", "/templates/preview", &body, 422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{}", problem["detail"]);
    };
    let named = json!({"firstName": "x".repeat(60 << 10)});
    let concat = json!({"concat": {"with": vec!["firstName"; 60_000], "sep": ""}});
    let grown = json!({"source": "firstName", "target": "a", "transforms": [concat]});
    check(vec![grown], named.clone(), "/entities/member/fields/0/transforms/0");
    let field = |n: usize| json!({"source": "firstName", "target": format!("t{n}")});
    let long = json!({"firstName": "x".repeat(65 << 10)});
    check(vec![field(0)], long, "/records/0/firstName");
    check((0..500).map(field).collect(), named, "/records");
}

#[test]
fn a_run_uses_its_template_and_says_which() {
    let setup = Setup::new(&[member(1, json!({"firstName": "Aoife", "gender": "F"}))]);
    let id = text(&setup.host.call("POST", "/templates", &mine(), 201), "id");
    let connector = format!("/connectors/{}", setup.connector);
    let run = setup.synced();
    assert_eq!(run["template"], json!({"id": null, "version": null, "name": "gaa-foireann"}));
    setup.host.change("PATCH", &connector, &json!({"templateId": id}), 200);
    let used = setup.host.get(&format!("{connector}/template"));
    assert_eq!((&used["templateId"], &used["version"]), (&json!(id), &json!(1)));
    let run = setup.synced();
    assert_eq!(run["template"], json!({"id": id, "version": 1, "name": "Mine"}));
    assert_counts(&run, json!({"updated": 1, "conflictsDetected": 0}));
    assert_eq!(setup.field("M-1", "fullName"), "Aoife Member1");
    assert_eq!(setup.field("M-1", "town"), "ENNIS");
    assert_eq!(setup.field("M-1", "country"), "IE");
    // A change takes effect with the next run.
    let mut changed = mine();
    changed["entities"]["member"]["fields"][6]["transforms"] = json!([{"const": "GB"}]);
    setup.host.change("PUT", &format!("/templates/{id}"), &changed, 200);
    let run = setup.synced();
    assert_eq!(run["template"]["version"], 2);
    assert_eq!(setup.field("M-1", "country"), "GB");
}

#[test]
fn a_template_in_use_is_not_deleted_and_its_users_are_named() {
    let setup = Setup::new(&members(1));
    let id = text(&setup.host.call("POST", "/templates", &mine(), 201), "id");
    let path = format!("/templates/{id}");
    let connector = format!("/connectors/{}", setup.connector);
    setup.host.change("PATCH", &connector, &json!({"templateId": id}), 200);
    let problem = setup.host.change("DELETE", &path, &Value::Null, 409);
    assert_eq!(problem["code"], "template.in-use");
    assert!(text(&problem, "detail").contains(&setup.connector), "{problem:#}");
    setup.host.change("PATCH", &connector, &json!({"templateId": null}), 200);
    setup.host.change("DELETE", &path, &Value::Null, 204);
    setup.host.call("GET", &path, &Value::Null, 404);
}

#[test]
fn a_plugin_shows_its_default_template_and_it_can_be_copied() {
    let setup = Setup::new(&members(1));
    let plugin = setup.host.get("/plugins/gaa-foireann");
    let entities = plugin["manifest"]["template"]["entities"].clone();
    let used = setup.host.get(&format!("/connectors/{}/template", setup.connector));
    assert_eq!(used["entities"], entities);
    for name in ["gaa-foireann", "csv-members"] {
        let entities =
            setup.host.get(&format!("/plugins/{name}"))["manifest"]["template"]["entities"].clone();
        let copy = json!({"name": "Copy", "plugin": name, "entities": entities});
        let stored = setup.host.call("POST", "/templates", &copy, 201);
        assert_eq!(stored["entities"], entities, "a copy is what it was copied from");
    }
    assert_eq!(setup.host.list("/templates").len(), 2);
}

#[test]
fn a_held_plan_is_stale_once_the_template_changed() {
    let setup = Setup::new(&members(30));
    setup.synced();
    for number in 1..=12 {
        setup.sim.delete_member(&format!("M-{number}"));
    }
    let run = setup.sync();
    assert_eq!(run["status"], "held", "{run:#}");
    let id = text(&setup.host.call("POST", "/templates", &mine(), 201), "id");
    let connector = format!("/connectors/{}", setup.connector);
    setup.host.change("PATCH", &connector, &json!({"templateId": id}), 200);
    let path = format!("/sync/status/{}/approve", text(&run, "syncId"));
    setup.host.call("POST", &path, &json!({"planHash": run["planHash"]}), 202);
    let run = setup.host.ended(&text(&run, "syncId"));
    assert_eq!(
        (&run["status"], &run["errors"][0]["code"]),
        (&json!("failed"), &json!("plan.stale")),
        "{run:#}"
    );
    assert_eq!(setup.record("M-1")["status"], "active");
}

/// The blocks of JSON in a guide, in order.
fn json_blocks(guide: &str) -> Vec<Value> {
    let path = format!("{}/../docs/{guide}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the guide");
    let blocks =
        text.split("```json\n").skip(1).map(|rest| rest.split("```").next().expect("an end"));
    blocks
        .map(|block| serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}")))
        .collect()
}

#[test]
fn the_guide_works_when_it_is_followed() {
    let setup = Setup::new(&members(1));
    let blocks = json_blocks("templates.md");
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = |name: &str, content: &Value| {
        let path = directory.path().join(name).to_string_lossy().into_owned();
        std::fs::write(&path, content.to_string()).expect("a file");
        path
    };
    let (template, samples) = (file("mine.json", &blocks[0]), file("samples.json", &blocks[1]));
    let server = format!("http://{}", setup.host.address());
    let environment =
        [("SYNCLINE_SERVER", server.as_str()), ("SYNCLINE_TOKEN", setup.host.token.as_str())];
    let said = |arguments: &[&str], code: i32| {
        let output = crate::rig::program(arguments, &environment);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()
    };
    let default = said(&["template", "show", "--plugin", "gaa-foireann", "--json"], 0);
    let copy = file("copy.json", &default);
    said(&["template", "create", &copy, "--name", "Copy", "--json"], 0);
    let stored = said(&["template", "create", &template, "--name", "Our members", "--json"], 0);
    let id = text(&stored, "id");
    let preview = said(&["template", "preview", &samples, &id, "--json"], 3);
    assert_eq!(preview["counts"], json!({"mapped": 1, "rejected": 1}), "{preview:#}");
    assert_eq!(preview["items"][0]["fields"]["town"], "Naas", "{preview:#}");
    assert_eq!(preview["items"][0]["fields"]["fullName"], "Aoife Byrne");
    said(&["connector", "update", "Federation", "--template", &id, "--json"], 0);
    said(&["sync", "member", "--dry-run", "--wait", "--json"], 0);
    said(&["template", "replace", &id, &template, "--json"], 0);
    said(&["template", "delete", &id, "--json"], 5);
    said(&["connector", "update", "Federation", "--template", "default", "--json"], 0);
    said(&["template", "delete", &id, "--json"], 0);
    let used = said(&["template", "show", "--connector", "Federation", "--json"], 0);
    assert_eq!(used["templateId"], Value::Null);
    assert_eq!(said(&["template", "list", "--json"], 0)["items"].as_array().map(Vec::len), Some(1));
}
