//! Places for connections. When all are taken, the peer that keeps the server waiting the longest loses its place: slow
//! ones, however many, keep nobody out. Must not know what is said on a connection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// All places. Cheap to clone.
#[derive(Clone)]
pub(super) struct Seats(Arc<Hall>);

struct Hall {
    free: Arc<Semaphore>,
    /// Connections whose peer is waited for, in the order in which that began.
    waiting: Mutex<BTreeMap<u64, CancellationToken>>,
    next: AtomicU64,
    /// Rung when somebody else can be asked to leave.
    bell: Notify,
}

impl Hall {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, until it is dropped.
pub(super) struct Seat {
    hall: Arc<Hall>,
    leave: CancellationToken,
    /// Its number among those whose peer is waited for.
    turn: Mutex<Option<u64>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Seats {
    pub(super) fn new(open_max: usize) -> Seats {
        let free = Arc::new(Semaphore::new(open_max.min(Semaphore::MAX_PERMITS)));
        let (waiting, next, bell) = (Mutex::default(), AtomicU64::new(1), Notify::new());
        Seats(Arc::new(Hall { free, waiting, next, bell }))
    }

    /// A place for one more, whose peer is waited for from now on.
    pub(super) async fn take(&self) -> Arc<Seat> {
        let hall = &self.0;
        let place = loop {
            let bell = hall.bell.notified();
            if let Ok(place) = Arc::clone(&hall.free).try_acquire_owned() {
                break Some(place);
            }
            if self.dismiss() {
                break Arc::clone(&hall.free).acquire_owned().await.ok();
            }
            tokio::select! {
                place = Arc::clone(&hall.free).acquire_owned() => break place.ok(),
                () = bell => {}
            }
        };
        let (leave, turn) = (CancellationToken::new(), Mutex::new(None));
        let seat = Seat { hall: Arc::clone(hall), leave, turn, _place: place };
        seat.wait();
        Arc::new(seat)
    }

    /// Asks the one to leave whose peer is waited for the longest; false where there is none.
    pub(super) fn dismiss(&self) -> bool {
        let longest = self.0.waiting().pop_first();
        longest.inspect(|(_, leave)| leave.cancel()).is_some()
    }
}

impl Seat {
    /// From now on the peer is waited for.
    pub(super) fn wait(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.is_none() {
            let number = self.hall.next.fetch_add(1, Ordering::Relaxed);
            self.hall.waiting().insert(number, self.leave.clone());
            *turn = Some(number);
            self.hall.bell.notify_one();
        }
    }

    /// From now on it is the server's turn.
    pub(super) fn serve(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = turn.take() {
            self.hall.waiting().remove(&number);
        }
    }

    /// The peer is waited for until this is dropped.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.wait();
        Waiting(self)
    }

    /// The peer is waited for when this is dropped.
    pub(super) fn served(self: &Arc<Seat>) -> Served {
        Served(Arc::clone(self))
    }

    /// Ends when the place is wanted for somebody else.
    pub(super) async fn dismissed(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.serve();
    }
}

pub(super) struct Waiting<'a>(&'a Seat);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.serve();
    }
}

pub(super) struct Served(Arc<Seat>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[tokio::test]
    async fn the_longest_waited_for_makes_room_and_who_is_served_stays() {
        let seats = Seats::new(3);
        let [served, first, second] = [seats.take().await, seats.take().await, seats.take().await];
        served.serve();
        // The first is heard of again, and so has waited for less long.
        first.serve();
        first.wait();
        let (fourth, ()) = tokio::join!(seats.take(), async {
            second.dismissed().await;
            drop(second);
        });
        assert!(!first.leave.is_cancelled() && !served.leave.is_cancelled());
        let (_fifth, ()) = tokio::join!(seats.take(), async {
            first.dismissed().await;
            drop(first);
        });
        assert!(!fourth.leave.is_cancelled() && !served.leave.is_cancelled());
    }

    #[tokio::test]
    async fn where_all_are_served_the_next_one_waits_for_the_first_that_is_not() {
        let seats = Seats::new(2);
        let [one, other] = [seats.take().await, seats.take().await];
        one.serve();
        other.serve();
        let mut next = pin!(seats.take());
        let mut context = Context::from_waker(Waker::noop());
        assert!(next.as_mut().poll(&mut context).is_pending());
        {
            let _waiting = one.waiting();
            assert!(next.as_mut().poll(&mut context).is_pending());
            assert!(one.leave.is_cancelled());
        }
        drop(one);
        let next = next.await;
        next.serve();
        assert!(!seats.dismiss());
        drop(other.served());
        assert!(seats.dismiss() && other.leave.is_cancelled());
    }
}
