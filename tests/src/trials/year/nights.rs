//! When schedules must fire: a walk over the days of a zone that knows nothing of the host's own calendar.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

/// Times of each day, on the clock on the wall.
#[derive(Debug, Clone, Copy)]
pub struct Daily {
    pub minute: i8,
    pub hours: &'static [i8],
}

impl Daily {
    pub fn cron(self) -> String {
        let hours: Vec<String> = self.hours.iter().map(i8::to_string).collect();
        format!("{} {} * * *", self.minute, hours.join(","))
    }

    /// The instants after `begin` and up to `end`: a time that clocks skip at the first instant behind the gap, one that
    /// comes twice at its first.
    pub fn fires(
        self,
        zone: &str,
        begin: Timestamp,
        end: Timestamp,
    ) -> anyhow::Result<Vec<Timestamp>> {
        let zone = TimeZone::get(zone)?;
        let mut fires = Vec::new();
        let mut day: Date = begin.to_zoned(zone.clone()).date().yesterday()?;
        let last = end.to_zoned(zone.clone()).date();
        while day <= last {
            for hour in self.hours {
                fires.push(first(&zone, day.at(*hour, self.minute, 0, 0))?);
            }
            day = day.tomorrow()?;
        }
        fires.retain(|at| *at > begin && *at <= end);
        fires.sort();
        fires.dedup();
        Ok(fires)
    }
}

fn first(zone: &TimeZone, mut wall: DateTime) -> anyhow::Result<Timestamp> {
    loop {
        let found = zone.to_ambiguous_timestamp(wall);
        if !matches!(found.offset(), AmbiguousOffset::Gap { .. }) {
            return Ok(found.earlier()?);
        }
        // To the end of the gap: no zone changes its clocks within a minute.
        wall = wall.with().second(0).build()?.checked_add(1.minute())?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nights_in_which_clocks_change() {
        #[track_caller]
        fn check(
            zone: &str,
            minute: i8,
            hours: &'static [i8],
            (begin, end): (&str, &str),
            expect: &[&str],
        ) {
            let fires =
                Daily { minute, hours }.fires(zone, begin.parse().unwrap(), end.parse().unwrap());
            let fires: Vec<String> = fires.unwrap().iter().map(Timestamp::to_string).collect();
            assert_eq!(fires, expect, "{zone}");
        }
        // Dublin skips 01:00 to 02:00 on 29 March and repeats it on 25 October.
        let spring = ("2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z");
        check(
            "Europe/Dublin",
            30,
            &[1],
            spring,
            &["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        );
        let autumn = ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        check("Europe/Dublin", 30, &[1], autumn, &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        // Beirut skips 00:00 to 01:00.
        let midnight = ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
        check("Asia/Beirut", 30, &[0], midnight, &["2026-03-28T22:00:00Z"]);
        // Lord Howe goes forward by half an hour, at 02:00.
        let half = ("2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z");
        check("Australia/Lord_Howe", 15, &[2], half, &["2026-10-03T15:30:00Z"]);
    }
}
