//! Which plugins there are, which of them may run, and which one of a name serves.
//!
//! Owns approval by digest, installation and reload. A plugin in use is held by its users: whatever happens here, a job
//! ends on the code that it began with. Must not run a plugin beyond `describe`.

use super::catalog::{Content, Entry};
use super::directory::{self, Found, Watch};
use super::embedded::COMPONENTS;
use super::engine::Engine;
use super::info::{Asks, Info, State};
use super::load::{Kind, LoadError, Loaded, load, sha256_hex};
use super::lockfile::{Lock, LockError, Pin, write_atomically};
use crate::clock::{self, Clock};
use futures_util::future::join_all;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// How often `--dev` looks at the directory.
const WATCH_PERIOD: Duration = Duration::from_secs(2);

/// How many digits of a digest a file name shows.
const FILE_DIGEST_CHARS: usize = 12;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Components that come with the host: approved by being there.
    pub embedded: Vec<&'static [u8]>,
    /// Where dropped and uploaded components live; `plugins.lock` is beside it.
    pub directory: Option<PathBuf>,
    /// Every valid file of the directory is approved; the newest of a name serves.
    pub dev: bool,
    pub clock: Clock,
}

impl Options {
    /// The bundled components and nothing else.
    pub fn bundled() -> Options {
        let embedded = COMPONENTS.iter().map(|component| component.bytes).collect();
        Options { embedded, ..Options::default() }
    }
}

/// What cannot be done with the plugins.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("the plugin directory {} cannot be used: {reason}", .path.display())]
    Directory { path: PathBuf, reason: String },
    #[error("there is no plugin directory: start the server with --plugins or a data directory")]
    NoDirectory,
    #[error("there is no plugin `{0}`")]
    Unknown(String),
    #[error("`{name}` has several versions that wait for approval: name one of {}", .sha256.join(", "))]
    Ambiguous { name: String, sha256: Vec<String> },
    #[error("`{name}` {sha256} is not approved: approve it first")]
    NotApproved { name: String, sha256: String },
}

/// All plugins of the process.
pub struct Registry {
    engine: Arc<Engine>,
    options: Options,
    content: RwLock<Content>,
    /// Changes come one after another; readers never wait for them.
    changing: tokio::sync::Mutex<()>,
}

impl Registry {
    /// Loads what is embedded and what is in the directory, all at once. A bad file is a rejected row; a bad
    /// `plugins.lock` is an error.
    pub async fn open(
        engine: Arc<Engine>,
        options: Options,
    ) -> Result<Arc<Registry>, RegistryError> {
        let embedded = options.embedded.iter().map(|bytes| embedded_entry(&engine, bytes));
        let entries = join_all(embedded).await;
        let registry = Arc::new(Registry {
            engine,
            options,
            content: RwLock::new(Content { entries, lock: Lock::default() }),
            changing: tokio::sync::Mutex::default(),
        });
        registry.reload().await?;
        Ok(registry)
    }

    /// The active connector of that name.
    pub fn connector(&self, name: &str) -> Option<Arc<Loaded>> {
        self.read(|content| content.active(name, self.options.dev).cloned())
            .filter(|loaded| loaded.kind == Kind::Connector)
    }

    /// The active strategy of that name, or else the one that has it as an alias.
    pub fn strategy(&self, name: &str) -> Option<Arc<Loaded>> {
        self.read(|content| content.strategy(name, self.options.dev).cloned())
    }

    /// An approved connector by what a run recorded, whether it serves new runs or not.
    pub fn connector_by_digest(&self, sha256: &str) -> Option<Arc<Loaded>> {
        self.read(|content| {
            let entry = content.entries.iter().find(|entry| entry.sha256 == sha256)?;
            let approved = content.state(entry, self.options.dev) != State::Pending;
            entry.loaded.as_ref().ok().filter(|_| approved).cloned()
        })
        .filter(|loaded| loaded.kind == Kind::Connector)
    }

    /// Every component, by name and version.
    pub fn list(&self) -> Vec<Info> {
        let dev = self.options.dev;
        let mut rows: Vec<Info> = self
            .read(|content| content.entries.iter().map(|entry| content.info(entry, dev)).collect());
        rows.sort_by(|a, b| {
            (&a.name, &a.version, &a.sha256).cmp(&(&b.name, &b.version, &b.sha256))
        });
        rows
    }

    /// What a component is and asks for; nothing is kept.
    pub async fn inspect(&self, bytes: Vec<u8>) -> Result<Info, LoadError> {
        let entry = self.load_entry(bytes.into()).await?;
        Ok(self.read(|content| content.info(&entry, self.options.dev)))
    }

    /// Keeps a component that loads; it waits for approval. Nothing is written if it does not load.
    pub async fn install(&self, bytes: Vec<u8>) -> Result<Info, RegistryError> {
        let directory = self.options.directory.clone().ok_or(RegistryError::NoDirectory)?;
        let _changing = self.changing.lock().await;
        let bytes: Arc<[u8]> = bytes.into();
        let mut entry = self.load_entry(bytes.clone()).await?;
        let known =
            self.read(|content| content.entries.iter().any(|known| known.sha256 == entry.sha256));
        if !known {
            let name = entry.name();
            let digest = entry.sha256.get(..FILE_DIGEST_CHARS).unwrap_or_default();
            let path = directory.join(format!("{name}-{digest}.wasm"));
            let target = path.clone();
            entry.modified = blocking(move || {
                write_component(&directory, &target, &bytes).map_err(|error| {
                    RegistryError::Directory { path: directory, reason: error.to_string() }
                })
            })
            .await?;
            entry.file = Some(path);
            self.change(|content| content.entries.push(entry.clone()));
        }
        self.info_of(&entry.name(), &entry.sha256)
    }

    /// Pins a waiting version and makes it the one that serves. Without a digest there must be only one that waits; one
    /// that serves already is approved again without effect.
    pub async fn approve(
        &self,
        name: &str,
        sha256: Option<&str>,
        by: &str,
    ) -> Result<Info, RegistryError> {
        let _changing = self.changing.lock().await;
        let chosen = self.read(|content| content.to_approve(name, sha256))?;
        let Some(loaded) = chosen else {
            let active = self.read(|content| content.active(name, false).cloned());
            let active = active.ok_or_else(|| RegistryError::Unknown(name.to_owned()))?;
            return self.info_of(name, &active.sha256);
        };
        let pin = Pin {
            name: loaded.name.clone(),
            sha256: loaded.sha256.clone(),
            version: loaded.version.clone(),
            hosts: Asks::of(&loaded).hosts,
            approved_at: clock::to_text(clock::to_millis(self.options.clock.now())),
            approved_by: by.to_owned(),
            active: true,
        };
        let lock = self.read(|content| content.lock.with_active_pin(pin));
        self.keep_lock(lock).await?;
        self.info_of(&loaded.name, &loaded.sha256)
    }

    /// Makes an approved version the one that serves; the digest of the embedded component gives the name back to it.
    pub async fn activate(&self, name: &str, sha256: &str) -> Result<Info, RegistryError> {
        let _changing = self.changing.lock().await;
        let approved = self.read(|content| {
            let entry = content.find(name, sha256)?;
            Some(entry.file.is_none() || content.lock.pin(name, sha256).is_some())
        });
        match approved {
            None => return Err(RegistryError::Unknown(format!("{name} {sha256}"))),
            Some(false) => {
                let (name, sha256) = (name.to_owned(), sha256.to_owned());
                return Err(RegistryError::NotApproved { name, sha256 });
            }
            Some(true) => {}
        }
        let lock = self.read(|content| content.lock.with_active(name, sha256));
        self.keep_lock(lock).await?;
        self.info_of(name, sha256)
    }

    /// Reads the directory and the lock again. A file that has become bad, or that is not approved yet, leaves the version
    /// that served before; a file that is gone takes its version with it.
    pub async fn reload(&self) -> Result<(), RegistryError> {
        let Some(directory) = self.options.directory.clone() else {
            return Ok(());
        };
        let _changing = self.changing.lock().await;
        let bytes_max = self.engine.limits().component_bytes_max;
        let path = lock_path(&directory);
        let (lock, found) = blocking(move || {
            let lock = Lock::read(&path)?;
            let found = directory::read(&directory, bytes_max).map_err(|error| {
                RegistryError::Directory { path: directory, reason: error.to_string() }
            })?;
            Ok((lock, found))
        })
        .await?;
        let known = self.read(|content| content.entries.clone());
        let entries = join_all(found.into_iter().map(|found| self.file_entry(found, &known))).await;
        let dev = self.options.dev;
        self.change(|content| content.replace_files(entries, lock, dev));
        Ok(())
    }

    /// `--dev`: reloads whenever the directory has changed and settled. Ends with its task.
    pub async fn watch(self: Arc<Self>) {
        let Some(path) = self.options.directory.clone() else {
            return;
        };
        // It starts from nothing: what changed since the registry was opened is then seen as well.
        let mut watch = Watch::default();
        let mut period = tokio::time::interval(WATCH_PERIOD);
        loop {
            period.tick().await;
            let path = path.clone();
            let looked = tokio::task::spawn_blocking(move || directory::list(&path)).await;
            let Ok(Ok(now)) = looked else { continue };
            if watch.look(now)
                && let Err(error) = self.reload().await
            {
                tracing::warn!("the plugins could not be reloaded: {error}");
            }
        }
    }

    async fn load_entry(&self, bytes: Arc<[u8]>) -> Result<Entry, LoadError> {
        let size = bytes.len();
        let loaded = load(&self.engine, bytes).await?;
        Ok(Entry {
            file: None,
            modified: SystemTime::UNIX_EPOCH,
            bytes: size.try_into().unwrap_or(u64::MAX),
            sha256: loaded.sha256.clone(),
            loaded: Ok(loaded),
        })
    }

    /// What is known by its digest is not compiled again.
    async fn file_entry(&self, found: Found, known: &[Entry]) -> Entry {
        let Found { path, modified, bytes, sha256, content } = found;
        let same = known.iter().find(|entry| entry.sha256 == sha256 && !sha256.is_empty());
        let loaded = match (content, same) {
            (Err(reason), _) => Err(reason),
            (Ok(_), Some(same)) => same.loaded.clone(),
            (Ok(content), None) => {
                load(&self.engine, content).await.map_err(|error| error.to_string())
            }
        };
        if let (Err(reason), None) = (&loaded, same) {
            tracing::warn!("{} is no plugin: {reason}", path.display());
        }
        Entry { file: Some(path), modified, bytes, sha256, loaded }
    }

    /// On disk first: what is approved in memory is approved after a restart.
    async fn keep_lock(&self, lock: Lock) -> Result<(), RegistryError> {
        if let Some(directory) = &self.options.directory {
            let path = lock_path(directory);
            let written = lock.clone();
            blocking(move || written.write(&path).map_err(RegistryError::Lock)).await?;
        }
        self.change(|content| content.lock = lock);
        Ok(())
    }

    fn info_of(&self, name: &str, sha256: &str) -> Result<Info, RegistryError> {
        let dev = self.options.dev;
        self.read(|content| Some(content.info(content.find(name, sha256)?, dev)))
            .ok_or_else(|| RegistryError::Unknown(name.to_owned()))
    }

    fn read<T>(&self, look: impl FnOnce(&Content) -> T) -> T {
        look(&self.content.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.content.write().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn embedded_entry(engine: &Arc<Engine>, bytes: &'static [u8]) -> Entry {
    let loaded = load(engine, bytes.into()).await.map_err(|error| error.to_string());
    if let Err(reason) = &loaded {
        tracing::error!("an embedded component does not load: {reason}");
    }
    Entry {
        file: None,
        modified: SystemTime::UNIX_EPOCH,
        bytes: bytes.len().try_into().unwrap_or(u64::MAX),
        sha256: sha256_hex(bytes),
        loaded,
    }
}

/// Answers the file's modification time.
fn write_component(directory: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<SystemTime> {
    std::fs::create_dir_all(directory)?;
    write_atomically(path, bytes)?;
    std::fs::metadata(path)?.modified()
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.with_file_name("plugins.lock")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(RegistryError::Directory { path: PathBuf::new(), reason: error.to_string() })
    })
}
