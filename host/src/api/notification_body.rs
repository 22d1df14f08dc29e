//! The body of a channel: what each kind takes, and what is wrong with it.

use super::body::{Members, object};
use super::problem::Problem;
use crate::egress::Egress;
use crate::model::channel::{Channel, Mail, MailTls, QuietHours, Sink};
use crate::model::notice::EventKind;
use crate::notify;
use axum::body::Bytes;
use serde_json::{Map, Value};
use url::Url;

const NAME_CHARS_MAX: usize = 200;
const RECIPIENTS_MAX: usize = 50;
const TEXT_CHARS_MAX: usize = 2_000;

/// What a body sets; what it leaves out stays as it is.
pub(super) struct Wanted {
    pub(super) name: Option<String>,
    /// Of a new channel only.
    pub(super) kind: Option<String>,
    pub(super) organization: Option<String>,
    pub(super) enabled: Option<bool>,
    /// `Some(None)`: all of them.
    pub(super) events: Option<Option<Vec<EventKind>>>,
    /// `Some(None)`: never quiet. The zone may be left out.
    pub(super) quiet_hours: Option<Option<(String, String, Option<String>)>>,
    pub(super) config: Option<Map<String, Value>>,
}

/// Reads the body; `new` says whether it makes a channel.
pub(super) fn read(bytes: &Bytes, new: bool) -> Result<Wanted, Problem> {
    let mut members = Members::new(object(bytes)?);
    let name = if new { Some(members.required("name")) } else { members.text("name") };
    let kind = new.then(|| members.required("kind"));
    let organization = if new { members.text("organizationId") } else { None };
    let enabled = members.flag("enabled");
    let events = members.has("events").then(|| events(&mut members));
    let quiet = members.has("quietHours");
    let quiet_hours = members.object("quietHours");
    let config = members.object("config");
    if new && config.is_none() {
        members.fault("config", "is missing");
    }
    let long = |name: &String| name.is_empty() || name.chars().count() > NAME_CHARS_MAX;
    if !new && name.as_ref().is_some_and(long) {
        members.fault("name", format!("must have 1 to {NAME_CHARS_MAX} characters"));
    }
    let known = |kind: &String| matches!(kind.as_str(), "email" | "slack" | "webhook" | "");
    if !kind.as_ref().is_none_or(known) {
        members.fault("kind", "must be one of email, slack, webhook");
    }
    members.finish()?;
    let quiet_hours = quiet_hours.map(quiet_body).transpose()?;
    Ok(Wanted {
        name,
        kind,
        organization,
        enabled,
        events,
        quiet_hours: quiet.then_some(quiet_hours),
        config,
    })
}

fn events(members: &mut Members) -> Option<Vec<EventKind>> {
    let texts = members.list("events")?;
    let mut kinds = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        match text.parse::<EventKind>() {
            Ok(kind) if kind != EventKind::ChannelTest => kinds.push(kind),
            _ => {
                let known: Vec<&str> = EventKind::ALL
                    .into_iter()
                    .filter(|kind| *kind != EventKind::ChannelTest)
                    .map(EventKind::as_str)
                    .collect();
                let message = format!("{text:?} is no event; known are {}", known.join(", "));
                members.fault(&format!("events/{at}"), message);
            }
        }
    }
    if texts.is_empty() {
        members.fault("events", "must name an event; leave it out, or null, for all of them");
    }
    kinds.sort_unstable();
    kinds.dedup();
    Some(kinds)
}

fn quiet_body(object: Map<String, Value>) -> Result<(String, String, Option<String>), Problem> {
    let mut members = Members::at("/quietHours", object);
    let (from, to) = (members.required("from"), members.required("to"));
    let timezone = members.text("timezone");
    let zone = timezone.clone().unwrap_or_else(|| "UTC".to_owned());
    let hours = QuietHours { from: from.clone(), to: to.clone(), timezone: zone };
    if let Err((member, message)) = notify::check_quiet_hours(&hours)
        && members.faults.is_empty()
    {
        members.fault(member, message);
    }
    members.finish()?;
    Ok((from, to, timezone))
}

impl Wanted {
    /// Refuses an address that nothing may ever be sent to, as far as that shows without a lookup. One that is no address
    /// at all is left to [`configure`].
    pub(super) fn check_address(&self, egress: &Egress) -> Result<(), Problem> {
        let url = self.config.as_ref().and_then(|config| config.get("url")?.as_str());
        let Some(url) = url.filter(|url| is_http(url)).and_then(|url| Url::parse(url).ok()) else {
            return Ok(());
        };
        let refused = |reason: String| Problem::invalid_at("/config/url", reason);
        egress.permits(&url).map(drop).map_err(refused)
    }
}

/// What becomes of a channel's secret.
pub(super) enum SecretChange {
    Keep,
    Clear,
    Set(String),
}

/// Lays `config` over what the channel has, and answers what becomes of its secret.
pub(super) fn configure(
    channel: &mut Channel,
    config: Map<String, Value>,
) -> Result<SecretChange, Problem> {
    let mut members = Members::at("/config", config);
    let has_secret = channel.secret_updated_at.is_some();
    let change = match &mut channel.sink {
        Sink::Email(mail) => email(&mut members, mail, has_secret),
        Sink::Slack => slack(&mut members, has_secret),
        Sink::Webhook { url } => webhook(&mut members, url, has_secret),
    };
    members.finish()?;
    Ok(change)
}

/// A channel's sink before its configuration is laid over it; nothing in it passes the checks.
pub(super) fn blank(kind: &str) -> Sink {
    match kind {
        "slack" => Sink::Slack,
        "webhook" => Sink::Webhook { url: String::new() },
        _ => Sink::Email(Mail {
            host: String::new(),
            port: 0,
            tls: MailTls::StartTls,
            username: None,
            from: String::new(),
            to: Vec::new(),
        }),
    }
}

fn email(members: &mut Members, mail: &mut Mail, has_secret: bool) -> SecretChange {
    if members.has("host") || mail.host.is_empty() {
        mail.host = members.required("host");
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if !mail.host.is_empty() && (mail.host.len() > 253 || !mail.host.chars().all(plain)) {
            members.fault("host", "must be a host name or an address, without a port");
        }
    }
    if members.has("port") || mail.port == 0 {
        match members.take("port").map(|port| port.as_u64().and_then(|p| u16::try_from(p).ok())) {
            Some(Some(port)) if port > 0 => mail.port = port,
            Some(_) => members.fault("port", "must be a number from 1 to 65535"),
            None => members.fault("port", "is missing; 587 goes with starttls, 465 with implicit"),
        }
    }
    if members.has("tls") || mail.from.is_empty() {
        let text = members.required("tls");
        match serde_json::from_value(Value::from(text.as_str())) {
            Ok(tls) => mail.tls = tls,
            Err(_) if text.is_empty() => {}
            Err(_) => members.fault("tls", "must be one of none, starttls, implicit"),
        }
    }
    if members.has("from") || mail.from.is_empty() {
        mail.from = members.required("from");
        mailbox(members, "from", &mail.from.clone());
    }
    if members.has("to") || mail.to.is_empty() {
        let listed = members.has("to");
        mail.to = members.list("to").unwrap_or_default();
        for (at, to) in mail.to.clone().iter().enumerate() {
            mailbox(members, &format!("to/{at}"), to);
        }
        if !listed {
            members.fault("to", "is missing");
        } else if mail.to.is_empty() || mail.to.len() > RECIPIENTS_MAX {
            members.fault("to", format!("must be a list of 1 to {RECIPIENTS_MAX} addresses"));
        }
    }
    login(members, mail, has_secret)
}

fn mailbox(members: &mut Members, member: &str, text: &str) {
    if !text.is_empty() && (text.len() > TEXT_CHARS_MAX || !notify::is_mailbox(text)) {
        members.fault(member, format!("{text:?} is no e-mail address"));
    }
}

/// User name and password: both or neither.
fn login(members: &mut Members, mail: &mut Mail, has_secret: bool) -> SecretChange {
    if members.has("username") {
        mail.username = members.text("username").filter(|name| !name.is_empty());
    }
    let named = members.has("password");
    let password = secret(members, "password");
    if mail.username.as_ref().is_some_and(|name| name.chars().any(char::is_control)) {
        members.fault("username", "must not hold control characters");
    }
    match (&mail.username, password) {
        (None, Some(_)) => {
            members.fault("username", "is missing: a password needs one");
            SecretChange::Keep
        }
        (None, None) => SecretChange::Clear,
        (Some(_), Some(password)) => SecretChange::Set(password),
        (Some(_), None) if has_secret && !named => SecretChange::Keep,
        (Some(_), None) => {
            members.fault("password", "is missing: a user name needs one");
            SecretChange::Keep
        }
    }
}

/// A secret text as it is, blanks at its ends included.
fn secret(members: &mut Members, member: &'static str) -> Option<String> {
    match members.take(member)? {
        Value::String(text) if !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX => {
            Some(text)
        }
        _ => {
            members.fault(member, format!("must be a text of 1 to {TEXT_CHARS_MAX} characters"));
            None
        }
    }
}

fn slack(members: &mut Members, has_secret: bool) -> SecretChange {
    if has_secret && !members.has("url") {
        return SecretChange::Keep;
    }
    let url = members.required("url");
    // The address is a secret: what is wrong with it is said without it.
    if !url.is_empty() && !is_http(&url) {
        members.fault("url", "must be an http or https address");
    }
    SecretChange::Set(url)
}

fn webhook(members: &mut Members, url: &mut String, has_secret: bool) -> SecretChange {
    if members.has("url") || url.is_empty() {
        *url = members.required("url");
        if !url.is_empty() && !is_http(url) {
            members.fault("url", "must be an http or https address without user and fragment");
        }
    }
    if has_secret && !members.has("secret") {
        return SecretChange::Keep;
    }
    let secret = members.required("secret");
    if !secret.is_empty() && notify::signing_key(&secret).is_none() {
        let message = "must be `whsec_` and 24 to 64 random bytes in base64";
        members.fault("secret", message);
    }
    SecretChange::Set(secret)
}

fn is_http(text: &str) -> bool {
    let plain = |url: Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    };
    text.chars().count() <= TEXT_CHARS_MAX && Url::parse(text).is_ok_and(plain)
}
