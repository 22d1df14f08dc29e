//! Changes of keys that are cut off after each step and taken up by a new process, and what is left of a deleted secret.

use super::*;
use crate::secrets as stored;
use crate::store::{self, Options};
use crate::vault::{KeySource, Place, SHRED_FILE};
use std::path::Path;
use std::task::Poll;

const SECRETS: usize = BATCH * 2 + 40;

struct Process {
    store: Store,
    keys: Arc<Keyring>,
}

fn now() -> i64 {
    1_800_000_000_000
}

fn clock() -> Clock {
    Clock::fixed(jiff::Timestamp::from_millisecond(now()).unwrap())
}

fn row(number: usize) -> String {
    format!("row {number}")
}

fn place(row: &str) -> Place<'_> {
    Place { table: "t", organization: Some("club"), row, field: "f" }
}

fn source(directory: &Path) -> KeySource {
    KeySource::File(directory.join("master.key"))
}

fn first(directory: &Path) -> Process {
    let store = Store::create(directory, &Options::default()).unwrap();
    let keys = Arc::new(Keyring::create(source(directory), directory, |_| None).unwrap());
    let inner = Arc::clone(&keys);
    store
        .write_blocking(move |txn| -> Result<(), Error> {
            meta::put_key_checks(txn, &[inner.check(now())?])?;
            (0..SECRETS).try_for_each(|number| {
                let text = format!("secret {number}");
                stored::put(txn, &inner, place(&row(number)), text.as_bytes(), now())
            })
        })
        .unwrap();
    Process { store, keys }
}

/// What a start does.
fn reopened(directory: &Path) -> Process {
    let store = Store::open(directory, &Options::default()).unwrap();
    let keys = Keyring::load(source(directory), directory, |_| None).unwrap();
    keys.verify(&meta::key_checks(&store.read().unwrap()).unwrap().unwrap()).unwrap();
    start(&store, &keys, now()).unwrap();
    Process { store, keys: Arc::new(keys) }
}

impl Process {
    #[track_caller]
    fn all_open(&self, what: &str) {
        let read = self.store.read().unwrap();
        for number in 0..SECRETS {
            let opened = stored::open(&read, &self.keys, place(&row(number)));
            let opened = opened.unwrap_or_else(|error| panic!("{what}, row {number}: {error}"));
            assert_eq!(opened.unwrap().expose(), format!("secret {number}").as_bytes(), "{what}");
        }
    }

    fn admit(&self, check: &KeyCheck) {
        let check = check.clone();
        self.store.write_blocking(move |txn| admit(txn, check.clone())).unwrap();
    }
}

/// Everything that a change does, cut off after `steps` of them. True if there was more to do.
async fn change(process: &Process, half: Half, steps: usize) -> bool {
    let Process { store, keys } = process;
    let inner = Arc::clone(keys);
    let prepared = inner.prepare(half).unwrap();
    if steps == 0 {
        return true;
    }
    let check = keys.check_of(&prepared, now()).unwrap();
    let (inner, admitted) = (store.clone(), check.clone());
    let this = Process { store: inner, keys: Arc::clone(keys) };
    tokio::task::spawn_blocking(move || this.admit(&admitted)).await.unwrap();
    if steps == 1 {
        return true;
    }
    keys.adopt(prepared);
    for _ in 2..steps {
        if settle(store, keys).await.unwrap() {
            keys.retire(now()).unwrap();
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_change_that_is_cut_off_at_any_step_loses_nothing_and_goes_on() {
    for half in [Half::Master, Half::Shred] {
        for steps in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().to_owned();
            let process = tokio::task::spawn_blocking({
                let path = path.clone();
                move || first(&path)
            });
            let process = process.await.unwrap();
            let before = process.keys.current_id().unwrap();
            let more = change(&process, half, steps).await;
            let what = format!("{half:?}, {steps} steps");
            process.all_open(&what);
            drop(process);
            let process = tokio::task::spawn_blocking(move || reopened(&path)).await.unwrap();
            process.all_open(&what);
            assert_ne!(process.keys.current_id().unwrap(), before, "{what}");
            finish(&process.store, &process.keys, &clock()).await.unwrap();
            process.all_open(&what);
            process.keys.forget_retired(i64::MAX);
            process.all_open(&what);
            let status = status(&process.store, &process.keys).unwrap();
            assert!(!status.rotating, "{what}: {status:?}");
            assert_eq!((status.sealed, status.under_current), (SECRETS as u64, SECRETS as u64));
            assert_eq!((process.keys.count(Half::Master), process.keys.count(Half::Shred)), (1, 1));
            if !more {
                assert!(steps >= 6, "a change has files, check, use, three batches and an end");
                break;
            }
        }
    }
}

/// Begins a change and goes away at its first wait, as the request of a caller does who hangs up.
async fn begun_and_left(change: impl Future<Output = Result<(), Error>>) {
    let mut change = Box::pin(change);
    let left = std::future::poll_fn(|context| Poll::Ready(change.as_mut().poll(context))).await;
    assert!(left.is_pending(), "it waits for the disk");
}

#[tokio::test]
async fn who_goes_away_during_a_change_cuts_nothing_off() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let process = tokio::task::spawn_blocking(move || first(&path)).await.unwrap();
    let Process { store, keys } = &process;
    let (clock, before) = (clock(), keys.current_id().unwrap());
    begun_and_left(rotate(store, keys, &clock)).await;
    assert!(matches!(rotate(store, keys, &clock).await, Err(Error::Busy)), "it has the turn");
    // Comes when the change has given its turn back.
    drop(keys.turn().lock().await);
    let rotated = keys.current_id().unwrap();
    assert_ne!(rotated, before, "the new key was admitted and is in use");
    begun_and_left(finish(store, keys, &clock)).await;
    drop(keys.turn().lock().await);
    assert!(!status(store, keys).unwrap().rotating);
    process.all_open("after the change");

    let deleted: Result<bool, store::Error> =
        store.write(|txn| stored::delete(txn, place(&row(7)))).await;
    assert!(deleted.unwrap());
    begun_and_left(shred(store, keys, &clock)).await;
    drop(keys.turn().lock().await);
    assert_ne!(keys.current_id().unwrap(), rotated, "the old shred key was destroyed");
    assert!(!secrets::wants_shred(&store.read().unwrap()).unwrap());
    assert_eq!((keys.count(Half::Master), keys.count(Half::Shred)), (1, 1));
}

/// A retired key in the last moment: the check stands alone, and the old key is still in the file.
#[tokio::test]
async fn a_key_that_is_still_in_the_file_leaves_it_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let process = tokio::task::spawn_blocking({
        let path = path.clone();
        move || first(&path)
    });
    let process = process.await.unwrap();
    rotate(&process.store, &process.keys, &clock()).await.unwrap();
    assert!(matches!(rotate(&process.store, &process.keys, &clock()).await, Err(Error::Busy)));
    while !settle(&process.store, &process.keys).await.unwrap() {}
    drop(process);
    let lines = |path: &Path| {
        let text = std::fs::read_to_string(path.join("master.key")).unwrap();
        text.lines().filter(|line| line.starts_with("syncline-key")).count()
    };
    assert_eq!(lines(&path), 2);
    let again = path.clone();
    let process = tokio::task::spawn_blocking(move || reopened(&again)).await.unwrap();
    finish(&process.store, &process.keys, &clock()).await.unwrap();
    assert_eq!(lines(&path), 1);
    process.all_open("after the start");
}

/// The file of the store keeps pages of deleted rows. Whoever has it, the master key and the shred key of today opens
/// nothing of what was destroyed; with the shred key of before it would open, so that the test looks at the right thing.
#[tokio::test]
async fn what_lingers_of_a_destroyed_secret_opens_with_no_key_that_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let process = tokio::task::spawn_blocking({
        let path = path.clone();
        move || first(&path)
    });
    let process = process.await.unwrap();
    let old_shred = std::fs::read(path.join(SHRED_FILE)).unwrap();
    let gone = row(7);
    let sealed =
        store::secrets::get(&process.store.read().unwrap(), place(&gone)).unwrap().unwrap();
    let deleted: Result<bool, store::Error> =
        process.store.write(|txn| stored::delete(txn, place(&row(7)))).await;
    assert!(deleted.unwrap());
    let file = |name: &str| std::fs::read(path.join(name)).unwrap();
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|seen| seen == part);
    let lingers = holds(&file("state.redb"), &sealed.bytes);
    println!(
        "after the deletion the file {} the sealed value",
        if lingers { "holds" } else { "lacks" }
    );

    shred(&process.store, &process.keys, &clock()).await.unwrap();
    process.keys.forget_retired(i64::MAX);
    assert!(process.keys.open(place(&gone), &sealed).is_err());
    let today = Keyring::load(source(&path), &path, |_| None).unwrap();
    assert!(today.open(place(&gone), &sealed).is_err());
    let old_key: Vec<u8> = old_shred.rsplit(|byte| *byte == b'.').next().unwrap()[..43].to_vec();
    for entry in std::fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap().path();
        assert!(!holds(&std::fs::read(&entry).unwrap(), &old_key), "{}", entry.display());
    }
    // The others are where they were.
    let read = process.store.read().unwrap();
    assert!(stored::open(&read, &process.keys, place(&row(8))).unwrap().is_some());
    assert!(stored::open(&read, &process.keys, place(&gone)).unwrap().is_none());
    drop(read);
    // And it is the shred key that made the difference.
    let elsewhere = tempfile::tempdir().unwrap();
    let shred_file = elsewhere.path().join(SHRED_FILE);
    std::fs::copy(path.join("master.key"), elsewhere.path().join("master.key")).unwrap();
    std::fs::copy(path.join(SHRED_FILE), &shred_file).unwrap();
    std::fs::write(&shred_file, &old_shred).unwrap();
    let before = Keyring::load(source(elsewhere.path()), elsewhere.path(), |_| None).unwrap();
    assert_eq!(before.open(place(&gone), &sealed).unwrap().expose(), b"secret 7");
    // Nothing deleted, nothing to do.
    let id = process.keys.current_id().unwrap();
    shred(&process.store, &process.keys, &clock()).await.unwrap();
    assert_eq!(process.keys.current_id().unwrap(), id);
}
