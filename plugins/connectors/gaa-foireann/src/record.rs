//! One member record: which remote names fill which slots, and what makes a record unreadable.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use syncline_plugin_sdk::{Cell, Error, PageBuilder, Result};

use crate::config::Config;
use crate::json::{self, Any, Key, Scalar, Take};

/// The fields of a row, in order; the health data follow where they are wanted.
const FIELDS: [&str; 11] = [
    "memberId",
    "firstName",
    "lastName",
    "dateOfBirth",
    "email",
    "phone",
    "address",
    "membershipNumber",
    "membershipStatus",
    "joinDate",
    "gender",
];
const HEALTH: [&str; 4] =
    ["emergencyContactName", "emergencyContactPhone", "medicalConditions", "allergies"];

/// The id and, by their position, the fields without which a record is nobody.
const ID: usize = 0;
const PERSON: Range<usize> = 1..4;
const MEMBERSHIP_NUMBER: usize = 7;

/// Kind of the alias under which the membership number is known.
const MEMBERSHIP_NUMBER_KIND: &str = "membershipNumber";

/// Where a remote field goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Value(usize),
    Deleted,
    UpdatedAt,
    /// Health data that nobody asked for.
    Dropped,
}

/// How to read the records of one connector.
#[derive(Debug)]
pub(crate) struct Plan {
    names: Vec<(String, Slot)>,
    pub(crate) health: bool,
}

impl Plan {
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let health = config.include_health_data;
        let fields = FIELDS.iter().enumerate().map(|(index, name)| (*name, Slot::Value(index)));
        let sensitive = HEALTH.iter().enumerate().map(|(index, name)| {
            (*name, if health { Slot::Value(FIELDS.len() + index) } else { Slot::Dropped })
        });
        let flags = [("deleted", Slot::Deleted), ("updatedAt", Slot::UpdatedAt)];
        let known: Vec<(&str, Slot)> = fields.chain(sensitive).chain(flags).collect();

        for (remote, ours) in &config.field_map {
            if !known.iter().any(|(name, _)| name == ours) {
                let pointer = format!("/fieldMap/{}", remote.replace('~', "~0").replace('/', "~1"));
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                return Err(Error::config(
                    pointer,
                    format!("`{ours}` is none of {}", names.join(", ")),
                ));
            }
        }
        let mut names = Vec::with_capacity(known.len());
        for (ours, slot) in known {
            let mut mapped = config
                .field_map
                .iter()
                .filter(|(_, target)| *target == ours)
                .map(|(remote, _)| remote);
            match (mapped.next(), mapped.next()) {
                (Some(_), Some(_)) => {
                    return Err(Error::config(
                        "/fieldMap",
                        format!("two remote fields are mapped to `{ours}`"),
                    ));
                }
                (Some(remote), None) => names.push((remote.clone(), slot)),
                (None, _) if config.field_map.contains_key(ours) => {}
                (None, _) => names.push((ours.to_owned(), slot)),
            }
        }
        Ok(Self { names, health })
    }

    /// The field names of a page.
    pub(crate) fn fields(&self) -> Vec<&'static str> {
        let health: &[&str] = if self.health { &HEALTH } else { &[] };
        FIELDS.iter().chain(health).copied().collect()
    }

    /// Where the health data are in a row.
    pub(crate) fn health_range(&self) -> Range<usize> {
        FIELDS.len()..self.width()
    }

    /// Whether a remote field must not leave this connector.
    pub(crate) fn is_dropped(&self, remote: &str) -> bool {
        self.names.iter().any(|(name, slot)| name == remote && *slot == Slot::Dropped)
    }

    fn width(&self) -> usize {
        if self.health { FIELDS.len() + HEALTH.len() } else { FIELDS.len() }
    }

    fn remote_name(&self, slot: usize) -> &str {
        let name = self.names.iter().find(|(_, other)| *other == Slot::Value(slot));
        name.map_or("memberId", |(name, _)| name.as_str())
    }

    /// Servers write the fields of each record in the same order: `guess` is where the last record had this key.
    fn find(&self, key: &str, guess: usize) -> Option<usize> {
        if self.names.get(guess).is_some_and(|(name, _)| name == key) {
            return Some(guess);
        }
        self.names.iter().position(|(name, _)| name == key)
    }
}

/// One value of a record. Texts are borrowed from the answer where that is possible: a page has tens of thousands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Given<'de> {
    #[default]
    Absent,
    Null,
    Boolean(bool),
    Text(Cow<'de, str>),
    Json(String),
}

impl Given<'_> {
    fn cell(&self) -> Cell<'_> {
        match self {
            Self::Absent => Cell::Absent,
            Self::Null => Cell::Null,
            Self::Boolean(boolean) => Cell::Boolean(*boolean),
            Self::Text(text) => Cell::Text(text),
            Self::Json(json) => Cell::Json(json),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A record that could be read.
#[derive(Debug)]
pub(crate) struct Member<'de> {
    updated_at: Option<Cow<'de, str>>,
    deleted: bool,
    values: Vec<Given<'de>>,
}

impl<'de> Member<'de> {
    /// The room that its values took, for the next one: a page has a thousand.
    pub(crate) fn into_room(self) -> Vec<Given<'de>> {
        self.values
    }

    pub(crate) fn id(&self) -> &str {
        self.values.get(ID).and_then(Given::text).unwrap_or_default()
    }

    pub(crate) fn add_to(&self, page: &mut PageBuilder) -> Result<()> {
        let mut row =
            page.row(self.id()).updated_at(self.updated_at.as_deref()).deleted(self.deleted);
        let number = self.values.get(MEMBERSHIP_NUMBER).and_then(Given::text);
        if let Some(number) = number.filter(|number| !number.trim().is_empty()) {
            row = row.alias(MEMBERSHIP_NUMBER_KIND, number);
        }
        row.cells(self.values.iter().map(Given::cell))
    }
}

/// A record that could not.
#[derive(Debug)]
pub(crate) struct Malformed {
    pub(crate) id: Option<String>,
    pub(crate) reason: String,
}

/// Reads the next JSON value as a member, whatever it is.
pub(crate) struct ReadMember<'a, 'de> {
    pub(crate) plan: &'a Plan,
    /// For each position in a record, where in the plan the last record's key was.
    pub(crate) guesses: &'a mut Vec<usize>,
    /// Of an earlier member.
    pub(crate) room: Vec<Given<'de>>,
}

impl<'de> Take<'de> for ReadMember<'_, 'de> {
    type Out = Result<Member<'de>, Malformed>;

    fn scalar(self, _: Scalar<'de>) -> Self::Out {
        Err(not_an_object())
    }

    fn seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Out, A::Error> {
        json::drain_seq(seq)?;
        Ok(Err(not_an_object()))
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Out, A::Error> {
        let Self { plan, guesses, room: mut values } = self;
        values.clear();
        values.resize(plan.width(), Given::Absent);
        let (mut deleted, mut updated_at) = (Given::Absent, Given::Absent);
        let mut position = 0;
        loop {
            if guesses.len() == position {
                guesses.push(position);
            }
            let Some(guess) = guesses.get_mut(position) else {
                break;
            };
            let Some(found) = map.next_key_seed(Key(|key: &str| plan.find(key, *guess)))? else {
                break;
            };
            position += 1;
            let slot = found.and_then(|index| {
                *guess = index;
                plan.names.get(index).map(|(_, slot)| *slot)
            });
            let target = match slot {
                Some(Slot::Value(index)) => values.get_mut(index),
                Some(Slot::Deleted) => Some(&mut deleted),
                Some(Slot::UpdatedAt) => Some(&mut updated_at),
                Some(Slot::Dropped) | None => None,
            };
            match target {
                Some(target) => *target = map.next_value_seed(Any(ReadValue))?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(check(plan, values, deleted, updated_at))
    }
}

fn check<'de>(
    plan: &Plan,
    values: Vec<Given<'de>>,
    deleted: Given<'de>,
    updated_at: Given<'de>,
) -> Result<Member<'de>, Malformed> {
    let name = plan.remote_name(ID);
    let id = match values.get(ID) {
        Some(Given::Text(id)) if !id.trim().is_empty() => id,
        Some(Given::Text(_)) => {
            return Err(Malformed { id: None, reason: format!("`{name}` is empty") });
        }
        Some(Given::Absent | Given::Null) | None => {
            return Err(Malformed { id: None, reason: format!("the record has no `{name}`") });
        }
        Some(_) => {
            return Err(Malformed {
                id: None,
                reason: format!("`{name}` is neither a text nor a number"),
            });
        }
    };
    for slot in PERSON {
        if let Some(Given::Json(_) | Given::Boolean(_)) = values.get(slot) {
            let reason = format!("`{}` is not a text", plan.remote_name(slot));
            return Err(Malformed { id: Some(id.to_string()), reason });
        }
    }
    let updated_at = match updated_at {
        Given::Text(instant) => Some(instant),
        _ => None,
    };
    Ok(Member { updated_at, deleted: deleted == Given::Boolean(true), values })
}

fn not_an_object() -> Malformed {
    Malformed { id: None, reason: "the record is not a JSON object".to_owned() }
}

/// Reads the next JSON value as given. All fields of a member are texts: numbers become their digits.
struct ReadValue;

impl<'de> Take<'de> for ReadValue {
    type Out = Given<'de>;

    fn scalar(self, scalar: Scalar<'de>) -> Given<'de> {
        let digits = |number: &dyn ToString| Given::Text(Cow::Owned(number.to_string()));
        match scalar {
            Scalar::Null => Given::Null,
            Scalar::Boolean(boolean) => Given::Boolean(boolean),
            Scalar::Integer(number) => digits(&number),
            Scalar::Unsigned(number) => digits(&number),
            Scalar::Float(number) => digits(&number),
            Scalar::Text(text) => Given::Text(text),
        }
    }

    fn seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Given<'de>, A::Error> {
        let nested = serde_json::Value::deserialize(SeqAccessDeserializer::new(seq))?;
        Ok(Given::Json(nested.to_string()))
    }

    fn map<A: MapAccess<'de>>(self, map: A) -> Result<Given<'de>, A::Error> {
        let nested = serde_json::Value::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Given::Json(nested.to_string()))
    }
}
