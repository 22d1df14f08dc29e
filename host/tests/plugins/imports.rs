//! What a connector can reach: one way out, log lines, and nothing of the machine.

use crate::fixtures::{Counting, connector, context, page_of, request, short};
use std::sync::atomic::Ordering;
use syncline::model::GuestError;
use syncline::plugin::{ConnectorSession, Error, Limits};

/// What the guest says about its request.
async fn answer_of(behaviour: &str, outbound: std::sync::Arc<Counting>) -> String {
    let loaded = connector(short()).await;
    let mut session = ConnectorSession::open(&loaded, outbound).await.unwrap();
    match session.fetch_page(&context(behaviour), &request(1)).await {
        Err(Error::Guest(GuestError::Other(text))) => text,
        other => panic!("{behaviour}: {other:?}"),
    }
}

#[tokio::test]
async fn requests_leave_by_the_way_that_was_given() {
    let outbound = Counting::answering();
    assert_eq!(answer_of("request", outbound.clone()).await, "status 204");
    assert_eq!(outbound.sent.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn credentials_of_the_guest_are_refused() {
    for behaviour in ["authorization", "proxy"] {
        let outbound = Counting::answering();
        let answer = answer_of(behaviour, outbound.clone()).await;
        assert!(answer.contains("is set by the host only"), "{answer}");
        assert_eq!(outbound.sent.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn requests_per_call_are_counted() {
    let limits = Limits { http_calls_max: 7, ..short() };
    let outbound = Counting::answering();
    let loaded = connector(limits).await;
    let mut session = ConnectorSession::open(&loaded, outbound.clone()).await.unwrap();
    for call in 1..=2 {
        let page = session.fetch_page(&context("request-flood"), &request(1)).await.unwrap();
        assert_eq!(page.rows.to_vec()[0].id, "7");
        assert_eq!(outbound.sent.load(Ordering::Relaxed), 7 * call);
    }
}

#[tokio::test]
async fn endless_hints_are_dropped() {
    let limits = Limits { http_calls_max: 7, cpu_millis_max: 5_000, ..short() };
    let outbound = Counting::answering();
    let loaded = connector(limits).await;
    let mut session = ConnectorSession::open(&loaded, outbound.clone()).await.unwrap();
    session.fetch_page(&context("prefetch-flood"), &request(1)).await.unwrap();
    assert_eq!(outbound.hinted.load(Ordering::Relaxed), 7);
}

#[tokio::test]
async fn log_lines_are_cut_and_counted() {
    let loaded = connector(short()).await;
    let mut session = ConnectorSession::open(&loaded, Counting::answering()).await.unwrap();
    session.fetch_page(&context("log-flood"), &request(1)).await.unwrap();
    let lines = session.drain_log();
    assert_eq!(lines.len(), 201);
    assert_eq!(lines[0].level, "error");
    assert!(lines[0].message.len() < 2_100);
    assert_eq!((lines[1].level, lines[1].message.as_str()), ("info", "red  [31m text"));
    assert_eq!(lines[200].message, "9802 more lines of this call were left out");
    assert!(session.drain_log().is_empty());

    session.fetch_page(&context("log-flood"), &request(1)).await.unwrap();
    assert_eq!(session.drain_log().len(), 201, "each call has its own allowance");
}

#[tokio::test]
async fn what_a_dying_plugin_printed_is_kept() {
    let loaded = connector(short()).await;
    let mut session = ConnectorSession::open(&loaded, Counting::answering()).await.unwrap();
    session.fetch_page(&context("panic"), &request(1)).await.unwrap_err();
    let lines = session.drain_log();
    assert!(lines.iter().any(|line| line.message.contains("hostile page")), "{lines:?}");
}

#[tokio::test]
async fn the_machine_is_invisible() {
    let loaded = connector(short()).await;
    let page = page_of(&loaded, "environment", 1).await.unwrap();
    assert_eq!(page.rows.to_vec()[0].id, "0 0 0", "variables, arguments, seconds since 1970");
}
