//! Reads a JSON body member by member, so that every wrong one is named at once, by its pointer.

use super::problem::{Fault, Problem};
use axum::body::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The body as an object; an empty body is an empty object.
pub(crate) fn object(bytes: &Bytes) -> Result<Map<String, Value>, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::invalid_at("", "the body must be a JSON object")),
        Err(error) => Err(Problem::new(400, "bad-json", format!("the body is no JSON: {error}"))),
    }
}

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

    pub(crate) fn text(&mut self, member: &'static str) -> Option<String> {
        match self.take(member)? {
            Value::String(text) => Some(text.trim().to_owned()),
            other => {
                self.fault(member, format!("must be a text, not {}", kind(&other)));
                None
            }
        }
    }

    /// A text that must be there and not be blank.
    pub(crate) fn required(&mut self, member: &'static str) -> String {
        let present = self.has(member);
        match self.text(member) {
            Some(text) if !text.is_empty() => text,
            Some(_) => {
                self.fault(member, "must not be empty");
                String::new()
            }
            None => {
                if !present || self.faults.is_empty() {
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

    /// A member of a type with its own decoder.
    pub(crate) fn typed<T: serde::de::DeserializeOwned>(
        &mut self,
        member: &'static str,
    ) -> Option<T> {
        let value = self.take(member)?;
        match serde_json::from_value(value) {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.fault(member, error.to_string());
                None
            }
        }
    }

    /// Fails if anything was wrong or is left.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        for name in self.object.keys() {
            let near = self
                .known
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, name), known))
                .filter(|(distance, _)| *distance <= 3)
                .min();
            let hint = near.map_or_else(
                || format!("known are {}", self.known.join(", ")),
                |(_, known)| format!("did you mean `{known}`?"),
            );
            let pointer = format!("{}/{}", self.prefix, escape(name));
            self.faults.push(Fault { pointer, message: format!("is not known: {hint}") });
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }
}

/// A name as a part of a JSON pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
