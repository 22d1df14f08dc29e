//! Asks the strategies about the conflicts of a page, checks what they answer, and writes it into the plan.
//!
//! A strategy that fails or breaks the contract costs its records this run, never the run: they become failures.

use super::planner::{Draft, Pending};
use super::setup::{EntitySetup, Strategy};
use crate::mapping::Field;
use crate::model::Choice;
use crate::model::manifest::Manifest;
use crate::model::plan::{Action, PlanFailure, PlanPage, PlanRow, Resolution, Update};
use crate::plugin::StrategySession;
use crate::resolve::{self, Resolved};
use crate::store::records;
use std::collections::{BTreeMap, HashSet};

/// Fills in every decision of the draft and counts what the page now would do.
pub(super) async fn decide(setup: &EntitySetup, strategies: &[Strategy], draft: Draft) -> PlanPage {
    let Draft { mut page, pending, .. } = draft;
    let mut by_strategy: BTreeMap<usize, Vec<Pending>> = BTreeMap::new();
    for question in pending {
        by_strategy.entry(question.strategy).or_default().push(question);
    }
    let mut failed: BTreeMap<usize, String> = BTreeMap::new();
    for (index, questions) in by_strategy {
        if let Some(strategy) = strategies.get(index) {
            ask(strategy, questions, &mut page, &mut failed).await;
        }
    }
    set_aside(setup, &mut page, failed);
    tally(&mut page);
    page
}

async fn ask(
    strategy: &Strategy,
    questions: Vec<Pending>,
    page: &mut PlanPage,
    failed: &mut BTreeMap<usize, String>,
) {
    let (places, conflicts): (Vec<(usize, usize)>, Vec<_>) = questions
        .into_iter()
        .map(|question| ((question.row, question.conflict), question.question))
        .unzip();
    let declared = matches!(&strategy.plugin.manifest, Manifest::Strategy(own) if own.values);
    let decisions = match StrategySession::open(&strategy.plugin) {
        Ok(session) => session.decide(&conflicts).await,
        Err(error) => Err(error),
    };
    let checked = decisions.map_err(|error| error.to_string()).and_then(|decisions| {
        resolve::check(&conflicts, decisions, declared).map_err(|error| error.to_string())
    });
    match checked {
        Err(message) => failed.extend(
            places
                .iter()
                .map(|(row, _)| (*row, format!("strategy `{}`: {message}", strategy.name))),
        ),
        Ok(results) => {
            for ((row, conflict), result) in places.into_iter().zip(results) {
                match result {
                    Ok(resolved) => write(strategy, page, (row, conflict), resolved),
                    Err(refused) => {
                        failed.insert(row, format!("strategy `{}`: {refused}", strategy.name));
                    }
                }
            }
        }
    }
}

fn write(strategy: &Strategy, page: &mut PlanPage, (row, at): (usize, usize), resolved: Resolved) {
    let Some(Action::Update(update)) = page.rows.get_mut(row).map(|row| &mut row.action) else {
        return;
    };
    let Some(conflict) = update.conflicts.get_mut(at) else { return };
    conflict.strategy.clone_from(&strategy.name);
    conflict.note = resolved.note;
    let field = conflict.field;
    conflict.resolution = match resolved.choice {
        Choice::Remote => Resolution::Remote,
        Choice::Local => Resolution::Local,
        Choice::Value(value) => Resolution::Value(value),
        Choice::Hold => Resolution::Hold,
    };
    if resolved.new_base.is_some() {
        update.settled.push(field);
    }
    if let Some(value) = resolved.resolved_value.filter(|_| resolved.writes_local) {
        update.changes.push((field, value));
    }
}

/// Moves rows whose conflicts could not be decided into quarantine.
fn set_aside(setup: &EntitySetup, page: &mut PlanPage, failed: BTreeMap<usize, String>) {
    for (row, message) in failed.into_iter().rev() {
        if row < page.rows.len() {
            let row = page.rows.remove(row);
            page.unchanged.extend(existing(&row));
            page.failures.push(PlanFailure {
                payload: payload(setup.mapper.fields(), &row.remote.values),
                external_id: row.external_id,
                place: String::new(),
                stage: "resolve".to_owned(),
                code: "strategy.failed".to_owned(),
                message,
            });
        }
    }
}

fn existing(row: &PlanRow) -> Option<u64> {
    match &row.action {
        Action::Update(update) => Some(update.record),
        Action::Absent { .. } => None,
    }
}

/// The remote's side of a row as JSON text, without sensitive fields.
pub(super) fn payload(fields: &[Field], values: &[u8]) -> String {
    let values = records::decode_values(values).unwrap_or_default();
    let shown = fields.iter().zip(&values).filter(|(field, _)| !field.sensitive);
    let object: serde_json::Map<String, serde_json::Value> =
        shown.map(|(field, value)| (field.name.to_string(), value.to_json())).collect();
    serde_json::Value::Object(object).to_string()
}

/// Counts what a page would do. Everything is derived from its rows but `fetched` and `warnings`.
pub(super) fn tally(page: &mut PlanPage) {
    // A row that was valid again and failed later has not passed.
    if !page.passed.is_empty() {
        let failed: HashSet<&str> =
            page.failures.iter().map(|failure| failure.external_id.as_str()).collect();
        page.passed.retain(|id| !failed.contains(id.as_str()));
    }
    let mut counts = crate::model::run::Counts {
        fetched: page.counts.fetched,
        warnings: page.counts.warnings,
        unchanged: page.unchanged.len() as u64,
        created: page.created.len() as u64,
        quarantined: page.failures.len() as u64,
        ..Default::default()
    };
    for failure in &page.failures {
        counts.invalid += u64::from(matches!(failure.stage.as_str(), "fetch" | "validate" | "map"));
        // The record is there, untouched, in `unchanged` as well.
        counts.unchanged -= u64::from(failure.code == "strategy.failed").min(counts.unchanged);
    }
    // Before the rows: one whose values stay counts as unchanged too, and is listed among them already.
    let untouched = counts.unchanged;
    for row in &page.rows {
        match &row.action {
            Action::Absent { deactivates, .. } => counts.deactivated += u64::from(*deactivates),
            Action::Update(update) => tally_update(&mut counts, update),
        }
    }
    let listed_rows = page.rows.iter().filter(|row| !matches!(row.action, Action::Absent { .. }));
    let failed_later = page.failures.len() as u64 - counts.invalid;
    counts.valid = counts.created + listed_rows.count() as u64 + untouched + failed_later;
    page.counts = counts;
}

fn tally_update(counts: &mut crate::model::run::Counts, update: &Update) {
    use crate::model::RecordStatus::{Active, Inactive};
    counts.conflicts_detected += update.conflicts.len() as u64;
    let held = update.conflicts.iter().filter(|conflict| conflict.is_held()).count() as u64;
    counts.conflicts_held += held;
    counts.conflicts_resolved += update.conflicts.len() as u64 - held;
    match (&update.first_link, update.status) {
        (Some(_), _) => counts.linked += 1,
        (None, Some(Inactive)) => counts.deactivated += 1,
        (None, Some(Active)) => counts.reactivated += 1,
        (None, None) if !update.changes.is_empty() => counts.updated += 1,
        (None, None) => counts.unchanged += 1,
    }
}
