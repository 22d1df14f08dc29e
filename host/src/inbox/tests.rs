use super::*;
use crate::model::webhook::{Hook, HookDue, Verdict};
use crate::plugin::{self, Engine, Limits};
use crate::store::secrets as rows;
use jiff::Timestamp;
use tempfile::TempDir;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

pub(crate) fn options() -> Options {
    Options {
        verified_per_minute_max: 100,
        unverified_per_minute_max: 60,
        refused_rows_per_hour_max: 20,
        dedup_millis: 30 * DAY_MILLIS,
        dedup_bytes_millis: 60_000,
        dedup_keys_max: 1_000,
        keep_millis: 3 * DAY_MILLIS,
        keep_count_max: 1_000,
        keep_bytes_max: 1 << 20,
    }
}

impl Inbox {
    /// An inbox in a directory of its own, without any plugin.
    pub(crate) async fn for_test(clock: &Clock) -> (TempDir, Inbox) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(directory.path(), &store::Options::default()).unwrap();
        let keys = Arc::new(Keyring::generate().unwrap());
        let engine = Engine::new(None, Limits::default()).unwrap();
        let plugins = Registry::open(engine, plugin::Options::default()).await.unwrap();
        let is_full: IsFull = Arc::new(|| false);
        let inbox = Inbox::open(store, keys, clock.clone(), plugins, is_full, options());
        (directory, inbox.await.unwrap())
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// Stores a delivery as if it had been believed.
    pub(crate) async fn accept(&self, connector: ConnectorId, body: &[u8]) -> HookId {
        let hook = Hook {
            connector,
            connection: None,
            received_at: self.now(),
            verdict: Verdict::Accepted,
            scheme: "standard".to_owned(),
            address: None,
            body_bytes: body.len() as u64,
            delivery_id: None,
            duplicate_of: None,
            body_differs: false,
            unlogged: 0,
            headers: Vec::new(),
            body_key: 0,
        };
        let new = self.0.bodies.seal(hook, None, body).unwrap();
        match hooks::append(&self.0.store, self.floor(), new).await.unwrap() {
            hooks::Appended::New(id) => {
                self.0.bell.notify_one();
                id
            }
            duplicate => panic!("{duplicate:?}"),
        }
    }
}

fn clock() -> Clock {
    Clock::fixed("2026-03-01T00:00:00Z".parse().unwrap())
}

fn forward(clock: &Clock, millis: i64) {
    let at = clock::to_millis(clock.now()) + millis;
    clock.set(Timestamp::from_millisecond(at).unwrap());
}

use crate::clock;

#[tokio::test]
async fn a_body_opens_for_its_delivery_and_no_other() {
    let (_directory, inbox) = Inbox::for_test(&clock()).await;
    let id = inbox.accept(ConnectorId(1), b"canary").await;
    let stored = || hooks::get(&hooks::view(inbox.store()).unwrap(), id).unwrap().unwrap();
    assert!(!stored().body.windows(6).any(|part| part == b"canary"));
    assert_eq!(inbox.open_body(stored()).unwrap().body.expose(), b"canary");
    let mut moved = stored();
    moved.hook.connector = ConnectorId(2);
    assert!(inbox.open_body(moved).is_err());
}

#[tokio::test]
async fn the_key_of_a_day_goes_with_its_last_body() {
    let clock = clock();
    let (_directory, inbox) = Inbox::for_test(&clock).await;
    let sealed = |inbox: &Inbox| {
        let id = *inbox.0.keys.current_id().unwrap().as_bytes();
        rows::counts(&inbox.store().read().unwrap(), id).unwrap().0
    };
    let done = |inbox: &Inbox, id: HookId| {
        let store = inbox.store().clone();
        async move {
            let write = move |txn: &store::Txn| hook_outcomes::put_processed(txn, id);
            store.write::<(), store::Error, _>(write).await.unwrap();
        }
    };
    let mut last = HookId(0);
    for _ in 0..6 {
        last = inbox.accept(ConnectorId(1), b"body").await;
        done(&inbox, last).await;
        let now = clock::to_millis(clock.now());
        inbox.prune(now).await.unwrap();
        inbox.tend_keys(now).await.unwrap();
        forward(&clock, DAY_MILLIS);
    }
    // Bodies of four days are left, and the last key has none yet.
    assert_eq!(sealed(&inbox), 5);
    let view = hooks::view(inbox.store()).unwrap();
    let newest = hooks::get(&view, last).unwrap().unwrap();
    assert!(inbox.open_body(newest).is_ok());
    assert!(hooks::get(&view, HookId(1)).unwrap().is_none());
}

/// It was answered, so it must come to something, however many others came meanwhile.
#[tokio::test]
async fn what_was_put_off_is_kept_until_it_was_processed() {
    let clock = clock();
    let (_directory, inbox) = Inbox::for_test(&clock).await;
    let waiting = inbox.accept(ConnectorId(1), b"waits").await;
    let mut last = waiting;
    for _ in 0..options().keep_count_max / 10 {
        last = inbox.accept(ConnectorId(2), b"flood").await;
    }
    let write = move |txn: &store::Txn| -> Result<(), store::Error> {
        hook_outcomes::put_due(txn, waiting, &HookDue { due_at: 0, attempts: 1, replay: None })?;
        hook_outcomes::put_processed(txn, last)
    };
    inbox.store().write(write).await.unwrap();
    forward(&clock, 4 * DAY_MILLIS);
    let now = clock::to_millis(clock.now());
    inbox.prune(now).await.unwrap();
    let first = || hooks::first(inbox.store()).unwrap();
    assert_eq!(first(), waiting);
    assert!(hook_outcomes::due(&inbox.store().read().unwrap(), waiting).unwrap().is_some());
    let processed = move |txn: &store::Txn| hook_outcomes::delete_due(txn, waiting);
    inbox.store().write::<(), store::Error, _>(processed).await.unwrap();
    inbox.prune(now).await.unwrap();
    assert_eq!(first(), last, "the newest always stays");
}

/// As after a restore of an older `inbox.redb` beside a newer `state.redb`.
#[tokio::test]
async fn numbers_that_were_processed_are_not_given_away_again() {
    let (_directory, inbox) = Inbox::for_test(&clock()).await;
    let write = |txn: &store::Txn| hook_outcomes::put_processed(txn, HookId(50));
    inbox.store().write::<(), store::Error, _>(write).await.unwrap();
    let (store, keys) = (inbox.store().clone(), Arc::clone(&inbox.0.keys));
    let engine = Engine::new(None, Limits::default()).unwrap();
    let plugins = Registry::open(engine, plugin::Options::default()).await.unwrap();
    let is_full: IsFull = Arc::new(|| false);
    let again = Inbox::open(store, keys, clock(), plugins, is_full, options()).await.unwrap();
    assert_eq!(again.accept(ConnectorId(1), b"x").await, HookId(51));
}
