//! From a page as a guest gave it to a page of the model.
//!
//! What breaks the page as a whole (shape, sizes, cursor) refuses it; what is wrong with one row alone turns that row into
//! a reject, so that the others proceed. Texts are moved, never copied: a page of 1,000 rows passes here often.

use super::convert::value;
use super::syncline::plugin::types;
use crate::model::remote::Reject;
use crate::model::{RemotePage, RemoteRow, Value};
use crate::plugin::imports::log::clean;
use crate::plugin::limits::Limits;
use serde::de::IgnoredAny;

/// How large an answer may be.
pub(in crate::plugin) struct Bounds<'a> {
    pub(in crate::plugin) limits: &'a Limits,
    /// Rows and rejects together.
    pub(in crate::plugin) records_max: usize,
}

pub(super) fn page(raw: types::Page, bounds: &Bounds<'_>) -> Result<RemotePage, String> {
    let types::Page { fields, rows: raw_rows, next, checkpoint, total, rejects } = raw;
    let limits = bounds.limits;
    let records = raw_rows.len() + rejects.len();
    if records > bounds.records_max {
        return Err(format!("{records} records where {} were asked for", bounds.records_max));
    }
    check_fields(&fields, limits)?;
    check_cursor("next", next.as_deref(), limits)?;
    check_cursor("checkpoint", checkpoint.as_deref(), limits)?;

    let mut rejects: Vec<Reject> =
        rejects.into_iter().map(|reject| bounded(reject, limits)).collect();
    let mut rows = Vec::with_capacity(raw_rows.len());
    for (number, raw) in raw_rows.into_iter().enumerate() {
        if raw.values.len() != fields.len() {
            let (values, fields) = (raw.values.len(), fields.len());
            return Err(format!("row {number} has {values} values for {fields} fields"));
        }
        let row = row(raw);
        match row_fault(&row, &fields, limits) {
            None => rows.push(row),
            Some(fault) => rejects.push(fault),
        }
    }
    Ok(RemotePage { fields, rows, next, checkpoint, total, rejects })
}

fn check_fields(fields: &[String], limits: &Limits) -> Result<(), String> {
    if fields.len() > limits.fields_per_page_max {
        return Err(format!(
            "{} fields, at most {} are allowed",
            fields.len(),
            limits.fields_per_page_max
        ));
    }
    let mut seen = std::collections::HashSet::with_capacity(fields.len());
    for field in fields {
        if field.is_empty() || field.len() > limits.id_bytes_max || has_control(field) {
            return Err("a field name is empty, too long or has control characters".to_owned());
        }
        if !seen.insert(field.as_str()) {
            return Err(format!("the field `{field}` occurs twice"));
        }
    }
    Ok(())
}

/// A cursor is opaque, so it may hold any character; an empty one would never end a listing.
fn check_cursor(name: &str, cursor: Option<&str>, limits: &Limits) -> Result<(), String> {
    match cursor {
        Some("") => Err(format!("`{name}` is empty: leave it out instead")),
        Some(text) if text.len() > limits.cursor_bytes_max => Err(format!(
            "`{name}` has {} bytes, at most {} are allowed",
            text.len(),
            limits.cursor_bytes_max
        )),
        _ => Ok(()),
    }
}

fn bounded(reject: types::Reject, limits: &Limits) -> Reject {
    Reject {
        id: reject.id.filter(|id| id_fault(id, limits).is_none()),
        reason: clean(&reject.reason, limits.message_bytes_max),
        raw: clean(&reject.raw, limits.reject_bytes_max),
    }
}

fn row(raw: types::Row) -> RemoteRow {
    RemoteRow {
        id: raw.id,
        aliases: raw.aliases,
        updated_at: raw.updated_at,
        version: raw.version,
        deleted: raw.deleted,
        values: raw.values.into_iter().map(value).collect(),
    }
}

/// The reject that takes the row's place, if anything is wrong with it. It keeps the id, so that nobody takes the record
/// for gone, unless the id itself cannot be used.
fn row_fault(row: &RemoteRow, fields: &[String], limits: &Limits) -> Option<Reject> {
    if let Some(fault) = id_fault(&row.id, limits) {
        let reason = format!("the id {fault}");
        return Some(Reject { id: None, reason, raw: clean(&row.id, limits.reject_bytes_max) });
    }
    let reason = aliases_fault(row, limits)
        .or_else(|| tokens_fault(row, limits))
        .or_else(|| values_fault(row, fields, limits))?;
    Some(Reject { id: Some(row.id.clone()), reason, raw: String::new() })
}

fn id_fault(id: &str, limits: &Limits) -> Option<&'static str> {
    if id.is_empty() {
        Some("is empty")
    } else if id.len() > limits.id_bytes_max {
        Some("is too long")
    } else if has_control(id) {
        Some("has control characters")
    } else {
        None
    }
}

fn aliases_fault(row: &RemoteRow, limits: &Limits) -> Option<String> {
    if row.aliases.len() > limits.aliases_per_row_max {
        return Some(format!("it has {} secondary ids", row.aliases.len()));
    }
    row.aliases.iter().find_map(|(kind, id)| {
        let fault = id_fault(kind, limits).or_else(|| id_fault(id, limits))?;
        Some(format!("a secondary id or its kind {fault}"))
    })
}

fn tokens_fault(row: &RemoteRow, limits: &Limits) -> Option<String> {
    if let Some(fault) = row.version.as_deref().and_then(|version| id_fault(version, limits)) {
        return Some(format!("the version token {fault}"));
    }
    match row.updated_at.as_deref() {
        Some(text) if text.parse::<jiff::Timestamp>().is_err() => {
            Some(format!("`{}` is no RFC 3339 instant", clean(text, 64)))
        }
        _ => None,
    }
}

fn values_fault(row: &RemoteRow, fields: &[String], limits: &Limits) -> Option<String> {
    row.values.iter().zip(fields).find_map(|(value, field)| {
        Some(format!("the field `{field}` {}", value_fault(value, limits)?))
    })
}

/// What is wrong with one value on its own, whatever its field.
pub(super) fn value_fault(value: &Value, limits: &Limits) -> Option<&'static str> {
    match value {
        Value::Absent | Value::Null | Value::Bool(_) | Value::Int(_) => None,
        Value::Text(text) | Value::Json(text) if text.len() > limits.string_bytes_max => {
            Some("is too long")
        }
        Value::Text(text) if has_control(text) => Some("has control characters"),
        Value::Json(text) if serde_json::from_str::<IgnoredAny>(text).is_err() => {
            Some("is not valid JSON")
        }
        Value::Text(_) | Value::Json(_) => None,
    }
}

/// Tabs and line ends are text. Without an early exit, so that it becomes a few vector instructions.
fn has_control(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| {
        found
            | ((byte < 0x20) & (byte != b'\t') & (byte != b'\n') & (byte != b'\r'))
            | (byte == 0x7f)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn raw_page(rows: usize) -> types::Page {
        let row = |number: usize| types::Row {
            id: format!("id-{number}"),
            aliases: vec![("number".to_owned(), format!("N{number}"))],
            updated_at: Some("2026-02-28T10:00:00Z".to_owned()),
            version: None,
            deleted: false,
            values: vec![types::Value::Text("a value of some length".to_owned()); 10],
        };
        types::Page {
            fields: (0..10).map(|number| format!("f{number}")).collect(),
            rows: (0..rows).map(row).collect(),
            next: None,
            checkpoint: None,
            total: None,
            rejects: vec![],
        }
    }

    #[test]
    fn control_characters() {
        for (text, found) in [
            ("", false),
            ("a\tb\r\nc", false),
            ("é", false),
            ("a\0", true),
            ("\u{7f}", true),
            ("\u{1b}[1m", true),
        ] {
            assert_eq!(has_control(text), found, "{text:?}");
        }
    }

    /// `cargo test --release -p syncline page_of_1000 -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement; run it alone and in release"]
    fn page_of_1000_is_converted_in_less_than_a_millisecond() {
        let limits = Limits::default();
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                let raw = raw_page(1_000);
                let begun = Instant::now();
                let page = page(raw, &Bounds { limits: &limits, records_max: 1_000 });
                let took = begun.elapsed();
                assert_eq!(page.map(|page| page.rows.len()), Ok(1_000));
                took
            })
            .collect();
        times.sort();
        println!("1,000 rows x 10 fields: median {:?}", times[100]);
        assert!(times[100].as_micros() < 1_000);
    }
}
