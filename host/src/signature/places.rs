//! Where a delivery carries its signature and time, and how they are written there.

use super::Refusal;
use crate::model::webhook::Format;
use http::{HeaderMap, HeaderName};

/// Signatures as texts, and the time where it is written among them.
pub(super) struct Found<'a> {
    pub(super) texts: Vec<&'a str>,
    pub(super) time: Option<&'a str>,
}

/// The header under the first of these names that is there. One that is there twice is refused: two readers could each
/// take another one.
pub(super) fn header<'a>(
    headers: &'a HeaderMap,
    names: &[HeaderName],
) -> Result<Option<&'a str>, Refusal> {
    for name in names {
        let mut values = headers.get_all(name).iter();
        if let Some(value) = values.next() {
            if values.next().is_some() {
                return Err(Refusal::Malformed);
            }
            return value.to_str().map(Some).map_err(|_| Refusal::Malformed);
        }
    }
    Ok(None)
}

/// The signatures of a text, at most `limit`.
pub(super) fn signatures<'a>(
    text: &'a str,
    format: &Format,
    limit: usize,
) -> Result<Found<'a>, Refusal> {
    let mut found = Found { texts: Vec::new(), time: None };
    match format {
        Format::Bare => found.texts.push(text),
        Format::Prefix(prefix) => {
            found.texts.push(text.strip_prefix(prefix.as_str()).ok_or(Refusal::Malformed)?);
        }
        Format::Pairs { signature, timestamp } => {
            for pair in text.split(',') {
                let (name, value) = pair.trim().split_once('=').ok_or(Refusal::Malformed)?;
                if name == signature {
                    found.texts.push(value);
                } else if name == timestamp && found.time.replace(value).is_some() {
                    return Err(Refusal::Malformed);
                }
            }
            if found.time.is_none() {
                return Err(Refusal::Malformed);
            }
        }
        Format::List(version) => {
            let of_version = |item: &'a str| item.strip_prefix(version.as_str())?.strip_prefix(',');
            found.texts.extend(text.split(' ').filter_map(of_version));
        }
    }
    if found.texts.is_empty() || found.texts.len() > limit {
        return Err(Refusal::Malformed);
    }
    Ok(found)
}
