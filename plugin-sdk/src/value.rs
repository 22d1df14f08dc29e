//! One field value of a record.

/// A value as the remote gave it.
///
/// Dates (`2026-02-28`), instants (RFC 3339) and decimals travel as text; floats never travel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Value {
    /// The remote did not say, which is not the same as null.
    #[default]
    Absent,
    Null,
    Text(String),
    Boolean(bool),
    Integer(i64),
    /// Nested JSON (order lines, addresses), as text.
    Json(String),
}

impl Value {
    /// The text of a text value, `None` of every other.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the value says nothing: absent, null or white space.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Absent | Self::Null => true,
            Self::Text(text) => text.trim().is_empty(),
            Self::Boolean(_) | Self::Integer(_) | Self::Json(_) => false,
        }
    }
}

/// A [`Value`] that borrows its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cell<'a> {
    #[default]
    Absent,
    Null,
    Text(&'a str),
    Boolean(bool),
    Integer(i64),
    Json(&'a str),
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Absent => Self::Absent,
            Value::Null => Self::Null,
            Value::Text(text) => Self::Text(text),
            Value::Boolean(boolean) => Self::Boolean(*boolean),
            Value::Integer(integer) => Self::Integer(*integer),
            Value::Json(json) => Self::Json(json),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    /// `None` becomes [`Value::Absent`]; say [`Value::Null`] where the remote said null.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}
