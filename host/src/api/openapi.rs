//! The OpenAPI document: what the handlers say of themselves, and what holds for all of them.
//!
//! Owns the rules that give an operation its shared parameters, headers and errors, so that no handler repeats them.
//! Must not know a single operation by name.

use super::access::{self, Need};
use super::schema;
use axum::Extension;
use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

const DESCRIPTION: &str = "Keeps an organization's records in agreement with the systems that they come from. \
    Lists answer `items` and `nextCursor`; changes need `If-Match`; every `POST` takes `Idempotency-Key`; errors are \
    `application/problem+json` with a stable `code`.";

/// Schemas of rows with a version: answers that consist of one carry its `ETag`.
const TAGGED: [&str; 10] = [
    "Organization",
    "Connector",
    "Connection",
    "Template",
    "Record",
    "Conflict",
    "User",
    "Token",
    "Channel",
    "Schedule",
];

/// Of these the ones that show more than their version covers: they are always sent whole.
const LIVE: [&str; 6] = ["Connector", "Connection", "Conflict", "User", "Token", "Schedule"];

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(schema::Problem)))]
struct Shared;

/// The finished document, as bytes.
#[derive(Clone)]
pub(super) struct Document(Bytes);

impl Document {
    pub(super) fn new(text: String) -> Document {
        Document(text.into())
    }
}

/// This document.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "process",
    security(()),
    responses((status = 200, body = schema::Object))
)]
pub(super) async fn show(Extension(document): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.0).into_response()
}

/// The document with nothing in it that belongs to one operation.
pub(super) fn empty() -> OpenApi {
    Shared::openapi()
}

/// The whole document, as it is served and checked in.
pub(super) fn complete(described: &OpenApi) -> Value {
    let mut document = serde_json::to_value(described).unwrap_or_default();
    document["info"] = json!({
        "title": "Syncline",
        "description": DESCRIPTION,
        "version": env!("CARGO_PKG_VERSION"),
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    document["security"] = json!([{ "bearer": [] }, { "session": [] }]);
    let components = &mut document["components"];
    components["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer" },
        "session": { "type": "apiKey", "in": "cookie", "name": "syncline" },
    });
    let problem = json!({ "schema": { "$ref": reference("Problem") } });
    let page = json!({ "schema": { "type": "string" } });
    components["responses"] = json!({
        "Problem": {
            "description": "An error; `code` says which",
            "content": { "application/problem+json": problem },
        },
        "ProblemOrPage": {
            "description": "An error, in words for a person where a browser asks",
            "content": { "application/problem+json": problem, "text/html": page },
        },
    });
    let schemas = &mut components["schemas"];
    let names: Vec<String> = members_mut(schemas).map(|(name, _)| name.clone()).collect();
    for (name, schema) in members_mut(schemas) {
        close(schema);
        // A page refers to its rows instead of repeating them.
        let row = name.strip_prefix("Page_").filter(|row| names.iter().any(|name| name == row));
        if let Some(row) = row {
            schema["properties"]["items"]["items"] = json!({ "$ref": reference(row) });
        }
    }
    for (path, item) in members_mut(&mut document["paths"]) {
        // A part of a row that has no `GET` of its own (credentials, a password) goes by the version of the row.
        let precondition = match is_tagged(&item["get"]["responses"]["200"]) {
            true => Precondition::Required,
            false if item["put"].is_object() => Precondition::Optional,
            false => Precondition::None,
        };
        for (method, operation) in members_mut(item) {
            if METHODS.contains(&method.as_str()) && operation.is_object() {
                finish((path, method), precondition, operation);
            }
        }
    }
    document
}

fn reference(schema: &str) -> String {
    format!("#/components/schemas/{schema}")
}

fn members_mut(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flat_map(Map::iter_mut)
}

/// An object has the members that are described, and no others.
fn close(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if object.contains_key("properties") && !object.contains_key("additionalProperties") {
        object.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// Whether changes to a row name the version that they saw.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Precondition {
    Required,
    Optional,
    None,
}

/// Gives an operation what its path, method and body make it share with others.
fn finish((path, method): (&str, &str), precondition: Precondition, operation: &mut Value) {
    let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
    let name = operation["operationId"].as_str().unwrap_or_default();
    operation["operationId"] = json!(format!("{tag}.{name}"));
    let is_open = operation.get("security").is_some();
    if is_open {
        operation["security"] = json!([]);
    }
    let mut parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let has_query = !parameters.is_empty();
    for parameter in &mut parameters {
        // Numbers of the query are read as they are, whatever their size.
        if let Some(schema) = parameter["schema"].as_object_mut()
            && schema.get("format").is_some_and(|format| format != "date-time")
        {
            schema.remove("format");
        }
    }
    let segments = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let of_path: Vec<Value> = segments.map(|name| parameter(name, "path", true, "")).collect();
    let has_path = !of_path.is_empty();
    parameters.splice(0..0, of_path);
    let mut errors = Errors::default();
    if !is_open {
        errors.add(401, "`unauthorized`");
        errors.add(429, "`request.rate`");
    }
    if let Some(need) = access::need(method, path.trim_start_matches(super::PREFIX)) {
        operation["x-role"] = json!(role(need));
        let is_for_all = matches!(need, Need::Nobody | Need::Anyone | Need::Reader);
        let never_refused = is_open || (is_for_all && method == "get");
        if !never_refused {
            errors.add(403, "`forbidden`, `cross-site`");
        }
    }
    if has_path || has_query {
        errors.add(400, "`bad-request`");
        errors.add(404, "`not-found`");
    }
    if has_query {
        errors.add(422, "`invalid`");
    }
    if path != "/healthz" {
        errors.add(500, "`internal`");
        errors.add(503, "`request.timeout`");
        if method != "get" {
            errors.add(503, "`disk.full`");
        }
    }
    body(method, operation, &mut errors);
    headers(method, precondition, operation, &mut parameters, &mut errors);
    operation["parameters"] = Value::Array(parameters);
    responses(operation, errors);
}

/// The least role that may call an operation.
fn role(need: Need) -> &'static str {
    match need {
        Need::Nobody => "none",
        Need::Anyone => "any",
        Need::Reader => "viewer",
        Need::PlatformReader => "viewer of all organizations",
        Need::OrgAdmin => "orgAdmin",
        Need::PlatformAdmin => "platformAdmin",
    }
}

fn parameter(name: &str, place: &str, required: bool, description: &str) -> Value {
    let schema = json!({ "type": "string" });
    let mut parameter =
        json!({ "name": name, "in": place, "required": required, "schema": schema });
    if !description.is_empty() {
        parameter["description"] = json!(description);
    }
    parameter
}

fn body(method: &str, operation: &mut Value, errors: &mut Errors) {
    if matches!(method, "post" | "put" | "patch") {
        errors.add(413, "`body.too-large`");
    }
    let Some(body) = operation.get_mut("requestBody") else {
        return;
    };
    errors.add(400, "`bad-body`");
    errors.add(422, "`invalid`");
    let content = &mut body["content"];
    if content.get("application/json").is_some() {
        errors.add(422, "`bad-json`");
        errors.add(415, "`body.not-json`");
    }
    // An empty body is an empty object: enough where no member must be there.
    if method == "patch" || body.get("required").is_none() {
        body["required"] = json!(false);
    }
}

fn headers(
    method: &str,
    precondition: Precondition,
    operation: &Value,
    parameters: &mut Vec<Value>,
    errors: &mut Errors,
) {
    match method {
        "get" if is_fixed(&operation["responses"]["200"]) => {
            let says = "The `ETag` of the row that the caller has: 304 if it is the same.";
            parameters.push(parameter("If-None-Match", "header", false, says));
        }
        // Before a login there is no caller whose key it could be.
        "post" if operation["security"] != json!([]) => {
            let says = "The same key and request get the same answer, and take effect once.";
            let mut key = parameter("Idempotency-Key", "header", false, says);
            key["schema"] = json!({
                "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$",
            });
            parameters.push(key);
            errors.add(409, "`idempotency.in-flight`");
            errors.add(422, "`idempotency.other-request`, `idempotency.bad-key`");
        }
        "put" | "patch" | "delete" if precondition != Precondition::None => {
            let required = precondition == Precondition::Required;
            let says = "The `ETag` of the row as the caller read it, or `*`.";
            parameters.push(parameter("If-Match", "header", required, says));
            errors.add(412, "`stale`");
            if required {
                errors.add(428, "`if-match.missing`");
            }
        }
        _ => {}
    }
}

fn is_tagged(response: &Value) -> bool {
    is_one_of(&TAGGED, response)
}

fn is_fixed(response: &Value) -> bool {
    is_tagged(response) && !is_one_of(&LIVE, response)
}

fn is_one_of(names: &[&str], response: &Value) -> bool {
    let schema = &response["content"]["application/json"]["schema"]["$ref"];
    names.iter().any(|name| *schema == reference(name))
}

/// The errors of one operation: codes by status.
#[derive(Default)]
struct Errors(std::collections::BTreeMap<u16, Vec<String>>);

impl Errors {
    fn add(&mut self, status: u16, codes: &str) {
        self.0.entry(status).or_default().push(codes.to_owned());
    }
}

fn responses(operation: &mut Value, mut errors: Errors) {
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    let mut is_row = false;
    for (status, response) in responses.iter_mut() {
        match status.parse::<u16>() {
            Ok(status @ 400..) => {
                let codes = response["description"].as_str().unwrap_or_default();
                errors.0.entry(status).or_default().insert(0, codes.to_owned());
            }
            _ => {
                if response["description"].as_str().is_none_or(str::is_empty) {
                    response["description"] = json!(in_words(status));
                }
                if is_tagged(response) {
                    let tag = json!({ "type": "string", "pattern": "^\"[0-9]+\"$" });
                    let header = json!({ "required": true, "schema": tag });
                    response["headers"]["ETag"] = header;
                    is_row |= status == "200";
                }
            }
        }
    }
    let for_browsers =
        responses.get("200").is_some_and(|ok| ok["content"]["text/html"].is_object());
    let shared = if for_browsers { "ProblemOrPage" } else { "Problem" };
    for (status, codes) in errors.0 {
        let reference = format!("#/components/responses/{shared}");
        let problem = json!({ "$ref": reference, "description": codes.join(", ") });
        responses.insert(status.to_string(), problem);
    }
    let conditional = |parameter: &Value| parameter["name"] == "If-None-Match";
    let parameters = operation["parameters"].as_array();
    if is_row && parameters.is_some_and(|all| all.iter().any(conditional)) {
        operation["responses"]["304"] = json!({ "description": "The caller has it" });
    }
}

fn in_words(status: &str) -> &'static str {
    match status {
        "201" => "Created",
        "204" => "Done",
        "202" => "Accepted: it goes on behind the answer",
        _ => "As asked",
    }
}
