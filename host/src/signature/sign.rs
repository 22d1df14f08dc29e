//! Signs a delivery as the remote would, for tests of a receiver by hand.

use super::body::Members;
use super::keys::{encode, key};
use super::{Part, SecretFault, Source, Verifier};
use crate::model::webhook::{Algorithm, Format, TimeFormat};
use aws_lc_rs::signature::Ed25519KeyPair;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignFault {
    #[error(transparent)]
    Secret(#[from] SecretFault),
    #[error("signing takes the sender's private key, `whsk_...`: a public one only verifies")]
    NoPrivateKey,
    #[error("the body must be a JSON object of the texts {}, and nothing else", .0.join(", "))]
    Body(Vec<String>),
}

/// Signs `body` with a secret as a person sets it, or with the private key where that is a public one. `id` names the delivery where the scheme signs an id; `now` is in
/// milliseconds since the epoch.
pub fn sign(
    verifier: &Verifier,
    secret: &str,
    id: &str,
    now: i64,
    body: &[u8],
) -> Result<Signed, SignFault> {
    let scheme = &verifier.scheme;
    let key = match scheme.algorithm {
        Algorithm::Ed25519 => key(scheme, secret.strip_prefix(PRIVATE_PREFIX).unwrap_or(secret))?,
        _ => key(scheme, secret)?,
    };
    let time = match scheme.timestamp.as_ref().map(|time| time.format) {
        Some(TimeFormat::UnixMillis) => now.to_string(),
        _ => (now / 1_000).to_string(),
    };
    let mut headers = Vec::new();
    let mut signed = Vec::with_capacity(body.len() + 64);
    let mut members = None;
    for part in &verifier.segments {
        match part {
            Part::Literal(text) => signed.extend_from_slice(text.as_bytes()),
            Part::Header(names) => {
                headers.extend(names.first().map(|name| (name.to_string(), id.to_owned())));
                signed.extend_from_slice(id.as_bytes());
            }
            Part::Timestamp => signed.extend_from_slice(time.as_bytes()),
            Part::Body => signed.extend_from_slice(body),
            Part::Canonical(wanted) => {
                let read = Members::read(body);
                let canonical = read.as_ref().and_then(|read| read.canonical(wanted, None));
                signed.extend(canonical.ok_or_else(|| SignFault::Body(wanted.clone()))?);
                members = read;
            }
        }
    }
    headers.extend(verifier.time_header.first().map(|name| (name.to_string(), time.clone())));
    let signature = match scheme.algorithm {
        Algorithm::Token => String::from_utf8_lossy(&key).into_owned(),
        Algorithm::HmacSha256 => encode(scheme.encoding, &mac::<Hmac<Sha256>>(&key, &signed)),
        Algorithm::HmacSha512 => encode(scheme.encoding, &mac::<Hmac<Sha512>>(&key, &signed)),
        Algorithm::Ed25519 => encode(scheme.encoding, private(&key)?.sign(&signed).as_ref()),
    };
    let Some((source, format)) = verifier.places.first() else {
        return Ok(Signed { headers, body: body.to_vec() });
    };
    let written = match format {
        Format::Bare => signature,
        Format::Prefix(prefix) => format!("{prefix}{signature}"),
        Format::Pairs { signature: name, timestamp } => {
            format!("{timestamp}={time},{name}={signature}")
        }
        Format::List(version) => format!("{version},{signature}"),
    };
    let body = match source {
        Source::Header(names) => {
            headers.extend(names.first().map(|name| (name.to_string(), written)));
            body.to_vec()
        }
        Source::Member(name) => match members {
            Some(members) => members.with(name, &written),
            None => body.to_vec(),
        },
    };
    Ok(Signed { headers, body })
}

/// How Standard Webhooks marks a private key.
const PRIVATE_PREFIX: &str = "whsk_";

/// The pair of a seed, or of a seed with its public key behind it.
fn private(key: &[u8]) -> Result<Ed25519KeyPair, SignFault> {
    let pair = match key.split_at_checked(32) {
        Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
        Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
        None => return Err(SignFault::NoPrivateKey),
    };
    pair.map_err(|_| SignFault::NoPrivateKey)
}

fn mac<M: Mac + KeyInit>(key: &[u8], signed: &[u8]) -> Vec<u8> {
    // Any length of key is taken; the error of the interface cannot happen.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
    mac.update(signed);
    mac.finalize().into_bytes().to_vec()
}
