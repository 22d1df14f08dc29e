//! Which fires of a schedule are due for one connection, which of them one run makes up for, and which are too late.
//! Pure: pattern, last fire and time are arguments, and no job is looked at.

use crate::cron::Calendar;
use crate::model::ConnectionId;
use crate::model::ids::ScheduleId;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// A fire that comes to its run within this time is in time.
const LATE_MILLIS: i64 = 60_000;
/// Fires of a long time of rest are counted up to here.
const COUNTED_MAX: u64 = 1_000;

/// When a schedule fires for one connection.
pub(super) struct Beat<'a> {
    pub(super) calendar: &'a Calendar,
    /// The share of this connection in the spread: the same after every restart.
    pub(super) share: u64,
    pub(super) jitter_millis: i64,
    pub(super) catch_up_millis: i64,
}

/// One fire, or several that come to one thing. Times are nominal, `count` of very many is at least so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fires {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The pattern names no further time.
    Never,
    /// Nothing is due before this time.
    Later(i64),
    Now {
        /// What one run stands for, and when its last fire was due; `late` where it makes up for something.
        run: Option<(Fires, i64)>,
        late: bool,
        /// Missed for longer than the catch-up window.
        missed: Option<Fires>,
        /// The nominal time of the last fire that this deals with.
        last: i64,
    },
}

/// A number for a schedule's connection that spreads evenly.
pub(super) fn share(schedule: ScheduleId, connection: ConnectionId) -> u64 {
    let digest: [u8; 32] = Sha256::digest(format!("{schedule} {connection}")).into();
    let (head, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*head)
}

impl Beat<'_> {
    /// What is due at `now` of the fires after `base`.
    pub(super) fn due(&self, base: i64, now: i64) -> Due {
        let Some(first) = self.next(base) else { return Due::Never };
        let first_due = self.due_at(first);
        if first_due > now {
            return Due::Later(first_due);
        }
        // The first is due, so that there is a last one; the newest may still wait for its share of the spread.
        let newest = self.latest(base, now).unwrap_or(first);
        let last = match self.due_at(newest) > now {
            true => self.latest(base, newest - 1).unwrap_or(first),
            false => newest,
        };
        let expired = self.expired(now).max(base);
        let in_time = first == last && now.saturating_sub(first_due) <= LATE_MILLIS;
        let made_up = |begin: i64| Fires {
            first: self.next(begin).unwrap_or(last),
            last,
            count: self.count(begin, last),
        };
        let is_young = in_time || last > expired;
        let run = is_young.then(|| made_up(if in_time { base } else { expired }));
        let old_until = if is_young { expired } else { last };
        let missed = self.latest(base, old_until).filter(|_| !in_time).map(|old| Fires {
            first,
            last: old,
            count: self.count(base, old),
        });
        let run = run.map(|fires| (fires, self.due_at(last)));
        Due::Now { run, late: !in_time, missed, last }
    }

    /// Fires after this one are young enough to be made up for: the connection's turn, and not the nominal time, lies
    /// within the window.
    fn expired(&self, now: i64) -> i64 {
        let begin = now.saturating_sub(self.catch_up_millis);
        // Each turn comes before the next fire: of the fires before the window only the last one's may lie within.
        let before = begin.saturating_sub(1);
        match self.latest(before.saturating_sub(self.jitter_millis), before) {
            Some(last) if self.due_at(last) >= begin => last - 1,
            _ => before,
        }
    }

    /// When the connection's turn comes for a nominal time: within the spread, and before the next nominal time.
    pub(super) fn due_at(&self, nominal: i64) -> i64 {
        let room = self.next(nominal).map_or(i64::MAX, |next| next - nominal);
        let window = u64::try_from(self.jitter_millis.min(room)).unwrap_or(0);
        let offset = self.share.checked_rem(window).unwrap_or(0);
        nominal.saturating_add(i64::try_from(offset).unwrap_or(0))
    }

    fn next(&self, after: i64) -> Option<i64> {
        self.calendar.next(instant(after)).map(Timestamp::as_millisecond)
    }

    fn latest(&self, after: i64, until: i64) -> Option<i64> {
        self.calendar.latest(instant(after), instant(until)).map(Timestamp::as_millisecond)
    }

    fn count(&self, after: i64, until: i64) -> u64 {
        self.calendar.count(instant(after), instant(until), COUNTED_MAX)
    }
}

pub(super) fn instant(millis: i64) -> Timestamp {
    let limit = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(millis).unwrap_or(limit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cron::parse;
    use jiff::tz::TimeZone;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    /// Midnight of some day.
    const BEGIN: i64 = 20_000 * DAY;

    fn with<T>(pattern: &str, jitter: i64, share: u64, look: impl Fn(&Beat<'_>) -> T) -> T {
        let calendar = Calendar::new(parse(pattern).unwrap(), TimeZone::UTC);
        look(&Beat { calendar: &calendar, share, jitter_millis: jitter, catch_up_millis: DAY })
    }

    fn fires(first: i64, last: i64, count: u64) -> Fires {
        Fires { first: BEGIN + first, last: BEGIN + last, count }
    }

    #[track_caller]
    fn check(
        pattern: &str,
        (base, now): (i64, i64),
        run: Option<Fires>,
        late: bool,
        missed: Option<Fires>,
    ) {
        let due = with(pattern, 0, 7, |beat| beat.due(BEGIN + base, BEGIN + now));
        let Due::Now { run: found, late: found_late, missed: found_missed, last } = due else {
            panic!("{due:?}");
        };
        assert_eq!((found.map(|(fires, _)| fires), found_missed), (run, missed));
        assert_eq!(found_late, late);
        assert_eq!(last, run.or(missed).unwrap().last);
    }

    #[test]
    fn one_run_makes_up_for_what_is_young_enough_and_the_rest_is_missed() {
        let nightly = "0 2 * * *";
        let two = 2 * HOUR;
        check(nightly, (0, two), Some(fires(two, two, 1)), false, None);
        check(nightly, (0, two + MINUTE), Some(fires(two, two, 1)), false, None);
        check(nightly, (0, 3 * HOUR), Some(fires(two, two, 1)), true, None);
        // Three days off: the last night is made up for, the two before are too old.
        let missed = Some(fires(two, DAY + two, 2));
        check(
            nightly,
            (0, 2 * DAY + 10 * HOUR),
            Some(fires(2 * DAY + two, 2 * DAY + two, 1)),
            true,
            missed,
        );
        // The window is a day: at its very end the fire still counts.
        check(nightly, (0, DAY + two - 1), Some(fires(two, two, 1)), true, None);
        let both = Some(fires(two, DAY + two, 2));
        check(nightly, (0, DAY + two), both, true, None);
        let missed = Some(fires(two, two, 1));
        check(nightly, (0, DAY + two + 1), Some(fires(DAY + two, DAY + two, 1)), true, missed);
        // Weekly, and a week too late.
        check("0 2 * * *", (0, two + 1), Some(fires(two, two, 1)), false, None);
        let first = 2 * HOUR;
        let due = with("0 2 1 * *", 0, 0, |beat| beat.due(BEGIN, BEGIN + 60 * DAY));
        assert!(matches!(due, Due::Now { run: None, missed: Some(_), late: true, .. }), "{due:?}");
        // Every ten minutes, an hour off: one run for six fires.
        let run = Some(fires(first + 10 * MINUTE, first + HOUR, 6));
        check("*/10 * * * *", (first, first + HOUR + 5 * MINUTE), run, true, None);
    }

    /// A window as short as the spread gives nobody less of it.
    #[test]
    fn the_window_begins_with_the_connections_turn() {
        let calendar = Calendar::new(parse("0 2 * * *").unwrap(), TimeZone::UTC);
        let (jitter_millis, catch_up_millis) = (HOUR, HOUR);
        let share = u64::try_from(50 * MINUTE).unwrap();
        let beat = Beat { calendar: &calendar, share, jitter_millis, catch_up_millis };
        let (two, turn) = (2 * HOUR, 2 * HOUR + 50 * MINUTE);
        for (now, is_missed) in
            [(turn + 15 * MINUTE, false), (turn + HOUR, false), (turn + HOUR + 1, true)]
        {
            let Due::Now { run, missed, late, last } = beat.due(BEGIN, BEGIN + now) else {
                panic!("due at {now}");
            };
            let (made_up, expected) = (run.map(|(fires, _)| fires), fires(two, two, 1));
            let wanted = if is_missed { (None, Some(expected)) } else { (Some(expected), None) };
            assert_eq!((made_up, missed), wanted, "at {now}");
            assert_eq!((late, last), (true, BEGIN + two));
        }
        // A week of rest: the last night is made up for, and the others are missed.
        let due = beat.due(BEGIN, BEGIN + 6 * DAY + turn + MINUTE * 30);
        let Due::Now { run: Some((run, _)), missed: Some(missed), .. } = due else {
            panic!("{due:?}");
        };
        assert_eq!(run, fires(6 * DAY + two, 6 * DAY + two, 1));
        assert_eq!(missed, fires(two, 5 * DAY + two, 6));
    }

    #[test]
    fn nothing_is_due_before_its_time_nor_twice() {
        let due = |base: i64, now: i64| {
            with("0 2 * * *", 0, 0, |beat| beat.due(BEGIN + base, BEGIN + now))
        };
        assert_eq!(due(0, 2 * HOUR - 1), Due::Later(BEGIN + 2 * HOUR));
        assert_eq!(due(2 * HOUR, 2 * HOUR), Due::Later(BEGIN + DAY + 2 * HOUR));
        // A clock that was set back sees the same next fire.
        assert_eq!(due(2 * HOUR, -5 * DAY), Due::Later(BEGIN + DAY + 2 * HOUR));
    }

    #[test]
    fn the_spread_keeps_to_its_window_and_before_the_next_fire() {
        let due_at = |pattern: &str, jitter: i64, share: u64| {
            with(pattern, jitter, share, |beat| beat.due_at(BEGIN) - BEGIN)
        };
        assert_eq!(due_at("0 0 * * *", 0, u64::MAX), 0);
        assert_eq!(due_at("0 0 * * *", 5 * MINUTE, 5 * 60_000 + 17), 17);
        assert_eq!(due_at("* * * * *", 5 * MINUTE, 2 * 60_000 + 17), 17);
        // A fire that waits for its turn is not overtaken by the next nominal one.
        let due = with("*/5 * * * *", 5 * MINUTE, 4 * 60_000, |beat| {
            beat.due(BEGIN, BEGIN + 10 * MINUTE)
        });
        let expected = fires(5 * MINUTE, 5 * MINUTE, 1);
        let Due::Now { run: Some((run, due_at)), late, last, .. } = due else { panic!("{due:?}") };
        assert_eq!((run, due_at, late), (expected, BEGIN + 9 * MINUTE, false));
        assert_eq!(last, BEGIN + 5 * MINUTE);
    }

    #[test]
    fn shares_spread_evenly_and_stay() {
        let window = 300_000;
        let mut tenths = [0; 10];
        for connection in 1..=1_000 {
            let share = share(ScheduleId(1), ConnectionId(connection)) % window;
            tenths[usize::try_from(share * 10 / window).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
        // Written down, so that no later version moves the nights of everybody.
        assert_eq!(share(ScheduleId(1), ConnectionId(1)), 6_416_696_354_161_468_075);
        assert_ne!(share(ScheduleId(1), ConnectionId(1)), share(ScheduleId(2), ConnectionId(1)));
    }
}
