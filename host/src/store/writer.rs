//! The writer thread of one file: the writes that wait become one commit, one fsync for many callers.
//!
//! Short writes go first and together; a bulk write runs alone. An answer is sent only after the commit is durable.

use super::Error;
use super::file::{OnFatal, Txn, fatal};
use redb::Database;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::oneshot;

/// How many short writes may share one commit.
const GROUP_MAX: usize = 512;

/// One write that waits: the closure, its result and whom to tell.
trait Job: Send {
    /// Runs the closure; false if it returned an error.
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
        if let Some(result) = self.result {
            // A caller that went away needs no answer.
            let _ = self.reply.send(result);
        }
    }
}

#[derive(Default)]
struct Waiting {
    short: VecDeque<Box<dyn Job>>,
    bulk: VecDeque<Box<dyn Job>>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(database: Arc<Database>, on_fatal: OnFatal) -> Writer {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                while let Some(group) = next_group(&seen) {
                    commit_group(&database, &on_fatal, group);
                }
            })
            .map_err(|error| tracing::error!(%error, "cannot start the writer thread"))
            .ok();
        Writer { shared, thread }
    }

    /// Queues a write; the receiver errs if the writer has stopped.
    pub(crate) fn submit<F, T, E>(&self, write: F, bulk: bool) -> oneshot::Receiver<Result<T, E>>
    where
        F: FnMut(&Txn) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Call { write, result: None, reply });
        let mut waiting = lock(&self.shared);
        if !waiting.closed {
            let queue = if bulk { &mut waiting.bulk } else { &mut waiting.short };
            queue.push_back(job);
            self.shared.wake.notify_one();
        }
        answer
    }
}

impl Drop for Writer {
    /// Finishes what waits, then ends the thread.
    fn drop(&mut self) {
        lock(&self.shared).closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Waiting> {
    shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocks until there is something to write; none when the writer is closed and all is written.
fn next_group(shared: &Shared) -> Option<Vec<Box<dyn Job>>> {
    let mut waiting = lock(shared);
    loop {
        if !waiting.short.is_empty() {
            let count = waiting.short.len().min(GROUP_MAX);
            return Some(waiting.short.drain(..count).collect());
        }
        if let Some(job) = waiting.bulk.pop_front() {
            return Some(vec![job]);
        }
        if waiting.closed {
            return None;
        }
        waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Runs the group in one transaction. A write that fails after it changed something spoils the transaction: it leaves
/// the group with its error, and the others run again in a fresh one.
fn commit_group(database: &Database, on_fatal: &OnFatal, mut group: Vec<Box<dyn Job>>) {
    while !group.is_empty() {
        let txn = match database.begin_write() {
            Ok(txn) => Txn::new(txn, Arc::clone(on_fatal)),
            Err(error) => {
                // Dropping the group tells its callers that the store is closed.
                let _: Error = fatal(on_fatal, &error);
                return;
            }
        };
        let Some(spoiled) = run_group(&txn, &mut group) else {
            match txn.inner.commit() {
                Ok(()) => group.into_iter().for_each(Job::answer),
                Err(error) => drop(fatal(on_fatal, &error)),
            }
            return;
        };
        if let Err(error) = txn.inner.abort() {
            let _: Error = fatal(on_fatal, &error);
            return;
        }
        group.remove(spoiled).answer();
    }
}

/// The index of the first write that failed after it had changed something.
fn run_group(txn: &Txn, group: &mut [Box<dyn Job>]) -> Option<usize> {
    for (index, job) in group.iter_mut().enumerate() {
        txn.mark_clean();
        if !job.run(txn) && txn.is_dirty() {
            return Some(index);
        }
    }
    None
}
