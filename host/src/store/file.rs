//! One redb file: snapshots, transactions, and the way to its writer thread.

use super::Error;
use super::keys::Key;
use super::tables::Table;
use super::writer::Writer;
use redb::{Database, ReadTransaction, ReadableTable, WriteTransaction};
use std::cell::Cell;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

/// What happens on a storage error.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Visits (key, value) pairs until it breaks.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

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
        on_fatal: &OnFatal,
        migrate: Option<Migrate>,
    ) -> Result<File, Error> {
        let database = Database::builder()
            .set_cache_size(cache_bytes_max)
            .create(path)
            .map_err(|error| open_error(path, error))?;
        prepare(&database, tables, migrate).map_err(|error| match error {
            Error::Storage(reason) => Error::Open { path: path.to_owned(), reason },
            other => other,
        })?;
        let database = Arc::new(database);
        let writer = Writer::start(Arc::clone(&database), Arc::clone(on_fatal));
        Ok(File { database, writer, on_fatal: Arc::clone(on_fatal) })
    }

    pub(crate) fn read(&self) -> Result<Snapshot, Error> {
        use redb::ReadableDatabase;
        match self.database.begin_read() {
            Ok(txn) => Ok(Snapshot { txn, on_fatal: Arc::clone(&self.on_fatal) }),
            Err(error) => Err(fatal(&self.on_fatal, &error)),
        }
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
    let txn = Txn::new(txn, Arc::new(|_| ()));
    for table in tables {
        txn.inner.open_table(*table).map_err(|error| storage(&error))?;
    }
    if let Some(migrate) = migrate {
        // An error drops the transaction: a data directory of a newer program stays as it was.
        migrate(&txn)?;
    }
    txn.inner.commit().map_err(|error| storage(&error))
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

fn open_error(path: &Path, error: redb::DatabaseError) -> Error {
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
    on_fatal(&reason);
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
        scan(&table, bounds, backward, visit).map_err(|error| fatal(&self.on_fatal, &error))
    }
}

/// One write transaction. Rows are visible to others after the commit, all at once.
pub struct Txn {
    pub(crate) inner: WriteTransaction,
    on_fatal: OnFatal,
    dirty: Cell<bool>,
}

impl Txn {
    pub(crate) fn new(inner: WriteTransaction, on_fatal: OnFatal) -> Txn {
        Txn { inner, on_fatal, dirty: Cell::new(false) }
    }

    /// Whether anything was written since the last [`Txn::mark_clean`].
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.get()
    }

    pub(crate) fn mark_clean(&self) {
        self.dirty.set(false);
    }

    pub(crate) fn fatal(&self, error: &dyn std::fmt::Display) -> Error {
        fatal(&self.on_fatal, error)
    }

    pub(crate) fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.dirty.set(true);
        let mut table = self.inner.open_table(table).map_err(|error| self.fatal(&error))?;
        table.insert(key, value).map_err(|error| self.fatal(&error))?;
        Ok(())
    }

    pub(crate) fn delete(&self, table: Table, key: &[u8]) -> Result<(), Error> {
        self.dirty.set(true);
        let mut table = self.inner.open_table(table).map_err(|error| self.fatal(&error))?;
        table.remove(key).map_err(|error| self.fatal(&error))?;
        Ok(())
    }

    /// Deletes all rows whose key starts with `prefix`.
    pub(crate) fn delete_prefix(&self, table: Table, prefix: &Key) -> Result<(), Error> {
        self.dirty.set(true);
        let mut table = self.inner.open_table(table).map_err(|error| self.fatal(&error))?;
        let end = prefix.prefix_end();
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = (Bound::Included(prefix.bytes()), upper);
        table.retain_in::<&[u8], _>(range, |_, _| false).map_err(|error| self.fatal(&error))
    }

    /// Inserts rows in ascending key order; runs that fall into one gap of the table cost a fraction of single puts.
    pub(crate) fn put_sorted<'a>(
        &self,
        table: Table,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), Error> {
        let mut rows = rows.peekable();
        self.dirty.set(true);
        let mut table = self.inner.open_table(table).map_err(|error| self.fatal(&error))?;
        while let Some((first, value)) = rows.next() {
            // Replaces where the key exists; the cursor below only fills gaps.
            table.insert(first, value).map_err(|error| self.fatal(&error))?;
            if rows.peek().is_none() {
                break;
            }
            let mut cursor = table
                .upper_bound_mut(Bound::Included(first))
                .map_err(|error| self.fatal(&error))?;
            while let Some((key, value)) = rows.peek() {
                match cursor.insert_before(*key, *value) {
                    Ok(()) => rows.next(),
                    Err(redb::CursorError::UnorderedKey) => break,
                    Err(error) => return Err(self.fatal(&error)),
                };
            }
            cursor.close().map_err(|error| self.fatal(&error))?;
        }
        Ok(())
    }
}

impl Read for Txn {
    fn get_row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let table = self.inner.open_table(table).map_err(|error| self.fatal(&error))?;
        get(&table, key).map_err(|error| self.fatal(&error))
    }

    fn scan_rows(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        backward: bool,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let table = self.inner.open_table(table).map_err(|error| self.fatal(&error))?;
        scan(&table, bounds, backward, visit).map_err(|error| self.fatal(&error))
    }
}

type Bytes = &'static [u8];

fn get(
    table: &impl ReadableTable<Bytes, Bytes>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, redb::StorageError> {
    Ok(table.get(key)?.map(|guard| guard.value().to_vec()))
}

fn scan(
    table: &impl ReadableTable<Bytes, Bytes>,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
    backward: bool,
    visit: Visit<'_>,
) -> Result<(), redb::StorageError> {
    let mut range = table.range::<&[u8]>(bounds)?;
    while let Some(row) = if backward { range.next_back() } else { range.next() } {
        let (key, value) = row?;
        if visit(key.value(), value.value()).is_break() {
            break;
        }
    }
    Ok(())
}
