//! How much room there is on the disk of the data directory, and whether that is enough. Asks the system each time it is
//! asked: a look costs a microsecond. Must not decide what is refused, nor tell anybody.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Free bytes below which it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// People are told.
    pub low_bytes: u64,
    /// Nothing that takes room is begun or taken in any more; what is under way may still end in order.
    pub full_bytes: u64,
}

/// How much room there is, least last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    Enough,
    Low,
    Full,
}

/// The disk of one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Disk {
    dir: Arc<PathBuf>,
    options: Options,
}

impl Disk {
    pub fn of(dir: &Path, options: Options) -> Disk {
        Disk { dir: Arc::new(dir.to_owned()), options }
    }

    /// Free bytes, as far as this process may use them.
    pub fn free(&self) -> io::Result<u64> {
        if let Some(stated) = stated() {
            return Ok(stated);
        }
        let stat = rustix::fs::statvfs(self.dir.as_path())?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Where the system does not tell, there is enough: a disk that is broken shows at the next write.
    pub fn room(&self) -> Room {
        self.free().map_or(Room::Enough, |free| self.options.judge(free))
    }

    pub fn is_full(&self) -> bool {
        self.room() == Room::Full
    }

    /// Whether there is again so much that the next few files do not make it low at once.
    pub fn has_recovered(&self) -> bool {
        let comfort = self.options.low_bytes.saturating_add(self.options.low_bytes / 10);
        self.free().is_ok_and(|free| free >= comfort)
    }
}

/// What a test says instead of the system: `FREE_BYTES_FOR_SYNCLINE` names a file that holds the number. Builds without
/// debug assertions, such as releases, hold none of it.
#[cfg(debug_assertions)]
fn stated() -> Option<u64> {
    static FILE: std::sync::OnceLock<Option<std::ffi::OsString>> = std::sync::OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("FREE_BYTES_FOR_SYNCLINE")).as_ref()?;
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(not(debug_assertions))]
#[inline(always)]
fn stated() -> Option<u64> {
    None
}

impl Options {
    fn judge(&self, free: u64) -> Room {
        match free {
            free if free < self.full_bytes => Room::Full,
            free if free < self.low_bytes => Room::Low,
            _ => Room::Enough,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_judged_by_two_marks() {
        #[track_caller]
        fn check(low_bytes: u64, full_bytes: u64, free: u64, expected: Room) {
            assert_eq!(Options { low_bytes, full_bytes }.judge(free), expected);
        }
        check(100, 10, 100, Room::Enough);
        check(100, 10, 99, Room::Low);
        check(100, 10, 10, Room::Low);
        check(100, 10, 9, Room::Full);
        // The lower mark above the higher one: full is full.
        check(10, 100, 50, Room::Full);
        check(0, 0, 0, Room::Enough);
    }

    #[test]
    fn a_real_disk_has_a_size() {
        let dir = tempfile::tempdir().unwrap();
        let of = |low_bytes, full_bytes| Disk::of(dir.path(), Options { low_bytes, full_bytes });
        assert!(of(0, 0).free().unwrap() > 0);
        assert_eq!(of(0, 0).room(), Room::Enough);
        assert_eq!(of(u64::MAX, 0).room(), Room::Low);
        assert!(of(u64::MAX, u64::MAX).is_full());
        assert!(of(0, 0).has_recovered() && !of(u64::MAX, 0).has_recovered());
    }

    #[test]
    fn a_directory_that_is_gone_refuses_nothing() {
        let gone = Disk::of(Path::new("nowhere/at/all"), Options { low_bytes: 9, full_bytes: 9 });
        assert!(gone.free().is_err());
        assert_eq!(gone.room(), Room::Enough);
    }
}
