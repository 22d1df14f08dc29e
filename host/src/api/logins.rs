//! Who may try to log in now. Pure; the caller brings the time.
//!
//! Who fails waits longer each time, by account and network together: guessing from elsewhere keeps nobody out of their
//! own account. A network that tries one account after the other waits too, and an account that is tried from very many
//! networks has a pace.

use super::pace::Pace;
use super::throttle::Throttle;
use crate::model::access::network_of;
use std::net::IpAddr;

/// Failures that cost nothing: of one account from one network, and of a network from which many may come.
const PAIR_FREE: u32 = 5;
const NETWORK_FREE: u32 = 20;
/// Failed attempts on one account from everywhere. One network alone comes nowhere near it.
const ACCOUNT_PER_MINUTE: u64 = 60;

pub(super) struct Logins {
    pairs: Throttle,
    networks: Throttle,
    accounts: Pace,
}

/// What the attempts of somebody are counted by.
struct Keys {
    network: String,
    pair: String,
}

impl Keys {
    fn of(account: &str, address: Option<IpAddr>) -> Keys {
        let network =
            address.map(network_of).map_or_else(String::new, |network| network.to_string());
        let pair = format!("{network} {account}");
        Keys { network, pair }
    }
}

impl Logins {
    pub(super) fn new() -> Logins {
        Logins {
            pairs: Throttle::new(PAIR_FREE),
            networks: Throttle::new(NETWORK_FREE),
            accounts: Pace::new(ACCOUNT_PER_MINUTE),
        }
    }

    /// Lets an attempt through, counting it as failed until it [`succeeded`](Logins::succeeded), so that many at once do
    /// not slip by; or answers how long to wait, in milliseconds. One that is refused counts nowhere.
    pub(super) fn attempt(
        &mut self,
        account: &str,
        address: Option<IpAddr>,
        now: i64,
    ) -> Result<(), i64> {
        let keys = Keys::of(account, address);
        if address.is_some() {
            self.networks.check(&keys.network, now)?;
        }
        self.pairs.check(&keys.pair, now)?;
        self.accounts.take(account, now)?;
        if address.is_some() {
            self.networks.count(&keys.network, now);
        }
        self.pairs.count(&keys.pair, now);
        Ok(())
    }

    pub(super) fn succeeded(&mut self, account: &str, address: Option<IpAddr>) {
        let keys = Keys::of(account, address);
        self.pairs.succeeded(&keys.pair);
        self.networks.forgive(&keys.network);
        self.accounts.forgive(account);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "a@north.example";
    const MINUTE: i64 = 60_000;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// A day of guesses from one address, each as soon as it may be made.
    #[test]
    fn guessing_from_elsewhere_keeps_nobody_out() {
        let mut logins = Logins::new();
        let (guesser, owner) = (address("192.0.2.1"), address("198.51.100.7"));
        let (mut now, mut guesses) = (0, 0);
        while now < 24 * 60 * MINUTE {
            match logins.attempt(ACCOUNT, guesser, now) {
                Ok(()) => guesses += 1,
                Err(wait) => now += wait,
            }
            assert_eq!(logins.attempt(ACCOUNT, owner, now), Ok(()), "after {guesses} guesses");
            logins.succeeded(ACCOUNT, owner);
        }
        assert!((1_000..1_500).contains(&guesses), "{guesses} guesses, about one a minute");
    }

    #[test]
    fn a_network_of_ipv6_is_one_guesser() {
        let mut logins = Logins::new();
        let mut attempt = |address_of: &str| logins.attempt(ACCOUNT, address(address_of), 0);
        for n in 0..PAIR_FREE {
            assert_eq!(attempt(&format!("2001:db8::{n}")), Ok(()));
        }
        assert!(attempt("2001:db8::ffff:1").is_err());
        assert_eq!(attempt("2001:db8:0:1::1"), Ok(()));
    }

    #[test]
    fn a_network_does_not_try_one_account_after_the_other() {
        let mut logins = Logins::new();
        let tried = (0..100).take_while(|n| {
            let account = format!("{n}@north.example");
            logins.attempt(&account, address("192.0.2.1"), 0).is_ok()
        });
        assert_eq!(tried.count(), NETWORK_FREE as usize);
    }

    /// What was refused because of others is no failure of one's own.
    #[test]
    fn an_account_has_a_pace_for_all_together() {
        let mut logins = Logins::new();
        for n in 0..ACCOUNT_PER_MINUTE {
            assert_eq!(logins.attempt(ACCOUNT, address(&format!("192.0.2.{n}")), 0), Ok(()));
        }
        let owner = address("198.51.100.7");
        for _ in 0..100 {
            let wait = logins.attempt(ACCOUNT, owner, 0).unwrap_err();
            assert!((1..=1_100).contains(&wait), "{wait}");
        }
        for _ in 0..PAIR_FREE {
            assert_eq!(logins.attempt(ACCOUNT, owner, MINUTE), Ok(()));
        }
        assert!(logins.attempt(ACCOUNT, owner, MINUTE).is_err());
    }
}
