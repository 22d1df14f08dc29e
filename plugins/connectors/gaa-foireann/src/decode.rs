//! Whole answers: finds the records by JSON pointer and reads them while they are parsed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;
use syncline_plugin_sdk::{Error, PageBuilder, Result};

use crate::config::Config;
use crate::json::{self, Any, Key, Scalar, Take};
use crate::record::{Malformed, Member, Plan, ReadMember};

/// What a list answer holds.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) page: PageBuilder,
    /// Rows and rejects together.
    pub(crate) count: usize,
    pub(crate) total: Option<u64>,
    /// Whether the server says that there is more; `None` where it does not say.
    pub(crate) more: Option<bool>,
}

/// What a detail answer holds.
#[derive(Debug)]
pub(crate) enum Found<'de> {
    Row(Member<'de>),
    Reject { reason: String, raw: String },
}

pub(crate) fn listing(text: &str, plan: &Plan, config: &Config) -> Result<Listing> {
    let mut sink = Sink::new(plan, true);
    let targets = [
        (config.list_pointer.as_str(), Target::Records),
        (config.total_pointer.as_str(), Target::Total),
        (config.more_pointer.as_str(), Target::More),
    ];
    read(text, &targets, &mut sink)?;
    let pointer = &config.list_pointer;
    match sink.seen {
        Seen::Once => {}
        Seen::Never => {
            return Err(Error::BadResponse(format!("there is no list at `{pointer}`")));
        }
        Seen::Twice => {
            return Err(Error::BadResponse(format!("there are two lists at `{pointer}`")));
        }
        Seen::OtherShape => return Err(Error::BadResponse(format!("`{pointer}` is not a list"))),
    }
    let total = count_of(&sink.total, &config.total_pointer)?;
    let more = flag_of(&sink.more, &config.more_pointer)?;
    let Sink { mut page, rejects, count, .. } = sink;
    if !rejects.is_empty() {
        let raws: Vec<&RawValue> = serde_json::from_str(raw_at(text, pointer)?)?;
        for (index, Malformed { id, reason }) in rejects {
            let raw = raws.get(index).map_or("", |raw| raw.get());
            page.reject(id, reason, publishable(raw, plan));
        }
    }
    Ok(Listing { page, count, total, more })
}

pub(crate) fn detail<'a>(text: &'a str, plan: &Plan, config: &Config) -> Result<Found<'a>> {
    let mut sink = Sink::new(plan, false);
    let pointer = &config.detail_pointer;
    read(text, &[(pointer, Target::Records)], &mut sink)?;
    match sink.single {
        None => Err(Error::BadResponse(format!("there is no record at `{pointer}`"))),
        Some(Ok(member)) => Ok(Found::Row(member)),
        Some(Err(Malformed { reason, .. })) => {
            Ok(Found::Reject { reason, raw: publishable(raw_at(text, pointer)?, plan) })
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Records,
    Total,
    More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Never,
    Once,
    Twice,
    OtherShape,
}

/// Where the parts of an answer are gathered.
struct Sink<'a, 'de> {
    plan: &'a Plan,
    guesses: Vec<usize>,
    /// Whether the records are a list, or a single one.
    list: bool,
    seen: Seen,
    page: PageBuilder,
    /// How many records the list held so far.
    count: usize,
    /// By their place in the list.
    rejects: Vec<(usize, Malformed)>,
    single: Option<Result<Member<'de>, Malformed>>,
    total: serde_json::Value,
    more: serde_json::Value,
}

impl<'a> Sink<'a, '_> {
    fn new(plan: &'a Plan, list: bool) -> Self {
        Self {
            plan,
            guesses: Vec::new(),
            list,
            seen: Seen::Never,
            page: PageBuilder::new(&plan.fields()),
            count: 0,
            rejects: Vec::new(),
            single: None,
            total: serde_json::Value::Null,
            more: serde_json::Value::Null,
        }
    }
}

fn read<'a>(text: &'a str, targets: &[(&str, Target)], sink: &mut Sink<'_, 'a>) -> Result<()> {
    let targets: Vec<(Vec<Cow<'_, str>>, Target)> =
        targets.iter().map(|(pointer, target)| (json::pointer_tokens(pointer), *target)).collect();
    let paths = targets.iter().map(|(tokens, target)| (tokens.as_slice(), *target)).collect();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Walk { paths, sink }.deserialize(&mut deserializer)?;
    Ok(deserializer.end()?)
}

/// Reads one JSON value on the way to the targets.
struct Walk<'a, 'b, 'de> {
    /// What is left of the way to each target.
    paths: Vec<(&'a [Cow<'a, str>], Target)>,
    sink: &'a mut Sink<'b, 'de>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        use serde::Deserialize;
        let arrived =
            self.paths.iter().find(|(tokens, _)| tokens.is_empty()).map(|(_, target)| *target);
        let sink = self.sink;
        match arrived {
            _ if self.paths.is_empty() => IgnoredAny::deserialize(deserializer).map(drop),
            None => Any(Walk { paths: self.paths, sink }).deserialize(deserializer),
            Some(Target::Total) => {
                serde_json::Value::deserialize(deserializer).map(|value| sink.total = value)
            }
            Some(Target::More) => {
                serde_json::Value::deserialize(deserializer).map(|value| sink.more = value)
            }
            Some(Target::Records) if sink.list => Any(ReadList(sink)).deserialize(deserializer),
            Some(Target::Records) => {
                let (plan, room) = (sink.plan, Vec::new());
                let member = ReadMember { plan, guesses: &mut sink.guesses, room };
                Any(member).deserialize(deserializer).map(|member| sink.single = Some(member))
            }
        }
    }
}

impl<'de> Take<'de> for Walk<'_, '_, 'de> {
    type Out = ();

    fn scalar(self, _: Scalar<'de>) {}

    fn seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        json::drain_seq(seq)
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { paths, sink } = self;
        let below = |key: &str| {
            let next = paths.iter().filter_map(|(tokens, target)| {
                let (first, rest) = tokens.split_first()?;
                (first == key).then_some((rest, *target))
            });
            next.collect::<Vec<_>>()
        };
        while let Some(paths) = map.next_key_seed(Key(below))? {
            map.next_value_seed(Walk { paths, sink: &mut *sink })?;
        }
        Ok(())
    }
}

struct ReadList<'a, 'b, 'de>(&'a mut Sink<'b, 'de>);

impl<'de> Take<'de> for ReadList<'_, '_, 'de> {
    type Out = ();

    fn scalar(self, _: Scalar<'de>) {
        self.0.seen = Seen::OtherShape;
    }

    fn seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let sink = self.0;
        sink.seen = if sink.seen == Seen::Never { Seen::Once } else { Seen::Twice };
        let mut room = Vec::new();
        loop {
            let plan = sink.plan;
            let member = ReadMember { plan, guesses: &mut sink.guesses, room };
            let Some(member) = seq.next_element_seed(Any(member))? else { return Ok(()) };
            room = Vec::new();
            match member {
                Ok(member) => {
                    member.add_to(&mut sink.page).map_err(A::Error::custom)?;
                    room = member.into_room();
                }
                Err(malformed) => sink.rejects.push((sink.count, malformed)),
            }
            sink.count += 1;
        }
    }

    fn map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.seen = Seen::OtherShape;
        json::drain_map(map)
    }
}

fn count_of(value: &serde_json::Value, pointer: &str) -> Result<Option<u64>> {
    match value {
        serde_json::Value::Null => Ok(None),
        value => {
            let count =
                value.as_u64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
            count.map(Some).ok_or_else(|| Error::BadResponse(format!("`{pointer}` is not a count")))
        }
    }
}

fn flag_of(value: &serde_json::Value, pointer: &str) -> Result<Option<bool>> {
    match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::Bool(flag) => Ok(Some(*flag)),
        _ => Err(Error::BadResponse(format!("`{pointer}` is neither true nor false"))),
    }
}

/// The text of the value at a pointer. A second pass over the answer: only for those that hold a malformed record.
fn raw_at<'a>(text: &'a str, pointer: &str) -> Result<&'a str> {
    let mut raw: &RawValue = serde_json::from_str(text)?;
    for token in json::pointer_tokens(pointer) {
        let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw.get())?;
        raw = members
            .get(token.as_ref())
            .copied()
            .ok_or_else(|| Error::BadResponse(format!("there is nothing at `{pointer}`")))?;
    }
    Ok(raw.get())
}

/// A record's text without the health data that nobody asked for.
fn publishable(raw: &str, plan: &Plan) -> String {
    let Ok(serde_json::Value::Object(mut record)) = serde_json::from_str(raw) else {
        return raw.to_owned();
    };
    let members = record.len();
    record.retain(|name, _| !plan.is_dropped(name));
    if record.len() == members {
        raw.to_owned()
    } else {
        serde_json::Value::Object(record).to_string()
    }
}
