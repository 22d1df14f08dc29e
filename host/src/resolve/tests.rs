use super::laws::{Broken, Cases, Law};
use super::*;
use crate::detect::{FieldOutcome, three_way};
use crate::model::conflict::SourceOfTruth;
use crate::model::{FieldType, Side};
use crate::normalize::Normalizer;
use crate::test_seed;
use std::cell::Cell;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn conflict(field_type: FieldType) -> Conflict {
    let side = |value| Side { value: text(value), ..Side::default() };
    Conflict {
        entity: "member".into(),
        field: "email".into(),
        field_type,
        base: text("old"),
        remote: side("theirs"),
        local: side("ours"),
        source_of_truth: SourceOfTruth::Remote,
    }
}

fn decision(choice: Choice) -> Decision {
    Decision { choice, note: "because".into() }
}

fn one(field_type: FieldType, choice: Choice, declared: bool) -> Result<Resolved, Refused> {
    check(&[conflict(field_type)], vec![decision(choice)], declared).unwrap().remove(0)
}

#[track_caller]
fn check_resolved(choice: Choice, resolved: Option<&str>, writes_local: bool, base: Option<&str>) {
    let expected = Resolved {
        conflict: 0,
        choice: choice.clone(),
        resolved_value: resolved.map(text),
        writes_local,
        new_base: base.map(text),
        note: "because".into(),
    };
    assert_eq!(one(FieldType::Text, choice, true), Ok(expected));
}

#[test]
fn each_choice_says_what_is_written_and_what_becomes_the_base() {
    check_resolved(Choice::Remote, Some("theirs"), true, Some("theirs"));
    check_resolved(Choice::Local, Some("ours"), false, Some("theirs"));
    check_resolved(Choice::Value(text("both")), Some("both"), true, Some("theirs"));
    check_resolved(Choice::Value(text("ours")), Some("ours"), false, Some("theirs"));
    check_resolved(Choice::Hold, None, false, None);
}

#[test]
fn a_resolved_conflict_does_not_return_until_the_remote_changes() {
    let normalizer = Normalizer::new("IE");
    for choice in [Choice::Remote, Choice::Local, Choice::Value(text("both"))] {
        let resolved = one(FieldType::Text, choice, true).unwrap();
        let (base, local) = (resolved.new_base.unwrap(), resolved.resolved_value.unwrap());
        let outcome =
            |remote: &str| three_way(&normalizer, FieldType::Text, &base, &local, &text(remote));
        assert_ne!(outcome("theirs"), FieldOutcome::Conflict);
        let again =
            if local == text("theirs") { FieldOutcome::TakeRemote } else { FieldOutcome::Conflict };
        assert_eq!(outcome("theirs, again"), again);
    }
}

#[test]
fn an_answer_of_another_length_is_useless() {
    for found in [0, 2] {
        let answer = vec![decision(Choice::Hold); found];
        let error = check(&[conflict(FieldType::Text)], answer, true).unwrap_err();
        assert_eq!(error, Error::WrongLength { expected: 1, found });
    }
    assert_eq!(check(&[], vec![], false), Ok(vec![]));
}

#[test]
fn values_must_be_declared_and_of_the_fields_type() {
    let refused = |field_type, value| one(field_type, Choice::Value(value), true).unwrap_err();
    let undeclared = one(FieldType::Text, Choice::Value(text("x")), false).unwrap_err();
    assert!(matches!(undeclared, Refused::UndeclaredValue { .. }));
    let wrong = |field_type, value| matches!(refused(field_type, value), Refused::WrongType { .. });
    assert!(wrong(FieldType::Date, text("2010-02-31")));
    assert!(wrong(FieldType::Decimal, text("1e3")));
    assert!(wrong(FieldType::Text, Value::Absent));
    assert!(wrong(FieldType::Text, Value::Json("{}".into())));
    assert!(wrong(FieldType::Json, Value::Json("{".into())));
    let large = text(&"x".repeat(VALUE_BYTES_MAX + 1));
    assert!(matches!(refused(FieldType::Text, large), Refused::TooLarge { .. }));
    assert!(one(FieldType::Date, Choice::Value(text("2010-02-28")), true).is_ok());
    assert!(one(FieldType::Date, Choice::Value(Value::Null), true).is_ok());
}

#[test]
fn one_refused_decision_leaves_the_others() {
    let conflicts = [conflict(FieldType::Text), conflict(FieldType::Text)];
    let answer = vec![decision(Choice::Value(text("x"))), decision(Choice::Remote)];
    let checked = check(&conflicts, answer, false).unwrap();
    assert!(checked[0].is_err());
    assert_eq!(checked[1].as_ref().map(|resolved| resolved.conflict), Ok(1));
}

#[test]
fn long_notes_are_cut_at_a_letter() {
    let note = "é".repeat(NOTE_CHARS_MAX + 1);
    let answer = vec![Decision { choice: Choice::Hold, note }];
    let checked = check(&[conflict(FieldType::Text)], answer, false).unwrap();
    assert_eq!(checked[0].as_ref().unwrap().note, "é".repeat(NOTE_CHARS_MAX));
}

fn tie(conflict: &Conflict) -> Choice {
    match conflict.source_of_truth {
        SourceOfTruth::Remote => Choice::Remote,
        SourceOfTruth::Local => Choice::Local,
    }
}

fn merge(conflict: &Conflict) -> Choice {
    match conflict.local.modified_by.as_deref() {
        Some("person") => Choice::Local,
        _ => Choice::Remote,
    }
}

fn newest(conflict: &Conflict) -> Choice {
    let time = |side: &Side| side.modified_at.as_deref().and_then(normalize::time::instant);
    match (time(&conflict.remote), time(&conflict.local)) {
        (Some(remote), Some(local)) if remote > local => Choice::Remote,
        (Some(remote), Some(local)) if remote < local => Choice::Local,
        _ => tie(conflict),
    }
}

fn check_laws(
    values_declared: bool,
    conflicts: u64,
    mut decide: impl FnMut(&[Conflict]) -> Vec<Decision>,
) -> Result<(), Broken> {
    laws::check(&mut decide, Cases { seed: test_seed::seed(), conflicts, values_declared })
}

#[test]
fn the_five_strategies_keep_the_laws() {
    const CASES: u64 = 20_000;
    type Choose = fn(&Conflict) -> Choice;
    let strategies: [(&str, Choose); 5] = [
        ("federation_wins", |_| Choice::Remote),
        ("local_wins", |_| Choice::Local),
        ("merge", merge),
        ("newest_wins", newest),
        ("manual", |_| Choice::Hold),
    ];
    // 100,000 conflicts in all.
    for (name, choose) in strategies {
        let decide = |batch: &[Conflict]| batch.iter().map(|c| decision(choose(c))).collect();
        check_laws(false, CASES, decide).unwrap_or_else(|broken| panic!("{name}: {broken}"));
    }
}

#[test]
fn a_strategy_with_values_of_its_own_can_keep_the_laws() {
    // The longer text: choosing it again changes nothing.
    let longer = |conflict: &Conflict| match (&conflict.local.value, &conflict.remote.value) {
        (Value::Text(local), Value::Text(remote)) if conflict.field_type == FieldType::Text => {
            Choice::Value(text(local.max(remote)))
        }
        _ => Choice::Hold,
    };
    let decide = |batch: &[Conflict]| batch.iter().map(|c| decision(longer(c))).collect();
    assert_eq!(check_laws(true, 20_000, decide), Ok(()));
}

#[track_caller]
fn check_broken(law: Law, values_declared: bool, decide: impl FnMut(&[Conflict]) -> Vec<Decision>) {
    let broken = check_laws(values_declared, 5_000, decide).expect_err("a broken law");
    assert_eq!(broken.law, law, "{broken}");
    assert!(broken.to_string().contains(&format!("{law:?}")), "{broken}");
}

fn each(choose: impl Fn(&Conflict) -> Choice) -> impl FnMut(&[Conflict]) -> Vec<Decision> {
    move |batch| batch.iter().map(|conflict| decision(choose(conflict))).collect()
}

#[test]
fn a_strategy_that_skips_conflicts_is_not_total() {
    check_broken(Law::Total, false, |_| vec![]);
    check_broken(Law::Total, false, |batch| {
        let known = batch.iter().filter(|conflict| conflict.field_type != FieldType::Json);
        known.map(|_| decision(Choice::Remote)).collect()
    });
}

#[test]
fn a_strategy_that_invents_values_is_refused() {
    check_broken(Law::OnlyOffered, false, each(|_| Choice::Value(text("mine"))));
    // Declared, but only right for some types.
    check_broken(Law::OnlyOffered, true, each(|_| Choice::Value(text("mine"))));
    check_broken(Law::OnlyOffered, true, each(|_| Choice::Value(Value::Absent)));
}

#[test]
fn a_strategy_with_a_memory_is_not_deterministic() {
    let calls = Cell::new(0);
    check_broken(Law::Deterministic, false, |batch| {
        calls.set(calls.get() + 1);
        let choice = if calls.get() % 2 == 0 { Choice::Remote } else { Choice::Local };
        vec![decision(choice); batch.len()]
    });
}

#[test]
fn a_strategy_that_looks_at_places_or_neighbors_depends_on_order() {
    check_broken(Law::OrderIndependent, false, |batch| {
        let choice = |at: usize| {
            if at == 0 { Choice::Local } else { Choice::Remote }
        };
        (0..batch.len()).map(|at| decision(choice(at))).collect()
    });
    check_broken(Law::OrderIndependent, false, |batch| {
        let choice = if batch.len() > 20 { Choice::Hold } else { Choice::Remote };
        vec![decision(choice); batch.len()]
    });
}

#[test]
fn a_strategy_that_grows_its_own_result_is_not_idempotent() {
    let append = |conflict: &Conflict| match conflict.field_type {
        FieldType::Text => {
            let (local, remote) = (conflict.local.value.display(), conflict.remote.value.display());
            Choice::Value(text(&format!("{local} {remote}!")))
        }
        _ => Choice::Remote,
    };
    check_broken(Law::Idempotent, true, each(append));
}

#[test]
fn the_same_seed_tries_the_same_conflicts() {
    let asked = |seed| {
        let mut asked = Vec::new();
        let mut decide = |batch: &[Conflict]| {
            asked.extend_from_slice(batch);
            vec![decision(Choice::Hold); batch.len()]
        };
        laws::check(&mut decide, Cases { seed, conflicts: 500, values_declared: false }).unwrap();
        asked
    };
    assert_eq!(asked(1), asked(1));
    assert_ne!(asked(1), asked(2));
}
