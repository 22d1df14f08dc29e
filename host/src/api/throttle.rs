//! Who tried to log in too often: a wait that doubles with every failure, and never a lock. Pure; the caller brings
//! the time.

use std::collections::HashMap;

const WAIT_MILLIS_FIRST: i64 = 1_000;
/// So long at most is somebody kept out by others who guess.
const WAIT_MILLIS_MAX: i64 = 60_000;
/// After so long without a failure all is forgotten.
const FORGOTTEN_MILLIS: i64 = 15 * 60 * 1_000;
const ENTRIES_MAX: usize = 10_000;

/// Failures by a key, such as a network.
pub(super) struct Throttle {
    /// How many failures cost nothing.
    free: u32,
    entries: HashMap<String, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    failures: u32,
    last: i64,
}

impl Entry {
    /// When the next attempt may be made.
    fn open_at(self, free: u32) -> i64 {
        match self.failures.checked_sub(free.max(1)) {
            None => self.last,
            Some(beyond) => {
                let wait = WAIT_MILLIS_FIRST << beyond.min(10);
                self.last + wait.min(WAIT_MILLIS_MAX)
            }
        }
    }
}

impl Throttle {
    pub(super) fn new(free: u32) -> Throttle {
        Throttle { free, entries: HashMap::new() }
    }

    fn known(&self, key: &str, now: i64) -> Option<Entry> {
        self.entries.get(key).copied().filter(|entry| now - entry.last < FORGOTTEN_MILLIS)
    }

    /// Whether an attempt may be made, or how long to wait, in milliseconds.
    pub(super) fn check(&self, key: &str, now: i64) -> Result<(), i64> {
        let open_at = self.known(key, now).map_or(now, |entry| entry.open_at(self.free));
        if open_at > now { Err(open_at - now) } else { Ok(()) }
    }

    /// Counts an attempt as failed until it [`succeeded`](Throttle::succeeded).
    pub(super) fn count(&mut self, key: &str, now: i64) {
        let known = self.known(key, now);
        let failures = known.map_or(0, |entry| entry.failures).saturating_add(1);
        if known.is_none() && self.entries.len() >= ENTRIES_MAX {
            self.make_room(now);
        }
        self.entries.insert(key.to_owned(), Entry { failures, last: now });
    }

    pub(super) fn succeeded(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Takes one attempt back, where others of the same key may have failed.
    pub(super) fn forgive(&mut self, key: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.failures = entry.failures.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now: i64) {
        self.entries.retain(|_, entry| now - entry.last < FORGOTTEN_MILLIS);
        if self.entries.len() >= ENTRIES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| (entry.failures, entry.last));
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Throttle {
        fn attempt(&mut self, key: &str, now: i64) -> Result<(), i64> {
            self.check(key, now)?;
            self.count(key, now);
            Ok(())
        }
    }

    #[test]
    fn the_wait_doubles_and_ends_at_a_minute() {
        let mut throttle = Throttle::new(3);
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..12 {
            if let Err(wait) = throttle.attempt("a", now) {
                waits.push(wait);
                now += wait;
                assert_eq!(throttle.attempt("a", now), Ok(()));
            }
        }
        assert_eq!(waits[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(waits.last(), Some(&WAIT_MILLIS_MAX));
        assert_eq!(throttle.attempt("b", now), Ok(()), "another key is not kept waiting");
    }

    #[test]
    fn success_and_time_forget() {
        let mut throttle = Throttle::new(1);
        assert_eq!(throttle.attempt("a", 0), Ok(()));
        assert_eq!(throttle.attempt("a", 999), Err(1));
        throttle.succeeded("a");
        assert_eq!(throttle.attempt("a", 999), Ok(()));
        for _ in 0..30 {
            let _ = throttle.attempt("a", 100_000);
        }
        assert_eq!(throttle.attempt("a", 100_000 + FORGOTTEN_MILLIS), Ok(()));
        assert_eq!(throttle.attempt("a", 100_999 + FORGOTTEN_MILLIS), Err(1));
    }

    #[test]
    fn an_attempt_counts_before_its_outcome_is_known() {
        let mut throttle = Throttle::new(2);
        let outcomes: Vec<bool> = (0..5).map(|_| throttle.attempt("a", 0).is_ok()).collect();
        assert_eq!(outcomes, [true, true, false, false, false]);
        throttle.forgive("a");
        assert_eq!(throttle.attempt("a", 0), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_the_persistent_stay() {
        let mut throttle = Throttle::new(1);
        for now in 0..5 {
            let _ = throttle.attempt("guesser", now * 70_000);
        }
        for n in 0..ENTRIES_MAX + 50 {
            let _ = throttle.attempt(&format!("k{n}"), 280_001);
        }
        assert!(throttle.entries.len() <= ENTRIES_MAX);
        assert!(throttle.attempt("guesser", 280_002).is_err());
    }
}
