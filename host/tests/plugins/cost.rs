//! What the sandbox costs. `cargo test --release --test plugins cost -- --ignored --nocapture`

use crate::fixtures::{Counting, context, engine, hostile_connector, request, strategy};
use std::time::{Duration, Instant};
use syncline::plugin::{
    ConnectorSession, Engine, Limits, Options, Registry, StrategySession, load,
};

async fn median(name: &str, rounds: usize, mut round: impl AsyncFnMut() -> Duration) -> Duration {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        times.push(round().await);
    }
    times.sort();
    let (best, middle) = (times[0], times[rounds / 2]);
    println!("{name}: median {middle:?}, best {best:?} of {rounds}");
    middle
}

#[tokio::test]
#[ignore = "a measurement; run it alone and in release"]
async fn cost() {
    let cache = tempfile::tempdir().unwrap();
    for name in ["cold", "warm"] {
        let begun = Instant::now();
        let engine = Engine::new(Some(cache.path()), Limits::default()).unwrap();
        let made = begun.elapsed();
        load(&engine, hostile_connector().into()).await.unwrap();
        println!("load {name}: engine {made:?}, component {:?}", begun.elapsed() - made);
    }
    let bundled = tempfile::tempdir().unwrap();
    for name in ["cold", "warm"] {
        let begun = Instant::now();
        let engine = Engine::new(Some(bundled.path()), Limits::default()).unwrap();
        let registry = Registry::open(engine, Options::bundled()).await.unwrap();
        println!("{} bundled {name}: {:?}", registry.list().len(), begun.elapsed());
    }
    let loaded = load(&engine(Limits::default()), hostile_connector().into()).await.unwrap();
    let outbound = Counting::answering();

    let fixed = median("new store, instantiate, empty call", 2_000, async || {
        let begun = Instant::now();
        let mut session = ConnectorSession::open(&loaded, outbound.clone()).await.unwrap();
        session.check(&context("normal")).await.unwrap();
        drop(session);
        begun.elapsed()
    })
    .await;

    let mut session = ConnectorSession::open(&loaded, outbound.clone()).await.unwrap();
    median("page of 1,000 rows x 10 fields", 300, async || {
        let begun = Instant::now();
        session.fetch_page(&context("normal"), &request(1_000)).await.unwrap();
        begun.elapsed()
    })
    .await;

    let strategy = strategy(Limits::default()).await;
    let session = StrategySession::open(&strategy).unwrap();
    median("strategy: new store, instantiate, empty batch of one", 2_000, async || {
        let conflicts = crate::strategies::conflicts("normal", 1);
        let begun = Instant::now();
        session.decide(&conflicts).await.unwrap();
        begun.elapsed()
    })
    .await;
    assert!(fixed < Duration::from_micros(100), "a call's fixed cost is {fixed:?}");
}
