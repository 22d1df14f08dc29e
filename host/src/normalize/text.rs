//! Text: white space, Unicode forms, case, and JSON by value.

use super::number;
use std::borrow::Cow;
use std::fmt::Write;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Trimmed and in Unicode's composed form; white space inside is kept.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.is_ascii() || is_nfc(text) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// Without regard to case. By way of upper case, so that letters with two small forms (`σ`, `ς`) and letters that
/// only have a large pair (`ß`, `SS`) meet; and from lower case, because `ẞ` has no other way to its pair.
pub(super) fn folded(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return text;
    }
    if text.chars().all(is_simple) {
        return Cow::Owned(text.chars().map(lower_simple).collect());
    }
    Cow::Owned(folded_by_tables(&text))
}

/// [`folded`] for any letters.
pub(super) fn folded_by_tables(text: &str) -> String {
    text.nfd()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfc()
        .collect()
}

/// Adds the folded, single-spaced form of a text to a match key, behind its length; false, and nothing added, where that
/// takes more than a look at each letter. Names seldom do.
pub(super) fn push_simple(text: &str, key: &mut String) -> bool {
    let text = text.trim();
    let is_ascii = text.is_ascii();
    if text.is_empty() || !is_single_spaced(text) || !is_ascii && !text.chars().all(is_simple) {
        return false;
    }
    // The small form of such a letter has as many bytes.
    push_length(text.len(), key);
    let start = key.len();
    if is_ascii {
        key.push_str(text);
        key.get_mut(start..).into_iter().for_each(str::make_ascii_lowercase);
    } else {
        key.extend(text.chars().map(lower_simple));
    }
    true
}

/// Whether all white space in it are spaces, none behind another.
fn is_single_spaced(text: &str) -> bool {
    let mut after_space = false;
    text.chars().all(|letter| {
        let crowds = letter.is_whitespace() && (after_space || letter != ' ');
        after_space = letter.is_whitespace();
        !crowds
    })
}

/// Adds a length and what parts it from its text. Nearly all are short, and formatting costs more than the rest of a key.
pub(super) fn push_length(length: usize, key: &mut String) {
    match u8::try_from(length) {
        Ok(ones @ 0..10) => key.push(char::from(b'0' + ones)),
        Ok(two @ 10..100) => key.extend([two / 10, two % 10].map(|digit| char::from(b'0' + digit))),
        // Writing to a string cannot fail.
        _ => drop(write!(key, "{length}")),
    }
    key.push(':');
}

/// Letters whose small form is one step away, as nearly all of names are: ASCII and `À` to `þ`, without those that have
/// two small forms or none of their own.
fn is_simple(letter: char) -> bool {
    letter.is_ascii() || matches!(letter, 'À'..='þ' if letter != 'ß')
}

fn lower_simple(letter: char) -> char {
    match letter {
        // Between them lies the sign of multiplication.
        'À'..='Ö' | 'Ø'..='Þ' => char::from_u32(u32::from(letter) + 32).unwrap_or(letter),
        other => other.to_ascii_lowercase(),
    }
}

/// One space for each run of white space.
pub(super) fn single_spaced(text: Cow<'_, str>) -> Cow<'_, str> {
    // Most texts are a word.
    if text.is_ascii() && !text.bytes().any(is_ascii_space) {
        return text;
    }
    if is_single_spaced(&text) {
        return text;
    }
    let mut spaced = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !spaced.is_empty() {
            spaced.push(' ');
        }
        spaced.push_str(word);
    }
    Cow::Owned(spaced)
}

/// One `@` with something before it, and a domain with a dot inside. A look, not a proof.
pub fn is_email(text: &str) -> bool {
    let text = text.trim();
    // `split_once` is made for longer texts.
    let at = text.bytes().position(|byte| byte == b'@');
    let Some((mailbox, domain)) = at.and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    let domain = domain.as_bytes().get(1..).unwrap_or_default();
    let spaced = match text.is_ascii() {
        true => text.bytes().any(is_ascii_space),
        false => text.contains(char::is_whitespace),
    };
    // No label between the dots of the domain is empty.
    let (mut dots, mut before) = (0, b'.');
    for byte in domain.iter().copied() {
        if byte == b'@' || byte == b'.' && before == b'.' {
            return false;
        }
        dots += usize::from(byte == b'.');
        before = byte;
    }
    !mailbox.is_empty() && !spaced && dots > 0 && before != b'.'
}

/// What [`char::is_whitespace`] says of ASCII.
fn is_ascii_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// JSON text with sorted keys, no white space and numbers by value; text that is no JSON stays as it is.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => {
            let mut written = String::with_capacity(text.len());
            write_sorted(&value, &mut written);
            Cow::Owned(written)
        }
        Err(_) => plain(text),
    }
}

/// The same for text in a JSON field; none where it says `null`.
pub(super) fn json_of(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let written = json(&text).into_owned();
    (written != "null").then_some(Cow::Owned(written))
}

fn write_sorted(value: &serde_json::Value, out: &mut String) {
    match value {
        serde_json::Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_sorted(item, out);
            }
            out.push(']');
        }
        serde_json::Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (at, (name, member)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quote(name, out);
                out.push(':');
                write_sorted(member, out);
            }
            out.push('}');
        }
        serde_json::Value::Number(number) => {
            out.push_str(&number::form(Cow::Owned(number.to_string())));
        }
        serde_json::Value::String(text) => quote(text, out),
        serde_json::Value::Bool(_) | serde_json::Value::Null => {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "{value}");
        }
    }
}

fn quote(text: &str, out: &mut String) {
    let composed: String = text.nfc().collect();
    let _ = write!(out, "{}", serde_json::Value::String(composed));
}
