//! What the pattern of a schedule says (five fields, or a word such as `@daily`), when it fires in a time zone, and the
//! same in words. Pure: knows no clock and no schedule. The only code that names croner, which reads patterns and knows
//! which days they mean; time zones are the affair of `calendar`.

mod calendar;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod oracle;
mod words;

pub use calendar::Calendar;
pub use words::describe;

use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Weekday};
use jiff::civil::{Date, DateTime, date};

/// The longest pattern that is read.
const PATTERN_CHARS_MAX: usize = 200;
/// So many years without a fire mean that there is none: also 29 February on a given day of the week comes sooner.
const YEARS_MAX: i16 = 60;
const EVERY_HOUR: u32 = (1 << 24) - 1;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("must have at most {PATTERN_CHARS_MAX} characters")]
    TooLong,
    #[error(
        "is no schedule: {0}; write five fields (minute, hour, day of month, month, day of week) such as `0 2 * * *`, or a word such as `@daily`"
    )]
    Pattern(String),
    #[error("never fires: no year has such a day; write a day that comes, such as `0 2 28 2 *`")]
    Never,
}

/// A pattern that was read.
#[derive(Clone, Debug)]
pub struct Pattern {
    cron: Cron,
    /// Bit by bit the minutes of an hour, and the hours of a day.
    minutes: u64,
    hours: u32,
}

/// Reads a pattern as Unix cron does: minutes are the finest, and where both days are restricted either is enough.
pub fn parse(pattern: &str) -> Result<Pattern, Error> {
    if pattern.chars().count() > PATTERN_CHARS_MAX {
        return Err(Error::TooLong);
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .dom_and_dow(false)
        .build();
    let cron = parser.parse(pattern).map_err(|error| Error::Pattern(error.to_string()))?;
    let minutes = cron.pattern.minutes.values().iter().fold(0, |bits, at| bits | 1 << at);
    let hours = cron.pattern.hours.values().iter().fold(0, |bits, at| bits | 1 << at);
    let pattern = Pattern { cron, minutes, hours };
    let begin = date(2000, 1, 1).at(0, 0, 0, 0);
    match pattern.first(begin, years_after(begin)) {
        Some(_) => Ok(pattern),
        None => Err(Error::Never),
    }
}

fn years_after(at: DateTime) -> DateTime {
    let year = at.year().saturating_add(YEARS_MAX).min(9_998);
    Date::new(year, 1, 1).map_or(DateTime::MAX, |date| date.at(0, 0, 0, 0))
}

impl Pattern {
    /// Whether it names minutes of every hour: then it follows the real clock and not the one on the wall.
    fn is_every_hour(&self) -> bool {
        self.hours == EVERY_HOUR
    }

    /// The first local time that it names from `from` on and before `until`.
    fn first(&self, from: DateTime, until: DateTime) -> Option<DateTime> {
        let from = if from.second() == 0 && from.subsec_nanosecond() == 0 {
            from
        } else {
            let begun = from.time().with().second(0).subsec_nanosecond(0).build().ok()?;
            from.date().to_datetime(begun).checked_add(jiff::Span::new().minutes(1)).ok()?
        };
        let (mut day, mut earliest) = (from.date(), (from.hour(), from.minute()));
        while day <= until.date() {
            if !self.names_month(day) {
                day = day.last_of_month().tomorrow().ok()?;
            } else {
                if self.names_day(day)
                    && let Some((hour, minute)) = self.first_time(earliest)
                {
                    let found = day.at(hour, minute, 0, 0);
                    return (found < until).then_some(found);
                }
                day = day.tomorrow().ok()?;
            }
            earliest = (0, 0);
        }
        None
    }

    fn names_month(&self, day: Date) -> bool {
        let month = u32::try_from(day.month()).unwrap_or_default();
        self.cron.pattern.month_match(month).unwrap_or(false)
    }

    fn names_day(&self, day: Date) -> bool {
        let number = |number: i8| u32::try_from(number).unwrap_or_default();
        let weekday = number(day.weekday().to_sunday_zero_offset());
        let weekday = Weekday::from_days_from_sunday(weekday);
        let (year, month) = (i32::from(day.year()), number(day.month()));
        self.cron.pattern.day_match(year, month, number(day.day()), weekday).unwrap_or(false)
    }

    /// The first of its times of day from this one on.
    fn first_time(&self, (hour, minute): (i8, i8)) -> Option<(i8, i8)> {
        let first = |bits: u64| i8::try_from(bits.trailing_zeros()).ok().filter(|_| bits != 0);
        let minutes_left = self.minutes & (u64::MAX << minute);
        if self.hours & (1 << hour) != 0
            && let Some(minute) = first(minutes_left)
        {
            return Some((hour, minute));
        }
        let hours_left = u64::from(self.hours) & (u64::MAX << (hour + 1));
        Some((first(hours_left)?, first(self.minutes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_five_fields_and_words_are_read() {
        for pattern in [
            "0 2 * * *",
            "*/15 0-6 1,15 * MON-FRI",
            "@daily",
            "@hourly",
            "@weekly",
            "@monthly",
            "@yearly",
            "30 4 1 1 0",
            "0 0 * * 7",
            "0 12 L * *",
            "0 12 15W * *",
            "0 12 * * FRI#2",
            "0 12 * * 5L",
        ] {
            assert!(parse(pattern).is_ok(), "{pattern}: {:?}", parse(pattern).err());
        }
    }

    #[test]
    fn other_patterns_are_refused_with_what_would_be_right() {
        for pattern in [
            "",
            "nightly",
            "@nightly",
            "0 2 * *",
            "0 0 2 * * *",
            "0 0 2 * * * 2027",
            "60 2 * * *",
            "0 24 * * *",
            "0 2 0 * *",
            "0 2 * 13 *",
            "0 2 * * 8",
            "0 2 * * FUNDAY",
            "*/0 * * * *",
            "5-1 * * * *",
            "0 2 * * * ; rm",
            "0 2 L-3 * *",
            "0 2 * * MON#5-2",
        ] {
            let error = parse(pattern).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("`0 2 * * *`"), "{pattern}: {error}");
        }
        assert!(matches!(parse(&"0,".repeat(101)), Err(Error::TooLong)));
    }

    #[test]
    fn a_day_that_never_comes_is_refused_and_one_that_comes_rarely_is_not() {
        for pattern in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", ", 2 * * *", "0 2 , * *"] {
            assert!(parse(pattern).is_err(), "{pattern}");
        }
        for pattern in ["0 0 29 2 *", "0 0 29 2 +MON", "0 0 31 * *", "0 0 * * MON#5", "0 0 LW * *"]
        {
            assert!(parse(pattern).is_ok(), "{pattern}: {:?}", parse(pattern).err());
        }
    }
}
