//! The laws that every strategy keeps, as a check over generated conflicts.
//!
//! Owns the laws and the conflicts to try them on. The same seed makes the same conflicts. It knows no strategy: what
//! decides is handed in, native code or a component.

use super::check as check_decisions;
use crate::detect::{FieldOutcome, three_way};
use crate::model::conflict::SourceOfTruth;
use crate::model::{Choice, Conflict, Decision, FieldType, Side, Value};
use crate::normalize::Normalizer;

/// A strategy is called with at most this many conflicts at once.
const BATCH_MAX: u64 = 48;

/// What a strategy promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// One decision for each conflict, for every conflict there can be.
    Total,
    /// Nothing but the remote value, the local value, a hold, or a declared value of the field's type.
    OnlyOffered,
    /// The same batch gets the same answer.
    Deterministic,
    /// A decision depends on its own conflict: neither on its place nor on its neighbors.
    OrderIndependent,
    /// What was decided once stays decided: asked again about its own result, the strategy answers with it.
    Idempotent,
}

/// A law that a strategy broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the strategy breaks the law {law:?} (seed {seed}, batch {batch}): {message}")]
pub struct Broken {
    pub law: Law,
    pub seed: u64,
    pub batch: u64,
    pub message: String,
}

/// Which conflicts to try.
#[derive(Clone, Copy, Debug)]
pub struct Cases {
    pub seed: u64,
    /// How many conflicts in all.
    pub conflicts: u64,
    /// Whether the strategy's manifest declares values of its own.
    pub values_declared: bool,
}

type Decide<'a> = dyn FnMut(&[Conflict]) -> Vec<Decision> + 'a;

/// Tries a strategy on generated conflicts; the first broken law ends it. A strategy without an answer (a trap)
/// returns an empty list.
pub fn check(decide: &mut Decide<'_>, cases: Cases) -> Result<(), Broken> {
    let mut random = Random(cases.seed);
    let normalizer = Normalizer::new("IE");
    let mut done = 0;
    let mut batch = 0;
    while done < cases.conflicts {
        let size = random.below(BATCH_MAX) + 1;
        let conflicts: Vec<_> = (0..size).map(|_| conflict(&mut random, &normalizer)).collect();
        check_batch(decide, &conflicts, &normalizer, &mut random, cases.values_declared)
            .map_err(|(law, message)| Broken { law, seed: cases.seed, batch, message })?;
        done += size;
        batch += 1;
    }
    Ok(())
}

fn check_batch(
    decide: &mut Decide<'_>,
    conflicts: &[Conflict],
    normalizer: &Normalizer,
    random: &mut Random,
    values_declared: bool,
) -> Result<(), (Law, String)> {
    let decisions = decide(conflicts);
    let checked = check_decisions(conflicts, decisions.clone(), values_declared)
        .map_err(|error| (Law::Total, error.to_string()))?;
    if let Some(refused) = checked.iter().find_map(|checked| checked.as_ref().err()) {
        return Err((Law::OnlyOffered, refused.to_string()));
    }
    if decide(conflicts) != decisions {
        return Err((Law::Deterministic, "the same batch got another answer".to_owned()));
    }
    order_independent(decide, conflicts, &decisions, random)?;
    for (conflict, resolved) in conflicts.iter().zip(checked.iter().flatten()) {
        // Another choice leaves a value that was offered: its case is covered by determinism.
        if let (Choice::Value(_), Some(value)) = (&resolved.choice, &resolved.resolved_value) {
            idempotent(decide, conflict, value, normalizer)?;
        }
    }
    Ok(())
}

fn order_independent(
    decide: &mut Decide<'_>,
    conflicts: &[Conflict],
    decisions: &[Decision],
    random: &mut Random,
) -> Result<(), (Law, String)> {
    let mut shuffled: Vec<(&Conflict, &Decision)> = conflicts.iter().zip(decisions).collect();
    for at in (1..shuffled.len()).rev() {
        shuffled.swap(at, random.index(at + 1));
    }
    // In two parts, so that places and neighbors both change.
    let (first, second) = shuffled.split_at(shuffled.len() / 2);
    for part in [first, second] {
        let asked: Vec<Conflict> = part.iter().map(|(conflict, _)| (*conflict).clone()).collect();
        if asked.is_empty() {
            continue;
        }
        let answered = decide(&asked);
        let same = answered.len() == part.len()
            && answered.iter().zip(part).all(|(answer, (_, expected))| answer == *expected);
        if !same {
            let message = "the same conflicts in another order or company got other answers";
            return Err((Law::OrderIndependent, message.to_owned()));
        }
    }
    Ok(())
}

fn idempotent(
    decide: &mut Decide<'_>,
    conflict: &Conflict,
    value: &Value,
    normalizer: &Normalizer,
) -> Result<(), (Law, String)> {
    let mut again = conflict.clone();
    again.local.value = value.clone();
    if outcome(&again, normalizer) != FieldOutcome::Conflict {
        return Ok(());
    }
    let answer = decide(std::slice::from_ref(&again));
    let stays = match answer.first().map(|decision| &decision.choice) {
        Some(Choice::Local) => true,
        Some(Choice::Value(second)) => normalizer.equal(conflict.field_type, value, second),
        Some(Choice::Remote | Choice::Hold) | None => false,
    };
    if stays {
        return Ok(());
    }
    let message = format!("asked about its own result for `{}`, it decides otherwise", again.field);
    Err((Law::Idempotent, message))
}

fn outcome(conflict: &Conflict, normalizer: &Normalizer) -> FieldOutcome {
    let (local, remote) = (&conflict.local.value, &conflict.remote.value);
    three_way(normalizer, conflict.field_type, &conflict.base, local, remote)
}

/// A field on which three values can differ, with values to choose from.
const FIELDS: [(&str, FieldType, [&str; 5]); 9] = [
    (
        "lastName",
        FieldType::Text,
        ["Ó Súilleabháin", "O'Brien", "McCarthy", "ni Bhriain", "\u{1f3d0}"],
    ),
    ("email", FieldType::Email, ["a@x.ie", "B@x.ie", "no address", "ü@x.ie", "c@y.com"]),
    ("phone", FieldType::Phone, ["087 123 4567", "+44 20 7946 0958", "none", "01 2345678", "5"]),
    ("born", FieldType::Date, ["2010-02-28", "2012-02-29", "2010-02-31", "1999-12-31", "x"]),
    (
        "seen",
        FieldType::Instant,
        ["2026-02-28T10:00:00Z", "2026-02-28T10:00:00+01:00", "1999-12-31T23:59:60Z", "x", "0"],
    ),
    ("total", FieldType::Decimal, ["29.30", "-0.01", "1e3", "99999999999999999999.99", "x"]),
    ("count", FieldType::Integer, ["1", "-7", "9223372036854775808", "many", "0"]),
    ("player", FieldType::Boolean, ["true", "no", "maybe", "FALSE", "y"]),
    ("lines", FieldType::Json, ["[]", r#"{"a":1}"#, r#"[{"a":"é"}]"#, "{broken", "3"]),
];

const TIMES: [Option<&str>; 8] = [
    None,
    Some("2026-02-28T10:00:00Z"),
    Some("2026-02-28T10:00:00.000Z"),
    Some("2026-02-28T11:00:00+01:00"),
    Some("2026-02-28T10:00:00.001Z"),
    Some("2026-02-28T09:59:59-00:30"),
    Some("1969-12-31T23:59:59Z"),
    Some("yesterday"),
];

/// A real conflict: sides that do not conflict are drawn again.
fn conflict(random: &mut Random, normalizer: &Normalizer) -> Conflict {
    loop {
        let (field, field_type, texts) = random.pick(&FIELDS);
        let base = match random.below(4) {
            0 => Value::Absent,
            _ => value(random, &texts, field_type),
        };
        let drawn = Conflict {
            entity: "entity".to_owned(),
            field: field.to_owned(),
            field_type,
            base,
            remote: side(random, &texts, field_type),
            local: side(random, &texts, field_type),
            source_of_truth: random.pick(&[SourceOfTruth::Remote, SourceOfTruth::Local]),
        };
        if outcome(&drawn, normalizer) == FieldOutcome::Conflict {
            return drawn;
        }
    }
}

fn side(random: &mut Random, texts: &[&str; 5], field_type: FieldType) -> Side {
    Side {
        value: value(random, texts, field_type),
        modified_at: random.pick(&TIMES).map(str::to_owned),
        modified_by: random.pick(&[None, Some("person"), Some("system")]).map(str::to_owned),
    }
}

fn value(random: &mut Random, texts: &[&str; 5], field_type: FieldType) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => Value::Text(String::new()),
        2 => Value::Int(i64::from_le_bytes(random.next().to_le_bytes())),
        3 => Value::Bool(random.below(2) == 0),
        _ if field_type == FieldType::Json => Value::Json(random.pick(texts).to_owned()),
        _ => Value::Text(random.pick(texts).to_owned()),
    }
}

/// SplitMix64: a sequence of numbers that its seed decides.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be 0.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn index(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.below(end)).unwrap_or(0)
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: &[T; N]) -> T {
        const { assert!(N > 0) };
        from.get(self.index(N)).copied().unwrap_or(from[0])
    }
}
