//! Under which secondary ids and match keys records are found: an index that follows the records.
//!
//! What counts as a match is decided elsewhere; here a match rule is a list of fields whose canonical values, taken
//! together, are one key.

use super::file::{Read, Txn, scan_prefix};
use super::keys::{Key, Parts};
use super::tables::{IDENTITY, MATCH_RULES};
use super::{Error, Store, records, rows};
use crate::model::ids::EntityNo;
use crate::model::{FieldType, OrgNo, Record, RecordId, Value};
use crate::normalize::Normalizer;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

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
        value: impl Fn(&str) -> &'a Value,
    ) -> Option<String> {
        let parts: Vec<(FieldType, &Value)> =
            self.fields.iter().map(|(name, field_type)| (*field_type, value(name))).collect();
        normalizer.match_key(&parts)
    }
}

pub(crate) fn key(org: OrgNo, entity: EntityNo, kind: &str, value: &str) -> Key {
    Key::org(org).entity(entity).text(kind).text(value)
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
    let prefix = key(org, entity, kind, value);
    let mut found = Vec::new();
    scan_prefix(read, IDENTITY, &prefix, &mut |key, _| {
        let id = Parts(key.get(prefix.len()..).unwrap_or_default()).u64();
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
            txn.delete_prefix(IDENTITY, &Key::org(org).entity(entity).text(&rule.kind()))?;
        }
    }
    let normalizer = Normalizer::new(&have.region);
    let mut keys = Vec::new();
    records::scan(txn, store, org, Some(entity), None, &mut |record| {
        keys.extend(rule_keys(org, &index_now, &normalizer, &record));
        ControlFlow::Continue(())
    })?;
    keys.sort();
    txn.put_sorted(IDENTITY, keys.iter().map(|key| (key.as_slice(), [].as_slice())))?;
    let key = Key::org(org).entity(entity);
    txn.put(MATCH_RULES, key.bytes(), &rows::to_json(&have)?)
}

/// Entries of new records, collected so that they go in sorted: in the order in which records come, every entry would be
/// a search of its own.
#[derive(Default)]
pub struct Entries {
    keys: Vec<Key>,
}

/// How many entries are held back at the most (about 100 bytes each).
const ENTRIES_MAX: usize = 250_000;

impl Entries {
    pub fn push(&mut self, org: OrgNo, entity: EntityNo, kind: &str, value: &str, id: RecordId) {
        self.keys.push(key(org, entity, kind, value).u64(id.0));
    }

    pub fn is_full(&self) -> bool {
        self.keys.len() >= ENTRIES_MAX
    }

    /// Writes what was collected. To be called before the transaction ends.
    pub fn flush(&mut self, txn: &Txn) -> Result<(), Error> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_unstable_by(|a, b| a.bytes().cmp(b.bytes()));
        txn.put_sorted(IDENTITY, keys.iter().map(|key| (key.bytes(), [].as_slice())))
    }
}

pub(crate) fn add_record(txn: &Txn, org: OrgNo, record: &Record) -> Result<(), Error> {
    for key in record_keys(txn, org, record)? {
        txn.put(IDENTITY, &key, &[])?;
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
    let (old, new) = (record_keys(txn, org, before)?, record_keys(txn, org, after)?);
    for key in old.iter().filter(|key| !new.contains(key)) {
        txn.delete(IDENTITY, key)?;
    }
    for key in new.iter().filter(|key| !old.contains(key)) {
        txn.put(IDENTITY, key, &[])?;
    }
    Ok(())
}

fn record_keys(read: &dyn Read, org: OrgNo, record: &Record) -> Result<Vec<Vec<u8>>, Error> {
    let rules = rules(read, org, record.id.entity())?;
    let normalizer = Normalizer::new(&rules.region);
    let mut keys = rule_keys(org, &rules.rules, &normalizer, record);
    for (kind, value) in &record.aliases {
        let key = key(org, record.id.entity(), kind, value).u64(record.id.0);
        keys.push(key.bytes().to_vec());
    }
    Ok(keys)
}

fn rule_keys(org: OrgNo, rules: &[Rule], normalizer: &Normalizer, record: &Record) -> Vec<Vec<u8>> {
    let key_of = |rule: &Rule| {
        let value = rule.key(normalizer, |name| record.value(name))?;
        let key = key(org, record.id.entity(), &rule.kind(), &value).u64(record.id.0);
        Some(key.bytes().to_vec())
    };
    rules.iter().filter_map(key_of).collect()
}
