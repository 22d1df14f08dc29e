//! What a row changes in the record that it belongs to: field by field by the three-way rule, and its status.

use super::remote::Remote;
use super::{Planned, Planner};
use crate::clock;
use crate::detect;
use crate::model::conflict::{Conflict, Side};
use crate::model::plan::{Action, FirstLink, PlanRow, PlannedConflict, Resolution, Update};
use crate::model::record::Shape;
use crate::model::{Record, RecordStatus, Value};
use crate::store::links::{self, Link};
use crate::store::{self, Read};

const ABSENT: Value = Value::Absent;

impl Planner {
    pub(super) fn first_link(
        &self,
        remote: &Remote<'_>,
        record: &Record,
        how: FirstLink,
    ) -> Planned {
        let none = |_: usize| &ABSENT;
        let status = remote.status.filter(|status| *status != record.status);
        let (mut update, questions) = self.diff(record, none, remote);
        update.first_link = Some(how);
        update.status = status;
        planned(remote, update, questions)
    }

    pub(super) fn changed(
        &self,
        read: &dyn Read,
        remote: &Remote<'_>,
        (record, link): (&Record, &Link),
    ) -> Result<Planned, store::Error> {
        let covered = self.store.shapes().get(link.fields)?;
        let base = |at: usize| self.base(record, link, &covered, at);
        let (mut update, questions) = if remote.deleted {
            (bare_update(record), Vec::new())
        } else {
            self.diff(record, base, remote)
        };
        update.status = status_change(record, link, remote);
        let scope = &self.setup.scope;
        let gone = remote.deleted && update.status == Some(RecordStatus::Inactive);
        if gone && links::listed_elsewhere(read, scope.org, record, scope.connection)? {
            update.status = None;
        }
        Ok(planned(remote, update, questions))
    }

    fn base<'a>(
        &self,
        record: &'a Record,
        link: &'a Link,
        covered: &Shape,
        at: usize,
    ) -> &'a Value {
        let name = self.setup.fields.get(at);
        let position = name.and_then(|name| record.position(name));
        position.and_then(|position| link.base(covered, record, position)).unwrap_or(&ABSENT)
    }

    fn diff<'a>(
        &self,
        record: &'a Record,
        base: impl Fn(usize) -> &'a Value,
        remote: &Remote<'_>,
    ) -> (Update, Vec<(usize, Conflict)>) {
        let setup = &self.setup;
        let values: Vec<Value> =
            remote.values.iter().map(|value| value.cell().to_value()).collect();
        let local = |at: usize| setup.fields.get(at).map_or(&ABSENT, |name| record.value(name));
        let found = detect::detect(&setup.normalizer, &setup.types, &base, local, &values);
        let mut update = bare_update(record);
        let short = |at: &usize| u16::try_from(*at).ok();
        let value = |at: usize| values.get(at).cloned().unwrap_or_default();
        update.changes =
            found.changes.iter().filter_map(|at| Some((short(at)?, value(*at)))).collect();
        update.settled = found.changes.iter().chain(&found.converged).filter_map(short).collect();
        // At a first link the base of a field that stays becomes the remote's blank.
        let blank = |at: &&usize| *base(**at) == Value::Absent;
        update.settled.extend(found.kept.iter().filter(blank).filter_map(short));
        let mut questions = Vec::with_capacity(found.conflicts.len());
        for at in &found.conflicts {
            let strategy = setup.strategies.get(*at).copied().unwrap_or_default();
            let question = self.question(record, *at, base(*at), value(*at), remote);
            update.conflicts.push(PlannedConflict {
                field: short(at).unwrap_or_default(),
                base: question.base.clone(),
                remote: question.remote.value.clone(),
                local: question.local.value.clone(),
                strategy: String::new(),
                source_of_truth: setup.source_of_truth,
                resolution: Resolution::Hold,
                note: String::new(),
            });
            questions.push((strategy, question));
        }
        (update, questions)
    }

    fn question(
        &self,
        record: &Record,
        at: usize,
        base: &Value,
        value: Value,
        remote: &Remote<'_>,
    ) -> Conflict {
        let setup = &self.setup;
        let name = setup.fields.get(at).map_or("", |name| &**name);
        let meta = record.position(name).map(|position| record.meta_of(position));
        Conflict {
            entity: setup.scope.entity_name.clone(),
            field: name.to_owned(),
            field_type: setup.types.get(at).copied().unwrap_or_default(),
            base: base.clone(),
            remote: Side {
                value,
                modified_at: remote.updated_at.map(clock::to_text),
                modified_by: None,
            },
            local: Side {
                value: record.value(name).clone(),
                modified_at: meta.map(|meta| clock::to_text(meta.modified_at)),
                modified_by: meta.map(|meta| meta.modified_by.class().to_owned()),
            },
            source_of_truth: setup.source_of_truth,
        }
    }
}

fn planned(remote: &Remote<'_>, update: Update, questions: Vec<(usize, Conflict)>) -> Planned {
    let (external_id, remote) = (remote.external_id.to_owned(), remote.state());
    let action = Action::Update(Box::new(update));
    Planned::Row(PlanRow { external_id, remote, action }, questions)
}

fn bare_update(record: &Record) -> Update {
    Update {
        record: record.id.0,
        version: record.version,
        first_link: None,
        changes: Vec::new(),
        status: None,
        settled: Vec::new(),
        conflicts: Vec::new(),
    }
}

/// A status moves when the remote's does: it was there and is gone, was gone and is back, or says another word.
fn status_change(record: &Record, link: &Link, remote: &Remote<'_>) -> Option<RecordStatus> {
    let told = remote.status.filter(|status| Some(*status) != link.remote_status);
    let target = match (remote.deleted, link.present) {
        (true, true) => Some(RecordStatus::Inactive),
        (true, false) => None,
        (false, false) => Some(remote.status.unwrap_or(RecordStatus::Active)),
        (false, true) => told,
    };
    target.filter(|status| *status != record.status)
}
