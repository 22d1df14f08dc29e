//! The atomic commit: what a run changes, and everything that tells of it, in one transaction.
//!
//! Owns how a plan becomes rows. Must not call a plugin, and must not decide anything that the plan did not: a record
//! that moved since it was compared goes back to the caller.

mod create;
mod finish;
mod link;
mod person;
mod undo;
mod update;

pub use finish::{abort, hold, note_failure};
pub use person::{Edited, PersonError, create, edit, name_of, resolve};
pub use undo::{UndoReport, undo};

use crate::clock::Clock;
use crate::model::directory::Connection;
use crate::model::ids::EntityNo;
use crate::model::job::Job;
use crate::model::plan::{Action, PlanPage, PlanRow};
use crate::model::record::Shape;
use crate::model::run::Run;
use crate::model::{ConnectionId, ConnectorId, FieldType, OrgNo, RecordId};
use crate::store::directory::Watermark;
use crate::store::failures::Scope;
use crate::store::feed::FeedWriter;
use crate::store::identity::{Entries, Rules};
use crate::store::records::ChangeKind;
use crate::store::runs::{Outcome, RecordOutcome};
use crate::store::{self, Store, Txn, failures, runs};
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    /// These rows (page, index) compare with a version that is no longer there.
    #[error("{} records changed while the run was under way", .0.len())]
    Moved(Vec<(u32, usize)>),
    /// Another worker has taken the job over.
    #[error("the job was taken over by another worker")]
    Fenced,
    #[error("page {0} of the plan is gone: run the sync again")]
    PlanGone(u32),
    #[error("page {page} of the plan cannot be read: {reason}")]
    BadPlan { page: u32, reason: String },
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
}

pub type PageSource =
    Arc<dyn Fn(&Store, u32) -> Result<Option<Vec<u8>>, store::Error> + Send + Sync>;

impl Plan {
    /// Reads and decodes one page.
    pub fn read_page(&self, page: u32) -> Result<PlanPage, Error> {
        let bytes = (self.page)(&self.store, page)?.ok_or(Error::PlanGone(page))?;
        postcard::from_bytes(&bytes)
            .map_err(|error| Error::BadPlan { page, reason: error.to_string() })
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
    store.write_bulk(move |txn| apply_in(txn, &plan)).await
}

fn apply_in(txn: &Txn, plan: &Plan) -> Result<(), Error> {
    let started = Instant::now();
    finish::check_fence(txn, &plan.job)?;
    let mut work = Work {
        txn,
        plan,
        feed: FeedWriter::new(plan.org, Some(plan.run.id), plan.at),
        identity: Entries::default(),
        conflict_lines: 0,
        moved: Vec::new(),
    };
    for entity in plan.entities.iter() {
        for page in entity.pages.clone() {
            work.page(entity, page)?;
        }
    }
    if !work.moved.is_empty() {
        return Err(Error::Moved(work.moved));
    }
    work.feed.flush(txn)?;
    work.identity.flush(txn)?;
    finish::end(txn, plan, started)
}

/// One commit in progress.
struct Work<'a> {
    txn: &'a Txn,
    plan: &'a Plan,
    feed: FeedWriter,
    identity: Entries,
    conflict_lines: u32,
    moved: Vec<(u32, usize)>,
}

impl Work<'_> {
    fn page(&mut self, entity: &EntityPlan, number: u32) -> Result<(), Error> {
        let page = self.plan.read_page(number)?;
        let mut outcomes = Vec::new();
        self.failures(entity, &page, &mut outcomes)?;
        if self.plan.run.dry_run {
            for row in &page.rows {
                self.dry_row(entity, row, &mut outcomes)?;
            }
        } else {
            self.creates(entity, number, &page.rows, &mut outcomes)?;
            for (index, row) in page.rows.iter().enumerate() {
                self.row(entity, row, (number, index), &mut outcomes)?;
            }
        }
        Ok(runs::put_outcomes(self.txn, self.plan.run.id, number, &outcomes)?)
    }

    fn row(
        &mut self,
        entity: &EntityPlan,
        row: &PlanRow,
        at: (u32, usize),
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<(), Error> {
        match &row.action {
            Action::Create { .. } => Ok(()),
            Action::Update(update) => self.update(entity, row, update, at, outcomes),
            Action::Absent { record, version, deactivates } => {
                let record = RecordId(*record);
                self.absent(entity, row, (record, *version), *deactivates, at, outcomes)
            }
        }
    }

    fn failures(
        &mut self,
        entity: &EntityPlan,
        page: &PlanPage,
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<(), Error> {
        let scope = self.plan.scope(entity);
        for failure in &page.failures {
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
            for id in &page.passed {
                failures::resolve(self.txn, &scope, id, self.plan.run.id, self.plan.at)?;
            }
        }
        Ok(())
    }

    /// What a dry run leaves of a row: its outcome and its conflict lines.
    fn dry_row(
        &mut self,
        entity: &EntityPlan,
        row: &PlanRow,
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<(), Error> {
        let (record, kind) = match &row.action {
            Action::Create { .. } => (RecordId(0), Some(ChangeKind::Created)),
            Action::Update(update) => {
                for conflict in &update.conflicts {
                    self.conflict_line(entity, row, RecordId(update.record), conflict)?;
                }
                (RecordId(update.record), update::kind_of(update))
            }
            Action::Absent { record, deactivates, .. } => {
                (RecordId(*record), deactivates.then_some(ChangeKind::Inactivated))
            }
        };
        if let Some(kind) = kind {
            outcomes.push(outcome(record, row, kind, 0));
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
