//! Rust files as tokens: enough of the language to tell code from comments and texts, and tests from production code.

use std::fs;
use std::path::{Path, PathBuf};

/// A file that is walked over: its path from the root of the workspace, with `/`, and its content.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, a keyword or a number.
    Word,
    /// The content of a string literal, escapes as they are written.
    Text,
    /// One character that is neither.
    Sign,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) line: usize,
}

impl Token {
    pub(super) fn is_word(&self, text: &str) -> bool {
        self.kind == Kind::Word && self.text == text
    }

    pub(super) fn is_sign(&self, text: &str) -> bool {
        self.kind == Kind::Sign && self.text == text
    }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate is inside the workspace").to_path_buf()
}

/// All files below `folder` whose names end with one of `ends`, sorted; built and hidden ones left out.
pub(super) fn files(folder: &str, ends: &[&str]) -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    walk(&root.join(folder), &mut |path| {
        let name = path.to_string_lossy();
        if ends.iter().any(|end| name.ends_with(end)) {
            let from_root = path.strip_prefix(&root).expect("below the root");
            let text = fs::read_to_string(path)
                .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
            let path = from_root.to_string_lossy().replace('\\', "/");
            found.push(File { path, text });
        }
    });
    assert!(!found.is_empty(), "there is nothing to check in {folder:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry of a folder").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let left_out = name == "target" || (name.starts_with('.') && name != ".ci");
        match path.is_dir() {
            _ if left_out => {}
            true => walk(&path, visit),
            false => visit(&path),
        }
    }
}

impl File {
    /// Whether the file as a whole is tests.
    pub(super) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.split('/').any(|part| part == "tests")
            || matches!(name, "tests.rs" | "test_rows.rs" | "test_seed.rs")
    }

    /// The tokens that are part of the product: comments and `#[cfg(test)]` items left out.
    pub(super) fn production(&self) -> Vec<Token> {
        without_tests(tokens(&self.text))
    }
}

/// The Rust files of the host that are part of the product.
pub(super) fn host() -> Vec<File> {
    let mut files = files("host/src", &[".rs"]);
    files.retain(|file| !file.is_test());
    files
}

/// Splits Rust into tokens. Comments vanish.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut scanner = Scanner { chars: text.chars().collect(), at: 0, line: 1, found: Vec::new() };
    while scanner.at < scanner.chars.len() {
        scanner.token();
    }
    scanner.found
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn next(&mut self) -> char {
        let next = self.peek(0);
        self.at += 1;
        self.line += usize::from(next == '\n');
        next
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    fn push(&mut self, kind: Kind, text: String, line: usize) {
        self.found.push(Token { kind, text, line });
    }

    fn token(&mut self) {
        let line = self.line;
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while !matches!(self.peek(0), '\n' | '\0') {
                    self.next();
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.text(line),
            ('b' | 'c', '"') => {
                self.next();
                self.text(line);
            }
            ('r', '"' | '#') if self.raw_opens(1) => self.raw(1, line),
            ('b' | 'c', 'r') if self.raw_opens(2) => self.raw(2, line),
            ('\'', _) => self.quote(),
            (first, _) if first.is_alphanumeric() || first == '_' => {
                let mut word = String::new();
                while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                    word.push(self.next());
                }
                self.push(Kind::Word, word, line);
            }
            (blank, _) if blank.is_whitespace() => {
                self.next();
            }
            _ => {
                let sign = self.next().to_string();
                self.push(Kind::Sign, sign, line);
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                ('\0', _) => return,
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.next();
                    continue;
                }
            }
            self.next();
            self.next();
            if depth == 0 {
                return;
            }
        }
    }

    fn text(&mut self, line: usize) {
        self.next();
        let mut text = String::new();
        while !matches!(self.peek(0), '"' | '\0') {
            let next = self.next();
            text.push(next);
            if next == '\\' {
                text.push(self.next());
            }
        }
        self.next();
        self.push(Kind::Text, text, line);
    }

    /// Whether a raw string begins: `r`, some `#`, a quote. (`r#name` is a word.)
    fn raw_opens(&self, prefix: usize) -> bool {
        let mut ahead = prefix;
        while self.peek(ahead) == '#' {
            ahead += 1;
        }
        self.peek(ahead) == '"'
    }

    fn raw(&mut self, prefix: usize, line: usize) {
        self.skip(prefix);
        let mut hashes = 0;
        while self.peek(0) == '#' {
            self.next();
            hashes += 1;
        }
        self.next();
        let mut text = String::new();
        let closes = |scanner: &Scanner| (1..=hashes).all(|ahead| scanner.peek(ahead) == '#');
        while self.peek(0) != '\0' && !(self.peek(0) == '"' && closes(self)) {
            text.push(self.next());
        }
        self.skip(hashes + 1);
        self.push(Kind::Text, text, line);
    }

    /// A character literal, which vanishes, or the quote of a lifetime.
    fn quote(&mut self) {
        self.next();
        if self.peek(0) == '\\' {
            self.next();
            self.next();
            while !matches!(self.peek(0), '\'' | '\0') {
                self.next();
            }
            self.next();
        } else if self.peek(1) == '\'' {
            self.next();
            self.next();
        }
    }
}

/// Leaves out every item under an attribute `cfg(test)`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        let marked = rest.len() >= MARK.len()
            && rest
                .iter()
                .zip(MARK)
                .all(|(token, mark)| token.kind != Kind::Text && token.text == mark);
        if marked {
            rest = behind_item(&rest[MARK.len()..]);
        } else {
            kept.push(first.clone());
            rest = behind;
        }
    }
    kept
}

/// What follows an item: behind its `;`, or behind the brace that closes it.
fn behind_item(tokens: &[Token]) -> &[Token] {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Sign) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(token.text.as_str(), ";" | "}") {
            return &tokens[at + 1..];
        }
    }
    &[]
}

#[test]
fn the_scanner_tells_code_from_comments_texts_and_tests() {
    let source = r####"
        //! a comment about secret
        use a::b; /* secret /* nested */ secret */
        const QUOTE: char = '"'; const ESCAPED: char = '\'';
        fn f<'a>(x: &'a str) { g("te\"xt", b"bytes", r#"raw "secret" "#, r#match); }
        #[cfg(test)]
        mod tests { fn secret() { "secret}" } }
        #[cfg(test)]
        mod secret;
        fn last() {}
    "####;
    let found = without_tests(tokens(source));
    let texts: Vec<_> =
        found.iter().filter(|t| t.kind == Kind::Text).map(|t| t.text.as_str()).collect();
    assert_eq!(texts, [r#"te\"xt"#, "bytes", r#"raw "secret" "#]);
    assert!(!found.iter().any(|token| token.is_word("secret")));
    let last =
        found.iter().find(|token| token.is_word("last")).expect("code behind the tests is kept");
    assert_eq!(last.line, 10);
}
