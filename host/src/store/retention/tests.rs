use super::*;
use crate::model::ids::EntityNo;
use crate::model::record::FieldMeta;
use crate::model::{ConnectionId, ConnectorId, FieldType, ModifiedBy, RecordId, Trigger, Value};
use crate::store::conflicts::{HeldConflict, Resolution};
use crate::store::feed::FeedWriter;
use crate::store::records::{self, Change, ChangeKind};
use crate::store::rows::Encoded;
use crate::store::runs::{ConflictLine, Outcome, RecordOutcome};
use crate::store::{Options, Store, run_index};
use std::sync::Arc;

const ORG: OrgNo = OrgNo(7);
const NOW: i64 = 1_000_000;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path(), &Options::default()).unwrap();
    (dir, store)
}

fn write<T: Send + 'static>(
    store: &Store,
    write: impl FnMut(&Txn) -> Result<T, Error> + Send + 'static,
) -> T {
    store.write_blocking(write).unwrap()
}

fn ended(id: u64, status: RunStatus, at: i64) -> Run {
    let run = run_index::tests::run(id, 1, Trigger::Manual, status);
    Run { completed_at: Some(at), ..run }
}

fn line(record: u64) -> ConflictLine {
    ConflictLine {
        record: RecordId(record),
        external_id: record.to_string(),
        entity: "thing".into(),
        field: "email".into(),
        base: Value::Null,
        remote: Value::Int(1),
        local: Value::Int(2),
        resolved: Some(Value::Int(1)),
        strategy: "s".into(),
        note: String::new(),
    }
}

/// A run with a line, an outcome, a request and a log line.
fn put_run(store: &Store, run: Run, lines: u32) {
    write(store, move |txn| {
        let outcome = RecordOutcome {
            record: 1,
            external_id: "1".into(),
            outcome: Outcome::Updated,
            version: 2,
            note: None,
        };
        runs::put_outcomes(txn, run.id, 0, Encoded::default(), &[outcome])?;
        runs::append_requests(txn, run.id, &vec![serde_json::json!({}); 40])?;
        runs::append_logs(txn, run.id, &[serde_json::json!({})])?;
        for number in 0..lines {
            let line = line(u64::from(number));
            runs::put_conflict(txn, run.id, number, &line)?;
            let decision = decisions::Decision::Line(run.id.0, number);
            decisions::note(txn, ORG, line.record, &line.field, decision)?;
        }
        runs::put(txn, ORG, &run)
    });
}

fn prune_all(store: &Store, class: Class, before: i64, at_once: usize) -> usize {
    let mut calls = 0;
    loop {
        calls += 1;
        let pruned = write(store, move |txn| prune(txn, class, before, NOW, at_once));
        assert!(pruned.rows <= at_once + 1, "{pruned:?}");
        if !pruned.more {
            return calls;
        }
    }
}

#[test]
fn details_go_before_their_run_and_in_bounded_pieces() {
    let (_dir, store) = store();
    put_run(&store, ended(1, RunStatus::Completed, 100), 25);
    put_run(&store, ended(2, RunStatus::Failed, 200), 0);
    put_run(&store, ended(3, RunStatus::Held, 100), 0);
    let calls = prune_all(&store, Class::RunDetails, 150, 10);
    assert!(calls >= 4, "42 rows and an entry, ten at once: {calls}");
    let read = store.read().unwrap();
    let run = runs::get(&read, RunId(1)).unwrap().unwrap();
    assert_eq!(run.details_gone_at, Some(NOW));
    assert!(runs::requests(&read, RunId(1), 0, 9).unwrap().is_empty());
    assert!(runs::logs(&read, RunId(1), 0, 9).unwrap().is_empty());
    assert_eq!(runs::conflicts(&read, RunId(1), 0, 99).unwrap().len(), 25, "lines stay");
    assert_eq!(runs::requests(&read, RunId(2), 0, 99).unwrap().len(), 40, "too young");
    assert_eq!(runs::requests(&read, RunId(3), 0, 99).unwrap().len(), 40, "it waits");
    assert!(decisions::last(&read, ORG, RecordId(3), "email").unwrap().is_some());
    drop(read);
    prune_all(&store, Class::Runs, 150, 10);
    let read = store.read().unwrap();
    assert!(runs::get(&read, RunId(1)).unwrap().is_none());
    assert!(runs::conflicts(&read, RunId(1), 0, 9).unwrap().is_empty());
    assert!(decisions::last(&read, ORG, RecordId(3), "email").unwrap().is_none());
    assert!(runs::get(&read, RunId(2)).unwrap().is_some());
    let facets = run_index::Facets::of_organization(ORG);
    let mut ids = Vec::new();
    runs::scan_newest(&read, &facets, None, &mut |id, _| {
        ids.push(id.0);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(ids, [3, 2]);
}

#[test]
fn a_run_that_was_taken_up_again_ages_from_its_second_end() {
    let (_dir, store) = store();
    put_run(&store, ended(1, RunStatus::Failed, 100), 0);
    put_run(&store, ended(1, RunStatus::Completed, 500), 0);
    prune_all(&store, Class::Runs, 300, 10);
    assert!(runs::get(&store.read().unwrap(), RunId(1)).unwrap().is_some());
    prune_all(&store, Class::RunDetails, 501, 100);
    prune_all(&store, Class::Runs, 501, 100);
    assert!(runs::get(&store.read().unwrap(), RunId(1)).unwrap().is_none());
    assert_eq!(count(&store.read().unwrap()).unwrap(), 0, "no entry is left");
}

/// Changes of a record at these times, each with a row of the feed and an entry of the timeline.
fn changed_at(store: &Store, times: &[i64]) -> RecordId {
    let (seen, times) = (store.clone(), times.to_vec());
    write(store, move |txn| {
        let meta = FieldMeta { modified_at: 0, modified_by: ModifiedBy::Person("a".into()) };
        let entity = seen.intern_entity(txn, "thing")?;
        assert_eq!(entity, EntityNo(1));
        let mut record =
            records::create(txn, &seen, ORG, entity, vec![("x".into(), Value::Int(0))], meta)?;
        for (number, at) in (1..).zip(&times) {
            let change = Change {
                kind: ChangeKind::Updated,
                fields: vec![(Arc::from("x"), Value::Int(number), None)],
                status: None,
                at: *at,
                by: ModifiedBy::Person("a".into()),
                cause: None,
                own_link: None,
                new_link: None,
                aliases: Vec::new(),
            };
            let entry = records::apply(txn, &seen, ORG, &mut record, change)?;
            let mut feed = FeedWriter::new(ORG, None, *at);
            let names = entry.fields.iter().map(|field| field.field.as_str());
            feed.push(txn, (record.id, record.version), ChangeKind::Updated, names)?;
            feed.flush(txn)?;
        }
        Ok(record.id)
    })
}

#[test]
fn feed_and_timeline_age_each_by_itself_and_the_feed_says_what_is_gone() {
    let (_dir, store) = store();
    let record = changed_at(&store, &[100, 200, 300]);
    prune_all(&store, Class::Changes, 201, 1);
    let read = store.read().unwrap();
    assert_eq!(feed::floor(&read, ORG).unwrap(), 2);
    let seqs: Vec<u64> = feed::after(&read, ORG, 0, 9).unwrap().iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [3]);
    assert_eq!(records::history(&read, ORG, record).unwrap().len(), 3);
    drop(read);
    prune_all(&store, Class::History, 201, 1);
    let read = store.read().unwrap();
    let left = records::history(&read, ORG, record).unwrap();
    assert_eq!(left.iter().map(|entry| entry.at).collect::<Vec<_>>(), [300]);
    drop(read);
    prune_all(&store, Class::Changes, 999, 100);
    prune_all(&store, Class::History, 999, 100);
    let read = store.read().unwrap();
    assert_eq!((feed::floor(&read, ORG).unwrap(), feed::last(&read, ORG).unwrap()), (3, 3));
    assert_eq!(count(&read).unwrap(), 0);
}

#[test]
fn only_decided_conflicts_age() {
    let (_dir, store) = store();
    let item = |id: u64, at: Option<i64>| HeldConflict {
        id: ConflictId(id),
        organization: "owner".into(),
        connector: ConnectorId(1),
        connection: ConnectionId(1),
        record: RecordId(id),
        external_id: id.to_string(),
        entity: "thing".into(),
        field: "email".into(),
        field_type: FieldType::default(),
        base: Value::Null,
        remote: Value::Null,
        local: Value::Null,
        strategy: "manual".into(),
        note: String::new(),
        first_run: RunId(1),
        last_run: RunId(1),
        first_seen_at: 1,
        last_seen_at: 1,
        resolution: at.map(|at| Resolution {
            choice: "local".into(),
            value: Value::Null,
            by: "a".into(),
            at,
        }),
        version: 1,
    };
    let items = [item(1, None), item(2, Some(100)), item(3, Some(200))];
    write(&store, move |txn| items.iter().try_for_each(|item| conflicts::put(txn, ORG, item)));
    prune_all(&store, Class::Conflicts, 150, 10);
    let read = store.read().unwrap();
    let there = |id| conflicts::get(&read, ConflictId(id)).unwrap().is_some();
    assert_eq!([there(1), there(2), there(3)], [true, false, true]);
}
