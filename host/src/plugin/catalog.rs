//! The plugins that are known, and the rules by which one of a name serves.
//!
//! Pure: no files and no compiler. Must not run a plugin.

use super::info::{self, Asks, Info, State};
use super::load::{Kind, Loaded};
use super::lockfile::Lock;
use super::registry::RegistryError;
use crate::model::manifest::Manifest;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) entries: Vec<Entry>,
    pub(super) lock: Lock,
}

#[derive(Clone)]
pub(super) struct Entry {
    /// None: embedded.
    pub(super) file: Option<PathBuf>,
    pub(super) modified: SystemTime,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) loaded: Result<Arc<Loaded>, String>,
}

impl Entry {
    pub(super) fn name(&self) -> String {
        match (&self.loaded, &self.file) {
            (Ok(loaded), _) => loaded.name.clone(),
            (Err(_), Some(path)) => {
                path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
            (Err(_), None) => "embedded".to_owned(),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.loaded.as_ref().is_ok_and(|loaded| loaded.name == name)
    }
}

impl Content {
    pub(super) fn find(&self, name: &str, sha256: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.sha256 == sha256 && entry.is(name))
    }

    /// The one that serves: in development the newest file, else the pinned digest, else the embedded component.
    pub(super) fn active(&self, name: &str, dev: bool) -> Option<&Arc<Loaded>> {
        let named = || self.entries.iter().filter(|entry| entry.is(name));
        let newest =
            || named().filter(|entry| entry.file.is_some()).max_by_key(|entry| entry.modified);
        let pinned = || {
            let pin = self.lock.active(name)?;
            named().find(|entry| entry.sha256 == pin.sha256)
        };
        let embedded = || named().find(|entry| entry.file.is_none());
        let entry = if dev { newest() } else { None }.or_else(pinned).or_else(embedded)?;
        entry.loaded.as_ref().ok()
    }

    /// The strategy of that name that serves, or else the one that has it as an alias.
    pub(super) fn strategy(&self, name: &str, dev: bool) -> Option<&Arc<Loaded>> {
        let is_strategy = |loaded: &&Arc<Loaded>| loaded.kind == Kind::Strategy;
        let aliased = || self.all_active(dev).into_iter().find(|loaded| has_alias(loaded, name));
        self.active(name, dev).filter(is_strategy).or_else(aliased)
    }

    fn all_active(&self, dev: bool) -> Vec<&Arc<Loaded>> {
        let loaded = self.entries.iter().filter_map(|entry| entry.loaded.as_ref().ok());
        loaded
            .filter(|loaded| {
                self.active(&loaded.name, dev).is_some_and(|active| active.sha256 == loaded.sha256)
            })
            .collect()
    }

    pub(super) fn state(&self, entry: &Entry, dev: bool) -> State {
        let Ok(loaded) = &entry.loaded else {
            return State::Rejected;
        };
        let active = self.active(&loaded.name, dev);
        if active.is_some_and(|active| active.sha256 == loaded.sha256) {
            State::Active
        } else if dev
            || entry.file.is_none()
            || self.lock.pin(&loaded.name, &loaded.sha256).is_some()
        {
            State::Inactive
        } else {
            State::Pending
        }
    }

    /// The version to pin; none where the name has nothing that waits but one that serves.
    pub(super) fn to_approve(
        &self,
        name: &str,
        sha256: Option<&str>,
    ) -> Result<Option<Arc<Loaded>>, RegistryError> {
        if let Some(sha256) = sha256 {
            let unknown = || RegistryError::Unknown(format!("{name} {sha256}"));
            let entry = self.find(name, sha256).ok_or_else(unknown)?;
            return Ok(entry.loaded.as_ref().ok().cloned());
        }
        let unknown = || RegistryError::Unknown(name.to_owned());
        let waiting: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| entry.is(name) && self.state(entry, false) == State::Pending)
            .collect();
        match waiting.as_slice() {
            [] => self.active(name, false).map(|_| None).ok_or_else(unknown),
            [entry] => Ok(entry.loaded.as_ref().ok().cloned()),
            several => Err(RegistryError::Ambiguous {
                name: name.to_owned(),
                sha256: several.iter().map(|entry| entry.sha256.clone()).collect(),
            }),
        }
    }

    /// New files for old ones. A version that served and whose file now holds something else stays.
    pub(super) fn replace_files(&mut self, files: Vec<Entry>, lock: Lock, dev: bool) {
        let serving: Vec<Entry> = self
            .entries
            .iter()
            .filter(|entry| entry.file.is_some() && self.state(entry, dev) == State::Active)
            .cloned()
            .collect();
        self.entries.retain(|entry| entry.file.is_none());
        for entry in serving {
            let overwritten =
                files.iter().any(|file| file.file == entry.file && file.sha256 != entry.sha256);
            let still_there = files.iter().any(|file| file.sha256 == entry.sha256);
            if overwritten && !still_there {
                self.entries.push(entry);
            }
        }
        self.entries.extend(files);
        self.lock = lock;
    }

    pub(super) fn info(&self, entry: &Entry, dev: bool) -> Info {
        let loaded = entry.loaded.as_ref().ok();
        let pin = loaded.and_then(|loaded| self.lock.pin(&loaded.name, &loaded.sha256));
        Info {
            name: entry.name(),
            kind: loaded.map(|loaded| loaded.kind),
            version: loaded.map(|loaded| loaded.version.clone()),
            title: loaded.map(|loaded| info::title(&loaded.manifest).to_owned()),
            sha256: entry.sha256.clone(),
            bytes: entry.bytes,
            state: self.state(entry, dev),
            reason: entry.loaded.as_ref().err().cloned(),
            source: match &entry.file {
                None => "embedded".to_owned(),
                Some(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            },
            approved_at: pin.map(|pin| pin.approved_at.clone()),
            approved_by: pin.map(|pin| pin.approved_by.clone()),
            asks: loaded.map(|loaded| Asks::of(loaded)),
        }
    }
}

fn has_alias(loaded: &Loaded, name: &str) -> bool {
    matches!(&loaded.manifest, Manifest::Strategy(strategy)
        if strategy.aliases.iter().any(|alias| alias == name))
}
