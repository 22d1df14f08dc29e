//! Telling people: events on their way from what happened to e-mail, chat and webhooks.
//!
//! Owns the outbox, the grouping into messages, their text and their delivery. Must not decide what is worth an event:
//! whoever sees it happen raises it, in the transaction of what happened.

mod dispatch;
mod email;
mod group;
mod post;
mod quiet;
mod recipients;
mod sink;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod text;

pub use dispatch::{Notifier, Report};
pub use email::is_mailbox;
pub use post::signing_key;
pub use quiet::check as check_quiet_hours;
pub use sink::{delete_secret, put_secret};

use crate::backoff::RequestRetry;
use crate::model::notice::Event;
use crate::secrets;
use crate::store::{self, Txn, notices};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the channel's secret cannot be opened: {0}")]
    Secrets(#[from] secrets::Error),
    #[error("the channel's secret is no text: set it again")]
    Unreadable,
}

/// Settings, from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Without a slash at its end; links in messages begin with it.
    pub public_url: String,
    /// After a message, events of its kind are collected so long.
    pub window: Duration,
    /// Waits between attempts; the number of attempts is bounded by `retry_for` alone.
    pub retry: RequestRetry,
    /// A message is given up so long after its first attempt.
    pub retry_for: Duration,
    /// One attempt.
    pub send_max: Duration,
    /// What sends under way get at the end of the server.
    pub drain_max: Duration,
}

/// Appends an event to the outbox, in the caller's transaction: it is told if and only if that commits, and
/// the commit wakes the dispatcher.
pub fn raise(txn: &Txn, event: Event) -> Result<(), store::Error> {
    notices::raise(txn, event)
}
