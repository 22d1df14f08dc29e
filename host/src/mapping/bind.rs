//! A mapper bound to the field names of one page: positions are looked up once, then rows pass without a search.

use super::compile::Plan;
use super::{Field, Invalid, Mapped, Mapper, Reason, Warning, transform};
use crate::model::manifest::AbsentMeans;
use crate::model::template::OnError;
use crate::model::{FieldType, RecordStatus, RemoteRow, Value};
use crate::normalize;
use std::borrow::Cow;
use std::sync::Arc;

const ABSENT: &Value = &Value::Absent;
const REDACTED: &str = "[redacted]";
/// How much of an unknown word a warning repeats.
const WORD_CHARS_MAX: usize = 40;

/// A mapper that knows where a page keeps its fields.
#[derive(Debug)]
pub struct Bound<'a> {
    mapper: &'a Mapper,
    /// By position of the local fields.
    sources: Vec<Source>,
    status_at: Option<usize>,
    /// The page's field names, and whether their values may be shown.
    columns: Vec<(&'a str, bool)>,
}

#[derive(Debug)]
struct Source {
    /// Where the page has the field; none if the page lacks it.
    at: Option<usize>,
    /// Nothing else reads it, so that the value can be moved out of the row.
    sole: bool,
    further: Vec<Option<usize>>,
}

impl Mapper {
    /// Looks up where a page keeps the sources. A source that the page lacks is absent in all its rows.
    pub fn bind<'a>(&'a self, page_fields: &'a [String]) -> Bound<'a> {
        let find = |name: &str| page_fields.iter().position(|field| field == name);
        let uses = |name: &str| {
            let of_plan = |plan: &Plan| {
                usize::from(plan.source == name)
                    + plan.further.iter().filter(|further| *further == name).count()
            };
            self.plans.iter().map(of_plan).sum::<usize>()
        };
        let source = |plan: &Plan| Source {
            at: find(&plan.source),
            sole: uses(&plan.source) == 1,
            further: plan.further.iter().map(|name| find(name)).collect(),
        };
        let column = |name: &'a String| (name.as_str(), self.open_sources.contains(name));
        Bound {
            mapper: self,
            sources: self.plans.iter().map(source).collect(),
            status_at: self.status.as_ref().and_then(|status| find(&status.source)),
            columns: page_fields.iter().map(column).collect(),
        }
    }
}

/// What a row says of itself on its way through the fields.
#[derive(Default)]
struct Progress {
    values: Vec<Value>,
    /// Values that are no longer in the row and not in `values` as they were: (column, value as it came).
    replaced: Vec<(usize, Value)>,
    warnings: Vec<Warning>,
    reasons: Vec<Reason>,
}

/// What becomes of a value with a problem.
enum Verdict {
    Keep,
    LeaveOut,
    Invalid,
}

impl Bound<'_> {
    /// Maps one row. Values move; text is only written anew where a transform changes it.
    pub fn map(&self, mut row: RemoteRow) -> Result<Mapped, Invalid> {
        let fields = &self.mapper.fields;
        if row.id.trim().is_empty() {
            let reason = Reason {
                field: Arc::from(""),
                code: "missingId",
                message: "the row has no id".to_owned(),
            };
            let payload = self.payload(&row.values);
            return Err(Invalid { external_id: row.id, reasons: vec![reason], payload });
        }
        if row.deleted {
            let values = vec![Value::Absent; fields.len()];
            return Ok(mapped(row, Some(RecordStatus::Inactive), values, Vec::new()));
        }
        let mut progress =
            Progress { values: Vec::with_capacity(fields.len()), ..Progress::default() };
        let status = self.status(&row.values, &mut progress.warnings);
        for ((field, plan), source) in fields.iter().zip(&self.mapper.plans).zip(&self.sources) {
            self.field(field, plan, source, &mut row.values, &mut progress);
        }
        if progress.reasons.is_empty() {
            return Ok(mapped(row, status, progress.values, progress.warnings));
        }
        self.restore(&mut row.values, &mut progress);
        let payload = self.payload(&row.values);
        Err(Invalid { external_id: row.id, reasons: progress.reasons, payload })
    }

    fn field(
        &self,
        field: &Field,
        plan: &Plan,
        source: &Source,
        row: &mut [Value],
        progress: &mut Progress,
    ) {
        let taken = match source.at.and_then(|at| row.get_mut(at)) {
            Some(value) if source.sole => std::mem::take(value),
            Some(value) => value.clone(),
            None => Value::Absent,
        };
        let (transformed, failed) = if plan.steps.is_empty() {
            (None, None)
        } else {
            let further = |at: usize| {
                let column = source.further.get(at).copied().flatten();
                column.and_then(|column| row.get(column)).unwrap_or(ABSENT)
            };
            match transform::run(&plan.steps, &taken, further) {
                Ok(Cow::Owned(value)) => (Some(value), None),
                Ok(Cow::Borrowed(_)) => (None, None),
                Err(problem) => (None, Some(("transform", problem))),
            }
        };
        let value = transformed.as_ref().unwrap_or(&taken);
        let problem = failed.or_else(|| problem(field.field_type, value));
        let pattern_fails =
            || plan.pattern.as_ref().is_some_and(|pattern| !matches_pattern(pattern, &taken));
        if problem.is_none() && pattern_fails() {
            let message = "is not of the form that the connector describes".to_owned();
            let code = "pattern";
            progress.warnings.push(Warning { field: Arc::clone(&field.name), code, message });
        }
        let left_out = match problem {
            Some((code, message)) => progress.judge(field, plan.on_error, code, message),
            None => false,
        };
        // A reason given already says enough about this field.
        let judged = problem.is_some() && progress.is_blamed(field);
        if field.required && !judged && (left_out || value.is_blank()) {
            let message = "is required and blank".to_owned();
            let code = "required";
            progress.reasons.push(Reason { field: Arc::clone(&field.name), code, message });
        }
        let absent = match self.mapper.absent {
            AbsentMeans::Unknown => Value::Absent,
            AbsentMeans::Null => Value::Null,
        };
        let (stays, goes) = match (transformed, left_out) {
            (_, true) => (Value::Absent, Some(taken)),
            (Some(transformed), false) => (transformed, Some(taken)),
            (None, false) if matches!(taken, Value::Absent) => (absent, None),
            (None, false) => (taken, None),
        };
        progress.values.push(stays);
        if let (true, Some(at), Some(goes)) = (source.sole, source.at, goes) {
            progress.replaced.push((at, goes));
        }
    }

    /// Puts back what was moved out of the row.
    fn restore(&self, row: &mut [Value], progress: &mut Progress) {
        for (source, value) in self.sources.iter().zip(progress.values.drain(..)) {
            if let (true, Some(place)) = (source.sole, source.at.and_then(|at| row.get_mut(at))) {
                *place = value;
            }
        }
        for (at, value) in progress.replaced.drain(..) {
            if let Some(place) = row.get_mut(at) {
                *place = value;
            }
        }
    }

    /// The row by field name. What is sensitive, and what the connector did not declare, is redacted.
    fn payload(&self, row: &[Value]) -> serde_json::Value {
        let shown = |(at, (name, open)): (usize, &(&str, bool))| {
            let value = row.get(at).filter(|value| !matches!(value, Value::Absent))?;
            let shown = if *open { value.to_json() } else { serde_json::Value::from(REDACTED) };
            Some(((*name).to_owned(), shown))
        };
        serde_json::Value::Object(self.columns.iter().enumerate().filter_map(shown).collect())
    }

    fn status(&self, row: &[Value], warnings: &mut Vec<Warning>) -> Option<RecordStatus> {
        let plan = self.mapper.status.as_ref()?;
        let value = row.get(self.status_at?).filter(|value| !value.is_blank())?;
        let word = match value {
            Value::Text(text) => Cow::Borrowed(text.trim()),
            other => Cow::Owned(other.display()),
        };
        if let Some(status) = plan.words.get(&*word) {
            return Some(*status);
        }
        if let Some(status) = plan.words.get(&word.to_lowercase()) {
            return Some(*status);
        }
        let shown: String = match plan.sensitive {
            true => REDACTED.to_owned(),
            false => word.chars().take(WORD_CHARS_MAX).collect(),
        };
        warnings.push(Warning {
            field: Arc::clone(&plan.source),
            code: "unknownStatus",
            message: format!(
                "the status `{shown}` is not in the template; the record keeps its status"
            ),
        });
        None
    }
}

impl Progress {
    /// Records a problem; true if the value is to be left out.
    fn judge(
        &mut self,
        field: &Field,
        on_error: OnError,
        code: &'static str,
        message: &str,
    ) -> bool {
        let doubtful = matches!(code, "email" | "phone");
        let verdict = match on_error {
            OnError::Fail => Verdict::Invalid,
            OnError::Skip => Verdict::LeaveOut,
            OnError::Keep if field.required && !doubtful => Verdict::Invalid,
            OnError::Keep => Verdict::Keep,
        };
        let (name, message) = (Arc::clone(&field.name), message.to_owned());
        match verdict {
            Verdict::Invalid => self.reasons.push(Reason { field: name, code, message }),
            Verdict::Keep => self.warnings.push(Warning { field: name, code, message }),
            Verdict::LeaveOut => {
                let message = format!("{message}; it was left out");
                self.warnings.push(Warning { field: name, code, message });
            }
        }
        matches!(verdict, Verdict::LeaveOut)
    }

    fn is_blamed(&self, field: &Field) -> bool {
        self.reasons.last().is_some_and(|reason| Arc::ptr_eq(&reason.field, &field.name))
    }
}

/// What is wrong with a value in a field of this type: (code, words). Looks at characters only.
fn problem(field_type: FieldType, value: &Value) -> Option<(&'static str, &'static str)> {
    if let Some(message) = normalize::type_problem(field_type, value) {
        return Some(("type", message));
    }
    let Value::Text(text) = value else {
        return None;
    };
    match field_type {
        FieldType::Email if !text.trim().is_empty() && !normalize::is_email(text) => {
            Some(("email", "does not look like an e-mail address"))
        }
        FieldType::Phone if !text.trim().is_empty() && !normalize::is_phone(text) => {
            Some(("phone", "does not look like a phone number"))
        }
        _ => None,
    }
}

/// Patterns describe the remote's form, so they look at the value as it came.
fn matches_pattern(pattern: &regex::Regex, value: &Value) -> bool {
    match value {
        Value::Text(text) => text.trim().is_empty() || pattern.is_match(text.trim()),
        Value::Int(number) => pattern.is_match(&number.to_string()),
        Value::Absent | Value::Null | Value::Bool(_) | Value::Json(_) => true,
    }
}

fn mapped(
    row: RemoteRow,
    status: Option<RecordStatus>,
    values: Vec<Value>,
    warnings: Vec<Warning>,
) -> Mapped {
    Mapped {
        external_id: row.id,
        aliases: row.aliases,
        updated_at: row.updated_at,
        version: row.version,
        deleted: row.deleted,
        status,
        values,
        warnings,
    }
}
