//! Under which secondary ids and match keys records are found: an index that follows the records.
//!
//! What counts as a match is decided elsewhere; here a match rule is a list of fields whose canonical values, taken
//! together, are one key.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::tables::{IDENTITY, MATCH_RULES};
use super::{Error, Store, records, rows};
use crate::model::ids::EntityNo;
use crate::model::{Cell, FieldType, OrgNo, Record, RecordId};
use crate::normalize::Normalizer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::{Bound, ControlFlow};

/// The match rules that the index of (organization, entity) covers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Region of phone numbers without a country code.
    pub region: String,
    pub rules: Vec<Rule>,
}

/// Records that agree on all these fields are the same record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub fields: Vec<(String, FieldType)>,
}

impl Rule {
    /// The kind under which its keys are indexed; differs from every secondary id's kind.
    pub fn kind(&self) -> String {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        format!("={}", names.join("+"))
    }

    /// The key of a record with these values; none where a part is blank.
    pub fn key<'a>(
        &self,
        normalizer: &Normalizer,
        value: impl Fn(&str) -> Cell<'a>,
    ) -> Option<String> {
        normalizer
            .match_key(self.fields.iter().map(|(name, field_type)| (*field_type, value(name))))
    }
}

/// A kind of secondary id or match key, ready to make entries of.
#[derive(Clone)]
pub struct Kind {
    tag: u32,
    hash: Sha256,
}

impl Kind {
    pub fn new(name: &str) -> Kind {
        let digest = Sha256::digest(name);
        let tag = digest.first_chunk().copied().map(u32::from_be_bytes).unwrap_or_default();
        let length = (name.len() as u64).to_be_bytes();
        Kind { tag, hash: Sha256::new_with_prefix(length).chain_update(name) }
    }
}

/// What a key of the index says, in its order: see [`IDENTITY`]. The digest keeps entries short; that two values share
/// its 128 bits, nobody can bring about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    org: u32,
    entity: u16,
    tag: u32,
    digest: u128,
    id: u64,
}

pub(super) const KEY_BYTES: usize = VALUE_BYTES + 8;
const VALUE_BYTES: usize = 4 + 2 + 4 + 16;

impl Entry {
    fn new(org: OrgNo, entity: EntityNo, kind: &Kind, value: &str, id: RecordId) -> Entry {
        let digest = kind.hash.clone().chain_update(value).finalize();
        let digest = digest.first_chunk().copied().map(u128::from_be_bytes).unwrap_or_default();
        Entry { org: org.0, entity: entity.0, tag: kind.tag, digest, id: id.0 }
    }

    fn key(&self) -> [u8; KEY_BYTES] {
        let (org, entity, tag) =
            (self.org.to_be_bytes(), self.entity.to_be_bytes(), self.tag.to_be_bytes());
        let (digest, id) = (self.digest.to_be_bytes(), self.id.to_be_bytes());
        let mut key = [0; KEY_BYTES];
        let mut rest = key.as_mut_slice();
        for part in [org.as_slice(), &entity, &tag, &digest, &id] {
            let (own, behind) = rest.split_at_mut(part.len());
            own.copy_from_slice(part);
            rest = behind;
        }
        key
    }
}

/// The records that are known under this id or match key, at most `limit`.
pub fn find(
    read: &dyn Read,
    org: OrgNo,
    entity: EntityNo,
    kind: &str,
    value: &str,
    limit: usize,
) -> Result<Vec<RecordId>, Error> {
    let of = |id| Entry::new(org, entity, &Kind::new(kind), value, RecordId(id)).key();
    let (first, last) = (of(0), of(u64::MAX));
    let bounds = (Bound::Included(first.as_slice()), Bound::Included(last.as_slice()));
    let mut found = Vec::new();
    read.scan_rows(IDENTITY, bounds, false, &mut |key, _| {
        let id = Parts(key.get(VALUE_BYTES..).unwrap_or_default()).u64();
        found.extend(id.map(RecordId));
        if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

pub fn rules(read: &dyn Read, org: OrgNo, entity: EntityNo) -> Result<Rules, Error> {
    read.get_row(MATCH_RULES, Key::org(org).entity(entity).bytes())?
        .map_or_else(|| Ok(Rules::default()), |row| rows::from_json(MATCH_RULES, &row))
}

/// Makes the index cover `wanted` besides what it covers already; records that exist are indexed now, once.
pub fn ensure_rules(
    txn: &Txn,
    store: &Store,
    org: OrgNo,
    entity: EntityNo,
    wanted: &Rules,
) -> Result<(), Error> {
    let mut have = rules(txn, org, entity)?;
    let stale_region = have.region != wanted.region && !have.rules.is_empty();
    let missing: Vec<Rule> =
        wanted.rules.iter().filter(|rule| !have.rules.contains(rule)).cloned().collect();
    if missing.is_empty() && !stale_region {
        return Ok(());
    }
    have.rules.extend(missing.iter().cloned());
    have.region.clone_from(&wanted.region);
    let index_now = if stale_region { have.rules.clone() } else { missing };
    if stale_region {
        for rule in &have.rules {
            let tag = Kind::new(&rule.kind()).tag;
            txn.delete_prefix(IDENTITY, &Key::org(org).entity(entity).u32(tag))?;
        }
    }
    let normalizer = Normalizer::new(&have.region);
    let mut entries = Entries::default();
    records::scan(txn, store, org, Some(entity), None, &mut |record| {
        entries.all.extend(rule_entries(org, &index_now, &normalizer, &record));
        ControlFlow::Continue(())
    })?;
    entries.sort();
    entries.put(txn)?;
    let key = Key::org(org).entity(entity);
    txn.put(MATCH_RULES, key.bytes(), &rows::to_json(&have)?)
}

/// Entries of new records, collected so that they go in sorted: in the order in which records come, every entry would be
/// a search of its own.
#[derive(Default)]
pub struct Entries {
    all: Vec<Entry>,
}

/// How many entries are held back at the most (48 bytes each); a commit has two such collections.
const ENTRIES_MAX: usize = 250_000;

impl Entries {
    pub fn push(&mut self, org: OrgNo, entity: EntityNo, kind: &Kind, value: &str, id: RecordId) {
        self.all.push(Entry::new(org, entity, kind, value, id));
    }

    pub fn is_full(&self) -> bool {
        self.all.len() >= ENTRIES_MAX
    }

    pub fn append(&mut self, mut more: Entries) {
        self.all.append(&mut more.all);
    }

    /// Brings them in order, without which [`Entries::put`] would be slow. Sorted ones that were appended to each other are
    /// only merged.
    pub fn sort(&mut self) {
        self.all.sort();
    }

    pub fn put(&self, txn: &Txn) -> Result<(), Error> {
        txn.put_sorted(IDENTITY, self.all.iter().map(|entry| (entry.key(), [])))
    }
}

pub(crate) fn add_record(txn: &Txn, org: OrgNo, record: &Record) -> Result<(), Error> {
    for entry in record_entries(txn, org, record)? {
        txn.put(IDENTITY, &entry.key(), &[])?;
    }
    Ok(())
}

/// Follows a change of a record: keys that it lost go, keys that it won come.
pub(crate) fn move_record(
    txn: &Txn,
    org: OrgNo,
    before: &Record,
    after: &Record,
) -> Result<(), Error> {
    let (old, new) = (record_entries(txn, org, before)?, record_entries(txn, org, after)?);
    for entry in old.iter().filter(|entry| !new.contains(entry)) {
        txn.delete(IDENTITY, &entry.key())?;
    }
    for entry in new.iter().filter(|entry| !old.contains(entry)) {
        txn.put(IDENTITY, &entry.key(), &[])?;
    }
    Ok(())
}

/// The keys under which a record is known.
pub(super) fn record_keys(
    read: &dyn Read,
    org: OrgNo,
    record: &Record,
) -> Result<Vec<[u8; KEY_BYTES]>, Error> {
    Ok(record_entries(read, org, record)?.iter().map(Entry::key).collect())
}

fn record_entries(read: &dyn Read, org: OrgNo, record: &Record) -> Result<Vec<Entry>, Error> {
    let rules = rules(read, org, record.id.entity())?;
    let normalizer = Normalizer::new(&rules.region);
    let mut entries = rule_entries(org, &rules.rules, &normalizer, record);
    for (kind, value) in &record.aliases {
        entries.push(Entry::new(org, record.id.entity(), &Kind::new(kind), value, record.id));
    }
    Ok(entries)
}

fn rule_entries(
    org: OrgNo,
    rules: &[Rule],
    normalizer: &Normalizer,
    record: &Record,
) -> Vec<Entry> {
    let entry_of = |rule: &Rule| {
        let value = rule.key(normalizer, |name| record.value(name).into())?;
        let kind = Kind::new(&rule.kind());
        Some(Entry::new(org, record.id.entity(), &kind, &value, record.id))
    };
    rules.iter().filter_map(entry_of).collect()
}
