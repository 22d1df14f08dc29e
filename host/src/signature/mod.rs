//! Who signed a delivery: schemes as data, verification and signing over raw bytes. Pure.
//!
//! Owns the comparison of signatures, which takes the same time whatever is wrong. Must not know a secret's place, look
//! at a clock, or decide what happens to a delivery. Whatever cannot be read is refused, never guessed.

mod body;
mod keys;
mod places;
mod shipped;
mod sign;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use keys::{Keys, SecretFault};
pub use shipped::{NAMES, shipped};
pub use sign::{SignFault, Signed, sign};

use crate::model::webhook::{
    Algorithm, Format, Handshake, IdPlace, Segment, SignatureScheme, SignatureSource, TimeFormat,
};
use body::Members;
use http::{HeaderMap, HeaderName};
use places::{Found, header};
use sha2::{Digest, Sha256, Sha512};
use std::borrow::Cow;

/// Signatures of one delivery that are compared: a sender that changes its key sends two.
const SIGNATURES_MAX: usize = 8;
const TIME_DIGITS_MAX: usize = 16;
const ID_BYTES_MAX: usize = 512;

/// What makes a scheme unusable: JSON pointer and sentence.
pub type SchemeFault = (&'static str, String);

/// A scheme whose parts fit together.
#[derive(Debug)]
pub struct Verifier {
    scheme: SignatureScheme,
    places: Vec<(Source, Format)>,
    segments: Vec<Part>,
    time_header: Vec<HeaderName>,
    id_header: Vec<HeaderName>,
}

#[derive(Debug)]
enum Source {
    Header(Vec<HeaderName>),
    Member(String),
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Header(Vec<HeaderName>),
    Timestamp,
    Body,
    Canonical(Vec<String>),
}

/// Why a delivery is not believed. All are answered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unsigned,
    /// A header that is there twice, a signature or time that cannot be read.
    Malformed,
    Forged,
}

/// What the signature of a delivery vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Milliseconds since the epoch.
    pub signed_at: Option<i64>,
    pub identity: Identity,
}

/// What tells this delivery from others, by signed data alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The sender's own id.
    Id(String),
    /// All that is signed, a time with it.
    Timed([u8; 32]),
    /// All that is signed, or the body with a token; a later delivery may rightly be identical.
    Bytes([u8; 32]),
}

/// A delivery taken apart.
struct Reading<'a> {
    signatures: Vec<Vec<u8>>,
    /// As it is written.
    time: Option<&'a str>,
    parts: Vec<Cow<'a, [u8]>>,
}

fn part(segment: &Segment) -> Result<Part, String> {
    Ok(match segment {
        Segment::Literal(text) => Part::Literal(text.clone()),
        Segment::Header(texts) => Part::Header(names(texts)?),
        Segment::Timestamp => Part::Timestamp,
        Segment::Body => Part::Body,
        Segment::CanonicalJson(members) if members.is_empty() => {
            return Err("names no member".to_owned());
        }
        Segment::CanonicalJson(members) => Part::Canonical(members.clone()),
    })
}

fn names(texts: &[String]) -> Result<Vec<HeaderName>, String> {
    if texts.is_empty() {
        return Err("names no header".to_owned());
    }
    let name = |text: &String| text.parse().map_err(|_| format!("{text:?} is no header name"));
    texts.iter().map(name).collect()
}

/// The member that a pointer to the top of the body names.
fn top_member(pointer: &str) -> Result<String, String> {
    match pointer.strip_prefix('/') {
        Some(name) if !name.is_empty() && !name.contains(['/', '~']) => Ok(name.to_owned()),
        _ => Err("must name a member at the top of the body, such as `/signature`".to_owned()),
    }
}

impl Verifier {
    pub fn new(scheme: &SignatureScheme) -> Result<Verifier, SchemeFault> {
        let at = |pointer: &'static str| move |reason: String| (pointer, reason);
        let mut places = Vec::with_capacity(scheme.signature.len());
        for place in &scheme.signature {
            let source = match &place.from {
                SignatureSource::Header(texts) => names(texts).map(Source::Header),
                SignatureSource::Pointer(pointer) => top_member(pointer).map(Source::Member),
            };
            places.push((source.map_err(at("/signature"))?, place.format.clone()));
        }
        if places.is_empty() {
            return Err(("/signature", "names no place".to_owned()));
        }
        let segments = scheme.signed.iter().map(part).collect::<Result<Vec<_>, _>>();
        let segments = segments.map_err(at("/signed"))?;
        let is_token = scheme.algorithm == Algorithm::Token;
        let covers = |part: &Part| matches!(part, Part::Body | Part::Canonical(_));
        if is_token != segments.is_empty() || !is_token && !segments.iter().any(covers) {
            let reason = "must cover the body; only a token signs nothing".to_owned();
            return Err(("/signed", reason));
        }
        let time = scheme.timestamp.as_ref();
        let in_signature =
            scheme.signature.iter().all(|place| matches!(place.format, Format::Pairs { .. }));
        let signs_time = segments.iter().any(|part| matches!(part, Part::Timestamp));
        if time.is_some() != signs_time {
            let reason = "must be given if and only if it is signed".to_owned();
            return Err(("/timestamp", reason));
        }
        let time_header = match time {
            Some(time) if time.header.is_empty() && in_signature => Vec::new(),
            Some(time) => names(&time.header).map_err(at("/timestamp"))?,
            None => Vec::new(),
        };
        let id_header = match &scheme.delivery_id {
            Some(IdPlace::Header(texts)) => names(texts).map_err(at("/deliveryId"))?,
            Some(IdPlace::Pointer(_)) | None => Vec::new(),
        };
        let signs = |part: &Part| matches!(part, Part::Header(signed) if *signed == id_header);
        if !id_header.is_empty() && !segments.iter().any(signs) {
            let reason = "must be one of the signed headers: another can be exchanged".to_owned();
            return Err(("/deliveryId", reason));
        }
        if let Some(pointer) = &scheme.connector {
            top_member(pointer).map_err(at("/connector"))?;
        }
        Ok(Verifier { scheme: scheme.clone(), places, segments, time_header, id_header })
    }

    pub fn scheme(&self) -> &SignatureScheme {
        &self.scheme
    }

    /// How far off the signed time may be, in milliseconds; none where no time is signed.
    pub fn tolerance_millis(&self) -> Option<i64> {
        self.scheme.timestamp.as_ref().map(|time| i64::from(time.tolerance_seconds) * 1_000)
    }

    /// Whether a header says who the sender is, and so must not be kept.
    pub fn is_secret(&self, name: &HeaderName) -> bool {
        let holds = |(source, _): &(Source, Format)| matches!(source, Source::Header(names) if names.contains(name));
        self.places.iter().any(holds)
    }

    /// Whether the body is a handshake of the scheme, which needs no signature.
    pub fn is_handshake(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let signed = self.places.iter().any(|(source, _)| match source {
            Source::Header(names) => names.iter().any(|name| headers.contains_key(name)),
            Source::Member(_) => false,
        });
        let is = |shake: &Handshake| {
            let rest = body.strip_prefix(shake.body_prefix.as_bytes());
            rest.is_some_and(|rest| {
                (1..=20).contains(&rest.len()) && rest.iter().all(u8::is_ascii_digit)
            })
        };
        !signed && self.scheme.handshakes.iter().any(is)
    }

    /// The connector that the body claims to be for, not yet believed.
    pub fn connector_named(&self, body: &[u8]) -> Option<String> {
        let name = top_member(self.scheme.connector.as_deref()?).ok()?;
        Members::read(body)?.get(&name).map(str::to_owned)
    }

    /// Checks a delivery against all keys, in a time that does not tell which of them fits, or whether one does.
    pub fn verify(
        &self,
        keys: &Keys,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Verified, Refusal> {
        let by_member = self.places.iter().any(|(from, _)| matches!(from, Source::Member(_)));
        let members = if by_member { Members::read(body) } else { None };
        let read = self.read(headers, body, members.as_ref());
        // What cannot be read costs as much as what is forged.
        let unread = [Cow::Borrowed(body)];
        let (parts, given): (&[Cow<'_, [u8]>], &[Vec<u8>]) = match &read {
            Ok(read) => (&read.parts, &read.signatures),
            Err(_) => (&unread, &[]),
        };
        let fits = match self.scheme.algorithm {
            Algorithm::Token => keys.is_token(given),
            Algorithm::HmacSha256 => keys.signed::<hmac::Hmac<Sha256>>(parts, given),
            Algorithm::HmacSha512 => keys.signed::<hmac::Hmac<Sha512>>(parts, given),
            Algorithm::Ed25519 => keys.verified(parts, given),
        };
        let read = read?;
        if !fits {
            return Err(Refusal::Forged);
        }
        let signed_at = read.time.map(|time| self.instant(time)).transpose()?;
        Ok(Verified { signed_at, identity: self.identity(headers, body, &read) })
    }

    /// Takes a delivery apart without believing it.
    fn read<'a>(
        &'a self,
        headers: &'a HeaderMap,
        body: &'a [u8],
        members: Option<&'a Members>,
    ) -> Result<Reading<'a>, Refusal> {
        let mut found = None;
        for (source, format) in &self.places {
            let text = match source {
                Source::Header(names) => header(headers, names)?,
                Source::Member(name) => members.and_then(|members| members.get(name)),
            };
            if let Some(text) = text {
                found = Some(places::signatures(text, format, SIGNATURES_MAX)?);
                break;
            }
        }
        let Found { texts, time } = found.ok_or(Refusal::Unsigned)?;
        let decode = |text: &&str| keys::decode(self.scheme.algorithm, self.scheme.encoding, text);
        let signatures: Vec<Vec<u8>> = texts.iter().filter_map(decode).collect();
        if signatures.is_empty() {
            return Err(Refusal::Malformed);
        }
        let time = match (&self.scheme.timestamp, time) {
            (None, _) => None,
            (Some(_), Some(time)) => Some(time),
            (Some(_), None) => Some(header(headers, &self.time_header)?.ok_or(Refusal::Malformed)?),
        };
        let mut parts = Vec::with_capacity(self.segments.len());
        for part in &self.segments {
            parts.push(match part {
                Part::Literal(text) => Cow::Borrowed(text.as_bytes()),
                Part::Header(names) => {
                    let text = header(headers, names)?.ok_or(Refusal::Malformed)?;
                    Cow::Borrowed(text.as_bytes())
                }
                Part::Timestamp => Cow::Borrowed(time.ok_or(Refusal::Malformed)?.as_bytes()),
                Part::Body => Cow::Borrowed(body),
                Part::Canonical(wanted) => {
                    let members = members.ok_or(Refusal::Malformed)?;
                    let canonical = members.canonical(wanted, self.signature_member());
                    Cow::Owned(canonical.ok_or(Refusal::Malformed)?)
                }
            });
        }
        Ok(Reading { signatures, time, parts })
    }

    fn signature_member(&self) -> Option<&str> {
        self.places.iter().find_map(|(source, _)| match source {
            Source::Member(name) => Some(name.as_str()),
            Source::Header(_) => None,
        })
    }

    fn instant(&self, text: &str) -> Result<i64, Refusal> {
        let digits = !text.is_empty()
            && text.len() <= TIME_DIGITS_MAX
            && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<i64>().ok().filter(|_| digits).ok_or(Refusal::Malformed)?;
        match self.scheme.timestamp.as_ref().map(|time| time.format) {
            Some(TimeFormat::UnixMillis) => Ok(number),
            _ => Ok(number.saturating_mul(1_000)),
        }
    }

    fn identity(&self, headers: &HeaderMap, body: &[u8], read: &Reading<'_>) -> Identity {
        let id = match &self.scheme.delivery_id {
            Some(IdPlace::Header(_)) => {
                header(headers, &self.id_header).ok().flatten().map(str::to_owned)
            }
            Some(IdPlace::Pointer(pointer)) => body::text_at(body, pointer),
            None => None,
        };
        if let Some(id) = id.filter(|id| (1..=ID_BYTES_MAX).contains(&id.len())) {
            return Identity::Id(id);
        }
        // What the signature covers and nothing else: whoever repeats a delivery can change the rest. A token covers nothing.
        let mut hash = Sha256::new();
        match read.parts.is_empty() {
            true => hash.update(body),
            false => read.parts.iter().for_each(|part| hash.update(part)),
        }
        match read.time {
            Some(_) => Identity::Timed(hash.finalize().into()),
            None => Identity::Bytes(hash.finalize().into()),
        }
    }
}
