//! From a template's words to a plan: every name looked up, every pattern built, everything that cannot work said.

use super::steps::{Chain, Shape, TEXT_CHARS_MAX};
use super::transform::Step;
use super::{Field, Issue, Mapper};
use crate::model::manifest::{EntitySpec, FieldSpec};
use crate::model::template::{EntityTemplate, FieldMapping, OnError, StatusMapping, Transform};
use crate::model::{FieldType, RecordStatus, Value};
use crate::normalize;
use regex::{Regex, RegexBuilder};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest compiled pattern; patterns come from plugins and from templates.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Sizes that a pattern of a template is tried with, one after another: each attempt costs so much.
const PATTERN_BYTES_TRIED: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, PATTERN_BYTES_MAX];
/// What the patterns of a template's entity may cost together.
const PATTERNS_BYTES_MAX: usize = 16 << 20;
const FIELDS_MAX: usize = 500;
const RULES_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 100;

/// How one local field is made.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) source: String,
    /// Further source fields of its `concat` steps.
    pub(super) further: Vec<String>,
    pub(super) steps: Vec<Step>,
    pub(super) on_error: OnError,
    pub(super) pattern: Option<Regex>,
}

/// How a row's status is read.
#[derive(Debug)]
pub(super) struct StatusPlan {
    pub(super) source: Arc<str>,
    pub(super) sensitive: bool,
    /// By word in lower case.
    pub(super) words: BTreeMap<String, RecordStatus>,
}

impl Mapper {
    /// Compiles a template for the rows of an entity. On failure every issue is listed, not only the first.
    pub fn compile(template: &EntityTemplate, spec: &EntitySpec) -> Result<Mapper, Vec<Issue>> {
        let mut compiler = Compiler { spec, issues: Vec::new(), patterns_left: PATTERNS_BYTES_MAX };
        let mut fields: Vec<Field> = Vec::new();
        let mut plans = Vec::new();
        for (at, mapping) in template.fields.iter().enumerate() {
            let pointer = format!("/fields/{at}");
            if at >= FIELDS_MAX {
                compiler.issue(pointer, format!("at most {FIELDS_MAX} fields"));
                break;
            }
            if !is_name(&mapping.target) {
                let message = format!(
                    "a target is a name of 1 to {NAME_CHARS_MAX} characters, without white space \
                     around it and without control characters"
                );
                compiler.issue(format!("{pointer}/target"), message);
            } else if fields.iter().any(|field| *field.name == *mapping.target) {
                let target = &mapping.target;
                compiler.issue(
                    format!("{pointer}/target"),
                    format!("`{target}` is already the target of another field"),
                );
            }
            let (field, plan) = compiler.field(mapping, &pointer);
            fields.push(field);
            plans.push(plan);
        }
        let match_rules = compiler.match_rules(&template.match_rules, &fields);
        let status = template.status.as_ref().map(|status| compiler.status(status));
        if !compiler.issues.is_empty() {
            return Err(compiler.issues);
        }
        let open = spec.fields.iter().filter(|field| !field.sensitive);
        Ok(Mapper {
            types: fields.iter().map(|field| field.field_type).collect(),
            fields,
            plans,
            match_rules,
            status,
            absent: spec.absent,
            open_sources: open.map(|field| field.name.clone()).collect(),
        })
    }
}

fn is_name(name: &str) -> bool {
    let chars = name.chars().count();
    (1..=NAME_CHARS_MAX).contains(&chars) && name.trim() == name && !name.contains(char::is_control)
}

pub(super) struct Compiler<'a> {
    spec: &'a EntitySpec,
    issues: Vec<Issue>,
    /// Bytes that further patterns may cost.
    patterns_left: usize,
}

impl<'a> Compiler<'a> {
    pub(super) fn issue(&mut self, pointer: String, message: impl Into<String>) {
        self.issues.push(Issue { pointer, message: message.into() });
    }

    pub(super) fn source(&mut self, name: &str, pointer: String) -> Option<&'a FieldSpec> {
        let found = self.spec.fields.iter().find(|field| field.name == name);
        if found.is_none() {
            let names = self.spec.fields.iter().map(|field| field.name.as_str());
            let nearest = names
                .map(|known| (strsim::damerau_levenshtein(known, name), known))
                .min()
                .filter(|(distance, known)| *distance <= known.len().div_ceil(3));
            let hint = nearest.map(|(_, known)| format!("; did you mean `{known}`?"));
            let entity = &self.spec.name;
            let hint = hint.unwrap_or_default();
            self.issue(pointer, format!("`{entity}` has no source field `{name}`{hint}"));
        }
        found
    }

    fn field(&mut self, mapping: &FieldMapping, pointer: &str) -> (Field, Plan) {
        let source = if mapping.source.is_empty() {
            self.check_computed(mapping, pointer);
            None
        } else {
            self.source(&mapping.source, format!("{pointer}/source"))
        };
        if let Some(source) = source
            && mapping.transforms.is_empty()
            && clash(source.field_type, mapping.field_type)
        {
            let (from, to) = (source.field_type.as_str(), mapping.field_type.as_str());
            let message = format!(
                "`{}` is of type {from}, which is never {to}: change the type, or add a transform",
                source.name
            );
            self.issue(format!("{pointer}/type"), message);
        }
        if let OnError::Default(text) = &mapping.on_error
            && let Some(problem) =
                normalize::type_problem(mapping.field_type, &Value::Text(text.clone()))
        {
            let message = format!("the text given here {problem}");
            self.issue(format!("{pointer}/onError/default"), message);
        }
        if let OnError::Default(text) = &mapping.on_error
            && text.chars().count() > TEXT_CHARS_MAX
        {
            let message = format!("a text has at most {TEXT_CHARS_MAX} characters");
            self.issue(format!("{pointer}/onError/default"), message);
        }
        let mut further: Vec<String> = Vec::new();
        let chain = Chain {
            pointer: &format!("{pointer}/transforms"),
            shape: match source.map(|source| source.field_type) {
                Some(FieldType::Json) => Shape::Nested,
                Some(_) => Shape::Plain,
                None => Shape::Unknown,
            },
            field_type: Some(mapping.field_type),
            depth: 0,
        };
        let steps = self.steps(&mapping.transforms, chain, &mut further);
        let is_sensitive = |name: &String| {
            self.spec.fields.iter().any(|field| field.sensitive && field.name == *name)
        };
        let sensitive =
            source.is_some_and(|source| source.sensitive) || further.iter().any(is_sensitive);
        let pattern = source.and_then(|source| source.pattern.as_deref());
        let field = Field {
            name: Arc::from(mapping.target.as_str()),
            field_type: mapping.field_type,
            required: mapping.required,
            sensitive,
        };
        let plan = Plan {
            source: mapping.source.clone(),
            further,
            steps,
            on_error: mapping.on_error.clone(),
            pattern: pattern.and_then(|pattern| self.pattern(pattern, pointer)),
        };
        (field, plan)
    }

    /// A pattern that a template brings; where there is none, why.
    pub(super) fn brought(&mut self, pattern: &str) -> Result<Regex, String> {
        for size in PATTERN_BYTES_TRIED {
            let Some(left) = self.patterns_left.checked_sub(size) else {
                self.patterns_left = 0;
                let kib = PATTERNS_BYTES_MAX >> 10;
                return Err(format!(
                    "the patterns of this entity take more than {kib} KiB together: use fewer, or \
                     shorter repetitions"
                ));
            };
            self.patterns_left = left;
            match RegexBuilder::new(pattern).size_limit(size).build() {
                Err(regex::Error::CompiledTooBig(_)) if size < PATTERN_BYTES_MAX => {}
                built => return built.map_err(unusable),
            }
        }
        Err(unusable(regex::Error::CompiledTooBig(PATTERN_BYTES_MAX)))
    }

    fn pattern(&mut self, pattern: &str, pointer: &str) -> Option<Regex> {
        match RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build() {
            Ok(regex) => Some(regex),
            Err(error) => {
                self.issue(
                    format!("{pointer}/source"),
                    format!("the pattern of this source field cannot be used: {error}"),
                );
                None
            }
        }
    }

    /// A field without a source is made by its transforms.
    fn check_computed(&mut self, mapping: &FieldMapping, pointer: &str) {
        let makes = |transform: &Transform| {
            matches!(
                transform,
                Transform::Const(_) | Transform::Default(_) | Transform::Concat { .. }
            )
        };
        if !mapping.transforms.iter().any(makes) {
            let message =
                "is missing: name a source field, or let `const` or `concat` make the value";
            self.issue(format!("{pointer}/source"), message);
        }
    }

    fn match_rules(&mut self, rules: &[Vec<String>], fields: &[Field]) -> Vec<Vec<usize>> {
        let mut compiled = Vec::new();
        if rules.len() > RULES_MAX {
            self.issue("/match".to_owned(), format!("at most {RULES_MAX} match rules"));
        }
        for (at, rule) in rules.iter().enumerate() {
            if rule.is_empty() {
                self.issue(format!("/match/{at}"), "a match rule names at least one target field");
            }
            let mut positions = Vec::new();
            for (part, name) in rule.iter().enumerate() {
                let pointer = format!("/match/{at}/{part}");
                match fields.iter().position(|field| *field.name == **name) {
                    Some(position) if positions.contains(&position) => {
                        self.issue(pointer, format!("`{name}` is named twice in this rule"))
                    }
                    Some(position) => positions.push(position),
                    None => self.issue(pointer, format!("no field has the target `{name}`")),
                }
            }
            compiled.push(positions);
        }
        compiled
    }

    fn status(&mut self, status: &StatusMapping) -> StatusPlan {
        let source = self.source(&status.source, "/status/source".to_owned());
        let mut words = BTreeMap::new();
        for word in &status.active {
            words.insert(word.trim().to_lowercase(), RecordStatus::Active);
        }
        for (at, word) in status.inactive.iter().enumerate() {
            let before = words.insert(word.trim().to_lowercase(), RecordStatus::Inactive);
            if before == Some(RecordStatus::Active) {
                self.issue(
                    format!("/status/inactive/{at}"),
                    format!("`{word}` is listed as active too"),
                );
            }
        }
        StatusPlan {
            source: Arc::from(status.source.as_str()),
            sensitive: source.is_some_and(|source| source.sensitive),
            words,
        }
    }
}

fn unusable(error: regex::Error) -> String {
    format!("is no pattern that can be used: {error}").replace('\n', " ")
}

/// Whether no value of one type is ever a value of the other.
fn clash(source: FieldType, target: FieldType) -> bool {
    use FieldType::{Boolean, Date, Decimal, Email, Instant, Integer, Json, Phone, Text};
    if target == Json {
        return false;
    }
    match source {
        // Text may hold anything.
        Text => false,
        Email => !matches!(target, Email | Text),
        Phone => !matches!(target, Phone | Text | Integer | Decimal),
        Date => !matches!(target, Date | Text),
        Instant => !matches!(target, Instant | Text),
        Decimal | Integer => matches!(target, Date | Instant | Email),
        Boolean => target != Boolean,
        Json => true,
    }
}
