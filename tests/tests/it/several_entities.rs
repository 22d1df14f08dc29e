//! Runs over several entities of one connection: held and approved as a whole.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use syncline_tests::foireann::Options;
use syncline_tests::http::{Connection, Request};

use crate::fixture::{Host, ORG, assert_counts, checked, federation, text};

/// A connector with two entities of as many records as it is asked for: the hostile one, which behaves unless told
/// otherwise.
fn component() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("components");
    let built = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--profile", "component"])
        .args(["--package", "hostile-connector", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target_dir)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    std::fs::read(target_dir.join("wasm32-wasip2/component/hostile_connector.wasm"))
        .expect("the component")
}

fn template(transforms: Value) -> Value {
    json!({"name": "Both", "plugin": "hostile", "entities": {
        "member": {"fields": [
            {"source": "f0", "target": "firstName", "transforms": transforms},
            {"source": "f1", "target": "lastName"},
        ]},
        "team": {"fields": [{"source": "f0", "target": "name", "transforms": transforms}]},
    }})
}

#[test]
fn a_held_run_over_two_entities_is_approved_as_a_whole() {
    let sim = federation(Options::members(0));
    let host = Host::start(&[sim.host_port()]);
    let authorization = format!("Bearer {}", host.token);
    let request = Request {
        method: "POST",
        target: "/api/v1/plugins",
        headers: &[("Content-Type", "application/wasm"), ("Authorization", &authorization)],
        body: &component(),
    };
    let mut wire = Connection::open(host.address()).expect("a connection");
    let answer = wire.send(&request).expect("an answer");
    checked("POST", "/plugins", &answer, 201);
    host.call("POST", "/plugins/hostile/approve", &json!({}), 200);
    let id = text(&host.call("POST", "/templates", &template(json!([])), 201), "id");
    host.create_organization(ORG);
    let body = json!({
        "name": "Two", "federationCode": "two", "plugin": "hostile", "authType": "none",
        "endpoints": {"baseUrl": sim.base_url()}, "config": {"batchRecords": 30}, "templateId": id,
    });
    let connector = text(&host.call("POST", "/connectors", &body, 201), "id");
    host.connect(ORG, &connector, "anything", json!({}));
    let all = || {
        let body = json!({"organizationId": ORG, "connectorId": connector, "mode": "full"});
        host.ended(&text(&host.call("POST", "/sync/all", &body, 202), "syncId"))
    };
    assert_counts(&all(), json!({"created": 60}));
    host.change("PUT", &format!("/templates/{id}"), &template(json!(["upper"])), 200);
    let run = all();
    assert_eq!((&run["status"], &run["entity"]), (&json!("held"), &json!("all")), "{run:#}");
    assert_counts(&run, json!({"updated": 60}));
    let path = format!("/sync/status/{}/approve", text(&run, "syncId"));
    host.call("POST", &path, &json!({"planHash": run["planHash"]}), 202);
    let run = host.ended(&text(&run, "syncId"));
    assert_eq!(run["status"], "completed", "{run:#}\n{}", host.log());
    assert_counts(&run, json!({"updated": 60}));
    for (entity, field) in [("member", "firstName"), ("team", "name")] {
        let records = host.list(&format!("/organizations/{ORG}/records?entity={entity}"));
        assert_eq!(records.len(), 30, "{entity}");
        let upper = |record: &Value| text(&record["fields"], field).starts_with("VALUE 0");
        assert!(records.iter().all(upper), "{entity}: {:#}", records[0]);
    }
    assert_counts(&all(), json!({"unchanged": 60, "updated": 0}));
}
