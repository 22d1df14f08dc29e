//! What is read of a body: its members where the scheme signs them, and the id where the scheme says that it is there.

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// A larger body is no form of a few texts. It is not read, so that a refusal costs about the same whatever the body is and
/// whether somebody receives at the address.
const BYTES_MAX: usize = 16 << 10;

/// A body that is one flat object of texts.
pub(super) struct Members(BTreeMap<String, String>);

impl Members {
    /// None where it is anything else, or names a member twice.
    pub(super) fn read(body: &[u8]) -> Option<Members> {
        if body.len() > BYTES_MAX {
            return None;
        }
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let members = deserializer.deserialize_map(Flat).ok()?;
        deserializer.end().ok()?;
        Some(Members(members))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Compact JSON of the wanted members with sorted keys; none unless these and the signature are all that is there.
    pub(super) fn canonical(&self, wanted: &[String], signature: Option<&str>) -> Option<Vec<u8>> {
        let signed: BTreeMap<&str, &str> = wanted
            .iter()
            .map(|name| Some((name.as_str(), self.get(name)?)))
            .collect::<Option<_>>()?;
        let others = self.0.keys().filter(|name| Some(name.as_str()) != signature);
        if others.count() != signed.len() {
            return None;
        }
        serde_json::to_vec(&signed).ok()
    }

    /// The body with one more member.
    pub(super) fn with(mut self, name: &str, value: &str) -> Vec<u8> {
        self.0.insert(name.to_owned(), value.to_owned());
        serde_json::to_vec(&self.0).unwrap_or_default()
    }
}

struct Flat;

impl<'de> Visitor<'de> for Flat {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(members)
    }
}

/// The text or number at a pointer.
pub(super) fn text_at(body: &[u8], pointer: &str) -> Option<String> {
    match serde_json::from_slice::<Value>(body).ok()?.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
