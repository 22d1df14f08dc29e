//! From a page as a guest gave it to a page of the model.
//!
//! What breaks the page as a whole (shape, sizes, cursor) refuses it; what is wrong with one row alone turns that row into
//! a reject, so that the others proceed. Texts stay where they are: a page of 1,000 rows passes here often.

use super::syncline::plugin::types;
use crate::model::remote::Reject;
use crate::model::rows::{PackedRow, Rows};
use crate::model::{Cell, RemotePage, Value};
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
    let types::Page { fields, alias_kinds, cells, texts, next, checkpoint, total, rejects } = raw;
    let limits = bounds.limits;
    check_fields(&fields, limits)?;
    check_kinds(&alias_kinds, limits)?;
    check_cursor("next", next.as_deref(), limits)?;
    check_cursor("checkpoint", checkpoint.as_deref(), limits)?;
    let mut rows =
        Rows::new(alias_kinds, fields.len(), cells, texts).map_err(|error| error.to_string())?;
    let records = rows.len() + rejects.len();
    if records > bounds.records_max {
        return Err(format!("{records} records where {} were asked for", bounds.records_max));
    }
    let mut rejects: Vec<Reject> =
        rejects.into_iter().map(|reject| bounded(reject, limits)).collect();
    // Nearly all pages have none, which one look at all texts tells; then no value needs a look of its own.
    let controls = has_control(rows.texts());
    let plain = !controls && !rows.has_json() && rows.longest() <= limits.string_bytes_max;
    rows.retain(|row| {
        let values = || if plain { None } else { values_fault(row, &fields, controls, limits) };
        let fault = row_fault(row, controls, limits, values);
        let keep = fault.is_none();
        rejects.extend(fault);
        keep
    });
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

fn check_kinds(kinds: &[String], limits: &Limits) -> Result<(), String> {
    if kinds.len() > limits.aliases_per_row_max {
        return Err(format!(
            "{} columns of secondary ids, at most {} are allowed",
            kinds.len(),
            limits.aliases_per_row_max
        ));
    }
    match kinds.iter().find_map(|kind| id_fault(kind, limits)) {
        Some(fault) => Err(format!("a kind of secondary ids {fault}")),
        None => Ok(()),
    }
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

/// The reject that takes the row's place, if anything is wrong with it. It keeps the id, so that nobody takes the record
/// for gone, unless the id itself cannot be used. `controls`: some text of the page may have control characters.
fn row_fault(
    row: PackedRow<'_>,
    controls: bool,
    limits: &Limits,
    values_fault: impl FnOnce() -> Option<String>,
) -> Option<Reject> {
    let id = row.id();
    if let Some(fault) = id_fault_in(id, controls, limits) {
        let reason = format!("the id {fault}");
        return Some(Reject { id: None, reason, raw: clean(id, limits.reject_bytes_max) });
    }
    let reason = head_fault(row)
        .or_else(|| aliases_fault(row, controls, limits))
        .or_else(|| version_fault(row, controls, limits))
        .or_else(values_fault)?;
    Some(Reject { id: Some(id.to_owned()), reason, raw: String::new() })
}

fn id_fault(id: &str, limits: &Limits) -> Option<&'static str> {
    id_fault_in(id, true, limits)
}

fn id_fault_in(id: &str, controls: bool, limits: &Limits) -> Option<&'static str> {
    if id.is_empty() {
        Some("is empty")
    } else if id.len() > limits.id_bytes_max {
        Some("is too long")
    } else if controls && has_control(id) {
        Some("has control characters")
    } else {
        None
    }
}

/// Whether id, time, version and deleted flag are of the kinds that the contract says.
fn head_fault(row: PackedRow<'_>) -> Option<String> {
    let optional = |cell| matches!(cell, Some(Cell::Absent | Cell::Text(_)));
    let mut head = row.head();
    let fits = matches!(head.next(), Some(Cell::Text(_)))
        && optional(head.next())
        && optional(head.next())
        && matches!(head.next(), Some(Cell::Bool(_)));
    (!fits).then(|| "its id, time, version or deleted flag is of another kind".to_owned())
}

fn aliases_fault(row: PackedRow<'_>, controls: bool, limits: &Limits) -> Option<String> {
    row.aliases().find_map(|(_, value)| {
        let fault = match value {
            Cell::Absent => return None,
            Cell::Text(id) => id_fault_in(id, controls, limits)?,
            _ => "is no text",
        };
        Some(format!("a secondary id {fault}"))
    })
}

/// The time of the last change is read, and doubted, where the row is mapped: a record is worth more than its time.
fn version_fault(row: PackedRow<'_>, controls: bool, limits: &Limits) -> Option<String> {
    let fault = row.version().and_then(|version| id_fault_in(version, controls, limits))?;
    Some(format!("the version token {fault}"))
}

fn values_fault(
    row: PackedRow<'_>,
    fields: &[String],
    controls: bool,
    limits: &Limits,
) -> Option<String> {
    row.values().zip(fields).find_map(|(cell, field)| {
        Some(format!("the field `{field}` {}", cell_fault(cell, controls, limits)?))
    })
}

/// What is wrong with one value on its own, whatever its field.
pub(super) fn value_fault(value: &Value, limits: &Limits) -> Option<&'static str> {
    cell_fault(Cell::from(value), true, limits)
}

fn cell_fault(cell: Cell<'_>, controls: bool, limits: &Limits) -> Option<&'static str> {
    match cell {
        Cell::Absent | Cell::Null | Cell::Bool(_) | Cell::Int(_) => None,
        Cell::Text(text) | Cell::Json(text) if text.len() > limits.string_bytes_max => {
            Some("is too long")
        }
        Cell::Text(text) if controls && has_control(text) => Some("has control characters"),
        Cell::Json(text) if serde_json::from_str::<IgnoredAny>(text).is_err() => {
            Some("is not valid JSON")
        }
        Cell::Text(_) | Cell::Json(_) => None,
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
        let mut page = types::Page {
            fields: (0..10).map(|number| format!("f{number}")).collect(),
            alias_kinds: vec!["number".to_owned()],
            cells: Vec::new(),
            texts: String::new(),
            next: None,
            checkpoint: None,
            total: None,
            rejects: vec![],
        };
        fn push(page: &mut types::Page, text: &str) {
            page.texts.push_str(text);
            page.cells.push(u32::try_from(text.len()).unwrap() << 3 | 2);
        }
        for number in 0..rows {
            push(&mut page, &format!("id-{number}"));
            push(&mut page, "2026-02-28T10:00:00Z");
            page.cells.extend([0, 3]);
            push(&mut page, &format!("N{number}"));
            (0..10).for_each(|_| push(&mut page, "a value of some length"));
        }
        page
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
