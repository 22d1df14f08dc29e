//! The only source of time, and the only place that waits for a point of it. Everything else is handed an instant or a
//! clock.
//!
//! A clock that somebody moves also knows whether anything still happens at the time that it shows: those who are at work
//! say so ([`Clock::work`]), and those who only wait for a time or for somebody else rest ([`Clock::rest`]). Where all rest,
//! nothing will happen before the clock is moved.

mod manual;

use jiff::{SignedDuration, Timestamp};
use manual::Manual;
pub use manual::Work;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest sleep between two looks at the wall clock, which may be set while something waits.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Wall-clock time, real or set by a test.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    kind: Kind,
}

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    System,
    /// Real time that began at another one.
    Running(Timestamp, Instant),
    Manual(Arc<Manual>),
}

impl Clock {
    pub fn system() -> Clock {
        Clock { kind: Kind::System }
    }

    /// A clock that begins to run now at another time.
    pub fn running(from: Timestamp) -> Clock {
        Clock { kind: Kind::Running(from, Instant::now()) }
    }

    /// A clock that stands still until it is set.
    pub fn fixed(at: Timestamp) -> Clock {
        Clock::seeded(at, 0)
    }

    /// The same with a chance of its own.
    pub fn seeded(at: Timestamp, seed: u64) -> Clock {
        Clock { kind: Kind::Manual(Arc::new(Manual::new(at, seed))) }
    }

    pub fn now(&self) -> Timestamp {
        match &self.kind {
            Kind::System => Timestamp::now(),
            Kind::Running(from, begun) => {
                let run = SignedDuration::try_from(begun.elapsed()).unwrap_or(SignedDuration::MAX);
                from.checked_add(run).unwrap_or(Timestamp::MAX)
            }
            Kind::Manual(manual) => manual.now(),
        }
    }

    /// A point of a time that is never set back, for measuring: of real time, or as far as a fixed clock was moved.
    pub fn instant(&self) -> tokio::time::Instant {
        match &self.kind {
            Kind::Manual(manual) => manual.instant(),
            Kind::System | Kind::Running(..) => tokio::time::Instant::now(),
        }
    }

    /// What `future` comes to, unless the clock measures `deadline` before.
    pub async fn by<F: Future>(
        &self,
        deadline: tokio::time::Instant,
        future: F,
    ) -> Option<F::Output> {
        let left = deadline.saturating_duration_since(self.instant());
        tokio::select! {
            biased;
            done = future => Some(done),
            () = self.sleep(left) => None,
        }
    }

    fn manual(&self) -> Option<&Arc<Manual>> {
        match &self.kind {
            Kind::Manual(manual) => Some(manual),
            Kind::System | Kind::Running(..) => None,
        }
    }

    /// Moves a fixed clock and wakes whoever waits for that time; no other clock can be moved.
    pub fn set(&self, at: Timestamp) {
        if let Some(manual) = self.manual() {
            manual.set(at);
        }
    }

    /// The next time that somebody waits for; none where nobody does, and by a clock that runs by itself.
    pub fn awaited(&self) -> Option<Timestamp> {
        self.manual()?.awaited()
    }

    /// Returns when that much time has passed. It is not told by the wall clock, which may be set meanwhile.
    pub async fn sleep(&self, time: Duration) {
        match &self.kind {
            Kind::Manual(manual) => {
                let until = self.now().checked_add(time).unwrap_or(Timestamp::MAX);
                manual.until(until, true).await;
            }
            Kind::System | Kind::Running(..) => tokio::time::sleep(time).await,
        }
    }

    /// Returns when the clock shows `at` or later, also where it was set forward meanwhile.
    pub async fn until(&self, at: Timestamp) {
        self.wait(at, true).await;
    }

    /// The same for a look that comes again and again and may as well come later: nobody moves a clock for its sake.
    pub async fn look(&self, at: Timestamp) {
        self.wait(at, false).await;
    }

    async fn wait(&self, at: Timestamp, counts: bool) {
        match &self.kind {
            Kind::Manual(manual) => manual.until(at, counts).await,
            Kind::System | Kind::Running(..) => {
                while let Some(left) = left(self.now(), at) {
                    tokio::time::sleep(left.min(LOOK_EVERY)).await;
                }
            }
        }
    }

    /// Says that somebody is at work, until the answer is dropped. Whoever gives work to another task takes this for it
    /// before the task begins, and where a task waits for the work of another one, it is handed over with the result.
    pub fn work(&self) -> Work {
        Work::new(self.manual().cloned())
    }

    /// A task of its own: at work from now on, to its end.
    pub fn task<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let work = self.work();
        async move {
            let done = future.await;
            drop(work);
            done
        }
    }

    /// A wait of somebody who is at work, for a time or for another who is: nothing happens by it alone. It ends at the
    /// very moment in which it is woken, before whoever woke it goes on.
    pub async fn rest<F: Future>(&self, future: F) -> F::Output {
        match self.manual() {
            Some(manual) => manual::rest(manual, future).await,
            None => future.await,
        }
    }

    /// Blocks until everybody who is at work rests, at most as long as `patience` of real time: whether they do. By a clock
    /// that runs by itself there is no telling.
    pub fn is_settled_within(&self, patience: Duration) -> bool {
        self.manual().is_some_and(|manual| manual.is_settled_within(patience))
    }

    /// A number that spreads evenly over all of `u32`: chance, or by a clock that somebody moves what seed, time and
    /// `of` come to, so that a simulation repeats.
    pub fn chance(&self, of: &str) -> u32 {
        match self.manual() {
            Some(manual) => manual.chance(of),
            None => getrandom::u32().unwrap_or(u32::MAX),
        }
    }
}

/// How long it is from `now` until `at`; none when it has come.
fn left(now: Timestamp, at: Timestamp) -> Option<Duration> {
    let left = Duration::try_from(at.duration_since(now)).ok()?;
    (!left.is_zero()).then_some(left)
}

/// Milliseconds since the epoch: the form in which instants are stored.
pub fn to_millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// RFC 3339 in UTC with milliseconds: the form in which instants leave the house.
pub fn to_text(millis: i64) -> String {
    let at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_fixed_clock_wakes_who_waits_for_its_time_and_nobody_else() {
        let clock = Clock::fixed(at("2026-01-01T02:00:00Z"));
        clock.until(at("2026-01-01T02:00:00Z")).await;
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.until(at("2026-01-02T02:00:00Z")).await }
        });
        clock.set(at("2026-01-02T01:59:59Z"));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        clock.set(at("2026-01-03T00:00:00Z"));
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_fixed_clock_tells_what_is_waited_for_next() {
        let clock = Clock::fixed(at("2026-01-01T02:00:00Z"));
        assert_eq!(clock.awaited(), None);
        let look = tokio::spawn({
            let clock = clock.clone();
            async move { clock.look(at("2026-01-01T02:10:00Z")).await }
        });
        let mut waits: Vec<_> = [3600, 1800]
            .into_iter()
            .map(|seconds| {
                let clock = clock.clone();
                tokio::spawn(async move { clock.sleep(Duration::from_secs(seconds)).await })
            })
            .collect();
        while clock.awaited() != Some(at("2026-01-01T02:30:00Z")) {
            tokio::task::yield_now().await;
        }
        clock.set(at("2026-01-01T02:30:00Z"));
        look.await.unwrap();
        waits.pop().unwrap().await.unwrap();
        assert_eq!(clock.awaited(), Some(at("2026-01-01T03:00:00Z")));
        let last = waits.pop().unwrap();
        last.abort();
        assert!(last.await.unwrap_err().is_cancelled());
        assert_eq!(clock.awaited(), None);
    }

    #[tokio::test]
    async fn the_system_clock_does_not_wait_for_the_past() {
        Clock::system().until(at("2020-01-01T00:00:00Z")).await;
    }

    #[tokio::test]
    async fn a_running_clock_runs_from_where_it_began() {
        let begin = at("2020-01-01T00:00:00Z");
        let clock = Clock::running(begin);
        clock.until(begin + Duration::from_millis(20)).await;
        assert!(clock.now() >= begin + Duration::from_millis(20));
        assert!(clock.now() < at("2021-01-01T00:00:00Z"));
        assert_eq!(clock.awaited(), None);
    }

    #[test]
    fn what_is_left_is_never_negative() {
        let (early, late) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:05Z"));
        assert_eq!(left(early, late), Some(Duration::from_secs(5)));
        assert_eq!(left(late, early), None);
        assert_eq!(left(late, late), None);
    }

    #[test]
    fn chance_by_a_seed_repeats() {
        let begin = at("2026-01-01T00:00:00Z");
        let draw = |seed, of| Clock::seeded(begin, seed).chance(of);
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        let clock = Clock::seeded(begin, 1);
        clock.set(at("2026-01-02T00:00:00Z"));
        assert_ne!(clock.chance("a"), draw(1, "a"));
    }
}
