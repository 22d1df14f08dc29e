//! Deliveries on their way into the file. Those that wait for the same commit are one write, which asks for the last
//! number once and puts their rows one behind the other.

use super::seen::{self, Remembered};
use super::{Appended, NewHook, end, index};
use crate::crash_point::{Bug, planted};
use crate::model::ConnectorId;
use crate::model::ids::HookId;
use crate::store::file::Txn;
use crate::store::tables::HOOKS;
use crate::store::writer::Job;
use crate::store::{Error, Store};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What waits for the next commit.
#[derive(Default)]
pub struct Arrivals(Mutex<Vec<Arrived>>);

struct Arrived {
    floor: HookId,
    new: NewHook,
    reply: oneshot::Sender<Result<Appended, Error>>,
}

/// The write of one commit: takes whatever has arrived when its turn comes.
struct Round {
    arrivals: Arc<Arrivals>,
    taken: Option<Vec<Arrived>>,
    outcome: Result<Vec<Appended>, Error>,
}

/// Stores a delivery together with what it is known by, from now on, and answers when both are durable. `floor`: a number
/// that no delivery may have any more.
pub fn append(
    store: &Store,
    floor: HookId,
    new: NewHook,
) -> impl Future<Output = Result<Appended, Error>> + use<> {
    let (reply, answer) = oneshot::channel();
    if planted(Bug::DedupApart) {
        let store = store.clone();
        tokio::spawn(async move { reply.send(append_in_two_parts(&store, floor, new).await) });
    } else {
        let arrivals = store.arrivals();
        let is_first = arrivals.push(Arrived { floor, new, reply });
        if is_first {
            let (arrivals, outcome) = (Arc::clone(arrivals), Ok(Vec::new()));
            store.inbox_file().push(Box::new(Round { arrivals, taken: None, outcome }));
        }
    }
    async { answer.await.unwrap_or(Err(Error::Closed)) }
}

/// The planted bug: what a delivery is known by comes in a transaction of its own.
async fn append_in_two_parts(
    store: &Store,
    floor: HookId,
    mut new: NewHook,
) -> Result<Appended, Error> {
    let (connector, now) = (new.hook.connector, new.hook.received_at);
    let seen = new.seen.take();
    let known_by = seen.clone();
    let first = move |txn: &Txn| {
        if let Some(known_by) = &known_by
            && let Some(known) = seen::find(txn, connector, known_by, now)?
        {
            return Ok((Appended::Duplicate { id: known.id, of: known.id }, None));
        }
        let mut rows = Rows::begin(txn)?;
        let id = rows.next(floor);
        rows.add(id, &mut new);
        rows.put(txn)?;
        Ok((Appended::New(id), Some(id)))
    };
    let (appended, id) = store.inbox_file().write::<_, Error, _>(first).await?;
    let second = move |txn: &Txn| {
        let mut remembered = Remembered::default();
        if let (Some(seen), Some(id)) = (&seen, id) {
            remembered.add(txn, connector, seen, (id, now))?;
        }
        remembered.put(txn)
    };
    store.inbox_file().write::<_, Error, _>(second).await?;
    Ok(appended)
}

impl Arrivals {
    fn waiting(&self) -> MutexGuard<'_, Vec<Arrived>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers whether it is the first since the last commit, and has to ask for the next one.
    fn push(&self, arrived: Arrived) -> bool {
        let mut waiting = self.waiting();
        waiting.push(arrived);
        waiting.len() == 1
    }

    /// Everything that has arrived, for one commit.
    fn take(&self) -> Vec<Arrived> {
        let mut waiting = self.waiting();
        let room = Vec::with_capacity(waiting.len());
        std::mem::replace(&mut *waiting, room)
    }
}

impl Round {
    fn tell(&mut self) {
        let taken = self.taken.replace(Vec::new()).unwrap_or_default();
        match std::mem::replace(&mut self.outcome, Ok(Vec::new())) {
            Ok(appended) => {
                for (one, appended) in taken.into_iter().zip(appended) {
                    // A sender that went away needs no answer.
                    let _ = one.reply.send(Ok(appended));
                }
            }
            Err(error) => {
                for one in taken {
                    let _ = one.reply.send(Err(Error::Storage(error.to_string())));
                }
            }
        }
    }
}

impl Job for Round {
    fn run(&mut self, txn: &Txn) -> bool {
        let arrivals = &self.arrivals;
        let taken = self.taken.get_or_insert_with(|| arrivals.take());
        self.outcome = put(txn, taken);
        let is_put = self.outcome.is_ok();
        if planted(Bug::HookBeforeCommit) {
            self.tell();
        }
        is_put
    }

    fn answer(mut self: Box<Self>) {
        self.tell();
    }
}

impl Drop for Round {
    /// A writer that has stopped takes nothing any more: who waits hears of it.
    fn drop(&mut self) {
        if self.taken.is_none() {
            self.arrivals.waiting().clear();
        }
    }
}

fn put(txn: &Txn, arrived: &mut [Arrived]) -> Result<Vec<Appended>, Error> {
    let mut appended = Vec::with_capacity(arrived.len());
    let (mut rows, mut remembered) = (Rows::begin(txn)?, Remembered::default());
    for Arrived { floor, new, .. } in arrived {
        let (id, connector) = (rows.next(*floor), new.hook.connector);
        let known = match &new.seen {
            Some(seen) => remembered.add(txn, connector, seen, (id, new.hook.received_at))?,
            None => None,
        };
        match known {
            None => {
                rows.add(id, new);
                appended.push(Appended::New(id));
            }
            Some(known) => {
                let of = known.id;
                rows.add_owned(id, new.as_duplicate(known)?);
                appended.push(Appended::Duplicate { id, of });
            }
        }
    }
    rows.put(txn)?;
    remembered.put(txn)?;
    Ok(appended)
}

/// Rows of one commit, in the order of their numbers.
struct Rows<'a> {
    last: HookId,
    /// Bytes of all bodies up to and with the last.
    sum: u64,
    rows: Vec<(HookId, Cow<'a, [u8]>)>,
    by_connector: BTreeMap<ConnectorId, Vec<HookId>>,
}

impl<'a> Rows<'a> {
    fn begin(txn: &Txn) -> Result<Rows<'a>, Error> {
        let (last, sum) = end(txn, true)?.unwrap_or_default();
        Ok(Rows { last, sum, rows: Vec::new(), by_connector: BTreeMap::new() })
    }

    fn next(&self, floor: HookId) -> HookId {
        HookId(self.last.0.max(floor.0) + 1)
    }

    fn add(&mut self, id: HookId, new: &'a mut NewHook) {
        self.count(id, new);
        self.rows.push((id, Cow::Borrowed(&new.row)));
    }

    fn add_owned(&mut self, id: HookId, mut new: NewHook) {
        self.count(id, &mut new);
        self.rows.push((id, Cow::Owned(new.row)));
    }

    fn count(&mut self, id: HookId, new: &mut NewHook) {
        self.last = id;
        self.sum = self.sum.saturating_add(new.sealed_bytes() as u64);
        new.put_sum(self.sum);
        self.by_connector.entry(new.hook.connector).or_default().push(id);
    }

    fn put(self, txn: &Txn) -> Result<(), Error> {
        let rows = self.rows.into_iter();
        txn.put_sorted(HOOKS, rows.map(|(id, row)| (id.0.to_be_bytes(), row)))?;
        for (connector, ids) in self.by_connector {
            index::put(txn, connector, &ids)?;
        }
        Ok(())
    }
}
