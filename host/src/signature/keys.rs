//! Keys of a receiver, made of the secrets that a person set, and the comparison itself.

use crate::model::webhook::{Algorithm, Encoding, SecretEncoding, SignatureScheme};
use aws_lc_rs::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// How many keys may be in use at once: a change of the secret has two for a while.
const KEYS: usize = 2;

/// Why a secret is none for this scheme; the message never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    #[error("the webhook secret is empty")]
    Empty,
    #[error("the webhook secret is not in {0}, which its scheme asks for")]
    Encoding(&'static str),
    #[error(
        "the webhook secret is not the sender's public key, which has {ED25519_PUBLIC_KEY_LEN} bytes"
    )]
    NoPublicKey,
}

/// The keys of one receiver. Places without a key hold random bytes, so that a check always costs the same.
pub struct Keys([Zeroizing<Vec<u8>>; KEYS]);

impl Keys {
    /// `filler`: random bytes for the places that no secret takes.
    pub fn new(
        scheme: &SignatureScheme,
        secrets: &[&str],
        filler: &[u8],
    ) -> Result<Keys, SecretFault> {
        let mut keys = [(); KEYS].map(|()| Zeroizing::new(filler.to_vec()));
        for (place, secret) in keys.iter_mut().zip(secrets) {
            *place = key(scheme, secret)?;
            if scheme.algorithm == Algorithm::Ed25519 && place.len() != ED25519_PUBLIC_KEY_LEN {
                return Err(SecretFault::NoPublicKey);
            }
        }
        Ok(Keys(keys))
    }

    /// The keys of those secrets that are ones for the scheme, and which is the first that is not. None: none of them is.
    pub fn fitting(
        scheme: &SignatureScheme,
        secrets: &[&str],
        filler: &[u8],
    ) -> (Option<Keys>, Option<(usize, SecretFault)>) {
        let (mut fitting, mut wrong) = (Vec::new(), None);
        for (place, secret) in secrets.iter().enumerate() {
            match Keys::new(scheme, &[*secret], filler) {
                Ok(_) => fitting.push(*secret),
                Err(fault) => wrong = wrong.or(Some((place, fault))),
            }
        }
        let keys = (!fitting.is_empty()).then(|| Keys::new(scheme, &fitting, filler).ok());
        (keys.flatten(), wrong)
    }

    /// Keys that nobody has, for receivers that do not exist.
    pub fn nobody(filler: &[u8]) -> Keys {
        Keys([(); KEYS].map(|()| Zeroizing::new(filler.to_vec())))
    }

    /// Whether one of the signatures is that of the parts under one of the keys. All are compared.
    pub(super) fn signed<M: Mac + KeyInit>(
        &self,
        parts: &[Cow<'_, [u8]>],
        signatures: &[Vec<u8>],
    ) -> bool {
        let mut fits = Choice::from(0);
        for key in &self.0 {
            // Any length of key is taken; the error of the interface cannot happen.
            let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { continue };
            parts.iter().for_each(|part| mac.update(part));
            let tag = mac.finalize().into_bytes();
            for signature in signatures {
                fits |= tag.as_slice().ct_eq(signature);
            }
        }
        fits.into()
    }

    /// Whether one of the signatures over the parts was made with the private half of one of the keys. All are looked at;
    /// what is public needs no comparison in constant time.
    pub(super) fn verified(&self, parts: &[Cow<'_, [u8]>], signatures: &[Vec<u8>]) -> bool {
        let message = parts.concat();
        let mut fits = false;
        for key in &self.0 {
            let key = UnparsedPublicKey::new(&ED25519, key.as_slice());
            for signature in signatures {
                fits |= key.verify(&message, signature).is_ok();
            }
        }
        fits
    }

    /// Whether one of the texts is one of the keys. Digests are compared, so that a length tells nothing either.
    pub(super) fn is_token(&self, texts: &[Vec<u8>]) -> bool {
        let mut fits = Choice::from(0);
        for key in &self.0 {
            let key = Sha256::digest(key.as_slice());
            for text in texts {
                fits |= key.as_slice().ct_eq(Sha256::digest(text).as_slice());
            }
        }
        fits.into()
    }
}

/// The key that a secret stands for.
pub(super) fn key(
    scheme: &SignatureScheme,
    secret: &str,
) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
    let form = &scheme.secret;
    let text = secret.strip_prefix(form.strip_prefix.as_str()).unwrap_or(secret);
    let key = match form.encoding {
        SecretEncoding::Utf8 => text.as_bytes().to_vec(),
        SecretEncoding::Base64 => {
            STANDARD.decode(text).map_err(|_| SecretFault::Encoding("base64"))?
        }
        SecretEncoding::Hex => hex::decode(text).map_err(|_| SecretFault::Encoding("hex"))?,
        SecretEncoding::HtmlEntities => unescaped(text).into_bytes(),
    };
    if key.is_empty() { Err(SecretFault::Empty) } else { Ok(Zeroizing::new(key)) }
}

/// A signature as bytes; none where it is not written as it should be.
pub(super) fn decode(algorithm: Algorithm, encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    if algorithm == Algorithm::Token {
        return Some(text.as_bytes().to_vec()).filter(|text| !text.is_empty());
    }
    let bytes = match encoding {
        Encoding::Hex => hex::decode(text).ok()?,
        Encoding::Base64 => STANDARD.decode(text).ok()?,
        Encoding::Base64Url => {
            URL_SAFE.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()?
        }
    };
    let length = match algorithm {
        Algorithm::HmacSha512 | Algorithm::Ed25519 => 64,
        Algorithm::HmacSha256 | Algorithm::Token => 32,
    };
    (bytes.len() == length).then_some(bytes)
}

pub(super) fn encode(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
        Encoding::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
    }
}

/// Replaces, once, what HTML forms escape.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, entity) = rest.split_at(at);
        plain.push_str(before);
        match entity.split_once(';').and_then(|(name, behind)| Some((sign(name)?, behind))) {
            Some((sign, behind)) => {
                plain.push(sign);
                rest = behind;
            }
            None => {
                plain.push('&');
                rest = entity.get(1..).unwrap_or_default();
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// What `&amp` and the like stand for; none for what is no entity that forms write.
fn sign(name: &str) -> Option<char> {
    let name = name.strip_prefix('&')?;
    let number = match name.strip_prefix('#') {
        None => {
            return match name {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => None,
            };
        }
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => digits.parse().ok()?,
        },
    };
    char::from_u32(number).filter(|sign| matches!(sign, '&' | '<' | '>' | '"' | '\''))
}
