//! The master key: made once, kept in a file that only its owner reads, or handed in by the service manager.
//!
//! Text form, one line: `syncline-key-1.<key id>.<key>` with the id as 16 hex digits and the key as 43 characters of
//! base64url. The id is derived from the key, so that a mistyped or mixed-up line is noticed. Empty lines and lines
//! that begin with `#` are passed over.

use super::{Error, random};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The environment variable that may hold the key's line.
pub const KEY_VARIABLE: &str = "SYNCLINE_MASTER_KEY";
/// The name of the systemd credential, below `$CREDENTIALS_DIRECTORY`.
pub const CREDENTIAL_NAME: &str = "master.key";

const FORM: &str = "syncline-key-1";
const FILE_BYTES_MAX: u64 = 4096;
const FILE_HEAD: &str = "# Syncline's master key. Whoever reads this file can read every stored credential, and \
                         without it none\n# can be read again: keep a copy apart from the data directory and its \
                         backups.\n";

/// Names a master key without telling anything about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

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

/// The key that wraps the data key of every sealed value.
pub struct MasterKey {
    id: KeyId,
    bytes: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, [redacted])", self.id)
    }
}

impl MasterKey {
    /// A new random key that is stored nowhere.
    pub fn generate() -> Result<MasterKey, Error> {
        Ok(MasterKey::from_bytes(Zeroizing::new(random()?)))
    }

    /// A new key in a new file of mode 0600, on disk before this returns. An existing file is left alone.
    pub fn create(path: &Path) -> Result<MasterKey, Error> {
        let key = MasterKey::generate()?;
        let text = Zeroizing::new(format!("{FILE_HEAD}{}\n", key.line().as_str()));
        write_new(path, text.as_bytes()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::KeyExists(path.to_owned()),
            _ => Error::KeyFile { path: path.to_owned(), source },
        })?;
        Ok(key)
    }

    /// The key in a file, which must be readable by its owner alone.
    pub fn load(path: &Path) -> Result<MasterKey, Error> {
        let file = open(path)?;
        let metadata = file.metadata().map_err(|error| failed(path, error))?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::KeyExposed { path: path.to_owned(), mode });
        }
        read(path, file)
    }

    /// The key in the line form, for example from the environment. `origin` is where the text came from, for errors.
    pub fn parse(text: &str, origin: &str) -> Result<MasterKey, Error> {
        let malformed = |reason| Error::KeyMalformed { origin: origin.to_owned(), reason };
        let mut lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().ok_or_else(|| malformed("it is empty"))?;
        if lines.next().is_some() {
            return Err(malformed("it has more than one line"));
        }
        let mut parts = line.split('.');
        let (Some(FORM), Some(id), Some(encoded), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("its line has another form"));
        };
        let mut bytes = Zeroizing::new([0_u8; 32]);
        // One spare byte, because the decoder estimates before it decodes.
        let mut decoded = Zeroizing::new([0_u8; 33]);
        match URL_SAFE_NO_PAD.decode_slice(encoded, decoded.as_mut_slice()) {
            Ok(32) => bytes.copy_from_slice(&decoded[..32]),
            _ => return Err(malformed("the key is not 32 bytes in base64url")),
        }
        let key = MasterKey::from_bytes(bytes);
        if key.id.to_string() != id {
            return Err(malformed("the key and its id do not belong together"));
        }
        Ok(key)
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> MasterKey {
        let digest = Sha256::new().chain_update(b"syncline key id").chain_update(*bytes).finalize();
        let mut id = [0; 8];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        MasterKey { id: KeyId(id), bytes }
    }

    fn line(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.bytes.as_slice()));
        Zeroizing::new(format!("{FORM}.{}.{}", self.id, encoded.as_str()))
    }
}

/// Where the master key of a process comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file that the service manager made for this process; it guards the file itself.
    Credential(PathBuf),
    File(PathBuf),
    /// Readable by whoever may read the process's environment: worth a warning at start.
    Environment,
}

/// The source to use: a systemd credential, else the file, else the environment variable, else the file that is not
/// there. `variable` reads the environment.
pub fn locate(file: &Path, variable: impl Fn(&str) -> Option<OsString>) -> KeySource {
    if let Some(directory) = variable("CREDENTIALS_DIRECTORY") {
        let credential = Path::new(&directory).join(CREDENTIAL_NAME);
        if credential.exists() {
            return KeySource::Credential(credential);
        }
    }
    if !file.exists() && variable(KEY_VARIABLE).is_some() {
        return KeySource::Environment;
    }
    KeySource::File(file.to_owned())
}

impl KeySource {
    pub fn load(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<MasterKey, Error> {
        match self {
            // Its mode shows group bits where the service manager grants access by ACL.
            KeySource::Credential(path) => read(path, open(path)?),
            KeySource::File(path) => MasterKey::load(path),
            KeySource::Environment => {
                let value = variable(KEY_VARIABLE).unwrap_or_default();
                let text = Zeroizing::new(value.into_string().unwrap_or_default());
                MasterKey::parse(&text, KEY_VARIABLE)
            }
        }
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::KeyMissing(path.to_owned()),
        _ => failed(path, error),
    })
}

fn read(path: &Path, file: File) -> Result<MasterKey, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(path, error))?;
    let origin = path.display().to_string();
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::KeyMalformed { origin, reason: "it is larger than 4 KiB" });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => MasterKey::parse(text, &origin),
        Err(_) => Err(Error::KeyMalformed { origin, reason: "it is not text" }),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key would be refused for ever; this attempt made the file, so it may take it away.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::KeyFile { path: path.to_owned(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_created_key_loads_again_and_is_private() {
        let directory = directory();
        let path = directory.path().join("master.key");
        let made = MasterKey::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let loaded = MasterKey::load(&path).unwrap();
        assert_eq!(made.id(), loaded.id());
        assert_eq!(made.bytes(), loaded.bytes());
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let directory = directory();
        let path = directory.path().join("master.key");
        let made = MasterKey::create(&path).unwrap();
        assert!(matches!(MasterKey::create(&path), Err(Error::KeyExists(_))));
        assert_eq!(MasterKey::load(&path).unwrap().id(), made.id());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let directory = directory();
        let path = directory.path().join("master.key");
        MasterKey::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o610, 0o777] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let text = MasterKey::load(&path).unwrap_err().to_string();
            assert!(text.contains("chmod 600") && text.contains(&format!("{mode:03o}")), "{text}");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
        MasterKey::load(&path).unwrap();
    }

    #[test]
    fn malformed_keys_are_refused_with_a_reason_and_without_the_key() {
        #[track_caller]
        fn check(text: &str, reason: &str) {
            let error = MasterKey::parse(text, "test").unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains("CANARY"), "{error}");
        }
        let key = MasterKey::generate().unwrap();
        let line = key.line();
        let (front, secret) = line.rsplit_once('.').unwrap();
        let id = key.id();
        check("", "empty");
        check("# only a comment\n\n", "empty");
        check(&format!("{}\n{}", line.as_str(), line.as_str()), "more than one line");
        check("CANARY", "another form");
        check(&format!("syncline-key-2.{id}.{secret}"), "another form");
        check(&format!("{}.x", line.as_str()), "another form");
        check(&format!("{front}.CANARY"), "32 bytes");
        check(&format!("{front}.{}", &secret[..42]), "32 bytes");
        check(&format!("{front}.{secret}AAAA"), "32 bytes");
        check(&format!("{front}.{}", "A".repeat(43)), "do not belong together");
        check(&format!("{FORM}.0000000000000000.{secret}"), "do not belong together");
        MasterKey::parse(&format!("# head\r\n\r\n  {}  \r\n", line.as_str()), "test").unwrap();
    }

    #[test]
    fn files_that_are_missing_huge_or_binary_say_so() {
        let directory = directory();
        let path = directory.path().join("master.key");
        let error = MasterKey::load(&path).unwrap_err();
        assert!(error.to_string().contains("syncline init"), "{error}");
        for (content, reason) in [(vec![b'#'; 5_000], "4 KiB"), (vec![0xff; 40], "not text")] {
            let _ = std::fs::remove_file(&path);
            write_new(&path, &content).unwrap();
            let error = MasterKey::load(&path).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn the_source_is_credential_then_file_then_environment() {
        let directory = directory();
        let file = directory.path().join("own.key");
        let credential = directory.path().join(CREDENTIAL_NAME);
        let from_variable = MasterKey::generate().unwrap();
        let variable = |name: &str| match name {
            "CREDENTIALS_DIRECTORY" => Some(directory.path().as_os_str().to_owned()),
            KEY_VARIABLE => Some(from_variable.line().as_str().into()),
            _ => None,
        };
        assert_eq!(locate(&file, |_| None), KeySource::File(file.clone()));
        let source = locate(&file, variable);
        assert_eq!(source, KeySource::Environment);
        assert_eq!(source.load(variable).unwrap().id(), from_variable.id());

        let from_file = MasterKey::create(&file).unwrap();
        let source = locate(&file, variable);
        assert_eq!(source.load(variable).unwrap().id(), from_file.id());

        let from_credential = MasterKey::create(&credential).unwrap();
        std::fs::set_permissions(&credential, PermissionsExt::from_mode(0o440)).unwrap();
        let source = locate(&file, variable);
        assert_eq!(source, KeySource::Credential(credential));
        assert_eq!(source.load(variable).unwrap().id(), from_credential.id());
    }

    #[test]
    fn debug_shows_the_id_and_not_the_key() {
        let key = MasterKey::generate().unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.id().to_string()) && shown.contains("[redacted]"));
        let secret = key.line().rsplit_once('.').unwrap().1.to_owned();
        assert!(!shown.contains(&secret) && !shown.contains(&hex::encode(key.bytes())));
    }
}
