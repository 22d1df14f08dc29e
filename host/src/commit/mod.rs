//! The atomic commit: what a run changes, and everything that tells of it, in one transaction.
//!
//! Owns how a plan becomes rows. Must not call a plugin, and must not decide anything that the plan did not: a record
//! that moved since it was compared goes back to the caller.

mod create;
mod finish;
mod link;
mod person;
mod prepare;
mod undo;
mod update;
mod words;

pub use finish::{Ending, abort, hold, note_failure};
pub use person::{Edited, PersonError, create, edit, name_of, resolve};
pub use undo::{UndoReport, undo};

use crate::clock::Clock;
use crate::crash_point;
use crate::health;
use crate::model::directory::Connection;
use crate::model::ids::EntityNo;
use crate::model::job::Job;
use crate::model::notice::EventKind;
use crate::model::plan::{Action, PlanFailure, PlanPage, PlanRow};
use crate::model::record::Shape;
use crate::model::run::Run;
use crate::model::{ConnectionId, ConnectorId, FieldType, OrgNo, RecordId};
use crate::notify;
use crate::store::directory::Watermark;
use crate::store::failures::Scope;
use crate::store::feed::FeedWriter;
use crate::store::identity::{Gathered, Rules};
use crate::store::records::ChangeKind;
use crate::store::runs::{Outcome, RecordOutcome};
use crate::store::{self, Store, Txn, conflicts, failures, records, runs};
use prepare::{Page, Pages, Rest};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    /// These rows, by page, compare with a version or a base that is no longer there.
    #[error("{} records changed while the run was under way", .0.values().map(Moved::len).sum::<usize>())]
    Moved(BTreeMap<u32, Moved>),
    /// Another worker has taken the job over.
    #[error("the job was taken over by another worker")]
    Fenced,
    #[error("the program failed while it read the plan: please report this")]
    Panicked,
    #[error("page {0} of the plan is gone: run the sync again")]
    PlanGone(u32),
    #[error("page {page} of the plan cannot be read: {reason}")]
    BadPlan { page: u32, reason: String },
}

impl Error {
    fn bad_plan(page: u32, error: &postcard::Error) -> Error {
        Error::BadPlan { page, reason: error.to_string() }
    }
}

/// Places of rows in one page of the plan.
#[derive(Debug, Default)]
pub struct Moved {
    /// Among the records to create.
    pub new: Vec<usize>,
    /// Among the changes.
    pub rows: Vec<usize>,
}

impl Moved {
    pub fn len(&self) -> usize {
        self.new.len() + self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.rows.is_empty()
    }
}

/// What a run does to one entity.
#[derive(Clone)]
pub struct EntityPlan {
    pub entity: EntityNo,
    pub entity_name: String,
    /// The targets of the template, in the order of the plan's positions.
    pub fields: Shape,
    /// Their types, by position.
    pub types: Arc<[FieldType]>,
    /// The number of that list in the store.
    pub fields_no: u32,
    pub rules: Rules,
    /// Pages of the run that belong to this entity.
    pub pages: std::ops::Range<u32>,
    /// Kept only if the run completed.
    pub watermark: Option<Watermark>,
}

/// Everything that one commit needs. Cheap to clone.
#[derive(Clone)]
pub struct Plan {
    pub store: Store,
    pub org: OrgNo,
    pub connection: Arc<Connection>,
    pub entities: Arc<Vec<EntityPlan>>,
    /// Reads a page of the plan: from staging, or from the plan that was kept.
    pub page: PageSource,
    pub job: Arc<Job>,
    /// The run as it will stand after the commit.
    pub run: Arc<Run>,
    /// Milliseconds since the epoch: the time of everything that the commit writes.
    pub at: i64,
    /// Tells when the run ended.
    pub clock: Clock,
    pub requests: Arc<Vec<serde_json::Value>>,
    pub logs: Arc<Vec<serde_json::Value>>,
    pub health: health::Options,
}

pub type PageSource =
    Arc<dyn Fn(&Store, u32) -> Result<Option<Vec<u8>>, store::Error> + Send + Sync>;

impl Plan {
    /// Reads and decodes one page.
    pub fn read_page(&self, page: u32) -> Result<PlanPage, Error> {
        let bytes = (self.page)(&self.store, page)?.ok_or(Error::PlanGone(page))?;
        postcard::from_bytes(&bytes).map_err(|error| Error::bad_plan(page, &error))
    }

    fn scope(&self, entity: &EntityPlan) -> Scope {
        Scope {
            org: self.org,
            organization: self.connection.organization.clone(),
            connector: self.connector(),
            connection: self.connection_id(),
            entity: entity.entity,
            entity_name: entity.entity_name.clone(),
        }
    }

    fn connection_id(&self) -> ConnectionId {
        self.connection.id
    }

    fn connector(&self) -> ConnectorId {
        self.connection.connector_id
    }
}

/// Applies the whole plan and ends the run, or changes nothing. A dry run leaves its lines and outcomes only.
pub async fn apply(plan: Plan) -> Result<(), Error> {
    let store = plan.store.clone();
    crash_point::reached("commit:before");
    let applied = store.write_bulk(move |txn| apply_in(txn, &plan)).await;
    crash_point::reached("commit:durable");
    applied
}

fn apply_in(txn: &Txn, plan: &Plan) -> Result<(), Error> {
    let started = Instant::now();
    finish::check_fence(txn, &plan.job)?;
    crash_point::reached("commit:begun");
    let inbox_was_empty = !conflicts::any_open(txn, plan.org, plan.connection_id())?;
    let mut work = Work::new(txn, plan);
    let mut position = |name: &Arc<str>| work.feed.position(name).unwrap_or_default();
    let positions: Vec<Vec<u16>> = plan
        .entities
        .iter()
        .map(|entity| entity.fields.iter().map(&mut position).collect())
        .collect();
    let first = records::next_sequence(txn)?;
    let rest = work.pages(&positions, first)?;
    crash_point::reached("commit:records");
    if !work.moved.is_empty() {
        return Err(Error::Moved(work.moved));
    }
    records::reserve(txn, rest.next - first)?;
    work.feed.flush(txn)?;
    crash_point::reached("commit:feed");
    rest.identity.into_iter().try_for_each(|entries| work.identity.add(entries))?;
    work.identity.put(txn)?;
    crash_point::reached("commit:links");
    if inbox_was_empty && conflicts::any_open(txn, plan.org, plan.connection_id())? {
        notify::raise(txn, finish::about(EventKind::FirstHeldConflict, &plan.run))?;
    }
    finish::end(txn, plan, started)?;
    crash_point::reached("commit:run");
    Ok(())
}

/// Writes what a plan would do and does nothing of it: what a dry run leaves, for whoever looks through a held plan.
fn show(txn: &Txn, plan: &Plan) -> Result<(), Error> {
    let run = Run { dry_run: true, ..(*plan.run).clone() };
    let dry = Plan { run: Arc::new(run), ..plan.clone() };
    let positions = vec![Vec::new(); dry.entities.len()];
    Work::new(txn, &dry).pages(&positions, 0).map(drop)
}

/// One commit in progress.
struct Work<'a, 't> {
    txn: &'a Txn<'t>,
    plan: &'a Plan,
    feed: FeedWriter,
    identity: Gathered,
    conflict_lines: u32,
    moved: BTreeMap<u32, Moved>,
}

impl<'a, 't> Work<'a, 't> {
    fn new(txn: &'a Txn<'t>, plan: &'a Plan) -> Work<'a, 't> {
        let feed = FeedWriter::new(plan.org, Some(plan.run.id), plan.at);
        let (identity, moved) = (Gathered::new(plan.store.dir()), BTreeMap::new());
        Work { txn, plan, feed, identity, conflict_lines: 0, moved }
    }

    /// Takes all pages. `first` is the number of the first new record, `positions` the feed's numbers of each entity's
    /// fields.
    fn pages(&mut self, positions: &[Vec<u16>], first: u64) -> Result<Rest, Error> {
        let plan = self.plan;
        std::thread::scope(|scope| {
            let mut pages = Pages::begin(scope, plan, positions, first);
            let worked = pages.by_ref().try_for_each(|page| {
                self.page(page)?;
                crash_point::reached("commit:page");
                Ok(())
            });
            let rest = pages.end();
            worked.and(rest)
        })
    }

    fn page(&mut self, page: Page<'_>) -> Result<(), Error> {
        let Page { entity, number, failures, passed, rows, mut created } = page;
        let mut outcomes = Vec::new();
        self.failures(entity, &failures, &passed, &mut outcomes)?;
        if self.plan.run.dry_run {
            for row in &rows {
                self.dry_row(entity, row, &mut outcomes)?;
            }
        } else {
            self.creates(entity, number, &mut created)?;
            for at in rows.iter().enumerate() {
                self.row(entity, number, at, &mut outcomes)?;
            }
        }
        let (run, new) = (self.plan.run.id, created.outcomes);
        Ok(runs::put_outcomes(self.txn, run, number, new, &outcomes)?)
    }

    fn row(
        &mut self,
        entity: &EntityPlan,
        page: u32,
        (at, row): (usize, &PlanRow),
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<(), Error> {
        let applied = match &row.action {
            Action::Update(update) => self.update(entity, row, update, outcomes)?,
            Action::Absent { record, version, deactivates } => {
                let record = RecordId(*record);
                self.absent(entity, row, (record, *version), *deactivates, outcomes)?
            }
        };
        if !applied {
            self.moved.entry(page).or_default().rows.push(at);
        }
        Ok(())
    }

    fn failures(
        &mut self,
        entity: &EntityPlan,
        failures: &[PlanFailure],
        passed: &[String],
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<(), Error> {
        let scope = self.plan.scope(entity);
        for failure in failures {
            if !self.plan.run.dry_run {
                failures::record(self.txn, &scope, failure, self.plan.run.id, self.plan.at)?;
            }
            outcomes.push(RecordOutcome {
                record: 0,
                external_id: failure.external_id.clone(),
                outcome: Outcome::Quarantined,
                version: 0,
                note: Some(format!("{}: {}", failure.code, failure.message)),
            });
        }
        if !self.plan.run.dry_run {
            for id in passed {
                failures::resolve(self.txn, &scope, id, self.plan.run.id, self.plan.at)?;
            }
        }
        Ok(())
    }

    /// What a dry run leaves of a row: its outcome with what would change, and its conflict lines.
    fn dry_row(
        &mut self,
        entity: &EntityPlan,
        row: &PlanRow,
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<(), Error> {
        let mut note = None;
        let (record, kind) = match &row.action {
            Action::Update(update) => {
                let id = RecordId(update.record);
                for conflict in &update.conflicts {
                    self.conflict_line(entity, row, id, conflict)?;
                }
                if !update.changes.is_empty() {
                    let record = records::get(self.txn, &self.plan.store, self.plan.org, id)?;
                    note = record.and_then(|record| words::changes(entity, &record, update));
                }
                (id, update::kind_of(update))
            }
            Action::Absent { record, deactivates, .. } => {
                (RecordId(*record), deactivates.then_some(ChangeKind::Inactivated))
            }
        };
        if let Some(kind) = kind {
            outcomes.push(RecordOutcome { note, ..outcome(record, row, kind, 0) });
        }
        Ok(())
    }
}

fn outcome(record: RecordId, row: &PlanRow, kind: ChangeKind, version: u64) -> RecordOutcome {
    RecordOutcome {
        record: record.0,
        external_id: row.external_id.clone(),
        outcome: kind.into(),
        version,
        note: None,
    }
}
