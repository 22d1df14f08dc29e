//! A key for many values of one kind that are written fast and live for a while. The key itself is a secret like others:
//! stored sealed, moved with every change of the keys, destroyed on demand, and all that it sealed with it.

use super::{Error, Secret, random};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

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

    /// A random nonce, then the value and its tag. `bound`: what the value belongs to; it opens with nothing else.
    pub fn seal(&self, plaintext: &[u8], bound: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce = random::<NONCE_BYTES>()?;
        let payload = Payload { msg: plaintext, aad: bound };
        // Fails only above 64 GiB.
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload).map_err(|_| Error::Damaged)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub fn open(&self, sealed: &[u8], bound: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Error::Damaged)?;
        let opened = self.0.decrypt(&Nonce::from(*nonce), Payload { msg, aad: bound });
        opened.map(Secret::new).map_err(|_| Error::Damaged)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_under_its_key_for_what_it_belongs_to() {
        let (key, bytes) = BulkKey::generate().unwrap();
        let sealed = key.seal(b"canary", b"row 1").unwrap();
        assert_ne!(sealed, key.seal(b"canary", b"row 1").unwrap());
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        let again = BulkKey::from_bytes(bytes.expose()).unwrap();
        assert_eq!(again.open(&sealed, b"row 1").unwrap().expose(), b"canary");
        assert!(again.open(&sealed, b"row 2").is_err());
        let (other, _) = BulkKey::generate().unwrap();
        assert!(other.open(&sealed, b"row 1").is_err());
        assert!(key.open(b"short", b"row 1").is_err());
    }
}
