//! Makes the transforms of a field ready, and says which of them cannot work.
//!
//! Two things are followed along the steps: whether the value is text or a nested list or object by then, and whether
//! what comes out can be of the field's type. Where only the values can tell, nothing is said.

use super::compile::Compiler;
use super::transform::{self, Item, Step};
use crate::model::template::{ItemMapping, Transform};
use crate::model::{FieldType, Value};
use crate::normalize::{self, Normalizer};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};

const TRANSFORMS_MAX: usize = 30;
pub(super) const TEXT_CHARS_MAX: usize = 1_000;
const SEPARATOR_CHARS_MAX: usize = 100;
/// Further sources of one `concat`.
const CONCAT_MAX: usize = 20;
/// Members of an item that one `each` makes.
const EACH_FIELDS_MAX: usize = 100;
const WORDS_MAX: usize = 2_000;
const PLACES_MAX: u32 = 20;
/// How deep `each` may stand inside `each`.
const EACH_DEPTH_MAX: usize = 3;
const TRUE_WORDS: [&str; 5] = ["true", "yes", "y", "1", "on"];
const FALSE_WORDS: [&str; 5] = ["false", "no", "n", "0", "off"];

/// What a value is known to be between two steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    Nested,
    Unknown,
}

/// Where the steps stand.
pub(super) struct Chain<'a> {
    /// JSON pointer of the list of transforms.
    pub(super) pointer: &'a str,
    pub(super) shape: Shape,
    /// None for a member of an item: it has no type of its own.
    pub(super) field_type: Option<FieldType>,
    /// How many `each` it stands in.
    pub(super) depth: usize,
}

impl Compiler<'_> {
    /// The steps, with the further sources that they read.
    pub(super) fn steps(
        &mut self,
        transforms: &[Transform],
        mut chain: Chain<'_>,
        further: &mut Vec<String>,
    ) -> Vec<Step> {
        if transforms.len() > TRANSFORMS_MAX {
            self.issue(chain.pointer.to_owned(), format!("at most {TRANSFORMS_MAX} transforms"));
            return Vec::new();
        }
        // The last step that gives the value its form decides about the type; the ones before may do what they like.
        let keeps =
            |transform: &&Transform| matches!(transform, Transform::Trim | Transform::Default(_));
        let decides = transforms.iter().rposition(|transform| !keeps(&transform));
        let mut steps = Vec::with_capacity(transforms.len());
        for (at, transform) in transforms.iter().enumerate() {
            let pointer = format!("{}/{at}", chain.pointer);
            let last = at + 1 == transforms.len();
            if decides == Some(at) {
                self.check_type(transform, chain.field_type, &pointer);
            }
            self.check_shape(transform, &mut chain.shape, &pointer);
            self.check_parameters(transform, chain.field_type.filter(|_| last), &pointer);
            steps.push(self.step(transform, &pointer, chain.depth, further));
        }
        let ends_nested = chain.shape == Shape::Nested && !transforms.is_empty();
        if ends_nested && chain.field_type.is_some_and(|t| t != FieldType::Json) {
            let message = "ends with a list or an object: let `first`, `join` or `pointer` follow, \
                           or make the field one of type json";
            self.issue(chain.pointer.to_owned(), message);
        }
        steps
    }

    fn step(
        &mut self,
        transform: &Transform,
        pointer: &str,
        depth: usize,
        further: &mut Vec<String>,
    ) -> Step {
        match transform {
            Transform::Concat { with, sep } => {
                let mut positions = Vec::new();
                for (part, name) in with.iter().take(CONCAT_MAX).enumerate() {
                    // Inside an item the names are those of its members, which nobody declares.
                    if depth == 0 {
                        self.source(name, format!("{pointer}/concat/with/{part}"));
                    }
                    positions.push(further.len());
                    further.push(name.clone());
                }
                Step::Concat { with: positions, sep: sep.clone() }
            }
            Transform::Map(words) => Step::Map(self.words(words, pointer)),
            Transform::Regex { pattern, group } => self.regex(pattern, *group, pointer),
            Transform::ParseBoolean { yes, no } => Step::Boolean(self.booleans(yes, no, pointer)),
            Transform::Phone { region } => {
                if !normalize::is_region(region) {
                    let message = format!("{region:?} is no region code such as `IE`");
                    self.issue(format!("{pointer}/phone/region"), message);
                }
                Step::Phone(Normalizer::new(region))
            }
            Transform::DateInZone(zone) => {
                Step::DateInZone(self.zone(zone, format!("{pointer}/dateInZone")))
            }
            Transform::ParseInstant { format, zone } => {
                let zone = self.zone(zone, format!("{pointer}/parseInstant/zone"));
                Step::Instant { format: format.clone(), zone }
            }
            Transform::Each { fields } => Step::Each(self.items(fields, pointer, depth + 1)),
            plain => Step::Plain(plain.clone()),
        }
    }

    fn regex(&mut self, pattern: &str, group: usize, pointer: &str) -> Step {
        match self.brought(pattern) {
            Ok(regex) => {
                let groups = regex.captures_len() - 1;
                if group > groups {
                    let message = format!("the pattern has {groups} groups, and 0 for the whole");
                    self.issue(format!("{pointer}/regex/group"), message);
                }
                Step::Regex { regex, group }
            }
            Err(message) => {
                self.issue(format!("{pointer}/regex/pattern"), message);
                Step::Plain(Transform::Trim)
            }
        }
    }

    fn zone(&mut self, name: &str, pointer: String) -> TimeZone {
        TimeZone::get(name).unwrap_or_else(|_| {
            self.issue(pointer, format!("{name:?} is no IANA time zone such as `Europe/Dublin`"));
            TimeZone::UTC
        })
    }

    fn booleans(&mut self, yes: &[String], no: &[String], pointer: &str) -> BTreeMap<String, bool> {
        let mut words = BTreeMap::new();
        let or = |given: &[String], default: [&str; 5]| -> Vec<String> {
            match given.is_empty() {
                true => default.map(str::to_owned).to_vec(),
                false => given.iter().map(|word| word.trim().to_lowercase()).collect(),
            }
        };
        words.extend(or(yes, TRUE_WORDS).into_iter().map(|word| (word, true)));
        for (at, word) in or(no, FALSE_WORDS).into_iter().enumerate() {
            if words.get(&word) == Some(&true) && !no.is_empty() {
                let pointer = format!("{pointer}/parseBoolean/false/{at}");
                self.issue(pointer, format!("`{word}` stands for true too"));
            }
            words.entry(word).or_insert(false);
        }
        words
    }

    fn items(&mut self, fields: &[ItemMapping], pointer: &str, depth: usize) -> Vec<Item> {
        if depth > EACH_DEPTH_MAX {
            let message = format!("`each` goes at most {EACH_DEPTH_MAX} deep");
            self.issue(pointer.to_owned(), message);
            return Vec::new();
        }
        let mut targets = BTreeSet::new();
        let mut items = Vec::with_capacity(fields.len().min(EACH_FIELDS_MAX));
        for (at, field) in fields.iter().take(EACH_FIELDS_MAX).enumerate() {
            let pointer = format!("{pointer}/each/fields/{at}");
            if field.source.is_empty() {
                self.issue(format!("{pointer}/source"), "names no member of the item");
            }
            if field.target.trim().is_empty() || !targets.insert(field.target.as_str()) {
                let message = "must be a name that no other field of the item has";
                self.issue(format!("{pointer}/target"), message);
            }
            let mut further = Vec::new();
            let chain = Chain {
                pointer: &format!("{pointer}/transforms"),
                shape: Shape::Unknown,
                field_type: None,
                depth,
            };
            let steps = self.steps(&field.transforms, chain, &mut further);
            let (source, target) = (field.source.clone(), field.target.clone());
            items.push(Item { source, target, steps, further });
        }
        items
    }

    fn words(
        &mut self,
        words: &BTreeMap<String, String>,
        pointer: &str,
    ) -> BTreeMap<String, Value> {
        let mut folded = BTreeMap::new();
        for (word, mapped) in words {
            let key = word.trim().to_lowercase();
            let value = Value::Text(mapped.clone());
            if folded.insert(key, value.clone()).is_some_and(|before| before != value) {
                self.issue(
                    format!("{pointer}/map"),
                    format!("`{word}` is listed twice with different results"),
                );
            }
        }
        folded
    }

    /// Says where what a transform gives cannot be of the field's type.
    fn check_type(&mut self, transform: &Transform, field_type: Option<FieldType>, pointer: &str) {
        let Some(field_type) = field_type else { return };
        let gives = gives(transform);
        if !gives.is_empty() && !gives.contains(&field_type) {
            let (name, kind) = (name(transform), field_type.as_str());
            let fitting: Vec<&str> = gives.iter().map(|kind| kind.as_str()).collect();
            let message = format!(
                "`{name}` cannot end in a field of type {kind}: it fits {}",
                fitting.join(", ")
            );
            self.issue(pointer.to_owned(), message);
        }
    }

    /// Says where a step meets text and works on lists, or the other way round.
    fn check_shape(&mut self, transform: &Transform, shape: &mut Shape, pointer: &str) {
        let nested = matches!(
            transform,
            Transform::Join { .. }
                | Transform::First
                | Transform::Each { .. }
                | Transform::Pointer(_)
        );
        let either = matches!(
            transform,
            Transform::Trim
                | Transform::Default(_)
                | Transform::Const(_)
                | Transform::Concat { .. }
        );
        let name = name(transform);
        if nested && *shape == Shape::Plain {
            let message = format!("`{name}` works on lists and objects, and the value is text");
            self.issue(pointer.to_owned(), message);
        }
        if !nested && !either && *shape == Shape::Nested {
            let message = format!("`{name}` works on text, and the value is a list or an object");
            self.issue(pointer.to_owned(), message);
        }
        *shape = match transform {
            Transform::Trim | Transform::Default(_) => *shape,
            Transform::Split { .. } | Transform::Each { .. } => Shape::Nested,
            Transform::First | Transform::Pointer(_) => Shape::Unknown,
            _ => Shape::Plain,
        };
    }

    /// `ends_in`: the type of the field that this step is the last one of.
    fn check_parameters(
        &mut self,
        transform: &Transform,
        ends_in: Option<FieldType>,
        pointer: &str,
    ) {
        let long = |text: &str| text.chars().count() > TEXT_CHARS_MAX;
        let issue = match transform {
            Transform::Truncate(0) => Some("`truncate` to 0 characters leaves nothing".to_owned()),
            Transform::Map(words) if words.is_empty() => {
                Some("`map` lists no values, so every value would fail".to_owned())
            }
            Transform::Map(words) if words.len() > WORDS_MAX => {
                Some(format!("`map` lists at most {WORDS_MAX} values"))
            }
            Transform::Concat { with, .. } if with.is_empty() => {
                Some("`concat` names no further source field".to_owned())
            }
            Transform::Concat { with, .. } if with.len() > CONCAT_MAX => {
                Some(format!("`concat` names at most {CONCAT_MAX} further source fields"))
            }
            Transform::Concat { sep, .. } | Transform::Join { sep } | Transform::Split { sep }
                if sep.chars().count() > SEPARATOR_CHARS_MAX =>
            {
                Some(format!("a separator has at most {SEPARATOR_CHARS_MAX} characters"))
            }
            Transform::Round { places, .. } if *places > PLACES_MAX => {
                Some(format!("`round` keeps at most {PLACES_MAX} places"))
            }
            Transform::Split { sep } if sep.is_empty() => {
                Some("`split` needs a separator".to_owned())
            }
            Transform::Each { fields } if fields.is_empty() => {
                Some("`each` names no field, so every item would be empty".to_owned())
            }
            Transform::Each { fields } if fields.len() > EACH_FIELDS_MAX => {
                Some(format!("`each` makes at most {EACH_FIELDS_MAX} fields of an item"))
            }
            Transform::Pointer(path) if !path.is_empty() && !path.starts_with('/') => {
                Some("a JSON pointer begins with `/`".to_owned())
            }
            Transform::ParseDateAs(format) => transform::parse_issue(format),
            Transform::FormatDate(format) => transform::format_issue(format),
            Transform::ParseInstant { format, .. } => transform::instant_issue(format),
            Transform::Regex { pattern, .. } if long(pattern) => {
                Some(format!("a pattern has at most {TEXT_CHARS_MAX} characters"))
            }
            Transform::Const(text) | Transform::Default(text) if long(text) => {
                Some(format!("a text has at most {TEXT_CHARS_MAX} characters"))
            }
            // What a later step makes of it is not known here; the last word must be of the field's type.
            Transform::Const(text) | Transform::Default(text) => ends_in.and_then(|field_type| {
                let value = Value::Text(text.clone());
                let problem = normalize::type_problem(field_type, &value)?;
                Some(format!("the text given here {problem}"))
            }),
            _ => None,
        };
        if let Some(message) = issue {
            self.issue(pointer.to_owned(), message);
        }
    }
}

/// The types that what a transform gives can be of; none where that depends on the value.
fn gives(transform: &Transform) -> &'static [FieldType] {
    use FieldType::{Boolean, Date, Decimal, Email, Instant, Integer, Phone, Text};
    match transform {
        Transform::Lower | Transform::Upper => &[Text, Email, Boolean],
        Transform::Title
        | Transform::StripHtml
        | Transform::Truncate(_)
        | Transform::AddressPart(_)
        | Transform::Gender
        | Transform::Country
        | Transform::FormatDate(_) => &[Text],
        Transform::Concat { .. } | Transform::Join { .. } => &[Text, Email],
        Transform::Email => &[Email, Text],
        Transform::Phone { .. } => &[Phone, Text],
        Transform::DateOnly
        | Transform::ParseDate
        | Transform::ParseDateAs(_)
        | Transform::DateInZone(_) => &[Date, Text],
        Transform::ParseInstant { .. } => &[Instant, Text],
        Transform::ParseDecimal { .. } | Transform::Round { .. } => &[Decimal, Integer, Text],
        Transform::ParseInteger => &[Integer, Decimal, Text],
        Transform::ParseBoolean { .. } => &[Boolean],
        Transform::Trim
        | Transform::Map(_)
        | Transform::Default(_)
        | Transform::Const(_)
        | Transform::Regex { .. }
        | Transform::First
        | Transform::Pointer(_)
        | Transform::Split { .. }
        | Transform::Each { .. } => &[],
    }
}

/// The name as templates write it.
fn name(transform: &Transform) -> String {
    match serde_json::to_value(transform) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(object)) => object.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}
