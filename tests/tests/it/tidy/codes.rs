//! Every code that the host can put into a run, a failure, an answer or a warning has a page in `docs/errors`, and every
//! page a code.

use super::report;
use super::source::{self, Kind, Token};
use std::collections::{BTreeMap, BTreeSet};

/// What a code with a dot begins with. (Sections of the configuration, such as `limits`, are none of these.)
const AREAS: &[&str] = &[
    "body",
    "changes",
    "channel",
    "connection",
    "connector",
    "disk",
    "entity",
    "failure",
    "idempotency",
    "if-match",
    "key",
    "listing",
    "login",
    "match",
    "method",
    "oauth",
    "organization",
    "plan",
    "plugin",
    "queue",
    "record",
    "remote",
    "request",
    "run",
    "schedule",
    "strategy",
    "stream",
    "template",
    "user",
    "webhook",
];

/// Codes without a dot, which modules give to values and plans: (file or folder, code).
const SHORT: &[(&str, &str)] = &[
    ("host/src/mapping", "email"),
    ("host/src/mapping", "missingId"),
    ("host/src/mapping", "pattern"),
    ("host/src/mapping", "phone"),
    ("host/src/mapping", "required"),
    ("host/src/mapping", "transform"),
    ("host/src/mapping", "type"),
    ("host/src/mapping", "unknownStatus"),
    ("host/src/mapping", "updatedAt"),
    ("host/src/brake", "sourceEmpty"),
    ("host/src/brake", "tooManyDeactivations"),
    ("host/src/brake", "tooManyUpdates"),
];

const PAGES: &str = "docs/errors";
const INDEX: &str = "README";

/// Code, and the first place that gives it.
fn codes() -> BTreeMap<String, String> {
    let mut codes = BTreeMap::new();
    for (code, place) in given().into_iter().chain(dotted()) {
        codes.entry(code).or_insert(place);
    }
    codes.extend(SHORT.iter().map(|(place, code)| ((*code).to_owned(), (*place).to_owned())));
    codes
}

/// Texts that have the form of a code in a known area.
fn dotted() -> Vec<(String, String)> {
    texts(|_, token| is_dotted(&token.text))
}

/// Texts that stand where a code is given.
fn given() -> Vec<(String, String)> {
    texts(|before, _| is_given_as_code(before))
}

/// Texts of the host for which `wanted(tokens before it, it)`, with their places. The command line shows the codes of
/// the server and has none of its own.
fn texts(wanted: impl Fn(&[Token], &Token) -> bool) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in source::host().iter().filter(|file| !file.path.starts_with("host/src/cli/")) {
        let tokens = file.production();
        for (at, token) in tokens.iter().enumerate() {
            if token.kind == Kind::Text && wanted(&tokens[..at], token) {
                found.push((token.text.clone(), format!("{}:{}", file.path, token.line)));
            }
        }
    }
    found
}

fn is_dotted(text: &str) -> bool {
    let Some((area, name)) = text.split_once('.') else {
        return false;
    };
    let plain = |c: char| c.is_ascii_lowercase() || c == '-';
    AREAS.contains(&area)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(plain)
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let codes = codes();
    let pages: BTreeSet<String> = source::files(PAGES, &[".md"])
        .iter()
        .filter_map(|file| Some(file.path.rsplit('/').next()?.strip_suffix(".md")?.to_owned()))
        .filter(|name| name != INDEX)
        .collect();
    let mut complaints: Vec<String> = codes
        .iter()
        .filter(|(code, _)| !pages.contains(*code))
        .map(|(code, place)| format!("{place}: `{code}` has no page {PAGES}/{code}.md"))
        .collect();
    let unknown = pages.iter().filter(|page| !codes.contains_key(*page));
    complaints.extend(unknown.map(|page| format!("{PAGES}/{page}.md: nothing gives this code")));
    report("codes and pages belong together:", &complaints);
}

/// A page opens with its code, and says where it comes from and what to do.
#[test]
fn pages_of_codes_say_what_to_do() {
    let mut complaints = Vec::new();
    let index = format!("{PAGES}/{INDEX}.md");
    let pages = source::files(PAGES, &[".md"]);
    let listed = pages.iter().find(|page| page.path == index).expect("the index of the pages");
    for page in pages.iter().filter(|page| page.path != index) {
        let code = page.path.trim_start_matches(PAGES).trim_matches('/').trim_end_matches(".md");
        let title = format!("# `{code}`\n");
        if !page.text.starts_with(&title) {
            complaints.push(format!("{}: does not open with `{}`", page.path, title.trim_end()));
        }
        for part in ["**Cause.**", "**What to do.**"] {
            if !page.text.contains(part) {
                complaints.push(format!("{}: has no {part}", page.path));
            }
        }
        if !listed.text.contains(&format!("({code}.md)")) {
            complaints.push(format!("{index}: does not list `{code}`"));
        }
    }
    report("a page says cause and remedy, and is listed:", &complaints);
}

/// The two ways of finding codes agree: every area of a code that is given is in `AREAS`, and `SHORT` is still said.
#[test]
fn areas_and_short_codes_are_up_to_date() {
    let mut complaints: Vec<String> = given()
        .into_iter()
        .filter(|(code, _)| code.contains('.') && !is_dotted(code))
        .map(|(code, place)| format!("{place}: the area of `{code}` is not in AREAS"))
        .collect();
    let said = texts(|_, token| SHORT.iter().any(|(_, code)| token.text == *code));
    for (place, code) in SHORT {
        if !said.iter().any(|(text, at)| text == code && at.starts_with(place)) {
            complaints.push(format!("{place}: nothing says `{code}` any more"));
        }
    }
    report("what counts as a code:", &complaints);
}

/// Behind `Failure::new(`, `Problem::new(404, `, `Problem::conflict(`, `code:`, `code =`.
fn is_given_as_code(before: &[Token]) -> bool {
    const FORMS: [&[&str]; 5] = [
        &["Failure", ":", ":", "new", "("],
        &["Problem", ":", ":", "new", "(", "0", ","],
        &["Problem", ":", ":", "conflict", "("],
        &["code", ":"],
        &["code", "="],
    ];
    let matches = |token: &Token, expected: &str| match expected {
        "0" => token.text.parse::<u16>().is_ok(),
        _ => token.kind != Kind::Text && token.text == expected,
    };
    FORMS.iter().any(|form| {
        let Some(start) = before.len().checked_sub(form.len()) else {
            return false;
        };
        before[start..].iter().zip(*form).all(|(token, expected)| matches(token, expected))
    })
}

#[test]
fn codes_are_found_where_they_are_given() {
    for (text, expected) in [
        (r#"Failure::new("a.b", x)"#, true),
        (r#"Problem::new(404, "a", x)"#, true),
        (r#"Problem::conflict("a", x)"#, true),
        (r#"Reason { code: "a", message }"#, true),
        (r#"Problem::new(Exit::Failed, "a")"#, false),
        (r#"Failure::other("a")"#, false),
    ] {
        let tokens = source::tokens(text);
        let at = tokens.iter().position(|token| token.kind == Kind::Text).expect("a text");
        assert_eq!(is_given_as_code(&tokens[..at]), expected, "{text}");
    }
}
