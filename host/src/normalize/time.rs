//! Calendar dates and instants as text: reading, checking, comparing.

use jiff::Timestamp;
use std::borrow::Cow;

const DATE_LEN: usize = "2026-02-28".len();
const DAYS: [u8; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Whether the text is a day that exists, written `YYYY-MM-DD`.
pub fn is_date(text: &str) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes() else {
        return false;
    };
    if ![y1, y2, y3, y4, m1, m2, d1, d2].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let two = |tens: u8, ones: u8| u16::from(tens - b'0') * 10 + u16::from(ones - b'0');
    is_day(two(y1, y2) * 100 + two(y3, y4), two(m1, m2), two(d1, d2))
}

/// Whether the calendar (Gregorian, years 1 to 9999) has this day.
pub fn is_day(year: u16, month: u16, day: u16) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let Some(days) = month.checked_sub(1).and_then(|at| DAYS.get(usize::from(at))) else {
        return false;
    };
    let days = u16::from(*days) + u16::from(month == 2 && leap);
    (1..=9999).contains(&year) && (1..=days).contains(&day)
}

/// The date part of `YYYY-MM-DD`, alone or before a time of day (`T10:30`, ` 10:30:00Z`).
pub fn date_part(text: &str) -> Option<&str> {
    let date = text.get(..DATE_LEN).filter(|date| is_date(date))?;
    let rest = text.get(DATE_LEN..)?;
    (rest.is_empty() || is_time_of_day(rest)).then_some(date)
}

/// Whether the text, beginning with the `T` or space that separates it from a date, is a time of day.
pub fn is_time_of_day(text: &str) -> bool {
    let mut bytes = text.bytes();
    let separator = matches!(bytes.next(), Some(b'T' | b't' | b' '));
    let starts = matches!(
        (bytes.next(), bytes.next(), bytes.next()),
        (Some(b'0'..=b'2'), Some(b'0'..=b'9'), Some(b':'))
    );
    separator
        && starts
        && bytes.all(|byte| {
            byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'+' | b'-' | b'Z' | b'z')
        })
}

/// An RFC 3339 time with an offset. A local time without one is no instant.
pub fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

pub(super) fn date_form(text: Cow<'_, str>) -> Cow<'_, str> {
    match date_part(&text).map(str::len) {
        Some(len) if len < text.len() => match text {
            Cow::Borrowed(text) => Cow::Borrowed(date_part(text).unwrap_or(text)),
            Cow::Owned(mut text) => {
                text.truncate(len);
                Cow::Owned(text)
            }
        },
        _ => text,
    }
}

pub(super) fn instant_form(text: Cow<'_, str>) -> Cow<'_, str> {
    match instant(&text) {
        Some(instant) => Cow::Owned(instant.to_string()),
        None => text,
    }
}
