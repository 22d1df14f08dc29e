//! One hostile call for each limit: it ends with the right error, in time, and the host is unharmed.

use crate::fixtures::{
    Counting, PATIENCE, connector, context, page_of, request, resident_mb, short,
};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use syncline::model::http::{HttpFailure, HttpRequest, HttpResponse, Outbound};
use syncline::plugin::{ConnectorSession, Error, Limits};

/// The session ends with `code` and is dead; another session of the same plugin works.
async fn check(behaviour: &str, limits: Limits, code: &str) -> Error {
    check_by(behaviour, limits, code, Counting::answering()).await
}

async fn check_by(behaviour: &str, limits: Limits, code: &str, outbound: Arc<Counting>) -> Error {
    let loaded = connector(limits).await;
    let mut session = ConnectorSession::open(&loaded, outbound).await.unwrap();
    let resident_before = resident_mb();
    let begun = Instant::now();
    let error = session
        .fetch_page(&context(behaviour), &request(1_000))
        .await
        .expect_err("a hostile call cannot succeed");
    let took = begun.elapsed();
    assert_eq!(error.code(), code, "{behaviour}: {error}");
    assert!(took < PATIENCE, "{behaviour} took {took:?}");
    assert!(resident_mb() < resident_before + 600, "{behaviour} left {} MB", resident_mb());
    assert_eq!(session.memory_bytes(), None, "the store is gone");

    let again = session.fetch_page(&context("normal"), &request(1)).await;
    assert_eq!(again.unwrap_err().code(), "plugin.dead");
    let page = page_of(&loaded, "normal", 10).await.expect("another session works");
    assert_eq!(page.rows.len(), 10);
    error
}

#[tokio::test]
async fn endless_loop() {
    let begun = Instant::now();
    check("spin", short(), "plugin.cpu").await;
    assert!(begun.elapsed() > Duration::from_millis(150), "the budget is not cut short");
}

#[tokio::test]
async fn endless_loop_in_check() {
    let loaded = connector(short()).await;
    let mut session = ConnectorSession::open(&loaded, Counting::answering()).await.unwrap();
    let error = session.check(&context("spin")).await.unwrap_err();
    assert_eq!(error.code(), "plugin.cpu");
    assert_eq!(session.check(&context("normal")).await.unwrap_err(), Error::Dead);
}

#[tokio::test]
async fn an_endless_loop_leaves_the_thread_to_others() {
    let loaded = connector(short()).await;
    let spinning = tokio::spawn(async move { page_of(&loaded, "spin", 1).await });
    let mut turns = 0_u32;
    while !spinning.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert_eq!(spinning.await.unwrap().unwrap_err().code(), "plugin.cpu");
    assert!(turns >= 5, "this one-threaded runtime ran only {turns} times beside the guest");
}

#[tokio::test]
async fn memory() {
    // On a busy machine it takes a while to have so much.
    let patient = || Limits { cpu_millis_max: 5_000, ..short() };
    let error = check("allocate", patient(), "plugin.memory").await;
    assert_eq!(error, Error::MemoryLimit { bytes: 128 << 20 });
    let small = Limits { memory_bytes_max: 8 << 20, ..patient() };
    check("allocate", small, "plugin.memory").await;
}

#[tokio::test]
async fn recursion() {
    check("recurse", short(), "plugin.trap").await;
}

#[tokio::test]
async fn trap() {
    check("trap", short(), "plugin.trap").await;
}

#[tokio::test]
async fn panic_shows_what_was_printed() {
    let error = check("panic", short(), "plugin.trap").await;
    let Error::Trap { stderr_tail, .. } = error else { panic!("{error}") };
    assert!(stderr_tail.contains("hostile page"), "{stderr_tail}");
}

#[tokio::test]
async fn exit_is_a_trap() {
    check("exit", short(), "plugin.trap").await;
}

#[tokio::test]
async fn stderr_flood_keeps_the_tail() {
    let limits = Limits { cpu_millis_max: 5_000, ..short() };
    let error = check("stderr-flood", limits, "plugin.trap").await;
    let Error::Trap { stderr_tail, .. } = error else { panic!("{error}") };
    assert!(stderr_tail.len() <= 8 << 10);
    assert!(stderr_tail.contains("after the flood"), "{stderr_tail}");
}

#[tokio::test]
async fn slow_import() {
    let limits = Limits { wall_millis_max: 200, ..short() };
    let error = check_by("request", limits, "plugin.timeout", Counting::hanging()).await;
    assert_eq!(error, Error::WallClock { millis: 200 });
}

/// Its requests wait for their turn for half a second.
#[derive(Default)]
struct Queued(OnceLock<Instant>);

const QUEUE: Duration = Duration::from_millis(500);

impl Outbound for Queued {
    fn send(
        &self,
        _request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFailure>> + Send + '_>> {
        self.0.get_or_init(Instant::now);
        Box::pin(async {
            tokio::time::sleep(QUEUE).await;
            Ok(HttpResponse { status: 204, ..HttpResponse::default() })
        })
    }

    fn waited(&self) -> Duration {
        self.0.get().map_or(Duration::ZERO, |begun| begun.elapsed().min(QUEUE))
    }

    fn prefetch(&self, _request: HttpRequest) {}
}

#[tokio::test]
async fn the_wall_clock_stands_still_while_requests_wait_for_their_turn() {
    let loaded = connector(Limits { wall_millis_max: 200, ..short() }).await;
    let mut session = ConnectorSession::open(&loaded, Arc::new(Queued::default())).await.unwrap();
    let begun = Instant::now();
    let error = session.fetch_page(&context("request"), &request(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "status 204");
    assert!(begun.elapsed() >= QUEUE);
}

#[tokio::test]
async fn the_wall_clock_also_stops_a_guest_that_computes() {
    let limits = Limits { cpu_millis_max: 600_000, wall_millis_max: 200, ..short() };
    check("spin", limits, "plugin.timeout").await;
}

#[tokio::test]
async fn sleep() {
    check("sleep", Limits { wall_millis_max: 200, ..short() }, "plugin.timeout").await;
}

#[tokio::test]
async fn huge_page() {
    check("huge-page", Limits { cpu_millis_max: 5_000, ..short() }, "plugin.page-too-large").await;
}

#[tokio::test]
async fn string_of_50_mb() {
    check("long-string", Limits { cpu_millis_max: 5_000, ..short() }, "plugin.page-too-large")
        .await;
}

#[tokio::test]
async fn handle_leak() {
    let error = check("leak", short(), "plugin.limit").await;
    assert_eq!(error, Error::Limit("256 open handles".to_owned()));
}

#[tokio::test]
async fn a_dropped_call_ends_the_session() {
    let loaded = connector(short()).await;
    let mut session = ConnectorSession::open(&loaded, Counting::hanging()).await.unwrap();
    let context = context("request");
    let page_request = request(1);
    let call = session.fetch_page(&context, &page_request);
    tokio::select! {
        biased;
        _ = call => panic!("nothing answers"),
        () = tokio::task::yield_now() => {}
    }
    let again = session.fetch_page(&context, &page_request).await;
    assert_eq!(again.unwrap_err(), Error::Dead);
}

#[tokio::test]
async fn waiting_for_the_remote_is_not_cpu() {
    let limits = Limits { cpu_millis_max: 20, http_calls_max: 200, ..short() };
    let loaded = connector(limits).await;
    let page = page_of(&loaded, "request-flood", 1).await.unwrap();
    assert_eq!(page.rows.to_vec()[0].id, "200");
}
