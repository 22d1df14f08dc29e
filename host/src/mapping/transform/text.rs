//! Text of people: capitals, mark-up, addresses in one line, words for gender.

use crate::model::Value;
use crate::model::template::AddressPart;
use std::borrow::Cow;

/// Capitals at the beginning of words. Text in both cases stays as it is: who wrote `McCarthy` knew why.
pub(super) fn title(text: &str) -> Cow<'_, str> {
    let mixed = text.chars().any(char::is_lowercase) && text.chars().any(char::is_uppercase);
    if mixed {
        return Cow::Borrowed(text);
    }
    let mut titled = String::with_capacity(text.len());
    let mut rest = text;
    let mut after = ' ';
    while let Some(letter) = rest.chars().next() {
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        let next_is_letter = rest.starts_with(char::is_alphabetic);
        // `O'Brien`, but `don't`.
        let begins = match after {
            '\'' | '\u{2019}' => next_is_letter,
            after => !after.is_alphanumeric(),
        };
        if begins {
            titled.extend(letter.to_uppercase());
        } else {
            titled.extend(letter.to_lowercase());
        }
        after = letter;
    }
    Cow::Owned(titled)
}

/// Elements whose content is no text.
const SILENT: [&str; 2] = ["script", "style"];

/// The text of mark-up, with single spaces. What only looks like a tag, as in `a < b`, stays.
pub(super) fn without_tags(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        plain.push_str(before);
        let inner = tag.get(1..).unwrap_or_default();
        if !inner.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            plain.push('<');
            rest = inner;
            continue;
        }
        plain.push(' ');
        rest = behind(inner, tag_end(inner));
        let is = |name: &&&str| {
            inner.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        if let Some(name) = SILENT.iter().find(is) {
            let closing = closing_tag(rest, name);
            rest = behind(rest, closing);
            rest = behind(rest, tag_end(rest));
        }
    }
    plain.push_str(rest);
    let plain = if plain.contains('&') { resolved(&plain) } else { plain };
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn behind(text: &str, end: Option<usize>) -> &str {
    end.and_then(|end| text.get(end..)).unwrap_or_default()
}

/// Just behind the `>` of a tag; quoted values may hold one.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// Where `</name` begins.
fn closing_tag(text: &str, name: &str) -> Option<usize> {
    let starts = text.match_indices("</").map(|(at, _)| at);
    let mut closing = starts.filter(|at| {
        let named = text.get(at + 2..at + 2 + name.len());
        named.is_some_and(|named| named.eq_ignore_ascii_case(name))
    });
    closing.next()
}

/// The longest name or number of a character reference.
const REFERENCE_BYTES_MAX: usize = 10;

/// Character references by what they stand for; unknown ones stay.
fn resolved(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        plain.push_str(before);
        let head = reference.bytes().take(REFERENCE_BYTES_MAX);
        let end = head.skip(1).position(|byte| byte == b';').map(|at| at + 1);
        let name = end.and_then(|end| reference.get(1..end)).unwrap_or_default();
        match referred(name) {
            Some(letter) => {
                plain.push(letter);
                rest = behind(reference, end.map(|end| end + 1));
            }
            None => {
                plain.push('&');
                rest = reference.get(1..).unwrap_or_default();
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn referred(name: &str) -> Option<char> {
    let named = [
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", ' '),
        ("ndash", '\u{2013}'),
        ("mdash", '\u{2014}'),
        ("hellip", '\u{2026}'),
        ("euro", '\u{20ac}'),
        ("pound", '\u{a3}'),
    ];
    if let Some((_, letter)) = named.iter().find(|(known, _)| *known == name) {
        return Some(*letter);
    }
    let number = name.strip_prefix('#')?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code).filter(|letter| !letter.is_control())
}

/// One part of `street, town, region, postcode`; an address of fewer parts lacks the last ones, and what is more
/// than four belongs to the street.
pub(super) fn address_part(text: &str, part: AddressPart) -> Value {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let streets = parts.len().saturating_sub(3).max(1).min(parts.len());
    let (street, others) = parts.split_at(streets);
    let found = match part {
        AddressPart::Street => return Value::Text(street.join(", ")),
        AddressPart::Town => others.first(),
        AddressPart::Region => others.get(1),
        AddressPart::Postcode => others.get(2),
    };
    found.map_or(Value::Null, |found| Value::Text((*found).to_owned()))
}

pub(super) fn gender(text: &str) -> Result<&'static str, &'static str> {
    const WORDS: [(&str, &[&str]); 3] = [
        ("male", &["m", "male", "man", "boy"]),
        ("female", &["f", "w", "female", "woman", "girl"]),
        ("other", &["o", "x", "d", "other", "non-binary", "nonbinary", "diverse"]),
    ];
    let word = text.trim().to_lowercase();
    let found = WORDS.iter().find(|(_, words)| words.contains(&word.as_str()));
    found.map(|(gender, _)| *gender).ok_or("is no known word for a gender")
}
