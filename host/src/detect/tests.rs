use super::*;
use crate::test_seed;
use FieldOutcome::*;
use proptest::prelude::*;

const CASES: u32 = 100_000;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// `-` is absent, the empty word is null.
fn word(word: &str) -> Value {
    match word {
        "-" => Value::Absent,
        "" => Value::Null,
        other => text(other),
    }
}

#[track_caller]
fn check(field_type: FieldType, base: &str, local: &str, remote: &str, expected: FieldOutcome) {
    let normalizer = Normalizer::new("IE");
    let outcome = three_way(&normalizer, field_type, &word(base), &word(local), &word(remote));
    assert_eq!(outcome, expected, "base {base:?}, local {local:?}, remote {remote:?}");
}

#[test]
fn neither_side_changed_is_nothing() {
    check(FieldType::Text, "a", "a", "a", Same);
    check(FieldType::Text, "", "", "", Same);
    check(FieldType::Phone, "087 123 4567", "+353871234567", "(087) 1234567", Same);
}

#[test]
fn only_the_remote_changed_takes_the_remote() {
    check(FieldType::Text, "a", "a", "b", TakeRemote);
    check(FieldType::Text, "a", "a", "", TakeRemote);
    check(FieldType::Text, "", "", "b", TakeRemote);
    check(FieldType::Email, "A@x.ie", "a@x.ie", "b@x.ie", TakeRemote);
}

#[test]
fn only_the_local_side_changed_keeps_the_local() {
    check(FieldType::Text, "a", "b", "a", KeepLocal);
    check(FieldType::Text, "a", "", "a", KeepLocal);
    check(FieldType::Email, "a@x.ie", "b@x.ie", "A@X.ie", KeepLocal);
}

#[test]
fn both_changed_alike_converge() {
    check(FieldType::Text, "a", "b", "b", Converged);
    check(FieldType::Text, "a", "", "", Converged);
    check(FieldType::Decimal, "1", "29.30", "29.3", Converged);
}

#[test]
fn both_changed_differently_conflict() {
    check(FieldType::Text, "a", "b", "c", Conflict);
    check(FieldType::Text, "a", "", "c", Conflict);
    check(FieldType::Text, "a", "b", "", Conflict);
    check(FieldType::Text, "", "b", "c", Conflict);
}

#[test]
fn a_first_link_fills_blanks_and_conflicts_on_differences() {
    check(FieldType::Text, "-", "", "b", FillLocal);
    check(FieldType::Text, "-", "-", "b", FillLocal);
    check(FieldType::Text, "-", "a", "", KeepBlankRemote);
    check(FieldType::Text, "-", "a", "b", Conflict);
    check(FieldType::Text, "-", "a", " a ", Converged);
    check(FieldType::Text, "-", "", "", Same);
}

#[test]
fn a_remote_that_did_not_say_changes_nothing() {
    check(FieldType::Text, "a", "b", "-", Same);
    check(FieldType::Text, "a", "a", "-", Same);
    check(FieldType::Text, "-", "a", "-", Same);
}

fn any_value() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 9] =
        ["a", " a", "A", "b", "b@x.ie", "B@x.ie", "087 123 4567", "+353871234567", ""];
    prop_oneof![
        1 => Just(Value::Absent),
        2 => Just(Value::Null),
        6 => proptest::sample::select(&WORDS[..]).prop_map(text).boxed(),
        2 => prop_oneof![Just(Value::Int(1)), Just(text("1")), Just(text("1.0"))],
    ]
}

fn any_type() -> impl Strategy<Value = FieldType> {
    use FieldType::*;
    proptest::sample::select(&[Text, Email, Phone, Decimal][..])
}

#[test]
fn changing_sides_mirrors_the_outcome() {
    let normalizer = Normalizer::new("IE");
    let fields = (any_type(), any_value(), any_value(), any_value());
    test_seed::check(CASES, &fields, |(field_type, base, local, remote)| {
        // "Did not say" is a word of the remote alone: a mirror exists for what both sides say.
        let said = |value| {
            if value == Value::Absent { Value::Null } else { value }
        };
        let (local, remote) = (said(local), said(remote));
        let there = three_way(&normalizer, field_type, &base, &local, &remote);
        let back = three_way(&normalizer, field_type, &base, &remote, &local);
        let mirrored = match there {
            TakeRemote => KeepLocal,
            KeepLocal => TakeRemote,
            FillLocal => KeepBlankRemote,
            KeepBlankRemote => FillLocal,
            Same | Converged | Conflict => there,
        };
        prop_assert_eq!(back, mirrored);
        Ok(())
    });
}

type Fields = Vec<(FieldType, Value, Value, Value)>;

fn any_record() -> impl Strategy<Value = Fields> {
    proptest::collection::vec((any_type(), any_value(), any_value(), any_value()), 0..5)
}

#[derive(Clone)]
struct Sides {
    types: Vec<FieldType>,
    base: Vec<Value>,
    local: Vec<Value>,
    remote: Vec<Value>,
}

impl Sides {
    fn new(fields: Fields) -> Sides {
        let mut sides = Sides { types: vec![], base: vec![], local: vec![], remote: vec![] };
        for (field_type, base, local, remote) in fields {
            sides.types.push(field_type);
            sides.base.push(base);
            sides.local.push(local);
            sides.remote.push(remote);
        }
        sides
    }

    fn detect(&self, normalizer: &Normalizer) -> Detected {
        detect(normalizer, &self.types, |at| &self.base[at], |at| &self.local[at], &self.remote)
    }

    /// Does what the lists say, conflicts going to one side.
    fn apply(&mut self, detected: &Detected, conflicts_to_remote: bool) {
        for &at in &detected.changes {
            self.local[at] = self.remote[at].clone();
            self.base[at] = self.remote[at].clone();
        }
        for &at in &detected.conflicts {
            if conflicts_to_remote {
                self.local[at] = self.remote[at].clone();
            }
            self.base[at] = self.remote[at].clone();
        }
        for &at in &detected.converged {
            self.base[at] = self.remote[at].clone();
        }
        for &at in &detected.kept {
            if self.base[at] == Value::Absent {
                self.base[at] = self.remote[at].clone();
            }
        }
    }
}

#[test]
fn a_conflict_on_one_field_never_loses_a_change_on_another() {
    let normalizer = Normalizer::new("IE");
    test_seed::check(CASES, &any_record(), |fields| {
        let alone: Vec<_> =
            fields.iter().map(|(t, b, l, r)| three_way(&normalizer, *t, b, l, r)).collect();
        let detected = Sides::new(fields).detect(&normalizer);
        let positions = |wanted: &[FieldOutcome]| -> Vec<usize> {
            (0..alone.len()).filter(|at| wanted.contains(&alone[*at])).collect()
        };
        prop_assert_eq!(detected.changes, positions(&[TakeRemote, FillLocal]));
        prop_assert_eq!(detected.conflicts, positions(&[Conflict]));
        prop_assert_eq!(detected.converged, positions(&[Converged]));
        prop_assert_eq!(detected.kept, positions(&[KeepLocal, KeepBlankRemote]));
        Ok(())
    });
}

#[test]
fn once_applied_nothing_is_left_but_local_edits() {
    let normalizer = Normalizer::new("IE");
    test_seed::check(CASES, &(any_record(), any::<bool>()), |(fields, to_remote)| {
        let mut sides = Sides::new(fields);
        let before = sides.clone();
        let detected = sides.detect(&normalizer);
        sides.apply(&detected, to_remote);
        let again = sides.detect(&normalizer);
        prop_assert!(again.is_nothing(), "{:?} then {:?}", detected, again);
        // What is stored is what one of the sides said, byte for byte.
        for (at, local) in sides.local.iter().enumerate() {
            prop_assert!(*local == before.local[at] || *local == before.remote[at]);
            if detected.kept.contains(&at) || detected.converged.contains(&at) {
                prop_assert_eq!(local, &before.local[at]);
            }
        }
        Ok(())
    });
}

#[test]
fn an_unchanged_remote_needs_nothing_but_keeping() {
    let normalizer = Normalizer::new("IE");
    test_seed::check(CASES, &any_record(), |fields| {
        let sides = Sides::new(fields);
        if is_unchanged(&normalizer, &sides.types, |at| &sides.base[at], &sides.remote) {
            prop_assert!(sides.detect(&normalizer).is_nothing());
        }
        Ok(())
    });
}
