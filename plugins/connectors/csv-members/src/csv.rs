//! CSV records as they are, not as they should be.
//!
//! A quote closes a field only before a delimiter or a line's end; any other is data. A quoted field may hold line
//! breaks, but a record that needs them and does not have the header's number of cells, or is made of lines that do,
//! was opened by a stray quote: then its first line is read alone.

/// Longest quoted field that may cross lines, in bytes: a stray quote must not make the rest of the file one field.
const CROSSING_BYTES_MAX: usize = 8192;

/// One record of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) cells: Vec<String>,
    /// As it stands in the file, without the line's end.
    pub(crate) raw: &'a str,
    /// Where the next record begins.
    pub(crate) end: usize,
}

impl Record<'_> {
    pub(crate) fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| cell.trim().is_empty())
    }
}

/// The record at a place of the text; `None` at its end. `cells` is how many the header has, where it is known.
pub(crate) fn record(
    text: &str,
    at: usize,
    delimiter: char,
    cells: Option<usize>,
) -> Option<Record<'_>> {
    let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
    let parts = match split(rest, delimiter, Lines::Many) {
        Some(parts) if !parts.crosses_lines || is_plausible(&parts, rest, delimiter, cells) => {
            parts
        }
        _ => split(rest, delimiter, Lines::One)?,
    };
    let raw = rest.get(..parts.length)?;
    let line_end = match rest.get(parts.length..)?.as_bytes() {
        [b'\r', b'\n', ..] => 2,
        [] => 0,
        _ => 1,
    };
    Some(Record { cells: parts.cells, raw, end: at + parts.length + line_end })
}

/// Whether a record that crosses lines is one, and not several that a stray quote joined.
fn is_plausible(parts: &Parts, rest: &str, delimiter: char, cells: Option<usize>) -> bool {
    let Some(cells) = cells else { return true };
    // Lines that are complete records by themselves were joined.
    let complete = |line: &str| {
        split(line, delimiter, Lines::One).is_some_and(|parts| parts.cells.len() == cells)
    };
    let joined = rest.get(..parts.length).unwrap_or_default();
    let lines = joined.split(['\n', '\r']).filter(|line| !line.is_empty());
    parts.cells.len() == cells && !lines.take(2).all(complete)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    One,
    Many,
}

struct Parts {
    cells: Vec<String>,
    /// Bytes up to the line's end.
    length: usize,
    crosses_lines: bool,
}

/// Splits the first record of a text. `None` where a quoted field has no end, which cannot happen with one line: there
/// a quote without its partner is dropped.
fn split(text: &str, delimiter: char, lines: Lines) -> Option<Parts> {
    let mut parts = Parts { cells: Vec::new(), length: 0, crosses_lines: false };
    loop {
        let rest = text.get(parts.length..)?;
        let (cell, length) = match rest.strip_prefix('"') {
            None => bare(rest, delimiter),
            Some(inner) => match (quoted(inner, delimiter, lines), lines) {
                (Some((cell, length)), _) => {
                    parts.crosses_lines |= cell.contains(['\n', '\r']);
                    (cell, length + 1)
                }
                (None, Lines::Many) => return None,
                (None, Lines::One) => {
                    let (cell, length) = bare(inner, delimiter);
                    (cell, length + 1)
                }
            },
        };
        parts.cells.push(cell);
        parts.length += length;
        match text.get(parts.length..)?.chars().next() {
            Some(next) if next == delimiter => parts.length += delimiter.len_utf8(),
            _ => return Some(parts),
        }
    }
}

/// A cell without quotes and its length.
fn bare(text: &str, delimiter: char) -> (String, usize) {
    let length = text.find([delimiter, '\n', '\r']).unwrap_or(text.len());
    (text.get(..length).unwrap_or_default().to_owned(), length)
}

/// The content of a quoted cell after its first quote, and its length with the closing quote and the blanks after it.
fn quoted(text: &str, delimiter: char, lines: Lines) -> Option<(String, usize)> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        cell.push_str(before);
        if cell.contains(['\n', '\r']) && (lines == Lines::One || cell.len() > CROSSING_BYTES_MAX) {
            return None;
        }
        if let Some(after_pair) = after.strip_prefix('"') {
            cell.push('"');
            rest = after_pair;
            continue;
        }
        let beyond = after.trim_start_matches(' ');
        if beyond.is_empty() || beyond.starts_with([delimiter, '\n', '\r']) {
            return Some((cell, text.len() - beyond.len()));
        }
        cell.push('"');
        rest = after;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, cells: usize, expect: &[&[&str]]) {
        let mut at = 0;
        let mut found = Vec::new();
        let mut raw = String::new();
        while let Some(record) = record(text, at, ',', Some(cells)) {
            assert!(record.end > at, "no progress at {at} in {text:?}");
            raw.push_str(&text[at..record.end]);
            at = record.end;
            found.push(record.cells);
        }
        assert_eq!(found, expect, "{text:?}");
        assert_eq!(raw, text, "something was skipped");
    }

    #[test]
    fn reads_what_is_well_formed() {
        check("", 2, &[]);
        check("a,b", 2, &[&["a", "b"]]);
        check("a,b\nc,d\n", 2, &[&["a", "b"], &["c", "d"]]);
        check(
            "a,b\r\nc,d\re,f\n\ng,",
            2,
            &[&["a", "b"], &["c", "d"], &["e", "f"], &[""], &["g", ""]],
        );
        check(r#""a,1","b ""x"" c""#, 2, &[&["a,1", r#"b "x" c"#]]);
        check("\"a\nb\",c\nd,e", 2, &[&["a\nb", "c"], &["d", "e"]]);
        check("\"\",\"\"\n", 2, &[&["", ""]]);
        check("a,\"b\nc\"\nd,e", 2, &[&["a", "b\nc"], &["d", "e"]]);
        check("\"\"\"\",\"a\" ,é", 3, &[&["\"", "a", "é"]]);
    }

    #[test]
    fn keeps_stray_quotes_in_their_line() {
        check("a\"b,c\nd,e", 2, &[&["a\"b", "c"], &["d", "e"]]);
        check("\"a\" b\",c\nd,e", 2, &[&["a\" b", "c"], &["d", "e"]]);
        check("\"Mary,Murphy\nTom,\"Daly\"\n", 2, &[&["Mary", "Murphy"], &["Tom", "Daly"]]);
        check("\"Mary,Murphy\nTom,Daly", 2, &[&["Mary", "Murphy"], &["Tom", "Daly"]]);
        check("1,\"a, b\",\"c\n2,d,e\n", 3, &[&["1", "a, b", "c"], &["2", "d", "e"]]);
        check("\"", 1, &[&[""]]);
    }

    #[test]
    fn a_stray_quote_never_swallows_the_file() {
        let tail = "x,y\n".repeat(5000);
        let text = format!("\"a,b\n{tail}z,\"q\"\n");
        let first = record(&text, 0, ',', None).unwrap();
        assert_eq!(first.cells, ["a", "b"]);
    }
}
