//! A mapper bound to the field names of one page: positions are looked up once, then rows pass without a search.

use super::compile::Plan;
use super::{Field, Given, Invalid, Mapped, Mapper, Reason, Warning, transform};
use crate::model::manifest::AbsentMeans;
use crate::model::rows::PackedRow;
use crate::model::template::OnError;
use crate::model::{Cell, FieldType, RecordStatus, Value};
use crate::normalize;
use std::borrow::Cow;
use std::sync::Arc;

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

/// What the rows of a page use one after the other instead of asking for memory.
#[derive(Default)]
pub struct Room<'r> {
    cells: Vec<Cell<'r>>,
    values: Vec<Given<'r>>,
}

impl<'r> Room<'r> {
    /// Takes back what a row that is done with was given.
    pub fn reuse(&mut self, mapped: Mapped<'r>) {
        self.values = mapped.values;
    }
}

#[derive(Debug)]
struct Source {
    /// Where the page has the field; none if the page lacks it.
    at: Option<usize>,
    further: Vec<Option<usize>>,
}

impl Mapper {
    /// Looks up where a page keeps the sources. A source that the page lacks is absent in all its rows.
    pub fn bind<'a>(&'a self, page_fields: &'a [String]) -> Bound<'a> {
        let find = |name: &str| page_fields.iter().position(|field| field == name);
        let source = |plan: &Plan| Source {
            at: find(&plan.source),
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
struct Progress<'r> {
    values: Vec<Given<'r>>,
    warnings: Vec<Warning>,
    reasons: Vec<Reason>,
}

/// What becomes of a value with a problem.
enum Verdict {
    Keep,
    Replace,
    LeaveOut,
    Invalid,
}

impl Bound<'_> {
    /// Maps one row. Text is only written anew where a transform changes it.
    pub fn map<'r>(&self, row: PackedRow<'r>, room: &mut Room<'r>) -> Result<Mapped<'r>, Invalid> {
        let fields = &self.mapper.fields;
        let Room { cells, values } = room;
        cells.clear();
        cells.extend(row.values());
        if row.id().trim().is_empty() {
            let reason = Reason {
                field: Arc::from(""),
                code: "missingId",
                message: "the row has no id".to_owned(),
            };
            return Err(self.invalid(row, vec![reason], cells));
        }
        if row.is_deleted() {
            let values = vec![Given::AsIs(Cell::Absent); fields.len()];
            return Ok(mapped(row, Some(RecordStatus::Inactive), values, Vec::new()));
        }
        let mut progress = Progress { values: std::mem::take(values), ..Progress::default() };
        progress.values.clear();
        progress.values.reserve(fields.len());
        let status = self.status(cells, &mut progress.warnings);
        for ((field, plan), source) in fields.iter().zip(&self.mapper.plans).zip(&self.sources) {
            self.field(field, plan, source, cells, &mut progress);
        }
        if progress.reasons.is_empty() {
            return Ok(mapped(row, status, progress.values, progress.warnings));
        }
        Err(self.invalid(row, progress.reasons, cells))
    }

    fn invalid(&self, row: PackedRow<'_>, reasons: Vec<Reason>, cells: &[Cell<'_>]) -> Invalid {
        Invalid { external_id: row.id().to_owned(), reasons, payload: self.payload(cells) }
    }

    fn field<'r>(
        &self,
        field: &Field,
        plan: &Plan,
        source: &Source,
        row: &[Cell<'r>],
        progress: &mut Progress<'r>,
    ) {
        let cell = |at: Option<usize>| at.and_then(|at| row.get(at)).copied().unwrap_or_default();
        let came = cell(source.at);
        let further = |at: usize| cell(source.further.get(at).copied().flatten());
        let (made, failed) = match transform::run(&plan.steps, came, &further) {
            Ok(made) => (made, None),
            Err(problem) => (None, Some(("transform", problem))),
        };
        let value = made.as_ref().map_or(came, Cell::from);
        let problem = failed.or_else(|| problem(field.field_type, value));
        let pattern_fails =
            || plan.pattern.as_ref().is_some_and(|pattern| !matches_pattern(pattern, came));
        if problem.is_none() && pattern_fails() {
            let message = "is not of the form that the connector describes".to_owned();
            let code = "pattern";
            progress.warnings.push(Warning { field: Arc::clone(&field.name), code, message });
        }
        let left_out = match problem {
            Some((code, message)) => progress.judge(field, &plan.on_error, code, message),
            None => false,
        };
        let made = match (&plan.on_error, problem) {
            (OnError::Default(text), Some(_)) => Some(Value::Text(text.clone())),
            _ => made,
        };
        let value = made.as_ref().map_or(came, Cell::from);
        // A reason given already says enough about this field.
        let judged = problem.is_some() && progress.is_blamed(field);
        if field.required && !judged && (left_out || value.is_blank()) {
            let message = "is required and blank".to_owned();
            let code = "required";
            progress.reasons.push(Reason { field: Arc::clone(&field.name), code, message });
        }
        let absent = match self.mapper.absent {
            AbsentMeans::Unknown => Cell::Absent,
            AbsentMeans::Null => Cell::Null,
        };
        progress.values.push(match (made, left_out) {
            (_, true) => Given::AsIs(Cell::Absent),
            (Some(made), false) => Given::Made(made),
            (None, false) if came == Cell::Absent => Given::AsIs(absent),
            (None, false) => Given::AsIs(came),
        });
    }

    /// The row by field name. What is sensitive, and what the connector did not declare, is redacted.
    fn payload(&self, row: &[Cell<'_>]) -> serde_json::Value {
        let shown = |(at, (name, open)): (usize, &(&str, bool))| {
            let value = row.get(at).filter(|value| **value != Cell::Absent)?.to_value();
            let shown = if *open { value.to_json() } else { serde_json::Value::from(REDACTED) };
            Some(((*name).to_owned(), shown))
        };
        serde_json::Value::Object(self.columns.iter().enumerate().filter_map(shown).collect())
    }

    fn status(&self, row: &[Cell<'_>], warnings: &mut Vec<Warning>) -> Option<RecordStatus> {
        let plan = self.mapper.status.as_ref()?;
        let value = row.get(self.status_at?).filter(|value| !value.is_blank())?;
        let word = match value {
            Cell::Text(text) => Cow::Borrowed(text.trim()),
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

impl Progress<'_> {
    /// Records a problem; true if the value is to be left out.
    fn judge(
        &mut self,
        field: &Field,
        on_error: &OnError,
        code: &'static str,
        message: &str,
    ) -> bool {
        let doubtful = matches!(code, "email" | "phone");
        let verdict = match on_error {
            OnError::Fail => Verdict::Invalid,
            OnError::Skip => Verdict::LeaveOut,
            OnError::Default(_) => Verdict::Replace,
            OnError::Keep if field.required && !doubtful => Verdict::Invalid,
            OnError::Keep => Verdict::Keep,
        };
        let (name, message) = (Arc::clone(&field.name), message.to_owned());
        match verdict {
            Verdict::Invalid => self.reasons.push(Reason { field: name, code, message }),
            Verdict::Keep => self.warnings.push(Warning { field: name, code, message }),
            Verdict::Replace => {
                let message = format!("{message}; the template's own text took its place");
                self.warnings.push(Warning { field: name, code, message });
            }
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
fn problem(field_type: FieldType, value: Cell<'_>) -> Option<(&'static str, &'static str)> {
    if let Some(message) = normalize::type_problem(field_type, value) {
        return Some(("type", message));
    }
    let Cell::Text(text) = value else {
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
fn matches_pattern(pattern: &regex::Regex, value: Cell<'_>) -> bool {
    match value {
        Cell::Text(text) => text.trim().is_empty() || pattern.is_match(text.trim()),
        Cell::Int(number) => pattern.is_match(&number.to_string()),
        Cell::Absent | Cell::Null | Cell::Bool(_) | Cell::Json(_) => true,
    }
}

fn mapped<'r>(
    row: PackedRow<'r>,
    status: Option<RecordStatus>,
    values: Vec<Given<'r>>,
    mut warnings: Vec<Warning>,
) -> Mapped<'r> {
    // Spaces around an id are nobody's intention, and two systems seldom agree on them.
    let alias = |(kind, id): (&'r str, Cell<'r>)| match id {
        Cell::Text(id) => Some((kind, id.trim())).filter(|(_, id)| !id.is_empty()),
        _ => None,
    };
    let said = row.updated_at().filter(|time| !time.trim().is_empty());
    let updated_at = said.and_then(|time| normalize::time::instant(time.trim()));
    if said.is_some() && updated_at.is_none() {
        warnings.push(Warning {
            field: Arc::from(""),
            code: "updatedAt",
            message: "the time of its last change is not an RFC 3339 time with an offset, and \
                      counts for nothing"
                .to_owned(),
        });
    }
    Mapped {
        external_id: row.id(),
        aliases: row.aliases().filter_map(alias).collect(),
        updated_at: updated_at.map(|time| time.as_millisecond()),
        version: row.version(),
        deleted: row.is_deleted(),
        status,
        values,
        warnings,
    }
}
