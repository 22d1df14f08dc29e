//! Whether a run that failed is tried again, and when. Pure: what failed, time and randomness are arguments.
//!
//! The class of an error decides, and nothing else knows the classes. Only what can pass by itself is tried again.

use crate::backoff::{JobRetry, RETRY_AFTER_MAX};
use crate::model::directory::Connector;

/// How often a run is tried again where its connector does not say otherwise.
pub const RETRIES_DEFAULT: u32 = 3;

/// How often runs of a connector are tried again.
pub fn retries_max(connector: &Connector) -> u32 {
    connector.sync_config.max_retries.unwrap_or(RETRIES_DEFAULT)
}

/// What kind of trouble an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It can pass by itself.
    Transient,
    /// It passes at a time that the remote system or the rate limit tells.
    RateLimited,
    /// A person has to log in, or to give other credentials.
    Auth,
    /// A person has to change a setting.
    Config,
    /// What the remote system holds is not as it must be.
    Data,
    /// What was asked for cannot be done any more.
    Permanent,
    /// A fault of a plugin, or of ours.
    Bug,
}

/// The class of a run's error by its code.
#[rustfmt::skip] // One line for each class reads as the table that it is.
pub fn class(code: &str) -> Class {
    match code {
        "remote.unavailable" | "remote.bad-response" | "remote.other" | "remote.cursor-expired"
        | "oauth.unavailable" | "plugin.timeout" | "plugin.cpu" | "run.timeout" | "run.storage" | "run.stage"
        | "disk.full"
            => Class::Transient,
        "remote.rate-limited" => Class::RateLimited,
        "remote.auth" | "connector.credentials" | "oauth.needs-reauth" | "oauth.not-authorized"
        | "oauth.client-refused" | "oauth.declined"
            => Class::Auth,
        "remote.config" | "remote.unsupported" | "connector.config" | "entity.unknown" | "template.entity"
        | "template.invalid" | "template.missing" | "plugin.missing" | "plugin.kind" | "strategy.missing"
            => Class::Config,
        "remote.not-found" | "run.too-few-valid" | "run.too-few-applied" | "listing.endless" | "listing.loops"
        | "listing.incomplete"
            => Class::Data,
        "run.cancelled" | "run.gone" | "run.superseded" | "run.commit" | "connector.not-active" | "connection.ended"
        | "plan.stale" | "plan.gone"
            => Class::Permanent,
        // Among them `plugin.trap`, `plugin.memory`, `plugin.limit`, `plugin.bad-answer`, `run.internal`.
        _ => Class::Bug,
    }
}

/// Whether the pages that were read so far are of no use to another attempt.
pub fn begins_anew(code: &str) -> bool {
    matches!(code, "remote.cursor-expired" | "run.stage")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub wait: JobRetry,
    /// How many retries of one run may be free of charge; further ones count.
    pub uncounted_max: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { wait: JobRetry::default(), uncounted_max: 20 }
    }
}

/// An attempt that failed, and what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub class: Class,
    /// When the remote system or the rate limit says that it may be tried again.
    pub retry_at: Option<i64>,
    /// It came further: more pages are staged than when it began.
    pub progressed: bool,
    /// Retries before it that count, and those that do not.
    pub retry_count: u32,
    pub uncounted: u32,
    /// 0 is never.
    pub retries_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has failed for good.
    GiveUp,
    Retry {
        at: i64,
        counts: bool,
    },
}

/// What follows an attempt that failed. `random` is uniform over all of `u32`.
///
/// A retry is free of charge where the remote system named the time, or where the attempt came further; after
/// `uncounted_max` of these every one counts, so that there is an end to each run.
pub fn next(attempt: &Attempt, options: &Options, now: i64, random: u32) -> Next {
    let passes = matches!(attempt.class, Class::Transient | Class::RateLimited);
    if !passes || attempt.retries_max == 0 {
        return Next::GiveUp;
    }
    // Whoever told the time: a job that waits for a year would keep its connection from every night until then.
    let latest = now.saturating_add(millis(RETRY_AFTER_MAX));
    let retry_at = attempt.retry_at.map(|at| at.min(latest));
    let free = retry_at.is_some() || attempt.progressed;
    let counts = !free || attempt.uncounted >= options.uncounted_max;
    if counts && attempt.retry_count >= attempt.retries_max {
        return Next::GiveUp;
    }
    let own = match (counts, retry_at) {
        (false, Some(_)) => 0,
        (false, None) => millis(options.wait.wait(1, random)),
        (true, _) => millis(options.wait.wait(attempt.retry_count + 1, random)),
    };
    let told = retry_at.map_or(now, |at| at.saturating_add(spread(at, now, random)));
    Next::Retry { at: told.max(now.saturating_add(own)), counts }
}

/// Runs that were told the same time do not all come at it: a little later, by up to a tenth of the wait or half a
/// minute.
fn spread(at: i64, now: i64, random: u32) -> i64 {
    const SPREAD_MILLIS_MAX: i64 = 30_000;
    let most = (at.saturating_sub(now) / 10).clamp(0, SPREAD_MILLIS_MAX);
    (most * i64::from(random)) >> 32
}

fn millis(wait: std::time::Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const FIRST: Attempt = Attempt {
        class: Class::Transient,
        retry_at: None,
        progressed: false,
        retry_count: 0,
        uncounted: 0,
        retries_max: 3,
    };

    #[track_caller]
    fn check(attempt: Attempt, expect: Next) {
        assert_eq!(next(&attempt, &Options::default(), 0, 0), expect, "{attempt:?}");
    }

    #[test]
    fn what_can_pass_is_tried_after_two_four_and_eight_minutes() {
        for (retry_count, minutes) in [(0, 2), (1, 4), (2, 8)] {
            let at = minutes * MINUTE;
            check(Attempt { retry_count, ..FIRST }, Next::Retry { at, counts: true });
        }
        check(Attempt { retry_count: 3, ..FIRST }, Next::GiveUp);
        check(Attempt { retry_count: 3, retries_max: 2, ..FIRST }, Next::GiveUp);
        let rate = Attempt { class: Class::RateLimited, ..FIRST };
        check(rate, Next::Retry { at: 2 * MINUTE, counts: true });
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        for class in [Class::Auth, Class::Config, Class::Data, Class::Permanent, Class::Bug] {
            check(Attempt { class, ..FIRST }, Next::GiveUp);
            check(Attempt { class, retry_at: Some(1), progressed: true, ..FIRST }, Next::GiveUp);
        }
        check(Attempt { retries_max: 0, ..FIRST }, Next::GiveUp);
        check(Attempt { retries_max: 0, retry_at: Some(5), ..FIRST }, Next::GiveUp);
    }

    #[test]
    fn a_time_that_was_told_costs_no_retry_and_has_an_end() {
        let told = Attempt { class: Class::RateLimited, retry_at: Some(MINUTE), ..FIRST };
        check(told, Next::Retry { at: MINUTE, counts: false });
        // Also after the last retry that counts.
        check(Attempt { retry_count: 3, ..told }, Next::Retry { at: MINUTE, counts: false });
        // A time in the past is now.
        check(Attempt { retry_at: Some(-5), ..told }, Next::Retry { at: 0, counts: false });
        // One in a year is in a day.
        let year = Attempt { retry_at: Some(365 * 1_440 * MINUTE), ..told };
        check(year, Next::Retry { at: 1_440 * MINUTE, counts: false });
        let full = Attempt { uncounted: 20, ..told };
        check(full, Next::Retry { at: 2 * MINUTE, counts: true });
        let far = Attempt { retry_at: Some(60 * MINUTE), ..full };
        check(far, Next::Retry { at: 60 * MINUTE, counts: true });
        check(Attempt { retry_count: 3, ..full }, Next::GiveUp);
    }

    #[test]
    fn an_attempt_that_came_further_costs_no_retry_and_has_an_end() {
        let further = Attempt { progressed: true, retry_count: 2, ..FIRST };
        check(further, Next::Retry { at: 2 * MINUTE, counts: false });
        check(Attempt { uncounted: 20, ..further }, Next::Retry { at: 8 * MINUTE, counts: true });
    }

    #[test]
    fn jitter_is_never_early() {
        let options = Options::default();
        let told = Attempt { retry_at: Some(100 * MINUTE), ..FIRST };
        for (attempt, nominal, most) in [(FIRST, 2 * MINUTE, 12_000), (told, 100 * MINUTE, 30_000)]
        {
            for random in [0, 1 << 20, 1 << 31, u32::MAX] {
                let Next::Retry { at, .. } = next(&attempt, &options, 0, random) else {
                    panic!("{attempt:?} is given up");
                };
                assert!((nominal..=nominal + most).contains(&at), "{at} for {random}");
            }
        }
    }

    /// Whatever happens, a run ends: at most the free retries and those that count.
    #[test]
    fn every_run_has_an_end() {
        let options = Options::default();
        for (retry_at, progressed) in [(None, false), (Some(0), false), (None, true)] {
            let mut attempt = Attempt { retry_at, progressed, ..FIRST };
            let mut attempts = 1;
            while let Next::Retry { counts, .. } = next(&attempt, &options, 0, 7) {
                attempts += 1;
                attempt.retry_count += u32::from(counts);
                attempt.uncounted += u32::from(!counts);
                assert!(attempts <= 1 + 3 + 20, "no end");
            }
        }
    }
}
