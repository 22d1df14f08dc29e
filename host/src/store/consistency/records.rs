//! Records agree with their links, counters, timelines and match keys, and with the change feed.

use super::feeds::{Effects, Told};
use super::{Audit, org_and_number};
use crate::model::{OrgNo, Record, RecordId, RecordStatus};
use crate::store::counts::Counts;
use crate::store::keys::Parts;
use crate::store::links::Link;
use crate::store::records::{self, ChangeKind};
use crate::store::retention::{self, Class};
use crate::store::tables::{COUNTS, HISTORY, IDENTITY, LINKS, RECORDS, RUNS, Table};
use crate::store::{Error, identity, keys::Key, meta, rows, run_index};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// A link as it lies in the store: organization, connection, entity, external id.
type LinkKey = (u32, u32, u16, String);

fn link_key(key: &[u8]) -> Result<LinkKey, Error> {
    let (org, connection, entity, rest) = scope_of(LINKS, key)?;
    let id = Parts(rest).text().ok_or_else(|| rows::corrupt(LINKS, &"bad key"))?;
    Ok((org, connection, entity, id.to_owned()))
}

/// The organization, connection and entity that begin a key, and what follows.
fn scope_of(table: Table, key: &[u8]) -> Result<(u32, u32, u16, &[u8]), Error> {
    let mut parts = Parts(key);
    let head = parts.u32().and_then(|org| Some((org, parts.u32()?)));
    let (org, connection) = head.ok_or_else(|| rows::corrupt(table, &"bad key"))?;
    let (entity, rest) =
        parts.0.split_first_chunk::<2>().ok_or_else(|| rows::corrupt(table, &"bad key"))?;
    Ok((org, connection, u16::from_be_bytes(*entity), rest))
}

impl Audit<'_> {
    pub(super) fn records(&mut self, effects: &Effects) -> Result<(), Error> {
        let mut orgs: BTreeSet<u32> = run_index::organizations(self.read)?;
        self.each(RECORDS, &mut |key, _| {
            orgs.insert(org_and_number(RECORDS, key)?.0);
            Ok(())
        })?;
        let mut links = self.links()?;
        let mut counted: BTreeMap<(u32, u32, u16), Counts> = BTreeMap::new();
        let (mut timelines, mut names) = (BTreeSet::new(), BTreeSet::new());
        for org in orgs {
            records::scan(self.read, self.store, OrgNo(org), None, None, &mut |record| {
                self.record(org, &record, effects)?;
                timelines.insert((org, record.id.0));
                names.extend(identity::record_entries(self.read, OrgNo(org), &record)?);
                let active = u64::from(record.status == RecordStatus::Active);
                let entity = record.id.entity().0;
                let mut count = |connection: u32| {
                    let counts = counted.entry((org, connection, entity)).or_default();
                    counts.records += 1;
                    counts.active += active;
                };
                count(0);
                for link in &record.links {
                    count(link.connection.0);
                    let key = (org, link.connection.0, entity, link.external_id.clone());
                    if links.remove(&key) != Some(record.id.0) {
                        self.wrong(format!("{} says that it is linked as {key:?}", record.id));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        for (key, record) in links {
            let id = RecordId(record);
            self.wrong(format!("the link {key:?} leads to {id}, which does not know it"));
        }
        self.counters(&counted)?;
        self.same_names(&names)?;
        self.timelines(&timelines)
    }

    fn links(&self) -> Result<BTreeMap<LinkKey, u64>, Error> {
        let mut links = BTreeMap::new();
        self.each(LINKS, &mut |key, row| {
            let link: Link = rows::from_binary(LINKS, row)?;
            links.insert(link_key(key)?, link.record);
            Ok(())
        })?;
        Ok(links)
    }

    /// A record has as many rows in the feed as versions, and its timeline holds every version behind the first that was
    /// not old enough to go.
    fn record(&mut self, org: u32, record: &Record, effects: &Effects) -> Result<(), Error> {
        let (id, version) = (record.id, record.version);
        if id.0 & (u64::MAX >> 16) > meta::last(self.read, "record")? {
            self.wrong(format!("{id} is behind the counter of records"));
        }
        let told = effects.of_record(org, id.0);
        let timeline = records::history(self.read, OrgNo(org), id)?;
        let versions: Vec<u64> = timeline.iter().map(|entry| entry.version).collect();
        if !self.is_whole(version, &versions, told)? {
            self.wrong(format!("{id} has version {version} and the timeline {versions:?}"));
        }
        let Some(told) = told else { return Ok(()) };
        let created = told.iter().filter(|(kind, _)| *kind == ChangeKind::Created).count();
        let first = told.first().is_some_and(|(kind, _)| *kind == ChangeKind::Created);
        if told.len() as u64 != version || created != 1 || !first {
            self.wrong(format!("{id} has version {version} and the feed tells {told:?} of it"));
        }
        Ok(())
    }

    /// Whether a timeline lacks nothing but what was old enough to go, as far as the feed can tell.
    fn is_whole(&self, version: u64, found: &[u64], told: Option<&[Told]>) -> Result<bool, Error> {
        let missing: Vec<u64> = (2..=version).filter(|wanted| !found.contains(wanted)).collect();
        if missing.is_empty() || found.len() + missing.len() + 1 != version as usize {
            return Ok(found.len() + 1 == version as usize);
        }
        let Some(pruned) = retention::pruned_to(self.read, Class::History)? else {
            return Ok(false);
        };
        Ok(missing.iter().all(|version| match told {
            Some(told) => told.get(*version as usize - 1).is_some_and(|(_, at)| *at <= pruned),
            None => found.first().is_none_or(|first| version < first),
        }))
    }

    fn counters(&mut self, counted: &BTreeMap<(u32, u32, u16), Counts>) -> Result<(), Error> {
        let mut stored = BTreeMap::new();
        self.each(COUNTS, &mut |key, row| {
            let (org, connection, entity, _) = scope_of(COUNTS, key)?;
            let counts: Counts = rows::from_binary(COUNTS, row)?;
            if counts != Counts::default() {
                stored.insert((org, connection, entity), counts);
            }
            Ok(())
        })?;
        if stored != *counted {
            self.wrong(format!("the counters are {stored:?}, counted are {counted:?}"));
        }
        Ok(())
    }

    /// The identity index holds the keys of the records and no others.
    fn same_names(&mut self, wanted: &BTreeSet<identity::Entry>) -> Result<(), Error> {
        let (mut found, mut strange) = (0, 0);
        self.each(IDENTITY, &mut |key, _| {
            found += 1;
            let known = identity::Entry::try_from(key);
            strange += usize::from(!known.is_ok_and(|key| wanted.contains(&key)));
            Ok(())
        })?;
        if strange > 0 || found != wanted.len() {
            let wanted = wanted.len();
            self.wrong(format!(
                "{found} match keys are stored, {strange} of no record; {wanted} are right"
            ));
        }
        Ok(())
    }

    /// Each entry of a timeline has a record, and goes when it is old enough.
    fn timelines(&mut self, known: &BTreeSet<(u32, u64)>) -> Result<(), Error> {
        let (mut orphans, mut unequal) = (BTreeSet::new(), BTreeSet::new());
        let mut aging = retention::timelines(self.read)?;
        self.each(HISTORY, &mut |key, _| {
            let owner = org_and_number(HISTORY, key)?;
            if !known.contains(&owner) {
                orphans.insert(owner);
            }
            let version = Parts(key.get(12..).unwrap_or_default()).u64().unwrap_or_default();
            if !aging.remove(&(owner.0, owner.1, version)) {
                unequal.insert(owner);
            }
            Ok(())
        })?;
        for (org, record) in orphans {
            self.wrong(format!("a timeline of {}, which {org} does not have", RecordId(record)));
        }
        unequal.extend(aging.into_iter().map(|(org, record, _)| (org, record)));
        for (_, record) in unequal {
            let id = RecordId(record);
            self.wrong(format!("the timeline of {id} is not what will go when it is old enough"));
        }
        Ok(())
    }

    pub(super) fn has_run(&self, run: u64) -> Result<bool, Error> {
        self.has(RUNS, &Key::new().u64(run))
    }
}
