//! When an access token is replaced, when it is dead, and when no other is asked for. Pure: chance and time are arguments.

use super::Error;
use crate::model::oauth::{BlockedReason, Grant};

/// A token is replaced at least this long before it expires, unless it lives hardly longer.
const SKEW_MILLIS_MIN: i64 = 60_000;

/// The grant with the times of a token that was asked for at `asked_at` and lives for `life` milliseconds. `random` is
/// uniform over all of `u32`.
pub(super) fn lived(grant: Grant, asked_at: i64, life: Option<i64>, random: u32) -> Grant {
    Grant {
        issued_at: asked_at,
        expires_at: life.map(|life| asked_at.saturating_add(life)),
        refresh_at: life.map(|life| asked_at.saturating_add(life - skew(life, random))),
        ..grant
    }
}

/// How long before its end a token is replaced: a minute or a tenth of its life, whichever is longer, up to a tenth more
/// at random; never more than half of its life.
fn skew(life: i64, random: u32) -> i64 {
    let least = SKEW_MILLIS_MIN.max(life / 10);
    let jitter = (i128::from(least / 10) * i128::from(random)) >> 32;
    (least + i64::try_from(jitter).unwrap_or(0)).min(life / 2)
}

pub(super) fn is_due(grant: &Grant, now: i64) -> bool {
    grant.refresh_at.is_some_and(|at| at <= now)
}

pub(super) fn is_dead(grant: &Grant, now: i64) -> bool {
    grant.expires_at.is_some_and(|at| at <= now)
}

/// The error of a grant whose tokens are not to be used until somebody acts.
pub(super) fn unblocked(grant: &Grant) -> Result<(), Error> {
    let Some(blocked) = &grant.blocked else { return Ok(()) };
    Err(match blocked.reason {
        BlockedReason::NeedsReauth => Error::NeedsReauth(blocked.message.clone()),
        BlockedReason::ClientRefused => Error::ClientRefused(blocked.message.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_ahead_of_its_end() {
        #[track_caller]
        fn check(life_seconds: i64, least: i64, most: i64) {
            assert_eq!(skew(life_seconds * 1000, 0), least, "least");
            assert_eq!(skew(life_seconds * 1000, u32::MAX), most, "most");
        }
        check(3_600, 360_000, 395_999);
        check(900, 90_000, 98_999);
        check(300, 60_000, 65_999);
        check(60, 30_000, 30_000);
        check(2, 1_000, 1_000);
        check(0, 0, 0);
    }
}
