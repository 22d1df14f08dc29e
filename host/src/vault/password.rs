//! Passwords: what is accepted, and their slow hashes. Argon2id with the parameters in the hash, so that they can grow.

use super::{Error, random};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::sync::LazyLock;
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

const CHARS_MIN: usize = 8;
/// Longer ones are refused before anything is computed.
pub const PASSWORD_BYTES_MAX: usize = 256;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const KIND: &str = "argon2id";

/// One per line, in lower case. All have at least [`CHARS_MIN`] characters: shorter ones are refused anyway.
static COMMON: &str = include_str!("common_passwords.txt");

/// What is verified where there is no user, so that both take the same time.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| hash_password("nobody has this one").unwrap_or_default());

/// Why a password is not accepted, in words that end a sentence.
pub fn password_fault(password: &str) -> Option<String> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Some(format!("must have at most {PASSWORD_BYTES_MAX} bytes"));
    }
    if password.chars().count() < CHARS_MIN {
        return Some(format!("must have at least {CHARS_MIN} characters; 15 or more are advised"));
    }
    let folded = password.to_lowercase();
    let repeats = folded.chars().all(|c| folded.starts_with(c));
    if repeats || COMMON.lines().any(|common| common == folded) {
        return Some("is one of those that are tried first: choose another".to_owned());
    }
    None
}

/// The hash of a password under a new salt. Takes tens of milliseconds and 19 MiB: not for async threads.
pub fn hash_password(password: &str) -> Result<String, Error> {
    let salt = random::<SALT_BYTES>()?;
    let hash = digest(password, &salt, (MEMORY_KIB, PASSES, LANES))?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash.as_slice()));
    Ok(format!("{KIND}${MEMORY_KIB}${PASSES}${LANES}${salt}${hash}"))
}

/// Whether it is the password of this hash. Without a hash it is not, after the same time.
pub fn verify_password(stored: Option<&str>, password: &str) -> bool {
    let same = matches(stored.unwrap_or(&NOBODY), password).unwrap_or(false);
    same && stored.is_some()
}

fn matches(stored: &str, password: &str) -> Option<bool> {
    let mut parts = stored.split('$');
    let kind = parts.next()?;
    let costs = (parts.next()?, parts.next()?, parts.next()?);
    let costs = (costs.0.parse().ok()?, costs.1.parse().ok()?, costs.2.parse().ok()?);
    let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    let expected = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    if kind != KIND || parts.next().is_some() {
        return None;
    }
    let found = digest(password, &salt, costs).ok()?;
    Some(found.as_slice().ct_eq(&expected).into())
}

fn digest(
    password: &str,
    salt: &[u8],
    (memory, passes, lanes): (u32, u32, u32),
) -> Result<Zeroizing<[u8; HASH_BYTES]>, Error> {
    // The same letters may be typed in two forms.
    let password = Zeroizing::new(password.nfc().collect::<String>());
    let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).map_err(Error::Password)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = Zeroizing::new([0; HASH_BYTES]);
    argon
        .hash_password_into(password.as_bytes(), salt, hash.as_mut_slice())
        .map_err(Error::Password)?;
    Ok(hash)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_only() {
        let stored = hash_password("correct horse battery").unwrap();
        assert!(stored.starts_with("argon2id$19456$2$1$"), "{stored}");
        assert!(verify_password(Some(&stored), "correct horse battery"));
        assert!(!verify_password(Some(&stored), "correct horse batterx"));
        assert!(!verify_password(Some(&stored), ""));
        assert_ne!(stored, hash_password("correct horse battery").unwrap());
    }

    #[test]
    fn what_cannot_be_a_hash_has_no_password() {
        for stored in ["", "argon2id", "argon2id$1$1$1$$", "argon2d$19456$2$1$AAAA$AAAA"] {
            assert!(!verify_password(Some(stored), "anything at all"), "{stored}");
        }
        assert!(!verify_password(None, "nobody has this one"));
    }

    #[test]
    fn the_same_letters_in_two_forms_are_one_password() {
        let stored = hash_password("\u{d3} S\u{fa}illeabh\u{e1}in").unwrap();
        assert!(verify_password(Some(&stored), "O\u{301} Su\u{301}illeabha\u{301}in"));
    }

    #[test]
    fn weak_and_endless_passwords_are_refused() {
        let check = |password: &str, accepted: bool| {
            assert_eq!(password_fault(password).is_none(), accepted, "{password:?}");
        };
        check("seven77", false);
        check("eight-88", true);
        check("áéíóúÁÉÍ", true);
        check("Password1", false);
        check("QWERTYUIOP", false);
        check("aaaaaaaaaaaa", false);
        check("a sentence of some length", true);
        check(&"ab ".repeat(64), true);
        check(&"ab".repeat(129), false);
    }

    #[test]
    fn the_list_holds_what_the_length_does_not_refuse_already() {
        for line in COMMON.lines() {
            assert!(line.chars().count() >= CHARS_MIN && line == line.to_lowercase(), "{line}");
        }
    }
}
