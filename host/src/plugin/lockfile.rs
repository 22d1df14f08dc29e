//! `plugins.lock`: which components a person approved, by digest.
//!
//! Owns the file's form. Must not decide what approval means; the registry does.

use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used: {reason}", .path.display())]
pub struct LockError {
    pub path: PathBuf,
    pub reason: String,
}

/// Sorted by name and digest, so that a diff of two versions shows what was approved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    #[serde(default, rename = "plugin")]
    pub(super) pins: Vec<Pin>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Pin {
    pub(super) name: String,
    pub(super) sha256: String,
    pub(super) version: String,
    /// What the manifest asked for when it was approved.
    pub(super) hosts: Vec<String>,
    /// RFC 3339.
    pub(super) approved_at: String,
    pub(super) approved_by: String,
    /// At most one of a name: the one that serves.
    pub(super) active: bool,
}

impl Lock {
    /// A file that is not there pins nothing.
    pub(super) fn read(path: &Path) -> Result<Lock, LockError> {
        let fail = |reason: String| LockError { path: path.to_path_buf(), reason };
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|error| fail(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
            Err(error) => Err(fail(error.to_string())),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), LockError> {
        let fail = |reason: String| LockError { path: path.to_path_buf(), reason };
        let text = toml::to_string(self).map_err(|error| fail(error.to_string()))?;
        let text = format!("# Approved plugins. Kept by `syncline plugin approve`.\n\n{text}");
        write_atomically(path, text.as_bytes()).map_err(|error| fail(error.to_string()))
    }

    pub(super) fn pin(&self, name: &str, sha256: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.name == name && pin.sha256 == sha256)
    }

    pub(super) fn active(&self, name: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.name == name && pin.active)
    }

    /// With this pin added and active.
    pub(super) fn with_active_pin(&self, pin: Pin) -> Lock {
        let mut lock = self.with_active(&pin.name, &pin.sha256);
        lock.pins.retain(|old| (&old.name, &old.sha256) != (&pin.name, &pin.sha256));
        lock.pins.push(Pin { active: true, ..pin });
        lock.pins.sort();
        lock
    }

    /// With this digest the one that serves; a digest without a pin leaves the name to the embedded component.
    pub(super) fn with_active(&self, name: &str, sha256: &str) -> Lock {
        let mut lock = self.clone();
        for pin in lock.pins.iter_mut().filter(|pin| pin.name == name) {
            pin.active = pin.sha256 == sha256;
        }
        lock
    }
}

/// All of the new content or all of the old, also after a crash.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = std::fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| std::fs::rename(&temporary, path));
    if renamed.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    }
    renamed
}
