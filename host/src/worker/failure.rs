//! Why a run did not get to its end, in a form that decides its status and tells a person.

use crate::backoff::RETRY_AFTER_MAX;
use crate::clock;
use crate::egress::Waits;
use crate::model::RunStatus;
use crate::model::remote::GuestError;
use crate::{ask, commit, oauth, plugin, store};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: RunStatus,
    /// Stable; a page of `docs/errors`.
    pub code: String,
    pub message: String,
    /// The page of the listing, from 1.
    pub page: Option<u64>,
    /// The credentials were refused.
    pub auth: bool,
    /// When it may be tried again, in milliseconds since the epoch, where the remote system or the rate limit tells.
    pub retry_at: Option<i64>,
}

impl Failure {
    pub fn new(code: &str, message: String) -> Failure {
        Failure {
            status: RunStatus::Failed,
            code: code.to_owned(),
            message,
            page: None,
            auth: false,
            retry_at: None,
        }
    }

    pub fn cancelled() -> Failure {
        let failure = Failure::new("run.cancelled", "the run was cancelled".to_owned());
        Failure { status: RunStatus::Cancelled, ..failure }
    }

    /// The process ends: nothing failed, and the job is given back.
    pub fn interrupted() -> Failure {
        let failure = Failure::new("run.cancelled", "the server stops".to_owned());
        Failure { status: RunStatus::Queued, ..failure }
    }

    pub fn is_interruption(&self) -> bool {
        self.status == RunStatus::Queued
    }

    pub fn at_page(self, page: u64) -> Failure {
        Failure { page: Some(page), ..self }
    }

    /// A call of the connector that gave no answer.
    pub fn of_call(error: &plugin::Error, now: i64) -> Failure {
        let auth = matches!(error, plugin::Error::Guest(GuestError::Auth(_)));
        let retry_at = match error {
            // The connector passes on what a server wrote: that may be a year. No wait, or a date that has passed, names no
            // time: retries that are free of charge would follow at once.
            plugin::Error::Guest(GuestError::RateLimited(Some(seconds @ 1..))) => {
                let wait = Duration::from_secs((*seconds).into()).min(RETRY_AFTER_MAX);
                Some(now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
            }
            _ => None,
        };
        Failure { auth, retry_at, ..Failure::new(error.code(), error.to_string()) }
    }

    /// A page of the listing that could not be read.
    pub fn of_page(error: &plugin::Error, page: u64, now: i64) -> Failure {
        let failure = Failure::of_call(error, now);
        let message = naming_page(&error.to_string(), page);
        Failure { message, ..failure }.at_page(page)
    }

    /// What a plugin makes of a request that was stopped says nothing; the rate limit that stopped it does.
    pub fn or_rate_limit(self, waits: &Waits) -> Failure {
        match waits.retry_at() {
            Some(at) if self.status == RunStatus::Failed && self.code.starts_with("remote.") => {
                let until = clock::to_text(at);
                let page = self.page.map_or_else(String::new, |page| format!("page {page}: "));
                let message = format!(
                    "{page}the next request would wait for the rate limit until {until}, which is longer than a \
                     run waits"
                );
                let code = "remote.rate-limited".to_owned();
                Failure { code, message, retry_at: Some(at), ..self }
            }
            _ => self,
        }
    }

    /// A task of the run panicked: a bug of ours, kept away from the other runs.
    pub fn panicked(error: tokio::task::JoinError) -> Failure {
        Failure::new("run.internal", format!("a part of the run ended unexpectedly: {error}"))
    }
}

impl From<oauth::Error> for Failure {
    fn from(error: oauth::Error) -> Failure {
        let message = error.to_string();
        let (code, status) = match error {
            oauth::Error::NotAuthorized => ("oauth.not-authorized", RunStatus::NeedsReauth),
            oauth::Error::NeedsReauth(_) => ("oauth.needs-reauth", RunStatus::NeedsReauth),
            oauth::Error::ClientRefused(_) => ("oauth.client-refused", RunStatus::Failed),
            oauth::Error::Unavailable(_) => ("oauth.unavailable", RunStatus::Failed),
            oauth::Error::Config(_) => ("connector.config", RunStatus::Failed),
            oauth::Error::Callback(_) | oauth::Error::Declined(_) => {
                ("oauth.declined", RunStatus::Failed)
            }
            oauth::Error::Inside(_) => ("run.internal", RunStatus::Failed),
        };
        Failure { status, ..Failure::new(code, message) }
    }
}

impl From<ask::Refusal> for Failure {
    fn from(refusal: ask::Refusal) -> Failure {
        Failure::new(refusal.code(), refusal.to_string())
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        Failure::new("run.storage", error.to_string())
    }
}

impl From<commit::Error> for Failure {
    fn from(error: commit::Error) -> Failure {
        Failure::new("run.commit", error.to_string())
    }
}

/// The words with the page before them, once: a connector that names it too need not.
fn naming_page(words: &str, page: u64) -> String {
    let named = format!("page {page}: ");
    format!("{named}{}", words.replace(&named, ""))
}

#[cfg(test)]
mod tests {
    use super::{Failure, GuestError, naming_page, plugin};

    #[test]
    fn a_wait_that_a_connector_passes_on_is_a_day_at_most() {
        for (seconds, expected) in [(600, 600), (31_536_000, 86_400), (u32::MAX, 86_400)] {
            let error = plugin::Error::Guest(GuestError::RateLimited(Some(seconds)));
            let failure = Failure::of_call(&error, 1_000);
            assert_eq!(failure.retry_at, Some(1_000 + expected * 1_000), "{seconds}");
        }
    }

    #[test]
    fn no_wait_is_no_time_to_retry_at() {
        let error = plugin::Error::Guest(GuestError::RateLimited(Some(0)));
        assert_eq!(Failure::of_call(&error, 1_000).retry_at, None);
    }

    #[test]
    fn a_page_is_named_once() {
        for (words, expected) in [
            ("the server is away", "page 3: the server is away"),
            ("page 3: the server is away", "page 3: the server is away"),
            ("unavailable: page 3: HTTP 500", "page 3: unavailable: HTTP 500"),
            ("page 31: odd", "page 3: page 31: odd"),
        ] {
            assert_eq!(naming_page(words, 3), expected);
        }
    }
}
