//! One key, and its text form.
//!
//! A line is `<form>.<key id>.<key>`: the form says which kind of key it is (`syncline-key-1` for master keys,
//! `syncline-shred-1` for shred keys), the id is 16 hex digits, the key 43 characters of base64url. The id is derived
//! from the key, so that a mistyped or mixed-up line is noticed. A text holds the newest key first; empty lines and
//! lines that begin with `#` are passed over.

use super::{Error, random};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// A text has two keys while they are changed; a few more do no harm.
const KEYS_MAX: usize = 4;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Kept apart from the data directory and its backups.
    Master,
    /// Lies in the data directory and is replaced to make deleted secrets unreadable.
    Shred,
    /// Made of a master key and a shred key; never written down.
    Wrapping,
}

impl Kind {
    fn form(self) -> &'static str {
        match self {
            Kind::Master => "syncline-key-1",
            Kind::Shred => "syncline-shred-1",
            Kind::Wrapping => "",
        }
    }

    /// What the file says of itself.
    fn head(self) -> &'static str {
        match self {
            Kind::Master => {
                "# Syncline's master key. Whoever reads this file can read every stored credential, and without it none\n\
                 # can be read again: keep a copy apart from the data directory and its backups.\n"
            }
            Kind::Shred => {
                "# Belongs to state.redb: back up and restore both together. It is replaced when secrets are destroyed.\n"
            }
            Kind::Wrapping => "",
        }
    }

    fn label(self) -> &'static [u8] {
        match self {
            Kind::Master => b"syncline key id",
            Kind::Shred => b"syncline shred key id",
            Kind::Wrapping => b"syncline wrapping key id",
        }
    }
}

/// Names a key without telling anything about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(super) [u8; 8]);

impl KeyId {
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 256 random bits with their id.
pub(super) struct Key {
    kind: Kind,
    id: KeyId,
    bytes: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?} {}, [redacted])", self.kind, self.id)
    }
}

impl Key {
    /// A new random key that is stored nowhere.
    pub(super) fn generate(kind: Kind) -> Result<Key, Error> {
        Ok(Key::from_bytes(kind, Zeroizing::new(random()?)))
    }

    pub(super) fn from_bytes(kind: Kind, bytes: Zeroizing<[u8; 32]>) -> Key {
        let digest = Sha256::new().chain_update(kind.label()).chain_update(*bytes).finalize();
        let mut id = [0; 8];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Key { kind, id: KeyId(id), bytes }
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The text form, without a line end.
    pub(super) fn line(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.bytes.as_slice()));
        Zeroizing::new(format!("{}.{}.{}", self.kind.form(), self.id, encoded.as_str()))
    }
}

/// The text of a key file.
pub(super) fn render<'a>(kind: Kind, keys: impl IntoIterator<Item = &'a Key>) -> Zeroizing<String> {
    // Reserved at once, because a text that grows leaves copies of itself behind.
    let mut text = Zeroizing::new(String::with_capacity(1024));
    text.push_str(kind.head());
    for key in keys {
        text.push_str(key.line().as_str());
        text.push('\n');
    }
    text
}

/// The keys of a text, newest first. `origin` is where the text came from, for errors.
pub(super) fn parse(kind: Kind, text: &str, origin: &str) -> Result<Vec<Key>, Error> {
    let malformed = |reason| Error::KeyMalformed { origin: origin.to_owned(), reason };
    let lines = text.lines().map(str::trim);
    let mut keys = Vec::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let key = parse_line(kind, line).map_err(malformed)?;
        if keys.iter().any(|known: &Key| known.id == key.id) {
            return Err(malformed("it holds the same key twice"));
        }
        keys.push(key);
    }
    match keys.len() {
        0 => Err(malformed("it is empty")),
        1..=KEYS_MAX => Ok(keys),
        _ => Err(malformed("it has more than four keys")),
    }
}

fn parse_line(kind: Kind, line: &str) -> Result<Key, &'static str> {
    let mut parts = line.split('.');
    let (Some(form), Some(id), Some(encoded), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("its line has another form");
    };
    if form != kind.form() {
        let others = [Kind::Master, Kind::Shred];
        return Err(match others.iter().find(|other| other.form() == form) {
            Some(Kind::Master) => "it holds a master key and not a shred key",
            Some(_) => "it holds a shred key and not a master key",
            None => "its line has another form",
        });
    }
    let mut bytes = Zeroizing::new([0_u8; 32]);
    // One spare byte, because the decoder estimates before it decodes.
    let mut decoded = Zeroizing::new([0_u8; 33]);
    match URL_SAFE_NO_PAD.decode_slice(encoded, decoded.as_mut_slice()) {
        Ok(32) => bytes.copy_from_slice(&decoded[..32]),
        _ => return Err("the key is not 32 bytes in base64url"),
    }
    let key = Key::from_bytes(kind, bytes);
    if key.id.to_string() != id {
        return Err("the key and its id do not belong together");
    }
    Ok(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn malformed_keys_are_refused_with_a_reason_and_without_the_key() {
        #[track_caller]
        fn check(text: &str, reason: &str) {
            let error = parse(Kind::Master, text, "test").unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("CANARY"), "{error}");
        }
        let key = Key::generate(Kind::Master).unwrap();
        let line = key.line();
        let (front, secret) = line.rsplit_once('.').unwrap();
        let id = key.id();
        check("", "empty");
        check("# only a comment\n\n", "empty");
        check(&format!("{}\n{}", line.as_str(), line.as_str()), "same key twice");
        check("CANARY", "another form");
        check(&format!("syncline-key-2.{id}.{secret}"), "another form");
        check(&format!("{}.x", line.as_str()), "another form");
        check(&format!("{front}.CANARY"), "32 bytes");
        check(&format!("{front}.{}", &secret[..42]), "32 bytes");
        check(&format!("{front}.{secret}AAAA"), "32 bytes");
        check(&format!("{front}.{}", "A".repeat(43)), "do not belong together");
        check(&format!("syncline-key-1.0000000000000000.{secret}"), "do not belong together");
        check(&Key::generate(Kind::Shred).unwrap().line(), "a shred key and not a master key");
        let many: Vec<Key> = (0..5).map(|_| Key::generate(Kind::Master).unwrap()).collect();
        check(&render(Kind::Master, &many), "more than four");
        parse(Kind::Master, &format!("# head\r\n\r\n  {}  \r\n", line.as_str()), "test").unwrap();
    }

    #[test]
    fn keys_come_back_in_order() {
        for kind in [Kind::Master, Kind::Shred] {
            let keys = [Key::generate(kind).unwrap(), Key::generate(kind).unwrap()];
            let read = parse(kind, &render(kind, &keys), "test").unwrap();
            assert_eq!(read.len(), 2);
            for (key, read) in keys.iter().zip(&read) {
                assert_eq!((key.id(), key.bytes()), (read.id(), read.bytes()));
            }
        }
    }

    #[test]
    fn debug_shows_the_id_and_not_the_key() {
        let key = Key::generate(Kind::Master).unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.id().to_string()) && shown.contains("[redacted]"));
        let secret = key.line().rsplit_once('.').unwrap().1.to_owned();
        assert!(!shown.contains(&secret) && !shown.contains(&hex::encode(key.bytes())));
    }
}
