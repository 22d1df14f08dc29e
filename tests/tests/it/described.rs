//! Holds every answer that the suite sees against the checked-in OpenAPI document: its status, content type, headers
//! and body must be described, and a request that was accepted must be one that the document allows.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Value, json};
use syncline_tests::http::Answer;

use crate::tidy::source;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = fs::read_to_string(source::root().join("docs/openapi.json")).expect("the document");
    serde_json::from_str(&text).expect("the document is JSON")
});

/// Compiled schemas by their text: few, and used thousands of times.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// Panics where the document does not describe this exchange.
#[track_caller]
pub(crate) fn check(method: &str, target: &str, body: &[u8], answer: &Answer) {
    if let Err(wrong) = compare(method, target, body, answer) {
        let shown = String::from_utf8_lossy(&answer.body);
        let shown: String = shown.chars().take(2_000).collect();
        panic!(
            "docs/openapi.json does not describe {method} {target} -> {}: {wrong}\n{shown}",
            answer.status
        );
    }
}

fn compare(method: &str, target: &str, body: &[u8], answer: &Answer) -> Result<(), String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let operation = operation(method, path);
    let response = match operation {
        Some(operation) => resolved(&operation["responses"][answer.status.to_string()]),
        // What is nowhere described is nowhere to be found.
        None if matches!(answer.status, 401 | 404 | 405) => {
            resolved(&json!({ "$ref": "#/components/responses/Problem" }))
        }
        None => return Err("there is no such operation".to_owned()),
    };
    if response.is_null() {
        return Err("the status is not described".to_owned());
    }
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        if header["required"] == true && answer.header(&name.to_ascii_lowercase()).is_none() {
            return Err(format!("the header {name} is missing"));
        }
    }
    match response.get("content") {
        None if answer.body.is_empty() => {}
        None => return Err("a body is not described".to_owned()),
        Some(content) => {
            let kind = answer.header("content-type").unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default();
            let Some(described) = content.get(kind) else {
                return Err(format!("the content type {kind:?} is not described"));
            };
            // Lines of JSON are no JSON.
            if kind.ends_with("json") && kind != "application/x-ndjson" {
                valid(&described["schema"], &answer.body)?;
            }
        }
    }
    match operation {
        Some(operation) if answer.status < 300 => accepted(operation, query, body),
        _ => Ok(()),
    }
}

/// What was accepted must be allowed.
fn accepted(operation: &Value, query: &str, body: &[u8]) -> Result<(), String> {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    for name in query.split('&').filter_map(|pair| pair.split('=').next()) {
        let known = |parameter: &Value| parameter["in"] == "query" && parameter["name"] == name;
        if !name.is_empty() && !parameters.iter().any(known) {
            return Err(format!("the parameter {name:?} was accepted and is not described"));
        }
    }
    match &operation["requestBody"]["content"]["application/json"]["schema"] {
        Value::Null => Ok(()),
        _ if body.is_empty() => Ok(()),
        schema => valid(schema, body).map_err(|wrong| format!("the accepted request: {wrong}")),
    }
}

/// The operation whose path fits with the fewest parameters.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object()?;
    let fits = |template: &str| {
        let (mut given, mut wanted) = (path.split('/'), template.split('/'));
        loop {
            match (given.next(), wanted.next()) {
                (None, None) => return true,
                (Some(given), Some(wanted)) if wanted == given || wanted.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    let (_, item) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method.to_ascii_lowercase())
}

fn resolved(value: &Value) -> Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            DOCUMENT.pointer(reference.trim_start_matches('#')).cloned().unwrap_or_default()
        }
        None => value.clone(),
    }
}

fn valid(schema: &Value, body: &[u8]) -> Result<(), String> {
    let value: Value = serde_json::from_slice(body).map_err(|cause| cause.to_string())?;
    let validator = {
        let mut validators = VALIDATORS.lock().expect("no panic while compiling");
        let made = validators.entry(schema.to_string()).or_insert_with(|| {
            let mut whole = schema.clone();
            whole["components"] = DOCUMENT["components"].clone();
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            Arc::new(options.build(&whole).expect("a schema of the document"))
        });
        Arc::clone(made)
    };
    match validator.iter_errors(&value).next() {
        None => Ok(()),
        Some(wrong) => Err(format!("{}: {wrong}", wrong.instance_path())),
    }
}

#[test]
fn what_is_not_described_is_noticed() {
    #[track_caller]
    fn refused(method: &str, target: &str, request: Value, status: u16, body: Value, why: &str) {
        let kind = if status < 400 { "application/json" } else { "application/problem+json" };
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let request = if request.is_null() { String::new() } else { request.to_string() };
        let answer = Answer { status, headers, body: body.to_string().into_bytes() };
        match compare(method, target, request.as_bytes(), &answer) {
            Err(wrong) => assert!(wrong.contains(why), "{wrong}"),
            Ok(()) => panic!("{method} {target} -> {status} {body} passes"),
        }
    }
    let list = json!({"items": [], "nextCursor": null});
    let (list_path, none) = ("/api/v1/conflicts", Value::Null);
    refused("GET", "/api/v1/nothing", none.clone(), 200, json!({}), "no such operation");
    refused("GET", list_path, none.clone(), 418, json!({}), "status");
    refused("GET", list_path, none.clone(), 200, json!({"items": []}), "nextCursor");
    refused(
        "GET",
        list_path,
        none.clone(),
        200,
        json!({"items": [{}], "nextCursor": null}),
        "/items/0",
    );
    refused("GET", list_path, none.clone(), 422, json!({"status": 422}), "required");
    refused("GET", "/api/v1/conflicts?color=red", none.clone(), 200, list, "color");
    let row = json!({"id": "a", "name": "A", "timezone": "UTC", "defaultRegion": "IE",
        "createdAt": "2026-03-01T02:00:04Z", "version": 1});
    let new = json!({"name": "A"});
    refused("POST", "/api/v1/organizations", new, 201, row, "ETag");
    let decision = json!({"choice": "both"});
    refused("POST", "/api/v1/conflicts/resolve", decision, 200, json!({"resolved": 1}), "choice");
}
