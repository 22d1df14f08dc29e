//! Sealing of single values. Owns the byte layout and what a sealed value is bound to.
//!
//! Each value has its own random 256-bit data key; the value is sealed under the data key, the data key under the
//! wrapping key, both with AES-256-GCM and a random 96-bit nonce. Layout of format version 1:
//!
//! ```text
//! offset  length  content
//!      0       1  format version, 1
//!      1       8  id of the wrapping key
//!      9      12  nonce of the wrapping
//!     21      48  the data key, wrapped, with its 16-byte tag
//!     69      12  nonce of the value
//!     81    n+16  the value, sealed, with its 16-byte tag
//! ```
//!
//! The wrapping is bound to purpose, version, key id, table, organization, row and field; the value to the same
//! without the key id. A value that is moved to another row, organization or field therefore does not open, and a
//! change of the wrapping key rewrites the wrapping alone.

use super::key::{Key, Kind};
use super::{Error, KeyId, Secret, random};
use crate::model::Place;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const KEY_ID_AT: usize = 1;
const WRAP_NONCE_AT: usize = 9;
const WRAPPED_AT: usize = 21;
const VALUE_NONCE_AT: usize = 69;
const VALUE_AT: usize = 81;
const TAG_BYTES: usize = 16;

/// Sealed under every wrapping key before its first use, so that a wrong key is noticed before anything is read with it.
const CHECK_TEXT: &[u8] = b"syncline key check";
const CHECK_PLACE: Place<'static> =
    Place { table: "vault", organization: None, row: "key-check", field: "check" };

/// The associated data: every part with its length before it, so that no two places encode alike.
fn bind(place: Place<'_>, purpose: &str, key_id: Option<KeyId>) -> Vec<u8> {
    let key_id = key_id.map(|id| id.0);
    let parts: [Option<&[u8]>; 6] = [
        Some(purpose.as_bytes()),
        key_id.as_ref().map(|id| id.as_slice()),
        Some(place.table.as_bytes()),
        place.organization.map(str::as_bytes),
        Some(place.row.as_bytes()),
        Some(place.field.as_bytes()),
    ];
    let mut bound = vec![VERSION];
    for part in parts {
        bound.push(u8::from(part.is_some()));
        let part = part.unwrap_or_default();
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part);
    }
    bound
}

fn bind_wrapping(place: Place<'_>, key_id: KeyId) -> Vec<u8> {
    bind(place, "data key", Some(key_id))
}

fn bind_value(place: Place<'_>) -> Vec<u8> {
    bind(place, "value", None)
}

/// The parts of a sealed value, by the layout above.
struct Parts<'a> {
    key_id: KeyId,
    wrap_nonce: [u8; 12],
    wrapped: &'a [u8],
    value_nonce: [u8; 12],
    value: &'a [u8],
}

impl Parts<'_> {
    fn read(sealed: &[u8]) -> Result<Parts<'_>, Error> {
        match sealed.first() {
            Some(&VERSION) => {}
            Some(&other) => return Err(Error::UnknownVersion(other)),
            None => return Err(Error::Damaged),
        }
        if sealed.len() < VALUE_AT + TAG_BYTES {
            return Err(Error::Damaged);
        }
        Ok(Parts {
            key_id: KeyId(array(sealed, KEY_ID_AT)?),
            wrap_nonce: array(sealed, WRAP_NONCE_AT)?,
            wrapped: sealed.get(WRAPPED_AT..VALUE_NONCE_AT).ok_or(Error::Damaged)?,
            value_nonce: array(sealed, VALUE_NONCE_AT)?,
            value: sealed.get(VALUE_AT..).ok_or(Error::Damaged)?,
        })
    }
}

/// Which wrapping key a sealed value needs.
pub(super) fn key_of(sealed: &[u8]) -> Result<KeyId, Error> {
    Parts::read(sealed).map(|parts| parts.key_id)
}

/// The key that wraps the data key of every sealed value: it takes both a master key and a shred key.
pub(super) struct WrappingKey(Key);

impl WrappingKey {
    pub(super) fn of(master: &Key, shred: &Key) -> Result<WrappingKey, Error> {
        // Any length of key is taken; the error of the interface cannot happen.
        let mut mac = Hmac::<Sha256>::new_from_slice(master.bytes()).map_err(|_| Error::Damaged)?;
        mac.update(b"syncline wrapping key");
        mac.update(shred.bytes());
        let bytes = Zeroizing::new(mac.finalize().into_bytes().into());
        Ok(WrappingKey(Key::from_bytes(Kind::Wrapping, bytes)))
    }

    pub(super) fn id(&self) -> KeyId {
        self.0.id()
    }

    /// Seals `plaintext` for `place`. The same value sealed twice differs in every byte that is not layout.
    pub(super) fn seal(&self, place: Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let data_key = Zeroizing::new(random::<32>()?);
        let value_nonce = random::<12>()?;
        let value = encrypt(&data_key, value_nonce, plaintext, &bind_value(place))?;
        let mut sealed = self.wrap(place, &data_key)?;
        sealed.reserve_exact(value_nonce.len() + value.len());
        sealed.extend_from_slice(&value_nonce);
        sealed.extend_from_slice(&value);
        Ok(sealed)
    }

    /// Opens what was sealed for the same place under this key.
    pub(super) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let parts = Parts::read(sealed)?;
        let data_key = self.unwrap(place, &parts)?;
        decrypt(&data_key, parts.value_nonce, parts.value, &bind_value(place))
    }

    /// The same sealed value under `next` instead of this key. The value itself is neither opened nor rewritten.
    pub(super) fn rewrap(
        &self,
        next: &WrappingKey,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let parts = Parts::read(sealed)?;
        let data_key = self.unwrap(place, &parts)?;
        let mut rewrapped = next.wrap(place, &data_key)?;
        rewrapped.extend_from_slice(sealed.get(VALUE_NONCE_AT..).ok_or(Error::Damaged)?);
        Ok(rewrapped)
    }

    /// A value to store beside the sealed data, for [`WrappingKey::verify_check`].
    pub(super) fn key_check(&self) -> Result<Vec<u8>, Error> {
        self.seal(CHECK_PLACE, CHECK_TEXT)
    }

    /// Whether this is the key that the stored check value was made with; called at start, before anything else.
    pub(super) fn verify_check(&self, stored: &[u8]) -> Result<(), Error> {
        let opened = self.open(CHECK_PLACE, stored)?;
        if opened.expose() == CHECK_TEXT { Ok(()) } else { Err(Error::Damaged) }
    }

    /// The front of a sealed value: version, key id, wrapped data key.
    fn wrap(&self, place: Place<'_>, data_key: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let nonce = random::<12>()?;
        let wrapped = encrypt(self.0.bytes(), nonce, data_key, &bind_wrapping(place, self.id()))?;
        let mut front = Vec::with_capacity(VALUE_NONCE_AT);
        front.push(VERSION);
        front.extend_from_slice(&self.id().0);
        front.extend_from_slice(&nonce);
        front.extend_from_slice(&wrapped);
        Ok(front)
    }

    fn unwrap(&self, place: Place<'_>, parts: &Parts<'_>) -> Result<Zeroizing<[u8; 32]>, Error> {
        if parts.key_id != self.id() {
            return Err(Error::UnknownKey(parts.key_id));
        }
        let bound = bind_wrapping(place, self.id());
        let opened = decrypt(self.0.bytes(), parts.wrap_nonce, parts.wrapped, &bound)?;
        Ok(Zeroizing::new(array(opened.expose(), 0)?))
    }
}

fn encrypt(key: &[u8; 32], nonce: [u8; 12], msg: &[u8], aad: &[u8]) -> Result<Vec<u8>, Error> {
    let cipher = Aes256Gcm::new(key.into());
    // Fails only above 64 GiB.
    cipher.encrypt(&Nonce::from(nonce), Payload { msg, aad }).map_err(|_| Error::Damaged)
}

fn decrypt(
    key: &[u8; 32],
    nonce: [u8; 12],
    msg: &[u8],
    aad: &[u8],
) -> Result<Secret<Vec<u8>>, Error> {
    let cipher = Aes256Gcm::new(key.into());
    let opened = cipher.decrypt(&Nonce::from(nonce), Payload { msg, aad });
    opened.map(Secret::new).map_err(|_| Error::Damaged)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Error::Damaged)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PLACE: Place<'static> =
        Place { table: "connections", organization: Some("org_1"), row: "conn_7", field: "apiKey" };

    fn key() -> WrappingKey {
        let half = |kind| Key::generate(kind).unwrap();
        WrappingKey::of(&half(Kind::Master), &half(Kind::Shred)).unwrap()
    }

    #[test]
    fn opens_what_it_sealed() {
        let key = key();
        for plaintext in [&b""[..], b"k", b"canary-7f3a", &[0xa5; 100_000]] {
            let sealed = key.seal(PLACE, plaintext).unwrap();
            assert_eq!(sealed.len(), VALUE_AT + plaintext.len() + TAG_BYTES);
            assert_eq!(key.open(PLACE, &sealed).unwrap().expose(), plaintext);
        }
    }

    #[test]
    fn sealing_twice_shares_nothing_but_the_layout() {
        let key = key();
        let one = key.seal(PLACE, b"canary-7f3a").unwrap();
        let two = key.seal(PLACE, b"canary-7f3a").unwrap();
        assert_eq!(one[..WRAP_NONCE_AT], two[..WRAP_NONCE_AT]);
        assert_ne!(one[WRAP_NONCE_AT..WRAPPED_AT], two[WRAP_NONCE_AT..WRAPPED_AT]);
        assert_ne!(one[VALUE_NONCE_AT..VALUE_AT], two[VALUE_NONCE_AT..VALUE_AT]);
        assert!(!one.windows(6).any(|window| window == b"canary"));
    }

    #[test]
    fn refuses_every_other_place() {
        let key = key();
        let sealed = key.seal(PLACE, b"canary").unwrap();
        let others = [
            ("connections", Some("org_1"), "conn_8", "apiKey"),
            ("connections", Some("org_2"), "conn_7", "apiKey"),
            ("connections", Some("-"), "conn_7", "apiKey"),
            ("connections", Some(""), "conn_7", "apiKey"),
            ("connections", None, "conn_7", "apiKey"),
            ("connections", Some("org_1"), "conn_7", "password"),
            ("connectors", Some("org_1"), "conn_7", "apiKey"),
            // The same letters with the borders elsewhere.
            ("connectionsorg_1", Some(""), "conn_7", "apiKey"),
            ("connections", Some("org_1"), "conn_7apiKey", ""),
            ("connections", Some("org_1"), "conn_7a", "piKey"),
        ];
        for (table, organization, row, field) in others {
            let other = Place { table, organization, row, field };
            assert!(matches!(key.open(other, &sealed), Err(Error::Damaged)), "{other:?}");
        }
    }

    #[test]
    fn swapped_rows_are_refused_as_a_whole_and_in_halves() {
        let key = key();
        let other = Place { row: "conn_8", ..PLACE };
        let one = key.seal(PLACE, b"first!").unwrap();
        let two = key.seal(other, b"second").unwrap();
        assert!(key.open(PLACE, &two).is_err() && key.open(other, &one).is_err());
        let graft = [&one[..VALUE_NONCE_AT], &two[VALUE_NONCE_AT..]].concat();
        assert!(key.open(PLACE, &graft).is_err() && key.open(other, &graft).is_err());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let key = key();
        let sealed = key.seal(PLACE, b"canary").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(PLACE, &altered).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_and_an_extension_are_refused() {
        let key = key();
        let mut sealed = key.seal(PLACE, b"canary").unwrap();
        for length in 0..sealed.len() {
            assert!(key.open(PLACE, &sealed[..length]).is_err(), "{length} bytes");
        }
        sealed.push(0);
        assert!(key.open(PLACE, &sealed).is_err());
    }

    #[test]
    fn an_unknown_version_is_named() {
        let key = key();
        let mut sealed = key.seal(PLACE, b"canary").unwrap();
        sealed[0] = 2;
        assert!(matches!(key.open(PLACE, &sealed), Err(Error::UnknownVersion(2))));
    }

    #[test]
    fn a_wrong_key_is_recognized_and_named() {
        let (right, wrong) = (key(), key());
        let check = right.key_check().unwrap();
        right.verify_check(&check).unwrap();
        let error = wrong.verify_check(&check).unwrap_err();
        assert!(matches!(error, Error::UnknownKey(id) if id == right.id()));
        // Even with the key id rewritten, the wrapping holds.
        let mut forged = check;
        forged[KEY_ID_AT..WRAP_NONCE_AT].copy_from_slice(&wrong.id().0);
        assert!(matches!(wrong.verify_check(&forged), Err(Error::Damaged)));
    }

    #[test]
    fn a_wrapping_key_takes_both_halves() {
        let halves = |kind| [Key::generate(kind).unwrap(), Key::generate(kind).unwrap()];
        let (masters, shreds) = (halves(Kind::Master), halves(Kind::Shred));
        let of = |m: usize, s: usize| WrappingKey::of(&masters[m], &shreds[s]).unwrap();
        let sealed = of(0, 0).seal(PLACE, b"canary").unwrap();
        assert_eq!(of(0, 0).open(PLACE, &sealed).unwrap().expose(), b"canary");
        for (m, s) in [(0, 1), (1, 0), (1, 1)] {
            assert!(of(m, s).open(PLACE, &sealed).is_err(), "master {m}, shred {s}");
        }
    }

    #[test]
    fn another_sealed_value_is_not_a_check_value() {
        let key = key();
        let sealed = key.seal(PLACE, CHECK_TEXT).unwrap();
        assert!(matches!(key.verify_check(&sealed), Err(Error::Damaged)));
    }

    #[test]
    fn rewrapping_moves_to_the_next_key_without_touching_the_value() {
        let (old, next) = (key(), key());
        let sealed = old.seal(PLACE, b"canary").unwrap();
        let moved = old.rewrap(&next, PLACE, &sealed).unwrap();
        assert_eq!(next.open(PLACE, &moved).unwrap().expose(), b"canary");
        assert_eq!(moved[VALUE_NONCE_AT..], sealed[VALUE_NONCE_AT..]);
        assert!(matches!(old.open(PLACE, &moved), Err(Error::UnknownKey(_))));
        assert_eq!(old.open(PLACE, &sealed).unwrap().expose(), b"canary");
        assert!(old.rewrap(&next, Place { row: "conn_8", ..PLACE }, &sealed).is_err());
    }
}
