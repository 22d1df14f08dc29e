//! The steps of a template on one value.

use crate::model::Value;
use crate::model::template::Transform;
use crate::normalize::time;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A transform made ready for use.
#[derive(Debug)]
pub(super) enum Step {
    Plain(Transform),
    /// Keys in lower case.
    Map(BTreeMap<String, Value>),
    /// Positions in the binding's list of further sources.
    Concat {
        with: Vec<usize>,
        sep: String,
    },
}

/// Runs the steps over a value. Borrowed as long as no step changed anything. The error says what cannot be done and
/// does not repeat the value.
pub(super) fn run<'a, 'v>(
    steps: &[Step],
    value: &'a Value,
    further: impl Fn(usize) -> &'v Value,
) -> Result<Cow<'a, Value>, &'static str> {
    let mut current = Cow::Borrowed(value);
    for step in steps {
        if let Some(next) = apply(step, &current, &further)? {
            current = Cow::Owned(next);
        }
    }
    Ok(current)
}

/// One step; none where it changes nothing.
fn apply<'v>(
    step: &Step,
    value: &Value,
    further: &impl Fn(usize) -> &'v Value,
) -> Result<Option<Value>, &'static str> {
    match step {
        Step::Plain(Transform::Const(constant)) => return Ok(Some(Value::Text(constant.clone()))),
        Step::Plain(Transform::Default(default)) => {
            return Ok(value.is_blank().then(|| Value::Text(default.clone())));
        }
        Step::Concat { with, sep } => {
            return Ok(concat(value, with.iter().map(|at| further(*at)), sep));
        }
        Step::Map(words) => return map(words, value),
        Step::Plain(_) => {}
    }
    let Value::Text(text) = value else {
        return Ok(None);
    };
    if text.trim().is_empty() && !matches!(step, Step::Plain(Transform::Trim)) {
        return Ok(None);
    }
    let changed = match step {
        Step::Plain(Transform::Trim) => Cow::Borrowed(text.trim()),
        Step::Plain(Transform::Lower) => Cow::Owned(text.to_lowercase()),
        Step::Plain(Transform::Upper) => Cow::Owned(text.to_uppercase()),
        Step::Plain(Transform::Truncate(chars_max)) => Cow::Borrowed(truncated(text, *chars_max)),
        Step::Plain(Transform::DateOnly) => Cow::Borrowed(
            time::date_part(text.trim())
                .ok_or("does not begin with a date of the form YYYY-MM-DD")?,
        ),
        Step::Plain(Transform::ParseDate) => {
            Cow::Owned(parse_date(text).ok_or("cannot be read as a calendar date")?)
        }
        Step::Plain(_) | Step::Map(_) | Step::Concat { .. } => return Ok(None),
    };
    Ok((changed != text.as_str()).then(|| Value::Text(changed.into_owned())))
}

fn map(words: &BTreeMap<String, Value>, value: &Value) -> Result<Option<Value>, &'static str> {
    if value.is_blank() || matches!(value, Value::Json(_)) {
        return Ok(None);
    }
    let word = value.display();
    match words.get(&word.trim().to_lowercase()) {
        Some(mapped) => Ok(Some(mapped.clone())),
        None => Err("is not among the values that the template lists"),
    }
}

fn concat<'v>(value: &Value, with: impl Iterator<Item = &'v Value>, sep: &str) -> Option<Value> {
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

/// `YYYY-MM-DD` from day, month and year between `/`, `-`, `.` or spaces, year first or last, with or without a time
/// of day. Day before month unless only the other way is a day. Years have four digits: two would be a guess.
fn parse_date(text: &str) -> Option<String> {
    let text = text.trim();
    let mut parts = text.splitn(3, ['/', '-', '.', ' ']);
    let (first, second, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let digits_len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (third, time) = (rest.get(..digits_len)?, rest.get(digits_len..)?);
    if !time.is_empty() && !time::is_time_of_day(time) {
        return None;
    }
    let number = |part: &str, digits_max: usize| -> Option<u16> {
        let is_digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        (is_digits && part.len() <= digits_max).then(|| part.parse().ok()).flatten()
    };
    let (year, month, day) = if first.len() == 4 {
        (number(first, 4)?, number(second, 2)?, number(third, 2)?)
    } else if third.len() == 4 {
        let (year, day, month) = (number(third, 4)?, number(first, 2)?, number(second, 2)?);
        if time::is_day(year, month, day) { (year, month, day) } else { (year, day, month) }
    } else {
        return None;
    };
    time::is_day(year, month, day).then(|| format!("{year:04}-{month:02}-{day:02}"))
}
