//! Under which secondary ids and match keys records are found: an index that follows the records.
//!
//! What counts as a match is decided elsewhere; here a match rule is a list of fields whose canonical values, taken
//! together, are one key.

use super::file::{Read, Txn};
use super::keys::{Key, Parts};
use super::sorted_runs::SortedRuns;
use super::tables::{IDENTITY, MATCH_RULES};
use super::{Error, Store, records, rows};
use crate::model::ids::EntityNo;
use crate::model::{Cell, FieldType, OrgNo, Record, RecordId};
use crate::normalize::Normalizer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};

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

    /// Whether a secondary id tells the same already: the rule is one field, and its value is the id of the field's name.
    /// Then the index has no entry of the rule, and whoever looks for the id and for the rule finds all.
    pub fn is_told_by<'a>(
        &self,
        mut aliases: impl Iterator<Item = (&'a str, &'a str)>,
        value: impl Fn(&str) -> Cell<'a>,
    ) -> bool {
        let [(field, _)] = self.fields.as_slice() else { return false };
        let Cell::Text(text) = value(field) else { return false };
        aliases.any(|(kind, id)| kind == field && id == text.trim())
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

/// A kind of secondary id or match key of one entity, ready to make entries of.
#[derive(Clone)]
pub struct Kind {
    tag: u32,
    hash: Sha256,
}

impl Kind {
    pub fn new(entity: EntityNo, name: &str) -> Kind {
        let length = (name.len() as u64).to_be_bytes();
        let hash = Sha256::new_with_prefix(entity.0.to_be_bytes()).chain_update(length);
        let hash = hash.chain_update(name);
        let digest = hash.clone().finalize();
        let tag = digest.first_chunk().copied().map(u32::from_be_bytes).unwrap_or_default();
        Kind { tag, hash }
    }

    /// What all keys of its entries begin with.
    fn prefix(&self, org: OrgNo) -> Key {
        Key::org(org).u32(self.tag)
    }
}

/// A key of the index, in the order of what it says: see [`IDENTITY`]. The digest keeps it short; that two values share its
/// 128 bits, nobody can bring about.
pub(super) type Entry = [u8; ENTRY_BYTES];

pub(super) const ENTRY_BYTES: usize = VALUE_BYTES + 8;
const VALUE_BYTES: usize = 4 + 4 + 16;

/// What all entries of one secondary id or match key begin with.
pub type Sought = [u8; VALUE_BYTES];

/// How many records of one match key are looked at.
pub const CANDIDATES_MAX: usize = 20;

fn entry(org: OrgNo, kind: &Kind, value: &str, id: RecordId) -> Entry {
    let digest = kind.hash.clone().chain_update(value).finalize();
    let digest = digest.get(..16).unwrap_or_default();
    let mut entry = [0; ENTRY_BYTES];
    let mut rest = entry.as_mut_slice();
    for part in [&org.0.to_be_bytes(), &kind.tag.to_be_bytes(), digest, &id.0.to_be_bytes()] {
        let (own, behind) = rest.split_at_mut(part.len());
        own.copy_from_slice(part);
        rest = behind;
    }
    entry
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
    find_sought(read, &sought_of(org, &Kind::new(entity, kind), value), limit)
}

/// What the entries of one value begin with.
pub fn sought_of(org: OrgNo, kind: &Kind, value: &str) -> Sought {
    sought(&entry(org, kind, value, RecordId(0)))
}

/// The same by what [`Entries::push`] answered.
pub fn find_sought(read: &dyn Read, by: &Sought, limit: usize) -> Result<Vec<RecordId>, Error> {
    let of = |id: u64| [by.as_slice(), &id.to_be_bytes()].concat();
    let (first, last) = (of(0), of(u64::MAX));
    let bounds = (Bound::Included(first.as_slice()), Bound::Included(last.as_slice()));
    let mut found = Vec::new();
    read.scan_rows(IDENTITY, bounds, false, &mut |key, _| {
        let id = Parts(key.get(VALUE_BYTES..).unwrap_or_default()).u64();
        found.extend(id.map(RecordId));
        Ok(if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

fn sought(entry: &Entry) -> Sought {
    entry.first_chunk().copied().unwrap_or([0; VALUE_BYTES])
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
            txn.delete_prefix(IDENTITY, &Kind::new(entity, &rule.kind()).prefix(org))?;
        }
    }
    let normalizer = Normalizer::new(&have.region);
    let (mut gathered, mut entries) = (Gathered::new(store.dir()), Entries::default());
    records::scan(txn, store, org, Some(entity), None, &mut |record| {
        entries.all.extend(rule_entries(org, &index_now, &normalizer, &record));
        if entries.is_full() {
            gathered.add(std::mem::take(&mut entries))?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    gathered.add(entries)?;
    gathered.put(txn)?;
    let key = Key::org(org).entity(entity);
    txn.put(MATCH_RULES, key.bytes(), &rows::to_json(&have)?)
}

/// Entries of many records, on their way into the index.
#[derive(Default)]
pub struct Entries {
    all: Vec<Entry>,
}

/// How many entries one list holds (32 bytes each), and how many a commit gathers in memory.
const ENTRIES_MAX: usize = 200_000;
const GATHERED_MAX: usize = 2 * ENTRIES_MAX;

impl Entries {
    /// Answers what the entry is found by.
    pub fn push(&mut self, org: OrgNo, kind: &Kind, value: &str, id: RecordId) -> Sought {
        let entry = entry(org, kind, value, id);
        self.all.push(entry);
        sought(&entry)
    }

    /// Whether it is time to hand them to [`Gathered::add`].
    pub fn is_full(&self) -> bool {
        self.all.len() >= ENTRIES_MAX
    }

    /// Whoever sorts them on a thread of its own spares the one that gathers them. Lists that were sorted and joined take
    /// little more than one look.
    pub fn sort(&mut self) {
        self.all.sort_by_key(words);
    }
}

/// An entry as numbers of the same order, which are compared without a call.
fn words(entry: &Entry) -> [u64; ENTRY_BYTES / 8] {
    let (words, _) = entry.as_chunks::<8>();
    let word = |at: usize| words.get(at).copied().map_or(0, u64::from_be_bytes);
    std::array::from_fn(word)
}

/// All entries of one commit, that they may go into the index in order and at once. Wherever a record lies in the order
/// in which records come, its entries lie anywhere: put in as they come, or in portions, they would have nearly all pages
/// of the index written anew again and again.
pub struct Gathered {
    directory: PathBuf,
    few: Entries,
    many: Option<SortedRuns<ENTRY_BYTES>>,
}

impl Gathered {
    /// What does not fit in memory goes to scratch in that directory.
    pub fn new(directory: &Path) -> Gathered {
        Gathered { directory: directory.to_owned(), few: Entries::default(), many: None }
    }

    pub fn add(&mut self, mut entries: Entries) -> Result<(), Error> {
        self.few.all.append(&mut entries.all);
        if self.few.all.len() > GATHERED_MAX { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<(), Error> {
        self.few.sort();
        let runs = match &mut self.many {
            Some(runs) => runs,
            None => self.many.insert(SortedRuns::create(&self.directory)?),
        };
        runs.push(&self.few.all)?;
        self.few.all.clear();
        Ok(())
    }

    pub fn put(mut self, txn: &Txn) -> Result<(), Error> {
        if self.many.is_some() {
            self.spill()?;
        }
        let Some(runs) = self.many else {
            self.few.sort();
            return txn.put_sorted(IDENTITY, self.few.all.iter().map(|entry| (entry, [])));
        };
        let mut failed = None;
        let merged =
            runs.merge()?.map_while(|entry| entry.map_err(|error| failed = Some(error)).ok());
        txn.put_sorted(IDENTITY, merged.map(|entry| (entry, [])))?;
        failed.map_or(Ok(()), Err)
    }
}

pub(crate) fn add_record(txn: &Txn, org: OrgNo, record: &Record) -> Result<(), Error> {
    for entry in record_entries(txn, org, record)? {
        txn.put(IDENTITY, &entry, &[])?;
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
        txn.delete(IDENTITY, entry)?;
    }
    for entry in new.iter().filter(|entry| !old.contains(entry)) {
        txn.put(IDENTITY, entry, &[])?;
    }
    Ok(())
}

/// The entries of a record.
pub(super) fn record_entries(
    read: &dyn Read,
    org: OrgNo,
    record: &Record,
) -> Result<Vec<Entry>, Error> {
    let rules = rules(read, org, record.id.entity())?;
    let normalizer = Normalizer::new(&rules.region);
    let mut entries = rule_entries(org, &rules.rules, &normalizer, record);
    for (kind, value) in &record.aliases {
        entries.push(entry(org, &Kind::new(record.id.entity(), kind), value, record.id));
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
        let aliases = record.aliases.iter().map(|(kind, id)| (kind.as_str(), id.as_str()));
        if rule.is_told_by(aliases, |name| record.value(name).into()) {
            return None;
        }
        let value = rule.key(normalizer, |name| record.value(name).into())?;
        let kind = Kind::new(record.id.entity(), &rule.kind());
        Some(entry(org, &kind, &value, record.id))
    };
    rules.iter().filter_map(entry_of).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ORG: OrgNo = OrgNo(1);

    #[test]
    fn entries_are_sorted_as_the_keys_that_they_become() {
        let mut entries = Entries::default();
        for at in 0..ENTRY_BYTES {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut entry = [0x55; ENTRY_BYTES];
                entry[at] = byte;
                entries.all.push(entry);
            }
        }
        entries.sort();
        assert!(entries.all.is_sorted());
    }
    const ENTITY: EntityNo = EntityNo(1);

    /// As many entries as spill twice and leave a rest, in an order far from that of their keys.
    #[test]
    fn entries_that_do_not_fit_in_memory_are_found_like_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(directory.path(), &crate::store::Options::default()).unwrap();
        let path = directory.path().to_owned();
        let records = 2 * GATHERED_MAX as u64 + 1_000;
        let put = move |txn: &Txn| {
            let (kind, mut gathered) = (Kind::new(ENTITY, "number"), Gathered::new(&path));
            let mut entries = Entries::default();
            for number in 1..=records {
                entries.push(ORG, &kind, &number.to_string(), RecordId::new(ENTITY, number));
                if entries.is_full() {
                    gathered.add(std::mem::take(&mut entries))?;
                }
            }
            gathered.add(entries)?;
            gathered.put(txn)?;
            txn.count(IDENTITY)
        };
        assert_eq!(store.write_blocking(put).unwrap(), records);
        let read = store.read().unwrap();
        for number in [1, 77_777, ENTRIES_MAX as u64, 2 * GATHERED_MAX as u64, records] {
            let found = find(&read, ORG, ENTITY, "number", &number.to_string(), 2).unwrap();
            assert_eq!(found, [RecordId::new(ENTITY, number)]);
        }
        assert_eq!(find(&read, ORG, EntityNo(2), "number", "1", 2).unwrap(), []);
    }
}
