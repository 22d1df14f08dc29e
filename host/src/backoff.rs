//! How long to wait before something is tried again. Owns the two schedules (requests, jobs) and the reading of
//! `Retry-After`. Pure: randomness and time are arguments, nothing here sleeps.

use jiff::Timestamp;
use jiff::fmt::strtime;
use std::time::Duration;

/// The longest wait that a `Retry-After` is read as: a server may write a year.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Retries of one request inside a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRetry {
    /// Attempts in all, the first one included.
    pub attempts_max: u32,
    /// The wait before the first retry, before jitter; it doubles with each further one.
    pub wait_first: Duration,
    /// The longest wait, before jitter.
    pub wait_max: Duration,
}

impl Default for RequestRetry {
    fn default() -> RequestRetry {
        RequestRetry {
            attempts_max: 3,
            wait_first: Duration::from_secs(1),
            wait_max: Duration::from_secs(30),
        }
    }
}

impl RequestRetry {
    /// The wait after `attempt` (1 is the first) has failed: `min(wait_first * 2^(attempt-1), wait_max)` times
    /// 50 to 100 %. `random` is uniform over all of `u32`.
    pub fn wait(&self, attempt: u32, random: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.wait_first.saturating_mul(1 << doublings).min(self.wait_max);
        let half = full / 2;
        half + share(full - half, random)
    }
}

/// Retries of a run that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRetry {
    /// The wait before the first retry, before jitter; it doubles with each further one.
    pub wait_first: Duration,
    /// The longest wait, before jitter.
    pub wait_max: Duration,
}

impl Default for JobRetry {
    fn default() -> JobRetry {
        JobRetry {
            wait_first: Duration::from_secs(2 * 60),
            wait_max: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl JobRetry {
    /// The wait before retry `retry` (1 is the first): 2, 4, 8 minutes and so on up to a day unless configured otherwise,
    /// plus up to 10 % so that jobs that failed together do not come back together. Never earlier than the nominal time.
    pub fn wait(&self, retry: u32, random: u32) -> Duration {
        let doublings = retry.saturating_sub(1).min(31);
        let nominal = self.wait_first.saturating_mul(1 << doublings).min(self.wait_max);
        nominal + share(nominal / 10, random)
    }
}

/// What a `Retry-After` value asks for: seconds, or the time until an HTTP date (zero when it has passed), at most
/// [`RETRY_AFTER_MAX`]. `None` when the value is neither.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse::<u64>().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let millis = http_date(value)?.as_millisecond().saturating_sub(now.as_millisecond());
    let wait = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The three forms that RFC 9110 makes every recipient read.
fn http_date(value: &str) -> Option<Timestamp> {
    const FORMS: [&str; 3] =
        ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    FORMS.iter().find_map(|form| {
        let date = strtime::parse(form, value).ok()?.to_datetime().ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })
}

/// `random / 2^32` of the whole.
fn share(whole: Duration, random: u32) -> Duration {
    let nanos = (whole.as_nanos() * u128::from(random)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn request_waits_double_up_to_the_cap_with_half_jitter() {
        #[track_caller]
        fn check(attempt: u32, low_millis: u128, high_millis: u128) {
            let retry = RequestRetry::default();
            assert_eq!(retry.wait(attempt, 0).as_millis(), low_millis, "lowest after {attempt}");
            let high = retry.wait(attempt, u32::MAX);
            assert!(high < Duration::from_millis(high_millis as u64), "below the full wait");
            assert_eq!(high.as_millis() + 1, high_millis, "highest after {attempt}");
        }
        check(0, 500, 1_000);
        check(1, 500, 1_000);
        check(2, 1_000, 2_000);
        check(3, 2_000, 4_000);
        check(5, 8_000, 16_000);
        check(6, 15_000, 30_000);
        check(40, 15_000, 30_000);
        check(u32::MAX, 15_000, 30_000);
    }

    #[test]
    fn jitter_moves_evenly_between_its_ends() {
        let retry = RequestRetry::default();
        assert_eq!(retry.wait(1, 1 << 31), Duration::from_millis(750));
        assert_eq!(retry.wait(1, 1 << 30), Duration::from_millis(625));
    }

    #[test]
    fn job_waits_are_two_four_eight_minutes_and_never_early() {
        #[track_caller]
        fn check(retry: u32, minutes: u64) {
            let (nominal, job) = (Duration::from_secs(60 * minutes), JobRetry::default());
            assert_eq!(job.wait(retry, 0), nominal, "retry {retry}");
            assert!(job.wait(retry, u32::MAX) < nominal + nominal / 10, "retry {retry}");
            assert!(job.wait(retry, u32::MAX) > nominal + nominal / 11, "retry {retry}");
        }
        check(0, 2);
        check(1, 2);
        check(2, 4);
        check(3, 8);
        check(11, 24 * 60);
        check(u32::MAX, 24 * 60);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        #[track_caller]
        fn check(value: &str, seconds: Option<u64>) {
            let now = "1994-11-06T08:49:00Z".parse().unwrap();
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
        check("0", Some(0));
        check(" 120 ", Some(120));
        check("31536000", Some(24 * 60 * 60));
        check("99999999999999999999999999", Some(24 * 60 * 60));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(37));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(37));
        check("Sun Nov  6 08:49:37 1994", Some(37));
        check("Sun, 06 Nov 1994 08:48:00 GMT", Some(0));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Wed, 06 Nov 2030 08:49:37 GMT", Some(24 * 60 * 60));
        check("", None);
        check("-5", None);
        check("1.5", None);
        check("soon", None);
        check("Sun, 31 Feb 1994 08:49:37 GMT", None);
    }
}
