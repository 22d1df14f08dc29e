//! CSV as people open it: quoted by RFC 4180, and no cell that a spreadsheet would take for a formula.

/// One line of cells, ended by CRLF.
pub(crate) fn line(cells: &[String]) -> String {
    let mut line = cells.iter().map(|cell| quote(&guard(cell))).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// A cell that starts like a formula begins with `'` instead.
fn guard(cell: &str) -> String {
    const TRIGGERS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\0', '＝', '＋', '＠'];
    let guarded = cell.starts_with(TRIGGERS) || cell.starts_with('－');
    if guarded { format!("'{cell}") } else { cell.to_owned() }
}

fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cells: &[&str], expect: &str) {
        let cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
        assert_eq!(line(&cells), expect);
    }

    #[test]
    fn cells_are_quoted_and_guarded() {
        check(&["a", "", "Ó Briain"], "a,,Ó Briain\r\n");
        check(&["a,b", "say \"hi\"", "x\ny"], "\"a,b\",\"say \"\"hi\"\"\",\"x\ny\"\r\n");
        check(&["=1+1", "+353 87", "-5", "@x"], "'=1+1,'+353 87,'-5,'@x\r\n");
        check(&["=HYPERLINK(\"a\",\"b\")"], "\"'=HYPERLINK(\"\"a\"\",\"\"b\"\")\"\r\n");
        check(&["＝1", "\tx"], "'＝1,'\tx\r\n");
    }
}
