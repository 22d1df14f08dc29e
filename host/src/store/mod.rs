//! All durable state, on redb, in one data directory. The only code that names redb.
//!
//! `state.redb` is the truth, `inbox.redb` holds deliveries that came in, `staging.redb` is scratch. One writer thread per file groups the writes that wait into one
//! commit. Reads see one snapshot. What a row means is decided by the modules above; this one keeps rows, indexes and
//! counters in step. Any storage error ends the process: what a disk did after a failed write is anybody's guess.

mod draft;
mod file;
mod keys;
mod sorted_runs;
mod tables;
mod writer;

pub mod accounts;
pub mod audit;
pub mod batch;
pub mod bodies;
pub mod channels;
pub mod conflicts;
pub mod consistency;
pub mod counts;
pub mod decisions;
pub mod directory;
pub mod failures;
pub mod feed;
pub mod grants;
pub mod health;
pub mod hook_outcomes;
pub mod hooks;
pub mod idempotency;
pub mod identity;
pub mod jobs;
pub mod links;
pub mod lookup;
pub mod meta;
pub mod names;
pub mod notices;
pub mod records;
pub mod retention;
pub mod rows;
pub mod run_index;
pub mod runs;
pub mod schedules;
pub mod secrets;
pub mod staging;

pub use file::{OnFatal, OpenFile, Read, Snapshot, Txn};

use crate::model::ids::EntityNo;
use file::File;
use names::Names;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the store cannot do what it was asked. Decisions are made on the case.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the data directory {0} does not exist: run `syncline init --data-dir {0}` first", .path.display())]
    NoDataDir { path: PathBuf },
    #[error("another process uses the data directory {0}: stop it first, or choose another with --data-dir", .path.display())]
    Locked { path: PathBuf },
    #[error(
        "the data directory has schema {found}, and this program knows up to {known}: use the newer program, nothing was changed"
    )]
    NewerSchema { found: u64, known: u64 },
    #[error("cannot open {0}: {reason}", .path.display())]
    Open { path: PathBuf, reason: String },
    #[error("{0} cannot be written: permission denied for the user of this process", .path.display())]
    Denied { path: PathBuf },
    #[error("storage failure: {0}")]
    Storage(String),
    #[error("a row of table {table} cannot be read: {reason}")]
    Corrupt { table: String, reason: String },
    #[error("another worker has taken this run over")]
    Overtaken,
    #[error("the store was closed")]
    Closed,
}

/// How the files are opened.
#[derive(Clone)]
pub struct Options {
    /// Page cache of `state.redb`.
    pub cache_bytes_max: usize,
    /// Page cache of `staging.redb`.
    pub staging_cache_bytes_max: usize,
    /// Page cache of `inbox.redb`.
    pub inbox_cache_bytes_max: usize,
    /// Called on a storage error; does not return in production.
    pub on_fatal: OnFatal,
    pub open_file: OpenFile,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache_bytes_max: 128 << 20,
            staging_cache_bytes_max: 16 << 20,
            inbox_cache_bytes_max: 16 << 20,
            on_fatal: Arc::new(|reason| {
                tracing::error!(reason, "storage failure: the process ends");
                // `EX_IOERR`: the supervisor restarts, and the restart recovers from the last commit.
                std::process::exit(74)
            }),
            open_file: Arc::new(|builder, path| builder.open(path)),
        }
    }
}

/// The open data directory. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    state: Arc<File>,
    staging: Arc<File>,
    inbox: Arc<File>,
    arrivals: Arc<hooks::Arrivals>,
    shapes: Arc<Names>,
    entities: Arc<Names>,
    dir: Arc<PathBuf>,
}

impl Store {
    /// Creates the stores of a new data directory. Fails if there are stores already.
    pub fn create(dir: &Path, options: &Options) -> Result<Store, Error> {
        let path = dir.join("state.redb");
        if path.exists() {
            let reason = "it exists already".to_owned();
            return Err(Error::Open { path, reason });
        }
        Store::open_files(dir, options)
    }

    /// Looks into a data directory without writing a byte, and refuses one of a newer program. None where the process
    /// that used it was not stopped in order: then only [`Store::open`] can tell.
    pub fn peek(dir: &Path) -> Result<Option<Snapshot>, Error> {
        let path = dir.join("state.redb");
        let snapshot = file::peek(&path)?;
        if let Some(snapshot) = &snapshot {
            meta::check_schema(snapshot).map_err(|error| match error {
                Error::Storage(reason) => Error::Open { path, reason },
                other => other,
            })?;
        }
        Ok(snapshot)
    }

    /// Opens the stores of a data directory that was initialised before.
    pub fn open(dir: &Path, options: &Options) -> Result<Store, Error> {
        if !dir.join("state.redb").exists() {
            return Err(Error::NoDataDir { path: dir.to_owned() });
        }
        Store::open_files(dir, options)
    }

    fn open_files(dir: &Path, options: &Options) -> Result<Store, Error> {
        let state = File::open(
            &dir.join("state.redb"),
            tables::STATE,
            options.cache_bytes_max,
            options,
            Some(meta::migrate),
        )?;
        let staging = File::open(
            &dir.join("staging.redb"),
            tables::STAGING,
            options.staging_cache_bytes_max,
            options,
            None,
        )?;
        let inbox = File::open(
            &dir.join("inbox.redb"),
            tables::INBOX,
            options.inbox_cache_bytes_max,
            options,
            None,
        )?;
        let shapes = Arc::new(Names::load(&state.read()?, tables::SHAPES)?);
        let entities = Arc::new(Names::load(&state.read()?, tables::ENTITIES)?);
        Ok(Store {
            state: Arc::new(state),
            staging: Arc::new(staging),
            inbox: Arc::new(inbox),
            arrivals: Arc::default(),
            shapes,
            entities,
            dir: Arc::new(dir.to_owned()),
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Grows with every commit that changed a connector, a connection or a secret: what was read before it may be old.
    pub fn directory_generation(&self) -> u64 {
        self.state.directory_generation()
    }

    /// A consistent view of the truth. Reads that scan belong on a blocking thread.
    pub fn read(&self) -> Result<Snapshot, Error> {
        self.state.read()
    }

    /// Changes after every commit of the truth: for whoever follows what is committed. A wake-up says that something was
    /// written and not what, and several commits may be one wake-up.
    pub fn commits(&self) -> tokio::sync::watch::Receiver<u64> {
        self.state.commits()
    }

    /// Runs `write` on the writer thread, together with other waiting writes, and answers after the commit is durable.
    ///
    /// `write` may run more than once (when a neighbor in the same group fails) and must not keep effects outside the
    /// transaction. If it returns an error, nothing of it is kept.
    pub async fn write<T, E, F>(&self, write: F) -> Result<T, E>
    where
        F: FnMut(&Txn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.state.write(write).await
    }

    /// The same from a thread that may block.
    pub fn write_blocking<T, E, F>(&self, write: F) -> Result<T, E>
    where
        F: FnMut(&Txn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.state.write_blocking(write)
    }

    /// A long write: runs alone, after the short ones that wait.
    pub async fn write_bulk<T, E, F>(&self, write: F) -> Result<T, E>
    where
        F: FnMut(&Txn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.state.write_bulk(write).await
    }

    /// The field-name lists that records share.
    pub fn shapes(&self) -> &Names {
        &self.shapes
    }

    /// The number of an entity; none where no record and no connection ever had it.
    pub fn entity(&self, name: &str) -> Option<EntityNo> {
        let number = self.entities.number(&names::shape(&[name]))?;
        u16::try_from(number).ok().map(EntityNo)
    }

    pub fn entity_name(&self, entity: EntityNo) -> Result<Arc<str>, Error> {
        let names = self.entities.get(u32::from(entity.0))?;
        names.first().cloned().ok_or_else(|| rows::corrupt(tables::ENTITIES, &"no name"))
    }

    /// The number of an entity, given away now if it is new.
    pub fn intern_entity(&self, txn: &Txn, name: &str) -> Result<EntityNo, Error> {
        let number = self.entities.intern(txn, &names::shape(&[name]))?;
        u16::try_from(number).map(EntityNo).map_err(|error| rows::corrupt(tables::ENTITIES, &error))
    }

    pub(crate) fn staging_file(&self) -> &File {
        &self.staging
    }

    pub(crate) fn inbox_file(&self) -> &File {
        &self.inbox
    }
    /// Deliveries that wait for the next commit of the inbox.
    fn arrivals(&self) -> &Arc<hooks::Arrivals> {
        &self.arrivals
    }
}
