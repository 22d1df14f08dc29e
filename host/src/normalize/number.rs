//! Decimal numbers of any length, by value, without floats.

use std::borrow::Cow;

/// The shortest way to write a decimal number: no plus sign, no idle zeros, no negative zero. None for what is not
/// digits with at most one sign and one point; exponents are refused, so that `1e3` stays text.
pub fn decimal(text: &str) -> Option<Cow<'_, str>> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole_short = whole.trim_start_matches('0');
    let fraction_short = fraction.trim_end_matches('0');
    if whole_short.is_empty() && fraction_short.is_empty() {
        return Some(Cow::Borrowed("0"));
    }
    let sign = if negative { "-" } else { "" };
    let whole_short = if whole_short.is_empty() { "0" } else { whole_short };
    let point = if fraction_short.is_empty() { "" } else { "." };
    let shortest_len = sign.len() + whole_short.len() + point.len() + fraction_short.len();
    // Nothing is ever added except the zero before a bare point, which changes the length too.
    if shortest_len == text.len() && !text.starts_with('+') && !whole.is_empty() {
        return Some(Cow::Borrowed(text));
    }
    Some(Cow::Owned([sign, whole_short, point, fraction_short].concat()))
}

/// A decimal number without a fraction, in its shortest form.
pub fn integer(text: &str) -> Option<Cow<'_, str>> {
    decimal(text).filter(|shortest| !shortest.contains('.'))
}

/// The comparison form: by value where it is a number, else the text itself.
pub(super) fn form(text: Cow<'_, str>) -> Cow<'_, str> {
    let shortest = match decimal(&text) {
        Some(Cow::Owned(shortest)) => Some(shortest),
        Some(Cow::Borrowed(shortest)) if shortest != text => Some(shortest.to_owned()),
        Some(Cow::Borrowed(_)) | None => None,
    };
    shortest.map_or(text, Cow::Owned)
}
