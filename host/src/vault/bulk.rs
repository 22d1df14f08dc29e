//! A key for many values of one kind that are written fast and live for a while. The key itself is a secret like others:
//! stored sealed, moved with every change of the keys, destroyed on demand, and all that it sealed with it.

use super::{Error, Secret, random};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

pub struct BulkKey(Aes256Gcm);

impl BulkKey {
    /// A new key, and its bytes to be stored as a secret.
    pub fn generate() -> Result<(BulkKey, Secret<Vec<u8>>), Error> {
        let bytes = Secret::new(random::<KEY_BYTES>()?.to_vec());
        Ok((BulkKey::from_bytes(bytes.expose())?, bytes))
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<BulkKey, Error> {
        Aes256Gcm::new_from_slice(bytes).map(BulkKey).map_err(|_| Error::Damaged)
    }

    /// Appends a random nonce, then the value and its tag. `bound`: what the value belongs to; it opens with nothing else.
    pub fn seal_onto(
        &self,
        sealed: &mut Vec<u8>,
        plaintext: &[u8],
        bound: &[u8],
    ) -> Result<(), Error> {
        let nonce = random::<NONCE_BYTES>()?;
        sealed.extend_from_slice(&nonce);
        let at = sealed.len();
        sealed.extend_from_slice(plaintext);
        let value = sealed.get_mut(at..).unwrap_or_default();
        // Fails only above 64 GiB.
        let tag = self.0.encrypt_inout_detached(&Nonce::from(nonce), bound, value.into());
        sealed.extend_from_slice(&tag.map_err(|_| Error::Damaged)?);
        Ok(())
    }

    /// The value, in the place where it was sealed.
    pub fn open(&self, mut sealed: Vec<u8>, bound: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_BYTES>().ok_or(Error::Damaged)?;
        let (value, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().ok_or(Error::Damaged)?;
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        let length = value.len();
        let opened = self.0.decrypt_inout_detached(&nonce, bound, value.into(), &tag);
        opened.map_err(|_| Error::Damaged)?;
        sealed.copy_within(NONCE_BYTES..NONCE_BYTES + length, 0);
        sealed.truncate(length);
        Ok(Secret::new(sealed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_under_its_key_for_what_it_belongs_to() {
        let (key, bytes) = BulkKey::generate().unwrap();
        let seal = || {
            let mut sealed = Vec::new();
            key.seal_onto(&mut sealed, b"canary", b"row 1").unwrap();
            sealed
        };
        let sealed = seal();
        assert_ne!(sealed, seal());
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        let again = BulkKey::from_bytes(bytes.expose()).unwrap();
        assert_eq!(again.open(sealed.clone(), b"row 1").unwrap().expose(), b"canary");
        assert!(again.open(sealed.clone(), b"row 2").is_err());
        let (other, _) = BulkKey::generate().unwrap();
        assert!(other.open(sealed.clone(), b"row 1").is_err());
        assert!(key.open(b"short".to_vec(), b"row 1").is_err());
    }
}
