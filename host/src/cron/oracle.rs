//! The calendar against an oracle that knows no rule of time zones: it walks over every minute of the real clock, asks
//! the zone only what the clock on the wall shows then, and matches patterns by a table of its own.
//!
//! `SYNCLINE_TEST_SEED` seeds the patterns, `SYNCLINE_TEST_PATTERNS` says how many there are.

use super::{Calendar, parse};
use crate::test_seed;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::strategy::{Just, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest::{collection, option};
use std::collections::BTreeSet;

/// A zone and years in which its clocks did something.
const ZONES: [(&str, &str, &str); 8] = [
    ("Europe/Dublin", "2025-12-20", "2028-01-05"),
    ("America/Edmonton", "2024-12-20", "2027-01-05"),
    // Half an hour.
    ("Australia/Lord_Howe", "2025-12-20", "2028-01-05"),
    // No midnight on the day when summer begins.
    ("America/Sao_Paulo", "2015-12-20", "2018-01-05"),
    ("Africa/Cairo", "2024-12-20", "2027-01-05"),
    ("Asia/Beirut", "2024-12-20", "2027-01-05"),
    // Four changes a year.
    ("Africa/Casablanca", "2024-12-20", "2026-12-31"),
    // A day that never was.
    ("Pacific/Apia", "2010-12-20", "2013-01-05"),
];
const PATTERNS: usize = 240;
/// Of the fires of one pattern about so many are compared, spread over the years, and all that are near a change.
const FIRES_COMPARED: usize = 300;

/// One field: its text, and bit by bit the values that the text means.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    values: u64,
}

/// Five of them: minute, hour, day of the month, month, day of the week.
type Fields = [Field; 5];

fn set(values: impl IntoIterator<Item = u8>) -> u64 {
    values.into_iter().fold(0, |set, value| set | 1 << value)
}

fn listed(values: &BTreeSet<u8>) -> Field {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    Field { text: texts.join(","), values: set(values.iter().copied()) }
}

fn field(min: u8, max: u8, most: usize) -> impl Strategy<Value = Field> {
    let range = (min..=max, min..=max).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let step = (2..=(max - min).max(3)).prop_map(move |step| Field {
        text: format!("*/{step}"),
        values: set((min..=max).step_by(usize::from(step))),
    });
    let list = collection::btree_set(min..=max, 1..=most).prop_map(|values| listed(&values));
    let span = (range, option::of(2_u8..5)).prop_map(|((from, to), step)| Field {
        text: step.map_or_else(|| format!("{from}-{to}"), |step| format!("{from}-{to}/{step}")),
        values: set((from..=to).step_by(usize::from(step.unwrap_or(1)))),
    });
    proptest::prop_oneof![3 => Just(all(min, max)), 2 => step, 3 => list, 1 => span]
}

fn fields() -> impl Strategy<Value = Fields> {
    // Times of day around which clocks change are more likely than others.
    let night = collection::btree_set(0_u8..4, 1..3).prop_map(|values| listed(&values));
    let hour = proptest::prop_oneof![3 => field(0, 23, 4), 2 => night];
    let day = proptest::prop_oneof![3 => Just(all(1, 31)), 2 => field(1, 31, 3)];
    let month = proptest::prop_oneof![3 => Just(all(1, 12)), 1 => field(1, 12, 4)];
    let weekday = proptest::prop_oneof![3 => Just(all(0, 6)), 1 => field(0, 6, 3)];
    (field(0, 59, 4), hour, day, month, weekday).prop_map(|(a, b, c, d, e)| [a, b, c, d, e])
}

fn all(min: u8, max: u8) -> Field {
    Field { text: "*".to_owned(), values: set(min..=max) }
}

/// What a clock on the wall shows: minute, hour, day of the month, month, day of the week.
type Shown = [u8; 5];

fn shown(local: DateTime) -> Shown {
    let weekday = local.date().weekday().to_sunday_zero_offset();
    let numbers = [local.minute(), local.hour(), local.day(), local.month(), weekday];
    numbers.map(|number| u8::try_from(number).unwrap())
}

/// Whether a local time is named. A day field that is not `*` restricts, and of two that do either is enough.
fn names(fields: &Fields, shown: Shown) -> bool {
    let is = |at: usize| fields[at].values & 1 << shown[at] != 0;
    is(0)
        && is(1)
        && is(3)
        && match (fields[2].text == "*", fields[4].text == "*") {
            (false, false) => is(2) || is(4),
            _ => is(2) && is(4),
        }
}

/// A minute of the real clock.
struct Minute {
    at: Timestamp,
    shown: Shown,
    /// The clock on the wall was there before.
    again: bool,
    /// What it left out right before.
    skipped: Vec<Shown>,
    /// Within a quarter of a day of a change of the clocks.
    near: bool,
}

fn walk(zone: &TimeZone, from: &str, until: &str) -> Vec<Minute> {
    const NEAR: usize = 6 * 60;
    let at = |day: &str| format!("{day}T00:00:00Z").parse::<Timestamp>().unwrap().as_second();
    let mut minutes: Vec<Minute> = Vec::new();
    let mut changes = Vec::new();
    let mut next: Option<DateTime> = None;
    for second in (at(from)..at(until)).step_by(60) {
        let at = Timestamp::from_second(second).unwrap();
        let local = zone.to_offset(at).to_datetime(at);
        let expected = next.unwrap_or(local);
        if local != expected {
            changes.push(minutes.len());
        }
        let later = |at: &DateTime| Some(*at + jiff::Span::new().minutes(1));
        let skipped = std::iter::successors(Some(expected), later);
        let skipped = skipped.take_while(|at| *at < local).map(shown).collect();
        let again = local < expected;
        minutes.push(Minute { at, shown: shown(local), again, skipped, near: false });
        next = if again { next } else { later(&local) };
    }
    for change in changes {
        let end = minutes.len().min(change + NEAR);
        minutes[change.saturating_sub(NEAR)..end].iter_mut().for_each(|minute| minute.near = true);
    }
    minutes
}

/// The fires as the rules in `calendar` say, found by looking at every minute, and which of them are near a change.
fn fires(fields: &Fields, minutes: &[Minute]) -> Vec<(Timestamp, bool)> {
    let every_hour = fields[1].values == set(0..24);
    let mut found = Vec::new();
    // The first minute only says where the clock stood.
    for minute in minutes.iter().skip(1) {
        // Most minutes are none, which has to be seen quickly.
        let hopeless = fields[0].values & 1 << minute.shown[0] == 0
            || fields[1].values & 1 << minute.shown[1] == 0;
        if hopeless && minute.skipped.is_empty() {
            continue;
        }
        let fires = match every_hour {
            true => names(fields, minute.shown),
            false if minute.again => false,
            false => {
                names(fields, minute.shown) || minute.skipped.iter().any(|at| names(fields, *at))
            }
        };
        if fires {
            found.push((minute.at, minute.near));
        }
    }
    found
}

#[test]
fn the_calendar_fires_as_a_walk_over_every_minute_says() {
    let patterns = std::env::var("SYNCLINE_TEST_PATTERNS").ok();
    let patterns = patterns.map_or(PATTERNS, |text| text.parse().unwrap());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&test_seed::seed().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut checked, mut compared) = (0, 0);
    for (name, from, until) in ZONES {
        let zone = TimeZone::get(name).unwrap();
        let minutes = walk(&zone, from, until);
        let (begin, end) = (minutes[0].at, minutes[minutes.len() - 1].at);
        let mut left = patterns.div_ceil(ZONES.len());
        while left > 0 {
            let fields = fields().new_tree(&mut runner).unwrap().current();
            let texts: Vec<&str> = fields.iter().map(|field| field.text.as_str()).collect();
            let text = texts.join(" ");
            // A day that never comes is refused, which has a test of its own.
            let Ok(pattern) = parse(&text) else { continue };
            left -= 1;
            let calendar = Calendar::new(pattern, zone.clone());
            let expected = fires(&fields, &minutes);
            let stride = expected.len() / FIRES_COMPARED + 1;
            let mut at = begin;
            for (number, (expected, near)) in expected.iter().enumerate() {
                if *near || number % stride == 0 {
                    let next = calendar.next(at);
                    assert_eq!(next, Some(*expected), "`{text}` in {name} after {at}");
                    compared += 1;
                }
                at = *expected;
            }
            let next = calendar.next(at);
            assert!(next.is_none_or(|next| next > end), "`{text}` in {name} after {at}: {next:?}");
            let last = expected.last().map(|(at, _)| *at);
            assert_eq!(calendar.latest(begin, end), last, "`{text}` in {name}, the last");
            let count = expected.len().min(500);
            let counted = calendar.count(begin, end, 500);
            assert_eq!(counted, u64::try_from(count).unwrap(), "`{text}` in {name}, counted");
            checked += 1;
        }
    }
    println!("{checked} patterns, {compared} fires compared");
    assert!(checked >= patterns && compared > patterns * 10, "{checked}, {compared}");
}

/// An interval of every hour is never longer than it says, nor shorter, in real time, as long as the clocks change by a
/// multiple of it.
#[test]
fn an_interval_holds_over_every_change_of_the_clocks() {
    for (name, from, until) in ZONES {
        let half_an_hour = name == "Australia/Lord_Howe";
        for step in [1_i64, 5, 15, 20, 30] {
            if half_an_hour && 30 % step != 0 {
                continue;
            }
            let pattern = parse(&format!("*/{step} * * * *")).unwrap();
            let zone = TimeZone::get(name).unwrap();
            let calendar = Calendar::new(pattern, zone.clone());
            let day = |day: &str| format!("{day}T00:00:00Z").parse::<Timestamp>().unwrap();
            let changes = zone.following(day(from)).map(|change| change.timestamp());
            let changes: Vec<_> = changes.take_while(|change| *change < day(until)).collect();
            assert!(!changes.is_empty(), "{name}");
            for change in changes {
                let around = jiff::SignedDuration::from_hours(30);
                let mut at = calendar.next(change - around).unwrap();
                while at < change + around {
                    let next = calendar.next(at).unwrap();
                    let minutes = next.duration_since(at).as_secs() / 60;
                    assert_eq!(minutes, step, "every {step} minutes in {name} after {at}");
                    at = next;
                }
            }
        }
    }
}
