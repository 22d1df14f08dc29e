//! Plans one page: maps each row, finds its record, compares field by field. Blocking, and without any plugin: conflicts
//! are collected for the strategies, which decide outside.

mod row;

use super::matching::{Match, Matcher};
use super::seen::Seen;
use super::setup::EntitySetup;
use crate::clock;
use crate::detect;
use crate::mapping::Mapped;
use crate::model::conflict::{Conflict, Side};
use crate::model::plan::{
    Action, FirstLink, PlanFailure, PlanPage, PlanRow, PlannedConflict, RemoteState, Resolution,
    Update,
};
use crate::model::record::Shape;
use crate::model::{Record, RecordStatus, RemotePage, RemoteRow, Value};
use crate::store::links::{self, Link};
use crate::store::{self, Read, Store, records};
use row::{fingerprint, invalid_failure, warn};
use std::collections::HashSet;
use std::sync::Arc;

/// A conflict that waits for its strategy, and where in the page it belongs.
#[derive(Debug)]
pub(super) struct Pending {
    pub row: usize,
    pub conflict: usize,
    /// Index into the setup's strategies.
    pub strategy: usize,
    pub question: Conflict,
}

/// What one page would change, before the strategies have spoken.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub page: PlanPage,
    pub pending: Vec<Pending>,
    /// Whether any id of the page was not seen before in this listing.
    pub news: bool,
    /// Rows that an earlier page had named already.
    pub repeated: u64,
}

/// Plans the pages of one entity, one after the other.
pub(super) struct Planner {
    store: Store,
    setup: Arc<EntitySetup>,
    matcher: Matcher,
    pub seen: Seen,
    /// External ids with an open failure.
    in_quarantine: HashSet<String>,
}

impl Planner {
    pub(super) fn new(store: Store, setup: Arc<EntitySetup>) -> Result<Planner, store::Error> {
        let read = store.read()?;
        let in_quarantine = store::failures::open_ids(&read, &setup.scope)?.into_iter().collect();
        let matcher = Matcher::new(&read, &setup)?;
        Ok(Planner { store, setup, matcher, seen: Seen::default(), in_quarantine })
    }

    /// Plans one page against the state as it is committed now.
    pub(super) fn page(&mut self, remote: RemotePage) -> Result<Draft, store::Error> {
        let mut draft = Draft::default();
        let setup = Arc::clone(&self.setup);
        draft.page.counts.fetched = (remote.rows.len() + remote.rejects.len()) as u64;
        for reject in remote.rejects {
            let external_id = reject.id.unwrap_or_default();
            self.put_aside(&external_id, &mut draft);
            draft.page.failures.push(PlanFailure {
                external_id,
                stage: "fetch".to_owned(),
                code: "record.unreadable".to_owned(),
                message: reject.reason,
                payload: serde_json::Value::String(reject.raw).to_string(),
            });
        }
        let bound = setup.mapper.bind(&remote.fields);
        let mut mapped = Vec::with_capacity(remote.rows.len());
        for row in remote.rows {
            match bound.map(row) {
                Ok(row) => mapped.push(row),
                Err(invalid) => {
                    self.put_aside(&invalid.external_id, &mut draft);
                    draft.page.failures.push(invalid_failure(invalid));
                }
            }
        }
        self.rows(mapped, &mut draft)?;
        Ok(draft)
    }

    /// Counts a row that goes to quarantine as listed; one without an id cannot be told from others.
    fn put_aside(&mut self, external_id: &str, draft: &mut Draft) {
        let nameless = external_id.trim().is_empty();
        let new = nameless || self.seen.ids.insert(&[external_id]);
        draft.news |= new;
        draft.page.listed += u64::from(new);
        draft.repeated += u64::from(!new);
    }

    fn rows(&mut self, mut rows: Vec<Mapped>, draft: &mut Draft) -> Result<(), store::Error> {
        // The links are read by one walk, for which the ids must ascend. The sort is stable: of two rows with one id
        // the first counts.
        rows.sort_by(|a, b| a.external_id.cmp(&b.external_id));
        rows.dedup_by(|later, first| {
            let same = later.external_id == first.external_id;
            draft.repeated += u64::from(same);
            same
        });
        let read = self.store.read()?;
        let scope = &self.setup.scope;
        let ids: Vec<&str> = rows.iter().map(|row| row.external_id.as_str()).collect();
        let found = links::get_sorted(&read, scope.org, scope.connection, scope.entity, &ids)?;
        for (mapped, link) in rows.into_iter().zip(found) {
            self.row(&read, mapped, link, draft)?;
        }
        Ok(())
    }

    fn row(
        &mut self,
        read: &dyn Read,
        mut mapped: Mapped,
        link: Option<Link>,
        draft: &mut Draft,
    ) -> Result<(), store::Error> {
        let new = match &link {
            Some(link) => self.seen.records.insert(link.record),
            None => self.seen.ids.insert(&[&mapped.external_id]),
        };
        if !new {
            draft.repeated += 1;
            return Ok(());
        }
        draft.news = true;
        draft.page.listed += u64::from(!mapped.deleted);
        if !self.in_quarantine.is_empty() && self.in_quarantine.contains(&mapped.external_id) {
            draft.page.passed.push(mapped.external_id.clone());
        }
        warn(&mut draft.page, &mapped);
        let values = std::mem::take(&mut mapped.values);
        let (external_id, remote) = self.remote_state(mapped, &values)?;
        draft.page.modified_max = draft.page.modified_max.max(remote.updated_at);
        match self.compare(read, external_id, remote, &values, link)? {
            Planned::Nothing => {}
            Planned::Unchanged(record) => draft.page.unchanged.push(record),
            Planned::Failure(failure) => draft.page.failures.push(failure),
            Planned::Row(row, questions) => {
                let at = draft.page.rows.len();
                draft.pending.extend(questions.into_iter().enumerate().map(
                    |(conflict, (strategy, question))| Pending {
                        row: at,
                        conflict,
                        strategy,
                        question,
                    },
                ));
                draft.page.rows.push(row);
            }
        }
        Ok(())
    }

    /// Plans a row again whose record moved since.
    pub(super) fn again(&mut self, row: PlanRow) -> Result<Planned, store::Error> {
        let read = self.store.read()?;
        let scope = &self.setup.scope;
        let id = row.external_id.as_str();
        let link = links::get(&read, scope.org, scope.connection, scope.entity, id)?;
        if let Action::Absent { .. } = row.action {
            return absent(&self.store, &read, scope.org, row.external_id, link);
        }
        let values = records::decode_values(&row.remote.values)?;
        self.compare(&read, row.external_id, row.remote, &values, link)
    }

    fn remote_state(
        &self,
        mapped: Mapped,
        values: &[Value],
    ) -> Result<(String, RemoteState), store::Error> {
        let mut encoded = Vec::with_capacity(values.len() * 16);
        records::encode_values(values, &mut encoded)?;
        let updated_at = mapped.updated_at.as_deref().and_then(|text| text.parse().ok());
        let remote = RemoteState {
            fingerprint: fingerprint(&self.setup, &mapped, &encoded),
            values: encoded,
            aliases: mapped.aliases,
            status: mapped.status,
            version: mapped.version,
            updated_at: updated_at.map(clock::to_millis),
            deleted: mapped.deleted,
        };
        Ok((mapped.external_id, remote))
    }

    fn compare(
        &mut self,
        read: &dyn Read,
        external_id: String,
        remote: RemoteState,
        values: &[Value],
        link: Option<Link>,
    ) -> Result<Planned, store::Error> {
        let org = self.setup.scope.org;
        let Some(link) = link else {
            if remote.deleted {
                return Ok(Planned::Nothing);
            }
            return match self.matcher.find(read, &self.setup, &remote, values)? {
                Match::New { match_keys } => {
                    let absent = (0..).zip(values).filter(|(_, value)| **value == Value::Absent);
                    let absent = absent.map(|(at, _)| at).collect();
                    let action = Action::Create { match_keys, absent };
                    Ok(Planned::Row(PlanRow { external_id, remote, action }, Vec::new()))
                }
                Match::Ambiguous(message) => {
                    Ok(Planned::Failure(self.review(external_id, message, values)))
                }
                Match::Record(id, how) => match records::get(read, &self.store, org, id)? {
                    Some(record) => self.first_link(external_id, remote, values, &record, how),
                    None => Ok(Planned::Nothing),
                },
            };
        };
        let same = link.present && !remote.deleted && link.fingerprint == remote.fingerprint;
        if same || remote.deleted && !link.present {
            return Ok(Planned::Unchanged(link.record));
        }
        match records::get(read, &self.store, org, link.record_id())? {
            Some(record) => self.changed(external_id, remote, values, &record, &link),
            None => Ok(Planned::Nothing),
        }
    }

    fn first_link(
        &self,
        external_id: String,
        remote: RemoteState,
        values: &[Value],
        record: &Record,
        how: FirstLink,
    ) -> Result<Planned, store::Error> {
        let none = |_: usize| &ABSENT;
        let status = remote.status.filter(|status| *status != record.status);
        let (mut update, questions) = self.diff(record, values, none, &remote);
        update.first_link = Some(how);
        update.status = status;
        let action = Action::Update(Box::new(update));
        Ok(Planned::Row(PlanRow { external_id, remote, action }, questions))
    }

    fn changed(
        &self,
        external_id: String,
        remote: RemoteState,
        values: &[Value],
        record: &Record,
        link: &Link,
    ) -> Result<Planned, store::Error> {
        let covered = self.store.shapes().get(link.fields)?;
        let base = |at: usize| self.base(record, link, &covered, at);
        let (mut update, questions) = if remote.deleted {
            (bare_update(record), Vec::new())
        } else {
            self.diff(record, values, base, &remote)
        };
        update.status = status_change(record, link, &remote);
        let action = Action::Update(Box::new(update));
        Ok(Planned::Row(PlanRow { external_id, remote, action }, questions))
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
        values: &[Value],
        base: impl Fn(usize) -> &'a Value,
        remote: &RemoteState,
    ) -> (Update, Vec<(usize, Conflict)>) {
        let setup = &self.setup;
        let local = |at: usize| setup.fields.get(at).map_or(&ABSENT, |name| record.value(name));
        let found = detect::detect(&setup.normalizer, &setup.types, &base, local, values);
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
        remote: &RemoteState,
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

    fn review(&self, external_id: String, message: String, values: &[Value]) -> PlanFailure {
        let fields = self.setup.mapper.fields().iter().zip(values);
        let shown = fields.filter(|(field, _)| !field.sensitive);
        let payload: serde_json::Map<String, serde_json::Value> =
            shown.map(|(field, value)| (field.name.to_string(), value.to_json())).collect();
        PlanFailure {
            external_id,
            stage: "resolve".to_owned(),
            code: "match.ambiguous".to_owned(),
            message,
            payload: serde_json::Value::Object(payload).to_string(),
        }
    }
}

const ABSENT: Value = Value::Absent;

/// What one row became.
pub(super) enum Planned {
    /// Nothing is known of it here and nothing needs to be.
    Nothing,
    Unchanged(u64),
    Row(PlanRow, Vec<(usize, Conflict)>),
    Failure(PlanFailure),
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
fn status_change(record: &Record, link: &Link, remote: &RemoteState) -> Option<RecordStatus> {
    let told = remote.status.filter(|status| Some(*status) != link.remote_status);
    let target = match (remote.deleted, link.present) {
        (true, true) => Some(RecordStatus::Inactive),
        (true, false) => None,
        (false, false) => Some(remote.status.unwrap_or(RecordStatus::Active)),
        (false, true) => told,
    };
    target.filter(|status| *status != record.status)
}

/// A record that a complete listing did not name, as it stands now.
pub(super) fn absent(
    store: &Store,
    read: &dyn Read,
    org: crate::model::OrgNo,
    external_id: String,
    link: Option<Link>,
) -> Result<Planned, store::Error> {
    let Some(link) = link.filter(|link| link.present) else {
        return Ok(Planned::Nothing);
    };
    let Some(record) = records::get(read, store, org, link.record_id())? else {
        return Ok(Planned::Nothing);
    };
    let action = Action::Absent {
        record: record.id.0,
        version: record.version,
        deactivates: record.status == RecordStatus::Active,
    };
    let remote = RemoteState { deleted: true, ..RemoteState::default() };
    Ok(Planned::Row(PlanRow { external_id, remote, action }, Vec::new()))
}

/// A row of a record that the remote does not know any more.
pub(super) fn tombstone(external_id: String) -> RemoteRow {
    RemoteRow { id: external_id, deleted: true, ..RemoteRow::default() }
}
