//! Deliveries in a hostile connector: whatever it does with one, the next one is read.

use crate::fixtures::{connector, short};
use std::time::Instant;
use syncline::model::webhook::HookEvent;
use syncline::plugin::{ConnectorSession, Delivery, Error, Limits};

async fn parse(body: &str) -> Result<Vec<HookEvent>, Error> {
    // Who runs out of something else must not run out of time first, however slow the machine is.
    let parse_cpu_millis_max = if body == "spin" { 200 } else { 10_000 };
    let limits = Limits { parse_cpu_millis_max, ..short() };
    let loaded = connector(limits).await;
    let mut session = ConnectorSession::open_pure(&loaded).await.unwrap();
    let delivery = Delivery { config: "{}", headers: &[], body: body.as_bytes() };
    session.parse(&delivery).await
}

#[tokio::test]
async fn what_is_good_is_read() {
    let events = parse("event a b").await.unwrap();
    let ids: Vec<(&str, &str)> =
        events.iter().map(|event| (event.id.as_str(), event.kind.as_str())).collect();
    assert_eq!(ids, [("a", "updated"), ("b", "updated")]);
    assert_eq!(parse("gone a").await.unwrap()[0].kind, "deleted");
    assert_eq!(parse("event").await.unwrap(), []);
}

#[tokio::test]
async fn what_is_hostile_ends_alone_and_in_time() {
    for (word, code) in [
        ("spin", "plugin.cpu"),
        ("panic", "plugin.trap"),
        ("trap", "plugin.trap"),
        ("allocate", "plugin.memory"),
        ("heavy", "plugin.page-too-large"),
        ("flood", "plugin.bad-answer"),
        ("empty", "plugin.bad-answer"),
        ("control", "plugin.bad-answer"),
        ("long", "plugin.bad-answer"),
        ("nonsense", "remote.bad-response"),
    ] {
        let begun = Instant::now();
        let error = parse(word).await.expect_err(word);
        assert_eq!(error.code(), code, "{word}: {error}");
        assert!(begun.elapsed() < crate::fixtures::PATIENCE, "{word}");
    }
}

#[tokio::test]
async fn reading_a_delivery_reaches_no_network() {
    let error = parse("http").await.expect_err("it cannot succeed");
    assert!(error.to_string().contains("Denied"), "{error}");
}
