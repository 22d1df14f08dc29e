//! What a remote system says of its own rate limit, in the headers of an answer. Pure: reads, and decides nothing.
//!
//! Must not trust: a number may be missing, absurd or of a form that nobody wrote down.

use crate::backoff::{self, RETRY_AFTER_MAX};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use std::time::Duration;

/// Numbers from here on are seconds since the epoch: a delta of thirty years means nothing.
const EPOCH_SECONDS_MIN: f64 = 1e9;
/// From here on they are milliseconds since the epoch.
const EPOCH_MILLIS_MIN: f64 = 1e11;

/// What one answer taught.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Quota {
    /// Nothing may be sent for so long.
    pub(super) pause: Option<Duration>,
    /// How many requests may follow before the quota is filled again.
    pub(super) remaining: Option<u64>,
    /// The time until then.
    pub(super) reset: Option<Duration>,
    /// Requests per minute, where the length of the window is told too.
    pub(super) per_minute: Option<f64>,
}

impl Quota {
    /// Reads `Retry-After` of a 429 or 503, `RateLimit` with `RateLimit-Policy`, `RateLimit-*` and `X-RateLimit-*`.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Quota {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let either = |name: &str| text(name).or_else(|| text(&format!("x-{name}")));
        let busy =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let retry_after = text("retry-after").filter(|_| busy);
        let mut quota = Quota {
            pause: retry_after.and_then(|value| backoff::retry_after(value, now)),
            remaining: either("ratelimit-remaining").and_then(count),
            reset: either("ratelimit-reset").and_then(|value| reset(value, now)),
            per_minute: None,
        };
        if let Some((remaining, wait)) = text("ratelimit").and_then(|value| tightest(value, now)) {
            (quota.remaining, quota.reset) = (Some(remaining), wait);
        }
        let policy = text("ratelimit-policy").or_else(|| either("ratelimit-limit"));
        quota.per_minute = policy.and_then(slowest);
        // A refusal that names no pause but the time at which the quota is filled again means that time.
        if status == StatusCode::TOO_MANY_REQUESTS && quota.pause.is_none() {
            quota.pause = quota.reset;
        }
        quota
    }

    /// How long nothing may be sent.
    pub(super) fn closed_for(&self) -> Option<Duration> {
        let used_up = self.reset.filter(|_| self.remaining == Some(0));
        self.pause.max(used_up).filter(|pause| !pause.is_zero())
    }
}

/// A whole number, or the first of a list.
fn count(text: &str) -> Option<u64> {
    text.split([',', ';']).next()?.trim().parse().ok()
}

/// The time until the quota is filled again: seconds from now, a point in time in seconds or milliseconds since the
/// epoch, or an HTTP date.
fn reset(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let Ok(number) = text.parse::<f64>() else {
        return backoff::retry_after(text, now);
    };
    let now_millis = now.as_millisecond() as f64;
    let millis = match number {
        _ if !number.is_finite() || number < 0.0 => return None,
        _ if number >= EPOCH_MILLIS_MIN => number - now_millis,
        _ if number >= EPOCH_SECONDS_MIN => number * 1e3 - now_millis,
        _ => number * 1e3,
    };
    Some(Duration::from_millis(millis.max(0.0) as u64).min(RETRY_AFTER_MAX))
}

/// `"default";r=50;t=30` and `limit=100, remaining=50, reset=30`: the quota with the fewest requests left.
fn tightest(text: &str, now: Timestamp) -> Option<(u64, Option<Duration>)> {
    let left = |item: &str| {
        let remaining = parameter(item, &["r", "remaining"]).and_then(count)?;
        Some((remaining, parameter(item, &["t", "reset"]).and_then(|value| reset(value, now))))
    };
    // The older form spreads one quota over the list.
    let old = text.split(',').any(|item| item.trim_start().starts_with("remaining="));
    let joined = text.replace(',', ";");
    if old {
        return left(&joined);
    }
    text.split(',').filter_map(left).min_by_key(|(remaining, _)| *remaining)
}

/// `"default";q=100;w=60` and `100, 100;w=60`: the slowest pace among the policies that tell their window.
fn slowest(text: &str) -> Option<f64> {
    let pace = |item: &str| {
        let window = parameter(item, &["w"]).and_then(count).filter(|seconds| *seconds > 0)?;
        let quota = parameter(item, &["q"]).or_else(|| item.split(';').next()).and_then(count)?;
        Some(quota as f64 * 60.0 / window as f64)
    };
    text.split(',').filter_map(pace).filter(|pace| *pace > 0.0).min_by(f64::total_cmp)
}

/// The value of one of these parameters of an item.
fn parameter<'a>(item: &'a str, names: &[&str]) -> Option<&'a str> {
    let pairs = item.split(';').filter_map(|part| part.split_once('='));
    let mut found = pairs.filter(|(name, _)| names.contains(&name.trim()));
    found.next().map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    /// 2026-11-20T12:00:00Z.
    const NOW: i64 = 1_795_176_000;

    #[track_caller]
    fn read(status: u16, lines: &[(&'static str, &str)]) -> Quota {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        let now = Timestamp::from_second(NOW).unwrap();
        Quota::read(StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn retry_after_pauses_where_the_server_refuses() {
        let quota = |status, value| read(status, &[("retry-after", value)]).closed_for();
        assert_eq!(quota(429, "7"), seconds(7));
        assert_eq!(quota(503, "7"), seconds(7));
        assert_eq!(quota(429, "Fri, 20 Nov 2026 12:00:09 GMT"), seconds(9));
        assert_eq!(quota(429, "31536000"), Some(RETRY_AFTER_MAX));
        assert_eq!(quota(429, "0"), None);
        assert_eq!(quota(429, "soon"), None);
        assert_eq!(quota(200, "7"), None, "a good answer says when to ask again, not to be silent");
    }

    #[test]
    fn a_quota_that_is_used_up_pauses_until_it_is_filled() {
        #[track_caller]
        fn check(value: &str, expected: Option<Duration>) {
            for prefix in ["x-ratelimit", "ratelimit"] {
                let remaining = if prefix == "ratelimit" {
                    "ratelimit-remaining"
                } else {
                    "x-ratelimit-remaining"
                };
                let reset =
                    if prefix == "ratelimit" { "ratelimit-reset" } else { "x-ratelimit-reset" };
                let quota = read(200, &[(remaining, "0"), (reset, value)]);
                assert_eq!(quota.closed_for(), expected, "{reset}: {value}");
                let quota = read(200, &[(remaining, "3"), (reset, value)]);
                assert_eq!((quota.closed_for(), quota.remaining), (None, Some(3)), "{value}");
            }
        }
        check("30", seconds(30));
        check("1.5", Some(Duration::from_millis(1_500)));
        check(&(NOW + 45).to_string(), seconds(45));
        check(&((NOW + 45) * 1_000).to_string(), seconds(45));
        check(&(NOW - 45).to_string(), None);
        check("Fri, 20 Nov 2026 12:00:09 GMT", seconds(9));
        check(&(NOW + 99 * 86_400).to_string(), Some(RETRY_AFTER_MAX));
        check("-1", None);
        check("NaN", None);
        check("inf", None);
        check("", None);
    }

    #[test]
    fn a_refusal_without_retry_after_waits_for_the_reset() {
        assert_eq!(read(429, &[("x-ratelimit-reset", "12")]).closed_for(), seconds(12));
        let both = [("retry-after", "5"), ("x-ratelimit-reset", "12")];
        assert_eq!(read(429, &both).closed_for(), seconds(5));
        assert_eq!(read(429, &[]).closed_for(), None);
    }

    #[test]
    fn the_structured_forms_are_read() {
        #[track_caller]
        fn check(value: &str, remaining: Option<u64>, reset: Option<Duration>) {
            let quota = read(200, &[("ratelimit", value)]);
            assert_eq!((quota.remaining, quota.reset), (remaining, reset), "{value}");
        }
        check("limit=100, remaining=50, reset=30", Some(50), seconds(30));
        check("\"default\";r=50;t=30", Some(50), seconds(30));
        check("\"hour\";r=50;t=1800, \"burst\";r=2;t=5", Some(2), seconds(5));
        check("\"default\";r=0", Some(0), None);
        check("nonsense", None, None);
        check("", None, None);
    }

    #[test]
    fn the_pace_is_learned_where_the_window_is_told() {
        #[track_caller]
        fn check(name: &'static str, value: &str, per_minute: Option<f64>) {
            assert_eq!(read(200, &[(name, value)]).per_minute, per_minute, "{name}: {value}");
        }
        check("ratelimit-policy", "\"default\";q=100;w=60", Some(100.0));
        check("ratelimit-policy", "100;w=60", Some(100.0));
        check("ratelimit-policy", "10;w=1, 300;w=3600", Some(5.0));
        check("ratelimit-limit", "100, 100;w=30", Some(200.0));
        check("x-ratelimit-limit", "100", None);
        check("ratelimit-policy", "100;w=0", None);
        check("ratelimit-policy", "0;w=60", None);
    }
}
