//! What goes when it is old enough, on a server whose clock the test sets: nothing waits for a day to pass.

use std::time::Instant;

use serde_json::{Value, json};
use syncline_tests::foireann::Options;
use syncline_tests::sse::Stream;

use crate::clock_rig::{Clocked, DEADLINE, days};
use crate::fixture::{ORG, federation, text};

fn sync(client: &Clocked) -> Value {
    let asked = client.ask(json!({"mode": "full"}));
    let path = format!("/sync/status/{asked}");
    let run =
        client.until(&path, |run| !matches!(run["status"].as_str(), Some("queued" | "running")));
    assert_eq!(run["status"], "completed", "{run:#}");
    run
}

#[test]
fn what_is_old_enough_goes_and_says_so() {
    let sim = federation(Options::members(12));
    // The token of the test outlives the years that the clock jumps over.
    let settings = |config: &mut syncline::config::Config| {
        config.retention.runs_days = 400;
        config.retention.history_days = 300;
    };
    let client = Clocked::start(&sim, settings, json!({}));

    let first = sync(&client);
    let record =
        client.get(&format!("/organizations/{ORG}/records?entity=member&limit=1"))["items"][0]
            .clone();
    let record_path = format!("/organizations/{ORG}/records/{}", text(&record, "id"));
    client.call("PATCH", &record_path, &json!({"fields": {"phone": "085 1"}}), 200);
    client.forward(days(60));
    let second = sync(&client);
    let run_path = |run: &Value| format!("/sync/status/{}", text(run, "syncId"));
    assert_eq!(
        client.get(&run_path(&first))["detailsGoneAt"],
        Value::Null,
        "60 days are not enough"
    );
    assert!(
        !client.get(&format!("{}/requests", run_path(&first)))["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let changes = format!("/organizations/{ORG}/changes");
    assert_eq!(client.get(&changes)["items"].as_array().unwrap().len(), 13);

    // Day 95: details and feed of the first day go, those of day 60 stay.
    client.forward(days(35));
    let aged = client.until(&run_path(&first), |run| !run["detailsGoneAt"].is_null());
    assert_eq!(aged["counts"]["created"], 12, "the run stays: {aged:#}");
    for list in ["requests", "logs", "records"] {
        let gone = client.call("GET", &format!("{}/{list}", run_path(&first)), &Value::Null, 410);
        assert_eq!(gone["code"], "run.details-gone", "{list}");
    }
    assert_eq!(client.get(&format!("{}/conflicts", run_path(&first)))["items"], json!([]));
    let undo = client.call("POST", &format!("{}/undo", run_path(&first)), &json!({}), 410);
    assert_eq!(undo["code"], "run.details-gone");
    assert!(
        !client.get(&format!("{}/requests", run_path(&second)))["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let begun = Instant::now();
    let gone = loop {
        let target = format!("/api/v1{changes}?after=0");
        let stream = Stream::open(client.address, &target, &client.token, None).expect("an answer");
        if stream.status != 200 {
            break stream.status;
        }
        assert!(begun.elapsed() < DEADLINE, "the feed does not age");
    };
    assert_eq!(gone, 410, "a stream from too long ago");
    let gone = client.call("GET", &format!("{changes}?after=5"), &Value::Null, 410);
    assert_eq!(gone["code"], "changes.gone");
    assert!(text(&gone, "detail").contains("after=latest"), "{gone:#}");
    let anew = client.get(&format!("{changes}?after=latest"));
    assert_eq!(anew["nextAfter"], 13, "{anew:#}");
    assert_eq!(client.get(&format!("{changes}?after=13"))["items"], json!([]), "and how to go on");

    // The timeline keeps its entry a while longer; then the value is still known, and that its reason is not.
    let history = |wanted: usize| {
        client.until(&format!("{record_path}/history"), |list| {
            list["items"].as_array().is_some_and(|items| items.len() == wanted)
        })
    };
    history(2);
    let why = client.get(&format!("{record_path}/why?field=phone"))["fields"][0].clone();
    assert_eq!(why["way"], "edit", "{why:#}");
    client.forward(days(210));
    history(1);
    let why = client.get(&format!("{record_path}/why?field=phone"))["fields"][0].clone();
    assert_eq!((&why["way"], &why["value"]), (&json!("unknown"), &json!("085 1")), "{why:#}");
    assert!(text(&why, "explanation").contains("kept no longer"), "{why:#}");

    // Day 405: the first run goes as a whole, and what it created says so.
    client.forward(days(100));
    client.until_gone(&run_path(&first));
    let why = client.get(&format!("{record_path}/why?field=email"))["fields"][0].clone();
    assert_eq!((&why["way"], &why["runKept"]), (&json!("created"), &json!(false)), "{why:#}");
}
