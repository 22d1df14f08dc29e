//! Lists and nested values: taking them apart, putting them together, mapping their items.

use super::{Changed, Step, TOO_LONG, length, room, run};
use crate::model::template::Transform;
use crate::model::{Cell, Value};
use serde_json::{Map, Value as Json};

/// One member of a mapped item, made ready.
#[derive(Debug)]
pub(in crate::mapping) struct Item {
    pub(in crate::mapping) source: String,
    pub(in crate::mapping) target: String,
    pub(in crate::mapping) steps: Vec<Step>,
    /// Further members of the item for its `concat` steps.
    pub(in crate::mapping) further: Vec<String>,
}

/// One step on nested JSON.
pub(super) fn apply(step: &Step, json: &str) -> Changed {
    let parsed = || serde_json::from_str::<Json>(json).map_err(|_| "is not valid JSON");
    match step {
        Step::Plain(Transform::Pointer(pointer)) => {
            Ok(Some(parsed()?.pointer(pointer).map_or(Value::Null, Value::from_json)))
        }
        Step::Plain(Transform::First) => first(&parsed()?).map(Some),
        Step::Plain(Transform::Join { sep }) => join(&parsed()?, sep).map(Some),
        Step::Each(items) => each(&parsed()?, items, room(json.len())).map(Some),
        _ => Ok(None),
    }
}

pub(super) fn split(text: &str, sep: &str) -> Value {
    let parts = text.split(sep).map(str::trim).filter(|part| !part.is_empty());
    Value::Json(Json::from_iter(parts).to_string())
}

fn items(json: &Json) -> Result<&Vec<Json>, &'static str> {
    json.as_array().ok_or("is not a list")
}

fn first(json: &Json) -> Result<Value, &'static str> {
    let found = items(json)?.iter().map(Value::from_json).find(|value| !value.is_blank());
    Ok(found.unwrap_or(Value::Null))
}

fn join(json: &Json, sep: &str) -> Result<Value, &'static str> {
    let mut parts = Vec::new();
    for value in items(json)?.iter().map(Value::from_json).filter(|value| !value.is_blank()) {
        if matches!(value, Value::Json(_)) {
            return Err("holds items that are lists or objects");
        }
        parts.push(value.display());
    }
    Ok(if parts.is_empty() { Value::Null } else { Value::Text(parts.join(sep)) })
}

/// Gives up as soon as it becomes too long: many members of many items take much more room than the list did.
fn each(json: &Json, members: &[Item], length_max: usize) -> Result<Value, &'static str> {
    let mut mapped = Vec::new();
    let mut made = 0;
    for item in items(json)? {
        let mut object = Map::new();
        for member in members {
            let further: Vec<Value> = member.further.iter().map(|name| read(item, name)).collect();
            let further = |at: usize| further.get(at).map(Cell::from).unwrap_or_default();
            let came = read(item, &member.source);
            let value = run(&member.steps, (&came).into(), &further)?.unwrap_or(came);
            made += member.target.len() + length((&value).into());
            if made > length_max {
                return Err(TOO_LONG);
            }
            object.insert(member.target.clone(), value.to_json());
        }
        mapped.push(Json::Object(object));
    }
    Ok(Value::Json(Json::Array(mapped).to_string()))
}

/// A member of an item by its name, or by a JSON pointer.
fn read(item: &Json, name: &str) -> Value {
    let found = if name.starts_with('/') { item.pointer(name) } else { item.get(name) };
    found.map_or(Value::Absent, Value::from_json)
}
