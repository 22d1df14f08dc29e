//! New records, a page at a time: rows go in sorted, so that a first sync costs little more than its bytes.

use super::{EntityPlan, Error, Work, outcome};
use crate::model::RecordStatus;
use crate::model::plan::{Action, PlanRow};
use crate::store::links::{Link, LinkedBy};
use crate::store::records::{ChangeKind, NewRecord};
use crate::store::runs::RecordOutcome;
use crate::store::{counts, identity, links, records};

impl Work<'_> {
    pub(super) fn creates(
        &mut self,
        entity: &EntityPlan,
        page: u32,
        rows: &[PlanRow],
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<(), Error> {
        let is_create = |row: &PlanRow| matches!(row.action, Action::Create { .. });
        let mut creates: Vec<(usize, &PlanRow)> =
            rows.iter().enumerate().filter(|(_, row)| is_create(row)).collect();
        if creates.is_empty() {
            return Ok(());
        }
        creates.sort_unstable_by(|(_, a), (_, b)| a.external_id.cmp(&b.external_id));
        if self.already_linked(entity, page, &creates)? {
            return Ok(());
        }
        self.write_creates(entity, &creates, outcomes)
    }

    /// Notes rows whose external id was linked since the page was planned.
    fn already_linked(
        &mut self,
        entity: &EntityPlan,
        page: u32,
        creates: &[(usize, &PlanRow)],
    ) -> Result<bool, Error> {
        let ids: Vec<&str> = creates.iter().map(|(_, row)| row.external_id.as_str()).collect();
        let plan = self.plan;
        let found =
            links::get_sorted(self.txn, plan.org, plan.connection_id(), entity.entity, &ids)?;
        let moved = creates.iter().zip(&found).filter(|(_, link)| link.is_some());
        let before = self.moved.len();
        self.moved.extend(moved.map(|((index, _), _)| (page, *index)));
        Ok(self.moved.len() > before)
    }

    fn write_creates(
        &mut self,
        entity: &EntityPlan,
        creates: &[(usize, &PlanRow)],
        outcomes: &mut Vec<RecordOutcome>,
    ) -> Result<(), Error> {
        let (txn, plan) = (self.txn, self.plan);
        let connection = plan.connection_id();
        let status = |row: &PlanRow| row.remote.status.unwrap_or(RecordStatus::Active);
        let new: Vec<NewRecord<'_>> = creates
            .iter()
            .map(|(_, row)| NewRecord {
                status: status(row),
                values: &row.remote.values,
                connection,
                external_id: &row.external_id,
                aliases: &row.remote.aliases,
            })
            .collect();
        let ids = records::create_all(
            txn,
            plan.org,
            entity.entity,
            entity.fields_no,
            &new,
            plan.at,
            plan.run.id,
        )?;
        let link_rows: Vec<(&str, Link)> = creates
            .iter()
            .zip(&ids)
            .map(|((_, row), id)| {
                let link = Link {
                    record: id.0,
                    fingerprint: row.remote.fingerprint,
                    present: true,
                    remote_status: row.remote.status,
                    version: row.remote.version.clone(),
                    remote_updated_at: row.remote.updated_at,
                    linked_by: LinkedBy::Created,
                    fields: entity.fields_no,
                    overrides: Vec::new(),
                };
                (row.external_id.as_str(), link)
            })
            .collect();
        links::put_sorted(txn, plan.org, connection, entity.entity, &link_rows)?;
        self.index_creates(entity, creates, &ids)?;
        let active = creates.iter().filter(|(_, row)| status(row) == RecordStatus::Active).count();
        let (count, active) =
            (i64::try_from(new.len()).unwrap_or(0), i64::try_from(active).unwrap_or(0));
        counts::add(txn, plan.org, None, entity.entity, count, active)?;
        counts::add(txn, plan.org, Some(connection), entity.entity, count, active)?;
        for ((_, row), id) in creates.iter().zip(&ids) {
            let absent = match &row.action {
                Action::Create { absent, .. } => absent.as_slice(),
                Action::Update(_) | Action::Absent { .. } => &[],
            };
            let named = (0..).zip(entity.fields.iter()).filter(|(at, _)| !absent.contains(at));
            self.feed.push(txn, *id, ChangeKind::Created, named.map(|(_, name)| &**name))?;
            outcomes.push(outcome(*id, row, ChangeKind::Created, 1));
        }
        Ok(())
    }

    fn index_creates(
        &mut self,
        entity: &EntityPlan,
        creates: &[(usize, &PlanRow)],
        ids: &[crate::model::RecordId],
    ) -> Result<(), Error> {
        let kinds: Vec<String> = entity.rules.rules.iter().map(identity::Rule::kind).collect();
        let (org, entity) = (self.plan.org, entity.entity);
        for ((_, row), id) in creates.iter().zip(ids) {
            for (kind, value) in &row.remote.aliases {
                self.identity.push(org, entity, kind, value, *id);
            }
            let Action::Create { match_keys, .. } = &row.action else { continue };
            for (rule, key) in match_keys {
                if let Some(kind) = kinds.get(usize::from(*rule)) {
                    self.identity.push(org, entity, kind, key, *id);
                }
            }
        }
        if self.identity.is_full() { Ok(self.identity.flush(self.txn)?) } else { Ok(()) }
    }
}
