//! `/organizations/{org}/records/{id}/why`: why a value is what it is, field by field, in one answer.
//!
//! Reads the timeline, the last decision about the field and what the links hold now, and says it in a sentence. What is
//! kept no longer is said to be gone rather than guessed.

use super::paging::{Parameters, Query};
use super::problem::Problem;
use super::records::{author, find, run_of};
use super::{Api, organizations, schema};
use crate::clock;
use crate::commit;
use crate::model::record::FieldMeta;
use crate::model::{ModifiedBy, OrgNo, Record, RunId, Value as Field};
use crate::store::decisions::{self, Decided};
use crate::store::records::{self as rows, Cause, ChangeKind, FieldHistory, HistoryEntry};
use crate::store::{Read, Store, directory, links, runs};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// Entries of the timeline that are looked through for the one that set a field.
const ENTRIES_SEEN_MAX: usize = 10_000;
/// Of a value in a sentence, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// Why the fields of a record are what they are.
///
/// Each with who set it and when, what the sides held then, which strategy or person decided, and what the links hold
/// as agreed now; `explanation` says it in words.
#[utoipa::path(
    get, path = "/organizations/{org}/records/{id}/why", tag = "records", operation_id = "why",
    params(schema::WhyFilter),
    responses((status = 200, body = schema::Why))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &["field"])?;
    api.read(move |read, store| {
        let organization = organizations::find(read, &org)?;
        let record = find(read, store, organization.no, &id)?;
        let named: Vec<usize> = match query.get("field") {
            None => (0..record.shape.len())
                .filter(|at| record.values.get(*at).is_some_and(|value| *value != Field::Absent))
                .collect(),
            Some(name) => vec![record.position(name).ok_or_else(|| unknown(&record, name))?],
        };
        let sought = Sought { read, store, org: organization.no, record: &record };
        let fields = named.into_iter().map(|at| sought.why(at));
        Ok(Json(json!({
            "recordId": record.id,
            "entity": &*record.entity,
            "status": record.status,
            "version": record.version,
            "fields": fields.collect::<Result<Vec<_>, _>>()?,
        })))
    })
    .await
}

fn unknown(record: &Record, name: &str) -> Problem {
    let known = record.shape.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
    Problem::invalid_at("?field", format!("the record has no field {name:?}; it has {known}"))
}

struct Sought<'a> {
    read: &'a dyn Read,
    store: &'a Store,
    org: OrgNo,
    record: &'a Record,
}

/// How a field came to its value.
#[derive(Debug)]
enum Way<'a> {
    /// With the record itself.
    Created,
    /// By an entry of the timeline.
    Set(&'a HistoryEntry, &'a FieldHistory),
    /// By one that is kept no longer.
    Gone,
}

impl Way<'_> {
    fn as_str(&self) -> &'static str {
        match self {
            Way::Created => "created",
            Way::Gone => "unknown",
            Way::Set(entry, field) => match (&entry.by, entry.cause) {
                (_, Some(Cause::Undo(_))) => "undo",
                (_, Some(Cause::Conflict(_))) => "decision",
                (ModifiedBy::Run(_), None) if field.strategy.is_some() => "conflict",
                (ModifiedBy::Run(_), None) if entry.kind == ChangeKind::Linked => "linked",
                (ModifiedBy::Run(_), None) => "remote",
                (ModifiedBy::Person(_) | ModifiedBy::Machine(_), None) => "edit",
            },
        }
    }
}

impl Sought<'_> {
    fn why(&self, position: usize) -> Result<Value, Problem> {
        let record = self.record;
        let name = record.shape.get(position).cloned().unwrap_or_default();
        let value = record.value(&name);
        let meta = record.meta_of(position);
        let entry = self.entry(&name, meta)?;
        let way = match &entry {
            Some((entry, field)) => Way::Set(entry, field),
            None if *meta == record.created => Way::Created,
            None => Way::Gone,
        };
        let decided = decisions::last(self.read, self.org, record.id, &name)?;
        let values = values(&way, decided.as_ref(), value);
        let by = self.actor(&meta.modified_by)?;
        let later = decided.as_ref().and_then(|decided| kept_since(decided, &way));
        let explanation = explain(&name, value, (&way, &values), (&by, meta), later.as_deref());
        Ok(json!({
            "field": &*name,
            "value": value.to_json(),
            "way": way.as_str(),
            "setAt": clock::to_text(meta.modified_at),
            "setBy": author(&meta.modified_by),
            "runId": run_of(&meta.modified_by),
            "runKept": self.run_kept(&meta.modified_by)?,
            "undoOf": match way {
                Way::Set(HistoryEntry { cause: Some(Cause::Undo(run)), .. }, _) => Some(run),
                _ => None,
            },
            "before": values.before.map(Field::to_json),
            "base": values.base.map(Field::to_json),
            "remote": values.remote.map(Field::to_json),
            "local": values.local.map(Field::to_json),
            "decision": decided.as_ref().map(decision),
            "agreed": self.agreed(position)?,
            "explanation": explanation,
        }))
    }

    /// The entry of the timeline that set a field last.
    fn entry(
        &self,
        name: &str,
        meta: &FieldMeta,
    ) -> Result<Option<(HistoryEntry, FieldHistory)>, Problem> {
        let (mut found, mut seen) = (None, 0);
        rows::scan_history(self.read, self.org, self.record.id, None, &mut |entry| {
            seen += 1;
            if entry.at < meta.modified_at || seen > ENTRIES_SEEN_MAX {
                return ControlFlow::Break(());
            }
            let field = entry.fields.iter().find(|field| field.field == name).cloned();
            found = field.map(|field| (entry, field));
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// Who set it, for a sentence: a run goes by its connector.
    fn actor(&self, by: &ModifiedBy) -> Result<String, Problem> {
        let ModifiedBy::Run(id) = by else { return Ok(commit::name_of(by)) };
        let Some(run) = runs::get(self.read, *id)? else { return Ok(id.to_string()) };
        let connector = directory::connector(self.read, run.connector)?;
        Ok(match connector {
            Some(connector) => format!("{id} (a sync with {})", connector.name),
            None => id.to_string(),
        })
    }

    fn run_kept(&self, by: &ModifiedBy) -> Result<Option<bool>, Problem> {
        match by {
            ModifiedBy::Run(id) => Ok(Some(runs::get(self.read, *id)?.is_some())),
            ModifiedBy::Person(_) | ModifiedBy::Machine(_) => Ok(None),
        }
    }

    /// What each connection holds as agreed with its side, now.
    fn agreed(&self, position: usize) -> Result<Vec<Value>, Problem> {
        let (record, mut rows) = (self.record, Vec::new());
        for known in &record.links {
            let entity = record.id.entity();
            let link =
                links::get(self.read, self.org, known.connection, entity, &known.external_id)?;
            let Some(link) = link else { continue };
            let shape = self.store.shapes().get(link.fields)?;
            let base = link.base(&shape, record, position);
            let connection = directory::connection(self.read, self.org, known.connection)?;
            rows.push(json!({
                "connectionId": known.connection,
                "connectorId": connection.map(|connection| connection.connector_id),
                "externalId": known.external_id,
                "base": base.map(Field::to_json),
            }));
        }
        Ok(rows)
    }
}

/// What the sides held when the value was set.
#[derive(Debug, Default)]
struct Values<'a> {
    before: Option<&'a Field>,
    base: Option<&'a Field>,
    remote: Option<&'a Field>,
    local: Option<&'a Field>,
}

fn values<'a>(way: &Way<'a>, decided: Option<&'a Decided>, value: &'a Field) -> Values<'a> {
    match (way, decided) {
        (Way::Set(entry, field), Some(Decided::ByRun(run, line)))
            if entry.by == ModifiedBy::Run(*run) && field.strategy.is_some() =>
        {
            let (base, remote, local) = (Some(&line.base), Some(&line.remote), Some(&line.local));
            Values { before: Some(&field.before), base, remote, local }
        }
        (Way::Set(entry, field), Some(Decided::ByPerson(item)))
            if entry.cause == Some(Cause::Conflict(item.id)) =>
        {
            let (base, remote) = (Some(&item.base), Some(&item.remote));
            Values { before: Some(&field.before), base, remote, local: Some(&item.local) }
        }
        // Only the other side had changed it: what both had agreed on was what stood here.
        (Way::Set(_, field), _) if way.as_str() == "remote" => {
            let before = Some(&field.before);
            Values { before, base: before, remote: Some(&field.after), local: before }
        }
        (Way::Set(_, field), _) => Values { before: Some(&field.before), ..Values::default() },
        (Way::Created, _) => Values { remote: Some(value), ..Values::default() },
        (Way::Gone, _) => Values::default(),
    }
}

/// The last conflict about the field, as it ended.
fn decision(decided: &Decided) -> Value {
    match decided {
        Decided::ByRun(run, line) => json!({
            "runId": run,
            "conflictId": null,
            "strategy": line.strategy,
            "note": line.note,
            "baseValue": line.base.to_json(),
            "remoteValue": line.remote.to_json(),
            "localValue": line.local.to_json(),
            "resolvedValue": line.resolved.as_ref().map(Field::to_json),
            "held": line.resolved.is_none(),
            "choice": null,
            "by": null,
        }),
        Decided::ByPerson(item) => json!({
            "runId": item.last_run,
            "conflictId": item.id,
            "strategy": item.strategy,
            "note": item.note,
            "baseValue": item.base.to_json(),
            "remoteValue": item.remote.to_json(),
            "localValue": item.local.to_json(),
            "resolvedValue": item.resolution.as_ref().map(|end| end.value.to_json()),
            "held": item.resolution.is_none(),
            "choice": item.resolution.as_ref().map(|end| &end.choice),
            "by": item.resolution.as_ref().map(|end| &end.by),
        }),
    }
}

/// A conflict that came after the value was set and left it as it was, in a sentence.
fn kept_since(decided: &Decided, way: &Way<'_>) -> Option<String> {
    let set_by = match way {
        Way::Set(entry, _) => Some((&entry.by, entry.cause)),
        Way::Created | Way::Gone => None,
    };
    match decided {
        Decided::ByRun(run, _) if set_by.is_some_and(|(by, _)| *by == ModifiedBy::Run(*run)) => {
            None
        }
        Decided::ByPerson(item)
            if set_by.is_some_and(|(_, cause)| cause == Some(Cause::Conflict(item.id))) =>
        {
            None
        }
        Decided::ByRun(run, line) => Some(match &line.resolved {
            None => format!(
                "In {run} it was in conflict with {} on the other side, and waits for a person to decide.",
                quoted(&line.remote)
            ),
            Some(_) => format!(
                "In {run} it was in conflict with {} on the other side, and the strategy {} decided.",
                quoted(&line.remote),
                line.strategy
            ),
        }),
        Decided::ByPerson(item) => item.resolution.as_ref().map(|end| {
            format!(
                "{} decided the conflict {} with {} on the other side: {}.",
                end.by,
                item.id,
                quoted(&item.remote),
                end.choice
            )
        }),
    }
}

/// The whole story of a value, for people.
fn explain(
    name: &str,
    value: &Field,
    (way, values): (&Way<'_>, &Values<'_>),
    (by, meta): (&str, &FieldMeta),
    later: Option<&str>,
) -> String {
    let at = clock::to_text(meta.modified_at);
    let value = quoted(value);
    let of = |value: Option<&Field>| value.map_or_else(|| "nothing".to_owned(), quoted);
    let (before, base, remote, local) =
        (of(values.before), of(values.base), of(values.remote), of(values.local));
    let story = match way {
        Way::Created => format!("It came with the record, which {by} created on {at}."),
        Way::Gone => format!("{by} set it on {at}; what it was before is kept no longer."),
        Way::Set(entry, field) => match way.as_str() {
            "undo" => {
                let run = undone(entry.cause);
                format!(
                    "{by} undid {run} on {at}, which put back what it was before: it had been {before}."
                )
            }
            "decision" => format!(
                "Both sides had changed it since they agreed on {base}: the other side said {remote}, here it said \
                 {local}. {by} decided on {at}."
            ),
            "conflict" => format!(
                "Both sides had changed it since they agreed on {base}: the other side said {remote}, here it said \
                 {local}. In {by} on {at} the strategy {} decided.",
                field.strategy.as_deref().unwrap_or_default()
            ),
            "linked" => {
                format!("{by} first linked the record on {at}, and filled what was {before} here.")
            }
            "remote" => format!(
                "Only the other side had changed it since both agreed on {base}: {by} took its value on {at}."
            ),
            _ => format!("{by} edited it here on {at}: it had been {before}."),
        },
    };
    let later = later.map_or_else(String::new, |later| format!(" {later}"));
    format!("{name} is {value}. {story}{later}")
}

fn undone(cause: Option<Cause>) -> RunId {
    match cause {
        Some(Cause::Undo(run)) => run,
        Some(Cause::Conflict(_)) | None => RunId::default(),
    }
}

/// A value in a sentence, cut where it is long.
fn quoted(value: &Field) -> String {
    if value.is_blank() {
        return "nothing".to_owned();
    }
    let text = crate::telemetry::escape_control(&value.display()).into_owned();
    match text.chars().count() > SHOWN_CHARS_MAX {
        true => format!("\"{}…\"", text.chars().take(SHOWN_CHARS_MAX).collect::<String>()),
        false => format!("\"{text}\""),
    }
}
