//! When a pattern fires in a time zone.
//!
//! Three rules, which `oracle` holds against a walk over every minute:
//! - A time that the clocks skip fires at the first instant behind the gap; several of them fire there once.
//! - A time that the clocks show twice fires the first time only.
//! - A pattern that names every hour (`*/15 * * * *`) means the real clock: it fires at each instant at which the clock
//!   on the wall shows one of its minutes, so that it loses no interval in the hour that comes twice, and it makes up
//!   for nothing in a gap, because no time went by there. Where clocks change by half an hour its interval is so much
//!   longer or shorter once.

use super::{Pattern, years_after};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

const MINUTE_MILLIS: i64 = 60_000;
/// How long a change of the clocks can matter afterwards: no zone ever skipped or repeated more than a day.
const CHANGE_SPAN: SignedDuration = SignedDuration::from_hours(48);

/// A pattern in a zone.
#[derive(Clone, Debug)]
pub struct Calendar {
    pattern: Pattern,
    zone: TimeZone,
}

impl Calendar {
    pub fn new(pattern: Pattern, zone: TimeZone) -> Calendar {
        Calendar { pattern, zone }
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first fire after an instant.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let minute = after.as_millisecond().div_euclid(MINUTE_MILLIS) + 1;
        let mut from = Timestamp::from_millisecond(minute.checked_mul(MINUTE_MILLIS)?).ok()?;
        let horizon = years_after(self.zone.to_offset(from).to_datetime(from));
        loop {
            // One stretch of time between two changes of the clocks: there, local times are simple numbers.
            let offset = self.zone.to_offset(from);
            let end = self.zone.following(from).next().map(|change| change.timestamp());
            let local = offset.to_datetime(from);
            let local_end = end.map_or(horizon, |end| offset.to_datetime(end)).min(horizon);
            let found = if self.pattern.is_every_hour() {
                self.pattern.first(local, local_end)
            } else {
                let passed = self.passed(from);
                let skipped = passed.filter(|passed| self.is_change(from) && *passed < local);
                if skipped.is_some_and(|passed| self.pattern.first(passed, local).is_some()) {
                    return Some(from);
                }
                self.pattern.first(passed.map_or(local, |passed| local.max(passed)), local_end)
            };
            if let Some(found) = found {
                return offset.to_timestamp(found).ok();
            }
            from = end.filter(|end| offset.to_datetime(*end) < horizon)?;
        }
    }

    /// The last fire after `after` and not after `until`.
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut found = self.next(after).filter(|first| *first <= until)?;
        // Fires beyond this are too late.
        let mut beyond = until.as_millisecond();
        while beyond - found.as_millisecond() > MINUTE_MILLIS {
            let middle = found.as_millisecond() + (beyond - found.as_millisecond()) / 2;
            let middle = Timestamp::from_millisecond(middle).ok()?;
            match self.next(middle).filter(|later| *later <= until) {
                Some(later) => found = later,
                None => beyond = middle.as_millisecond(),
            }
        }
        // Two fires are at least a minute apart.
        Some(self.next(found).filter(|later| *later <= until).unwrap_or(found))
    }

    /// How many fires are after `after` and not after `until`; it counts up to `max`.
    pub fn count(&self, after: Timestamp, until: Timestamp, max: u64) -> u64 {
        let mut at = after;
        for counted in 0..max {
            match self.next(at).filter(|next| *next <= until) {
                Some(next) => at = next,
                None => return counted,
            }
        }
        max
    }

    /// Local times before this one have been there when the stretch begins that holds `at`; none where no change is
    /// near enough to matter.
    fn passed(&self, at: Timestamp) -> Option<DateTime> {
        let begin = at.checked_sub(CHANGE_SPAN).ok()?;
        let until = at.checked_add(SignedDuration::from_nanos(1)).ok()?;
        let changes = self.zone.preceding(until).map(|change| change.timestamp());
        let changes = changes.take_while(|change| *change > begin);
        changes.map(|change| self.offset_before(change).to_datetime(change)).max()
    }

    fn is_change(&self, at: Timestamp) -> bool {
        self.offset_before(at) != self.zone.to_offset(at)
    }

    fn offset_before(&self, at: Timestamp) -> Offset {
        let before = at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at);
        self.zone.to_offset(before)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parse;
    use super::*;

    /// The fires between two instants as local times.
    #[track_caller]
    fn check(pattern: &str, zone: &str, (from, until): (&str, &str), expected: &[&str]) {
        let zone = TimeZone::get(zone).unwrap();
        let calendar = Calendar::new(parse(pattern).unwrap(), zone.clone());
        let (mut at, until): (Timestamp, Timestamp) =
            (from.parse().unwrap(), until.parse().unwrap());
        let mut found = Vec::new();
        while let Some(next) = calendar.next(at).filter(|next| *next <= until) {
            let offset = zone.to_offset(next);
            found.push(format!("{} {offset}", offset.to_datetime(next).strftime("%d %H:%M")));
            at = next;
        }
        assert_eq!(found, expected, "{pattern}");
    }

    #[test]
    fn a_skipped_time_fires_at_the_first_instant_behind_the_gap() {
        // Clocks go from 01:00 to 02:00 on 29 March 2026.
        let days = ("2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z");
        check(
            "30 1 * * *",
            "Europe/Dublin",
            days,
            &["28 01:30 +00", "29 02:00 +01", "30 01:30 +01"],
        );
        check("*/20 1 29 3 *", "Europe/Dublin", days, &["29 02:00 +01"]);
        check("0,30 1,2 29 3 *", "Europe/Dublin", days, &["29 02:00 +01", "29 02:30 +01"]);
        // No 02:00 to 02:29 at Lord Howe on 4 October 2026.
        let days = ("2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z");
        check("15 2 * * *", "Australia/Lord_Howe", days, &["04 02:30 +11"]);
        // No midnight in Beirut on 29 March 2026.
        let days = ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
        check("0 0 * * *", "Asia/Beirut", days, &["29 01:00 +03"]);
        // No 30 December 2011 in Samoa: its time is made up for when the 31st begins.
        let days = ("2011-12-29T20:00:00Z", "2011-12-31T20:00:00Z");
        check("0 2 * * *", "Pacific/Apia", days, &["31 00:00 +14", "31 02:00 +14", "01 02:00 +14"]);
    }

    #[test]
    fn a_repeated_time_fires_once() {
        // Clocks go from 02:00 back to 01:00 on 25 October 2026.
        let days = ("2026-10-24T12:00:00Z", "2026-10-26T00:00:00Z");
        check("30 1 * * *", "Europe/Dublin", days, &["25 01:30 +01"]);
        check("0 1,2 * * *", "Europe/Dublin", days, &["25 01:00 +01", "25 02:00 +00"]);
        let days = ("2026-04-04T12:00:00Z", "2026-04-05T12:00:00Z");
        check("45 1 * * *", "Australia/Lord_Howe", days, &["05 01:45 +11"]);
    }

    #[test]
    fn minutes_of_every_hour_follow_the_real_clock() {
        let hours = ("2026-03-29T00:00:00Z", "2026-03-29T01:30:00Z");
        let fires = ["29 00:30 +00", "29 02:00 +01", "29 02:30 +01"];
        check("*/30 * * * *", "Europe/Dublin", hours, &fires);
        let fires = ["29 00:30 +00", "29 02:30 +01"];
        check("30 * * * *", "Europe/Dublin", hours, &fires);
        let hours = ("2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z");
        let fires = ["25 01:30 +01", "25 01:00 +00", "25 01:30 +00", "25 02:00 +00"];
        check("*/30 * * * *", "Europe/Dublin", hours, &fires);
        // Half an hour of change is no whole interval: no 02:15, and 01:45 twice.
        let hours = ("2026-10-03T14:30:00Z", "2026-10-03T16:30:00Z");
        let fires = ["04 01:15 +10:30", "04 03:15 +11"];
        check("15 * * * *", "Australia/Lord_Howe", hours, &fires);
        let hours = ("2026-04-04T14:30:00Z", "2026-04-04T15:30:00Z");
        let fires = ["05 01:45 +11", "05 01:45 +10:30"];
        check("45 * * * *", "Australia/Lord_Howe", hours, &fires);
    }

    #[test]
    fn an_instant_on_a_fire_is_followed_by_the_next_one() {
        let days = ("2026-07-01T02:00:00Z", "2026-07-03T02:00:00Z");
        check("0 2 * * *", "UTC", days, &["02 02:00 +00", "03 02:00 +00"]);
        let days = ("2026-07-01T01:59:59.999Z", "2026-07-01T02:00:00Z");
        check("0 2 * * *", "UTC", days, &["01 02:00 +00"]);
    }

    #[test]
    fn a_rare_day_is_found_and_none_beyond_the_horizon() {
        let calendar = Calendar::new(parse("0 0 29 2 +MON").unwrap(), TimeZone::UTC);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(calendar.next(at("2024-03-01T00:00:00Z")), Some(at("2044-02-29T00:00:00Z")));
        assert_eq!(calendar.next(Timestamp::MAX), None);
        assert_eq!(calendar.count(at("2024-03-01T00:00:00Z"), at("2052-02-29T00:00:00Z"), 9), 1);
    }
}
