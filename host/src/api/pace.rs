//! How fast each caller may ask: a bucket of tokens that holds a minute's worth. Pure; the caller brings the time.

use std::collections::HashMap;

const MINUTE_MILLIS: u64 = 60_000;
const ENTRIES_MAX: usize = 10_000;

pub(super) struct Pace {
    /// 0 is no limit.
    per_minute: u64,
    callers: HashMap<String, Bucket>,
}

/// `spent` shrinks as time goes by, in thousandths of a request.
#[derive(Clone, Copy)]
struct Bucket {
    spent: u64,
    at: i64,
}

impl Bucket {
    fn spent_at(self, now: i64, per_minute: u64) -> u64 {
        let millis = u64::try_from(now - self.at).unwrap_or(0);
        self.spent.saturating_sub(millis.saturating_mul(per_minute) * 1_000 / MINUTE_MILLIS)
    }
}

impl Pace {
    pub(super) fn new(per_minute: u64) -> Pace {
        Pace { per_minute, callers: HashMap::new() }
    }

    /// Takes one request from the caller's bucket, or answers how many milliseconds to wait for one.
    pub(super) fn take(&mut self, caller: &str, now: i64) -> Result<(), i64> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let (per_minute, full) = (self.per_minute, self.per_minute * 1_000);
        if !self.callers.contains_key(caller) && self.callers.len() >= ENTRIES_MAX {
            self.callers.retain(|_, bucket| bucket.spent_at(now, per_minute) > 0);
            if self.callers.len() >= ENTRIES_MAX {
                // As many callers at once as this server never has: all begin anew.
                self.callers.clear();
            }
        }
        let bucket = self.callers.entry(caller.to_owned()).or_insert(Bucket { spent: 0, at: now });
        let spent = bucket.spent_at(now, per_minute) + 1_000;
        if spent > full {
            let missing = (spent - full).div_ceil(per_minute) * MINUTE_MILLIS / 1_000;
            return Err(i64::try_from(missing.max(1)).unwrap_or(i64::MAX));
        }
        *bucket = Bucket { spent, at: now };
        Ok(())
    }

    /// Gives one request back, as if it had not been asked.
    pub(super) fn forgive(&mut self, caller: &str) {
        if let Some(bucket) = self.callers.get_mut(caller) {
            bucket.spent = bucket.spent.saturating_sub(1_000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_may_be_spent_at_once_and_comes_back_evenly() {
        let mut pace = Pace::new(60);
        for _ in 0..60 {
            assert_eq!(pace.take("a", 0), Ok(()));
        }
        let wait = pace.take("a", 0).expect_err("the bucket is empty");
        assert!((900..=1_100).contains(&wait), "{wait}");
        assert_eq!(pace.take("b", 0), Ok(()));
        assert_eq!(pace.take("a", 1_000), Ok(()));
        assert!(pace.take("a", 1_000).is_err());
        for _ in 0..60 {
            assert_eq!(pace.take("a", 120_000), Ok(()));
        }
        assert!(pace.take("a", 120_000).is_err(), "no more than a minute is saved up");
    }

    #[test]
    fn zero_is_no_limit_and_memory_is_bounded() {
        let mut free = Pace::new(0);
        assert!((0..10_000).all(|_| free.take("a", 0).is_ok()) && free.callers.is_empty());
        let mut pace = Pace::new(60);
        for n in 0..ENTRIES_MAX + 10 {
            let _ = pace.take(&format!("c{n}"), 0);
        }
        assert!(pace.callers.len() <= ENTRIES_MAX);
    }
}
