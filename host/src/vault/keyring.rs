//! The keys of a process: the newest seals, all of them open.
//!
//! Owns the keys in memory and the two key files. Which rows are sealed under which key, and when an old key may go, is
//! decided by whoever sees the store.

use super::key::{Key, Kind};
use super::seal::{self, WrappingKey};
use super::{Error, KeyId, KeySource, Secret, file};
use crate::model::secret::KeyCheck;
use crate::model::{Place, Sealed};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// The shred key's file in the data directory.
pub const SHRED_FILE: &str = "shred.key";

/// Which half of the wrapping key is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Master,
    Shred,
}

impl Half {
    fn kind(self) -> Kind {
        match self {
            Half::Master => Kind::Master,
            Half::Shred => Kind::Shred,
        }
    }
}

/// All keys of a process.
pub struct Keyring {
    source: KeySource,
    shred_file: PathBuf,
    keys: RwLock<Arc<Keys>>,
    /// Wrapping keys that no row needs any more, and since when: a reader may still hold an older view.
    retired: RwLock<Vec<(i64, Arc<WrappingKey>)>>,
    /// Held by who changes the keys.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// One state of the keys, newest first.
struct Keys {
    masters: Vec<Arc<Key>>,
    shreds: Vec<Arc<Key>>,
    /// Every master with every shred key; the first is the current one.
    wrapping: Vec<Arc<WrappingKey>>,
}

impl Keys {
    fn new(masters: Vec<Arc<Key>>, shreds: Vec<Arc<Key>>) -> Result<Keys, Error> {
        let mut wrapping = Vec::with_capacity(masters.len() * shreds.len());
        for master in &masters {
            for shred in &shreds {
                wrapping.push(Arc::new(WrappingKey::of(master, shred)?));
            }
        }
        Ok(Keys { masters, shreds, wrapping })
    }

    fn half(&self, half: Half) -> &[Arc<Key>] {
        match half {
            Half::Master => &self.masters,
            Half::Shred => &self.shreds,
        }
    }

    fn with(&self, half: Half, keys: Vec<Arc<Key>>) -> Result<Keys, Error> {
        match half {
            Half::Master => Keys::new(keys, self.shreds.clone()),
            Half::Shred => Keys::new(self.masters.clone(), keys),
        }
    }

    fn current(&self) -> Result<&Arc<WrappingKey>, Error> {
        self.wrapping.first().ok_or(Error::Damaged)
    }
}

/// A new key that is in its file and not yet in use.
pub struct Prepared(Keys);

impl Keyring {
    /// The keys of a new data directory: those that are there already are taken, the others are made.
    pub fn create(
        source: KeySource,
        data_dir: &Path,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Keyring, Error> {
        if let KeySource::File(path) = &source
            && !path.exists()
        {
            file::create(path, Kind::Master)?;
        }
        let shred_file = data_dir.join(SHRED_FILE);
        if !shred_file.exists() {
            file::create(&shred_file, Kind::Shred)?;
        }
        Keyring::load(source, data_dir, variable)
    }

    /// The keys of a data directory. Writes nothing; see [`Keyring::mend`].
    pub fn load(
        source: KeySource,
        data_dir: &Path,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Keyring, Error> {
        let shred_file = data_dir.join(SHRED_FILE);
        let masters = source.load(variable)?;
        let shreds = file::load(&shred_file, Kind::Shred)?;
        Keyring::of(source, shred_file, masters, shreds)
    }

    /// Keys that are stored nowhere.
    pub fn generate() -> Result<Keyring, Error> {
        let nowhere = PathBuf::new();
        let (master, shred) = (Key::generate(Kind::Master)?, Key::generate(Kind::Shred)?);
        Keyring::of(KeySource::Environment, nowhere, vec![master], vec![shred])
    }

    fn of(
        source: KeySource,
        shred_file: PathBuf,
        masters: Vec<Key>,
        shreds: Vec<Key>,
    ) -> Result<Keyring, Error> {
        let shared = |keys: Vec<Key>| keys.into_iter().map(Arc::new).collect();
        let keys = Keys::new(shared(masters), shared(shreds))?;
        Ok(Keyring {
            source,
            shred_file,
            keys: RwLock::new(Arc::new(keys)),
            retired: RwLock::default(),
            turn: Arc::default(),
        })
    }

    /// Finishes replacements of the key files that a crash interrupted.
    pub fn mend(&self) -> Result<(), Error> {
        if let KeySource::File(path) = &self.source {
            file::mend(&path.canonicalize().unwrap_or_else(|_| path.clone()))?;
        }
        file::mend(&self.shred_file)
    }

    /// One change at a time.
    pub fn turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.turn)
    }

    pub fn source(&self) -> &KeySource {
        &self.source
    }

    /// The master key in use.
    pub fn master_id(&self) -> Option<KeyId> {
        self.keys().masters.first().map(|key| key.id())
    }

    /// The wrapping key in use.
    pub fn current_id(&self) -> Result<KeyId, Error> {
        self.keys().current().map(|key| key.id())
    }

    /// How many keys of this half there are; more than one while it is changed.
    pub fn count(&self, half: Half) -> usize {
        self.keys().half(half).len()
    }

    /// Seals under the current key. To be called inside the transaction that stores the value, so that no value comes
    /// under a key that was given up meanwhile.
    pub fn seal(&self, place: Place<'_>, plaintext: &[u8], now: i64) -> Result<Sealed, Error> {
        let keys = self.keys();
        let current = keys.current()?;
        let bytes = current.seal(place, plaintext)?;
        Ok(Sealed { key_id: current.id().0, updated_at: now, bytes })
    }

    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Secret<Vec<u8>>, Error> {
        self.wrapping(seal::key_of(&sealed.bytes)?)?.open(place, &sealed.bytes)
    }

    /// The same value under the current key.
    pub fn rewrap(&self, place: Place<'_>, sealed: &Sealed) -> Result<Sealed, Error> {
        let keys = self.keys();
        let current = keys.current()?;
        let from = self.wrapping(seal::key_of(&sealed.bytes)?)?;
        let bytes = from.rewrap(current, place, &sealed.bytes)?;
        Ok(Sealed { key_id: current.id().0, updated_at: sealed.updated_at, bytes })
    }

    /// The check value of the current key.
    pub fn check(&self, created_at: i64) -> Result<KeyCheck, Error> {
        check_of(&self.keys(), created_at)
    }

    /// Whether every key that rows may be sealed under is there and is the right one.
    pub fn verify(&self, checks: &[KeyCheck]) -> Result<(), Error> {
        let keys = self.keys();
        let have = |half: Half, wanted: &str| {
            keys.half(half).iter().find(|key| key.id().to_string() == wanted)
        };
        for check in checks {
            let Some(master) = have(Half::Master, &check.master) else {
                let have: Vec<_> = keys.masters.iter().map(|key| key.id().to_string()).collect();
                return Err(Error::ForeignMaster {
                    wanted: check.master.clone(),
                    have: have.join(", "),
                });
            };
            let Some(shred) = have(Half::Shred, &check.shred) else {
                return Err(Error::ForeignShred(self.shred_file.clone()));
            };
            WrappingKey::of(master, shred)?.verify_check(&check.sealed)?;
        }
        Ok(())
    }

    /// First step of a change: a new key, in its file before this returns, in use by nobody.
    pub fn prepare(&self, half: Half) -> Result<Prepared, Error> {
        let keys = self.keys();
        let mut half_keys = vec![Arc::new(Key::generate(half.kind())?)];
        half_keys.extend(keys.half(half).iter().cloned());
        self.write(half, &half_keys)?;
        Ok(Prepared(keys.with(half, half_keys)?))
    }

    /// The check value of a prepared key: to be stored before the key is used.
    pub fn check_of(&self, prepared: &Prepared, created_at: i64) -> Result<KeyCheck, Error> {
        check_of(&prepared.0, created_at)
    }

    /// From now on the prepared key seals.
    pub fn adopt(&self, prepared: Prepared) {
        self.set(prepared.0);
    }

    /// Last step: no row needs anything but the current key, so that the others leave their files. A key that
    /// somebody else keeps stays where it is.
    pub fn retire(&self, now: i64) -> Result<(), Error> {
        for half in [Half::Master, Half::Shred] {
            let keys = self.keys();
            let Some(newest) = keys.half(half).first().filter(|_| keys.half(half).len() > 1) else {
                continue;
            };
            if !self.can_write(half) {
                continue;
            }
            let left = vec![Arc::clone(newest)];
            self.write(half, &left)?;
            let next = keys.with(half, left)?;
            let gone = keys
                .wrapping
                .iter()
                .filter(|key| next.wrapping.iter().all(|kept| kept.id() != key.id()));
            let gone = gone.map(|key| (now, Arc::clone(key)));
            self.retired.write().unwrap_or_else(PoisonError::into_inner).extend(gone);
            self.set(next);
        }
        Ok(())
    }

    /// Wipes retired keys from memory, except those that went after `before` (milliseconds since the epoch).
    pub fn forget_retired(&self, before: i64) {
        let mut retired = self.retired.write().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|(since, _)| *since > before);
    }

    /// Whether the file of this half is ours to write.
    pub fn can_write(&self, half: Half) -> bool {
        half == Half::Shred || matches!(self.source, KeySource::File(_))
    }

    fn write(&self, half: Half, keys: &[Arc<Key>]) -> Result<(), Error> {
        let path = match (half, &self.source) {
            (Half::Shred, _) => &self.shred_file,
            (Half::Master, KeySource::File(path)) => path,
            (Half::Master, _) => return Err(Error::NotOurs),
        };
        file::replace(path, half.kind(), keys.iter().map(AsRef::as_ref))
    }

    fn wrapping(&self, id: KeyId) -> Result<Arc<WrappingKey>, Error> {
        if let Some(key) = self.keys().wrapping.iter().find(|key| key.id() == id) {
            return Ok(Arc::clone(key));
        }
        let retired = self.retired.read().unwrap_or_else(PoisonError::into_inner);
        let found = retired.iter().find(|(_, key)| key.id() == id);
        found.map(|(_, key)| Arc::clone(key)).ok_or(Error::UnknownKey(id))
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

fn check_of(keys: &Keys, created_at: i64) -> Result<KeyCheck, Error> {
    let id = |half: Half| keys.half(half).first().map(|key| key.id().to_string());
    Ok(KeyCheck {
        master: id(Half::Master).unwrap_or_default(),
        shred: id(Half::Shred).unwrap_or_default(),
        created_at,
        sealed: keys.current()?.key_check()?,
    })
}

/// A new master key in its text form, for a place that only the administrator can write.
pub fn new_master_line() -> Result<Zeroizing<String>, Error> {
    Key::generate(Kind::Master).map(|key| key.line())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PLACE: Place<'static> =
        Place { table: "credentials", organization: None, row: "1", field: "credentials" };

    fn keyring(directory: &Path) -> Keyring {
        let source = KeySource::File(directory.join("master.key"));
        Keyring::create(source, directory, |_| None).unwrap()
    }

    fn reload(directory: &Path) -> Keyring {
        let source = KeySource::File(directory.join("master.key"));
        Keyring::load(source, directory, |_| None).unwrap()
    }

    #[test]
    fn both_keys_open_until_the_old_one_is_retired() {
        for half in [Half::Master, Half::Shred] {
            let directory = tempfile::tempdir().unwrap();
            let keys = keyring(directory.path());
            let before = keys.seal(PLACE, b"canary", 1).unwrap();
            let prepared = keys.prepare(half).unwrap();
            // A process that starts now finds both, and the new one first.
            let restarted = reload(directory.path());
            assert_eq!(restarted.open(PLACE, &before).unwrap().expose(), b"canary");
            assert_ne!(restarted.current_id().unwrap(), keys.current_id().unwrap());
            keys.adopt(prepared);
            assert_eq!(restarted.current_id().unwrap(), keys.current_id().unwrap());
            let after = keys.rewrap(PLACE, &before).unwrap();
            assert_eq!((after.updated_at, after.key_id == before.key_id), (1, false));
            keys.retire(10).unwrap();
            assert_eq!(keys.count(half), 1);
            assert_eq!(keys.open(PLACE, &before).unwrap().expose(), b"canary", "an older view");
            keys.forget_retired(9);
            assert!(keys.open(PLACE, &before).is_ok());
            keys.forget_retired(10);
            assert!(matches!(keys.open(PLACE, &before), Err(Error::UnknownKey(_))));
            let restarted = reload(directory.path());
            assert_eq!(restarted.open(PLACE, &after).unwrap().expose(), b"canary");
            assert!(restarted.open(PLACE, &before).is_err(), "{half:?}");
        }
    }

    #[test]
    fn checks_name_what_is_missing() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (keys, other) = (keyring(one.path()), keyring(two.path()));
        let check = keys.check(5).unwrap();
        keys.verify(std::slice::from_ref(&check)).unwrap();
        let error = other.verify(std::slice::from_ref(&check)).unwrap_err().to_string();
        assert!(error.contains(&check.master) && error.contains("master key"), "{error}");
        std::fs::copy(one.path().join("master.key"), two.path().join("master.key")).unwrap();
        let error = reload(two.path()).verify(std::slice::from_ref(&check)).unwrap_err();
        assert!(error.to_string().contains("same backup"), "{error}");
        let mut forged = check;
        forged.sealed = vec![1; 120];
        assert!(keys.verify(&[forged]).is_err());
    }

    #[test]
    fn a_key_that_others_keep_is_not_written() {
        let line = new_master_line().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let variable = |_: &str| Some(OsString::from(line.as_str()));
        let keys = Keyring::create(KeySource::Environment, directory.path(), variable).unwrap();
        assert!(matches!(keys.prepare(Half::Master), Err(Error::NotOurs)));
        keys.prepare(Half::Shred).unwrap();
    }
}
