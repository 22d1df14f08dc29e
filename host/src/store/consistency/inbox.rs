//! Deliveries are numbered without gaps, and what they came to follows them.

use super::{Audit, each};
use crate::model::ids::HookId;
use crate::model::webhook::Verdict;
use crate::store::file::Read;
use crate::store::hooks::{self, index, seen};
use crate::store::keys::Parts;
use crate::store::tables::{
    HOOK_EVENTS, HOOK_EVENTS_BY_TIME, HOOK_OUTCOMES, HOOKS_BY_CONNECTOR, HOOKS_DUE, HOOKS_SEEN,
    HOOKS_SEEN_BY_TIME, Table,
};
use crate::store::{Error, hook_outcomes, rows};
use redb::TableHandle as _;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

impl Audit<'_> {
    pub(super) fn inbox(&mut self) -> Result<(), Error> {
        // Younger than the view of the state: whatever was processed is in it.
        let view = hooks::view(self.store)?;
        let mut all = Vec::new();
        hooks::scan(&view, HookId(0), &mut |stored| {
            all.push((stored.id, stored.hook));
            ControlFlow::Continue(())
        })?;
        let (first, last) = match (all.first(), all.last()) {
            (Some((first, _)), Some((last, _))) => (*first, *last),
            _ => (HookId(1), HookId(0)),
        };
        if last.0 + 1 - first.0 != all.len() as u64 {
            self.wrong(format!("{} deliveries between {first} and {last}", all.len()));
        }
        let processed = hook_outcomes::processed(self.read)?;
        if processed > last {
            self.wrong(format!("{processed} was processed, and {last} is the last delivery"));
        }
        for (id, hook) in &all {
            let is_known = hook_outcomes::outcome(self.read, *id)?.is_some();
            let should = hook.verdict == Verdict::Accepted && *id <= processed;
            if is_known != should {
                let verdict = hook.verdict;
                self.wrong(format!(
                    "{id} is {verdict:?} and has an outcome: {is_known}; up to {processed} all were processed"
                ));
            }
            let original = hook.duplicate_of.filter(|original| *original >= first);
            let stands = |original: &HookId| {
                let found = all.get(usize::try_from(original.0 - first.0).unwrap_or(usize::MAX));
                found.is_some_and(|(_, other)| {
                    other.verdict == Verdict::Accepted && other.connector == hook.connector
                })
            };
            if let Some(original) = original.filter(|original| !stands(original)) {
                self.wrong(format!("{id} repeats {original}, which was not accepted"));
            }
        }
        let mut by_connector = Vec::new();
        each(&view, HOOKS_BY_CONNECTOR, &mut |key, row| {
            let (connector, ids) = index::decode(key, row)?;
            let kept = ids.into_iter().filter(|id| *id >= first);
            by_connector.extend(kept.map(|id| (id, connector)));
            Ok(())
        })?;
        by_connector.sort_unstable();
        if !by_connector.iter().copied().eq(all.iter().map(|(id, hook)| (*id, hook.connector))) {
            let (entries, rows) = (by_connector.len(), all.len());
            self.wrong(format!("the index by connector has {entries} entries for {rows} rows"));
        }
        let mut by_time = BTreeSet::new();
        each(&view, HOOKS_SEEN_BY_TIME, &mut |_, row| {
            by_time.extend(seen::keys(row)?.into_iter().map(<[u8]>::to_vec));
            Ok(())
        })?;
        let mut immortal = 0;
        each(&view, HOOKS_SEEN, &mut |key, _| {
            immortal += u64::from(!by_time.contains(key));
            Ok(())
        })?;
        if immortal > 0 {
            self.wrong(format!("{immortal} deliveries are remembered and would not be forgotten"));
        }
        let mut strange = Vec::new();
        each(&view, HOOKS_SEEN, &mut |_, row| {
            let mut parts = Parts(rows::body(HOOKS_SEEN, row)?);
            let id = parts.u64().and_then(|_| parts.u64()).map(HookId);
            strange.extend(id.filter(|id| *id > last));
            Ok(())
        })?;
        for id in strange {
            self.wrong(format!("{id} is remembered, and {last} is the last delivery"));
        }
        let waits = hook_outcomes::first_due(self.read)?;
        if let Some(waits) = waits.filter(|waits| *waits < first) {
            self.wrong(format!(
                "{waits} waits to be processed again, and {first} is the first delivery"
            ));
        }
        self.pair(self.read, (HOOK_EVENTS_BY_TIME, count(self.read, HOOK_EVENTS)?))?;
        for table in [HOOK_OUTCOMES, HOOKS_DUE] {
            let mut early = Vec::new();
            each(self.read, table, &mut |key, _| {
                early.extend(Parts(key).u64().map(HookId).filter(|id| *id > processed));
                Ok(())
            })?;
            for id in early {
                let name = table.name();
                self.wrong(format!("{name} has {id}; up to {processed} all were processed"));
            }
        }
        Ok(())
    }

    fn pair(&mut self, read: &dyn Read, (index, wanted): (Table, u64)) -> Result<(), Error> {
        let entries = count(read, index)?;
        if entries != wanted {
            self.wrong(format!("{} has {entries} entries for {wanted} rows", index.name()));
        }
        Ok(())
    }
}

fn count(read: &dyn Read, table: Table) -> Result<u64, Error> {
    let mut count = 0;
    each(read, table, &mut |_, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}
