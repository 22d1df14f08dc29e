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
