//! Key files: made once and whole, readable by their owner alone, replaced without a moment in which a key is lost, and
//! overwritten before their space is given back.
//!
//! A replacement writes `<file>.next`, gives the file a second name `<file>.spent`, moves `.next` into its place and then
//! overwrites what `.spent` still holds. [`mend`] finishes one that a crash interrupted, whatever the moment.

use super::Error;
use super::key::{self, Key, Kind};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

const FILE_BYTES_MAX: u64 = 4096;

/// Held from the first step of a replacement to its last: two at once would overwrite and move each other's files.
static REPLACING: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    REPLACING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new key in a new file of mode 0600, on disk before this returns. An existing file is left alone.
pub(super) fn create(path: &Path, kind: Kind) -> Result<Key, Error> {
    let key = Key::generate(kind)?;
    make(path, key::render(kind, [&key]).as_bytes()).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::KeyExists(path.to_owned()),
        _ => failed(path, source),
    })?;
    Ok(key)
}

/// Writes a file under another name and gives it its own when it is whole: half a key, which a crash may leave, would be
/// refused for ever.
fn make(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let exists = || io::Error::from(io::ErrorKind::AlreadyExists);
    if path.try_exists()? {
        return Err(exists());
    }
    let next = beside(path, "next");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&next)?;
    // Held until it has its name, so that two processes never make one file.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => exists(),
        TryLockError::Error(error) => error,
    })?;
    if path.try_exists()? {
        // Somebody else was faster, and what is open here may be what they made.
        return Err(exists());
    }
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    sync_directory(path)
}

/// The keys of a file, which must be readable by its owner alone.
pub(super) fn load(path: &Path, kind: Kind) -> Result<Vec<Key>, Error> {
    let file = open(path, kind)?;
    let metadata = file.metadata().map_err(|error| failed(path, error))?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::KeyExposed { path: path.to_owned(), mode });
    }
    read(path, kind, file)
}

/// The keys of a file that somebody else guards.
pub(super) fn read_guarded(path: &Path, kind: Kind) -> Result<Vec<Key>, Error> {
    read(path, kind, open(path, kind)?)
}

/// Puts these keys in the place of those in the file, and overwrites the file as it was. The new content is on disk
/// before the old one goes.
pub(super) fn replace<'a>(
    path: &Path,
    kind: Kind,
    keys: impl IntoIterator<Item = &'a Key>,
) -> Result<(), Error> {
    let _alone = alone();
    // Of a link the target is meant.
    let path = &path.canonicalize().map_err(|error| failed(path, error))?;
    finish(path)?;
    let (next, spent) = (beside(path, "next"), beside(path, "spent"));
    let replaced = (|| {
        write_new(&next, key::render(kind, keys).as_bytes())?;
        fs::hard_link(path, &spent)?;
        sync_directory(path)?;
        fs::rename(&next, path)?;
        sync_directory(path)?;
        wipe(&spent)
    })();
    replaced.map_err(|error| failed(path, error))
}

/// Finishes a replacement that was interrupted: the file itself is whole at every moment.
pub(super) fn mend(path: &Path) -> Result<(), Error> {
    let _alone = alone();
    finish(path)
}

fn finish(path: &Path) -> Result<(), Error> {
    let (next, spent) = (beside(path, "next"), beside(path, "spent"));
    let mended = (|| {
        if next.exists() {
            wipe(&next)?;
        }
        if !spent.exists() {
            return Ok(());
        }
        let same = |a: fs::Metadata, b: fs::Metadata| a.ino() == b.ino() && a.dev() == b.dev();
        if same(fs::metadata(path)?, fs::metadata(&spent)?) {
            // The new file never came: only the second name goes.
            fs::remove_file(&spent)?;
            return sync_directory(path);
        }
        wipe(&spent)
    })();
    mended.map_err(|error| failed(path, error))
}

/// Overwrites a file where it lies, then removes it.
fn wipe(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.write_all(&vec![0; length])?;
    file.sync_all()?;
    fs::remove_file(path)?;
    sync_directory(path)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn open(path: &Path, kind: Kind) -> Result<File, Error> {
    File::open(path).map_err(|error| match (error.kind(), kind) {
        (io::ErrorKind::NotFound, Kind::Shred) => Error::ShredMissing(path.to_owned()),
        (io::ErrorKind::NotFound, _) => Error::KeyMissing(path.to_owned()),
        _ => failed(path, error),
    })
}

fn read(path: &Path, kind: Kind, file: File) -> Result<Vec<Key>, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(path, error))?;
    let origin = path.display().to_string();
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::KeyMalformed { origin, reason: "it is larger than 4 KiB" });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => key::parse(kind, text, &origin),
        Err(_) => Err(Error::KeyMalformed { origin, reason: "it is not text" }),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key would be refused for ever; this attempt made the file, so it may take it away.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    sync_directory(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
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

    fn ids(path: &Path) -> Vec<String> {
        load(path, Kind::Master).unwrap().iter().map(|key| key.id().to_string()).collect()
    }

    #[test]
    fn a_created_key_loads_again_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let made = create(&path, Kind::Master).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load(&path, Kind::Master).unwrap()[0].bytes(), made.bytes());
        assert!(matches!(create(&path, Kind::Master), Err(Error::KeyExists(_))));
        assert_eq!(ids(&path), [made.id().to_string()], "an existing file is never overwritten");
    }

    /// As a crash leaves it while the first key is made.
    #[test]
    fn what_is_left_of_a_key_in_the_making_hinders_nothing() {
        for left in ["", "syncline-", &"x".repeat(5_000)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("master.key");
            let next = beside(&path, "next");
            write_new(&next, left.as_bytes()).unwrap();
            let made = create(&path, Kind::Master).unwrap();
            assert_eq!(ids(&path), [made.id().to_string()]);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing lies about");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        create(&path, Kind::Master).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o610, 0o777] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let text = load(&path, Kind::Master).unwrap_err().to_string();
            assert!(text.contains("chmod 600") && text.contains(&format!("{mode:03o}")), "{text}");
        }
        fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
        load(&path, Kind::Master).unwrap();
    }

    #[test]
    fn files_that_are_missing_huge_or_binary_say_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        for (kind, words) in [(Kind::Master, "syncline init"), (Kind::Shred, "same backup")] {
            let error = load(&path, kind).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        for (content, reason) in [(vec![b'#'; 5_000], "4 KiB"), (vec![0xff; 40], "not text")] {
            let _ = fs::remove_file(&path);
            write_new(&path, &content).unwrap();
            let error = load(&path, Kind::Master).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_replaced_file_is_overwritten_and_not_only_unlinked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let old = create(&path, Kind::Master).unwrap();
        // A second name keeps the blocks reachable after the replacement.
        let witness = directory.path().join("witness");
        fs::hard_link(&path, &witness).unwrap();
        let new = Key::generate(Kind::Master).unwrap();
        replace(&path, Kind::Master, [&new, &old]).unwrap();
        assert_eq!(ids(&path), [new.id().to_string(), old.id().to_string()]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let left = fs::read(&witness).unwrap();
        assert!(!left.is_empty() && left.iter().all(|byte| *byte == 0));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing lies about");
    }

    #[test]
    fn replacements_at_once_come_one_after_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        create(&path, Kind::Master).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let key = Key::generate(Kind::Master).unwrap();
                        replace(&path, Kind::Master, [&key]).unwrap();
                        mend(&path).unwrap();
                    }
                });
            }
        });
        assert_eq!(ids(&path).len(), 1, "a whole key is in the file");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing lies about");
    }

    /// The directory as a crash leaves it after each step of a replacement.
    #[test]
    fn an_interrupted_replacement_loses_no_key_and_leaves_none_behind() {
        for step in 0..5 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("master.key");
            let (next, spent) = (beside(&path, "next"), beside(&path, "spent"));
            let old = create(&path, Kind::Master).unwrap();
            let new = Key::generate(Kind::Master).unwrap();
            let text = key::render(Kind::Master, [&new, &old]);
            match step {
                0 => fs::write(&next, &text.as_bytes()[..20]).unwrap(),
                _ => fs::write(&next, text.as_bytes()).unwrap(),
            }
            if step >= 2 {
                fs::hard_link(&path, &spent).unwrap();
            }
            if step >= 3 {
                fs::set_permissions(&next, PermissionsExt::from_mode(0o600)).unwrap();
                fs::rename(&next, &path).unwrap();
            }
            if step == 4 {
                fs::write(&spent, [0; 30]).unwrap();
            }
            mend(&path).unwrap();
            let expected = if step >= 3 { vec![new.id(), old.id()] } else { vec![old.id()] };
            let expected: Vec<String> = expected.iter().map(KeyId::to_string).collect();
            assert_eq!(ids(&path), expected, "step {step}");
            assert!(!next.exists() && !spent.exists(), "step {step}");
        }
    }

    use super::super::KeyId;
}
