//! How a file of the store comes to be: whole, or not at all.
//!
//! redb writes the mark by which it knows its files last, so that a file whose making was cut off can never be opened. A
//! new file is therefore made under another name beside its place, and gets its own name when it is whole and durable.
//! A file that has its name is left alone, whatever it holds.

use super::Error;
use super::file::open_error;
use crate::crash_point;
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, StorageError};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Makes the file where there is none; `fill` writes what no such file is without. What an earlier attempt left of it is
/// overwritten.
pub(super) fn ensure(
    path: &Path,
    builder: &Builder,
    fill: impl FnOnce(&Database) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |error: io::Error| open_error(path, StorageError::Io(error).into());
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    let draft = name(path);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(&draft);
    let file = file.map_err(failed)?;
    // Held until the draft has its name, so that two processes never make one file.
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(open_error(path, DatabaseError::DatabaseAlreadyOpen));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    if path.try_exists().map_err(failed)? {
        // Somebody else was faster, and what is open here may be what they made.
        return Ok(());
    }
    file.set_len(0).map_err(failed)?;
    let made = FileBackend::new(file).and_then(|file| builder.create_with_backend(file));
    let database = made.map_err(|error| open_error(path, error))?;
    fill(&database)?;
    crash_point::reached("store:draft");
    fs::rename(&draft, path).and_then(|()| sync_directory(path)).map_err(failed)?;
    crash_point::reached("store:made");
    Ok(())
}

/// What a file is called until it is whole.
fn name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Options, Store};
    use super::*;
    use std::sync::Arc;

    const FILES: [&str; 3] = ["state.redb", "staging.redb", "inbox.redb"];

    fn open(dir: &Path) -> Result<Store, Error> {
        Store::open_files(dir, &Options::default())
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A power cut may leave anything of a draft: of each file nothing, its head without the mark, or noise.
    #[test]
    fn what_is_left_of_a_draft_hinders_nothing() {
        for left in [&b""[..], &[0; 4096], b"noise"] {
            for file in FILES {
                let dir = tempfile::tempdir().unwrap();
                let draft = name(&dir.path().join(file));
                fs::write(draft, left).unwrap();
                drop(open(dir.path()).unwrap());
                let mut all = FILES;
                all.sort();
                assert_eq!(names(dir.path()), all, "{file} {left:?}");
            }
        }
    }

    /// Whoever opens files sees none that is not whole: redb's own making is over before.
    #[test]
    fn a_file_has_its_name_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            open_file: Arc::new(|_, path| {
                let database = Builder::new().open(path)?;
                let txn = database.begin_write().map_err(|_| DatabaseError::RepairAborted)?;
                let tables = txn.list_tables().map_err(|_| DatabaseError::RepairAborted)?.count();
                assert!(tables > 2, "{} has {tables} tables", path.display());
                drop(txn);
                Ok(database)
            }),
            ..Options::default()
        };
        drop(Store::create(dir.path(), &options).unwrap());
    }

    #[test]
    fn a_file_that_is_there_is_never_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inbox.redb");
        for content in [&b""[..], b"noise"] {
            fs::write(&path, content).unwrap();
            assert!(matches!(open(dir.path()), Err(Error::Open { .. })), "{content:?}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn only_one_process_makes_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let draft = File::create(name(&dir.path().join("state.redb"))).unwrap();
        draft.lock().unwrap();
        assert!(matches!(open(dir.path()), Err(Error::Locked { .. })));
    }
}
