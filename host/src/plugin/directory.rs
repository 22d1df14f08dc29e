//! The plugin directory: which files are there, and whether they have stopped changing.
//!
//! Must not load what it finds.

use super::load::sha256_hex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Files of `*.wasm` by path, with size and modification time.
pub(super) type Listing = BTreeMap<PathBuf, (u64, SystemTime)>;

/// One file as it was read.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) modified: SystemTime,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// None where the file is larger than any component may be, or cannot be read.
    pub(super) content: Result<Arc<[u8]>, String>,
}

/// A directory that is not there is empty. Names that begin with a dot are files being written.
pub(super) fn list(directory: &Path) -> std::io::Result<Listing> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Listing::new()),
        Err(error) => return Err(error),
    };
    let mut listing = Listing::new();
    for entry in entries {
        let path = entry?.path();
        let is_component = path.extension().is_some_and(|extension| extension == "wasm")
            && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        // A file may vanish between the two looks.
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        if is_component && metadata.is_file() {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            listing.insert(path, (metadata.len(), modified));
        }
    }
    Ok(listing)
}

/// Reads every file; what is too large is only named.
pub(super) fn read(directory: &Path, bytes_max: usize) -> std::io::Result<Vec<Found>> {
    let found = |(path, (bytes, modified)): (PathBuf, (u64, SystemTime))| {
        let fits = usize::try_from(bytes).is_ok_and(|bytes| bytes <= bytes_max);
        let content: Result<Arc<[u8]>, String> = if fits {
            std::fs::read(&path).map(Arc::from).map_err(|error| error.to_string())
        } else {
            Err(format!("the file has {bytes} bytes; a component may have at most {bytes_max}"))
        };
        let sha256 = content.as_deref().map(sha256_hex).unwrap_or_default();
        Found { path, modified, bytes, sha256, content }
    };
    Ok(list(directory)?.into_iter().map(found).collect())
}

/// Notices changes that have settled: a half-written file changes between two looks.
#[derive(Debug, Default)]
pub(super) struct Watch {
    applied: Listing,
    seen: Listing,
}

impl Watch {
    /// One look. True when the directory differs from what is loaded and was the same at the look before.
    pub(super) fn look(&mut self, now: Listing) -> bool {
        let settled = now == self.seen;
        self.seen = now;
        let changed = settled && self.seen != self.applied;
        if changed {
            self.applied = self.seen.clone();
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(size: u64) -> Listing {
        Listing::from([(PathBuf::from("a.wasm"), (size, SystemTime::UNIX_EPOCH))])
    }

    #[test]
    fn a_change_counts_once_it_has_settled() {
        let mut watch = Watch::default();
        let looks = [
            (Listing::new(), false),
            (listing(1), false),
            (listing(2), false),
            (listing(2), true),
            (listing(2), false),
            (Listing::new(), false),
            (listing(2), false),
            (listing(2), false),
        ];
        for (number, (now, changed)) in looks.into_iter().enumerate() {
            assert_eq!(watch.look(now), changed, "look {number}");
        }
    }
}
