//! What is tried again, how often, after which wait.

use super::server::{Server, Step, answer};
use super::*;
use std::time::Instant;

/// Answers `first` until the request with this index, then 200.
async fn recovers_at(index: usize, status: u16) -> Server {
    Server::start(move |seen| {
        if seen.index < index { answer(status, &[], "sorry") } else { answer(200, &[], "ok") }
    })
    .await
}

#[tokio::test]
async fn passing_errors_are_tried_again_and_others_are_not() {
    for status in [429, 500, 502, 503, 504] {
        let server = recovers_at(2, status).await;
        let bench = Plan::for_server(&server).start();
        assert_eq!(bench.get("/").await.unwrap().status, 200, "{status}");
        let status = status.to_string();
        assert_eq!(bench.outcomes(), [status.as_str(), status.as_str(), "200"]);
        let lines = bench.lines();
        assert_eq!(lines.iter().map(|line| line.attempt).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(lines[0].waited_millis, 0);
        assert!((2..=4).contains(&lines[1].waited_millis), "{lines:?}");
        assert!((4..=8).contains(&lines[2].waited_millis), "{lines:?}");
    }
    for status in [200, 204, 304, 400, 401, 403, 404, 408, 409, 410, 422, 501, 505] {
        let server = Server::start(move |_| answer(status, &[], "")).await;
        let bench = Plan::for_server(&server).start();
        assert_eq!(bench.get("/").await.unwrap().status, status);
        assert_eq!(server.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn after_the_last_attempt_the_answer_is_returned_as_it_is() {
    let server = Server::start(|seen| answer(503, &[], format!("sorry {}", seen.index))).await;
    let bench = Plan::for_server(&server).start();
    let response = bench.get("/").await.unwrap();
    assert_eq!((response.status, &response.body[..]), (503, &b"sorry 2"[..]));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn only_repeatable_requests_are_tried_again() {
    let cases = [
        ("GET", None, 3),
        ("HEAD", None, 3),
        ("PUT", None, 3),
        ("POST", None, 1),
        ("POST", Some("op-1"), 3),
    ];
    for (method, idempotency, expected) in cases {
        for script in [|| answer(503, &["content-length: 0"], ""), || vec![Step::Reset]] {
            let server = Server::start(move |_| script()).await;
            let bench = Plan::for_server(&server).start();
            let idempotency = idempotency.map(str::to_owned);
            let body = (method != "GET" && method != "HEAD").then(|| b"{\"a\":1}".to_vec());
            let request = HttpRequest { idempotency, body: body.clone(), ..request(method, "/") };
            let _ = bench.client.send(request).await;
            let seen = server.seen();
            assert_eq!(seen.len(), expected, "{method}: {:?}", bench.outcomes());
            assert!(seen.iter().all(|seen| seen.body == body.clone().unwrap_or_default()));
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let server = Server::start(|seen| match seen.index {
        0 => vec![Step::Reset],
        1 => vec![
            Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab".to_vec()),
            Step::Reset,
        ],
        _ => answer(200, &[], "whole"),
    })
    .await;
    let bench = Plan::for_server(&server).start();
    assert_eq!(bench.get("/").await.unwrap().body, "whole");
    let lines = bench.lines();
    assert_eq!((lines[1].status, lines[2].status), (Some(200), Some(200)));
    assert!(lines[1].failure.is_some() && lines[2].failure.is_none());
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    // The bench's clock runs since 12:00:00.
    let date: jiff::Timestamp = "2026-11-20T12:00:02Z".parse().unwrap();
    for value in ["1", "Fri, 20 Nov 2026 12:00:02 GMT"] {
        let line = format!("retry-after: {value}");
        let server = Server::start(move |seen| match seen.index {
            0 => answer(429, &[&line], ""),
            _ => answer(200, &[], "ok"),
        })
        .await;
        let bench = Plan::for_server(&server).start();
        let started = Instant::now();
        assert_eq!(bench.get("/").await.unwrap().status, 200);
        let waited = bench.lines()[1].waited_millis;
        if value == "1" {
            assert!(started.elapsed() >= Duration::from_secs(1));
            assert_eq!(waited, 1_000);
        } else {
            assert!(bench.egress.clock.now() >= date, "too early");
            assert!(waited <= 2_000, "{waited}");
        }
    }
}

#[tokio::test]
async fn a_retry_after_above_the_cap_goes_to_the_plugin() {
    for (value, shown) in [
        ("61", "61"),
        ("31536000", "31536000"),
        ("99999999999999999999", "99999999999999999999"),
        // A day at most: nobody waits longer.
        ("Sat, 20 Nov 2027 12:00:00 GMT", "86400"),
    ] {
        let line = format!("retry-after: {value}");
        let server = Server::start(move |_| answer(429, &[&line], "slow down")).await;
        let bench = Plan::for_server(&server).start();
        let response = bench.get("/").await.unwrap();
        assert_eq!(response.status, 429);
        assert!(response.headers.contains(&("retry-after".to_owned(), shown.to_owned())));
        assert_eq!(server.seen().len(), 1, "{value}");
    }
}

#[tokio::test]
async fn a_retry_after_that_says_nothing_leaves_the_own_wait() {
    for value in ["0", "soon", "-1", "Fri, 20 Nov 2026 11:00:00 GMT"] {
        let line = format!("retry-after: {value}");
        let server = Server::start(move |_| answer(503, &[&line], "")).await;
        let bench = Plan::for_server(&server).start();
        assert_eq!(bench.get("/").await.unwrap().status, 503);
        let waits: Vec<u64> = bench.lines().iter().map(|line| line.waited_millis).collect();
        assert!(waits.len() == 3 && waits[1] >= 2 && waits[2] <= 8, "{value}: {waits:?}");
    }
}

#[tokio::test]
async fn a_cancel_ends_the_wait() {
    let server = Server::start(|_| answer(503, &["retry-after: 50"], "")).await;
    let bench = Plan::for_server(&server).start();
    let started = Instant::now();
    let (result, ()) = tokio::join!(bench.get("/"), async {
        server.arrived(1).await;
        while bench.lines().is_empty() {
            tokio::task::yield_now().await;
        }
        bench.cancel.cancel();
    });
    assert_eq!(result, Err(HttpFailure::Stopped));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(server.seen().len(), 1);
}
