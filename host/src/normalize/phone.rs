//! Phone numbers: E.164 where a number can be read, digits where it cannot.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};
use std::borrow::Cow;

pub(super) use rlibphonenumber::Region;

/// How many digits a plausible number has: E.164 allows 15.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// The longest text that is read as a number.
const TEXT_BYTES_MAX: usize = 120;

/// The region of an ISO 3166 code, if it has phone numbers.
pub(super) fn region(code: &str) -> Option<Region> {
    let region = Region::from_code(code).ok()?;
    PHONE_NUMBER_UTIL.get_country_code_for_region(region).map(|_| region)
}

/// The comparison form. What neither reads as it stands nor by its digits alone is compared by its digits, and text
/// without any digit as text.
pub(super) fn form(text: Cow<'_, str>, region: Option<Region>) -> Cow<'_, str> {
    if let Some(number) = e164(&text, region) {
        return Cow::Owned(number);
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return text;
    }
    Cow::Owned(e164(&digits, region).unwrap_or(digits))
}

/// `+353871234567`, with `;ext=12` where there is an extension. Only a number that reads back as itself counts, so
/// that the form is stable.
pub(super) fn e164(text: &str, region: Option<Region>) -> Option<String> {
    let number = read(text, region)?;
    (read(&number, region)? == number).then_some(number)
}

fn read(text: &str, region: Option<Region>) -> Option<String> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let number = PHONE_NUMBER_UTIL.parse(text, region).ok()?;
    let mut formatted = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned();
    if !number.extension().is_empty() {
        formatted.push_str(";ext=");
        formatted.push_str(number.extension());
    }
    Some(formatted)
}

/// 7 to 15 digits among the signs that people put between them.
pub(super) fn is_plausible(text: &str) -> bool {
    let mut digits = 0;
    for letter in text.trim().chars() {
        match letter {
            '0'..='9' => digits += 1,
            '+' | '-' | '(' | ')' | '.' | '/' | ' ' | '\u{a0}' | '\u{2010}'..='\u{2013}' => {}
            _ => return false,
        }
    }
    DIGITS.contains(&digits)
}
