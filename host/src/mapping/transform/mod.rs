//! The steps of a template on one value.
//!
//! Deterministic: no clock, no locale, no zone but the one that a step names. Linear in the length of the value.

mod country;
mod date;
mod list;
mod number;
mod text;

pub(super) use date::{format_issue, instant_issue, parse_issue};
pub(super) use list::Item;

use crate::model::template::Transform;
use crate::model::{Cell, Value};
use crate::normalize::{self, Normalizer, time};
use jiff::tz::TimeZone;
use regex::Regex;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A step may shorten a value of any length; what it makes longer has at most this length.
const MADE_BYTES_MAX: usize = 64 << 10;
const TOO_LONG: &str = "would become longer than 64 KiB";

/// A transform made ready for use.
#[derive(Debug)]
pub(super) enum Step {
    /// One that needs no preparation.
    Plain(Transform),
    /// Keys in lower case.
    Map(BTreeMap<String, Value>),
    /// Positions in the binding's list of further sources.
    Concat {
        with: Vec<usize>,
        sep: String,
    },
    Regex {
        regex: Regex,
        group: usize,
    },
    /// Keys in lower case.
    Boolean(BTreeMap<String, bool>),
    Phone(Normalizer),
    DateInZone(TimeZone),
    Instant {
        format: String,
        zone: TimeZone,
    },
    Each(Vec<Item>),
}

/// What a step made of a value; none where it leaves it as it is. The error does not repeat the value.
type Changed = Result<Option<Value>, &'static str>;

/// Runs the steps over a value; none as long as no step changed anything.
pub(super) fn run<'v>(
    steps: &[Step],
    value: Cell<'_>,
    further: &dyn Fn(usize) -> Cell<'v>,
) -> Changed {
    let mut current = None;
    for step in steps {
        let now = current.as_ref().map_or(value, Cell::from);
        if let Some(next) = apply(step, now, further)? {
            if length((&next).into()) > room(length(now)) {
                return Err(TOO_LONG);
            }
            current = Some(next);
        }
    }
    Ok(current)
}

/// How long a step may make a value of this length.
fn room(came: usize) -> usize {
    came.max(MADE_BYTES_MAX)
}

fn length(value: Cell<'_>) -> usize {
    match value {
        Cell::Text(text) | Cell::Json(text) => text.len(),
        Cell::Absent | Cell::Null | Cell::Bool(_) | Cell::Int(_) => 0,
    }
}

fn apply<'v>(step: &Step, value: Cell<'_>, further: &dyn Fn(usize) -> Cell<'v>) -> Changed {
    match step {
        Step::Plain(Transform::Const(constant)) => return Ok(Some(Value::Text(constant.clone()))),
        Step::Plain(Transform::Default(default)) => {
            return Ok(value.is_blank().then(|| Value::Text(default.clone())));
        }
        Step::Concat { with, sep } => {
            return Ok(concat(value, with.iter().map(|at| further(*at)), sep));
        }
        _ => {}
    }
    match value {
        Cell::Absent | Cell::Null => Ok(None),
        Cell::Text(text) => of_text(step, text),
        Cell::Json(json) => list::apply(step, json),
        // Plain values that are no text are looked up by the text that they show as.
        Cell::Bool(_) | Cell::Int(_) => match step {
            Step::Map(words) => map(words, &value.display()),
            Step::Regex { regex, group } => extract(regex, *group, &value.display()).map(Some),
            Step::Boolean(words) => truth(words, &value.display()).map(Some),
            _ => Ok(None),
        },
    }
}

fn of_text(step: &Step, text: &str) -> Changed {
    if text.trim().is_empty() {
        let trims = matches!(step, Step::Plain(Transform::Trim)) && !text.is_empty();
        return Ok(trims.then(|| Value::Text(String::new())));
    }
    let changed = match step {
        Step::Map(words) => return map(words, text),
        Step::Boolean(words) => return truth(words, text).map(Some),
        Step::Regex { regex, group } => return extract(regex, *group, text).map(Some),
        Step::Each(_) => return Err("is text, and not a list"),
        Step::Phone(normalizer) => {
            let number = normalizer.e164(text);
            Cow::Owned(number.ok_or("cannot be read as a phone number")?)
        }
        Step::DateInZone(zone) => Cow::Owned(date::in_zone(text, zone)?),
        Step::Instant { format, zone } => Cow::Owned(date::instant(text, format, zone)?),
        Step::Concat { .. } => return Ok(None),
        Step::Plain(transform) => match plain(transform, text)? {
            Plain::Text(changed) => changed,
            Plain::Value(value) => return Ok(Some(value)),
        },
    };
    Ok((changed != text).then(|| Value::Text(changed.into_owned())))
}

/// What a step without preparation makes of a text.
enum Plain<'a> {
    Text(Cow<'a, str>),
    Value(Value),
}

fn plain<'a>(transform: &Transform, text: &'a str) -> Result<Plain<'a>, &'static str> {
    Ok(Plain::Text(match transform {
        Transform::Trim => Cow::Borrowed(text.trim()),
        Transform::Lower => Cow::Owned(text.to_lowercase()),
        Transform::Upper => Cow::Owned(text.to_uppercase()),
        Transform::Title => text::title(text),
        Transform::StripHtml => Cow::Owned(text::without_tags(text)),
        Transform::Truncate(chars_max) => Cow::Borrowed(truncated(text, *chars_max)),
        Transform::AddressPart(part) => return Ok(Plain::Value(text::address_part(text, *part))),
        Transform::Gender => Cow::Borrowed(text::gender(text)?),
        Transform::Country => Cow::Borrowed(country::code(text)?),
        Transform::Email if normalize::is_email(text) => Cow::Borrowed(text.trim()),
        Transform::Email => return Err("does not look like an e-mail address"),
        Transform::DateOnly => Cow::Borrowed(
            time::date_part(text.trim())
                .ok_or("does not begin with a date of the form YYYY-MM-DD")?,
        ),
        Transform::ParseDate => Cow::Owned(date::day_first(text)?),
        Transform::ParseDateAs(format) => Cow::Owned(date::parse_as(text, format)?),
        Transform::FormatDate(format) => Cow::Owned(date::format(text, format)?),
        Transform::ParseDecimal { decimal } => Cow::Owned(number::decimal(text, *decimal)?),
        Transform::ParseInteger => return Ok(Plain::Value(number::integer(text)?)),
        Transform::Round { places, mode } => number::round(text.trim(), *places, *mode)?,
        Transform::Split { sep } => return Ok(Plain::Value(list::split(text, sep))),
        Transform::Pointer(_) => return Err("is text, and nothing can be picked out of it"),
        // What is left has been prepared, or is for lists only.
        _ => Cow::Borrowed(text),
    }))
}

fn map(words: &BTreeMap<String, Value>, word: &str) -> Changed {
    match words.get(&word.trim().to_lowercase()) {
        Some(mapped) => Ok(Some(mapped.clone())),
        None => Err("is not among the values that the template lists"),
    }
}

fn truth(words: &BTreeMap<String, bool>, word: &str) -> Result<Value, &'static str> {
    let found = words.get(&word.trim().to_lowercase()).copied();
    found.map(Value::Bool).ok_or("is none of the words that stand for true and false")
}

fn extract(regex: &Regex, group: usize, text: &str) -> Result<Value, &'static str> {
    let captures = regex.captures(text).ok_or("does not match the pattern of the template")?;
    Ok(captures.get(group).map_or(Value::Null, |found| Value::Text(found.as_str().to_owned())))
}

fn concat<'v>(value: Cell<'_>, with: impl Iterator<Item = Cell<'v>>, sep: &str) -> Option<Value> {
    let mut joined = if value.is_blank() { String::new() } else { value.display() };
    let mut changed = false;
    for part in with.filter(|part| !part.is_blank()) {
        if !joined.is_empty() {
            joined.push_str(sep);
        }
        joined.push_str(&part.display());
        changed = true;
    }
    changed.then_some(Value::Text(joined))
}

fn truncated(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
