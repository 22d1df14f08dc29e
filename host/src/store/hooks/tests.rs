use super::*;
use crate::model::webhook::Verdict;
use crate::store::Options;
use crate::store::tables::HOOKS_SEEN;

fn hook(connector: u32, at: i64) -> Hook {
    Hook {
        connector: ConnectorId(connector),
        connection: None,
        received_at: at,
        verdict: Verdict::Accepted,
        scheme: "standard".to_owned(),
        address: Some("192.0.2.1".to_owned()),
        body_bytes: 3,
        delivery_id: None,
        duplicate_of: None,
        body_differs: false,
        unlogged: 0,
        headers: vec![("a".to_owned(), "b".to_owned())],
        body_key: 1,
    }
}

fn new(connector: u32, at: i64, seen: Option<(u8, i64)>) -> NewHook {
    let seen = seen.map(|(byte, until)| Seen { key: vec![byte; 16], body: [0; 8], until });
    with_body(hook(connector, at), seen, b"abc")
}

fn with_body(hook: Hook, seen: Option<Seen>, body: &[u8]) -> NewHook {
    let seal = |_: &Hook, row: &mut Vec<u8>| {
        row.extend_from_slice(body);
        Ok::<(), Error>(())
    };
    NewHook::new(hook, seen, seal).unwrap()
}

fn remembered(store: &Store) -> usize {
    let mut count = 0;
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let counting = &mut |_: &[u8], _: &[u8]| {
        count += 1;
        Ok(ControlFlow::Continue(()))
    };
    view(store).unwrap().scan_rows(HOOKS_SEEN, everything, false, counting).unwrap();
    count
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(directory.path(), &Options::default()).unwrap();
    (directory, store)
}

fn ids(store: &Store, connector: Option<u32>) -> Vec<u64> {
    let mut found = Vec::new();
    scan_newest(&view(store).unwrap(), connector.map(ConnectorId), None, &mut |id| {
        found.push(id.0);
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    found
}

#[tokio::test]
async fn the_same_is_accepted_once_for_its_connector_until_it_is_forgotten() {
    let (_directory, store) = store();
    let add = |new: NewHook| append(&store, HookId(0), new);
    let first = add(new(1, 10, Some((7, 10_000)))).await.unwrap();
    assert_eq!(first, Appended::New(HookId(1)));
    let again = add(new(1, 9_999, Some((7, 20_000)))).await.unwrap();
    assert_eq!(again, Appended::Duplicate { id: HookId(2), of: HookId(1) });
    let other = add(new(2, 9_999, Some((7, 20_000)))).await.unwrap();
    assert_eq!(other, Appended::New(HookId(3)));
    let late = add(new(1, 10_000, Some((7, 30_000)))).await.unwrap();
    assert_eq!(late, Appended::New(HookId(4)));
    let read = view(&store).unwrap();
    let duplicate = get(&read, HookId(2)).unwrap().unwrap();
    assert!(duplicate.body.is_empty() && !duplicate.hook.has_body());
    assert!(!duplicate.hook.body_differs);
    let row = get(&read, HookId(4)).unwrap().unwrap();
    assert_eq!((row.hook, row.body), (hook(1, 10_000), b"abc".to_vec()));
    assert_eq!(ids(&store, None), [4, 3, 2, 1]);
    assert_eq!(ids(&store, Some(1)), [4, 2, 1]);
    // The first was remembered anew, and so is not forgotten with what was known before.
    let forgotten = |now, count_max, limit| {
        let store = store.clone();
        async move { (forget(&store, now, count_max, limit).await.unwrap(), remembered(&store)) }
    };
    assert_eq!(forgotten(15_000, u64::MAX, 10).await, (false, 2));
    assert_eq!(forgotten(20_000, u64::MAX, 1).await, (true, 1));
    assert_eq!(forgotten(20_000, 1, 10).await, (false, 1));
    assert_eq!(forgotten(20_000, 0, 10).await, (false, 0));
}

#[tokio::test]
async fn deliveries_of_one_commit_keep_their_order_and_know_each_other() {
    let (_directory, store) = store();
    let all = (0..40_u8).map(|number| {
        let new = new(u32::from(number % 3), 1, Some((number / 2, 1_000)));
        append(&store, HookId(0), new)
    });
    let appended = futures_util::future::join_all(all).await;
    let ids = appended.into_iter().map(|one| match one.unwrap() {
        Appended::New(id) | Appended::Duplicate { id, .. } => id.0,
    });
    assert!(ids.eq(1..=40));
    assert_eq!(crate::store::consistency::violations(&store).unwrap(), [""; 0]);
    assert_eq!(self::ids(&store, Some(1)).len(), 13);
    let same = || append(&store, HookId(0), new(1, 1, Some((99, 1_000))));
    let (one, other) = tokio::join!(same(), same());
    assert_eq!(one.unwrap(), Appended::New(HookId(41)));
    let duplicate = Appended::Duplicate { id: HookId(42), of: HookId(41) };
    assert_eq!(other.unwrap(), duplicate);
}

#[tokio::test]
async fn a_known_id_with_another_body_is_a_duplicate_that_says_so() {
    let (_directory, store) = store();
    let known = |body: u8| {
        let seen = Seen { key: vec![7; 16], body: [body; 8], until: 100 };
        append(&store, HookId(0), with_body(hook(1, 10), Some(seen), &[body]))
    };
    known(1).await.unwrap();
    known(2).await.unwrap();
    known(1).await.unwrap();
    let read = view(&store).unwrap();
    let differs = [1, 2, 3].map(|id| get(&read, HookId(id)).unwrap().unwrap().hook.body_differs);
    assert_eq!(differs, [false, true, false]);
}

#[tokio::test]
async fn numbers_go_on_behind_what_was_processed() {
    let (_directory, store) = store();
    let added = append(&store, HookId(41), new(1, 0, None)).await.unwrap();
    assert_eq!(added, Appended::New(HookId(42)));
    assert_eq!(last(&store).unwrap(), HookId(42));
}

#[tokio::test]
async fn the_oldest_go_by_age_count_and_bytes_and_the_newest_stays() {
    let (_directory, store) = store();
    for at in 0..10 {
        append(&store, HookId(0), new(1, at, None)).await.unwrap();
    }
    let all = Keep { since: 0, count_max: 100, bytes_max: 1_000, processed: HookId(u64::MAX) };
    let prune = |keep: Keep, limit: usize| {
        let store = store.clone();
        async move {
            let gone = prune(&store, keep, limit).await.unwrap();
            gone.into_iter().map(|id| id.0).collect::<Vec<_>>()
        }
    };
    assert_eq!(prune(all, 100).await, [0_u64; 0]);
    assert_eq!(prune(Keep { since: 2, ..all }, 100).await, [1, 2]);
    assert_eq!(prune(Keep { count_max: 6, ..all }, 100).await, [3, 4]);
    assert_eq!(prune(Keep { bytes_max: 12, ..all }, 1).await, [5]);
    assert_eq!(prune(Keep { bytes_max: 12, ..all }, 100).await, [6]);
    assert_eq!(prune(Keep { since: 99, processed: HookId(8), ..all }, 100).await, [7, 8]);
    assert_eq!(prune(Keep { since: 99, ..all }, 100).await, [9]);
    assert_eq!(ids(&store, Some(1)), [10]);
    assert_eq!(oldest_body_key(&view(&store).unwrap()).unwrap(), Some(1));
}
