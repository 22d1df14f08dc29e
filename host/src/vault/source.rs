//! Where the master key of a process comes from: a systemd credential, a file, or the environment.

use super::key::{self, Key, Kind};
use super::{Error, file};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The environment variable that may hold the key's line.
pub use crate::config::MASTER_KEY_VARIABLE as KEY_VARIABLE;
/// The name of the systemd credential, below `$CREDENTIALS_DIRECTORY`.
pub const CREDENTIAL_NAME: &str = "master.key";

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
    /// The master keys, newest first.
    pub(super) fn load(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Vec<Key>, Error> {
        match self {
            // Its mode shows group bits where the service manager grants access by ACL.
            KeySource::Credential(path) => file::read_guarded(path, Kind::Master),
            KeySource::File(path) => file::load(path, Kind::Master),
            KeySource::Environment => {
                let value = variable(KEY_VARIABLE).unwrap_or_default();
                let text = Zeroizing::new(value.into_string().unwrap_or_default());
                key::parse(Kind::Master, &text, KEY_VARIABLE)
            }
        }
    }

    /// In words, for status and log.
    pub fn as_str(&self) -> &'static str {
        match self {
            KeySource::Credential(_) => "credential",
            KeySource::File(_) => "file",
            KeySource::Environment => "environment",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_source_is_credential_then_file_then_environment() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("own.key");
        let credential = directory.path().join(CREDENTIAL_NAME);
        let from_variable = Key::generate(Kind::Master).unwrap();
        let variable = |name: &str| match name {
            "CREDENTIALS_DIRECTORY" => Some(directory.path().as_os_str().to_owned()),
            KEY_VARIABLE => Some(from_variable.line().as_str().into()),
            _ => None,
        };
        let id = |source: &KeySource| source.load(variable).unwrap()[0].id();
        assert_eq!(locate(&file, |_| None), KeySource::File(file.clone()));
        let source = locate(&file, variable);
        assert_eq!(source, KeySource::Environment);
        assert_eq!(id(&source), from_variable.id());

        let from_file = file::create(&file, Kind::Master).unwrap();
        assert_eq!(id(&locate(&file, variable)), from_file.id());

        let from_credential = file::create(&credential, Kind::Master).unwrap();
        std::fs::set_permissions(&credential, PermissionsExt::from_mode(0o440)).unwrap();
        let source = locate(&file, variable);
        assert_eq!(source, KeySource::Credential(credential));
        assert_eq!(id(&source), from_credential.id());
    }
}
