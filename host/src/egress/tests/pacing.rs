//! Rate limits and connections as runs meet them.

use super::server::{Server, Step, answer};
use super::*;
use std::time::Instant;

fn paced(server: &Server, credential: &str, requests_per_minute: impl Into<Option<u32>>) -> Plan {
    let requests_per_minute = requests_per_minute.into();
    let pace = Pace { credential: credential.into(), requests_per_minute, tries_pauses: false };
    Plan { pace, ..Plan::for_server(server) }
}

async fn ok() -> Server {
    Server::start(|_| answer(200, &[], "ok")).await
}

fn waits(bench: &Bench) -> Vec<u64> {
    bench.lines().iter().map(|line| line.waited_millis).collect()
}

#[tokio::test]
async fn requests_wait_for_their_turn_and_say_so() {
    let server = ok().await;
    // Two at once, then one each 69 ms.
    let bench = paced(&server, "con_1", 870).start();
    let burst = 87;
    for _ in 0..burst + 2 {
        bench.get("/").await.unwrap();
    }
    let waits = waits(&bench);
    assert!(waits[..burst].iter().filter(|wait| **wait > 0).count() <= 1, "{waits:?}");
    assert!(waits[burst] > 0 && waits[burst + 1] > 0, "{waits:?}");
    let total = u64::try_from(bench.client.waits().total().as_millis()).unwrap();
    let sum: u64 = waits.iter().sum();
    assert!(total.abs_diff(sum) <= 10, "{total} is not {sum}");
}

#[tokio::test]
async fn runs_on_one_credential_share_its_limit() {
    let server = ok().await;
    let first = paced(&server, "con_1", 15).start();
    first.get("/").await.unwrap();
    let egress = Arc::clone(&first.egress);
    let mut plan = paced(&server, "con_1", 15);
    plan.options.limits.retry_after_max = Duration::from_secs(1);
    let second = plan.on(Arc::clone(&egress));
    let waiting = tokio::time::timeout(Duration::from_millis(50), second.get("/")).await;
    assert!(waiting.is_err(), "the other run has taken the token");
    assert_eq!(second.outcomes(), ["abandoned before it ended"]);
    assert!(second.lines()[0].waited_millis >= 50 && second.lines()[0].millis == 0);
    let other = paced(&server, "con_1/cn_2", 15).on(egress);
    other.get("/").await.unwrap();
    assert_eq!(waits(&other), [0]);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_wait_that_is_too_long_ends_the_run_with_the_time_to_retry_at() {
    let server = ok().await;
    let mut plan = paced(&server, "con_1", 2);
    plan.limits().retry_after_max = Duration::from_secs(20);
    let bench = plan.start();
    bench.get("/").await.unwrap();
    assert_eq!(bench.client.waits().retry_at(), None);
    let started = Instant::now();
    assert_eq!(bench.get("/").await, Err(HttpFailure::Stopped));
    assert!(started.elapsed() < Duration::from_secs(5), "it does not wait to find out");
    // The bench's clock runs since 12:00:00.
    let retry_at = bench.client.waits().retry_at().unwrap();
    assert!((29_000..=40_000).contains(&(retry_at - 1_795_176_000_000)), "{retry_at}");
    let told = &bench.outcomes()[1];
    assert!(told.starts_with("waiting for the rate limit of 127.0.0.1:"), "{told}");
    assert!(told.contains("until 2026-11-20T12:00:"), "{told}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_pause_that_one_run_was_told_holds_for_the_others() {
    for status in [429, 503] {
        let server = Server::start(move |seen| match seen.index {
            0 => answer(status, &["retry-after: 1"], ""),
            _ => answer(200, &[], "ok"),
        })
        .await;
        let mut plan = paced(&server, "con_1", None);
        plan.options.retry.attempts_max = 1;
        let first = plan.start();
        assert_eq!(first.get("/").await.unwrap().status, status);
        let second = paced(&server, "con_1", None).on(Arc::clone(&first.egress));
        assert_eq!(second.get("/").await.unwrap().status, 200);
        assert!((900..3_000).contains(&waits(&second)[0]), "{:?}", waits(&second));
    }
}

#[tokio::test]
async fn a_person_may_try_once_whether_a_long_pause_is_over() {
    let server = Server::start(|seen| match seen.index {
        0 | 1 => answer(429, &["retry-after: 3600"], ""),
        _ => answer(200, &[], "ok"),
    })
    .await;
    let first = paced(&server, "con_1", None).start();
    assert_eq!(first.get("/").await.unwrap().status, 429);
    assert_eq!(first.get("/").await, Err(HttpFailure::Stopped));
    let run = |tries_pauses: bool| {
        let mut plan = paced(&server, "con_1", None);
        plan.pace.tries_pauses = tries_pauses;
        plan.on(Arc::clone(&first.egress))
    };
    let early = run(true);
    assert_eq!(early.get("/").await.unwrap().status, 429, "it is not over");
    assert_eq!(early.get("/").await, Err(HttpFailure::Stopped), "and was tried");
    assert_eq!(run(false).get("/").await, Err(HttpFailure::Stopped), "a machine waits");
    let later = run(true);
    assert_eq!(later.get("/").await.unwrap().status, 200);
    assert_eq!(run(false).get("/").await.unwrap().status, 200, "now everybody may");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_waited_for() {
    let server = Server::start(|seen| match seen.index {
        0 => answer(200, &["x-ratelimit-remaining: 0", "x-ratelimit-reset: 1"], "last"),
        _ => answer(200, &["ratelimit: \"day\";r=0;t=3600"], "the very last"),
    })
    .await;
    let bench = paced(&server, "con_1", None).start();
    bench.get("/").await.unwrap();
    assert_eq!(bench.get("/").await.unwrap().body, "the very last");
    assert!(waits(&bench)[1] >= 900, "{:?}", waits(&bench));
    assert_eq!(bench.get("/").await, Err(HttpFailure::Stopped));
    let retry_at = bench.client.waits().retry_at().unwrap();
    assert!((3_590_000..=3_660_000).contains(&(retry_at - 1_795_176_000_000)), "{retry_at}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn prefetches_and_redirects_count() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/a" => answer(302, &["location: /b"], ""),
        _ => answer(200, &[], "ok"),
    })
    .await;
    // Three at once, then one each two seconds.
    let mut plan = paced(&server, "con_1", 32);
    plan.limits().retry_after_max = Duration::from_millis(500);
    let bench = plan.start();
    bench.get("/a").await.unwrap();
    let lines = bench.lines();
    assert_eq!((lines[0].redirects, lines[1].redirects), (0, 1));
    bench.client.prefetch(get("/c"));
    server.arrived(3).await;
    assert_eq!(bench.get("/c").await.unwrap().status, 200);
    assert_eq!(bench.get("/d").await, Err(HttpFailure::Stopped));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_cancel_ends_the_wait_for_a_turn() {
    let server = ok().await;
    let bench = paced(&server, "con_1", 2).start();
    bench.get("/").await.unwrap();
    let waits = bench.client.waits();
    let (result, ()) = tokio::join!(bench.get("/"), async {
        while waits.now() != Some(WaitReason::RateLimit) {
            tokio::task::yield_now().await;
        }
        bench.cancel.cancel();
    });
    assert_eq!(result, Err(HttpFailure::Stopped));
    assert_eq!((waits.now(), waits.retry_at()), (None, None));
    assert_eq!(bench.outcomes(), ["200", "the run was stopped"]);
}

#[tokio::test]
async fn at_most_so_many_requests_are_under_way() {
    let server = Server::start(|_| vec![Step::Hang]).await;
    let mut plan = paced(&server, "con_1", None);
    plan.options.concurrency = Concurrency { per_host_max: 2, overall_max: 3 };
    let first = plan.start();
    let bench = |credential: &str| paced(&server, credential, None).on(Arc::clone(&first.egress));
    let (second, third, other) = (bench("con_1"), bench("con_1"), bench("con_2"));
    tokio::select! {
        _ = async { tokio::join!(first.get("/"), second.get("/"), third.get("/"), other.get("/")) } => {}
        () = async {
            server.arrived(3).await;
            while [&first, &second, &third].iter().all(|bench| bench.client.waits().now().is_none()) {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    assert_eq!(server.seen().len(), 3, "two of one credential, one of the other");
    drop((first, second, third, other));
}
