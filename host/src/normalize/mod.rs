//! When two values mean the same: the forms in which values are compared, and the keys by which records are matched.
//!
//! Owns comparison only: what it makes is compared or hashed and never stored in a record. Must not fail on any
//! input, and must not parse anything as long as the raw values are equal.

mod number;
mod phone;
mod text;
pub mod time;

#[cfg(test)]
mod tests;

use crate::model::{Cell, FieldType, Value};
use std::borrow::Cow;

pub use number::{decimal, integer};
pub use text::is_email;

/// Compares values in the customs of one organization.
#[derive(Clone, Debug)]
pub struct Normalizer {
    region: Option<phone::Region>,
}

impl Normalizer {
    /// `region` is the ISO 3166 code (`IE`) that phone numbers without a country code belong to. With an unknown
    /// code such numbers are compared by their digits; [`is_region`] tells.
    pub fn new(region: &str) -> Normalizer {
        Normalizer { region: phone::region(region) }
    }

    /// Whether both values mean the same in a field of this type. Null, absent and blank text are one value.
    ///
    /// An equivalence relation: it is the equality of one form computed from each side alone.
    pub fn equal(&self, field_type: FieldType, left: &Value, right: &Value) -> bool {
        left == right || self.form(field_type, left.into()) == self.form(field_type, right.into())
    }

    /// The form for match keys: the comparison form, and for text also without regard to case and to how many
    /// spaces stand between words. None for a blank value. Values that are [`equal`](Self::equal) share it.
    pub fn canonical<'a>(
        &self,
        field_type: FieldType,
        value: impl Into<Cell<'a>>,
    ) -> Option<Cow<'a, str>> {
        let form = self.form(field_type, value.into())?;
        Some(match field_type {
            FieldType::Text => text::folded(text::single_spaced(form)),
            _ => form,
        })
    }

    /// E.164 (`+353871234567`); none where the text cannot be read as a number.
    pub fn e164(&self, text: &str) -> Option<String> {
        phone::e164(text, self.region)
    }

    /// One key for the values of a match rule; none if one of them is blank, because blanks match nobody.
    ///
    /// Each part is preceded by its length, so that no two lists of parts share a key.
    pub fn match_key<'a, V: Into<Cell<'a>>>(
        &self,
        rule: impl IntoIterator<Item = (FieldType, V)>,
    ) -> Option<String> {
        let mut key = String::with_capacity(64);
        for (field_type, value) in rule {
            let value = value.into();
            if let (FieldType::Text, Cell::Text(text)) = (field_type, value)
                && text::push_simple(text, &mut key)
            {
                continue;
            }
            let part = self.canonical(field_type, value)?;
            text::push_length(part.len(), &mut key);
            key.push_str(&part);
        }
        (!key.is_empty()).then_some(key)
    }

    /// The form in which a value is compared; none for a blank one. Text that is not of its field's type is compared
    /// as text. Applied to its own result it changes nothing.
    fn form<'a>(&self, field_type: FieldType, value: Cell<'a>) -> Option<Cow<'a, str>> {
        let plain = match value {
            Cell::Absent | Cell::Null => return None,
            Cell::Text(text) => text::plain(text),
            Cell::Bool(flag) => Cow::Borrowed(if flag { "true" } else { "false" }),
            Cell::Int(number) => Cow::Owned(number.to_string()),
            Cell::Json(json) => text::json(json.trim()),
        };
        if plain.is_empty() || (matches!(value, Cell::Json(_)) && plain == "null") {
            return None;
        }
        Some(match field_type {
            FieldType::Text => plain,
            FieldType::Email => text::folded(plain),
            FieldType::Phone => phone::form(plain, self.region),
            FieldType::Date => time::date_form(plain),
            FieldType::Instant => time::instant_form(plain),
            FieldType::Decimal | FieldType::Integer => number::form(plain),
            FieldType::Boolean => boolean(&plain)
                .map(|flag| Cow::Borrowed(if flag { "true" } else { "false" }))
                .unwrap_or(plain),
            FieldType::Json => match value {
                Cell::Text(_) => text::json_of(plain)?,
                _ => plain,
            },
        })
    }
}

/// Whether phone numbers can be read with this region as the default.
pub fn is_region(code: &str) -> bool {
    phone::region(code).is_some()
}

/// The truth that a word stands for: `true`/`false`, `yes`/`no`, `1`/`0`, whatever their case.
pub fn boolean(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool); 6] =
        [("true", true), ("false", false), ("1", true), ("0", false), ("yes", true), ("no", false)];
    let text = text.trim();
    WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, flag)| *flag)
}

/// What is wrong with a value in a field of this type, in words that do not repeat the value; none if it fits or is
/// blank. E-mail addresses and phone numbers fit as long as they are text: see [`is_email`] and [`is_phone`].
pub fn type_problem<'a>(field_type: FieldType, value: impl Into<Cell<'a>>) -> Option<&'static str> {
    let value = value.into();
    if value.is_blank() {
        return None;
    }
    let fits = match (field_type, value) {
        (FieldType::Json, Cell::Json(json)) => {
            serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok()
        }
        (FieldType::Json, _) => true,
        (_, Cell::Json(_)) => false,
        (FieldType::Text | FieldType::Phone, Cell::Text(_) | Cell::Int(_)) => true,
        (FieldType::Email, Cell::Text(_)) => true,
        (FieldType::Date, Cell::Text(text)) => time::is_date(text.trim()),
        (FieldType::Instant, Cell::Text(text)) => time::instant(text.trim()).is_some(),
        (FieldType::Decimal, Cell::Text(text)) => decimal(text.trim()).is_some(),
        (FieldType::Integer, Cell::Text(text)) => integer(text.trim()).is_some(),
        (FieldType::Decimal | FieldType::Integer, Cell::Int(_)) => true,
        (FieldType::Boolean, Cell::Bool(_) | Cell::Int(0 | 1)) => true,
        (FieldType::Boolean, Cell::Text(text)) => boolean(text).is_some(),
        _ => false,
    };
    (!fits).then_some(match field_type {
        FieldType::Text => "is not text",
        FieldType::Email => "is not text, as an e-mail address must be",
        FieldType::Phone => "is not text, as a phone number must be",
        FieldType::Date => "is not a calendar date of the form YYYY-MM-DD",
        FieldType::Instant => "is not an RFC 3339 time with an offset",
        FieldType::Decimal => "is not a decimal number",
        FieldType::Integer => "is not a whole number",
        FieldType::Boolean => "is neither true nor false",
        FieldType::Json => "is not valid JSON",
    })
}

/// Whether text looks like a phone number: a cheap look at its characters, without knowing any country's numbers.
pub fn is_phone(text: &str) -> bool {
    phone::is_plausible(text)
}
