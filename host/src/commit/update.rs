//! Changes to records that exist: their fields, status, link, timeline, conflict lines and inbox items.

use super::{EntityPlan, Error, Work, link, outcome};
use crate::model::plan::{FirstLink, PlanRow, PlannedConflict, Resolution, Update};
use crate::model::record::LinkRef;
use crate::model::{ModifiedBy, Record, RecordId, RecordStatus, Value};
use crate::store::conflicts::{self, HeldConflict};
use crate::store::decisions::{self, Decision};
use crate::store::links::{Link, LinkedBy};
use crate::store::records::{Change, ChangeKind};
use crate::store::runs::{self, ConflictLine, RecordOutcome};
use crate::store::{links, records};
use std::sync::Arc;

/// How the change shows in the feed; none where the record stays as it is.
pub(super) fn kind_of(update: &Update) -> Option<ChangeKind> {
    match (&update.first_link, update.status) {
        (Some(_), _) => Some(ChangeKind::Linked),
        (None, Some(RecordStatus::Inactive)) => Some(ChangeKind::Inactivated),
        (None, Some(RecordStatus::Active)) => Some(ChangeKind::Reactivated),
        (None, None) => (!update.changes.is_empty()).then_some(ChangeKind::Updated),
    }
}

impl Work<'_, '_> {
    /// False where the record, or the base of a conflict, moved since they were compared: then nothing is done.
    pub(super) fn update(
        &mut self,
        entity: &EntityPlan,
        row: &PlanRow,
        update: &Update,
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<bool, Error> {
        let (txn, plan) = (self.txn, self.plan);
        let id = RecordId(update.record);
        let connection = plan.connection_id();
        let old = links::get(txn, plan.org, connection, entity.entity, &row.external_id)?;
        let record = records::get(txn, &plan.store, plan.org, id)?;
        let linked_as_planned =
            old.as_ref().map(Link::record_id) == update.first_link.is_none().then_some(id);
        let Some(mut record) =
            record.filter(|record| record.version == update.version && linked_as_planned)
        else {
            return Ok(false);
        };
        let covered = old.as_ref().map(|link| plan.store.shapes().get(link.fields)).transpose()?;
        let mut bases = link::bases(old.as_ref(), covered.as_ref(), &record, &entity.fields);
        // A person who decides for the local value moves the base and leaves the record at its version.
        let is_as_compared = |conflict: &PlannedConflict| {
            let base = bases.get(usize::from(conflict.field)).and_then(Option::as_ref);
            *base.unwrap_or(&Value::Absent) == conflict.base
        };
        if !update.conflicts.iter().all(is_as_compared) {
            return Ok(false);
        }
        let remote = records::decode_values(&row.remote.values)?;
        for position in update.settled.iter().map(|at| usize::from(*at)) {
            if let (Some(base), Some(value)) = (bases.get_mut(position), remote.get(position)) {
                *base = Some(value.clone());
            }
        }
        if let Some(kind) = kind_of(update) {
            self.change_record(entity, row, update, kind, &mut record)?;
            outcomes.push(outcome(id, row, kind, record.version));
        }
        let new = Link {
            record: id.0,
            fingerprint: if update.is_clean() { row.remote.fingerprint } else { [0; 16] },
            present: !row.remote.deleted,
            remote_status: row
                .remote
                .status
                .or_else(|| old.as_ref().and_then(|old| old.remote_status)),
            version: row.remote.version.clone(),
            remote_updated_at: row.remote.updated_at,
            linked_by: linked_by(old.as_ref(), update.first_link.as_ref()),
            fields: entity.fields_no,
            overrides: link::overrides(&bases, &record, &entity.fields),
        };
        links::put(txn, plan.org, connection, entity.entity, &row.external_id, &new)?;
        let was_clean = old.is_some_and(|old| old.fingerprint != [0; 16]);
        self.conflicts(entity, row, update, was_clean)?;
        Ok(true)
    }

    fn change_record(
        &mut self,
        entity: &EntityPlan,
        row: &PlanRow,
        update: &Update,
        kind: ChangeKind,
        record: &mut Record,
    ) -> Result<(), Error> {
        let plan = self.plan;
        let strategy_of = |field: u16| {
            let conflict = update.conflicts.iter().find(|conflict| conflict.field == field)?;
            Some(conflict.strategy.clone())
        };
        let name = |field: u16| entity.fields.get(usize::from(field)).cloned();
        let fields = update
            .changes
            .iter()
            .filter_map(|(field, value)| Some((name(*field)?, value.clone(), strategy_of(*field))));
        let external_id = row.external_id.clone();
        let connection = plan.connection_id();
        let change = Change {
            kind,
            fields: fields.collect(),
            status: update.status,
            at: plan.at,
            by: ModifiedBy::Run(plan.run.id),
            cause: None,
            own_link: Some(connection),
            new_link: update.first_link.as_ref().map(|_| LinkRef { connection, external_id }),
            aliases: row.remote.aliases.clone(),
        };
        let entry = records::apply(self.txn, &plan.store, plan.org, record, change)?;
        let names = entry.fields.iter().map(|field| field.field.as_str());
        Ok(self.feed.push(self.txn, (record.id, record.version), kind, names)?)
    }

    /// A record that a complete listing did not name. False where it moved since.
    pub(super) fn absent(
        &mut self,
        entity: &EntityPlan,
        row: &PlanRow,
        (id, version): (RecordId, u64),
        deactivates: bool,
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<bool, Error> {
        let (txn, plan) = (self.txn, self.plan);
        let connection = plan.connection_id();
        let link = links::get(txn, plan.org, connection, entity.entity, &row.external_id)?;
        let record = records::get(txn, &plan.store, plan.org, id)?;
        let (Some(mut link), Some(mut record)) = (link, record.filter(|r| r.version == version))
        else {
            return Ok(false);
        };
        // Between a held plan and its approval another connection may have listed it.
        if deactivates && !links::listed_elsewhere(txn, plan.org, &record, connection)? {
            let change = Change {
                kind: ChangeKind::Inactivated,
                fields: Vec::new(),
                status: Some(RecordStatus::Inactive),
                at: plan.at,
                by: ModifiedBy::Run(plan.run.id),
                cause: None,
                own_link: Some(connection),
                new_link: None,
                aliases: Vec::new(),
            };
            records::apply(txn, &plan.store, plan.org, &mut record, change)?;
            let (kind, version) = (ChangeKind::Inactivated, record.version);
            self.feed.push(txn, (id, version), kind, std::iter::empty())?;
            outcomes.push(outcome(id, row, ChangeKind::Inactivated, record.version));
        }
        link.present = false;
        link.fingerprint = [0; 16];
        links::put(txn, plan.org, connection, entity.entity, &row.external_id, &link)?;
        Ok(true)
    }

    fn conflicts(
        &mut self,
        entity: &EntityPlan,
        row: &PlanRow,
        update: &Update,
        was_clean: bool,
    ) -> Result<(), Error> {
        let id = RecordId(update.record);
        let mut held = Vec::new();
        for conflict in &update.conflicts {
            self.conflict_line(entity, row, id, conflict)?;
            if conflict.is_held() {
                held.push(self.hold(entity, row, id, conflict)?);
            }
        }
        if was_clean {
            return Ok(());
        }
        let (txn, plan) = (self.txn, self.plan);
        for mut item in conflicts::open_of_record(txn, plan.org, plan.connection_id(), id)? {
            if !held.contains(&item.field) {
                item.resolution = Some(conflicts::Resolution {
                    choice: "superseded".to_owned(),
                    value: Value::Absent,
                    by: plan.run.id.to_string(),
                    at: plan.at,
                });
                item.version += 1;
                conflicts::put(txn, plan.org, &item)?;
            }
        }
        Ok(())
    }

    pub(super) fn conflict_line(
        &mut self,
        entity: &EntityPlan,
        row: &PlanRow,
        record: RecordId,
        conflict: &PlannedConflict,
    ) -> Result<(), Error> {
        let line = ConflictLine {
            record,
            external_id: row.external_id.clone(),
            entity: entity.entity_name.clone(),
            field: field_name(entity, conflict.field),
            base: conflict.base.clone(),
            remote: conflict.remote.clone(),
            local: conflict.local.clone(),
            resolved: resolved_value(conflict),
            strategy: conflict.strategy.clone(),
            note: conflict.note.clone(),
        };
        let (txn, plan, number) = (self.txn, self.plan, self.conflict_lines);
        runs::put_conflict(txn, plan.run.id, number, &line)?;
        if !plan.run.dry_run {
            let decision = Decision::Line(plan.run.id.0, number);
            decisions::note(txn, plan.org, record, &line.field, decision)?;
        }
        self.conflict_lines += 1;
        Ok(())
    }

    /// Opens an item of the inbox, or notes that the open one was seen again; answers its field.
    fn hold(
        &mut self,
        entity: &EntityPlan,
        row: &PlanRow,
        record: RecordId,
        conflict: &PlannedConflict,
    ) -> Result<String, Error> {
        let (txn, plan) = (self.txn, self.plan);
        let field = field_name(entity, conflict.field);
        let connection = plan.connection_id();
        let known = conflicts::open_item(txn, plan.org, connection, record, &field)?;
        let item = HeldConflict {
            id: known.as_ref().map_or_else(|| conflicts::next_id(txn), |known| Ok(known.id))?,
            organization: plan.connection.organization.clone(),
            connector: plan.connector(),
            connection,
            record,
            external_id: row.external_id.clone(),
            entity: entity.entity_name.clone(),
            field: field.clone(),
            field_type: entity.types.get(usize::from(conflict.field)).copied().unwrap_or_default(),
            base: conflict.base.clone(),
            remote: conflict.remote.clone(),
            local: conflict.local.clone(),
            strategy: conflict.strategy.clone(),
            note: conflict.note.clone(),
            first_run: known.as_ref().map_or(plan.run.id, |known| known.first_run),
            last_run: plan.run.id,
            first_seen_at: known.as_ref().map_or(plan.at, |known| known.first_seen_at),
            last_seen_at: plan.at,
            resolution: None,
            version: known.as_ref().map_or(1, |known| known.version + 1),
        };
        conflicts::put(txn, plan.org, &item)?;
        Ok(field)
    }
}

fn linked_by(old: Option<&Link>, first: Option<&FirstLink>) -> LinkedBy {
    match (first, old) {
        (Some(FirstLink::Alias(kind)), _) => LinkedBy::Alias(kind.clone()),
        (Some(FirstLink::Rule(fields)), _) => LinkedBy::Rule(fields.clone()),
        (None, Some(old)) => old.linked_by.clone(),
        (None, None) => LinkedBy::Created,
    }
}

fn field_name(entity: &EntityPlan, field: u16) -> String {
    entity
        .fields
        .get(usize::from(field))
        .map_or_else(String::new, |name: &Arc<str>| name.to_string())
}

/// The local value after the decision; none while a person has to decide.
fn resolved_value(conflict: &PlannedConflict) -> Option<Value> {
    match &conflict.resolution {
        Resolution::Remote => Some(conflict.remote.clone()),
        Resolution::Local => Some(conflict.local.clone()),
        Resolution::Value(value) => Some(value.clone()),
        Resolution::Hold => None,
    }
}
