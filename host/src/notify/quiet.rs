//! Quiet hours: whether a channel keeps still at an instant, and until when. Pure.

use crate::model::channel::QuietHours;
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// What is wrong with quiet hours, in words that follow the member's name.
pub fn check(hours: &QuietHours) -> Result<(), (&'static str, String)> {
    let time = |text: &str| format!("{text:?} is no time of day such as `22:00`");
    let from = read(&hours.from).ok_or_else(|| ("from", time(&hours.from)))?;
    let to = read(&hours.to).ok_or_else(|| ("to", time(&hours.to)))?;
    if from == to {
        return Err(("to", "must differ from `from`".to_owned()));
    }
    let zone = &hours.timezone;
    let wrong = || ("timezone", format!("{zone:?} is no IANA time zone such as `Europe/Dublin`"));
    TimeZone::get(zone).map(drop).map_err(|_| wrong())
}

/// When the quiet hours that hold at `now` end, in milliseconds since the epoch; none outside of them.
pub(super) fn ends(hours: &QuietHours, now: i64) -> Option<i64> {
    let (from, to) = (read(&hours.from)?, read(&hours.to)?);
    let zone = TimeZone::get(&hours.timezone).ok()?;
    let local = Timestamp::from_millisecond(now).ok()?.to_zoned(zone.clone());
    let time = local.time();
    let quiet = if from < to { from <= time && time < to } else { time >= from || time < to };
    if !quiet {
        return None;
    }
    let day = if time < to { local.date() } else { local.date().tomorrow().ok()? };
    let end = day.to_datetime(to).to_zoned(zone).ok()?.timestamp().as_millisecond();
    (end > now).then_some(end)
}

fn read(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hours(from: &str, to: &str, timezone: &str) -> QuietHours {
        QuietHours { from: from.into(), to: to.into(), timezone: timezone.into() }
    }

    #[test]
    fn the_end_is_that_of_the_zone() {
        #[track_caller]
        fn check(from: &str, to: &str, zone: &str, now: &str, expected: Option<&str>) {
            let millis = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
            let found = ends(&hours(from, to, zone), millis(now));
            assert_eq!(found, expected.map(millis), "{from} to {to} {zone} at {now}");
        }
        let dublin = "Europe/Dublin";
        check("22:00", "07:00", dublin, "2026-01-10T21:59:59Z", None);
        check("22:00", "07:00", dublin, "2026-01-10T22:00:00Z", Some("2026-01-11T07:00:00Z"));
        check("22:00", "07:00", dublin, "2026-01-11T06:59:59Z", Some("2026-01-11T07:00:00Z"));
        check("22:00", "07:00", dublin, "2026-01-11T07:00:00Z", None);
        // Summer time: an hour earlier in UTC.
        check("22:00", "07:00", dublin, "2026-07-10T21:00:00Z", Some("2026-07-11T06:00:00Z"));
        check("12:00", "13:30", dublin, "2026-01-10T12:00:00Z", Some("2026-01-10T13:30:00Z"));
        check("12:00", "13:30", dublin, "2026-01-10T13:30:00Z", None);
        // The night in which the clocks go forward, and the one in which they go back.
        check("22:00", "07:00", dublin, "2026-03-28T23:00:00Z", Some("2026-03-29T06:00:00Z"));
        check("22:00", "07:00", dublin, "2026-10-24T22:00:00Z", Some("2026-10-25T07:00:00Z"));
        // An end that falls into the gap is the first instant behind it.
        check("00:30", "01:30", dublin, "2026-03-29T00:45:00Z", Some("2026-03-29T01:30:00Z"));
        check(
            "22:00",
            "07:00",
            "Asia/Kolkata",
            "2026-01-10T16:30:00Z",
            Some("2026-01-11T01:30:00Z"),
        );
    }

    #[test]
    fn wrong_hours_are_named() {
        #[track_caller]
        fn refused(from: &str, to: &str, zone: &str, member: &str) {
            assert_eq!(check(&hours(from, to, zone)).unwrap_err().0, member, "{from} {to} {zone}");
        }
        refused("24:00", "07:00", "UTC", "from");
        refused("9:00", "07:00", "UTC", "from");
        refused("22:00", "7", "UTC", "to");
        refused("22:00", "22:00", "UTC", "to");
        refused("22:00", "07:00", "Mars/Olympus", "timezone");
        check(&hours("22:00", "07:00", "Europe/Dublin")).unwrap();
    }
}
