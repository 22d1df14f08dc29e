//! One field value and the types that a field can have.

use serde::{Deserialize, Serialize};

/// One field value, as it crosses the plugin boundary and as it is stored.
///
/// Dates, instants and decimals are text in a stated form; floats never occur.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Value {
    /// The source did not say: not the same as null.
    #[default]
    Absent,
    Null,
    Text(String),
    Bool(bool),
    Int(i64),
    /// Nested JSON as text.
    Json(String),
}

/// A [`Value`] that borrows its text. Both are encoded to the same bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Cell<'a> {
    #[default]
    Absent,
    Null,
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Json(&'a str),
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(value: &'a Value) -> Cell<'a> {
        match value {
            Value::Absent => Cell::Absent,
            Value::Null => Cell::Null,
            Value::Text(text) => Cell::Text(text),
            Value::Bool(flag) => Cell::Bool(*flag),
            Value::Int(number) => Cell::Int(*number),
            Value::Json(text) => Cell::Json(text),
        }
    }
}

impl Cell<'_> {
    /// Absent, null, or text of nothing but white space.
    pub fn is_blank(self) -> bool {
        match self {
            Cell::Absent | Cell::Null => true,
            Cell::Text(text) => text.trim().is_empty(),
            Cell::Bool(_) | Cell::Int(_) | Cell::Json(_) => false,
        }
    }

    pub fn to_value(self) -> Value {
        match self {
            Cell::Absent => Value::Absent,
            Cell::Null => Value::Null,
            Cell::Text(text) => Value::Text(text.to_owned()),
            Cell::Bool(flag) => Value::Bool(flag),
            Cell::Int(number) => Value::Int(number),
            Cell::Json(text) => Value::Json(text.to_owned()),
        }
    }

    /// Appends what postcard makes of the value, without its way through a serializer: a first sync writes ten of them for
    /// each record.
    pub fn encode(self, into: &mut Vec<u8>) {
        match self {
            Cell::Absent => into.push(0),
            Cell::Null => into.push(1),
            Cell::Text(text) => encode_text(2, text, into),
            Cell::Bool(flag) => into.extend([3, u8::from(flag)]),
            Cell::Int(number) => {
                into.push(4);
                // Small numbers of either sign become small ones without.
                encode_number(((number << 1) ^ (number >> 63)).cast_unsigned(), into);
            }
            Cell::Json(text) => encode_text(5, text, into),
        }
    }

    /// Text for people: logs, conflict lines, CSV cells.
    pub fn display(self) -> String {
        match self {
            Cell::Absent | Cell::Null => String::new(),
            Cell::Text(text) | Cell::Json(text) => text.to_owned(),
            Cell::Bool(flag) => flag.to_string(),
            Cell::Int(number) => number.to_string(),
        }
    }
}

fn encode_text(kind: u8, text: &str, into: &mut Vec<u8>) {
    into.push(kind);
    encode_number(text.len() as u64, into);
    into.extend_from_slice(text.as_bytes());
}

/// Seven bits a byte, the lowest first; all but the last byte have the eighth.
fn encode_number(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    into.push(number.to_le_bytes()[0]);
}

/// Appends a list of values, as postcard would.
pub fn encode_list<'a>(cells: impl ExactSizeIterator<Item = Cell<'a>>, into: &mut Vec<u8>) {
    encode_number(cells.len() as u64, into);
    cells.for_each(|cell| cell.encode(into));
}

impl Value {
    /// Absent, null, or text of nothing but white space.
    pub fn is_blank(&self) -> bool {
        Cell::from(self).is_blank()
    }

    /// The JSON form of the API. `Absent` shows as null.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Absent | Value::Null => serde_json::Value::Null,
            Value::Text(text) => serde_json::Value::String(text.clone()),
            Value::Bool(flag) => serde_json::Value::Bool(*flag),
            Value::Int(number) => serde_json::Value::from(*number),
            Value::Json(text) => serde_json::from_str(text)
                .unwrap_or_else(|_| serde_json::Value::String(text.clone())),
        }
    }

    /// Reads the JSON form. A number that is no 64-bit integer keeps its digits as text.
    pub fn from_json(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(*flag),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Value::Int(number),
                None => Value::Text(number.to_string()),
            },
            serde_json::Value::String(text) => Value::Text(text.clone()),
            nested => Value::Json(nested.to_string()),
        }
    }

    /// Text for people: logs, conflict lines, CSV cells.
    pub fn display(&self) -> String {
        Cell::from(self).display()
    }
}

/// What a field holds: decides how values are compared and checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    #[default]
    Text,
    Email,
    Phone,
    Date,
    Instant,
    Decimal,
    Integer,
    Boolean,
    Json,
}

impl FieldType {
    /// The word on the plugin boundary.
    pub fn as_str(self) -> &'static str {
        match self {
            FieldType::Text => "text",
            FieldType::Email => "email",
            FieldType::Phone => "phone",
            FieldType::Date => "date",
            FieldType::Instant => "instant",
            FieldType::Decimal => "decimal",
            FieldType::Integer => "integer",
            FieldType::Boolean => "boolean",
            FieldType::Json => "json",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Absent),
            Just(Value::Null),
            ".{0,200}".prop_map(Value::Text),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            prop_oneof![Just(0), Just(-1), Just(63), Just(64), Just(-64), Just(-65)]
                .prop_map(Value::Int),
            ".{0,20}".prop_map(Value::Json),
        ]
    }

    #[test]
    fn values_are_encoded_as_postcard_does() {
        crate::test_seed::check(1_000, &prop::collection::vec(any_value(), 0..200), |values| {
            let mut encoded = Vec::new();
            encode_list(values.iter().map(Cell::from), &mut encoded);
            prop_assert_eq!(encoded, postcard::to_stdvec(&values).unwrap());
            Ok(())
        });
    }
}
