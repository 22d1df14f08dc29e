//! Answers that are slow, cut, reset or not what they say, and requests that are given up.

use super::server::{Seen, Server, Step, answer, head};
use super::*;
use std::io::Write;
use tokio::io::AsyncWriteExt;

type Script = fn() -> Vec<Step>;

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A server with one answer, and a plan whose limits are small.
pub(super) async fn small(
    script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
) -> (Server, Plan) {
    let server = Server::start(script).await;
    let mut plan = Plan::for_server(&server);
    plan.limits().response_bytes_max = 1_000;
    (server, plan)
}

pub(super) fn chunked(chunks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = head(200, &[], "transfer-encoding: chunked");
    for chunk in chunks {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

pub(super) fn gzipped(body: &[u8]) -> Vec<u8> {
    let length = format!("content-length: {}", body.len());
    [head(200, &["content-encoding: gzip"], &length), body.to_vec()].concat()
}

#[tokio::test]
async fn slow_answers_end_at_the_timeout() {
    let scripts: [(&str, Script); 4] = [
        ("nothing", || vec![Step::Hang]),
        ("half a head", || vec![Step::Send(b"HTTP/1.1 200 OK\r\nx-".to_vec()), Step::Hang]),
        ("only a head", || vec![Step::Send(head(200, &[], "content-length: 5")), Step::Hang]),
        ("half a body", || {
            let half = [head(200, &[], "content-length: 5"), b"ab".to_vec()].concat();
            vec![Step::Send(half), Step::Hang]
        }),
    ];
    for (name, script) in scripts {
        let (server, mut plan) = small(move |_| script()).await;
        plan.limits().request_timeout = Duration::from_millis(100);
        let bench = plan.start();
        assert_eq!(bench.get("/").await, Err(HttpFailure::Timeout), "{name}");
        assert_eq!(bench.outcomes(), ["no answer in time"; 3], "{name}");
        assert!(bench.lines().iter().all(|line| line.millis >= 100), "{name}");
        server.left(server.connections()).await;
    }
}

#[tokio::test]
async fn broken_answers_are_network_failures() {
    let scripts: [(&str, Script); 8] = [
        ("closed at once", || vec![Step::Close]),
        ("reset at once", || vec![Step::Reset]),
        ("closed in the head", || vec![Step::Send(b"HTTP/1.1 200 OK\r\nx-".to_vec()), Step::Close]),
        ("closed in the body", || {
            vec![
                Step::Send([head(200, &[], "content-length: 9"), b"ab".to_vec()].concat()),
                Step::Close,
            ]
        }),
        ("closed between chunks", || {
            let part =
                [head(200, &[], "transfer-encoding: chunked"), b"2\r\nab\r\n".to_vec()].concat();
            vec![Step::Send(part), Step::Close]
        }),
        ("not HTTP", || vec![Step::Send(b"SSH-2.0-x\r\n\r\n".to_vec()), Step::Close]),
        ("not gzip", || {
            let head = head(200, &["content-encoding: gzip"], "content-length: 20");
            vec![Step::Send([head, vec![b'a'; 20]].concat())]
        }),
        ("half a gzip", || {
            let body = gzip(b"a sentence that is cut in the middle");
            vec![Step::Send(gzipped(&body[..body.len() - 12]))]
        }),
    ];
    for (name, script) in scripts {
        let (server, plan) = small(move |_| script()).await;
        let bench = plan.start();
        let failure = bench.get("/").await.unwrap_err();
        let HttpFailure::Network(text) = &failure else { panic!("{name}: {failure:?}") };
        assert!(text.starts_with("127.0.0.1: ") && text.len() > 15, "{name}: {text}");
        assert_eq!(server.seen().len(), 3, "{name} is tried again: {:?}", bench.outcomes());
    }
}

#[tokio::test]
async fn answers_that_break_the_framing_are_network_failures() {
    fn chunks(body: &str) -> Vec<Step> {
        let head = head(200, &[], "transfer-encoding: chunked");
        vec![Step::Send([head, body.as_bytes().to_vec()].concat()), Step::Close]
    }
    fn lines(lines: &str) -> Vec<Step> {
        vec![Step::Send(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok").into_bytes()), Step::Close]
    }
    let scripts: [(&str, Script); 9] = [
        ("no chunk size", || chunks("zz\r\nab\r\n0\r\n\r\n")),
        ("negative chunk size", || chunks("-2\r\nab\r\n0\r\n\r\n")),
        ("chunk size beyond 64 bits", || chunks("fffffffffffffffff\r\nab\r\n")),
        ("longer than its chunk", || chunks("2\r\nabcdef\r\n0\r\n\r\n")),
        ("two lengths", || lines("content-length: 2\r\ncontent-length: 1")),
        ("no number as length", || lines("content-length: two")),
        ("negative length", || lines("content-length: -2")),
        ("a line without a name", || lines(": value\r\ncontent-length: 2")),
        ("a control character", || lines("x-a: \u{0}\r\ncontent-length: 2")),
    ];
    for (name, script) in scripts {
        let (_server, plan) = small(move |_| script()).await;
        let failure = plan.start().get("/").await.unwrap_err();
        assert!(matches!(failure, HttpFailure::Network(_)), "{name}: {failure:?}");
    }
}

/// Bytes behind an answer are no answer to the next request, whoever put them there.
#[tokio::test]
async fn a_split_answer_is_not_taken_for_the_next_one() {
    let (server, plan) = small(|seen| match seen.target.as_str() {
        "/split" => {
            let split = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\
                         content-length: 6\r\n\r\nforged";
            vec![Step::Send(split.as_bytes().to_vec())]
        }
        _ => answer(200, &[], "real"),
    })
    .await;
    let bench = plan.start();
    for _ in 0..10 {
        assert_eq!(bench.get("/split").await.unwrap().body, "ok");
        assert_eq!(bench.get("/next").await.unwrap().body, "real");
    }
    assert!(server.seen().len() >= 20);
}

/// A byte now and then keeps a connection alive and not a request.
#[tokio::test]
async fn answers_that_trickle_end_at_the_timeout() {
    let scripts: [(&str, Script); 3] = [
        ("head", || {
            let head = b"HTTP/1.1 200 OK\r\nx-long: ".to_vec();
            vec![Step::Send(head), Step::Trickle(b"a".to_vec())]
        }),
        ("body", || {
            let head = head(200, &[], "transfer-encoding: chunked");
            vec![Step::Send(head), Step::Trickle(b"1\r\na\r\n".to_vec())]
        }),
        ("interim answers", || vec![Step::Trickle(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec())]),
    ];
    for (name, script) in scripts {
        let (server, mut plan) = small(move |_| script()).await;
        plan.limits().request_timeout = Duration::from_millis(200);
        plan.options.retry.attempts_max = 1;
        assert_eq!(plan.start().get("/").await, Err(HttpFailure::Timeout), "{name}");
        server.left(1).await;
    }
}

#[tokio::test]
async fn an_answer_cut_at_any_byte_is_never_taken_for_whole() {
    let whole: [Vec<u8>; 3] = [
        [head(200, &[], "content-length: 9"), b"[1, 2, 3]".to_vec()].concat(),
        chunked(&[b"[1, 2", b", 3]"]),
        gzipped(&gzip(b"[1, 2, 3]")),
    ];
    for exchange in whole {
        for cut in 0..=exchange.len() {
            let part = exchange[..cut].to_vec();
            let (_server, mut plan) =
                small(move |_| vec![Step::Send(part.clone()), Step::Close]).await;
            plan.options.retry.attempts_max = 1;
            let result = plan.start().get("/").await;
            if cut == exchange.len() {
                assert_eq!(result.unwrap().body, "[1, 2, 3]");
            } else {
                assert!(matches!(result, Err(HttpFailure::Network(_))), "at {cut}: {result:?}");
            }
        }
    }
}

#[tokio::test]
async fn https_to_a_server_without_tls_is_a_network_failure() {
    let (_server, mut plan) = small(|_| answer(200, &[], "ok")).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    plan.base = format!("https://{address}");
    plan.granted = vec![plan.base.clone()];
    plan.options.allow_private = vec![address.to_string().parse().unwrap()];
    let failure = plan.start().get("/").await.unwrap_err();
    assert!(matches!(failure, HttpFailure::Network(_)), "{failure:?}");
    plain.abort();
}

#[tokio::test]
async fn a_missing_server_or_name_is_a_network_failure() {
    let (server, plan) = small(|_| answer(200, &[], "ok")).await;
    let refused = plan.start();
    drop(server);
    // Lets the aborted accept loop close its socket.
    tokio::task::yield_now().await;
    let failure = refused.get("/").await.unwrap_err();
    assert!(
        matches!(&failure, HttpFailure::Network(text) if text.contains("refused")),
        "{failure:?}"
    );

    let (_server, mut plan) = small(|_| answer(200, &[], "ok")).await;
    plan.base = "https://nowhere.example".into();
    plan.granted = vec![plan.base.clone()];
    let failure = plan.start().get("/").await.unwrap_err();
    let text = "nowhere.example: no such name nowhere.example".to_owned();
    assert_eq!(failure, HttpFailure::Network(text));
}

#[tokio::test]
async fn a_cancel_ends_a_request_at_once() {
    let (server, mut plan) = small(|_| vec![Step::Hang]).await;
    plan.limits().request_timeout = Duration::from_secs(60);
    let bench = plan.start();
    let (result, ()) = tokio::join!(bench.get("/"), async {
        server.arrived(1).await;
        bench.cancel.cancel();
    });
    assert_eq!(result, Err(HttpFailure::Stopped));
    server.left(1).await;
    assert_eq!(bench.get("/").await, Err(HttpFailure::Stopped));
    assert_eq!(bench.outcomes(), ["the run was stopped"; 2]);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_abandoned_request_leaves_its_line() {
    let (server, mut plan) = small(|_| vec![Step::Hang]).await;
    plan.limits().request_timeout = Duration::from_secs(60);
    let bench = plan.start();
    tokio::select! {
        _ = bench.get("/") => panic!("answered"),
        () = server.arrived(1) => {}
    }
    assert_eq!(bench.outcomes(), ["abandoned before it ended"]);
    server.left(1).await;
}
