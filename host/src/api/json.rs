//! JSON of a body, read strictly: a member that stands twice is refused, because two readers would take it for two
//! different things. Knows nothing of what the members mean.

use super::body::escape;
use super::problem::{Fault, Problem};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// Reads a whole body. 422 with line and column where it is no JSON, with the pointer where a member stands twice.
pub(super) fn read(bytes: &[u8]) -> Result<Value, Problem> {
    let found = RefCell::new(None);
    let strict = Strict { path: &RefCell::new(String::new()), twice: &found };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde::de::DeserializeSeed::deserialize(strict, &mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match (value, found.into_inner()) {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(pointer)) => {
            let message = "stands twice in its object: keep one of them";
            Err(Problem::invalid_at(&pointer, message))
        }
        (Err(error), None) => {
            let detail = format!("the body is no JSON: {error}");
            let fault = Fault { pointer: String::new(), message: detail.clone() };
            Err(Problem::new(422, "bad-json", detail).with_faults(vec![fault]))
        }
    }
}

/// Reads one value at a place of the body.
#[derive(Clone, Copy)]
struct Strict<'a> {
    path: &'a RefCell<String>,
    /// The pointer of the first member that stands twice.
    twice: &'a RefCell<Option<String>>,
}

impl Strict<'_> {
    fn below<T>(&self, step: &str, read: impl FnOnce() -> T) -> T {
        let length = self.path.borrow().len();
        {
            let mut path = self.path.borrow_mut();
            path.push('/');
            path.push_str(step);
        }
        let value = read();
        self.path.borrow_mut().truncate(length);
        value
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) =
            self.below(&list.len().to_string(), || items.next_element_seed(self))?
        {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                let pointer = format!("{}/{}", self.path.borrow(), escape(&name));
                self.twice.replace(Some(pointer));
                return Err(A::Error::custom("a member stands twice"));
            }
            let value = self.below(&escape(&name), || members.next_value_seed(self))?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_read_as_it_stands() {
        for text in [
            "null",
            "{}",
            r#"{"a": [1, -2, 2.5, true, null, "é", {"b": {}}], "c": 18446744073709551615}"#,
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        #[track_caller]
        fn check(text: &str, code: &str, pointer: &str, words: &str) {
            let problem = serde_json::to_value(read(text.as_bytes()).unwrap_err()).unwrap();
            assert_eq!(problem["status"], json!(422), "{problem}");
            assert_eq!(problem["code"], code, "{problem}");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
            let message = problem["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains(words), "{problem}");
        }
        check("{\"a\": 1,\n  b}", "bad-json", "", "line 2 column 3");
        check("{} x", "bad-json", "", "trailing");
        check("{\"a\":", "bad-json", "", "line 1");
        check(&"[".repeat(1000), "bad-json", "", "recursion limit");
        check(r#"{"a": 1, "a": 2}"#, "invalid", "/a", "twice");
        check(r#"{"a": [{"b/c": 1, "x": {}, "b/c": 1}]}"#, "invalid", "/a/0/b~1c", "twice");
        check("\u{feff}{}", "bad-json", "", "column 1");
    }
}
