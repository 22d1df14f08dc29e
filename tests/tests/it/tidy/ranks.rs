//! Who may import whom: a module of the host names only modules of a lower rank.

use super::report;
use super::source::{self, File, Kind, Token};
use std::collections::BTreeSet;

/// Module and rank, lowest first. Modules of one rank never name each other. `ARCHITECTURE.md` says what each is for.
const RANKS: &[(&str, u32)] = &[
    ("model", 0),
    ("clock", 0),
    ("crash_point", 0),
    ("disk", 0),
    ("normalize", 10),
    ("brake", 10),
    ("backoff", 10),
    ("cron", 10),
    ("signature", 10),
    ("config", 10),
    ("detect", 11),
    ("mapping", 11),
    ("retry", 11),
    ("telemetry", 11),
    ("resolve", 12),
    ("store", 20),
    ("queue", 30),
    ("vault", 30),
    ("plugin", 30),
    ("egress", 30),
    ("secrets", 31),
    ("notify", 32),
    ("credentials", 32),
    ("ask", 32),
    ("health", 33),
    ("oauth", 33),
    ("inbox", 33),
    ("commit", 34),
    ("trigger", 40),
    ("worker", 40),
    ("api", 50),
    ("app", 60),
    ("demo", 65),
    ("cli", 70),
    ("lib", 80),
    ("main", 90),
];

/// What ranks alone would permit: (module, what it must not name, why).
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("plugin", "store", "what a plugin's session needs is handed in"),
    ("egress", "store", "what a request needs is handed in"),
    ("cli", "api", "it speaks to the server as any client does"),
    ("cli", "worker", "it speaks to the server as any client does"),
];

/// What ranks alone would refuse: (module, path that it may name, why).
const PERMITTED: &[(&str, &str, &str)] = &[(
    "egress",
    "vault::Secret",
    "the type that wipes a secret and hides it from logs; nothing is opened with it",
)];

/// Modules that only tests use.
const FOR_TESTS: &[&str] = &["test_rows", "test_seed"];

#[test]
fn modules_name_only_lower_ranks() {
    let files = source::files("host/src", &[".rs"]);
    let known: BTreeSet<&str> = RANKS.iter().map(|(name, _)| *name).collect();
    let mut complaints = Vec::new();
    for file in &files {
        let module = module_of(&file.path);
        if FOR_TESTS.contains(&module.as_str()) {
            continue;
        }
        let Some(rank) = rank_of(&module) else {
            complaints.push(format!("{}: `{module}` has no rank: give it one in RANKS", file.path));
            continue;
        };
        for (path, line) in imports(file) {
            let target = path.split("::").next().unwrap_or_default();
            // An item of the crate's root, such as a re-export.
            if target == module || FOR_TESTS.contains(&target) || !known.contains(target) {
                continue;
            }
            let at = format!("{}:{line}: `{module}` names `{path}`", file.path);
            let reason = FORBIDDEN.iter().find(|(who, what, _)| *who == module && *what == target);
            let permitted = PERMITTED.iter().any(|(who, what, _)| *who == module && *what == path);
            if let Some((_, _, why)) = reason {
                complaints.push(format!("{at}, which it must not: {why}"));
            } else if !permitted && rank_of(target) >= Some(rank) {
                complaints.push(format!("{at}, whose rank is not lower"));
            }
        }
    }
    report("a module names only modules of a lower rank (see RANKS):", &complaints);
}

#[test]
fn every_module_has_a_rank() {
    let files = source::files("host/src", &[".rs"]);
    let modules: BTreeSet<String> = files.iter().map(|file| module_of(&file.path)).collect();
    let known = RANKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let is_unranked = |name: &&String| !FOR_TESTS.contains(&name.as_str());
    let unranked: Vec<_> = modules.difference(&known).filter(is_unranked).collect();
    assert!(unranked.is_empty(), "modules without a rank: {unranked:?}");
}

fn rank_of(module: &str) -> Option<u32> {
    RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}

/// `host/src/store/file.rs` and `host/src/store.rs` belong to `store`.
fn module_of(path: &str) -> String {
    let path = path.strip_prefix("host/src/").unwrap_or(path);
    let first = path.split('/').next().unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// How deep the module of a file is: 1 for `host/src/store.rs` and `host/src/store/mod.rs`, 0 for the roots.
fn depth_of(path: &str) -> usize {
    let path = path.strip_prefix("host/src/").unwrap_or(path);
    if matches!(path, "lib.rs" | "main.rs") {
        return 0;
    }
    path.trim_end_matches("/mod.rs").split('/').count()
}

/// The first two steps of every path that starts at the root of the crate, with its line.
fn imports(file: &File) -> Vec<(String, usize)> {
    let tokens = source::tokens(&file.text);
    let depth = depth_of(&file.path);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        if at >= 2 && tokens[at - 1].is_sign(":") && tokens[at - 2].is_sign(":") {
            continue;
        }
        let root = &tokens[at];
        let rest = if root.is_word("crate") || root.is_word("syncline") {
            behind_colons(&tokens[at + 1..])
        } else if root.is_word("super") && depth > 0 {
            climb(&tokens[at..], depth)
        } else {
            None
        };
        if let Some(rest) = rest {
            leaves(rest, &mut found);
        }
    }
    found
}

fn behind_colons(tokens: &[Token]) -> Option<&[Token]> {
    match tokens {
        [first, second, rest @ ..] if first.is_sign(":") && second.is_sign(":") => Some(rest),
        _ => None,
    }
}

/// Follows `super::super::...` if it climbs to the root of the crate.
fn climb(mut tokens: &[Token], depth: usize) -> Option<&[Token]> {
    for _ in 0..depth {
        let (first, rest) = tokens.split_first()?;
        if !first.is_word("super") {
            return None;
        }
        tokens = behind_colons(rest)?;
    }
    Some(tokens)
}

/// `a::b...` gives `a::b`; `{a, b::{c, d}, e::f}` gives `a`, `b::c`, `b::d`, `e::f`.
fn leaves(tokens: &[Token], found: &mut Vec<(String, usize)>) {
    let Some(first) = tokens.first() else { return };
    if first.kind == Kind::Word {
        found.extend(seconds(tokens).into_iter().map(|path| (path, first.line)));
        return;
    }
    for tree in group(tokens) {
        if let Some(first) = tree.first().filter(|first| first.kind == Kind::Word) {
            found.extend(seconds(tree).into_iter().map(|path| (path, first.line)));
        }
    }
}

/// A path's first two steps, once for each second step in braces.
fn seconds(tokens: &[Token]) -> Vec<String> {
    let first = tokens.first().map_or("", |token| token.text.as_str());
    let Some(rest) = tokens.get(1..).and_then(behind_colons) else {
        return vec![first.to_owned()];
    };
    match rest.first() {
        Some(second) if second.kind == Kind::Word => vec![format!("{first}::{}", second.text)],
        Some(second) if second.is_sign("{") => group(rest)
            .iter()
            .filter_map(|tree| tree.first())
            .map(|second| format!("{first}::{}", second.text))
            .collect(),
        _ => vec![first.to_owned()],
    }
}

/// The members of `{a, b}`, which may have braces themselves.
fn group(tokens: &[Token]) -> Vec<&[Token]> {
    let mut members = Vec::new();
    let (mut depth, mut begin) = (0, 1);
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            _ if token.kind != Kind::Sign => {}
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => {
                members.push(&tokens[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            members.extend(tokens.get(begin..at));
            return members;
        }
    }
    members
}

#[test]
fn imports_are_found_in_every_form() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        let file = File { path: format!("host/src/{path}"), text: text.to_owned() };
        let found: Vec<String> = imports(&file).into_iter().map(|(path, _)| path).collect();
        assert_eq!(found, expected, "{path}: {text}");
    };
    check("a.rs", "use crate::b::c::D;", &["b::c"]);
    check("a.rs", "use crate::{b, c::{D, self}, d::E};", &["b", "c::D", "c::self", "d::E"]);
    check("a.rs", "fn f() -> crate::b::C { x::crate_::y() }", &["b::C"]);
    check("a.rs", "use super::b::C; // crate::d", &["b::C"]);
    check("a/mod.rs", "use super::b::{C, D};", &["b::C", "b::D"]);
    check("a/x.rs", "use super::y; use super::super::b;", &["b"]);
    check("a/x.rs", "pub(in crate::a) fn f() {} pub(crate) fn g() {}", &["a"]);
    check("main.rs", "fn main() { syncline::cli::run() }", &["cli::run"]);
}
