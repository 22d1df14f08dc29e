//! Reads the plan on threads of their own: pages are decoded, and new records made into rows, while the transaction takes
//! the pages before.
//!
//! The threads take turns, page by page. What must go by the order of the pages, the numbers of new records, is handed
//! from turn to turn; the rest of a page is made beside that of its neighbor.

use super::create::{Created, Maker};
use super::{EntityPlan, Error, Plan};
use crate::model::new_rows::NewRow;
use crate::model::plan::{PlanFailure, PlanPage, PlanRow};
use crate::store::identity::Entries;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// One page of the plan, ready for the transaction.
pub(super) struct Page<'a> {
    pub(super) entity: &'a EntityPlan,
    pub(super) number: u32,
    pub(super) failures: Vec<PlanFailure>,
    pub(super) passed: Vec<String>,
    /// All that is no new record.
    pub(super) rows: Vec<PlanRow>,
    pub(super) created: Created,
}

/// How many threads take turns: making rows of a page takes longer than inserting them.
const TURNS: usize = 2;
/// How many pages of each thread may wait for the transaction: with fewer, whoever has to wait for a processor stops all.
const PAGES_MAX: usize = 4;

/// The pages of the plan in their order, as they become ready.
pub(super) struct Pages<'scope, 'a> {
    threads: Vec<ScopedJoinHandle<'scope, Result<Ended, Error>>>,
    /// By turn.
    ready: Vec<Receiver<Page<'a>>>,
    taken: usize,
    first: u64,
}

/// What a thread has left when it has read its pages: entries of the index in order, and the number behind its last new
/// record's.
type Ended = (Entries, u64);

/// What is left when all pages were taken.
pub(super) struct Rest {
    pub(super) identity: Vec<Entries>,
    /// The number behind the last new record's.
    pub(super) next: u64,
}

impl<'scope, 'a: 'scope> Pages<'scope, 'a> {
    /// Begins to read. `first` is the number of the first new record, `positions` the feed's numbers of each entity's
    /// fields.
    pub(super) fn begin(
        scope: &'scope Scope<'scope, '_>,
        plan: &'a Plan,
        positions: &'scope [Vec<u16>],
        first: u64,
    ) -> Pages<'scope, 'a> {
        let pages = plan.entities.iter().map(|entity| entity.pages.len()).sum::<usize>();
        let turns = pages.clamp(1, TURNS);
        let (mut givers, takers): (Vec<Sender<u64>>, Vec<Receiver<u64>>) =
            (0..turns).map(|_| channel()).unzip();
        if let Some(giver) = givers.first() {
            let _ = giver.send(first);
        }
        givers.rotate_left(1);
        let (mut threads, mut ready) = (Vec::new(), Vec::new());
        for (turn, (take, give)) in takers.into_iter().zip(givers).enumerate() {
            let (to, from) = sync_channel(PAGES_MAX);
            let reader = Reader { plan, positions, turn, turns, take, give, to };
            threads.push(scope.spawn(move || reader.read()));
            ready.push(from);
        }
        Pages { threads, ready, taken: 0, first }
    }

    /// What is left. A plan that could not be read to its end is an error only here.
    pub(super) fn end(self) -> Result<Rest, Error> {
        let Pages { threads, ready, first, .. } = self;
        // A thread that waits for room for its page ends.
        drop(ready);
        // All of them are waited for, whatever the first one says.
        let ended: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
        // A plan without a page takes no number.
        let mut rest = Rest { identity: Vec::new(), next: first };
        for thread in ended {
            let (identity, next) = thread.unwrap_or(Err(Error::Panicked))?;
            rest.identity.push(identity);
            rest.next = rest.next.max(next);
        }
        Ok(rest)
    }
}

impl<'a> Iterator for Pages<'_, 'a> {
    type Item = Page<'a>;

    fn next(&mut self) -> Option<Page<'a>> {
        let ready = self.ready.get(self.taken % self.ready.len())?;
        self.taken += 1;
        ready.recv().ok()
    }
}

/// One of the threads.
struct Reader<'scope, 'a> {
    plan: &'a Plan,
    positions: &'scope [Vec<u16>],
    turn: usize,
    turns: usize,
    /// The number of the next new record, from the turn before and to the turn behind.
    take: Receiver<u64>,
    give: Sender<u64>,
    to: SyncSender<Page<'a>>,
}

impl<'a> Reader<'_, 'a> {
    fn read(self) -> Result<Ended, Error> {
        let plan: &'a Plan = self.plan;
        let (mut identity, mut next) = (Entries::default(), 0);
        let mut turns = (0..self.turns).cycle();
        for (entity, positions) in plan.entities.iter().zip(self.positions) {
            let mut maker = Maker::new(plan, entity, positions)?;
            for number in entity.pages.clone() {
                if turns.next() != Some(self.turn) {
                    continue;
                }
                let page = plan.read_page(number)?;
                // Another thread failed, and says why.
                let Ok(first) = self.take.recv() else { return Ok((identity, next)) };
                let new = if plan.run.dry_run { 0 } else { page.created.len() as u64 };
                next = first + new;
                let _ = self.give.send(next);
                let page = ready(&mut maker, entity, number, page, first, &mut identity)?;
                if self.to.send(page).is_err() {
                    return Ok((identity, next));
                }
            }
        }
        identity.sort();
        Ok((identity, next))
    }
}

/// Makes the rows of one page, whose first new record gets the number `first`.
fn ready<'a>(
    maker: &mut Maker<'_>,
    entity: &'a EntityPlan,
    number: u32,
    page: PlanPage,
    first: u64,
    identity: &mut Entries,
) -> Result<Page<'a>, Error> {
    let bad = |error| Error::bad_plan(number, &error);
    let new: Vec<NewRow<'_>> = page.created.iter().collect::<Result<_, _>>().map_err(bad)?;
    let mut created = maker.page(new, first, identity)?;
    if identity.is_full() {
        identity.sort();
        created.identity = std::mem::take(identity);
    }
    let PlanPage { failures, passed, rows, .. } = page;
    Ok(Page { entity, number, failures, passed, rows, created })
}
