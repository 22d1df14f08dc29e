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

impl Value {
    /// Absent, null, or text of nothing but white space.
    pub fn is_blank(&self) -> bool {
        match self {
            Value::Absent | Value::Null => true,
            Value::Text(text) => text.trim().is_empty(),
            Value::Bool(_) | Value::Int(_) | Value::Json(_) => false,
        }
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
        match self {
            Value::Absent | Value::Null => String::new(),
            Value::Text(text) | Value::Json(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            Value::Int(number) => number.to_string(),
        }
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
