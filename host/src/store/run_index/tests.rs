use super::*;
use crate::model::Mode;
use crate::model::run::{Counts, EntityRequest};
use crate::store::file::Visit;
use crate::store::tables::Table;
use crate::store::{Options, Snapshot, Store};
use crate::test_seed;
use proptest::prelude::*;
use std::cell::Cell;

const TRIGGERS: [Trigger; 3] = [Trigger::Manual, Trigger::Webhook, Trigger::Scheduled];
const STATUSES: [RunStatus; 4] =
    [RunStatus::Queued, RunStatus::Running, RunStatus::Completed, RunStatus::Failed];

pub(crate) fn run(id: u64, connector: u32, trigger: Trigger, status: RunStatus) -> Run {
    let request =
        EntityRequest { entity: "thing".into(), mode: Mode::Full, ids: vec![], filters: None };
    let row = serde_json::json!({
        "id": RunId(id), "organization": "owner", "connector": ConnectorId(connector),
        "connection": crate::model::ConnectionId(1), "requests": [request], "trigger": trigger,
        "dry_run": false, "status": status, "counts": Counts::default(), "errors": [],
        "errors_more": 0, "strategy": "", "strategies": [], "attempt": 1, "retry_count": 0,
        "max_retries": 0, "waited_millis": 0, "created_at": id, "requested_by": "", "pages": 0,
        "page_starts": [], "phases": [],
    });
    serde_json::from_value(row).unwrap()
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path(), &Options::default()).unwrap();
    (dir, store)
}

fn put(store: &Store, rows: Vec<(OrgNo, Run)>) {
    store
        .write_blocking(move |txn| -> Result<(), Error> {
            rows.iter().try_for_each(|(org, row)| crate::store::runs::put(txn, *org, row))
        })
        .unwrap();
}

fn found(read: &dyn Read, facets: &Facets, before: Option<RunId>) -> Vec<u64> {
    let mut ids = Vec::new();
    scan(read, facets, before, &mut |id, wanted| {
        ids.extend(wanted.then_some(id.0));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    ids
}

/// Random runs that move through random statuses, and every combination of filters, against a plain filter.
#[test]
fn every_filter_finds_what_a_plain_look_finds() {
    let row = (1..3u32, 1..4u32, 0..3usize, 0..4usize, 0..4usize);
    let facets = (
        proptest::option::of(1..3u32),
        proptest::option::of(1..4u32),
        proptest::option::of(0..3usize),
        proptest::collection::vec(0..4usize, 0..3),
        proptest::option::of(0..30u64),
    );
    let strategy = (proptest::collection::vec(row, 0..25), proptest::collection::vec(facets, 1..8));
    test_seed::check(40, &strategy, |(rows, all_facets)| {
        let (_dir, store) = store();
        let mut plain = Vec::new();
        for (at, (org, connector, trigger, first, last)) in rows.iter().enumerate() {
            let id = at as u64 + 1;
            let of = |status: usize| run(id, *connector, TRIGGERS[*trigger], STATUSES[status]);
            put(&store, vec![(OrgNo(*org), of(*first)), (OrgNo(*org), of(*last))]);
            plain.push((OrgNo(*org), of(*last)));
        }
        let read = store.read().unwrap();
        for (org, connector, trigger, statuses, before) in &all_facets {
            let facets = Facets {
                org: org.map(OrgNo),
                connector: connector.map(ConnectorId),
                trigger: trigger.map(|at| TRIGGERS[at]),
                statuses: statuses.iter().map(|at| STATUSES[*at]).collect(),
            };
            let expected: Vec<u64> = plain
                .iter()
                .rev()
                .filter(|(org, run)| {
                    facets.org.is_none_or(|wanted| wanted == *org)
                        && facets.connector.is_none_or(|wanted| wanted == run.connector)
                        && facets.trigger.is_none_or(|wanted| wanted == run.trigger)
                        && (facets.statuses.is_empty() || facets.statuses.contains(&run.status))
                        && before.is_none_or(|before| run.id.0 < before)
                })
                .map(|(_, run)| run.id.0)
                .collect();
            prop_assert_eq!(found(&read, &facets, before.map(RunId)), expected, "{:?}", facets);
        }
        Ok(())
    });
}

/// A view that counts the rows that it is asked for.
struct Counted<'a> {
    inner: &'a Snapshot,
    rows: Cell<usize>,
}

impl Read for Counted<'_> {
    fn get_row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.rows.set(self.rows.get() + 1);
        self.inner.get_row(table, key)
    }

    fn scan_rows(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        backward: bool,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        self.inner.scan_rows(table, bounds, backward, &mut |key, row| {
            self.rows.set(self.rows.get() + 1);
            visit(key, row)
        })
    }
}

/// Three runs of interest among 20,000: a page of them reads a handful of rows.
#[test]
fn a_filtered_page_does_not_read_all_runs() {
    const RUNS: u64 = 20_000;
    let (_dir, store) = store();
    let rare = [17, RUNS / 2, RUNS - 3];
    for chunk in (1..=RUNS).collect::<Vec<_>>().chunks(2_000) {
        let rows = chunk.iter().map(|id| {
            let is_rare = rare.contains(id);
            let status = if is_rare { RunStatus::Failed } else { RunStatus::Completed };
            let trigger = if is_rare { Trigger::Manual } else { Trigger::Scheduled };
            (OrgNo(1), run(*id, 1, trigger, status))
        });
        put(&store, rows.collect());
    }
    let snapshot = store.read().unwrap();
    let check = |facets: Facets, expected: &[u64], rows_max: usize| {
        let read = Counted { inner: &snapshot, rows: Cell::new(0) };
        assert_eq!(found(&read, &facets, None), expected, "{facets:?}");
        assert!(read.rows.get() <= rows_max, "{} rows for {facets:?}", read.rows.get());
    };
    let newest_first = [RUNS - 3, RUNS / 2, 17];
    let failed = Facets { statuses: vec![RunStatus::Failed], ..Facets::default() };
    check(failed.clone(), &newest_first, 4);
    check(Facets { org: Some(OrgNo(1)), ..failed.clone() }, &newest_first, 20);
    let all = Facets {
        org: Some(OrgNo(1)),
        connector: Some(ConnectorId(1)),
        trigger: Some(Trigger::Manual),
        ..failed
    };
    check(all, &newest_first, 40);
    let none = Facets { connector: Some(ConnectorId(2)), ..Facets::of_organization(OrgNo(1)) };
    check(none, &[], 4);
}

#[test]
fn a_run_that_goes_leaves_no_index_behind() {
    let (_dir, store) = store();
    let gone = run(5, 2, Trigger::Webhook, RunStatus::Failed);
    put(&store, vec![(OrgNo(3), run(5, 2, Trigger::Webhook, RunStatus::Running))]);
    put(&store, vec![(OrgNo(3), gone.clone())]);
    store.write_blocking(move |txn| forget(txn, OrgNo(3), &gone)).unwrap();
    let mut left = 0;
    let read = store.read().unwrap();
    crate::store::file::scan_prefix(&read, RUNS_BY, &Key::new(), &mut |_, _| {
        left += 1;
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(left, 0);
}
