//! A pattern in words, for people who read no cron.

use super::Pattern;

const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// More times of day than this are told as a rule.
const TIMES_MAX: usize = 6;

/// What a pattern says, with the zone that it means: "every day at 02:00 (Europe/Dublin)".
pub fn describe(pattern: &Pattern, zone: &str) -> String {
    let (time, is_rule) = times(pattern);
    let days = days(pattern);
    let mut words = match (days, is_rule) {
        (Some(days), false) => format!("{days} {time}"),
        (Some(days), true) => format!("{time}, {days}"),
        (None, false) => format!("every day {time}"),
        (None, true) => time,
    };
    if let Some(months) = months(pattern) {
        words.push_str(&format!(", {months}"));
    }
    format!("{words} ({zone})")
}

fn bits(set: u64) -> Vec<u16> {
    (0..64).filter(|at| set & 1 << at != 0).collect()
}

/// The time of day, and whether it is a rule such as "every 15 minutes" rather than some times.
fn times(pattern: &Pattern) -> (String, bool) {
    let (minutes, hours) = (bits(pattern.minutes), bits(pattern.hours.into()));
    let clock = |hour: &u16, minute: &u16| format!("{hour:02}:{minute:02}");
    let (Some(first), Some(last)) = (minutes.first(), minutes.last()) else {
        return (String::new(), false);
    };
    let (Some(hour_first), Some(hour_last)) = (hours.first(), hours.last()) else {
        return (String::new(), false);
    };
    if hours.len() < 24 && minutes.len() * hours.len() <= TIMES_MAX {
        let times = hours.iter().flat_map(|hour| minutes.iter().map(move |m| clock(hour, m)));
        return (format!("at {}", list(&times.collect::<Vec<_>>())), false);
    }
    let inside = minutes_in_words(&minutes);
    if hours.len() == 24 {
        return (inside, true);
    }
    let from = clock(hour_first, first);
    let words = if let (Some(step), 1) = (step(&hours, 24), minutes.len()) {
        format!("every {step} hours from {from}")
    } else if usize::from(hour_last - hour_first) + 1 == hours.len() {
        format!("{inside} from {from} to {}", clock(hour_last, last))
    } else if minutes.len() == 1 {
        let times: Vec<String> = hours.iter().map(|hour| clock(hour, first)).collect();
        return (format!("at {}", list(&times)), false);
    } else {
        let hours: Vec<String> = hours.iter().map(|hour| format!("{hour:02}")).collect();
        format!("{inside} in the hours {}", list(&hours))
    };
    (words, true)
}

fn minutes_in_words(minutes: &[u16]) -> String {
    match (minutes, step(minutes, 60)) {
        (_, Some(1)) => "every minute".to_owned(),
        (_, Some(step)) => format!("every {step} minutes"),
        ([0], _) => "every hour, on the hour".to_owned(),
        ([one], _) => format!("every hour at minute {one}"),
        _ => {
            let minutes: Vec<String> = minutes.iter().map(ToString::to_string).collect();
            format!("every hour at the minutes {}", list(&minutes))
        }
    }
}

/// The step of values that begin at 0 and go round evenly.
fn step(values: &[u16], round: u16) -> Option<u16> {
    let step = round / u16::try_from(values.len()).ok().filter(|count| *count > 1)?;
    let even = values.iter().zip(0..).all(|(value, at)| *value == at * step);
    (even && round.is_multiple_of(step)).then_some(step)
}

/// The fields of the pattern as they were read: words are numbers by now.
fn fields(pattern: &Pattern) -> Vec<&str> {
    pattern.cron.pattern.as_str().split_whitespace().collect()
}

fn days(pattern: &Pattern) -> Option<String> {
    let fields = fields(pattern);
    let of_month = fields.get(2).filter(|field| !matches!(**field, "*" | "?"));
    let of_week = fields.get(4).map(|field| field.trim_start_matches('+'));
    let of_week = of_week.filter(|field| !matches!(*field, "*" | "?"));
    let both = fields.get(4).is_some_and(|field| field.starts_with('+'));
    match (of_month, of_week) {
        (None, None) => None,
        (Some(month), None) => Some(month_days(pattern, month)),
        (None, Some(week)) => Some(week_days(pattern, week)),
        (Some(month), Some(week)) if both => {
            let week = week_days(pattern, week);
            let week = week.strip_prefix("every ").unwrap_or(&week);
            Some(format!("{}, but only on {week}", month_days(pattern, month)))
        }
        (Some(month), Some(week)) => {
            Some(format!("{} and {}", month_days(pattern, month), week_days(pattern, week)))
        }
    }
}

/// "on the 1st and 15th of the month"
fn month_days(pattern: &Pattern, field: &str) -> String {
    let plain = runs(&pattern.cron.pattern.days.values());
    let mut named: Vec<String> = plain
        .iter()
        .flat_map(|run| match run {
            (from, to) if to - from < 2 => (*from..=*to).map(nth).collect::<Vec<_>>(),
            (from, to) => vec![format!("{} to {}", nth(*from), nth(*to))],
        })
        .collect();
    for part in field.split(',') {
        match part.strip_suffix('W') {
            Some("L") => named.push("last weekday".to_owned()),
            Some(day) => {
                let day = day.parse().map_or_else(|_| day.to_owned(), nth);
                named.push(format!("weekday nearest to the {day}"));
            }
            None if part == "L" => named.push("last day".to_owned()),
            None => {}
        }
    }
    format!("on the {} of the month", list(&named))
}

/// "every Monday to Friday"
fn week_days(pattern: &Pattern, field: &str) -> String {
    let name = |day: u16| WEEKDAYS.get(usize::from(day)).copied().unwrap_or_default();
    let mut words = Vec::new();
    let plain = names(&pattern.cron.pattern.days_of_week.values(), &name);
    if !plain.is_empty() {
        words.push(format!("every {}", list(&plain)));
    }
    for part in field.split(',') {
        let (days, which) = match part.split_once('#') {
            Some((days, "L")) => (days, "last".to_owned()),
            Some((days, number)) => (days, number.parse().map_or_else(|_| String::new(), nth)),
            None => match part.strip_suffix('L') {
                Some(days) => (days, "last".to_owned()),
                None => continue,
            },
        };
        let days = days.split('-').filter_map(|day| day.parse::<u16>().ok());
        let days: Vec<String> = days.map(|day| name(day % 7).to_owned()).collect();
        words.push(format!("the {which} {} of the month", days.join(" to ")));
    }
    list(&words)
}

fn months(pattern: &Pattern) -> Option<String> {
    let values = pattern.cron.pattern.months.values();
    let name =
        |month: u16| MONTHS.get(usize::from(month.saturating_sub(1))).copied().unwrap_or_default();
    (values.len() < 12).then(|| format!("in {}", list(&names(&values, &name))))
}

/// Names of values, three and more in a row as a span.
fn names(values: &[u16], name: &dyn Fn(u16) -> &'static str) -> Vec<String> {
    let run = |(from, to): &(u16, u16)| match to - from {
        0 | 1 => (*from..=*to).map(|value| name(value).to_owned()).collect::<Vec<_>>(),
        _ => vec![format!("{} to {}", name(*from), name(*to))],
    };
    runs(values).iter().flat_map(run).collect()
}

/// Values in a row, each as its first and its last.
fn runs(values: &[u16]) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((_, to)) if *to + 1 == *value => *to = *value,
            _ => runs.push((*value, *value)),
        }
    }
    runs
}

fn nth(number: u16) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// "a, b and c"
fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::describe;

    #[test]
    fn patterns_are_told_in_words() {
        for (pattern, words) in [
            ("0 2 * * *", "every day at 02:00"),
            ("@daily", "every day at 00:00"),
            ("@hourly", "every hour, on the hour"),
            ("@weekly", "every Sunday at 00:00"),
            ("@monthly", "on the 1st of the month at 00:00"),
            ("@yearly", "on the 1st of the month at 00:00, in January"),
            ("30 14,2 * * *", "every day at 02:30 and 14:30"),
            ("0,30 2,3,4 * * *", "every day at 02:00, 02:30, 03:00, 03:30, 04:00 and 04:30"),
            ("* * * * *", "every minute"),
            ("*/1 * * * *", "every minute"),
            ("*/15 * * * *", "every 15 minutes"),
            ("0,30 * * * *", "every 30 minutes"),
            (
                "*/7 0 * * *",
                "every hour at the minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 from 00:00 to 00:56",
            ),
            ("20 * * * *", "every hour at minute 20"),
            ("5,20 * * * *", "every hour at the minutes 5 and 20"),
            ("30 */2 * * *", "every 2 hours from 00:30"),
            ("*/15 8-18 * * 1-5", "every 15 minutes from 08:00 to 18:45, every Monday to Friday"),
            ("10 8-18 * * *", "every hour at minute 10 from 08:10 to 18:10"),
            ("*/15 2,5,9 * * *", "every 15 minutes in the hours 02, 05 and 09"),
            (
                "0 1-3,5,7,9,11 * * *",
                "every day at 01:00, 02:00, 03:00, 05:00, 07:00, 09:00 and 11:00",
            ),
            ("0 9 * * MON", "every Monday at 09:00"),
            ("0 9 * * 6,7", "every Sunday and Saturday at 09:00"),
            ("0 9 1,15 * *", "on the 1st and 15th of the month at 09:00"),
            ("0 9 1-7,22 * *", "on the 1st to 7th and 22nd of the month at 09:00"),
            ("0 9 L * *", "on the last day of the month at 09:00"),
            ("0 9 LW * *", "on the last weekday of the month at 09:00"),
            ("0 9 15W * *", "on the weekday nearest to the 15th of the month at 09:00"),
            ("0 9 * * FRI#2", "the 2nd Friday of the month at 09:00"),
            ("0 9 * * 5L", "the last Friday of the month at 09:00"),
            ("0 9 13 * FRI", "on the 13th of the month and every Friday at 09:00"),
            ("0 9 13 * +FRI", "on the 13th of the month, but only on Friday at 09:00"),
            ("0 2 * 1,6-8 *", "every day at 02:00, in January and June to August"),
        ] {
            let pattern = parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(describe(&pattern, "Europe/Dublin"), format!("{words} (Europe/Dublin)"));
        }
    }
}
