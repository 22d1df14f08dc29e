//! The writer thread of one file: the writes that wait become one commit, one fsync for many callers.
//!
//! Short writes go together, a bulk write runs alone; where both wait they take turns, so that neither keeps the other
//! out. An answer is sent only after the commit is durable.

use super::Error;
use super::file::{OnFatal, Txn, fatal};
use crate::crash_point::{Bug, planted};
use redb::{Database, Durability};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};

/// How many short writes may share one commit.
const GROUP_MAX: usize = 512;

/// One write that waits: what it does, its result and whom to tell.
pub(super) trait Job: Send {
    /// Writes; false if it failed. It may be called again, in another transaction.
    fn run(&mut self, txn: &Txn) -> bool;
    /// Sends the result of the last run.
    fn answer(self: Box<Self>);
}

struct Call<F, T, E> {
    write: F,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Call<F, T, E>
where
    F: FnMut(&Txn) -> Result<T, E> + Send,
    T: Send,
    E: Send,
{
    fn run(&mut self, txn: &Txn) -> bool {
        let result = (self.write)(txn);
        let ok = result.is_ok();
        self.result = Some(result);
        ok
    }

    fn answer(self: Box<Self>) {
        let Call { write, result, reply } = *self;
        // What it holds goes while its caller still holds the store: the last to let go of a store waits for this thread.
        drop(write);
        if let Some(result) = result {
            // A caller that went away needs no answer.
            let _ = reply.send(result);
        }
    }
}

#[derive(Default)]
struct Waiting {
    short: VecDeque<Box<dyn Job>>,
    bulk: VecDeque<Box<dyn Job>>,
    /// Whether the last group was one of short writes.
    bulk_is_next: bool,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// What others hear of commits.
#[derive(Default)]
struct Told {
    /// How many there were; whoever follows what is committed waits for the next one.
    commits: watch::Sender<u64>,
    /// How many of them changed the directory.
    directory: AtomicU64,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    told: Arc<Told>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(database: Arc<Database>, on_fatal: OnFatal) -> Writer {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let told = Arc::new(Told::default());
        let tell = Arc::clone(&told);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                while let Some(group) = next_group(&seen) {
                    if group.open {
                        // Who is about to hand in a write has a turn first: it will be part of this commit.
                        std::thread::yield_now();
                    }
                    commit_group(&database, &on_fatal, &tell, &seen, group);
                }
            })
            .map_err(|error| tracing::error!(%error, "cannot start the writer thread"))
            .ok();
        Writer { shared, told, thread }
    }

    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.told.commits.subscribe()
    }

    /// How many commits there were.
    pub(super) fn commit_count(&self) -> u64 {
        *self.told.commits.borrow()
    }

    /// How many commits changed the directory.
    pub(crate) fn directory_generation(&self) -> u64 {
        self.told.directory.load(Ordering::Acquire)
    }

    /// Queues a write; the receiver errs if the writer has stopped.
    pub(crate) fn submit<F, T, E>(&self, write: F, bulk: bool) -> oneshot::Receiver<Result<T, E>>
    where
        F: FnMut(&Txn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.push(Box::new(Call { write, result: None, reply }), bulk);
        answer
    }

    /// Queues a write that tells its callers itself. It is dropped if the writer has stopped.
    pub(super) fn push(&self, job: Box<dyn Job>, bulk: bool) {
        let mut waiting = lock(&self.shared);
        if !waiting.closed {
            let queue = if bulk { &mut waiting.bulk } else { &mut waiting.short };
            queue.push_back(job);
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Writer {
    /// Finishes what waits, then ends the thread.
    fn drop(&mut self) {
        lock(&self.shared).closed = true;
        self.shared.wake.notify_one();
        // The caller of the last write may be gone, so that the write itself held the store, and this is its thread.
        let other = |thread: &std::thread::JoinHandle<()>| {
            thread.thread().id() != std::thread::current().id()
        };
        if let Some(thread) = self.thread.take().filter(other) {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Waiting> {
    shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What goes into one commit.
struct Group {
    jobs: Vec<Box<dyn Job>>,
    /// Whether short writes may still join: a bulk write runs alone.
    open: bool,
}

/// Blocks until there is something to write; none when the writer is closed and all is written.
fn next_group(shared: &Shared) -> Option<Group> {
    let mut waiting = lock(shared);
    loop {
        let is_bulks_turn = waiting.bulk_is_next && !waiting.bulk.is_empty();
        if !waiting.short.is_empty() && !is_bulks_turn {
            waiting.bulk_is_next = true;
            let count = waiting.short.len().min(GROUP_MAX);
            return Some(Group { jobs: waiting.short.drain(..count).collect(), open: true });
        }
        if let Some(job) = waiting.bulk.pop_front() {
            waiting.bulk_is_next = false;
            return Some(Group { jobs: vec![job], open: false });
        }
        if waiting.closed {
            return None;
        }
        waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Short writes that came in since, as far as the group has room for them.
fn join(shared: &Shared, group: &mut Group) {
    if group.open {
        let short = &mut lock(shared).short;
        let count = short.len().min(GROUP_MAX.saturating_sub(group.jobs.len()));
        group.jobs.extend(short.drain(..count));
    }
}

/// Runs the group in one transaction. A write that fails after it changed something spoils the transaction: it leaves
/// the group with its error, and the others run again in a fresh one.
fn commit_group(
    database: &Database,
    on_fatal: &OnFatal,
    told: &Told,
    shared: &Shared,
    mut group: Group,
) {
    while !group.jobs.is_empty() {
        let mut inner = match database.begin_write() {
            Ok(inner) => inner,
            Err(error) => {
                // Dropping the group tells its callers that the store is closed.
                let _: Error = fatal(on_fatal, &error);
                return;
            }
        };
        if planted(Bug::SkipFsync) {
            let _ = inner.set_durability(Durability::None);
        }
        let (spoiled, changes_directory) = {
            let txn = Txn::new(&inner, Arc::clone(on_fatal));
            (run_group(&txn, shared, &mut group), txn.changes_directory())
        };
        let Some(spoiled) = spoiled else {
            if planted(Bug::AckBeforeCommit) {
                group.jobs.drain(..).for_each(Job::answer);
            }
            match inner.commit() {
                Ok(()) => {
                    // Before the answers: who hears of a change finds it in force.
                    told.directory.fetch_add(u64::from(changes_directory), Ordering::AcqRel);
                    // Likewise: who follows commits is awake before who made this one goes on, and perhaps rests.
                    told.commits.send_modify(|count| *count += 1);
                    group.jobs.into_iter().for_each(Job::answer);
                }
                Err(error) => drop(fatal(on_fatal, &error)),
            }
            return;
        };
        if let Err(error) = inner.abort() {
            let _: Error = fatal(on_fatal, &error);
            return;
        }
        group.jobs.remove(spoiled).answer();
    }
}

/// Runs a group, and who comes while it runs: a commit takes as long for many as for few, and who was answered by the
/// last one is on the way with the next step. The index of the first write that failed after it had changed something.
fn run_group(txn: &Txn, shared: &Shared, group: &mut Group) -> Option<usize> {
    let mut index = 0;
    loop {
        if index == group.jobs.len() {
            join(shared, group);
        }
        let job = group.jobs.get_mut(index)?;
        txn.mark_clean();
        if !job.run(txn) && txn.is_dirty() {
            return Some(index);
        }
        index += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::Error;

    #[test]
    fn who_comes_while_a_group_runs_is_part_of_its_commit() {
        let dir = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::create(dir.path().join("a.redb")).unwrap());
        let writer = Writer::start(database, Arc::new(|_| ()));
        let (tell, running) = std::sync::mpsc::channel::<()>();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let wait = move |_: &Txn| {
            let told = tell.send(()).is_ok() && gate.recv().is_ok();
            told.then_some(()).ok_or(Error::Closed)
        };
        let first = writer.submit(wait, false);
        running.recv().unwrap();
        let bulk = writer.submit(|_: &Txn| Ok::<u8, Error>(8), true);
        let second = writer.submit(|_: &Txn| Ok::<u8, Error>(7), false);
        open.send(()).unwrap();
        first.blocking_recv().unwrap().unwrap();
        assert_eq!(second.blocking_recv().unwrap().unwrap(), 7);
        assert_eq!(bulk.blocking_recv().unwrap().unwrap(), 8);
        assert_eq!(*writer.commits().borrow(), 2, "one for both, and one for the long write");
    }

    /// Asks for itself again each time it runs: there is always one that waits.
    fn again(writer: &Arc<Writer>, runs: &Arc<AtomicU64>) {
        let (next, counted) = (Arc::clone(writer), Arc::clone(runs));
        let write = move |_: &Txn| {
            if counted.fetch_add(1, Ordering::Relaxed) < 10 * GROUP_MAX as u64 {
                again(&next, &counted);
            }
            Ok::<(), Error>(())
        };
        drop(writer.submit(write, false));
    }

    #[test]
    fn short_writes_without_end_do_not_keep_a_bulk_write_out() {
        let dir = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::create(dir.path().join("a.redb")).unwrap());
        let writer = Arc::new(Writer::start(database, Arc::new(|_| ())));
        let runs = Arc::new(AtomicU64::new(0));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let wait = move |_: &Txn| gate.recv().map_err(|_| Error::Closed);
        let first = writer.submit(wait, false);
        let counted = Arc::clone(&runs);
        let bulk = move |_: &Txn| Ok::<u64, Error>(counted.load(Ordering::Relaxed));
        let bulk = writer.submit(bulk, true);
        again(&writer, &runs);
        open.send(()).unwrap();
        first.blocking_recv().unwrap().unwrap();
        let before = bulk.blocking_recv().unwrap().unwrap();
        assert!(before <= GROUP_MAX as u64, "{before} short writes went before it");
    }

    /// A caller that went away leaves its write behind, and with it what the write holds: perhaps the store itself.
    #[test]
    fn a_write_may_be_the_last_to_hold_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::create(dir.path().join("a.redb")).unwrap());
        let writer = Arc::new(Writer::start(database, Arc::new(|_| ())));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let wait = move |_: &Txn| gate.recv().map_err(|_| Error::Closed);
        let first = writer.submit(wait, false);
        let held = Arc::clone(&writer);
        let left = writer.submit(
            move |_: &Txn| {
                let _held = &held;
                Ok::<(), Error>(())
            },
            false,
        );
        let behind = writer.submit(|_: &Txn| Ok::<u8, Error>(7), false);
        drop(left);
        drop(writer);
        open.send(()).unwrap();
        first.blocking_recv().unwrap().unwrap();
        assert_eq!(behind.blocking_recv().unwrap().unwrap(), 7);
    }
}
