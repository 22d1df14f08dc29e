//! E-mail: one message over SMTP, to a server whose address was checked. The only code that names lettre.

use super::sink::{Attempted, Verdict};
use super::text::Message;
use crate::egress::Egress;
use crate::model::channel::{Mail, MailTls};
use crate::vault::Secret;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::error::Error as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// Whether a text is an address, or a name with one.
pub fn is_mailbox(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.parse::<Mailbox>().is_ok()
}

/// Tells a mail server that no person wrote this: nobody's absence note answers it.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// What goes into one e-mail.
pub(super) struct Letter<'a> {
    pub(super) mail: &'a Mail,
    pub(super) password: Option<&'a Secret<String>>,
    pub(super) to: &'a [String],
    pub(super) message: &'a Message,
    /// The same at each attempt.
    pub(super) id: &'a str,
    /// When the message was made, in milliseconds since the epoch.
    pub(super) created_at: i64,
    pub(super) timeout: Duration,
}

pub(super) async fn send(egress: &Egress, letter: &Letter<'_>) -> Attempted {
    let message = match compose(letter) {
        Ok(message) => message,
        Err(reason) => return Attempted::retry(reason),
    };
    let Mail { host, port, tls, .. } = letter.mail;
    let reachable = match egress.addresses(host, *port).await {
        Ok(reachable) => reachable,
        Err(reason) => return Attempted::retry(reason),
    };
    if *tls == MailTls::None && !reachable.excepted {
        return Attempted::retry(format!(
            "mail would go to {host} in the clear: use `starttls` or `implicit`, or add \"{host}:{port}\" to \
             egress.allowPrivate"
        ));
    }
    let mut attempted = Attempted::retry(format!("{host} has no address"));
    for address in reachable.addresses {
        let transport = match transport(letter, address) {
            Ok(transport) => transport,
            Err(reason) => return Attempted::retry(reason),
        };
        attempted = match transport.send(message.clone()).await {
            Ok(response) => return Attempted::sent(said(response.message())),
            Err(error) => refused(&error),
        };
        if attempted.answered {
            break;
        }
    }
    attempted
}

fn said<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.collect::<Vec<_>>().join(" ")
}

fn refused(error: &lettre::transport::smtp::Error) -> Attempted {
    let mut words = error.to_string();
    if let Some(deeper) = error.source().and_then(|source| source.source()) {
        words = format!("{words}: {deeper}");
    }
    let answered = error.status().is_some();
    Attempted { answered, verdict: Verdict::Retry { reason: words, after: None } }
}

fn compose(letter: &Letter<'_>) -> Result<lettre::Message, String> {
    let mailbox = |text: &str| {
        text.parse::<Mailbox>().map_err(|error| format!("{text:?} is no e-mail address: {error}"))
    };
    let from = mailbox(&letter.mail.from)?;
    let domain = from.email.domain().to_owned();
    let date = u64::try_from(letter.created_at).unwrap_or_default();
    let mut builder: MessageBuilder = lettre::Message::builder()
        .from(from)
        .subject(letter.message.subject.clone())
        .date(SystemTime::UNIX_EPOCH + Duration::from_millis(date))
        .message_id(Some(format!("<{}@{domain}>", letter.id)))
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN);
    for to in letter.to {
        builder = builder.to(mailbox(to)?);
    }
    builder.body(letter.message.text.clone()).map_err(|error| error.to_string())
}

/// Connects to the address that was checked; the certificate must be for the name.
fn transport(
    letter: &Letter<'_>,
    address: SocketAddr,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let Mail { host, tls, username, .. } = letter.mail;
    let parameters = || TlsParameters::new(host.clone()).map_err(|error| error.to_string());
    let tls = match tls {
        MailTls::None => Tls::None,
        MailTls::StartTls => Tls::Required(parameters()?),
        MailTls::Implicit => Tls::Wrapper(parameters()?),
    };
    let mut builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
            .port(address.port())
            .timeout(Some(letter.timeout))
            .tls(tls);
    if let (Some(username), Some(password)) = (username, letter.password) {
        let credentials = Credentials::new(username.clone(), password.expose().clone());
        builder = builder.credentials(credentials);
    }
    Ok(builder.build())
}
