//! The control surface under `/_control`: how a test changes the federation while it runs.
//!
//! Owns routing and bodies of that surface. It wants no credentials and is never hit by faults.
//! Edits answer `{}` or a small object; a mistake answers 422 with `{status, message}`.
//!
//! | request | does |
//! |---|---|
//! | `GET /state` | clubs with their sizes, settings, rules with their counts, requests seen |
//! | `POST /reset` | back to how the process was started |
//! | `GET/PUT/POST /clubs/{club}/members` | reads, replaces, appends any JSON values |
//! | `POST /clubs/{club}/generate` | `{members, first?}`: replaces by generated members |
//! | `POST /clubs/{club}/touch` | `{every, field, value}`: one field in every n-th row |
//! | `POST /clubs/{club}/shuffle` | `{dropFirst: n}`, `{insertFirst: n}`, `{move: {from, to}}` |
//! | `PATCH /members/{id}` (`?club=`) | `{set?: {...}, remove?: [...]}` |
//! | `DELETE /members/{id}` (`?club=`) | takes the member out |
//! | `GET/DELETE /requests` | what was asked, oldest first; forgets it |
//! | `GET/POST/DELETE /faults` | rules: list, add one or an array, drop all |
//! | `PATCH /settings` | `{auth?, csv?, clockSkewS?, pageSizeMax?}` |

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::fault::{Fault, Shuffle};
use super::members_csv::CsvStyle;
use super::rule::Rule;
use super::sabotage::{self, error_text};
use super::server::{Auth, World, decoded, parameter};
use super::wire::{Answer, Request};

/// Why a control request was refused.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the body is not what {path} takes: {cause}")]
    Body { path: String, cause: serde_json::Error },
    #[error(transparent)]
    Roster(#[from] super::roster::Error),
    #[error("the control surface has no {method} {path}")]
    NoRoute { method: String, path: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Generate {
    members: u64,
    #[serde(default = "one")]
    first: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Touch {
    every: usize,
    field: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Patch {
    set: BTreeMap<String, Box<RawValue>>,
    remove: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettingsPatch {
    auth: Option<Auth>,
    csv: Option<CsvStyle>,
    clock_skew_s: Option<i64>,
    page_size_max: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Rule>),
    One(Box<Rule>),
}

fn one() -> u64 {
    1
}

/// Answers a request whose path, below `/_control`, and query are given.
pub fn answer(world: &mut World, request: &Request, path: &str, query: &str) -> Answer {
    match route(world, request, path, query) {
        Ok(body) => Answer::json(200, body),
        Err(why) => {
            let status = if matches!(why, Error::NoRoute { .. }) { 404 } else { 422 };
            Answer::json(status, error_text(status, &why.to_string()))
        }
    }
}

fn route(world: &mut World, request: &Request, path: &str, query: &str) -> Result<String, Error> {
    let segments: Vec<String> = path.split('/').skip(1).map(decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["state"]) => return Ok(state(world).to_string()),
        ("POST", ["reset"]) => world.reset(),
        ("GET", ["clubs", club, "members"]) => {
            return Ok(format!("[{}]", world.roster.club(club)?.rows().join(",")));
        }
        ("PUT", ["clubs", club, "members"]) => world.roster.set(club, rows(request, path)?),
        ("POST", ["clubs", club, "members"]) => {
            world.roster.club(club)?.append(rows(request, path)?);
        }
        ("POST", ["clubs", club, "generate"]) => {
            let Generate { members, first } = body(request, path)?;
            world.roster.generate(club, members, first);
        }
        ("POST", ["clubs", club, "touch"]) => {
            let Touch { every, field, value } = body(request, path)?;
            let touched = world.roster.club(club)?.touch(every, &field, &value)?;
            return Ok(json!({ "touched": touched }).to_string());
        }
        ("POST", ["clubs", club, "shuffle"]) => {
            let shuffle: Shuffle = body(request, path)?;
            let seed = world.roster.seed();
            let club = world.roster.club(club)?;
            sabotage::edit_members(&Fault::Shuffle { shuffle }, club, seed);
        }
        ("PATCH", ["members", id]) => {
            let Patch { set, remove } = body(request, path)?;
            world.roster.patch(parameter(query, "club").as_deref(), id, &set, &remove)?;
        }
        ("DELETE", ["members", id]) => {
            world.roster.delete(parameter(query, "club").as_deref(), id)?;
        }
        ("GET", ["requests"]) => return Ok(json!(world.requests).to_string()),
        ("DELETE", ["requests"]) => world.requests.clear(),
        ("GET", ["faults"]) => {
            return Ok(json!(world.rules.states().collect::<Vec<_>>()).to_string());
        }
        ("POST", ["faults"]) => match body(request, path)? {
            OneOrMany::Many(rules) => rules.into_iter().for_each(|rule| world.rules.add(rule)),
            OneOrMany::One(rule) => world.rules.add(*rule),
        },
        ("DELETE", ["faults"]) => world.rules.clear(),
        ("PATCH", ["settings"]) => change_settings(world, body(request, path)?),
        (method, _) => {
            return Err(Error::NoRoute { method: method.to_owned(), path: path.to_owned() });
        }
    }
    Ok("{}".to_owned())
}

fn state(world: &World) -> Value {
    json!({
        "clubs": world.roster.sizes().collect::<BTreeMap<_, _>>(),
        "settings": world.settings,
        "faults": world.rules.states().collect::<Vec<_>>(),
        "requests": world.requests.len(),
    })
}

fn change_settings(world: &mut World, patch: SettingsPatch) {
    let settings = &mut world.settings;
    if let Some(auth) = patch.auth {
        settings.auth = auth;
    }
    if let Some(csv) = patch.csv {
        settings.csv = csv;
    }
    if let Some(clock_skew_s) = patch.clock_skew_s {
        settings.clock_skew_s = clock_skew_s;
    }
    if let Some(page_size_max) = patch.page_size_max {
        settings.page_size_max = page_size_max.max(1);
    }
}

fn rows(request: &Request, path: &str) -> Result<Vec<Box<str>>, Error> {
    let rows: Vec<Box<RawValue>> = body(request, path)?;
    Ok(rows.iter().map(|row| row.get().into()).collect())
}

fn body<T: DeserializeOwned>(request: &Request, path: &str) -> Result<T, Error> {
    serde_json::from_slice(&request.body)
        .map_err(|cause| Error::Body { path: path.to_owned(), cause })
}
