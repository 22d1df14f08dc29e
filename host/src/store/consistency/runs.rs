//! A run tells exactly what it did, or did nothing; and the queue holds a job for each run that is not over.

use super::Audit;
use super::feeds::Effects;
use crate::model::job::{Job, JobState};
use crate::model::run::Run;
use crate::model::{RunId, RunStatus};
use crate::store::keys::Key;
use crate::store::retention::{self, Class};
use crate::store::runs::{self, Outcome};
use crate::store::tables::{PLANS, RUN_CONFLICTS, RUN_RECORDS, RUNS};
use crate::store::{Error, jobs, keys::Parts, meta, run_index};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

impl Audit<'_> {
    pub(super) fn runs(&mut self, effects: &Effects) -> Result<(), Error> {
        let mut all = Vec::new();
        let mut untrue = Vec::new();
        self.each(RUNS, &mut |_, row| {
            let run = runs::from_row(row)?;
            untrue.extend((!runs::is_true(row)?).then_some(run.id));
            all.push(run);
            Ok(())
        })?;
        for run in untrue {
            self.wrong(format!("the row of {run} has another status ahead"));
        }
        for run in &all {
            if !run_index::is_listed(self.read, run)? {
                self.wrong(format!("{} is not in its lists", run.id));
            }
            if !retention::has_run(self.read, run)? {
                self.wrong(format!("{} will not go", run.id));
            }
            self.run(run, effects)?;
        }
        let pruned = retention::pruned_to(self.read, Class::Runs)?;
        for (run, told) in effects.runs() {
            // A run ends when its last effect comes, or later.
            if pruned.is_none_or(|pruned| told.last_at > pruned) && !self.has_run(run)? {
                self.wrong(format!("the feed tells of {}, which is nowhere", RunId(run)));
            }
        }
        for table in [RUN_RECORDS, RUN_CONFLICTS, PLANS] {
            let mut orphans = Vec::new();
            self.each(table, &mut |key, _| {
                let run = Parts(key).u64().unwrap_or_default();
                if orphans.last() != Some(&run) && !self.has_run(run)? {
                    orphans.push(run);
                }
                Ok(())
            })?;
            for run in orphans {
                let name = redb::TableHandle::name(&table).to_owned();
                self.wrong(format!("{name} has rows of {}, which is nowhere", RunId(run)));
            }
        }
        Ok(())
    }

    /// The numbers of a run's row are those of its outcomes, and those of its rows in the feed.
    fn run(&mut self, run: &Run, effects: &Effects) -> Result<(), Error> {
        let id = run.id;
        if id.0 > meta::last(self.read, "run")? {
            self.wrong(format!("{id} is behind the counter of runs"));
        }
        let told = effects.of_run(id.0);
        let mut outcomes: BTreeMap<&'static str, u64> = BTreeMap::new();
        runs::scan_outcomes(self.read, id, 0, &mut |_, chunk| {
            for outcome in chunk {
                let Some(word) = effect(outcome.outcome) else { continue };
                *outcomes.entry(word).or_default() += 1;
            }
            ControlFlow::Continue(())
        })?;
        if !run.took_effect() {
            let told = told.unwrap_or_default();
            // These tell what they would do.
            let shows = run.dry_run || run.status == RunStatus::Held;
            if !told.is_empty() || !outcomes.is_empty() && !shows {
                let status = run.status;
                self.wrong(format!("{id} is {status} and has effects: {told:?}, {outcomes:?}"));
            }
            return Ok(());
        }
        let counts = &run.counts;
        let says = [
            ("created", counts.created),
            ("updated", counts.updated),
            ("linked", counts.linked),
            ("inactivated", counts.deactivated),
            ("reactivated", counts.reactivated),
        ];
        let says: BTreeMap<&str, u64> = says.into_iter().filter(|(_, count)| *count > 0).collect();
        // What is old enough goes, a piece at a time.
        let goes = |class| -> Result<bool, Error> {
            let pruned = retention::pruned_to(self.read, class)?;
            Ok(run.completed_at.is_some_and(|at| pruned.is_some_and(|pruned| at <= pruned)))
        };
        let goes_itself = goes(Class::Runs)?;
        let has_details =
            run.details_gone_at.is_none() && !goes_itself && !goes(Class::RunDetails)?;
        if has_details && (says != outcomes || told.as_ref().is_some_and(|told| *told != outcomes))
        {
            self.wrong(format!(
                "{id} counts {says:?}, its outcomes are {outcomes:?}, the feed tells {told:?}"
            ));
        }
        let lines = runs::conflicts(self.read, id, 0, usize::MAX)?.len() as u64;
        if lines != counts.conflicts_detected && !goes_itself {
            let counted = counts.conflicts_detected;
            self.wrong(format!("{id} counts {counted} conflicts and has {lines} lines"));
        }
        Ok(())
    }

    /// Each run that is not over has one job, each live job a run that is not over, and no two jobs of a connection are
    /// alike, except that one may wait which was begun and given back.
    pub(super) fn queue(&mut self) -> Result<(), Error> {
        let all = jobs::all(self.read)?;
        jobs::faults(self.read, &all)?.into_iter().for_each(|fault| self.wrong(fault));
        let mut by_run: BTreeMap<u64, Vec<&Job>> = BTreeMap::new();
        let mut alike: BTreeMap<(u32, String), u64> = BTreeMap::new();
        for job in all.iter().filter(|job| job.state != JobState::Dead) {
            by_run.entry(job.run.0).or_default().push(job);
            if job.lease.is_some() != (job.state == JobState::Running) {
                self.wrong(format!("{} is {:?} with the lease {:?}", job.id, job.state, job.lease));
            }
            if job.state == JobState::Running || job.merges() {
                let state = format!("{:?}", job.state);
                *alike.entry((job.connection.0, state)).or_default() += 1;
            }
        }
        for ((connection, state), count) in alike.into_iter().filter(|(_, count)| *count > 1) {
            self.wrong(format!("connection {connection} has {count} jobs that are {state}"));
        }
        let mut open = Vec::new();
        self.each(RUNS, &mut |_, row| {
            let run = runs::from_row(row)?;
            open.extend((!run.status.is_final() || run.status == RunStatus::Held).then_some(run));
            Ok(())
        })?;
        for run in open {
            let jobs = by_run.remove(&run.id.0).unwrap_or_default();
            let held = run.status == RunStatus::Held;
            if jobs.len() > 1 || jobs.is_empty() && !held {
                self.wrong(format!("{} is {} and has {} jobs", run.id, run.status, jobs.len()));
            }
            if held && !self.has(PLANS, &Key::new().u64(run.id.0).u32(0))? && run.pages > 0 {
                self.wrong(format!("{} is held and has no plan", run.id));
            }
        }
        for (run, jobs) in by_run {
            self.wrong(format!("{} has {} jobs and is over", RunId(run), jobs.len()));
        }
        Ok(())
    }
}

/// The word of the feed for an outcome; none where nothing changed.
fn effect(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Created => Some("created"),
        Outcome::Updated => Some("updated"),
        Outcome::Linked => Some("linked"),
        Outcome::Inactivated => Some("inactivated"),
        Outcome::Reactivated => Some("reactivated"),
        Outcome::Conflict | Outcome::Quarantined => None,
    }
}
