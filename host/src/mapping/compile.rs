//! From a template's words to a plan: every name looked up, every pattern built, everything that cannot work said.

use super::transform::Step;
use super::{Field, Issue, Mapper};
use crate::model::manifest::{EntitySpec, FieldSpec};
use crate::model::template::{EntityTemplate, FieldMapping, OnError, StatusMapping, Transform};
use crate::model::{FieldType, RecordStatus, Value};
use crate::normalize;
use regex::{Regex, RegexBuilder};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest compiled pattern; patterns come from plugins.
const PATTERN_BYTES_MAX: usize = 1 << 20;

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
        let mut compiler = Compiler { spec, issues: Vec::new() };
        let mut fields: Vec<Field> = Vec::new();
        let mut plans = Vec::new();
        for (at, mapping) in template.fields.iter().enumerate() {
            let pointer = format!("/fields/{at}");
            if mapping.target.trim().is_empty() {
                compiler.issue(format!("{pointer}/target"), "the target has no name");
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

struct Compiler<'a> {
    spec: &'a EntitySpec,
    issues: Vec<Issue>,
}

impl<'a> Compiler<'a> {
    fn issue(&mut self, pointer: String, message: impl Into<String>) {
        self.issues.push(Issue { pointer, message: message.into() });
    }

    fn source(&mut self, name: &str, pointer: String) -> Option<&'a FieldSpec> {
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
        let source = self.source(&mapping.source, format!("{pointer}/source"));
        let mut sensitive = source.is_some_and(|source| source.sensitive);
        let mut further: Vec<String> = Vec::new();
        let mut steps = Vec::new();
        for (at, transform) in mapping.transforms.iter().enumerate() {
            let pointer = format!("{pointer}/transforms/{at}");
            self.transform(transform, mapping, &pointer);
            steps.push(match transform {
                Transform::Concat { with, sep } => {
                    let mut positions = Vec::new();
                    for (part, name) in with.iter().enumerate() {
                        let source = self.source(name, format!("{pointer}/concat/with/{part}"));
                        sensitive |= source.is_some_and(|source| source.sensitive);
                        positions.push(further.len());
                        further.push(name.clone());
                    }
                    Step::Concat { with: positions, sep: sep.clone() }
                }
                Transform::Map(words) => Step::Map(self.words(words, &pointer)),
                plain => Step::Plain(plain.clone()),
            });
        }
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
            on_error: mapping.on_error,
            pattern: pattern.and_then(|pattern| self.pattern(pattern, pointer)),
        };
        (field, plan)
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

    /// Says where a transform cannot work on a field of this type.
    fn transform(&mut self, transform: &Transform, mapping: &FieldMapping, pointer: &str) {
        use FieldType::{Boolean, Date, Decimal, Email, Instant, Integer, Json, Phone, Text};
        let field_type = mapping.field_type;
        let (name, fits) = match transform {
            Transform::Trim | Transform::Default(_) | Transform::Const(_) | Transform::Map(_) => {
                ("", true)
            }
            Transform::Lower => ("lower", matches!(field_type, Text | Email | Boolean)),
            Transform::Upper => ("upper", matches!(field_type, Text | Email | Boolean)),
            Transform::DateOnly => ("dateOnly", matches!(field_type, Date | Text)),
            Transform::ParseDate => ("parseDate", matches!(field_type, Date | Text)),
            Transform::Truncate(_) => ("truncate", matches!(field_type, Text)),
            Transform::Concat { .. } => (
                "concat",
                !matches!(field_type, Date | Instant | Decimal | Integer | Boolean | Json | Phone),
            ),
        };
        if !fits {
            let kind = field_type.as_str();
            self.issue(
                pointer.to_owned(),
                format!("`{name}` cannot apply to a field of type {kind}"),
            );
        }
        match transform {
            Transform::Truncate(0) => {
                self.issue(pointer.to_owned(), "`truncate` to 0 characters leaves nothing")
            }
            Transform::Map(words) if words.is_empty() => {
                self.issue(pointer.to_owned(), "`map` lists no values, so every value would fail")
            }
            Transform::Concat { with, .. } if with.is_empty() => {
                self.issue(pointer.to_owned(), "`concat` names no further source field")
            }
            // What a later step makes of it is not known here; the last word must be of the field's type.
            Transform::Const(text) | Transform::Default(text)
                if mapping.transforms.last() == Some(transform) =>
            {
                let value = Value::Text(text.clone());
                if let Some(problem) = normalize::type_problem(field_type, &value) {
                    self.issue(pointer.to_owned(), format!("the text given here {problem}"));
                }
            }
            _ => {}
        }
    }

    fn match_rules(&mut self, rules: &[Vec<String>], fields: &[Field]) -> Vec<Vec<usize>> {
        let mut compiled = Vec::new();
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
