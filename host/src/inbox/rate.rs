//! How many in a minute: a window that slides, so that no sixty seconds hold more than allowed. Pure; the caller brings
//! the time.

use std::collections::HashMap;
use std::hash::Hash;

const SECOND_MILLIS: i64 = 1_000;
/// One more than a minute has: the second that is only partly outside counts whole.
const SLOTS: usize = 61;

/// Counts by a key, such as a connector or an address.
pub(super) struct Rate<K> {
    per_minute: u64,
    keys_max: usize,
    windows: HashMap<K, Window>,
}

struct Window {
    /// The second that was counted last.
    second: i64,
    sum: u64,
    counts: [u32; SLOTS],
}

impl Window {
    fn slot(second: i64) -> usize {
        usize::try_from(second.rem_euclid(SLOTS as i64)).unwrap_or(0)
    }

    /// Forgets what is a minute old. A clock that was set back stands still here; by more than a window, it begins anew, or
    /// nobody would get in before it is where it was.
    fn advance(&mut self, now: i64) {
        if self.second.saturating_sub(now) > SLOTS as i64 {
            *self = Window { second: now, sum: 0, counts: [0; SLOTS] };
        }
        let steps = now.saturating_sub(self.second).clamp(0, SLOTS as i64);
        for step in 1..=steps {
            if let Some(count) = self.counts.get_mut(Window::slot(self.second + step)) {
                self.sum -= u64::from(std::mem::take(count));
            }
        }
        self.second = self.second.max(now);
    }

    /// Milliseconds until the oldest of what is counted is forgotten.
    fn wait(&self, now_millis: i64) -> i64 {
        let oldest = (1..=SLOTS as i64)
            .map(|ahead| self.second + ahead)
            .find(|second| self.counts.get(Window::slot(*second)).is_some_and(|count| *count > 0));
        let free_at = oldest.unwrap_or(self.second + 1) * SECOND_MILLIS;
        (free_at - now_millis).max(1)
    }
}

impl<K: Hash + Eq> Rate<K> {
    pub(super) fn new(per_minute: u64, keys_max: usize) -> Rate<K> {
        Rate { per_minute, keys_max, windows: HashMap::new() }
    }

    /// Whether half of what is allowed came within the last minute.
    pub(super) fn is_half_taken(&mut self, key: &K, now_millis: i64) -> bool {
        let half = self.per_minute / 2;
        self.windows.get_mut(key).is_some_and(|window| {
            window.advance(now_millis.div_euclid(SECOND_MILLIS));
            window.sum >= half
        })
    }

    /// Counts one more, or answers how many milliseconds to wait until there is room.
    pub(super) fn take(&mut self, key: K, now_millis: i64) -> Result<(), i64> {
        let second = now_millis.div_euclid(SECOND_MILLIS);
        if self.windows.len() >= self.keys_max && !self.windows.contains_key(&key) {
            self.windows.retain(|_, window| {
                window.advance(second);
                window.sum > 0
            });
            if self.windows.len() >= self.keys_max {
                // As many at once as never come honestly: all begin anew.
                self.windows.clear();
            }
        }
        let new = || Window { second, sum: 0, counts: [0; SLOTS] };
        let window = self.windows.entry(key).or_insert_with(new);
        window.advance(second);
        if window.sum >= self.per_minute {
            return Err(window.wait(now_millis));
        }
        window.sum += 1;
        let slot = Window::slot(window.second);
        if let Some(count) = window.counts.get_mut(slot) {
            *count += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::test_seed;
    use proptest::prelude::*;

    #[test]
    fn a_minute_may_come_at_once_and_then_not_for_a_minute() {
        let mut rate = Rate::new(3, 10);
        for _ in 0..3 {
            assert_eq!(rate.take("a", 500), Ok(()));
        }
        assert_eq!(rate.take("a", 500), Err(60_500));
        assert_eq!(rate.take("b", 500), Ok(()));
        assert_eq!(rate.take("a", 60_999), Err(1));
        assert_eq!(rate.take("a", 61_000), Ok(()));
        // A clock that was set back by a little neither opens nor closes.
        assert_eq!(rate.take("a", 1_000), Ok(()));
        assert_eq!(rate.take("a", 1_000), Ok(()));
        assert!(rate.take("a", 1_000).is_err());
    }

    #[test]
    fn a_clock_that_was_set_back_by_an_hour_keeps_nobody_out() {
        let mut rate = Rate::new(2, 10);
        let (late, early) = (7_200_000, 3_600_000);
        for now in [late, early] {
            assert_eq!(rate.take("a", now), Ok(()));
            assert_eq!(rate.take("a", now), Ok(()));
            assert_eq!(rate.take("a", now), Err(61_000));
        }
        assert_eq!(rate.take("a", early + 61_000), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut rate = Rate::new(1, 100);
        for key in 0..1_000 {
            assert_eq!(rate.take(key, 0), Ok(()));
        }
        assert!(rate.windows.len() <= 100);
    }

    #[test]
    fn no_sixty_seconds_hold_more_and_whoever_waits_gets_in() {
        let waits = proptest::collection::vec(0_i64..9_000, 1..200);
        test_seed::check(256, &(waits, 1_u64..20), |(waits, limit)| {
            let mut rate = Rate::new(limit, 10);
            let (mut now, mut taken) = (0, Vec::new());
            for wait in waits {
                now += wait;
                match rate.take("a", now) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        prop_assert!(rate.take("a", now + wait - 1).is_err());
                        now += wait;
                        prop_assert_eq!(rate.take("a", now), Ok(()));
                        taken.push(now);
                    }
                }
            }
            for (index, at) in taken.iter().enumerate() {
                let within = taken[..=index].iter().filter(|other| at - **other < 60_000).count();
                prop_assert!(within as u64 <= limit, "{} in a minute", within);
            }
            Ok(())
        });
    }
}
