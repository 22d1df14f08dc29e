//! Generated conflicts, and the laws that every strategy keeps.

use crate::{Author, Choice, Conflict, Side, SourceOfTruth, Strategy, Value};

/// The seed of [`generate`]: fixed, so that a failure comes back.
pub const SEED: u64 = 0x5EED_0001;

const INSTANTS: [Option<&str>; 8] = [
    None,
    Some("2026-03-01T12:00:00Z"),
    Some("2026-03-01T13:00:00+01:00"),
    Some("2026-03-01T12:00:00.001Z"),
    Some("2026-03-01T11:59:59.999999999Z"),
    Some("2026-02-28T23:30:00-05:00"),
    Some("2026-02-30T12:00:00Z"),
    Some("not a time"),
];

const TYPES: [&str; 9] =
    ["text", "email", "phone", "date", "instant", "decimal", "integer", "boolean", "json"];

/// That many conflicts of all field types, with known, unknown and unreadable times and authors.
#[must_use]
pub fn generate(count: usize) -> Vec<Conflict> {
    let mut random = SplitMix(SEED);
    (0..count).map(|_| conflict(&mut random)).collect()
}

/// Checks the laws on that many generated conflicts: a strategy always answers, always in the same way, offers a
/// value of its own only if its manifest says so, and says why.
#[track_caller]
pub fn check_laws<S: Strategy>(count: usize) {
    let own_values = S::manifest().values;
    for conflict in generate(count) {
        let decision = S::decide(&conflict);
        assert_eq!(
            S::decide(&conflict),
            decision,
            "not deterministic (seed {SEED:#x}): {conflict:?}"
        );
        let offered = own_values || !matches!(decision.choice, Choice::Value(_));
        assert!(offered, "an undeclared value (seed {SEED:#x}): {decision:?}");
        let sentence = decision.note.ends_with('.') && decision.note.len() <= 200;
        assert!(sentence, "the note is not a short sentence (seed {SEED:#x}): {decision:?}");

        // Idempotent: once the choice is on both sides, deciding again changes nothing.
        if let Choice::Remote | Choice::Local = decision.choice {
            let settled = match decision.choice {
                Choice::Remote => conflict.remote.value.clone(),
                _ => conflict.local.value.clone(),
            };
            let mut again = conflict.clone();
            again.remote.value = settled.clone();
            again.local.value = settled.clone();
            let value = match S::decide(&again).choice {
                Choice::Local => again.local.value,
                Choice::Remote => again.remote.value,
                Choice::Value(value) => value,
                Choice::Hold => settled.clone(),
            };
            assert_eq!(value, settled, "not idempotent (seed {SEED:#x}): {conflict:?}");
        }
    }
}

fn conflict(random: &mut SplitMix) -> Conflict {
    Conflict {
        entity: "member".to_owned(),
        field: format!("field{}", random.below(20)),
        field_type: random.pick(&TYPES).to_owned(),
        base: value(random),
        remote: side(random),
        local: side(random),
        source_of_truth: random.pick(&[SourceOfTruth::Remote, SourceOfTruth::Local]),
    }
}

fn side(random: &mut SplitMix) -> Side {
    Side {
        value: value(random),
        modified_at: random.pick(&INSTANTS).map(str::to_owned),
        modified_by: random.pick(&[Author::Person, Author::System, Author::Unknown]),
    }
}

fn value(random: &mut SplitMix) -> Value {
    match random.below(6) {
        0 => Value::Absent,
        1 => Value::Null,
        2 => Value::Text(String::new()),
        3 => Value::Boolean(random.below(2) == 1),
        4 => Value::Integer(random.next().cast_signed()),
        _ => Value::Text(format!("Ó Súilleabháin {}", random.below(1000))),
    }
}

/// A small generator of pseudo-random numbers (SplitMix64): no dependency, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = usize::try_from(self.below(from.len() as u64)).unwrap_or_default();
        from[index]
    }
}
