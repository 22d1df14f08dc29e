//! What bounds a caller: its pace, the size of what it sends, the number of its connections; and the id of a request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use syncline_tests::sse::Stream;

use super::world::{json_of, plain, token, with_token};
use crate::fixture::Host;

fn with_limits(limits: &str) -> Host {
    Host::with_config(&[], &format!("[limits]\n{limits}"))
}

#[test]
fn a_caller_that_asks_too_fast_waits_and_others_do_not() {
    let host = with_limits("callerRequestsPerMinuteMax = 30\n");
    let other = token(&host, "viewer", None);
    let hasty = token(&host, "viewer", None);
    let ask = |token: &str| with_token(&host, token, "GET", "/session", &Value::Null);
    let refused = (0..200).map(|_| ask(&hasty)).find(|answer| answer.status != 200);
    let refused = refused.expect("a refusal");
    assert_eq!(refused.status, 429);
    assert_eq!(json_of(&refused)["code"], "request.rate");
    let wait: u64 = refused.header("retry-after").expect("a wait").parse().expect("seconds");
    assert!((1..=3).contains(&wait), "{wait}");
    assert_eq!(ask(&other).status, 200);
    // Guesses count by address.
    let refused = (0..200).map(|_| ask("syn_wrong").status).find(|status| *status != 401);
    assert_eq!(refused, Some(429));
    assert_eq!(ask(&other).status, 200);
}

#[test]
fn every_answer_has_an_id_and_problems_repeat_it() {
    let host = Host::start(&[]);
    let mut ids = Vec::new();
    for (path, headers) in [
        ("/organizations", vec![]),
        ("/nothing", vec![("X-Request-Id", "mine")]),
        ("/session", vec![]),
    ] {
        let answer = plain(&host, "GET", path, &headers, &Value::Null);
        let id = answer.header("x-request-id").expect("an id").to_owned();
        assert_eq!(json_of(&answer)["requestId"], id.as_str());
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let good = host.send("GET", "/organizations", &[], &Value::Null);
    assert!(good.header("x-request-id").is_some());
}

/// What a socket answers to some bytes, up to its end or for a while.
fn answered(host: &Host, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(host.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    // The server may hang up before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[test]
fn heads_are_bounded() {
    let host = with_limits("requestHeaderBytesMax = 8192\n");
    let head = |bytes: usize| {
        format!("GET /healthz HTTP/1.1\r\nHost: h\r\nX-Large: {}\r\n\r\n", "x".repeat(bytes))
    };
    assert!(answered(&host, head(4_000).as_bytes()).starts_with("HTTP/1.1 200"));
    let refused = answered(&host, head(100_000).as_bytes());
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    let many: String = (0..500).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{many}\r\n");
    let refused = answered(&host, many.as_bytes());
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
}

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";

/// A connection on which something was asked, whose answer is not waited for.
fn asked(host: &Host) -> TcpStream {
    let mut stream = TcpStream::connect(host.address()).expect("a connection");
    stream.write_all(REQUEST).expect("a request");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let host = with_limits("connectionsMax = 2\n");
    host.create_organization("west");
    let target = "/api/v1/organizations/west/changes";
    let open = || Stream::open(host.address(), target, &host.token, None).expect("a stream");
    let held = [open(), open()];
    assert!(held.iter().all(|stream| stream.status == 200));
    let mut third = asked(&host);
    third.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let mut byte = [0; 1];
    assert!(third.read_exact(&mut byte).is_err(), "a third one is served");
    drop(held);
    third.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    third.read_exact(&mut byte).expect("its turn comes");
    assert_eq!(&byte, b"H");
}

#[test]
fn an_idle_connection_gives_its_place_to_another() {
    let host = with_limits("connectionsMax = 2\n");
    let mut answer = [0; 4096];
    let mut held = [asked(&host), asked(&host)];
    for stream in &mut held {
        // An answer shows that the place is taken.
        assert!(stream.read(&mut answer).expect("an answer") > 0);
    }
    assert!(asked(&host).read(&mut answer).expect("an answer") > 0, "a third one is served");
    let goes_on = |stream: &mut TcpStream| {
        let _ = stream.write_all(REQUEST);
        stream.read(&mut answer).is_ok_and(|bytes| bytes > 0)
    };
    assert_eq!(held.iter_mut().map(goes_on).filter(|served| *served).count(), 1);
}
