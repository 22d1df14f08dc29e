//! Plans one page: maps each row, finds its record, compares field by field. Blocking, and without any plugin: conflicts
//! are collected for the strategies, which decide outside.

mod compare;
mod remote;
mod row;

use super::matching::{Match, Matcher};
use super::seen::Seen;
use super::setup::EntitySetup;
use crate::clock;
use crate::mapping::{Bound, Given, Mapped, Room};
use crate::model::conflict::Conflict;
use crate::model::new_rows::{NewRow, NewRows};
use crate::model::plan::{Action, PlanFailure, PlanPage, PlanRow, RemoteState};
use crate::model::remote::Reject;
use crate::model::rows::PackedRow;
use crate::model::{RecordId, RecordStatus, RemotePage};
use crate::normalize;
use crate::store::failures::Scope;
use crate::store::links::{self, Fingerprint, Head, Link};
use crate::store::{self, Read, Snapshot, Store, records};
use remote::Remote;
use row::{Fingerprints, invalid_failure, warn};
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
    pub matcher: Matcher,
    pub seen: Seen,
    /// External ids with an open failure.
    in_quarantine: HashSet<String>,
    /// The values of the row at hand, encoded.
    encoded: Vec<u8>,
    /// Bytes of the new rows of the last page: the next one is likely to have as many.
    created_bytes: usize,
}

impl Planner {
    pub(super) fn new(store: Store, setup: Arc<EntitySetup>) -> Result<Planner, store::Error> {
        let read = store.read()?;
        let in_quarantine = store::failures::open_ids(&read, &setup.scope)?.into_iter().collect();
        let matcher = Matcher::new(&read, &setup)?;
        let (seen, encoded, created_bytes) = (Seen::default(), Vec::new(), 0);
        Ok(Planner { store, setup, matcher, seen, in_quarantine, encoded, created_bytes })
    }

    /// Plans one page against the state as it is committed now.
    pub(super) fn page(&mut self, remote: RemotePage) -> Result<Draft, store::Error> {
        let mut draft = Draft::default();
        draft.page.created = NewRows::with_capacity(self.created_bytes);
        let setup = Arc::clone(&self.setup);
        draft.page.counts.fetched = (remote.rows.len() + remote.rejects.len()) as u64;
        let mut page = Page {
            bound: setup.mapper.bind(&remote.fields),
            room: Room::default(),
            fingerprints: Fingerprints::new(&setup, &remote.fields, remote.rows.alias_kinds()),
            read: self.store.read()?,
        };
        // The links are read by one walk, for which the ids must ascend. The sort is stable: of two valid rows with one
        // id the first counts.
        let mut rows: Vec<PackedRow<'_>> = remote.rows.iter().collect();
        rows.sort_by(|a, b| a.id().cmp(b.id()));
        let ids: Vec<&str> = rows.iter().map(PackedRow::id).collect();
        let scope = &setup.scope;
        let found =
            links::heads_sorted(&page.read, scope.org, scope.connection, scope.entity, &ids)?;
        let mut heads = found.into_iter();
        for same in rows.chunk_by(|a, b| a.id() == b.id()) {
            let head = heads.by_ref().take(same.len()).last().flatten();
            match (same, head) {
                ([row], Some(head)) if page.is_as_before(*row, head) => {
                    self.unchanged(*row, head.record, &mut draft);
                }
                _ => self.rows(&mut page, same, head, &mut draft)?,
            }
        }
        self.rejects(&page.read, remote.rejects, &mut draft)?;
        self.created_bytes = draft.page.created.size();
        Ok(draft)
    }

    /// Rows that the connector, or the host before the planner, could not read. They come behind those that could be: of
    /// two rows with one id the one that can be read counts.
    fn rejects(
        &mut self,
        read: &dyn Read,
        rejects: Vec<Reject>,
        draft: &mut Draft,
    ) -> Result<(), store::Error> {
        for reject in rejects {
            let external_id = reject.id.unwrap_or_default();
            let link = self.link(read, &external_id)?;
            self.put_aside(&external_id, link.map(|link| link.record), draft);
            draft.page.failures.push(PlanFailure {
                external_id,
                place: String::new(),
                stage: "fetch".to_owned(),
                code: "record.unreadable".to_owned(),
                message: reject.reason,
                payload: serde_json::Value::String(reject.raw).to_string(),
            });
        }
        Ok(())
    }

    /// A row that says what it said when both sides last agreed: nothing of it needs to be mapped or compared.
    fn unchanged(&mut self, row: PackedRow<'_>, record: u64, draft: &mut Draft) {
        if !self.seen.records.insert(record) {
            draft.repeated += 1;
            return;
        }
        draft.news = true;
        draft.page.listed += 1;
        self.passed(row.id(), draft);
        draft.page.modified_max = draft.page.modified_max.max(row.updated_at().and_then(millis));
        draft.page.unchanged.push(record);
    }

    fn passed(&self, external_id: &str, draft: &mut Draft) {
        if !self.in_quarantine.is_empty() && self.in_quarantine.contains(external_id) {
            draft.page.passed.push(external_id.to_owned());
        }
    }

    /// Maps the rows of one id, usually one, and plans the first that is valid.
    fn rows<'r>(
        &mut self,
        page: &mut Page<'r>,
        same: &[PackedRow<'r>],
        head: Option<Head>,
        draft: &mut Draft,
    ) -> Result<(), store::Error> {
        let (mut first, mut invalid) = (None, Vec::new());
        for row in same {
            match page.bound.map(*row, &mut page.room) {
                Ok(mapped) if first.is_none() => first = Some((row, mapped)),
                Ok(_) => draft.repeated += 1,
                Err(because) => invalid.push(because),
            }
        }
        if let Some((row, mapped)) = first {
            let fingerprint = page.fingerprints.of(*row, !mapped.warnings.is_empty());
            self.row(&page.read, &mapped, fingerprint, head, draft)?;
            page.room.reuse(mapped);
        }
        // Behind the valid one, so that they do not count as it.
        for because in invalid {
            self.put_aside(&because.external_id, head.map(|head| head.record), draft);
            draft.page.failures.push(invalid_failure(because));
        }
        Ok(())
    }

    /// Counts a row that goes to quarantine as listed; one without an id cannot be told from others. `record`: the one that
    /// it is linked to.
    fn put_aside(&mut self, external_id: &str, record: Option<u64>, draft: &mut Draft) {
        let new = match record {
            Some(record) => self.seen.records.insert(record),
            None => external_id.trim().is_empty() || self.seen.note(external_id),
        };
        draft.news |= new;
        draft.page.listed += u64::from(new);
        draft.repeated += u64::from(!new);
    }

    fn row(
        &mut self,
        read: &dyn Read,
        mapped: &Mapped<'_>,
        fingerprint: Fingerprint,
        head: Option<Head>,
        draft: &mut Draft,
    ) -> Result<(), store::Error> {
        let new = match head {
            Some(head) => self.seen.records.insert(head.record),
            None => self.seen.note(mapped.external_id),
        };
        if !new {
            draft.repeated += 1;
            return Ok(());
        }
        draft.news = true;
        draft.page.listed += u64::from(!mapped.deleted);
        draft.page.tombstones += u64::from(mapped.deleted);
        self.passed(mapped.external_id, draft);
        warn(&mut draft.page, mapped);
        let remote = Remote::of_mapped(mapped, fingerprint);
        let link = match head {
            Some(_) => self.link(read, remote.external_id)?,
            None => None,
        };
        draft.page.modified_max = draft.page.modified_max.max(remote.updated_at);
        let planned = self.compare(read, &remote, link)?;
        self.take(planned, &remote, draft)
    }

    /// Plans a row again whose record moved since.
    pub(super) fn again(&mut self, row: PlanRow, draft: &mut Draft) -> Result<(), store::Error> {
        let read = self.store.read()?;
        let link = self.link(&read, &row.external_id)?;
        let scope = &self.setup.scope;
        if let Action::Absent { .. } = row.action {
            let head = link.map(|link| link.head());
            let planned = absent(&self.store, &read, scope, row.external_id, head)?;
            draft.page.rows.extend(planned);
            return Ok(());
        }
        let values = records::decode_values(&row.remote.values)?;
        let values: Vec<Given<'_>> = values.into_iter().map(Given::Made).collect();
        let remote = Remote::of_row(&row, &values);
        let planned = self.compare(&read, &remote, link)?;
        self.take(planned, &remote, draft)
    }

    /// Plans a new row again whose external id, it turned out, is linked by now.
    pub(super) fn again_new(
        &mut self,
        row: &NewRow<'_>,
        draft: &mut Draft,
    ) -> Result<(), store::Error> {
        let read = self.store.read()?;
        let link = self.link(&read, row.external_id)?;
        let values = records::decode_values(row.values)?;
        let values: Vec<Given<'_>> = values.into_iter().map(Given::Made).collect();
        let remote = Remote::of_new(row, &values);
        let planned = self.compare(&read, &remote, link)?;
        self.take(planned, &remote, draft)
    }

    /// Adds to the page what a row became.
    fn take(
        &mut self,
        planned: Planned,
        remote: &Remote<'_>,
        draft: &mut Draft,
    ) -> Result<(), store::Error> {
        match planned {
            Planned::Nothing => {}
            Planned::Unchanged(record) => draft.page.unchanged.push(record),
            Planned::Failure(failure) => draft.page.failures.push(failure),
            Planned::New { match_keys } => {
                self.encoded.clear();
                remote.encode_values(&mut self.encoded);
                let row = remote.new_row(&match_keys, &self.encoded);
                let packed = draft.page.created.push(&row);
                packed.map_err(|error| store::Error::Storage(error.to_string()))?;
            }
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

    fn link(&self, read: &dyn Read, external_id: &str) -> Result<Option<Link>, store::Error> {
        let scope = &self.setup.scope;
        links::get(read, scope.org, scope.connection, scope.entity, external_id)
    }

    fn compare(
        &mut self,
        read: &dyn Read,
        remote: &Remote<'_>,
        link: Option<Link>,
    ) -> Result<Planned, store::Error> {
        let org = self.setup.scope.org;
        let Some(link) = link else {
            if remote.deleted {
                return Ok(Planned::Nothing);
            }
            return match self.matcher.find(read, &self.setup, &remote.aliases, remote.values)? {
                Match::New { match_keys } => Ok(Planned::New { match_keys }),
                Match::Ambiguous(message) => Ok(Planned::Failure(self.review(remote, message))),
                Match::Record(id, how) => match records::get(read, &self.store, org, id)? {
                    Some(record) => Ok(self.first_link(remote, &record, how)),
                    None => Ok(Planned::Nothing),
                },
            };
        };
        let same = link.present && !remote.deleted && link.fingerprint == remote.fingerprint;
        if same || remote.deleted && !link.present {
            return Ok(Planned::Unchanged(link.record));
        }
        match records::get(read, &self.store, org, link.record_id())? {
            Some(record) => self.changed(read, remote, (&record, &link)),
            None => Ok(Planned::Nothing),
        }
    }

    fn review(&self, remote: &Remote<'_>, message: String) -> PlanFailure {
        let fields = self.setup.mapper.fields().iter().zip(remote.values);
        let shown = fields.filter(|(field, _)| !field.sensitive);
        let payload: serde_json::Map<String, serde_json::Value> = shown
            .map(|(field, value)| (field.name.to_string(), value.cell().to_value().to_json()))
            .collect();
        PlanFailure {
            external_id: remote.external_id.to_owned(),
            place: String::new(),
            stage: "resolve".to_owned(),
            code: "match.ambiguous".to_owned(),
            message,
            payload: serde_json::Value::Object(payload).to_string(),
        }
    }
}

/// What all rows of one page share.
struct Page<'a> {
    bound: Bound<'a>,
    room: Room<'a>,
    fingerprints: Fingerprints,
    read: Snapshot,
}

impl Page<'_> {
    fn is_as_before(&mut self, row: PackedRow<'_>, head: Head) -> bool {
        head.present && !row.is_deleted() && head.fingerprint == self.fingerprints.of(row, false)
    }
}

/// As the mapping reads it.
fn millis(instant: &str) -> Option<i64> {
    normalize::time::instant(instant.trim()).map(clock::to_millis)
}

/// What one row became.
enum Planned {
    /// Nothing is known of it here and nothing needs to be.
    Nothing,
    Unchanged(u64),
    New {
        /// (number of the match rule, key), for the index.
        match_keys: Vec<(u8, String)>,
    },
    Row(PlanRow, Vec<(usize, Conflict)>),
    Failure(PlanFailure),
}

/// A record that a complete listing did not name, as it stands now; none where that is nothing new.
pub(super) fn absent(
    store: &Store,
    read: &dyn Read,
    scope: &Scope,
    external_id: String,
    link: Option<Head>,
) -> Result<Option<PlanRow>, store::Error> {
    let Some(link) = link.filter(|link| link.present) else {
        return Ok(None);
    };
    let Some(record) = records::get(read, store, scope.org, RecordId(link.record))? else {
        return Ok(None);
    };
    let active = record.status == RecordStatus::Active;
    let listed = active && links::listed_elsewhere(read, scope.org, &record, scope.connection)?;
    let action = Action::Absent {
        record: record.id.0,
        version: record.version,
        deactivates: active && !listed,
    };
    let remote = RemoteState { deleted: true, ..RemoteState::default() };
    Ok(Some(PlanRow { external_id, remote, action }))
}
