//! A connector that misbehaves on request: `{"behave":"spin"}` in its config says how a call goes wrong.
//!
//! How `describe` and the start go wrong is written in the component's bytes, at [`MARKER`]: a test patches it, and has
//! another component. It must not use the SDK, which would keep it from breaking the contract.

#![cfg(target_family = "wasm")]

mod leak;
mod page;

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

wit_bindgen::generate!({ path: "../../../wit", world: "connector-full" });

use exports::syncline::plugin::{connector_info, fetch, pull, webhook};
use page::{Draft, Row};
use syncline::plugin::types::{Context, Descriptor, Error, Page, Reject, Value};
use syncline::plugin::{http, log};

/// `normal`, padded with dots; see `host/tests/plugins/fixtures.rs`.
#[used]
static MARKER: [u8; 40] = *b"syncline-hostile:normal.................";

/// Runs before anything else is called.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    if variant() == "start-panic" {
        panic!("hostile start");
    }
    if variant() == "start-spin" {
        spin();
    }
}

fn variant() -> String {
    let marker = black_box(&MARKER);
    // Volatile, so that the compiler does not know the bytes that a test will change.
    let bytes: Vec<u8> =
        marker.iter().map(|byte| unsafe { std::ptr::read_volatile(byte) }).collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.trim_start_matches("syncline-hostile:").trim_end_matches('.').to_owned()
}

static PAGES: AtomicU32 = AtomicU32::new(0);

struct Hostile;

impl connector_info::Guest for Hostile {
    fn describe() -> Descriptor {
        let manifest = include_str!("manifest.json");
        let manifest = match variant().as_str() {
            "describe-panic" => panic!("hostile describe"),
            "describe-spin" => spin(),
            "describe-http" => match get("https://example.org/", Vec::new()) {
                Err(http::Failure::Denied(_)) => manifest.to_owned(),
                other => panic!("describe reached the network: {other:?}"),
            },
            "not-json" => "{".to_owned(),
            "wrong-kind" => manifest.replace("\"connector\"", "\"strategy\""),
            "unknown-type" => manifest.replace("\"type\": \"date\"", "\"type\": \"day\""),
            "two-entities" => manifest.replace("\"name\": \"team\"", "\"name\": \"member\""),
            "bad-schema" => manifest.replace("\"object\"", "\"thing\""),
            "bad-source" => manifest.replace("\"source\": \"f1\"", "\"source\": \"nobody\""),
            "bad-scheme" => manifest.replace("\"standard\"", "\"homemade\""),
            "typo" => manifest.replace("\"title\"", "\"tilte\""),
            _ => manifest.to_owned(),
        };
        Descriptor { manifest }
    }

    fn check(context: Context) -> Result<(), Error> {
        match behaviour(&context).as_str() {
            "spin" => spin(),
            "panic" => panic!("hostile check"),
            _ => Ok(()),
        }
    }
}

impl pull::Guest for Hostile {
    fn fetch_page(request: pull::PageRequest) -> Result<Page, Error> {
        match behaviour(&request.context).as_str() {
            "torn-texts" => Ok(page::torn(page(1))),
            "huge-page" => Ok(page::heavy(request.records_max as usize, 40 << 10)),
            "long-string" => Ok(page::heavy(1, 50 << 20)),
            _ => answer(request).map(Draft::pack),
        }
    }
}

fn answer(request: pull::PageRequest) -> Result<Draft, Error> {
    let count = request.records_max as usize;
    match behaviour(&request.context).as_str() {
        "spin" => spin(),
        "allocate" => allocate(),
        "recurse" => Err(Error::Other(recurse(1).to_string())),
        "panic" => panic!("hostile page"),
        "trap" => std::arch::wasm32::unreachable(),
        "exit" => std::process::exit(0),
        "sleep" => {
            std::thread::sleep(std::time::Duration::from_secs(3_600));
            Ok(page(count))
        }
        "reach" => Ok(reach(&request.context)),
        "request" => answer_of(get("https://example.org/", Vec::new())),
        "authorization" => answer_of(get("/", vec![header("Authorization", "Bearer mine")])),
        "proxy" => answer_of(get("/", vec![header("PROXY-Authorization", "mine")])),
        "request-flood" => Ok(request_flood()),
        "prefetch-flood" => Ok(prefetch_flood()),
        "log-flood" => Ok(log_flood()),
        "stderr-flood" => Ok(stderr_flood()),
        "leak" => {
            leak::handles();
            Ok(page(count))
        }
        "environment" => Ok(environment()),
        "count" => {
            let number = PAGES.fetch_add(1, Ordering::Relaxed);
            Ok(with_id(page(1), &number.to_string()))
        }
        other => Ok(broken(page(count), other)),
    }
}

impl fetch::Guest for Hostile {
    fn by_ids(context: Context, _entity: String, ids: Vec<String>) -> Result<Page, Error> {
        let mut answer = page(ids.len());
        for (row, id) in answer.rows.iter_mut().zip(&ids) {
            row.id.clone_from(id);
        }
        match behaviour(&context).as_str() {
            "forged-id" => answer = with_id(answer, "somebody-else"),
            "missing-id" => drop(answer.rows.pop()),
            _ => {}
        }
        Ok(answer.pack())
    }
}

impl webhook::Guest for Hostile {
    /// The body's first word says how it goes wrong; `event` and `gone` are followed by ids.
    fn parse(delivery: webhook::Delivery) -> Result<Vec<webhook::Event>, Error> {
        let body = String::from_utf8_lossy(&delivery.body).into_owned();
        let mut words = body.split_whitespace();
        match words.next().unwrap_or_default() {
            "spin" => spin(),
            "panic" => panic!("hostile parse"),
            "trap" => std::arch::wasm32::unreachable(),
            "allocate" => allocate(),
            "http" => match get("/", Vec::new()) {
                Err(failure) => Err(Error::Other(format!("{failure:?}"))),
                Ok(response) => panic!("parse reached the network: {}", response.status),
            },
            "flood" => Ok(vec![event("member", "id"); 20_000]),
            "heavy" => Ok(vec![event("member", &"i".repeat(50 << 20))]),
            "empty" => Ok(vec![event("member", "")]),
            "control" => Ok(vec![event("member", "a\u{0}b")]),
            "long" => Ok(vec![event("member", &"i".repeat(10_000))]),
            "stranger" => Ok(vec![event("nobody", "id")]),
            "event" => Ok(words.map(|id| event("member", id)).collect()),
            "gone" => {
                let gone =
                    |id| webhook::Event { kind: "deleted".to_owned(), ..event("member", id) };
                Ok(words.map(gone).collect())
            }
            _ => Err(Error::BadResponse("no such word".to_owned())),
        }
    }
}

fn event(entity: &str, id: &str) -> webhook::Event {
    webhook::Event {
        organization: None,
        entity: entity.to_owned(),
        id: id.to_owned(),
        kind: "updated".to_owned(),
        event_id: None,
        merged_into: None,
    }
}

export!(Hostile);

/// The word after `behave`.
fn behaviour(context: &Context) -> String {
    context.config.split('"').nth(3).unwrap_or("normal").to_owned()
}

fn spin() -> ! {
    let mut number = 0_u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}

fn allocate() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[depth as usize % 64]
}

/// `count` rows of ten fields.
fn page(count: usize) -> Draft {
    let fields = (0..10).map(|number| format!("f{number}")).collect();
    let row = |number: usize| Row {
        id: format!("id-{number}"),
        aliases: vec![("number".to_owned(), format!("N{number}"))],
        updated_at: Some("2026-02-28T10:00:00Z".to_owned()),
        version: None,
        deleted: false,
        values: (0..10).map(|field| Value::Text(format!("value {field} of {number}"))).collect(),
    };
    let rows = (0..count).map(row).collect();
    Draft { fields, rows, next: None, total: Some(count as u64), rejects: vec![] }
}

fn with_id(mut page: Draft, id: &str) -> Draft {
    page.rows[0].id = id.to_owned();
    page
}

/// One thing wrong with an otherwise good page.
fn broken(mut page: Draft, how: &str) -> Draft {
    match how {
        "empty-id" => return with_id(page, ""),
        "control-id" => return with_id(page, "a\u{0}b"),
        "long-id" => return with_id(page, &"i".repeat(10_000)),
        "duplicate-ids" => return with_id(page, "id-1"),
        "short-row" => drop(page.rows[0].values.pop()),
        "too-many" => page = self::page(page.rows.len() + 1),
        "duplicate-fields" => page.fields[1] = "f0".to_owned(),
        "control-value" => page.rows[0].values[3] = Value::Text("a\u{0}b".to_owned()),
        "bad-json" => page.rows[0].values[3] = Value::Json("{\"a\":".to_owned()),
        "deep-json" => page.rows[0].values[3] = Value::Json("[".repeat(100_000)),
        "bad-instant" => page.rows[0].updated_at = Some("yesterday".to_owned()),
        "many-aliases" => {
            page.rows[0].aliases = vec![("kind".to_owned(), "value".to_owned()); 1_000];
        }
        "long-cursor" => page.next = Some("c".repeat(5_000)),
        "empty-cursor" => page.next = Some(String::new()),
        "reject-flood" => {
            let reject = Reject { id: None, reason: "r".repeat(10_000), raw: "w".repeat(10_000) };
            page.rejects = vec![reject; 100];
        }
        "long-reject" => {
            page.rows.clear();
            let reject = Reject { id: None, reason: "r".repeat(10_000), raw: "w".repeat(20_000) };
            page.rejects = vec![reject];
        }
        _ => {}
    }
    page
}

fn header(name: &str, value: &str) -> http::Header {
    http::Header { name: name.to_owned(), value: value.to_owned() }
}

fn request(url: &str, headers: Vec<http::Header>) -> http::Request {
    http::Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers,
        body: None,
        idempotency: None,
    }
}

fn get(url: &str, headers: Vec<http::Header>) -> Result<http::Response, http::Failure> {
    http::send(&request(url, headers))
}

/// What the import said, for the test to read.
fn answer_of(answer: Result<http::Response, http::Failure>) -> Result<Draft, Error> {
    match answer {
        Ok(response) => Err(Error::Other(format!("status {}", response.status))),
        Err(failure) => Err(Error::Other(format!("{failure:?}"))),
    }
}

/// Asks for the base URL and for each of `urls` in its config.
fn reach(context: &Context) -> Draft {
    let urls = context.config.split('"').nth(7).unwrap_or_default();
    let answers = std::iter::once("").chain(urls.split_whitespace()).map(|url| {
        let answer = get(url, Vec::new());
        Value::Text(answer.map_or_else(|failure| format!("{failure:?}"), |r| r.status.to_string()))
    });
    let answers: Vec<Value> = answers.collect();
    let mut page = page(answers.len());
    for (row, answer) in page.rows.iter_mut().zip(answers) {
        row.values[0] = answer;
    }
    page
}

/// Sends until the host says stop; the id of the only row says how many were answered.
fn request_flood() -> Draft {
    let mut answered = 0_u32;
    while !matches!(get("/", Vec::new()), Err(http::Failure::Stopped)) {
        answered += 1;
    }
    with_id(page(1), &answered.to_string())
}

fn prefetch_flood() -> Draft {
    for number in 0..100_000 {
        http::prefetch(&request(&format!("/{number}"), Vec::new()));
    }
    page(1)
}

fn log_flood() -> Draft {
    log::write("error", &"l".repeat(1 << 20));
    log::write("shout", "red \u{1b}[31m text");
    for number in 0..10_000 {
        log::write("info", &format!("line {number}"));
    }
    page(1)
}

fn stderr_flood() -> Draft {
    for number in 0..10_000 {
        eprintln!("line {number} {}", "e".repeat(100));
    }
    panic!("after the flood")
}

/// What a plugin can see of the machine: nothing.
fn environment() -> Draft {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seen = format!(
        "{} {} {}",
        std::env::vars().count(),
        std::env::args().count(),
        now.map_or(0, |now| now.as_secs())
    );
    with_id(page(1), &seen)
}
