//! A field mapping (import template): which source field becomes which local field, and what to do on error.

use super::value::FieldType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    pub entities: BTreeMap<String, EntityTemplate>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntityTemplate {
    pub fields: Vec<FieldMapping>,
    #[serde(default)]
    pub status: Option<StatusMapping>,
    /// Match rules in order: a record that agrees on all fields of a rule is the same record.
    #[serde(default, rename = "match")]
    pub match_rules: Vec<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldMapping {
    pub source: String,
    pub target: String,
    #[serde(rename = "type", default)]
    pub field_type: FieldType,
    /// A blank value makes the record invalid.
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub transforms: Vec<Transform>,
    #[serde(default)]
    pub on_error: OnError,
}

/// What to do with a value that cannot be transformed or is not of the field's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The record is invalid and goes to quarantine.
    Fail,
    /// The value is left out, with a warning.
    Skip,
    /// The value is kept as given, with a warning.
    #[default]
    Keep,
}

/// One step on a value. Text is the input; other values pass untouched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Transform {
    Trim,
    Lower,
    Upper,
    /// The date part of an instant.
    DateOnly,
    /// `DD/MM/YYYY`, `D-M-YYYY`, `YYYY/MM/DD` ... to a calendar date; day first where it is ambiguous.
    ParseDate,
    /// Looks the value up without regard to case; a value that is not listed is an error.
    Map(BTreeMap<String, String>),
    /// Where the value is blank.
    Default(String),
    Const(String),
    /// At most that many characters.
    Truncate(usize),
    Concat {
        with: Vec<String>,
        sep: String,
    },
}

/// How a source field decides whether the record is active. A status on neither list keeps the current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusMapping {
    pub source: String,
    /// Lower case.
    pub active: Vec<String>,
    /// Lower case.
    pub inactive: Vec<String>,
}
