//! The request that is sent before it is asked for.

use super::server::{Server, Step, answer};
use super::*;

async fn numbered() -> Server {
    Server::start(|seen| answer(200, &[], format!("{} {}", seen.index, seen.target))).await
}

#[tokio::test]
async fn an_equal_send_redeems_it_and_it_counts_once() {
    let server = numbered().await;
    let bench = Plan::for_server(&server).start();
    bench.client.prefetch(get("/m?page=2"));
    server.arrived(1).await;
    assert_eq!(bench.get("/m?page=2").await.unwrap().body, "0 /m?page=2");
    assert_eq!(bench.client.usage().requests, 1);
    assert_eq!(bench.lines().len(), 1);
    // Redeemed means gone: the next one is a request of its own.
    assert_eq!(bench.get("/m?page=2").await.unwrap().body, "1 /m?page=2");
    assert_eq!(bench.client.usage(), Usage { requests: 2, bytes: 22 });
}

#[tokio::test]
async fn another_send_leaves_it_waiting() {
    let server = numbered().await;
    let bench = Plan::for_server(&server).start();
    bench.client.prefetch(get("/m?page=2"));
    server.arrived(1).await;
    let with_header =
        HttpRequest { headers: vec![("prefer".into(), "x".into())], ..get("/m?page=2") };
    assert_eq!(bench.client.send(with_header).await.unwrap().body, "1 /m?page=2");
    assert_eq!(bench.get("/detail/7").await.unwrap().body, "2 /detail/7");
    assert_eq!(bench.get("/m?page=2").await.unwrap().body, "0 /m?page=2");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn the_same_hint_twice_is_one_request_and_a_new_hint_replaces_the_old() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/old" => vec![Step::Hang],
        target => answer(200, &[], target),
    })
    .await;
    let bench = Plan::for_server(&server).start();
    bench.client.prefetch(get("/old"));
    bench.client.prefetch(get("/old"));
    server.arrived(1).await;
    bench.client.prefetch(get("/new"));
    server.left(1).await;
    assert_eq!(bench.get("/new").await.unwrap().body, "/new");
    assert_eq!(server.seen().len(), 2);
    assert_eq!(bench.outcomes(), ["abandoned before it ended", "200"]);
}

#[tokio::test]
async fn never_redeemed_it_ends_with_the_run() {
    let server = Server::start(|_| vec![Step::Hang]).await;
    let bench = Plan::for_server(&server).start();
    bench.client.prefetch(get("/m?page=2"));
    server.arrived(1).await;
    drop(bench.client);
    server.left(1).await;
    assert_eq!(bench.lines.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_redeeming_send_that_is_dropped_breaks_it_off() {
    let server = Server::start(|_| vec![Step::Hang]).await;
    let bench = Plan::for_server(&server).start();
    bench.client.prefetch(get("/m?page=2"));
    server.arrived(1).await;
    tokio::select! {
        biased;
        _ = bench.get("/m?page=2") => panic!("answered"),
        () = tokio::task::yield_now() => {}
    }
    server.left(1).await;
}

#[tokio::test]
async fn a_cancel_ends_it_and_none_is_started_afterwards() {
    let server = Server::start(|_| vec![Step::Hang]).await;
    let bench = Plan::for_server(&server).start();
    bench.client.prefetch(get("/m?page=2"));
    server.arrived(1).await;
    bench.cancel.cancel();
    server.left(1).await;
    assert_eq!(bench.get("/m?page=2").await, Err(HttpFailure::Stopped));
    bench.client.prefetch(get("/m?page=3"));
    assert_eq!(bench.get("/m?page=3").await, Err(HttpFailure::Stopped));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn failures_and_refusals_are_redeemed_too() {
    let server = Server::start(|_| vec![Step::Reset]).await;
    let bench = Plan::for_server(&server).start();
    bench.client.prefetch(get("/m"));
    server.arrived(3).await;
    assert!(matches!(bench.get("/m").await, Err(HttpFailure::Network(_))));
    assert_eq!(server.seen().len(), 3, "the retries were the prefetch's");
    bench.client.prefetch(get("https://evil.example/"));
    denied(bench.get("https://evil.example/").await);
    assert_eq!(bench.client.usage().requests, 4);
}

#[tokio::test]
async fn only_plain_gets_are_prefetched() {
    let server = numbered().await;
    let bench = Plan::for_server(&server).start();
    let with_body = HttpRequest { body: Some(vec![1]), ..get("/a") };
    for request in [request("POST", "/a"), request("HEAD", "/a"), with_body] {
        bench.client.prefetch(request);
    }
    assert_eq!(bench.get("/b").await.unwrap().body, "0 /b");
    assert_eq!(bench.client.usage().requests, 1);
}

#[test]
fn outside_a_runtime_the_hint_is_ignored() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(numbered());
    let bench = Plan::for_server(&server).start();
    bench.client.prefetch(get("/m"));
    assert_eq!(bench.client.usage().requests, 0);
}
