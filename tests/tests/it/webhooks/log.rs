//! The log of deliveries: filters, who sees what, a delivery once more, and the command line.

use serde_json::{Value, json};
use syncline_tests::http::Answer;

use super::{FAST, Hooks, SECRET, STANDARD, hooks};
use crate::access::world::{json_of, token, with_token};
use crate::fixture::{CLUB, ORG, checked, text};
use crate::rig::program;

#[test]
fn the_log_is_filtered_and_paged() {
    let hooks = hooks("standard", STANDARD, 3, FAST);
    let ids: Vec<String> =
        (1..=3).map(|number| hooks.tell("updated", &format!("M-{number}"))).collect();
    ids.iter().for_each(|id| drop(hooks.processed(id)));
    let mut forged = hooks.signed(&json!({}));
    forged.body.push(b' ');
    assert_eq!(hooks.send(&forged).status, 401);
    hooks.logged("?verdict=badSignature", 1);
    let count = |filter: &str| hooks.deliveries(filter).len();
    assert_eq!(count(""), 4);
    assert_eq!(count("?verdict=accepted"), 3);
    assert_eq!(count(&format!("?connector={}", hooks.setup.connector)), 4);
    assert_eq!(count(&format!("?organization={ORG}")), 3, "those that concerned it");
    let row = hooks.host().get(&format!("/webhooks/deliveries/{}", ids[1]));
    let since = text(&row, "receivedAt");
    assert_eq!(count(&format!("?verdict=accepted&since={since}")), 2);
    let page = hooks.host().get("/webhooks/deliveries?limit=1&verdict=accepted");
    assert_eq!(page["items"][0]["id"], ids[2].as_str());
    let next = text(&page, "nextCursor");
    let page =
        hooks.host().get(&format!("/webhooks/deliveries?limit=1&verdict=accepted&cursor={next}"));
    assert_eq!(page["items"][0]["id"], ids[1].as_str());
    for wrong in ["?verdict=good", "?since=yesterday", "?color=red", "?limit=0"] {
        hooks.host().call("GET", &format!("/webhooks/deliveries{wrong}"), &Value::Null, 422);
    }
    for wrong in ["?connector=con_99", "?organization=nobody", "/hook_99", "/99"] {
        hooks.host().call("GET", &format!("/webhooks/deliveries{wrong}"), &Value::Null, 404);
    }
}

#[test]
fn a_person_can_have_a_delivery_processed_again() {
    let hooks = hooks("original", SECRET, 1, FAST);
    hooks.setup.synced();
    let id = hooks.tell("updated", "M-1");
    hooks.followed(&id);
    hooks.setup.sim.patch_member("M-1", json!({"email": "again@example.ie"}));
    let path = format!("/webhooks/deliveries/{id}/replay");
    let once = hooks.host().send("POST", &path, &[("Idempotency-Key", "k")], &Value::Null);
    let asked = checked("POST", &path, &once, 202);
    let twice = hooks.host().send("POST", &path, &[("Idempotency-Key", "k")], &Value::Null);
    assert_eq!(checked("POST", &path, &twice, 202), asked);
    let row = hooks.host().until(&format!("/webhooks/deliveries/{id}"), "again", |row| {
        row["replays"] == 1 && row["status"] == "ended"
    });
    assert_eq!(row["replayedBy"], "admin", "{row:#}");
    hooks.host().ended(&text(&row["runs"][0], "syncId"));
    assert_eq!(hooks.setup.field("M-1", "email"), "again@example.ie");
    // What was refused has nothing to process.
    let mut forged = hooks.signed(&hooks.event("updated", "M-1"));
    forged.body = forged.body.iter().map(|byte| if *byte == b'1' { b'2' } else { *byte }).collect();
    assert_eq!(hooks.send(&forged).status, 401);
    let refused = hooks.logged("?verdict=badSignature", 1).remove(0);
    let path = format!("/webhooks/deliveries/{}/replay", text(&refused, "id"));
    let answer = hooks.host().call("POST", &path, &Value::Null, 409);
    assert_eq!(answer["code"], "webhook.no-body");
    hooks.host().call("POST", "/webhooks/deliveries/hook_99/replay", &Value::Null, 404);
}

/// An organization sees what concerned it, of a delivery that concerned two as well, and has that alone done again.
#[test]
fn an_organization_sees_its_own() {
    let hooks = hooks("github", SECRET, 1, FAST);
    hooks.setup.sim.set_members("club-2", &[crate::fixture::member(2, json!({}))]);
    hooks.host().create_organization("other");
    hooks.host().connect("other", &hooks.setup.connector, "club-2", json!({}));
    let event = |club: &str, member: &str| json!({"federationOrgId": club, "memberId": member, "event": "updated"});
    let send = |events: Value| {
        let delivery = hooks.signed(&json!({"events": events}));
        text(&checked("POST", "a delivery", &hooks.send(&delivery), 200), "deliveryId")
    };
    let both = send(json!([event(CLUB, "M-1"), event("club-2", "M-2")]));
    let foreign = send(json!([event("club-2", "M-2"), event("club-2", "M-3")]));
    hooks.followed(&both);
    hooks.followed(&foreign);
    let admin = token(hooks.host(), "orgAdmin", Some(ORG));
    let viewer = token(hooks.host(), "viewer", Some(ORG));
    let get = |path: &str| with_token(hooks.host(), &viewer, "GET", path, &Value::Null);
    let rows = json_of(&get("/webhooks/deliveries"))["items"].clone();
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows:#}");
    assert_eq!((&rows[0]["id"], &rows[0]["externalIds"]), (&json!(both), &json!(["M-1"])));
    assert_eq!(rows[0]["runs"].as_array().map(Vec::len), Some(1), "{rows:#}");
    assert_eq!(rows[0]["address"], Value::Null);
    assert_eq!(get(&format!("/webhooks/deliveries/{foreign}")).status, 404);
    assert_eq!(get("/webhooks/deliveries?organization=other").status, 404);
    let replay = |token: &str, id: &str| -> Answer {
        let path = format!("/webhooks/deliveries/{id}/replay");
        with_token(hooks.host(), token, "POST", &path, &Value::Null)
    };
    assert_eq!(replay(&viewer, &both).status, 403);
    assert_eq!(replay(&admin, &foreign).status, 404);
    assert_eq!(replay(&admin, &both).status, 202);
    let row = hooks.host().until(&format!("/webhooks/deliveries/{both}"), "again", |row| {
        row["replays"] == 1 && row["status"] == "ended"
    });
    let organizations: Vec<&Value> =
        row["runs"].as_array().expect("runs").iter().map(|run| &run["organizationId"]).collect();
    assert_eq!(organizations, [ORG], "{row:#}");
    // The other organization does not lose sight of it.
    let other = token(hooks.host(), "viewer", Some("other"));
    let seen = with_token(hooks.host(), &other, "GET", "/webhooks/deliveries", &Value::Null);
    assert_eq!(json_of(&seen)["items"].as_array().map(Vec::len), Some(2));
}

#[test]
fn the_command_line_signs_lists_and_replays() {
    let hooks = hooks("standard", STANDARD, 1, FAST);
    let folder = tempfile::tempdir().expect("a folder");
    let (secret, body) = (folder.path().join("secret"), folder.path().join("body"));
    std::fs::write(&secret, format!("{STANDARD}\n")).expect("a secret");
    std::fs::write(&body, hooks.event("updated", "M-1").to_string()).expect("a body");
    let paths = [&body, &secret].map(|path| path.to_string_lossy().into_owned());
    let sign = ["webhook", "sign", &paths[0], "--scheme", "standard", "--secret-file", &paths[1]];
    let signed = program(&[&sign[..], &["--json"]].concat(), &[]);
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let signed: Value = serde_json::from_slice(&signed.stdout).expect("JSON");
    let headers = signed["headers"].as_object().expect("headers");
    let delivery = super::Delivery {
        path: hooks.path(),
        headers: headers
            .iter()
            .map(|(name, v)| (name.clone(), v.as_str().unwrap().into()))
            .collect(),
        body: text(&signed, "body").into_bytes(),
    };
    let answer = checked("POST", "signed by hand", &hooks.send(&delivery), 200);
    let id = text(&answer, "deliveryId");
    hooks.followed(&id);
    let address = format!("http://{}", hooks.host().address());
    let server = [("SYNCLINE_SERVER", address.as_str()), ("SYNCLINE_TOKEN", &hooks.host().token)];
    let run = |arguments: &[&str]| {
        let output = program(arguments, &server);
        assert!(
            output.status.success(),
            "{arguments:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert!(run(&["webhook", "list"]).contains("M-1"));
    assert!(run(&["webhook", "show", &id]).contains("accepted"));
    assert!(run(&["webhook", "replay", &id, "--json"]).contains(&id));
    let reception = run(&["webhook", "address", "Federation"]);
    assert!(reception.contains(&hooks.path()) && reception.contains("standard"), "{reception}");
    let wrong =
        program(&["webhook", "sign", &paths[0], "--scheme", "x", "--secret-file", &paths[1]], &[]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_scheme_that_nobody_knows_is_refused_with_what_is_meant() {
    let hooks: Hooks = hooks("standard", STANDARD, 1, FAST);
    let path = format!("/connectors/{}", hooks.setup.connector);
    let wrong = json!({"config": {"webhookScheme": "standart"}});
    let answer = hooks.host().change("PATCH", &path, &wrong, 422);
    assert_eq!(answer["errors"][0]["pointer"], "/config/webhookScheme");
    assert!(text(&answer["errors"][0], "message").contains("did you mean `standard`?"), "{answer}");
    let csv = json!({
        "name": "csv", "federationCode": "csv", "plugin": "csv-members", "authType": "none",
        "endpoints": {"baseUrl": hooks.setup.sim.base_url()},
        "config": {"webhookScheme": "standard"},
    });
    let answer = hooks.host().call("POST", "/connectors", &csv, 422);
    assert!(answer.to_string().contains("takes no webhooks"), "{answer}");
}
