//! Senders that are slow, too large, or never come to an end: their answers, and that nobody else waits for them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;
use syncline_tests::http::Connection;
use syncline_tests::sse::Stream;

use super::{Delivery, FAST, SECRET, essence, hooks, send_on};
use crate::fixture::{ORG, checked, text};

const LARGE: usize = 3 << 20;

/// A connection on which the first words of a request came, and nothing more will.
fn begun(address: SocketAddr, words: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    // It may be closed before.
    let _ = stream.write_all(words.as_bytes());
    stream
}

fn head(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n\r\n")
}

/// Everything that comes until the connection is closed.
fn answered(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn bodies_are_bounded_in_size_and_time() {
    let config = format!("{FAST}bodyBytesMax = 2048\nbodySecondsMax = 1\n");
    let hooks = hooks("github", SECRET, 1, &config);
    let body =
        |bytes: usize| json!({"memberId": "M-1", "event": "updated", "more": "x".repeat(bytes)});
    let large = hooks.signed(&body(3_000));
    let refused = essence(&hooks.send(&large));
    assert_eq!(refused.0, 413);
    let stray = Delivery { path: "/webhooks/con_99".to_owned(), ..large.clone() };
    assert_eq!(essence(&hooks.send(&stray)), refused, "an unknown connector");
    // More than the system buffers: the sender has its answer all the same.
    assert_eq!(essence(&hooks.send(&hooks.signed(&body(LARGE)))), refused);
    let rows = hooks.logged("?verdict=tooLarge", 2);
    assert!(rows.iter().all(|row| row["replayable"] == false), "{rows:#?}");
    // Whoever asks before it sends is told before it sends.
    let asks = format!("Content-Length: {LARGE}\r\nExpect: 100-continue");
    let said = answered(begun(hooks.host().address(), &head(&hooks.path(), &asks)));
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
    let chunk = format!("400\r\n{}\r\n", "y".repeat(1024));
    let chunked =
        head(&hooks.path(), "Transfer-Encoding: chunked") + &chunk.repeat(4) + "0\r\n\r\n";
    assert!(answered(begun(hooks.host().address(), &chunked)).starts_with("HTTP/1.1 413"));
    let slow = head(&hooks.path(), "Content-Length: 100") + "ab";
    assert!(answered(begun(hooks.host().address(), &slow)).starts_with("HTTP/1.1 408"));
    let broken = head(&hooks.path(), "Transfer-Encoding: chunked") + "zz\r\n";
    assert!(answered(begun(hooks.host().address(), &broken)).starts_with("HTTP/1.1 400"));
}

/// What is announced and does not come takes no room from what comes.
#[test]
fn slow_bodies_leave_room_for_others() {
    let config = format!("{FAST}bodiesBytesMax = {}\nbodySecondsMax = 600\n", 16 << 20);
    let hooks = hooks("github", SECRET, 1, &config);
    let (address, path) = (hooks.host().address(), hooks.path());
    let mut slow = Vec::new();
    for announced in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        for _ in 0..40 {
            slow.push(begun(address, &(head(&path, announced) + "9\r\nab")));
        }
    }
    for _ in 0..3 {
        let large = json!({"memberId": "M-1", "event": "updated", "more": "x".repeat(500_000)});
        let answer = checked("POST", "a delivery", &hooks.send(&hooks.signed(&large)), 200);
        hooks.processed(&text(&answer, "deliveryId"));
    }
    drop(slow);
}

/// Far more connections than there are places, each as slow as it may be.
#[test]
fn slow_connections_keep_nobody_out() {
    const PLACES: usize = 24;
    let config = format!("{FAST}bodySecondsMax = 600\n[limits]\nconnectionsMax = {PLACES}\n");
    let hooks = hooks("github", SECRET, 1, &config);
    let address = hooks.host().address();
    // Somebody who only listens is served, and no slow peer.
    let target = format!("/api/v1/organizations/{ORG}/changes?after=0");
    let mut stream = Stream::open(address, &target, &hooks.host().token, None).expect("a stream");
    assert_eq!(stream.status, 200);
    let body = head(&hooks.path(), "Content-Length: 1000000") + "ab";
    let kinds = ["", "POST /webh", &body];
    let slow: Vec<TcpStream> =
        kinds.iter().cycle().take(4 * PLACES).map(|words| begun(address, words)).collect();
    hooks.setup.synced();
    for number in 0..10 {
        let event = json!({"memberId": "M-1", "event": "updated", "number": number});
        let answer = checked("POST", "a delivery", &hooks.send(&hooks.signed(&event)), 200);
        hooks.processed(&text(&answer, "deliveryId"));
    }
    let event = stream.event().expect("the stream goes on");
    assert!(event.is_some_and(|event| event.data.contains("created")), "the new member");
    drop(slow);
}

/// A connection that is kept serves one delivery behind the other, also while others come and go.
#[test]
fn kept_connections_are_kept_while_there_is_room() {
    let hooks = hooks("github", SECRET, 1, FAST);
    let mut kept = Connection::open(hooks.host().address()).expect("a connection");
    for number in 0..20 {
        let event = json!({"memberId": "M-1", "event": "updated", "number": number});
        let answer = send_on(&mut kept, &hooks.signed(&event)).expect("an answer");
        checked("POST", "a delivery", &answer, 200);
        thread::spawn({
            let address = hooks.host().address();
            move || drop(begun(address, ""))
        });
    }
}
