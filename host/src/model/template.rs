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

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldMapping {
    /// Empty for a field that its transforms compute, from a constant or from other fields.
    #[serde(default, skip_serializing_if = "String::is_empty")]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The record is invalid and goes to quarantine.
    Fail,
    /// The value is left out, with a warning: the record keeps the value that it has.
    Skip,
    /// The value is kept as given, with a warning.
    #[default]
    Keep,
    /// This text takes its place, with a warning.
    Default(String),
}

/// One step on a value. Blank values pass untouched, and so do values that are not of a kind that the step is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Transform {
    Trim,
    Lower,
    Upper,
    /// Capitals at the beginning of words; text that has both cases already stays as it is.
    Title,
    /// Text without tags, with character references resolved.
    StripHtml,
    /// At most that many characters.
    Truncate(usize),
    /// Looks the value up without regard to case; a value that is not listed is an error.
    Map(BTreeMap<String, String>),
    /// Where the value is blank.
    Default(String),
    Const(String),
    Concat {
        with: Vec<String>,
        sep: String,
    },
    /// The first match of a regular expression, or of one of its groups; no match is an error.
    Regex {
        pattern: String,
        #[serde(default)]
        group: usize,
    },
    /// One part of an address in one line: street, town, region, postcode.
    AddressPart(AddressPart),
    /// `male`, `female` or `other`, from the usual words and letters.
    Gender,
    /// The two letters of ISO 3166, from those, from three letters or from the English name.
    Country,
    /// Refuses what does not look like an e-mail address.
    Email,
    /// E.164, for numbers without a country code in this region.
    Phone {
        region: String,
    },
    /// The date part of an instant.
    DateOnly,
    /// `DD/MM/YYYY`, `D-M-YYYY`, `YYYY/MM/DD` ... to a calendar date; day first where it is ambiguous.
    ParseDate,
    /// A date written in this form, as `strptime` knows it.
    ParseDateAs(String),
    /// A date in this form, as `strftime` knows it.
    FormatDate(String),
    /// The day that an instant falls on in this zone.
    DateInZone(String),
    /// The instant of a local time in this form and zone.
    ParseInstant {
        format: String,
        zone: String,
    },
    /// A number as people write it, by its value.
    ParseDecimal {
        #[serde(default)]
        decimal: DecimalSign,
    },
    ParseInteger,
    /// `true` and `false`, from the usual words or from those that are listed.
    ParseBoolean {
        #[serde(default, rename = "true")]
        yes: Vec<String>,
        #[serde(default, rename = "false")]
        no: Vec<String>,
    },
    Round {
        places: u32,
        #[serde(default)]
        mode: Rounding,
    },
    /// A list of the parts of a text, each trimmed, without blank ones.
    Split {
        sep: String,
    },
    Join {
        sep: String,
    },
    /// The first item of a list that is not blank.
    First,
    /// The value at this JSON pointer.
    Pointer(String),
    /// Maps each item of a list.
    Each {
        fields: Vec<ItemMapping>,
    },
}

/// One member of a mapped item: `source` is a member of the item, or a JSON pointer into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemMapping {
    pub source: String,
    pub target: String,
    #[serde(default)]
    pub transforms: Vec<Transform>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddressPart {
    Street,
    Town,
    Region,
    Postcode,
}

/// What stands before the fraction of a number; the other one groups thousands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecimalSign {
    #[default]
    #[serde(rename = ".")]
    Point,
    #[serde(rename = ",")]
    Comma,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rounding {
    /// Halves away from zero.
    #[default]
    HalfUp,
    /// Halves to the even neighbor.
    HalfEven,
    /// Toward zero.
    Down,
    /// Away from zero.
    Up,
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
