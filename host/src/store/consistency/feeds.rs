//! Each change feed is a sequence without a gap behind what was old enough to go, and what it tells of records and runs.

use super::{Audit, org_and_number};
use crate::model::OrgNo;
use crate::store::records::ChangeKind;
use crate::store::tables::{CHANGES, META};
use crate::store::{Error, feed};
use std::collections::{BTreeMap, BTreeSet};

/// A change of a record, and when.
pub(super) type Told = (ChangeKind, i64);

/// What the change feeds tell.
#[derive(Default)]
pub(super) struct Effects {
    /// By (organization, record), in order.
    of_record: BTreeMap<(u32, u64), Vec<Told>>,
    /// Feeds whose begin is not kept any more.
    cut: BTreeSet<u32>,
    /// Runs whose first rows may have gone with it.
    cut_runs: BTreeSet<u64>,
    of_run: BTreeMap<u64, OfRun>,
}

/// What the feeds tell of a run.
#[derive(Default)]
pub(super) struct OfRun {
    /// How often each kind.
    pub(super) kinds: BTreeMap<&'static str, u64>,
    pub(super) last_at: i64,
}

impl Effects {
    /// Everything that ever happened to a record; none where that is not kept any more.
    pub(super) fn of_record(&self, org: u32, record: u64) -> Option<&[Told]> {
        let all = self.of_record.get(&(org, record)).map(Vec::as_slice).unwrap_or_default();
        (!self.cut.contains(&org)).then_some(all)
    }

    /// Everything that a run did; none where that may not be kept any more.
    pub(super) fn of_run(&self, run: u64) -> Option<BTreeMap<&'static str, u64>> {
        match self.of_run.get(&run) {
            Some(_) if self.cut_runs.contains(&run) => None,
            Some(told) => Some(told.kinds.clone()),
            None => self.cut.is_empty().then(BTreeMap::new),
        }
    }

    /// The runs that anything is told of.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, &OfRun)> {
        self.of_run.iter().map(|(run, told)| (*run, told))
    }
}

fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Created => "created",
        ChangeKind::Updated => "updated",
        ChangeKind::Inactivated => "inactivated",
        ChangeKind::Reactivated => "reactivated",
        ChangeKind::Linked => "linked",
    }
}

impl Audit<'_> {
    /// Every feed begins behind what has gone of it, and ends where its counter stands.
    pub(super) fn feeds(&mut self) -> Result<Effects, Error> {
        let mut effects = Effects::default();
        for org in self.feed_owners()? {
            let floor = feed::floor(self.read, OrgNo(org))?;
            let rows = feed::after(self.read, OrgNo(org), floor, usize::MAX)?;
            for (row, wanted) in rows.iter().zip(floor + 1..) {
                if row.seq != wanted {
                    self.wrong(format!("feed of {org}: {} comes where {wanted} should", row.seq));
                    break;
                }
            }
            let newest = rows.last().map_or(floor, |row| row.seq);
            let last = feed::last(self.read, OrgNo(org))?;
            if newest != last {
                self.wrong(format!("feed of {org} ends with {newest}, its counter is {last}"));
            }
            if floor > 0 {
                effects.cut.insert(org);
                effects.cut_runs.extend(rows.first().and_then(|row| row.run).map(|run| run.0));
            }
            for row in rows {
                let told = effects.of_record.entry((org, row.record.0)).or_default();
                told.push((row.kind, row.at));
                if let Some(run) = row.run {
                    let told = effects.of_run.entry(run.0).or_default();
                    *told.kinds.entry(word(row.kind)).or_default() += 1;
                    told.last_at = told.last_at.max(row.at);
                }
            }
        }
        Ok(effects)
    }

    /// The organizations that have a feed or its counter.
    fn feed_owners(&self) -> Result<BTreeSet<u32>, Error> {
        let mut owners = BTreeSet::new();
        self.each(CHANGES, &mut |key, _| {
            owners.insert(org_and_number(CHANGES, key)?.0);
            Ok(())
        })?;
        self.each(META, &mut |key, _| {
            let word = std::str::from_utf8(key).unwrap_or_default().trim_end_matches('\0');
            let org = word.strip_prefix("next:change:").and_then(|org| org.parse().ok());
            owners.extend(org.into_iter().filter(|org: &u32| *org > 0));
            Ok(())
        })?;
        Ok(owners)
    }
}
