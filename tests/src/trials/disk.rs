//! A disk that fails, or loses power, at a chosen operation, and what it then still holds.
//!
//! It keeps the files of one process in memory: what was written, and what a sync has made durable.
//! Writes, changes of a file's length and syncs are counted over all files together. Trouble begins
//! at one of them; what is left is written back as ordinary files by [`Disk::leave`].

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redb::StorageBackend;
use syncline::store::{OnFatal, OpenFile};

use crate::dice::Dice;

/// What a drive writes as a whole or not at all.
const SECTOR: usize = 512;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Trouble {
    /// The operation fails, perhaps half done. What comes after it would work.
    Once,
    /// It and all that come after it fail.
    Always,
    /// The power goes: what was not synced is lost, in part or as a whole.
    PowerCut,
}

impl Trouble {
    pub const ALL: [Trouble; 3] = [Trouble::Once, Trouble::Always, Trouble::PowerCut];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Write,
    Length,
    Sync,
}

/// The operation at which the trouble began.
#[derive(Debug, Clone)]
pub struct Struck {
    pub file: String,
    pub operation: Operation,
    /// While the process was stopping in order.
    pub stopping: bool,
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.stopping { ", while it stopped" } else { "" };
        write!(f, "{:?} of {}{when}", self.operation, self.file)
    }
}

/// A handle; clones are the same disk.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

struct State {
    files: BTreeMap<PathBuf, Blocks>,
    trouble: Option<(Trouble, u64)>,
    /// Only operations of the file with this name count.
    only: Option<String>,
    operations: u64,
    /// Nothing goes in or out any more.
    dead: bool,
    stopping: bool,
    struck: Option<Struck>,
    struck_at: Option<Instant>,
    fatal: Option<String>,
    dice: Dice,
}

/// One file.
#[derive(Default)]
struct Blocks {
    /// As the process sees it.
    now: Vec<u8>,
    /// As it was at the last sync.
    durable: Vec<u8>,
    /// What happened since, in order.
    since: Vec<Change>,
    /// A sync of it failed: nobody knows which of those the drive has.
    doubtful: bool,
}

enum Change {
    Write { at: usize, data: Vec<u8> },
    Length(usize),
}

impl Disk {
    /// A disk with this trouble at that operation, counted from 1; none: a good disk that counts.
    pub fn new(trouble: Option<(Trouble, u64)>, seed: u64) -> Disk {
        let at = trouble.map_or(0, |(_, at)| at);
        Disk(Arc::new(Mutex::new(State {
            files: BTreeMap::new(),
            trouble,
            only: None,
            operations: 0,
            dead: false,
            stopping: false,
            struck: None,
            struck_at: None,
            fatal: None,
            dice: Dice::new(seed, at),
        })))
    }

    /// Counts, and troubles, the file with this name alone.
    pub fn only(self, file: Option<&str>) -> Disk {
        self.lock().only = file.map(str::to_owned);
        self
    }

    /// For `StartOptions::open_file`: reads the file that is there, and from then on keeps it here. The making of a file is
    /// not under trial: the store gives one its name when it is whole.
    pub fn open_file(&self) -> OpenFile {
        let disk = self.clone();
        Arc::new(move |builder, path| {
            disk.load(path).map_err(redb::StorageError::Io)?;
            builder.create_with_backend(Handle { disk: disk.clone(), path: path.to_owned() })
        })
    }

    /// For `StartOptions::on_fatal`: the process would end here, and does nothing more to its files.
    pub fn on_fatal(&self) -> OnFatal {
        let disk = self.clone();
        Arc::new(move |reason| {
            let mut state = disk.lock();
            state.dead = true;
            state.fatal.get_or_insert_with(|| reason.to_owned());
        })
    }

    /// The process is about to stop in order.
    pub fn stopping(&self) {
        self.lock().stopping = true;
    }

    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    pub fn struck(&self) -> Option<Struck> {
        self.lock().struck.clone()
    }

    /// How long ago that was.
    pub fn struck_since(&self) -> Option<Duration> {
        self.lock().struck_at.map(|at| at.elapsed())
    }

    /// Why the process would have ended.
    pub fn fatal(&self) -> Option<String> {
        self.lock().fatal.clone()
    }

    /// Writes the files as the next process finds them.
    pub fn leave(&self) -> io::Result<()> {
        let mut state = self.lock();
        let State { files, trouble, struck, dice, .. } = &mut *state;
        let power_is_gone = matches!(trouble, Some((Trouble::PowerCut, _))) && struck.is_some();
        for (path, blocks) in files {
            let left = if power_is_gone || blocks.doubtful && dice.percent(50) {
                blocks.after_power_cut(dice)
            } else {
                blocks.now.clone()
            };
            std::fs::write(path, left)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, path: &Path) -> io::Result<()> {
        let now = std::fs::read(path)?;
        let blocks = Blocks { durable: now.clone(), now, ..Blocks::default() };
        self.lock().files.insert(path.to_owned(), blocks);
        Ok(())
    }

    fn change(&self, path: &Path, change: Change) -> io::Result<()> {
        let mut state = self.lock();
        let operation = match change {
            Change::Write { .. } => Operation::Write,
            Change::Length(_) => Operation::Length,
        };
        let struck = state.count(path, operation)?;
        let State { files, dead, dice, .. } = &mut *state;
        let blocks = files.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
        let change = match (struck, change) {
            (None, change) => change,
            // The drive may have begun.
            (Some(Trouble::PowerCut), change) => {
                *dead = true;
                blocks.since.push(change);
                return Err(broken());
            }
            (Some(_), Change::Write { at, mut data }) => {
                let sectors = data.len() / SECTOR + 1;
                data.truncate(dice.below(sectors as u64) as usize * SECTOR);
                blocks.apply(Change::Write { at, data });
                return Err(broken());
            }
            (Some(_), Change::Length(_)) => return Err(broken()),
        };
        blocks.apply(change);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let struck = state.count(path, Operation::Sync)?;
        let State { files, dead, .. } = &mut *state;
        let blocks = files.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
        match struck {
            None => {
                for change in blocks.since.drain(..) {
                    change.apply(&mut blocks.durable);
                }
                Ok(())
            }
            Some(trouble) => {
                *dead |= trouble == Trouble::PowerCut;
                blocks.doubtful = true;
                Err(broken())
            }
        }
    }
}

impl State {
    /// Counts an operation; answers the trouble that it meets.
    fn count(&mut self, path: &Path, operation: Operation) -> io::Result<Option<Trouble>> {
        if self.dead {
            return Err(broken());
        }
        let file = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let is_other = self.only.as_ref().is_some_and(|only| *only != *file);
        let goes_on = matches!(self.trouble, Some((Trouble::Always, at)) if self.operations >= at);
        if is_other && !goes_on {
            return Ok(None);
        }
        self.operations += 1;
        let met = self.trouble.filter(|(trouble, at)| match trouble {
            Trouble::Always => self.operations >= *at,
            Trouble::Once | Trouble::PowerCut => self.operations == *at,
        });
        if met.is_some() && self.struck.is_none() {
            let file = file.into_owned();
            self.struck = Some(Struck { file, operation, stopping: self.stopping });
            self.struck_at = Some(Instant::now());
        }
        Ok(met.map(|(trouble, _)| trouble))
    }
}

impl Blocks {
    fn apply(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.since.push(change);
    }

    /// What was synced, and of the rest what chance leaves: nothing, everything, whole writes, or sectors of them.
    fn after_power_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut left = self.durable.clone();
        let way = dice.below(4);
        for change in &self.since {
            match change {
                _ if way == 0 => {}
                Change::Write { at, data } if way == 3 => {
                    for (number, sector) in data.chunks(SECTOR).enumerate() {
                        if dice.percent(50) {
                            put(&mut left, at + number * SECTOR, sector);
                        }
                    }
                }
                change => {
                    if way == 1 || dice.percent(50) {
                        change.apply(&mut left);
                    }
                }
            }
        }
        left
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { at, data } => put(to, *at, data),
            Change::Length(length) => to.resize(*length, 0),
        }
    }
}

fn put(to: &mut Vec<u8>, at: usize, data: &[u8]) {
    let end = at + data.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[at..end].copy_from_slice(data);
}

fn broken() -> io::Error {
    io::Error::other("the disk of this trial is broken")
}

fn offset(at: u64) -> io::Result<usize> {
    usize::try_from(at).map_err(io::Error::other)
}

/// One open file.
struct Handle {
    disk: Disk,
    path: PathBuf,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        let blocks = state.files.get(&self.path).ok_or(io::ErrorKind::NotFound)?;
        Ok(blocks.now.len() as u64)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let (state, at) = (self.disk.lock(), offset(at)?);
        if state.dead {
            return Err(broken());
        }
        let blocks = state.files.get(&self.path).ok_or(io::ErrorKind::NotFound)?;
        let found = blocks.now.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.change(&self.path, Change::Length(offset(length)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync(&self.path)
    }

    fn write(&self, at: u64, data: &[u8]) -> io::Result<()> {
        self.disk.change(&self.path, Change::Write { at: offset(at)?, data: data.to_vec() })
    }
}

#[cfg(test)]
mod tests;
