//! Numbers as people write them, by their digits: no floats, so nothing is lost.

use crate::model::Value;
use crate::model::template::{DecimalSign, Rounding};
use crate::normalize;
use std::borrow::Cow;

const NO_NUMBER: &str = "cannot be read as a number";

/// Digits with a point: `1.234,50 €` is `1234.50` where the comma is the decimal sign. Thousands are grouped by
/// threes or not at all; anything else would be a guess.
pub(super) fn decimal(text: &str, sign: DecimalSign) -> Result<String, &'static str> {
    let (point, other) = match sign {
        DecimalSign::Point => ('.', ','),
        DecimalSign::Comma => (',', '.'),
    };
    let bare = text.trim_matches(|c: char| c.is_whitespace() || is_currency(c));
    let (negative, digits) = match bare.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest),
        None => (false, bare.strip_prefix('+').unwrap_or(bare)),
    };
    let digits = digits.trim_start_matches(|c: char| c.is_whitespace() || is_currency(c));
    let (whole, fraction) = digits.split_once(point).unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let whole = ungrouped(whole, other).filter(|whole| is_digits(whole)).ok_or(NO_NUMBER)?;
    if !is_digits(fraction) || whole.is_empty() && fraction.is_empty() {
        return Err(NO_NUMBER);
    }
    let mut number = String::with_capacity(text.len());
    if negative {
        number.push('-');
    }
    number.push_str(if whole.is_empty() { "0" } else { &whole });
    if !fraction.is_empty() {
        number.push('.');
        number.push_str(fraction);
    }
    Ok(number)
}

fn is_currency(letter: char) -> bool {
    matches!(letter, '$' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}')
}

/// The digits without the signs between their groups; none where the groups are not of three digits.
fn ungrouped(whole: &str, other: char) -> Option<String> {
    let is_sign =
        |c: char| c == other || matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '\u{2019}');
    let Some(sign) = whole.chars().find(|c| is_sign(*c)) else {
        return Some(whole.to_owned());
    };
    let mut groups = whole.split(sign);
    let first = groups.next().filter(|first| (1..=3).contains(&first.len()))?;
    let mut digits = first.to_owned();
    for group in groups {
        digits.push_str(Some(group).filter(|group| group.len() == 3)?);
    }
    Some(digits)
}

/// A whole number; a fraction of nothing but zeros is none.
pub(super) fn integer(text: &str) -> Result<Value, &'static str> {
    let number = decimal(text, DecimalSign::Point)?;
    let whole = match number.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return Err("is not a whole number"),
        None => &number,
    };
    Ok(whole.parse().map_or_else(|_| Value::Text(whole.to_owned()), Value::Int))
}

/// At most `places` digits behind the point; fewer stay as they are.
pub(super) fn round(text: &str, places: u32, mode: Rounding) -> Result<Cow<'_, str>, &'static str> {
    if normalize::decimal(text).is_none() {
        return Err("is not a decimal number");
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    let (Some(kept), Some(rest)) = (fraction.get(..places), fraction.get(places..)) else {
        return Ok(Cow::Borrowed(text));
    };
    if rest.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let mut number: Vec<u8> = [whole.as_bytes(), kept.as_bytes()].concat();
    let odd = number.last().is_some_and(|last| last % 2 == 1);
    if goes_up(rest, odd, mode) {
        increment(&mut number);
    }
    let point = number.len().saturating_sub(places);
    let (whole, kept) = number.split_at(point);
    let zero = number.iter().all(|digit| *digit == b'0');
    let mut rounded = String::with_capacity(number.len() + 3);
    rounded.push_str(if negative && !zero { "-" } else { "" });
    rounded.push_str(if whole.is_empty() { "0" } else { "" });
    rounded.extend(whole.iter().map(|digit| char::from(*digit)));
    rounded.push_str(if kept.is_empty() { "" } else { "." });
    rounded.extend(kept.iter().map(|digit| char::from(*digit)));
    Ok(Cow::Owned(rounded))
}

/// Whether the digits that are left out lift the last one that stays, away from zero.
fn goes_up(rest: &str, odd: bool, mode: Rounding) -> bool {
    let half = std::cmp::Ordering::then(
        rest.as_bytes().first().cmp(&Some(&b'5')),
        match rest.bytes().skip(1).any(|digit| digit != b'0') {
            true => std::cmp::Ordering::Greater,
            false => std::cmp::Ordering::Equal,
        },
    );
    match mode {
        Rounding::Down => false,
        Rounding::Up => rest.bytes().any(|digit| digit != b'0'),
        Rounding::HalfUp => half.is_ge(),
        Rounding::HalfEven => half.is_gt() || half.is_eq() && odd,
    }
}

fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit != b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}
