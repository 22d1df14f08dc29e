//! E-mail: one message over SMTP, to a server whose address was checked. The only code that names lettre.

use super::sink::{Attempted, Verdict};
use super::text::Message;
use crate::egress::Egress;
use crate::model::channel::{Mail, MailTls};
use crate::vault::Secret;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use std::error::Error as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// A recipient that was put off so often is left out where the server takes the message for others.
const PUT_OFF_MAX: u32 = 5;

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
    /// Attempts before this one.
    pub(super) tries: u32,
    pub(super) timeout: Duration,
}

/// Why a mail server did not take a message.
enum Fault {
    /// It cannot be talked to, or would take no other message either.
    Server(smtp::Error),
    /// It does not want this one, or knows none of its recipients.
    Message(String),
}

impl From<smtp::Error> for Fault {
    fn from(error: smtp::Error) -> Fault {
        Fault::Server(error)
    }
}

pub(super) async fn send(egress: &Egress, letter: &Letter<'_>) -> Attempted {
    let message = match compose(letter) {
        Ok(message) => message,
        Err(reason) => return Attempted::refused(reason),
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
        attempted = match deliver(letter, address, &message).await {
            Ok(answer) => return Attempted::sent(answer),
            Err(Fault::Message(reason)) => return Attempted::refused(reason),
            Err(Fault::Server(error)) => Attempted {
                answered: error.status().is_some(),
                verdict: Verdict::Retry { reason: words(&error), after: None },
            },
        };
        if attempted.answered {
            break;
        }
    }
    attempted
}

fn words(error: &smtp::Error) -> String {
    match error.source().and_then(|source| source.source()) {
        Some(deeper) => format!("{error}: {deeper}"),
        None => error.to_string(),
    }
}

async fn deliver(
    letter: &Letter<'_>,
    address: SocketAddr,
    message: &lettre::Message,
) -> Result<String, Fault> {
    let mut connection = connect(letter, address).await?;
    let outcome = converse(&mut connection, letter, message).await;
    connection.abort().await;
    outcome
}

/// Connects to the address that was checked; the certificate must be for the name.
async fn connect(
    letter: &Letter<'_>,
    address: SocketAddr,
) -> Result<AsyncSmtpConnection, smtp::Error> {
    let Mail { host, tls, username, .. } = letter.mail;
    let implicit = match tls {
        MailTls::Implicit => Some(TlsParameters::new(host.clone())?),
        MailTls::None | MailTls::StartTls => None,
    };
    let (hello, timeout) = (ClientId::default(), Some(letter.timeout));
    let mut connection =
        AsyncSmtpConnection::connect_tokio1(address, timeout, &hello, implicit, None).await?;
    if *tls == MailTls::StartTls {
        connection.starttls(TlsParameters::new(host.clone())?, &hello).await?;
    }
    if let (Some(username), Some(password)) = (username, letter.password) {
        let credentials = Credentials::new(username.clone(), password.expose().clone());
        connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
    }
    Ok(connection)
}

/// Hands the message over for all recipients that the server takes: one dead mailbox keeps it from nobody else.
async fn converse(
    connection: &mut AsyncSmtpConnection,
    letter: &Letter<'_>,
    message: &lettre::Message,
) -> Result<String, Fault> {
    let (envelope, content) = (message.envelope(), message.formatted());
    let mut parameters = Vec::new();
    let mut addresses = envelope.from().into_iter().chain(envelope.to());
    let is_ascii = addresses.all(|address| address.to_string().is_ascii());
    if !is_ascii && connection.server_info().supports_feature(Extension::SmtpUtfEight) {
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !content.is_ascii() {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(MailFrom::new(envelope.from().cloned(), parameters)).await?;
    let (mut taken, mut refused, mut put_off) = (0_usize, Vec::new(), None);
    for to in envelope.to() {
        match connection.command(Rcpt::new(to.clone(), Vec::new())).await {
            Ok(_) => taken += 1,
            Err(error) if error.is_permanent() => {
                refused.push(format!("{to}: {}", words(&error)));
            }
            Err(error) if error.is_transient() => {
                if letter.tries >= PUT_OFF_MAX {
                    refused.push(format!("{to}: {}", words(&error)));
                }
                put_off = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(error) = put_off.filter(|_| taken == 0 || letter.tries < PUT_OFF_MAX) {
        return Err(error.into());
    }
    if taken == 0 {
        return Err(Fault::Message(refused.join("; ")));
    }
    connection.command(Data).await.map_err(fault_of_content)?;
    let response = connection.message(&content).await.map_err(fault_of_content)?;
    let answer = response.message().collect::<Vec<_>>().join(" ");
    match refused.is_empty() {
        true => Ok(answer),
        false => Ok(format!("{answer}; not taken for {}", refused.join("; "))),
    }
}

/// What a server refuses for good once it took sender and recipients is the message.
fn fault_of_content(error: smtp::Error) -> Fault {
    match error.is_permanent() {
        true => Fault::Message(words(&error)),
        false => Fault::Server(error),
    }
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
