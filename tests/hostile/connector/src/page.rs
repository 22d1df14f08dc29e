//! Pages row by row, packed as the contract says; what is wrong with a row is packed as it is.

use crate::syncline::plugin::types::{Page, Reject, Value};

#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) fields: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) next: Option<String>,
    pub(crate) total: Option<u64>,
    pub(crate) rejects: Vec<Reject>,
}

pub(crate) struct Row {
    pub(crate) id: String,
    /// Their kinds are the page's: those of the first row.
    pub(crate) aliases: Vec<(String, String)>,
    pub(crate) updated_at: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) deleted: bool,
    pub(crate) values: Vec<Value>,
}

impl Draft {
    pub(crate) fn pack(self) -> Page {
        let kinds = self.rows.first().map(|row| row.aliases.iter().map(|(kind, _)| kind.clone()));
        let mut page = Page {
            fields: self.fields,
            alias_kinds: kinds.into_iter().flatten().collect(),
            cells: Vec::new(),
            texts: String::new(),
            next: self.next,
            checkpoint: None,
            total: self.total,
            rejects: self.rejects,
        };
        for row in self.rows {
            push(&mut page, 2, &row.id);
            optional(&mut page, row.updated_at.as_deref());
            optional(&mut page, row.version.as_deref());
            push(&mut page, if row.deleted { 4 } else { 3 }, "");
            row.aliases.iter().for_each(|(_, id)| push(&mut page, 2, id));
            row.values.iter().for_each(|own| value(&mut page, own));
        }
        page
    }
}

/// Rows with one text of so many bytes each, in one piece: made in steps, it would meet the memory's limit before that of a
/// page.
pub(crate) fn heavy(rows: usize, bytes: usize) -> Page {
    let mut page = Draft { fields: vec!["f0".to_owned()], ..Draft::default() }.pack();
    page.texts.reserve_exact(rows * (bytes + 16));
    for number in 0..rows {
        push(&mut page, 2, &format!("id-{number}"));
        page.cells.extend([0, 0, 3, (bytes as u32) << 3 | 2]);
        page.texts.extend(std::iter::repeat_n('x', bytes));
    }
    page
}

/// A good page but for one byte: the last text ends behind all texts.
pub(crate) fn torn(draft: Draft) -> Page {
    let mut page = draft.pack();
    page.texts.pop();
    page
}

fn optional(page: &mut Page, text: Option<&str>) {
    match text {
        Some(text) => push(page, 2, text),
        None => push(page, 0, ""),
    }
}

fn value(page: &mut Page, value: &Value) {
    match value {
        Value::Absent => push(page, 0, ""),
        Value::Null => push(page, 1, ""),
        Value::Text(text) => push(page, 2, text),
        Value::Boolean(flag) => push(page, if *flag { 4 } else { 3 }, ""),
        Value::Integer(number) => push(page, 5, &number.to_string()),
        Value::Json(json) => push(page, 6, json),
    }
}

fn push(page: &mut Page, kind: u32, text: &str) {
    page.texts.push_str(text);
    page.cells.push((text.len() as u32) << 3 | kind);
}
