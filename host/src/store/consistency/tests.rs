//! A store in order has no violation, and each way to break it has one.

use super::violations;
use crate::model::record::FieldMeta;
use crate::model::run::Run;
use crate::model::{ModifiedBy, OrgNo, RecordId, RecordStatus, RunStatus, Trigger, Value};
use crate::store::feed::FeedWriter;
use crate::store::file::{Read as _, Txn};
use crate::store::keys::Key;
use crate::store::records::{self, Change, ChangeKind};
use crate::store::retention::{self, Class};
use crate::store::tables::{
    AGING, CHANGES, COUNTS, HISTORY, IDENTITY, LINKS, META, RECORDS, RUN_RECORDS, RUNS, RUNS_BY,
    TOKENS, Table,
};
use crate::store::{Error, Options, Store, counts, rows, run_index, runs};
use std::ops::ControlFlow;
use std::sync::Arc;

const ORG: OrgNo = OrgNo(1);

fn by() -> ModifiedBy {
    ModifiedBy::Person("anna".to_owned())
}

/// Two records that a person made at 5, one of them changed at 6.
fn filled() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path(), &Options::default()).unwrap();
    let inner = store.clone();
    let written = store.write_blocking(move |txn| -> Result<(), Error> {
        let entity = inner.intern_entity(txn, "thing")?;
        let mut feed = FeedWriter::new(ORG, None, 5);
        for number in 1..=2 {
            let fields = vec![(Arc::from("name"), Value::Text(format!("n{number}")))];
            let meta = FieldMeta { modified_at: 5, modified_by: by() };
            let record = records::create(txn, &inner, ORG, entity, fields, meta)?;
            let id = (record.id, record.version);
            feed.push(txn, id, ChangeKind::Created, std::iter::empty())?;
        }
        feed.flush(txn)
    });
    written.unwrap();
    change(&store, RecordStatus::Inactive, 6);
    (dir, store)
}

/// Changes the second record.
fn change(store: &Store, status: RecordStatus, at: i64) {
    let inner = store.clone();
    let written = store.write_blocking(move |txn| -> Result<(), Error> {
        let kind = match status {
            RecordStatus::Active => ChangeKind::Reactivated,
            RecordStatus::Inactive => ChangeKind::Inactivated,
        };
        let change = Change {
            kind,
            fields: Vec::new(),
            status: Some(status),
            at,
            by: by(),
            cause: None,
            own_link: None,
            new_link: None,
            aliases: Vec::new(),
        };
        let id = RecordId::new(records_entity(), 2);
        let mut record = records::get(txn, &inner, ORG, id)?.unwrap();
        records::apply(txn, &inner, ORG, &mut record, change)?;
        let mut feed = FeedWriter::new(ORG, None, at);
        feed.push(txn, (record.id, record.version), kind, std::iter::empty())?;
        feed.flush(txn)
    });
    written.unwrap();
}

fn first_key(txn: &Txn, table: Table) -> Vec<u8> {
    let mut first = None;
    crate::store::file::scan_prefix(txn, table, &Key::new(), &mut |key, _| {
        first = Some(key.to_vec());
        Ok(ControlFlow::Break(()))
    })
    .unwrap();
    first.unwrap()
}

fn drop_first(txn: &Txn, table: Table) -> Result<(), Error> {
    txn.delete(table, &first_key(txn, table))
}

#[test]
fn a_store_in_order_has_no_violation() {
    let (_dir, store) = filled();
    assert_eq!(violations(&store).unwrap(), Vec::<String>::new());
}

fn prune(store: &Store, class: Class, before: i64) {
    let prune = move |txn: &Txn| retention::prune(txn, class, before, 99, 100);
    assert!(store.write_blocking(prune).unwrap().rows > 0);
}

#[test]
fn what_was_old_enough_to_go_is_not_missed() {
    let (_dir, store) = filled();
    for (at, status) in [(7, RecordStatus::Active), (9, RecordStatus::Inactive)] {
        change(&store, status, at);
    }
    for (class, before) in [(Class::History, 7), (Class::History, 8), (Class::Changes, 6)] {
        prune(&store, class, before);
        assert_eq!(violations(&store).unwrap(), Vec::<String>::new(), "{class:?} before {before}");
    }
    prune(&store, Class::Changes, 100);
    assert_eq!(violations(&store).unwrap(), Vec::<String>::new(), "the whole feed");
    prune(&store, Class::History, 100);
    assert_eq!(violations(&store).unwrap(), Vec::<String>::new(), "all timelines");
}

/// What has gone hides nothing of what is kept.
#[test]
fn what_is_missing_of_what_is_kept_is_told() {
    #[track_caller]
    fn check(class: Class, tells: &str, tamper: fn(&Txn) -> Result<(), Error>) {
        let (_dir, store) = filled();
        change(&store, RecordStatus::Active, 9);
        prune(&store, class, 8);
        store.write_blocking(tamper).unwrap();
        let found = violations(&store).unwrap();
        assert!(found.iter().any(|line| line.contains(tells)), "{tells:?} is not in {found:#?}");
    }
    check(Class::History, "the timeline []", |txn| drop_first(txn, HISTORY));
    check(Class::History, "the feed tells", |txn| drop_first(txn, CHANGES));
    check(Class::Changes, "the timeline [3]", |txn| drop_first(txn, HISTORY));
    check(Class::Changes, "its counter is", |txn| drop_first(txn, CHANGES));
    check(Class::Changes, "is not what will go", |txn| {
        let key = Key::org(ORG).u64(RecordId::new(records_entity(), 2).0).u64(3);
        txn.delete(HISTORY, key.bytes())
    });
}

/// A run of the organization that has ended.
fn ended_run(txn: &Txn) -> Result<(), Error> {
    let id = runs::next_id(txn)?;
    let run = run_index::tests::run(id.0, 1, Trigger::Manual, RunStatus::Completed);
    runs::put(txn, ORG, &Run { completed_at: Some(7), ..run })
}

#[test]
fn each_way_to_break_it_is_told() {
    #[track_caller]
    fn check(tells: &str, tamper: fn(&Txn) -> Result<(), Error>) {
        let (_dir, store) = filled();
        store.write_blocking(tamper).unwrap();
        let found = violations(&store).unwrap();
        assert!(found.iter().any(|line| line.contains(tells)), "{tells:?} is not in {found:#?}");
    }
    check("the counters are", |txn| drop_first(txn, RECORDS));
    check("the counters are", |txn| counts::add(txn, ORG, None, records_entity(), 1, 0));
    check("the counters are", |txn| drop_first(txn, COUNTS));
    check("the timeline []", |txn| drop_first(txn, HISTORY));
    check("its counter is", |txn| {
        let word = format!("next:change:{}", ORG.0);
        txn.delete(META, Key::new().text(&word).bytes())
    });
    check("the feed tells", |txn| {
        let mut feed = FeedWriter::new(ORG, None, 7);
        let id = RecordId::new(records_entity(), 1);
        feed.push(txn, (id, 1), ChangeKind::Created, std::iter::empty())?;
        feed.flush(txn)
    });
    check("match keys are stored", |txn| txn.put(IDENTITY, &[1; 38], &[]));
    check("which does not know it", |txn| {
        let link = crate::store::links::Link {
            record: 7,
            fingerprint: [0; 16],
            present: true,
            remote_status: None,
            version: None,
            remote_updated_at: None,
            linked_by: crate::store::links::LinkedBy::Created,
            fields: 0,
            overrides: Vec::new(),
        };
        let key = Key::org(ORG).u32(1).entity(records_entity()).text("x");
        txn.put(LINKS, key.bytes(), &rows::to_binary(&link)?)
    });
    check("which is nowhere", |txn| {
        txn.put(RUN_RECORDS, Key::new().u64(9).u32(0).bytes(), &[1, 0])
    });
    check("entries for 1 rows", |txn| txn.put(TOKENS, &[7; 32], &[1]));
    check("behind the counter of records", |txn| {
        txn.delete(META, Key::new().text("next:record").bytes())
    });
    check("is not in its lists", |txn| {
        ended_run(txn)?;
        let lists = Key::new().u32(4);
        txn.delete_prefix(RUNS_BY, &lists)
    });
    check("will not go", |txn| {
        ended_run(txn)?;
        txn.delete_prefix(AGING, &Key::new().u32(1))
    });
    check("has another status ahead", |txn| {
        ended_run(txn)?;
        let key = first_key(txn, RUNS);
        let mut row = txn.get_row(RUNS, &key)?.unwrap();
        row[1] += 1;
        txn.put(RUNS, &key, &row)
    });
    check("the schema is None", |txn| txn.delete(META, Key::new().text("schema").bytes()));
}

fn records_entity() -> crate::model::ids::EntityNo {
    crate::model::ids::EntityNo(1)
}
