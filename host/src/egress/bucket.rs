//! The token bucket of one credential at one host: when the next request may leave. Pure: time is an argument.

use super::quota::Quota;
use std::time::Duration;
use tokio::time::Instant;

const MINUTE_SECONDS: f64 = 60.0;
/// The share of a minute's requests that may leave at once after a rest.
const BURST_PERCENT: f64 = 10.0;

/// How fast tokens come, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pace {
    per_second: f64,
    kept_max: f64,
}

impl Pace {
    /// Never more than `per_minute` in any minute, the burst included.
    fn of(per_minute: f64) -> Pace {
        let kept_max = (per_minute * BURST_PERCENT / 100.0).floor().max(1.0);
        Pace { per_second: (per_minute - (kept_max - 1.0)) / MINUTE_SECONDS, kept_max }
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    /// As configured; none where the connector knows no limit.
    configured: Option<f64>,
    /// As the remote system told, where it is slower than that.
    learned: Option<f64>,
    tokens: f64,
    as_of: Instant,
    closed_until: Option<Instant>,
}

impl Bucket {
    /// A full one. `per_minute` is none for no limit but what the remote system says.
    pub(super) fn new(per_minute: Option<u32>, now: Instant) -> Bucket {
        let configured = per_minute.map(f64::from);
        let tokens = configured.map_or(0.0, |per_minute| Pace::of(per_minute).kept_max);
        Bucket { configured, learned: None, tokens, as_of: now, closed_until: None }
    }

    /// Takes a changed setting over.
    pub(super) fn configure(&mut self, per_minute: Option<u32>, now: Instant) {
        let configured = per_minute.map(f64::from);
        if configured != self.configured {
            self.refill(now);
            self.configured = configured;
        }
    }

    /// Takes a token, or says how long there is none. A `trial` looks whether a pause is over by not waiting for it.
    pub(super) fn take(&mut self, now: Instant, trial: bool) -> Result<(), Duration> {
        let closed = if trial { None } else { self.closed_until };
        let closed_until = std::mem::replace(&mut self.closed_until, closed);
        let wait = self.wait(now, 0);
        self.closed_until = closed_until;
        if wait.is_zero() {
            self.tokens = (self.tokens - 1.0).max(0.0);
            Ok(())
        } else {
            Err(wait)
        }
    }

    /// How long a request waits that has so many others before it.
    pub(super) fn wait(&mut self, now: Instant, ahead: u32) -> Duration {
        self.refill(now);
        let closed = self.closed_until.map(|until| until.saturating_duration_since(now));
        let closed = closed.unwrap_or_default();
        let Some(pace) = self.pace() else { return closed };
        let tokens = (self.tokens + closed.as_secs_f64() * pace.per_second).min(pace.kept_max);
        let missing = (f64::from(ahead) + 1.0 - tokens).max(0.0);
        closed + rounded_up(missing / pace.per_second)
    }

    /// Takes over what an answer told.
    pub(super) fn learn(&mut self, quota: &Quota, now: Instant) {
        self.refill(now);
        if let Some(per_minute) = quota.per_minute {
            self.learned = Some(per_minute);
        }
        if let Some(remaining) = quota.remaining {
            self.tokens = self.tokens.min(remaining as f64);
        }
        if let Some(closed) = quota.closed_for() {
            self.close(closed, now);
        }
    }

    /// Nothing leaves for so long. A shorter pause never shortens a longer one.
    fn close(&mut self, pause: Duration, now: Instant) {
        self.closed_until = self.closed_until.max(now.checked_add(pause));
    }

    /// A request came through: the pause is over.
    pub(super) fn open(&mut self) {
        self.closed_until = None;
    }

    /// Nothing would be lost with it.
    pub(super) fn is_at_rest(&mut self, now: Instant) -> bool {
        self.refill(now);
        let full = self.pace().is_none_or(|pace| self.tokens >= pace.kept_max);
        full && self.learned.is_none() && self.closed_until.is_none_or(|until| until <= now)
    }

    fn pace(&self) -> Option<Pace> {
        let slower = match (self.configured, self.learned) {
            (Some(configured), Some(learned)) => Some(configured.min(learned)),
            (configured, learned) => configured.or(learned),
        };
        slower.map(Pace::of)
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.as_of).as_secs_f64();
        self.as_of = self.as_of.max(now);
        if let Some(pace) = self.pace() {
            self.tokens = (self.tokens + passed * pace.per_second).min(pace.kept_max);
        }
    }
}

/// To whole milliseconds, so that whoever slept as long finds the token that it was promised.
fn rounded_up(seconds: f64) -> Duration {
    let millis = (seconds * 1e3 - 1e-6).ceil().clamp(0.0, 1e12);
    Duration::from_millis(millis as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The times at which a sender that never rests gets its tokens, in seconds.
    fn departures(bucket: &mut Bucket, start: Instant, count: usize) -> Vec<f64> {
        let mut now = start;
        let mut times = Vec::new();
        while times.len() < count {
            match bucket.take(now, false) {
                Ok(()) => times.push(now.duration_since(start).as_secs_f64()),
                Err(wait) => now += wait,
            }
        }
        times
    }

    #[test]
    fn a_burst_then_an_even_pace() {
        let start = Instant::now();
        let times = departures(&mut Bucket::new(Some(60), start), start, 8);
        assert_eq!(times[..6], [0.0; 6]);
        assert_eq!((times[6], times[7]), (1.091, 2.182), "55 more in the minute");
        let times = departures(&mut Bucket::new(Some(1), start), start, 3);
        assert_eq!(times, [0.0, 60.0, 120.0]);
        let times = departures(&mut Bucket::new(None, start), start, 1_000);
        assert!(times.iter().all(|time| *time == 0.0), "no limit, no wait");
    }

    proptest! {
        /// Whatever the senders do, no minute sees more requests than configured.
        #[test]
        fn no_minute_has_more_than_configured(
            per_minute in 1_u32..400,
            rests in prop::collection::vec(0_u64..20_000, 1..400),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(Some(per_minute), start);
            let (mut now, mut times) = (start, Vec::new());
            for rest in rests.iter().cycle().take(1_000) {
                now += Duration::from_millis(*rest / u64::from(per_minute));
                while let Err(wait) = bucket.take(now, false) {
                    now += wait;
                }
                times.push(now);
            }
            for (at, first) in times.iter().enumerate() {
                let minute = times[at..].iter().take_while(|time| **time < *first + 60 * SECOND);
                prop_assert!(minute.count() <= per_minute as usize);
            }
        }

        /// What a waiting request is told is what it waits.
        #[test]
        fn the_promise_is_kept(per_minute in 1_u32..2_000, ahead in 0_u32..50, closed in 0_u64..90) {
            let start = Instant::now();
            let mut bucket = Bucket::new(Some(per_minute), start);
            bucket.close(Duration::from_secs(closed), start);
            let told = bucket.wait(start, ahead).as_secs_f64();
            let last = departures(&mut bucket, start, ahead as usize + 1)[ahead as usize];
            // Each sleep is rounded up to a millisecond.
            prop_assert!((last - told).abs() <= 0.001 * f64::from(ahead + 1), "{last} {told}");
        }
    }

    #[test]
    fn a_pause_closes_it_and_a_shorter_one_does_not_open_it() {
        let start = Instant::now();
        let mut bucket = Bucket::new(None, start);
        bucket.close(10 * SECOND, start);
        bucket.close(SECOND, start);
        assert_eq!(bucket.take(start, false), Err(10 * SECOND));
        assert_eq!(bucket.take(start + 9 * SECOND, false), Err(SECOND));
        assert_eq!(bucket.take(start + 10 * SECOND, false), Ok(()));
    }

    #[test]
    fn what_remains_is_learned() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(600), start);
        bucket.learn(
            &Quota { remaining: Some(2), reset: Some(30 * SECOND), ..Quota::default() },
            start,
        );
        assert_eq!(departures(&mut bucket, start, 3)[..2], [0.0; 2]);
        let empty = Quota { remaining: Some(0), reset: Some(30 * SECOND), ..Quota::default() };
        bucket.learn(&empty, start);
        assert!(bucket.take(start, false).unwrap_err() >= 30 * SECOND);
        assert!(!bucket.is_at_rest(start + 29 * SECOND));
        assert!(bucket.is_at_rest(start + 40 * SECOND));
    }

    #[test]
    fn a_slower_pace_is_learned_and_a_faster_one_is_not() {
        let start = Instant::now();
        for (learned, wait) in [(30.0, 2_143), (6_000.0, 1_091)] {
            let mut bucket = Bucket::new(Some(60), start);
            bucket.learn(&Quota { per_minute: Some(learned), ..Quota::default() }, start);
            while bucket.take(start, false).is_ok() {}
            let told = bucket.take(start, false).unwrap_err();
            assert_eq!(told, Duration::from_millis(wait), "{learned}");
        }
    }

    #[test]
    fn a_changed_setting_holds_at_once() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(1), start);
        assert_eq!(bucket.take(start, false), Ok(()));
        assert_eq!(bucket.take(start, false), Err(60 * SECOND));
        bucket.configure(Some(60), start);
        assert!(bucket.take(start, false).unwrap_err() <= 2 * SECOND);
        bucket.configure(None, start);
        assert_eq!(bucket.take(start, false), Ok(()));
    }
}
