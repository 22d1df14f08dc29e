//! CSV as people open it: quoted by RFC 4180, and no cell that a spreadsheet would take for a formula.

use serde_json::Value;

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    /// A number by its type and not by its looks: `-5` is no formula.
    Number(String),
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    /// Null is an empty cell.
    pub(crate) fn of_json(value: &Value) -> Cell {
        match value {
            Value::Null => Cell::Text(String::new()),
            Value::String(text) => Cell::Text(text.clone()),
            Value::Number(number) => Cell::Number(number.to_string()),
            other => Cell::Text(other.to_string()),
        }
    }
}

/// Appends a line of cells, ended by CRLF.
pub(crate) fn line(into: &mut String, cells: impl IntoIterator<Item = Cell>) {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            into.push(',');
        }
        match cell {
            Cell::Text(text) => into.push_str(&quote(&guard(text))),
            Cell::Number(number) => into.push_str(&number),
        }
    }
    into.push_str("\r\n");
}

/// A text that starts like a formula begins with `'` instead. The full-width forms are taken for the others by some.
fn guard(text: String) -> String {
    const TRIGGERS: [char; 12] =
        ['=', '+', '-', '@', '\t', '\r', '\n', '\0', '＝', '＋', '－', '＠'];
    if text.starts_with(TRIGGERS) { format!("'{text}") } else { text }
}

fn quote(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(cells: Vec<Cell>) -> String {
        let mut text = String::new();
        line(&mut text, cells);
        text
    }

    fn check(cells: &[&str], expect: &str) {
        assert_eq!(of(cells.iter().map(|cell| Cell::text(*cell)).collect()), expect);
    }

    #[test]
    fn cells_are_quoted_and_guarded() {
        check(&["a", "", "Ó Briain"], "a,,Ó Briain\r\n");
        check(&["a,b", "say \"hi\"", "x\ny"], "\"a,b\",\"say \"\"hi\"\"\",\"x\ny\"\r\n");
        check(&["=1+1", "+353 87", "-5", "@x"], "'=1+1,'+353 87,'-5,'@x\r\n");
        check(&["=HYPERLINK(\"a\",\"b\")"], "\"'=HYPERLINK(\"\"a\"\",\"\"b\"\")\"\r\n");
        check(&["＝1", "－1", "\tx", "\0", "\n=1"], "'＝1,'－1,'\tx,'\0,\"'\n=1\"\r\n");
    }

    #[test]
    fn numbers_are_numbers_and_texts_of_digits_are_texts() {
        let cells = [serde_json::json!(-5), serde_json::json!("-5"), Value::Null, true.into()];
        assert_eq!(of(cells.iter().map(Cell::of_json).collect()), "-5,'-5,,true\r\n");
    }

    /// Cells as RFC 4180 reads them: a reader of its own, that knows nothing of how they were written.
    fn read(text: &str) -> Vec<String> {
        let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
        let mut chars = text.strip_suffix("\r\n").unwrap_or(text).chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(std::mem::take(&mut cell)),
                c => cell.push(c),
            }
        }
        cells.push(cell);
        cells
    }

    #[test]
    fn no_cell_starts_like_a_formula_and_none_is_changed_otherwise() {
        let cell =
            prop_oneof![".*", "[=+\\-@\t\r\n\0＝＋－＠'\",;a]{0,6}", "[ \"',]{0,3}[=+\\-@].{0,5}",];
        let cells = proptest::collection::vec(cell, 1..6);
        crate::test_seed::check(2_000, &cells, |cells| {
            let found = read(&of(cells.iter().map(Cell::text).collect()));
            prop_assert_eq!(found.len(), cells.len());
            for (found, cell) in found.iter().zip(&cells) {
                let first = found.chars().next();
                let dangerous = first.is_some_and(|c| "=+-@\t\r\n\0＝＋－＠".contains(c));
                prop_assert!(!dangerous, "{:?}", found);
                let plain = found.strip_prefix('\'').filter(|_| found != cell);
                prop_assert_eq!(plain.unwrap_or(found), cell.as_str());
            }
            Ok(())
        });
    }
}
