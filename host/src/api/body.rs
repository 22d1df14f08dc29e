//! Reads a JSON body member by member, so that every wrong one is named at once, by its pointer.

use super::json;
use super::problem::{Fault, Problem};
use axum::body::{Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The body as an object; no body at all is an empty object. One of spaces is a body, and no JSON.
pub(crate) fn object(bytes: &Bytes) -> Result<Map<String, Value>, Problem> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match json::read(bytes)? {
        Value::Object(object) => Ok(object),
        other => {
            let message = format!("the body must be a JSON object, not {}", kind(&other));
            Err(Problem::invalid_at("", message))
        }
    }
}

/// 415 for a body that says of itself that it is no JSON. One that says nothing is taken as JSON.
pub(crate) async fn json_only(request: Request, next: Next) -> Result<Response, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_json = kind.is_none_or(|kind| kind.to_str().is_ok_and(is_json));
    if !is_json && !request.body().is_end_stream() {
        let detail = "send the body as JSON, with `Content-Type: application/json`";
        return Err(Problem::new(415, "body.not-json", detail));
    }
    Ok(next.run(request).await)
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The longest text that a member without a maximum of its own may hold.
const TEXT_CHARS_MAX: usize = 2_000;

/// Takes members out of an object and collects what is wrong. What is left at the end is unknown.
pub(crate) struct Members {
    object: Map<String, Value>,
    prefix: String,
    known: Vec<&'static str>,
    pub(crate) faults: Vec<Fault>,
}

impl Members {
    pub(crate) fn new(object: Map<String, Value>) -> Members {
        Members::at("", object)
    }

    pub(crate) fn at(prefix: &str, object: Map<String, Value>) -> Members {
        Members { object, prefix: prefix.to_owned(), known: Vec::new(), faults: Vec::new() }
    }

    pub(crate) fn fault(&mut self, member: &str, message: impl Into<String>) {
        let pointer = format!("{}/{member}", self.prefix);
        self.faults.push(Fault { pointer, message: message.into() });
    }

    /// The raw member; a null counts as left out.
    pub(crate) fn take(&mut self, member: &'static str) -> Option<Value> {
        self.known.push(member);
        self.object.remove(member).filter(|value| !value.is_null())
    }

    /// Whether the member is there, also as null.
    pub(crate) fn has(&self, member: &str) -> bool {
        self.object.contains_key(member)
    }

    /// A fault where the member is not there; null is as good as nothing.
    pub(crate) fn require(&mut self, member: &str) {
        if self.object.get(member).is_none_or(Value::is_null) {
            self.fault(member, "is missing");
        }
    }

    pub(crate) fn text(&mut self, member: &'static str) -> Option<String> {
        match self.take(member)? {
            Value::String(text) => {
                let message = unfit(&text, TEXT_CHARS_MAX);
                if let Some(message) = message {
                    self.fault(member, message);
                }
                Some(text.trim().to_owned())
            }
            other => {
                self.fault(member, format!("must be a text, not {}", kind(&other)));
                None
            }
        }
    }

    /// A name for people: one line of at most so many characters, and not blank. `new`: it must be there.
    pub(crate) fn name(
        &mut self,
        member: &'static str,
        new: bool,
        chars_max: usize,
    ) -> Option<String> {
        let present = self.has(member);
        let name = if new { Some(self.required(member)) } else { self.text(member) };
        let long = name.as_ref().is_some_and(|name| name.chars().count() > chars_max);
        if long {
            self.fault(member, format!("must have at most {chars_max} characters"));
        }
        if !new && present && name.as_ref().is_none_or(String::is_empty) {
            let wrong = self.faults.iter().any(|fault| fault.pointer.ends_with(member));
            if !wrong {
                self.fault(member, "must not be empty");
            }
        }
        name
    }

    /// A member that is set once and for all: says so instead of calling it unknown.
    pub(crate) fn fixed(&mut self, member: &'static str, instead: &str) {
        self.known.push(member);
        if self.object.remove(member).is_some() {
            self.fault(member, format!("cannot be changed: {instead}"));
        }
    }

    /// A text that must be there and not be blank.
    pub(crate) fn required(&mut self, member: &'static str) -> String {
        let faults_before = self.faults.len();
        match self.text(member) {
            Some(text) if !text.is_empty() => text,
            Some(_) => {
                self.fault(member, "must not be empty");
                String::new()
            }
            None => {
                // One of another kind is named already.
                if self.faults.len() == faults_before {
                    self.fault(member, "is missing");
                }
                String::new()
            }
        }
    }

    pub(crate) fn flag(&mut self, member: &'static str) -> Option<bool> {
        match self.take(member)? {
            Value::Bool(flag) => Some(flag),
            other => {
                self.fault(member, format!("must be true or false, not {}", kind(&other)));
                None
            }
        }
    }

    /// A whole number in a range.
    pub(crate) fn number(
        &mut self,
        member: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.take(member)?;
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            let (start, end) = (range.start(), range.end());
            self.fault(member, format!("must be a whole number from {start} to {end}"));
        }
        number
    }

    pub(crate) fn object(&mut self, member: &'static str) -> Option<Map<String, Value>> {
        match self.take(member)? {
            Value::Object(object) => Some(object),
            other => {
                self.fault(member, format!("must be an object, not {}", kind(&other)));
                None
            }
        }
    }

    /// An object of texts.
    pub(crate) fn texts(&mut self, member: &'static str) -> Option<BTreeMap<String, String>> {
        let object = self.object(member)?;
        let mut texts = BTreeMap::new();
        for (name, value) in object {
            match value {
                Value::String(text) => drop(texts.insert(name, text)),
                other => self.fault(
                    &format!("{member}/{}", escape(&name)),
                    format!("must be a text, not {}", kind(&other)),
                ),
            }
        }
        Some(texts)
    }

    pub(crate) fn list(&mut self, member: &'static str) -> Option<Vec<String>> {
        let Value::Array(values) = self.take(member)? else {
            self.fault(member, "must be a list of texts");
            return None;
        };
        let mut texts = Vec::with_capacity(values.len());
        for (at, value) in values.into_iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text),
                other => self.fault(
                    &format!("{member}/{at}"),
                    format!("must be a text, not {}", kind(&other)),
                ),
            }
        }
        Some(texts)
    }

    /// One of a few words.
    pub(crate) fn word(&mut self, member: &'static str, known: &[&str]) -> Option<String> {
        let word = self.text(member)?;
        if !known.contains(&word.as_str()) {
            let hint = near(&word, known.iter().copied());
            let hint = hint.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            self.fault(member, format!("must be one of {}{hint}", known.join(", ")));
            return None;
        }
        Some(word)
    }

    /// Hands over what is wrong to the object that this one is a part of.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        match self.finish() {
            Ok(()) => Vec::new(),
            Err(problem) => problem.into_faults(),
        }
    }

    /// Fails if anything was wrong or is left.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        for name in self.object.keys() {
            let near = near(name, self.known.iter().copied());
            let hint = near.map_or_else(
                || format!("known are {}", self.known.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            let pointer = format!("{}/{}", self.prefix, escape(name));
            self.faults.push(Fault { pointer, message: format!("is not known: {hint}") });
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }
}

/// The known word that a wrong one was probably meant to be.
pub(crate) fn near<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(known, word), known))
        .filter(|(distance, known)| *distance <= 3.min(known.len() / 2 + 1))
        .min()
        .map(|(_, known)| known)
}

/// What is wrong with a text of one line; none if nothing is.
pub(crate) fn unfit(text: &str, chars_max: usize) -> Option<String> {
    if text.contains(char::is_control) {
        return Some("must not hold control characters, such as line ends".to_owned());
    }
    let long = text.chars().count() > chars_max;
    long.then(|| format!("must have at most {chars_max} characters"))
}

/// A place in a decoded value as a JSON pointer.
pub(crate) fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path.iter() {
        let step = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => escape(key),
            Segment::Enum { variant } => escape(variant),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&step);
    }
    pointer
}

/// A name as a part of a JSON pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
