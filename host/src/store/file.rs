//! One redb file: snapshots, transactions, and the way to its writer thread.

mod sorted;

use super::keys::Key;
use super::tables::Table;
use super::writer::{Job, Writer};
use super::{Error, Options, draft};
use crate::crash_point::{Bug, planted};
use redb::{
    Database, ReadTransaction, ReadableTable, ReadableTableMetadata as _, TableHandle as _,
    WriteTransaction,
};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What happens on a storage error.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// How the database at a path is opened. A test of crashes puts a disk of its own behind it; that is why this one
/// signature of the store shows what it is built on.
pub type OpenFile =
    Arc<dyn Fn(&redb::Builder, &Path) -> Result<Database, redb::DatabaseError> + Send + Sync>;

/// Visits (key, value) pairs until it breaks or fails. Its error is no storage error: the scan returns it as it is.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error>;

/// Runs once when a file is opened, inside the first transaction.
pub(crate) type Migrate = fn(&Txn) -> Result<(), Error>;

pub(crate) struct File {
    database: Arc<Database>,
    writer: Writer,
    on_fatal: OnFatal,
}

impl File {
    pub(crate) fn open(
        path: &Path,
        tables: &[Table],
        cache_bytes_max: usize,
        options: &Options,
        migrate: Option<Migrate>,
    ) -> Result<File, Error> {
        let on_fatal = &options.on_fatal;
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes_max);
        let prepare = |database: &Database| {
            prepare(database, tables, migrate).map_err(|error| match error {
                Error::Storage(reason) => Error::Open { path: path.to_owned(), reason },
                other => other,
            })
        };
        draft::ensure(path, &builder, prepare)?;
        let database =
            (options.open_file)(&builder, path).map_err(|error| open_error(path, error))?;
        prepare(&database)?;
        let database = Arc::new(database);
        let writer = Writer::start(Arc::clone(&database), Arc::clone(on_fatal));
        Ok(File { database, writer, on_fatal: Arc::clone(on_fatal) })
    }

    /// Grows with every commit that changed a connector, a connection or a secret.
    pub(crate) fn directory_generation(&self) -> u64 {
        self.writer.directory_generation()
    }

    pub(crate) fn read(&self) -> Result<Snapshot, Error> {
        use redb::ReadableDatabase;
        match self.database.begin_read() {
            Ok(txn) => Ok(Snapshot { txn, on_fatal: Arc::clone(&self.on_fatal) }),
            Err(error) => Err(fatal(&self.on_fatal, &error)),
        }
    }

    pub(crate) fn commits(&self) -> tokio::sync::watch::Receiver<u64> {
        self.writer.commits()
    }

    pub(super) fn commit_count(&self) -> u64 {
        self.writer.commit_count()
    }

    /// Queues a write that tells its callers itself.
    pub(super) fn push(&self, job: Box<dyn Job>) {
        self.writer.push(job, false);
    }

    /// Queues a write at once; the answer comes after its commit.
    pub(crate) fn queue<T, F>(&self, write: F) -> impl Future<Output = Result<T, Error>> + use<T, F>
    where
        F: FnMut(&Txn) -> Result<T, Error> + Send + 'static,
        T: Send + 'static,
    {
        let answer = self.writer.submit(write, false);
        async move { answer.await.unwrap_or(Err(Error::Closed)) }
    }

    pub(crate) async fn write<T, E, F>(&self, write: F) -> Result<T, E>
    where
        F: FnMut(&Txn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.writer.submit(write, false).await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    pub(crate) async fn write_bulk<T, E, F>(&self, write: F) -> Result<T, E>
    where
        F: FnMut(&Txn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.writer.submit(write, true).await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    pub(crate) fn write_blocking<T, E, F>(&self, write: F) -> Result<T, E>
    where
        F: FnMut(&Txn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let answer = self.writer.submit(write, false);
        answer.blocking_recv().unwrap_or_else(|_| Err(Error::Closed.into()))
    }
}

/// Checks the schema and creates what is missing, in one transaction: a file that is refused keeps what it holds.
fn prepare(database: &Database, tables: &[Table], migrate: Option<Migrate>) -> Result<(), Error> {
    let storage = |error: &dyn std::fmt::Display| Error::Storage(error.to_string());
    let txn = database.begin_write().map_err(|error| storage(&error))?;
    for table in tables {
        txn.open_table(*table).map_err(|error| storage(&error))?;
    }
    if let Some(migrate) = migrate {
        // An error drops the transaction: a data directory of a newer program stays as it was.
        migrate(&Txn::new(&txn, Arc::new(|_| ())))?;
    }
    txn.commit().map_err(|error| storage(&error))
}

/// A view of a file that nothing was written to, also not to open it. None where the file was not closed in order: then
/// only an opening that repairs can tell.
pub(crate) fn peek(path: &Path) -> Result<Option<Snapshot>, Error> {
    use redb::ReadableDatabase;
    let database = match redb::ReadOnlyDatabase::open(path) {
        Ok(database) => database,
        Err(redb::DatabaseError::RepairAborted) => return Ok(None),
        Err(error) => return Err(open_error(path, error)),
    };
    let txn = database.begin_read().map_err(|error| Error::Storage(error.to_string()))?;
    Ok(Some(Snapshot { txn, on_fatal: Arc::new(|_| ()) }))
}

pub(super) fn open_error(path: &Path, error: redb::DatabaseError) -> Error {
    match error {
        redb::DatabaseError::Storage(redb::StorageError::Io(error))
            if error.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Error::Denied { path: path.to_owned() }
        }
        redb::DatabaseError::DatabaseAlreadyOpen => {
            let path = path.parent().unwrap_or(path).to_owned();
            Error::Locked { path }
        }
        other => Error::Open { path: path.to_owned(), reason: other.to_string() },
    }
}

/// Reports a storage error and, in production, does not come back.
pub(crate) fn fatal(on_fatal: &OnFatal, error: &dyn std::fmt::Display) -> Error {
    let reason = error.to_string();
    if !planted(Bug::SurviveStorageError) {
        on_fatal(&reason);
    }
    Error::Storage(reason)
}

/// Reading rows: the same from a snapshot and from inside a transaction.
pub trait Read {
    #[doc(hidden)]
    fn get_row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    #[doc(hidden)]
    fn scan_rows(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        backward: bool,
        visit: Visit<'_>,
    ) -> Result<(), Error>;
}

/// Visits all rows whose key starts with `prefix`, in key order.
pub(crate) fn scan_prefix(
    read: &dyn Read,
    table: Table,
    prefix: &Key,
    visit: Visit<'_>,
) -> Result<(), Error> {
    let end = prefix.prefix_end();
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    read.scan_rows(table, (Bound::Included(prefix.bytes()), upper), false, visit)
}

/// The same behind the row with the key `after`, which is one of them.
pub(crate) fn scan_after(
    read: &dyn Read,
    table: Table,
    prefix: &Key,
    after: Option<&[u8]>,
    visit: Visit<'_>,
) -> Result<(), Error> {
    let Some(after) = after else {
        return scan_prefix(read, table, prefix, visit);
    };
    if !after.starts_with(prefix.bytes()) {
        return Ok(());
    }
    let end = prefix.prefix_end();
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    read.scan_rows(table, (Bound::Excluded(after), upper), false, visit)
}

/// A consistent view. Keeps old pages from being reused while it lives: drop it soon.
pub struct Snapshot {
    txn: ReadTransaction,
    on_fatal: OnFatal,
}

impl Read for Snapshot {
    fn get_row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let table = self.txn.open_table(table).map_err(|error| fatal(&self.on_fatal, &error))?;
        get(&table, key).map_err(|error| fatal(&self.on_fatal, &error))
    }

    fn scan_rows(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        backward: bool,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let table = self.txn.open_table(table).map_err(|error| fatal(&self.on_fatal, &error))?;
        scan(&table, bounds, backward, visit).map_err(|error| fatal(&self.on_fatal, &error))?
    }
}

/// One write transaction. Rows are visible to others after the commit, all at once. Several threads may write, each to
/// tables of its own.
pub struct Txn<'t> {
    inner: &'t WriteTransaction,
    /// Open until the end, since to open one costs more than to write a row. What is in use is not among them.
    tables: Mutex<Vec<redb::Table<'t, Bytes, Bytes>>>,
    on_fatal: OnFatal,
    dirty: AtomicBool,
    directory: AtomicBool,
}

impl<'t> Txn<'t> {
    /// It must be gone when the transaction is committed.
    pub(crate) fn new(inner: &'t WriteTransaction, on_fatal: OnFatal) -> Txn<'t> {
        let (dirty, directory) = (AtomicBool::new(false), AtomicBool::new(false));
        Txn { inner, tables: Mutex::default(), on_fatal, dirty, directory }
    }

    fn open_tables(&self) -> MutexGuard<'_, Vec<redb::Table<'t, Bytes, Bytes>>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with a table. Another thread may use another one meanwhile.
    fn using<T>(
        &self,
        table: Table,
        act: impl FnOnce(&mut redb::Table<'t, Bytes, Bytes>) -> Result<T, redb::StorageError>,
    ) -> Result<T, Error> {
        let known = {
            let mut tables = self.open_tables();
            let at = tables.iter().position(|open| open.name() == table.name());
            at.map(|at| tables.swap_remove(at))
        };
        let mut open = match known {
            Some(open) => open,
            None => self.inner.open_table(table).map_err(|error| self.fatal(&error))?,
        };
        let done = act(&mut open).map_err(|error| self.fatal(&error));
        self.open_tables().push(open);
        done
    }

    /// Notes that a connector, a connection or a secret changed: who keeps some in memory looks again.
    pub(super) fn note_directory(&self) {
        self.directory.store(true, Ordering::Relaxed);
    }

    pub(super) fn changes_directory(&self) -> bool {
        self.directory.load(Ordering::Relaxed)
    }

    /// Whether anything was written since the last [`Txn::mark_clean`].
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Relaxed)
    }

    pub(crate) fn mark_clean(&self) {
        self.dirty.store(false, Ordering::Relaxed);
    }

    pub(crate) fn fatal(&self, error: &dyn std::fmt::Display) -> Error {
        fatal(&self.on_fatal, error)
    }

    pub(crate) fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.dirty.store(true, Ordering::Relaxed);
        self.using(table, |table| table.insert(key, value).map(drop))
    }

    /// The same, and shows what the row was before.
    pub(crate) fn replace<T>(
        &self,
        table: Table,
        key: &[u8],
        value: &[u8],
        see: impl FnOnce(Option<&[u8]>) -> T,
    ) -> Result<T, Error> {
        self.dirty.store(true, Ordering::Relaxed);
        self.using(table, |table| {
            let before = table.insert(key, value)?;
            Ok(see(before.as_ref().map(redb::AccessGuard::value)))
        })
    }

    pub(crate) fn delete(&self, table: Table, key: &[u8]) -> Result<(), Error> {
        self.dirty.store(true, Ordering::Relaxed);
        self.using(table, |table| table.remove(key).map(drop))
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: Table) -> Result<u64, Error> {
        self.using(table, |table| table.len())
    }

    /// Deletes rows whose key starts with `prefix`, the first `limit` of them; answers how many.
    pub(crate) fn delete_some(
        &self,
        table: Table,
        prefix: &Key,
        limit: usize,
    ) -> Result<usize, Error> {
        let mut keys = Vec::new();
        if limit > 0 {
            scan_prefix(self, table, prefix, &mut |key, _| {
                keys.push(key.to_vec());
                let full = keys.len() >= limit;
                Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
        }
        keys.iter().try_for_each(|key| self.delete(table, key))?;
        Ok(keys.len())
    }

    /// Deletes all rows whose key starts with `prefix`.
    pub(crate) fn delete_prefix(&self, table: Table, prefix: &Key) -> Result<(), Error> {
        self.dirty.store(true, Ordering::Relaxed);
        let end = prefix.prefix_end();
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = (Bound::Included(prefix.bytes()), upper);
        self.using(table, |table| table.retain_in::<&[u8], _>(range, |_, _| false))
    }

    /// Inserts rows in ascending key order; runs that fall into one gap of the table cost a fraction of single puts.
    pub(crate) fn put_sorted<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        table: Table,
        rows: impl Iterator<Item = (K, V)>,
    ) -> Result<(), Error> {
        self.dirty.store(true, Ordering::Relaxed);
        self.using(table, |table| sorted::put(table, rows.peekable()))
    }
}

impl Read for Txn<'_> {
    fn get_row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.using(table, |table| get(table, key))
    }

    fn scan_rows(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        backward: bool,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        self.using(table, |table| scan(table, bounds, backward, visit))?
    }
}

type Bytes = &'static [u8];

fn get(
    table: &impl ReadableTable<Bytes, Bytes>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, redb::StorageError> {
    Ok(table.get(key)?.map(|guard| guard.value().to_vec()))
}

/// Answers what the visit came to, unless the storage fails.
fn scan(
    table: &impl ReadableTable<Bytes, Bytes>,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
    backward: bool,
    visit: Visit<'_>,
) -> Result<Result<(), Error>, redb::StorageError> {
    let mut range = table.range::<&[u8]>(bounds)?;
    while let Some(row) = if backward { range.next_back() } else { range.next() } {
        let (key, value) = row?;
        match visit(key.value(), value.value()) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
