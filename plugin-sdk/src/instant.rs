//! Points in time, read from RFC 3339 text: strategies must not compare instants as strings.

/// A point in time. Ordered by when it happened, whatever offset it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Seconds since 1970-01-01T00:00:00Z.
    seconds: i64,
    /// 0..=999_999_999; further digits are dropped.
    nanoseconds: u32,
}

impl Instant {
    /// Reads RFC 3339: `2026-02-28T09:30:00Z`, with any offset and any number of fraction digits. A space for the `T`
    /// and lower-case letters are accepted, as RFC 3339 says. A leap second counts as the second after it.
    /// `None` for everything else, also for a date without a time or a time without an offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader(text.trim().as_bytes());
        let year = reader.digits(4)?;
        reader.expect(b"-")?;
        let month = reader.digits(2)?;
        reader.expect(b"-")?;
        let day = reader.digits(2)?;
        reader.expect(b"Tt ")?;
        let hour = reader.digits(2)?;
        reader.expect(b":")?;
        let minute = reader.digits(2)?;
        reader.expect(b":")?;
        let second = reader.digits(2)?;
        let nanoseconds = reader.fraction()?;
        let offset_s = reader.offset_s()?;
        let exists = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour <= 23
            && minute <= 59
            && second <= 60;
        if !exists || !reader.0.is_empty() {
            return None;
        }
        let seconds =
            days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
                - offset_s;
        Some(Self { seconds, nanoseconds })
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn digit(&mut self) -> Option<i64> {
        let digit = *self.0.first().filter(|byte| byte.is_ascii_digit())?;
        self.next();
        Some(i64::from(digit - b'0'))
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        (0..count).try_fold(0, |number, _| Some(number * 10 + self.digit()?))
    }

    fn expect(&mut self, any_of: &[u8]) -> Option<u8> {
        self.next().filter(|byte| any_of.contains(byte))
    }

    /// Nanoseconds; 0 where there is no fraction.
    fn fraction(&mut self) -> Option<u32> {
        if self.0.first() != Some(&b'.') {
            return Some(0);
        }
        self.next();
        let mut nanoseconds = u32::try_from(self.digit()?).ok()? * 100_000_000;
        let mut unit = 10_000_000;
        while let Some(digit) = self.digit() {
            nanoseconds += u32::try_from(digit).ok()? * unit;
            unit /= 10;
        }
        Some(nanoseconds)
    }

    fn offset_s(&mut self) -> Option<i64> {
        let sign = match self.next()? {
            b'Z' | b'z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.digits(2)?;
        self.expect(b":")?;
        let minutes = self.digits(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the years 0 to 9999 in the Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let years_before =
        |year: i64| year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let months_before: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    years_before(year) - years_before(1970) + months_before + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(i64, u32)>) {
        let expect = expect.map(|(seconds, nanoseconds)| Instant { seconds, nanoseconds });
        assert_eq!(Instant::parse(text), expect, "{text}");
    }

    #[test]
    fn reads_instants() {
        check("1970-01-01T00:00:00Z", Some((0, 0)));
        check("1969-12-31T23:59:59.5Z", Some((-1, 500_000_000)));
        check("2000-02-29T00:00:00Z", Some((951_782_400, 0)));
        check("2026-02-28T09:30:00Z", Some((1_772_271_000, 0)));
        check("2026-02-28 09:30:00z", Some((1_772_271_000, 0)));
        check("2026-02-28T10:30:00+01:00", Some((1_772_271_000, 0)));
        check("2026-02-28T04:00:00-05:30", Some((1_772_271_000, 0)));
        check("2026-02-28T09:30:00.123456789999Z", Some((1_772_271_000, 123_456_789)));
        check("0000-01-01T00:00:00Z", Some((-62_167_219_200, 0)));
        check("9999-12-31T23:59:59Z", Some((253_402_300_799, 0)));
        check("2016-12-31T23:59:60Z", Some((1_483_228_800, 0)));
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "yesterday",
            "2026-02-28",
            "2026-02-28T09:30:00",
            "2026-02-28T09:30Z",
            "2026-02-29T09:30:00Z",
            "1900-02-29T09:30:00Z",
            "2026-13-01T09:30:00Z",
            "2026-00-01T09:30:00Z",
            "2026-01-32T09:30:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T09:60:00Z",
            "2026-01-01T09:30:00.Z",
            "2026-01-01T09:30:00+0100",
            "2026-01-01T09:30:00+24:00",
            "2026-01-01T09:30:00Z!",
            "+026-01-01T09:30:00Z",
        ] {
            check(text, None);
        }
    }
}
