//! API tokens: shown once, stored as a hash, compared in constant time. A token is 256 random bits, so a plain
//! SHA-256 is enough; passwords need a slow hash and are not for this module.

use super::{Error, Secret, random};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Marks a token as ours, for people and for secret scanners.
const PREFIX: &str = "syn_";

/// What is stored of a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// A new token `syn_...` (47 characters) to be shown once, and the hash to store.
    pub fn generate() -> Result<(Secret<String>, TokenHash), Error> {
        let bytes = Zeroizing::new(random::<32>()?);
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let hash = TokenHash::of(&token);
        Ok((Secret::new(token), hash))
    }

    /// The hash of what somebody presents; also the key to look a token up by, which leaks no timing worth having
    /// because the caller cannot choose the hash.
    pub fn of(presented: &str) -> TokenHash {
        TokenHash(Sha256::digest(presented.as_bytes()).into())
    }

    pub fn from_bytes(bytes: [u8; 32]) -> TokenHash {
        TokenHash(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `presented` is the token, in time that does not depend on where they differ.
    pub fn matches(&self, presented: &str) -> bool {
        self.0.ct_eq(&TokenHash::of(presented).0).into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_token_matches_its_own_hash_only() {
        let (token, hash) = TokenHash::generate().unwrap();
        let text = token.expose();
        assert!(text.starts_with("syn_") && text.len() == 47, "{} characters", text.len());
        assert!(hash.matches(text));
        assert!(TokenHash::from_bytes(*hash.as_bytes()).matches(text));
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] ^= 1;
            assert!(!hash.matches(&String::from_utf8(other).unwrap()), "changed at {at}");
        }
        assert!(!hash.matches("") && !hash.matches(&text[..46]) && !hash.matches(&text[4..]));
    }

    #[test]
    fn tokens_do_not_repeat() {
        let tokens: BTreeSet<String> =
            (0..1_000).map(|_| TokenHash::generate().unwrap().0.expose().clone()).collect();
        assert_eq!(tokens.len(), 1_000);
    }

    #[test]
    fn the_hash_is_plain_sha256_of_the_text() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(TokenHash::of("abc").as_bytes()), expected);
    }
}
