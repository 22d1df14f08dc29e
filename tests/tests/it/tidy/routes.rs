//! The routes of the API as the sources state them: in the router, and in the table of who may call them.

use super::report;
use super::source::{self, File, Kind, Token};
use crate::described;
use std::collections::BTreeSet;

const ROUTER: &str = "host/src/api/mod.rs";
const TABLE: &str = "host/src/api/access/routes.rs";
const PREFIX: &str = "/api/v1";
/// The description itself, for everybody.
const OPEN: &str = "/openapi.json";

fn production(path: &str) -> Vec<Token> {
    let files = source::files("host/src/api", &[".rs"]);
    let file: &File = files.iter().find(|file| file.path == path).expect("a file of the API");
    file.production()
}

/// (method, path) of every operation that the router registers with its description. One that is registered without is
/// refused by `the_router_takes_no_route_without_its_description`.
pub(crate) fn of_router() -> BTreeSet<(String, String)> {
    let paths = described::document()["paths"].as_object().expect("paths");
    let mut found = BTreeSet::new();
    for (path, item) in paths {
        let Some(path) = path.strip_prefix(PREFIX).filter(|path| *path != OPEN) else { continue };
        for method in item.as_object().expect("operations").keys() {
            found.insert((method.to_uppercase(), path.to_owned()));
        }
    }
    found
}

#[test]
fn the_router_takes_no_route_without_its_description() {
    let tokens = production(ROUTER);
    let bare: Vec<String> = tokens
        .windows(2)
        .filter(|pair| pair[0].is_sign(".") && pair[1].is_word("route"))
        .map(|pair| format!("{ROUTER}:{}: `.route(`", pair[1].line))
        .collect();
    report("a route is registered by `routes!`, with its description:", &bare);
}

/// (method, path) of every `route("METHOD", "/path", ..)`.
pub(crate) fn declared() -> BTreeSet<(String, String)> {
    let tokens = production(TABLE);
    let calls = tokens.windows(5).filter(|window| {
        window[0].is_word("route") && window[1].is_sign("(") && window[2].kind == Kind::Text
    });
    calls.map(|window| (window[2].text.clone(), window[4].text.clone())).collect()
}
