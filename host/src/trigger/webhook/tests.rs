use super::*;
use crate::model::Mode;
use crate::model::directory::Connection;
use crate::model::run::EntityRequest;
use crate::model::webhook::{EventResult, HookEvent};
use crate::store::runs;
use crate::test_rows;
use jiff::Timestamp;
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

const CONNECTOR: ConnectorId = ConnectorId(1);
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// A dispatcher whose deliveries say in plain words what they hold: `event ID...`, `same EVENT_ID`, `later`, `bad`,
/// `waste`.
struct World {
    clock: Clock,
    inbox: Inbox,
    dispatcher: Dispatcher,
    /// Whether `later` can be read by now.
    mended: Arc<Mutex<bool>>,
    left_alone: tokio::sync::Mutex<LeftAlone>,
    _directory: TempDir,
}

impl World {
    async fn new(mode: Mode) -> World {
        let clock = Clock::fixed("2026-03-01T00:00:00Z".parse().unwrap());
        let (directory, inbox) = Inbox::for_test(&clock).await;
        let write = |txn: &Txn| {
            directory::put_connector(txn, &test_rows::connector())?;
            directory::put_connection(txn, &connection(1, "one"))?;
            directory::put_connection(txn, &connection(2, "two"))
        };
        inbox.store().write::<(), store::Error, _>(write).await.unwrap();
        let mended = Arc::new(Mutex::new(false));
        let seen = Arc::clone(&mended);
        let dispatcher = Dispatcher {
            store: inbox.store().clone(),
            inbox: inbox.clone(),
            clock: clock.clone(),
            read: Arc::new(move |_, opened| {
                let mended = *seen.lock().unwrap();
                let wastes = |one: &Opened| one.body.expose() == b"waste";
                let good = opened.iter().take_while(|one| !wastes(one));
                let parsed: Vec<Parsed> = good.map(|one| parse(one, mended)).collect();
                let entities = vec![Refetch { entity: "thing".to_owned(), mode }];
                let wasteful = parsed.len() < opened.len();
                Box::pin(async move { Reading { parsed, entities, wasteful } })
            }),
            strategy_default: "federation_wins".into(),
            jobs: Arc::default(),
            dedup_millis: 30 * DAY_MILLIS,
        };
        let left_alone = tokio::sync::Mutex::default();
        World { clock, inbox, dispatcher, mended, left_alone, _directory: directory }
    }

    async fn tell(&self, words: &str) -> HookId {
        self.inbox.accept(CONNECTOR, words.as_bytes()).await
    }

    /// Processes all that can be; answers when the next is due.
    async fn settle(&self) -> Option<i64> {
        let mut left_alone = self.left_alone.lock().await;
        loop {
            let turn = self.dispatcher.turn(&mut left_alone).await.unwrap();
            if turn.taken == 0 {
                return turn.next;
            }
        }
    }

    fn outcome(&self, id: HookId) -> crate::model::webhook::Outcome {
        let read = self.dispatcher.store.read().unwrap();
        hook_outcomes::outcome(&read, id).unwrap().expect("an outcome")
    }

    /// What was asked of a connection, over all its runs.
    fn asked(&self, id: HookId) -> Vec<Vec<EntityRequest>> {
        let read = self.dispatcher.store.read().unwrap();
        let runs = self.outcome(id).runs;
        runs.iter().map(|run| runs::get(&read, run.run).unwrap().unwrap().requests).collect()
    }

    fn forward(&self, millis: i64) {
        let at = clock::to_millis(self.clock.now()) + millis;
        self.clock.set(Timestamp::from_millisecond(at).unwrap());
    }
}

fn parse(opened: &Opened, mended: bool) -> Parsed {
    let text = String::from_utf8(opened.body.expose().clone()).unwrap();
    let mut words = text.split(' ');
    let event = |kind: &str, id: &str| HookEvent {
        organization: Some("one".to_owned()),
        entity: "thing".to_owned(),
        id: id.to_owned(),
        kind: kind.to_owned(),
        ..HookEvent::default()
    };
    let fault = || ("a.code".to_owned(), "a sentence".to_owned());
    match words.next().unwrap() {
        "event" => Parsed::Events(words.map(|id| event("updated", id)).collect()),
        "gone" => Parsed::Events(words.map(|id| event("deleted", id)).collect()),
        "merged" => {
            let merged = HookEvent { merged_into: Some("b".into()), ..event("merged", "a") };
            Parsed::Events(vec![merged])
        }
        "nowhere" => {
            Parsed::Events(vec![HookEvent { organization: None, ..event("updated", "a") }])
        }
        "same" => {
            let id = words.next().map(str::to_owned);
            Parsed::Events(vec![HookEvent { event_id: id, ..event("updated", "a") }])
        }
        "later" if !mended => Parsed::Later(fault().0, fault().1),
        "later" => Parsed::Events(vec![event("updated", "late")]),
        _ => Parsed::Unreadable(fault().0, fault().1),
    }
}

fn connection(no: u32, remote: &str) -> Connection {
    Connection { federation_org_id: remote.to_owned(), ..test_rows::connection(no) }
}

#[tokio::test]
async fn a_storm_is_one_job_with_each_id_once() {
    let world = World::new(Mode::Ids).await;
    let mut last = HookId(0);
    for number in 0..300 {
        last = world.tell(&format!("event {}", number % 7)).await;
    }
    assert_eq!(world.settle().await, None);
    let asked = world.asked(last);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0][0].ids, ["0", "1", "2", "3", "4", "5", "6"]);
    let first = world.outcome(HookId(1));
    assert_eq!(first.runs, world.outcome(last).runs, "all joined the same run");
    assert_eq!(first.verdict, Verdict::Accepted);
}

#[tokio::test]
async fn what_was_routed_is_not_routed_again() {
    let world = World::new(Mode::Ids).await;
    let id = world.tell("event a").await;
    let (taken, _) = take(&world.dispatcher.store, 0).unwrap();
    let (again, _) = take(&world.dispatcher.store, 0).unwrap();
    for taken in [taken, again] {
        let dispatched = world.dispatcher.read(taken, &mut LeftAlone::new()).await.unwrap();
        world.dispatcher.route(dispatched).await.unwrap();
    }
    assert_eq!(world.outcome(id).attempts, 1);
    let read = world.dispatcher.store.read().unwrap();
    assert_eq!(crate::store::jobs::all(&read).unwrap().len(), 1);
    assert_eq!(world.settle().await, None);
}

#[tokio::test]
async fn what_cannot_be_read_stops_nobody_and_what_cannot_be_tried_is_tried_again() {
    let world = World::new(Mode::Ids).await;
    let ids = [
        world.tell("bad").await,
        world.tell("later").await,
        world.tell("event a").await,
        world.tell("nowhere").await,
    ];
    let now = clock::to_millis(world.clock.now());
    assert_eq!(world.settle().await, Some(now + WAIT_MILLIS_MIN));
    let verdicts = ids.map(|id| world.outcome(id).verdict);
    let expected = [
        Verdict::UnknownEvent,
        Verdict::Accepted,
        Verdict::Accepted,
        // Two connections: nobody can tell whose it is.
        Verdict::UnknownOrganization,
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(world.outcome(ids[0]).error, Some(("a.code".into(), "a sentence".into())));
    world.forward(WAIT_MILLIS_MIN);
    assert_eq!(world.settle().await, Some(now + 3 * WAIT_MILLIS_MIN), "the wait doubles");
    *world.mended.lock().unwrap() = true;
    world.forward(2 * WAIT_MILLIS_MIN);
    assert_eq!(world.settle().await, None);
    let outcome = world.outcome(ids[1]);
    assert_eq!((outcome.attempts, outcome.runs.len(), outcome.error), (3, 1, None));
}

#[tokio::test]
async fn a_connector_that_wastes_time_is_left_alone_and_holds_up_no_other() {
    let world = World::new(Mode::Ids).await;
    let other = ConnectorId(2);
    let write = move |txn: &Txn| {
        directory::put_connector(txn, &Connector { id: other, ..test_rows::connector() })?;
        let own = Connection { connector_id: other, ..connection(3, "one") };
        directory::put_connection(txn, &own)
    };
    world.inbox.store().write::<(), store::Error, _>(write).await.unwrap();
    let ids = [world.tell("event a").await, world.tell("waste").await, world.tell("event b").await];
    let others = world.inbox.accept(other, b"event c").await;
    let now = clock::to_millis(world.clock.now());
    assert_eq!(world.settle().await, Some(now + WAIT_MILLIS_MIN));
    assert_eq!((world.outcome(ids[0]).runs.len(), world.outcome(others).runs.len()), (1, 1));
    let put_off = |id: HookId| {
        let outcome = world.outcome(id);
        outcome.error.is_some_and(|(code, _)| code == "webhook.put-off")
    };
    assert!(put_off(ids[1]) && put_off(ids[2]));
    // It is not even asked; the other is.
    let later = world.tell("event d").await;
    let others = world.inbox.accept(other, b"event e").await;
    world.settle().await;
    assert!(put_off(later));
    assert_eq!(world.outcome(others).runs.len(), 1);
    world.forward(ALONE_MILLIS);
    world.settle().await;
    assert!(put_off(ids[1]) && put_off(ids[2]), "it wastes time again");
    assert_eq!(world.outcome(ids[2]).attempts, 2);
}

#[tokio::test]
async fn it_gives_up_after_days() {
    let world = World::new(Mode::Ids).await;
    let id = world.tell("later").await;
    let mut times = 1;
    while let Some(due) = world.settle().await {
        world.clock.set(Timestamp::from_millisecond(due).unwrap());
        times += 1;
    }
    assert_eq!(times, ATTEMPTS_MAX);
    let outcome = world.outcome(id);
    assert_eq!((outcome.verdict, outcome.attempts), (Verdict::UnknownEvent, ATTEMPTS_MAX));
    let days = (outcome.processed_at - clock::to_millis("2026-03-01T00:00:00Z".parse().unwrap()))
        / DAY_MILLIS;
    assert_eq!(days, 3);
}

#[tokio::test]
async fn an_event_counts_once_until_it_is_forgotten_or_wanted_again() {
    let world = World::new(Mode::Ids).await;
    let ids = [world.tell("same x").await, world.tell("same x").await, world.tell("same y").await];
    world.settle().await;
    let results = ids.map(|id| world.outcome(id).events[0].result);
    use EventResult::{Duplicate, Queued};
    assert_eq!(results, [Queued, Duplicate, Queued]);
    assert_eq!(world.outcome(ids[1]).verdict, Verdict::Duplicate);
    let hook = hooks::get(&hooks::view(&world.dispatcher.store).unwrap(), ids[1]).unwrap();
    let hook = hook.unwrap().hook;
    let ask = |id: HookId| {
        let hook = hook.clone();
        let write = move |txn: &Txn| replay(txn, id, &hook, "somebody", None, 0);
        world.dispatcher.store.write::<_, store::Error, _>(write)
    };
    assert_eq!(ask(ids[1]).await.unwrap(), Ok(()));
    assert_eq!(ask(ids[1]).await.unwrap(), Err(NoReplay::Waiting));
    world.settle().await;
    let outcome = world.outcome(ids[1]);
    assert_eq!((outcome.events[0].result, outcome.replays), (Queued, 1));
    world.forward(31 * DAY_MILLIS);
    let later = world.tell("same x").await;
    world.settle().await;
    assert_eq!(world.outcome(later).events[0].result, Queued);
}

#[tokio::test]
async fn what_is_gone_is_asked_for_apart_and_no_listing_swallows_it() {
    let world = World::new(Mode::Incremental).await;
    let last = world.tell("merged").await;
    world.settle().await;
    let asked = &world.asked(last)[0];
    assert!(asked[0].is_only_linked() && asked[0].ids == ["a"], "{asked:?}");
    assert_eq!((asked[1].mode, asked[1].ids.len()), (Mode::Incremental, 0));
    let last = world.tell("gone c").await;
    world.settle().await;
    let asked = &world.asked(last)[0];
    assert_eq!(asked[0].ids, ["a", "c"], "{asked:?}");
}

/// The loop itself, by the clock and the bell alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loop_is_woken_by_the_bell_and_by_the_clock() {
    let world = World::new(Mode::Ids).await;
    let stop = CancellationToken::new();
    let working = tokio::spawn(world.dispatcher.clone().work(stop.clone()));
    let id = world.tell("later").await;
    let attempts = |wanted: u32| {
        let (store, clock) = (world.dispatcher.store.clone(), world.clock.clone());
        async move {
            let done = async {
                loop {
                    let outcome = hook_outcomes::outcome(&store.read().unwrap(), id).unwrap();
                    if outcome.is_some_and(|outcome| outcome.attempts >= wanted) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), done).await.unwrap();
            drop(clock);
        }
    };
    attempts(1).await;
    world.forward(WAIT_MILLIS_MIN);
    attempts(2).await;
    stop.cancel();
    working.await.unwrap();
}
