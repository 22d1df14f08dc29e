//! Calendar dates and instants in the forms that people and programs write.

use crate::normalize::time;
use jiff::civil::Date;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// `YYYY-MM-DD` from day, month and year between `/`, `-`, `.` or spaces, year first or last, with or without a time
/// of day. Day before month unless only the other way is a day. Years have four digits: two would be a guess.
pub(super) fn day_first(text: &str) -> Result<String, &'static str> {
    read_day_first(text).ok_or("cannot be read as a calendar date")
}

fn read_day_first(text: &str) -> Option<String> {
    let text = text.trim();
    let mut parts = text.splitn(3, ['/', '-', '.', ' ']);
    let (first, second, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let digits_len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (third, time) = (rest.get(..digits_len)?, rest.get(digits_len..)?);
    if !time.is_empty() && !time::is_time_of_day(time) {
        return None;
    }
    let number = |part: &str, digits_max: usize| -> Option<u16> {
        let is_digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        (is_digits && part.len() <= digits_max).then(|| part.parse().ok()).flatten()
    };
    let (year, month, day) = if first.len() == 4 {
        (number(first, 4)?, number(second, 2)?, number(third, 2)?)
    } else if third.len() == 4 {
        let (year, day, month) = (number(third, 4)?, number(first, 2)?, number(second, 2)?);
        if time::is_day(year, month, day) { (year, month, day) } else { (year, day, month) }
    } else {
        return None;
    };
    time::is_day(year, month, day).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

pub(super) fn parse_as(text: &str, format: &str) -> Result<String, &'static str> {
    let date = Date::strptime(format, text.trim())
        .map_err(|_| "is not a date in the form that the template gives")?;
    Ok(date.to_string())
}

pub(super) fn format(text: &str, format: &str) -> Result<String, &'static str> {
    let date: Option<Date> = time::date_part(text.trim()).and_then(|date| date.parse().ok());
    let date = date.ok_or("is not a calendar date of the form YYYY-MM-DD")?;
    strtime::format(format, date).map_err(|_| "cannot be written in the form of the template")
}

pub(super) fn in_zone(text: &str, zone: &TimeZone) -> Result<String, &'static str> {
    let instant = time::instant(text.trim()).ok_or("is not an RFC 3339 time with an offset")?;
    Ok(instant.to_zoned(zone.clone()).date().to_string())
}

/// A time in a gap of the zone is taken as after it, one that comes twice as the first. An offset in the text goes
/// before the zone.
pub(super) fn instant(text: &str, format: &str, zone: &TimeZone) -> Result<String, &'static str> {
    let wrong = "is not a time in the form that the template gives";
    let parsed = strtime::parse(format, text.trim()).map_err(|_| wrong)?;
    let instant = if parsed.offset().is_some() {
        parsed.to_timestamp()
    } else {
        let local = parsed.to_datetime();
        local.and_then(|local| zone.to_timestamp(local))
    };
    Ok(instant.map_err(|_| wrong)?.to_string())
}

/// A date whose parts cannot be confused.
fn sample() -> Date {
    jiff::civil::date(2001, 12, 25)
}

/// Why no date can be read in this form; none if one can.
pub(crate) fn parse_issue(format: &str) -> Option<String> {
    let zoned = sample().at(13, 45, 0, 0).in_tz("UTC").ok()?;
    let read = strtime::format(format, &zoned);
    let read = read.and_then(|written| Date::strptime(format, &written));
    match read {
        Ok(read) if read == sample() => None,
        Ok(_) => Some("the form must name day, month and year".to_owned()),
        Err(error) => Some(format!("no date can be read in this form: {error}")),
    }
}

/// Why no date can be written in this form; none if one can.
pub(crate) fn format_issue(format: &str) -> Option<String> {
    let written = strtime::format(format, sample());
    written.err().map(|error| format!("no date can be written in this form: {error}"))
}

/// Why no time can be read in this form; none if one can.
pub(crate) fn instant_issue(format: &str) -> Option<String> {
    let zoned = sample().at(13, 45, 0, 0).in_tz("UTC").ok()?;
    let written = match strtime::format(format, &zoned) {
        Ok(written) => written,
        Err(error) => return Some(format!("no time can be read in this form: {error}")),
    };
    match instant(&written, format, &TimeZone::UTC) {
        Ok(read) if read.starts_with("2001-12-25T13:") => None,
        Ok(_) | Err(_) => Some("the form must name a day and a time of day".to_owned()),
    }
}
