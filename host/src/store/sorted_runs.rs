//! Keys that are too many to be sorted in memory: sorted runs of them in a nameless file, merged when they are read.
//!
//! The file is scratch of one transaction: it goes with its handle, also where the process is killed.

use super::Error;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// How many keys of a run are read at once.
const BLOCK_KEYS: usize = 2_048;

pub(super) struct SortedRuns<const N: usize> {
    file: File,
    /// How many keys each run has.
    lengths: Vec<usize>,
}

impl<const N: usize> SortedRuns<N> {
    pub(super) fn create(directory: &Path) -> Result<SortedRuns<N>, Error> {
        let file = tempfile::tempfile_in(directory).map_err(|error| storage(&error))?;
        Ok(SortedRuns { file, lengths: Vec::new() })
    }

    /// Adds a run: keys in order.
    pub(super) fn push(&mut self, keys: &[[u8; N]]) -> Result<(), Error> {
        self.file.write_all(keys.as_flattened()).map_err(|error| storage(&error))?;
        self.lengths.push(keys.len());
        Ok(())
    }

    /// All keys in order, until one cannot be read.
    pub(super) fn merge(&self) -> Result<Merge<'_, N>, Error> {
        let mut merge = Merge { file: &self.file, runs: Vec::new(), heads: BinaryHeap::new() };
        let mut first = 0;
        for (at, length) in self.lengths.iter().enumerate() {
            merge.runs.push(Run { next: first, left: *length, block: Vec::new().into_iter() });
            merge.advance(at)?;
            first += length;
        }
        Ok(merge)
    }
}

pub(super) struct Merge<'a, const N: usize> {
    file: &'a File,
    runs: Vec<Run<N>>,
    /// The next key of each run that has one, with the run's number.
    heads: BinaryHeap<Reverse<([u8; N], usize)>>,
}

/// What is left of one run.
struct Run<const N: usize> {
    /// The first key that is not read yet, counted over the whole file, and how many there are.
    next: usize,
    left: usize,
    block: std::vec::IntoIter<[u8; N]>,
}

impl<const N: usize> Merge<'_, N> {
    /// Puts the next key of a run among the heads.
    fn advance(&mut self, at: usize) -> Result<(), Error> {
        let Some(run) = self.runs.get_mut(at) else { return Ok(()) };
        if run.block.len() == 0 && run.left > 0 {
            let mut block = vec![[0; N]; run.left.min(BLOCK_KEYS)];
            let offset = run.next as u64 * N as u64;
            let read = self.file.read_exact_at(block.as_flattened_mut(), offset);
            read.map_err(|error| storage(&error))?;
            run.next += block.len();
            run.left -= block.len();
            run.block = block.into_iter();
        }
        self.heads.extend(run.block.next().map(|key| Reverse((key, at))));
        Ok(())
    }
}

impl<const N: usize> Iterator for Merge<'_, N> {
    type Item = Result<[u8; N], Error>;

    fn next(&mut self) -> Option<Result<[u8; N], Error>> {
        let Reverse((key, at)) = self.heads.pop()?;
        Some(self.advance(at).map(|()| key))
    }
}

fn storage(error: &std::io::Error) -> Error {
    Error::Storage(format!("scratch of a commit: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Runs of all lengths around a block, with keys that several of them have.
    #[test]
    fn runs_come_back_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut runs = SortedRuns::<4>::create(directory.path()).unwrap();
        let mut all = Vec::new();
        for (run, length) in (1_u32..).zip([0, 1, BLOCK_KEYS - 1, BLOCK_KEYS, 3 * BLOCK_KEYS + 1]) {
            let keys: Vec<[u8; 4]> =
                (0..).take(length).map(|at: u32| (at * run).to_be_bytes()).collect();
            runs.push(&keys).unwrap();
            all.extend(keys);
        }
        all.sort_unstable();
        let merged: Vec<[u8; 4]> = runs.merge().unwrap().map(Result::unwrap).collect();
        assert!(merged == all);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it has no name");
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut runs = SortedRuns::<4>::create(directory.path()).unwrap();
        runs.push(&vec![[7; 4]; 2 * BLOCK_KEYS]).unwrap();
        runs.file.set_len(4 * BLOCK_KEYS as u64 + 2).unwrap();
        let merged: Vec<_> = runs.merge().unwrap().collect();
        assert_eq!(merged.len(), BLOCK_KEYS);
        assert!(matches!(merged.last(), Some(Err(Error::Storage(_)))));
    }
}
