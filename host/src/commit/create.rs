//! New records, a page at a time: made into rows away from the transaction, then inserted in the order of their keys, so
//! that a first sync costs little more than its bytes.

use super::{EntityPlan, Error, Plan, Work};
use crate::model::ids::EntityNo;
use crate::model::new_rows::NewRow;
use crate::model::{Cell, RecordId, RecordStatus};
use crate::normalize::Normalizer;
use crate::store::batch::Batch;
use crate::store::feed::CreatedEntry;
use crate::store::identity::{CANDIDATES_MAX, Entries, Kind, Sought, find_sought, sought_of};
use crate::store::links::{Link, LinkedBy};
use crate::store::records::{ChangeKind, NewRecord};
use crate::store::rows::Encoded;
use crate::store::runs::{CreatedOutcome, Outcome};
use crate::store::{Snapshot, counts, links, records};
use std::collections::HashMap;

/// The new records of one page, as rows.
#[derive(Default)]
pub(super) struct Created {
    records: Batch,
    links: Batch,
    /// Index entries of this page and of those before it, sorted; none until there are many.
    pub(super) identity: Entries,
    feed: Encoded,
    pub(super) outcomes: Encoded,
    /// Where in the page each of them is.
    places: Vec<usize>,
    /// Those of them, by their order here, that would be matched with a record by now.
    known: Vec<usize>,
    active: i64,
}

/// Makes rows of the new records of one entity.
pub(super) struct Maker<'a> {
    entity: EntityNo,
    records: RecordMaker<'a>,
    links: LinkMaker<'a>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        entity: &'a EntityPlan,
        positions: &'a [u16],
    ) -> Result<Self, Error> {
        let kinds =
            entity.rules.rules.iter().map(|rule| Kind::new(entity.entity, &rule.kind())).collect();
        let named = (Vec::new(), positions.to_vec());
        let before = plan.store.read()?;
        let any = counts::get(&before, plan.org, None, entity.entity)?.records > 0;
        Ok(Maker {
            entity: entity.entity,
            records: RecordMaker { plan, shape: entity.fields_no, positions, named },
            links: LinkMaker {
                plan,
                entity,
                rule_kinds: kinds,
                alias_kinds: HashMap::new(),
                normalizer: Normalizer::new(&entity.rules.region),
                before: any.then_some(before),
            },
        })
    }

    /// Makes the rows of one page, in the order of their external ids. The first gets the number `first`.
    pub(super) fn page(
        &mut self,
        mut new: Vec<NewRow<'_>>,
        first: u64,
        index: &mut Entries,
    ) -> Result<Created, Error> {
        if self.records.plan.run.dry_run {
            return Created::dry(&new);
        }
        let mut created = Created::with_room_for(&new);
        // They are in order already, unless some were planned again.
        let mut places: Vec<usize> = (0..new.len()).collect();
        if !new.is_sorted_by_key(|row| row.external_id) {
            places.sort_by_key(|place| new.get(*place).map(|row| row.external_id));
            new.sort_by_key(|row| row.external_id);
        }
        created.places = places;
        for (at, (number, row)) in (first..).zip(&new).enumerate() {
            let id = RecordId::new(self.entity, number);
            self.records.row(id, row, &mut created)?;
            if self.links.row(id, row, &mut created.links, index)? {
                created.known.push(at);
            }
        }
        Ok(created)
    }
}

struct RecordMaker<'a> {
    plan: &'a Plan,
    shape: u32,
    /// The feed's number of each field.
    positions: &'a [u16],
    /// Fields that the last row did not name, and the feed's numbers of those that it did: nearly always the same.
    named: (Vec<u16>, Vec<u16>),
}

impl RecordMaker<'_> {
    fn row(&mut self, id: RecordId, row: &NewRow<'_>, created: &mut Created) -> Result<(), Error> {
        let plan = self.plan;
        let status = row.status.unwrap_or(RecordStatus::Active);
        created.active += i64::from(status == RecordStatus::Active);
        let new = NewRecord {
            status,
            values: row.values,
            connection: plan.connection_id(),
            external_id: row.external_id,
            aliases: &row.aliases,
        };
        let batch = &mut created.records;
        records::add_new(batch, plan.org, id, self.shape, &new, plan.at, plan.run.id)?;
        if self.named.0 != row.absent {
            let named = (0..).zip(self.positions).filter(|(at, _)| !row.absent.contains(at));
            self.named = (row.absent.clone(), named.map(|(_, position)| *position).collect());
        }
        let (kind, fields) = (ChangeKind::Created, self.named.1.as_slice());
        created.feed.push(&CreatedEntry { record: id.0, kind, fields })?;
        created.told(row.external_id, id.0, 1)
    }
}

struct LinkMaker<'a> {
    plan: &'a Plan,
    entity: &'a EntityPlan,
    rule_kinds: Vec<Kind>,
    /// Kinds of secondary ids met so far.
    alias_kinds: HashMap<String, Kind>,
    normalizer: Normalizer,
    /// How the store stood before this commit, where it held records: some may have come since the page was planned.
    before: Option<Snapshot>,
}

impl LinkMaker<'_> {
    /// Whether the matching, which found nobody when the page was planned, would find somebody by now.
    fn row(
        &mut self,
        id: RecordId,
        row: &NewRow<'_>,
        batch: &mut Batch,
        index: &mut Entries,
    ) -> Result<bool, Error> {
        let mut known = false;
        let (org, connection, entity) =
            (self.plan.org, self.plan.connection_id(), self.entity.entity);
        let link = Link {
            record: id.0,
            fingerprint: row.fingerprint,
            present: true,
            remote_status: row.status,
            version: row.version.map(str::to_owned),
            remote_updated_at: row.updated_at,
            linked_by: LinkedBy::Created,
            fields: self.entity.fields_no,
            overrides: Vec::new(),
        };
        links::add_new(batch, org, connection, entity, row.external_id, &link)?;
        for (kind, value) in row.aliases.iter() {
            if !self.alias_kinds.contains_key(*kind) {
                self.alias_kinds.insert((*kind).to_owned(), Kind::new(entity, kind));
            }
            if let Some(kind) = self.alias_kinds.get(*kind) {
                let by = index.push(org, kind, value, id);
                known = known || self.is_taken(&by)?;
            }
            known = known || self.is_free_by_rule_of(kind, value)?;
        }
        for (rule, key) in &row.match_keys {
            if let Some(kind) = self.rule_kinds.get(usize::from(*rule)) {
                let by = index.push(org, kind, key, id);
                known = known || self.is_free(&by)?;
            }
        }
        Ok(known)
    }

    /// The same for the match rule of that one field, under which records without the id are.
    fn is_free_by_rule_of(&self, field: &str, value: &str) -> Result<bool, Error> {
        if self.before.is_none() {
            return Ok(false);
        }
        let rules = &self.entity.rules;
        for (rule, kind) in rules.rules.iter().zip(&self.rule_kinds) {
            let told = rule.is_told_by([(field, value)].into_iter(), |_| Cell::Text(value));
            let key = rule.key(&self.normalizer, |_| Cell::Text(value)).filter(|_| told);
            if let Some(key) = key
                && self.is_free(&sought_of(self.plan.org, kind, &key))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether any record has this secondary id.
    fn is_taken(&self, by: &Sought) -> Result<bool, Error> {
        let Some(before) = &self.before else { return Ok(false) };
        Ok(!find_sought(before, by, 1)?.is_empty())
    }

    /// Whether a record that this connection does not know has this match key.
    fn is_free(&self, by: &Sought) -> Result<bool, Error> {
        let Some(before) = &self.before else { return Ok(false) };
        for id in find_sought(before, by, CANDIDATES_MAX)? {
            let record = records::get(before, &self.plan.store, self.plan.org, id)?;
            if record.is_some_and(|record| !record.is_linked_by(self.plan.connection_id())) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// About what one row takes beside its values and its external id, twice of which is in most of them.
const RECORD_BYTES: usize = 96;
const LINK_BYTES: usize = 80;
const TOLD_BYTES: usize = 24;

impl Created {
    fn with_room_for(new: &[NewRow<'_>]) -> Created {
        let values: usize = new.iter().map(|row| row.values.len()).sum();
        let ids: usize = new.iter().map(|row| row.external_id.len()).sum();
        Created {
            records: Batch::with_capacity(new.len(), new.len() * RECORD_BYTES + values + ids),
            links: Batch::with_capacity(new.len(), new.len() * LINK_BYTES + ids),
            feed: Encoded::with_capacity(new.len() * TOLD_BYTES),
            outcomes: Encoded::with_capacity(new.len() * TOLD_BYTES + ids),
            ..Created::default()
        }
    }

    /// What a dry run leaves of new records: their outcomes.
    fn dry(new: &[NewRow<'_>]) -> Result<Created, Error> {
        let mut created = Created::default();
        new.iter().try_for_each(|row| created.told(row.external_id, 0, 0))?;
        Ok(created)
    }

    fn told(&mut self, external_id: &str, record: u64, version: u64) -> Result<(), Error> {
        let outcome = Outcome::Created;
        let told = CreatedOutcome { record, external_id, outcome, version, note: None };
        Ok(self.outcomes.push(&told)?)
    }
}

impl Work<'_, '_> {
    /// Inserts what [`Maker::page`] made, unless since the page was planned an external id was linked, or a record came
    /// that is the match of one of them.
    pub(super) fn creates(
        &mut self,
        entity: &EntityPlan,
        page: u32,
        created: &mut Created,
    ) -> Result<(), Error> {
        if created.records.is_empty() {
            return Ok(());
        }
        let (txn, plan) = (self.txn, self.plan);
        let connection = plan.connection_id();
        let mut moved = links::taken(txn, plan.org, connection, entity.entity, &created.links)?;
        moved.extend(&created.known);
        if !moved.is_empty() {
            let places = moved.iter().filter_map(|at| created.places.get(*at));
            self.moved.entry(page).or_default().new.extend(places);
            return Ok(());
        }
        records::put_new(txn, &created.records)?;
        links::put_new(txn, &created.links)?;
        self.identity.add(std::mem::take(&mut created.identity))?;
        let count = i64::try_from(created.records.len()).unwrap_or(0);
        counts::add(txn, plan.org, None, entity.entity, count, created.active)?;
        counts::add(txn, plan.org, Some(connection), entity.entity, count, created.active)?;
        Ok(self.feed.extend(txn, &created.feed)?)
    }
}
