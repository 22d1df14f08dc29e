//! A channel's secret, and one attempt at a message, whatever the kind of its channel: sends, masks what comes back.

use super::text::{self, Message};
use super::{Error, email, post};
use crate::egress::Egress;
use crate::model::channel::{Channel, Sink};
use crate::model::ids::ChannelId;
use crate::secrets;
use crate::store::{self, Read, Txn};
use crate::vault::{Keyring, Place, Secret};
use std::time::Duration;

/// The longest piece of a receiver's words that is kept, in characters.
const WORDS_CHARS_MAX: usize = 300;
/// Shorter secrets would also be found where nobody repeated them.
const SECRET_CHARS_MIN: usize = 4;
const MASK: &str = "***";

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver took it.
    Sent { answer: String },
    /// Not now; `after` is what the receiver asked for.
    Retry { reason: String, after: Option<Duration> },
    /// Not this message: others may get through.
    Refused { reason: String },
    /// The receiver wants no more messages, ever.
    Gone { reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempted {
    pub(super) verdict: Verdict,
    /// The receiver said something: another address of it would say the same.
    pub(super) answered: bool,
}

impl Attempted {
    pub(super) fn sent(answer: String) -> Attempted {
        Attempted { answered: true, verdict: Verdict::Sent { answer } }
    }

    pub(super) fn retry(reason: String) -> Attempted {
        Attempted { answered: false, verdict: Verdict::Retry { reason, after: None } }
    }

    pub(super) fn refused(reason: String) -> Attempted {
        Attempted { answered: true, verdict: Verdict::Refused { reason } }
    }
}

/// What one attempt needs beyond the channel.
pub(super) struct Attempt<'a> {
    pub(super) channel: ChannelId,
    pub(super) message: &'a Message,
    /// The same at each attempt.
    pub(super) id: &'a str,
    /// When the message was made, and now, in milliseconds since the epoch.
    pub(super) created_at: i64,
    pub(super) now: i64,
    /// Instead of the channel's own recipients.
    pub(super) to: Option<&'a [String]>,
    /// Attempts before this one.
    pub(super) tries: u32,
    pub(super) timeout: Duration,
}

/// Seals and stores a channel's secret: the password, the secret address or the signing secret.
pub fn put_secret(
    txn: &Txn,
    keys: &Keyring,
    channel: &Channel,
    secret: &str,
    now: i64,
) -> Result<(), Error> {
    let row = channel.id.to_string();
    Ok(secrets::put(txn, keys, place(channel, &row), secret.as_bytes(), now)?)
}

/// Takes a channel's secret away, if it has one.
pub fn delete_secret(txn: &Txn, channel: &Channel) -> Result<(), store::Error> {
    secrets::delete(txn, place(channel, &channel.id.to_string())).map(drop)
}

fn place<'a>(channel: &'a Channel, row: &'a str) -> Place<'a> {
    let organization = channel.organization.as_ref().map(|own| own.id.as_str());
    Place { table: "channels", organization, row, field: "secret" }
}

pub(super) fn secret(
    read: &dyn Read,
    keys: &Keyring,
    channel: &Channel,
) -> Result<Option<Secret<String>>, Error> {
    let opened = secrets::open(read, keys, place(channel, &channel.id.to_string()))?;
    opened.map(|opened| opened.into_text().map_err(|_| Error::Unreadable)).transpose()
}

/// Sends once. Never longer than the timeout.
pub(super) async fn send(
    egress: &std::sync::Arc<Egress>,
    channel: &Channel,
    secret: Option<&Secret<String>>,
    attempt: &Attempt<'_>,
) -> Verdict {
    let sent = async {
        match &channel.sink {
            Sink::Email(mail) => {
                let to = attempt.to.unwrap_or(&mail.to);
                if to.is_empty() {
                    return Attempted::refused("there is nobody to write to".to_owned());
                }
                let letter = email::Letter {
                    mail,
                    password: secret,
                    to,
                    message: attempt.message,
                    id: attempt.id,
                    created_at: attempt.created_at,
                    tries: attempt.tries,
                    timeout: attempt.timeout,
                };
                email::send(egress, &letter).await
            }
            Sink::Slack => post::slack(egress, secret, attempt).await,
            Sink::Webhook { url } => post::webhook(egress, url, secret, attempt).await,
        }
    };
    let sent = tokio::time::timeout(attempt.timeout, sent).await;
    let seconds = attempt.timeout.as_secs();
    let attempted =
        sent.unwrap_or_else(|_| Attempted::retry(format!("no answer within {seconds} s")));
    shown(attempted.verdict, secret)
}

/// The receiver's words as one line that holds no secret.
fn shown(verdict: Verdict, secret: Option<&Secret<String>>) -> Verdict {
    let clean = |words: String| text::line(&masked(words, secret), WORDS_CHARS_MAX);
    match verdict {
        Verdict::Sent { answer } => Verdict::Sent { answer: clean(answer) },
        Verdict::Retry { reason, after } => Verdict::Retry { reason: clean(reason), after },
        Verdict::Refused { reason } => Verdict::Refused { reason: clean(reason) },
        Verdict::Gone { reason } => Verdict::Gone { reason: clean(reason) },
    }
}

/// A receiver may repeat what it was sent: as it was, in base64, or the path of an address alone.
fn masked(words: String, secret: Option<&Secret<String>>) -> String {
    use base64::Engine as _;
    let Some(secret) = secret else { return words };
    let secret = secret.expose();
    let path = secret.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    let mut forms = vec![
        secret.clone(),
        base64::engine::general_purpose::STANDARD.encode(secret),
        secret.trim_start_matches(post::SECRET_PREFIX).to_owned(),
    ];
    forms.extend(path.map(|(_, path)| path.to_owned()));
    let long = forms.iter().filter(|form| form.chars().count() >= SECRET_CHARS_MIN);
    long.fold(words, |words, form| words.replace(form.as_str(), MASK))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_that_repeats_a_secret_is_not_quoted() {
        #[track_caller]
        fn check(secret: &str, words: &str, expected: &str) {
            let secret = Secret::new(secret.to_owned());
            let verdict = Verdict::Retry { reason: words.to_owned(), after: None };
            let Verdict::Retry { reason, .. } = shown(verdict, Some(&secret)) else { return };
            assert_eq!(reason, expected);
        }
        check("canary-7f", "535 canary-7f is wrong", "535 *** is wrong");
        check("canary-7f", "535 Y2FuYXJ5LTdm", "535 ***");
        check("https://hooks.example/T0/B1/xyz", "no_team at /T0/B1/xyz", "no_team at /***");
        check("whsec_AAECAwQ=", "got AAECAwQ=", "got ***");
        check("abc", "an abc of errors", "an abc of errors");
        check("canary-7f", "550 no\r\nX-Header: 1", "550 no\\r\\nX-Header: 1");
    }
}
