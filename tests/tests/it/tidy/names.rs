//! Who may name what: libraries that one module hides from the others, and the vendors and entities that the host must
//! not know.

use super::report;
use super::source::{self, Kind};

/// A library and the modules of the host that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("redb", &["store"]),
    ("wasmtime", &["plugin"]),
    ("axum", &["api", "console"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("croner", &["cron"]),
    ("argon2", &["vault"]),
    ("lettre", &["notify"]),
    ("rustix", &["cli", "disk"]),
];

/// Names of federations, shops, ledgers and databases. Never part of a name or a text of the host.
const VENDORS: &[&str] = &[
    "foireann",
    "gaa",
    "woocommerce",
    "woo",
    "wordpress",
    "shopify",
    "quickbooks",
    "intuit",
    "xero",
    "postgrest",
    "supabase",
    "servasport",
    "clubforce",
];

/// Words of the records themselves that have no other use in the host: never part of a name or a text.
const ENTITY_WORDS: &[&str] = &[
    "customer",
    "customers",
    "refund",
    "refunds",
    "invoice",
    "invoices",
    "club",
    "clubs",
    "membership",
    "memberships",
    "athlete",
    "athletes",
    "surname",
    "birth",
];

/// Entities whose names are also words of the trade (a JSON object has members, a list an order): never a text of
/// their own.
const ENTITY_TEXTS: &[&str] = &["member", "members", "order", "orders", "product", "products"];

/// The federation that the demo brings along is the one that the host may know.
const FREE: &str = "host/src/demo";

#[test]
fn libraries_are_named_by_their_owners_only() {
    let mut complaints = Vec::new();
    for file in source::files("host/src", &[".rs"]) {
        let path = file.path.trim_start_matches("host/src/");
        let module = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        for token in source::tokens(&file.text).iter().filter(|token| token.kind == Kind::Word) {
            for (library, owners) in OWNERS {
                let named =
                    token.text == *library || token.text.starts_with(&format!("{library}_"));
                if named && !owners.contains(&module) {
                    complaints.push(format!(
                        "{}:{}: `{}` belongs to {}",
                        file.path,
                        token.line,
                        token.text,
                        owners.join(", ")
                    ));
                }
            }
        }
    }
    report("a library is named only by the module that hides it:", &complaints);
}

#[test]
fn the_host_knows_no_vendor_and_no_entity() {
    let mut complaints = Vec::new();
    for file in source::host().iter().filter(|file| !file.path.starts_with(FREE)) {
        for token in file.production() {
            if token.kind != Kind::Sign
                && let Some(word) = forbidden(token.kind == Kind::Text, &token.text)
            {
                complaints
                    .push(format!("{}:{}: {word:?} in `{}`", file.path, token.line, token.text));
            }
        }
    }
    report(
        "what is special about a vendor or an entity lives in a component, not in the host:",
        &complaints,
    );
}

/// The vendor or entity that a name or a text speaks of.
fn forbidden(is_text: bool, text: &str) -> Option<String> {
    let words = words(text);
    let named =
        |word: &&String| VENDORS.contains(&word.as_str()) || ENTITY_WORDS.contains(&word.as_str());
    if let Some(word) = words.iter().find(named) {
        return Some(word.clone());
    }
    (is_text && ENTITY_TEXTS.contains(&text)).then(|| text.to_owned())
}

/// `lineItems`, `LINE_ITEMS`, `line-items` and `line items` all are `line`, `items`.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for next in text.chars() {
        let begins = before.is_lowercase() && next.is_uppercase();
        if begins || !next.is_alphanumeric() {
            words.push(String::new());
        }
        if next.is_alphanumeric() {
            words.last_mut().expect("there is always one").extend(next.to_lowercase());
        }
        before = next;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn names_are_recognized_inside_names() {
    for (is_text, text, expected) in [
        (false, "gaa_foireann", Some("gaa")),
        (false, "WooCommerceHook", Some("woo")),
        (false, "dateOfBirth", Some("birth")),
        (true, "no such customer", Some("customer")),
        (true, "member", Some("member")),
        (false, "members", None),
        (true, "unknown members are refused", None),
        (false, "order_by", None),
        (true, "person", None),
        (false, "worker", None),
    ] {
        assert_eq!(forbidden(is_text, text).as_deref(), expected, "{text}");
    }
}
