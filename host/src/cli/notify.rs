//! `notify`: channels by which people are told, and the log of what was told.

use super::Session;
use super::args::Paging;
use super::client::segment;
use super::org::given;
use super::output::at;
use super::problem::{Exit, Problem};
use super::secret;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// All channels
    List {
        /// Those of one organization
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// One channel; secrets are not shown
    Show { channel: String },
    /// A new channel
    Create(Box<CreateArgs>),
    /// Switch a channel on
    Enable { channel: String },
    /// Switch a channel off; what is on its way is cancelled
    Disable { channel: String },
    /// Send a message now and show what the receiver says; exit code 1 if it refuses
    Test { channel: String },
    /// Delete a channel; its log stays
    Delete { channel: String },
    /// What was told, newest first
    Deliveries {
        /// Of one channel
        #[arg(long)]
        channel: Option<String>,
        /// Of one organization
        #[arg(long)]
        org: Option<String>,
        #[arg(long)]
        state: Option<State>,
        #[command(flatten)]
        paging: Paging,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum State {
    Collecting,
    Pending,
    Sent,
    Failed,
    Cancelled,
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    name: String,
    /// Only for events of this organization
    #[arg(long)]
    org: Option<String>,
    /// Only for this kind of event, such as runFailed; may be repeated
    #[arg(long = "event", value_name = "KIND")]
    events: Vec<String>,
    /// Keep still between two times of day, except for what is urgent: 22:00-07:00
    #[arg(long, value_name = "FROM-TO")]
    quiet: Option<String>,
    /// IANA time zone of --quiet; the organization's if absent, else UTC
    #[arg(long, value_name = "ZONE", requires = "quiet")]
    quiet_timezone: Option<String>,
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand, Debug)]
pub(super) enum Kind {
    /// Mail over SMTP
    Email {
        #[arg(long)]
        host: String,
        #[arg(long, default_value_t = 587)]
        port: u16,
        #[arg(long, default_value = "starttls")]
        tls: Tls,
        #[arg(long, requires = "password_file")]
        username: Option<String>,
        /// File of the password; `-` reads standard input
        #[arg(long, value_name = "FILE", requires = "username")]
        password_file: Option<String>,
        #[arg(long, value_name = "ADDRESS")]
        from: String,
        /// May be repeated
        #[arg(long, value_name = "ADDRESS", required = true)]
        to: Vec<String>,
    },
    /// An incoming webhook of Slack, or of a chat that takes the same form
    Slack {
        /// File of the address, which is a secret; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        url_file: String,
    },
    /// POSTs signed as Standard Webhooks define
    Webhook {
        #[arg(long)]
        url: String,
        /// File of the signing secret, `whsec_...`; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        secret_file: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Tls {
    None,
    Starttls,
    Implicit,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    match verb {
        Verb::List { org, paging } => {
            let [limit, cursor] = paging.query();
            let query = [("organization", org), limit, cursor];
            let answer = client.get("/notifications/channels", &query).await?;
            let columns = [
                ("ID", "id"),
                ("NAME", "name"),
                ("KIND", "kind"),
                ("ORGANIZATION", "organizationId"),
                ("EVENTS", "events"),
                ("ENABLED", "enabled"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Show { channel } => {
            session.io.object(json, &client.get(&path(&channel), &[]).await?)?;
        }
        Verb::Create(args) => {
            let body = body(*args, session)?;
            let answer = client.post("/notifications/channels", &body.into()).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Enable { channel } => return switch(&channel, true, session).await,
        Verb::Disable { channel } => return switch(&channel, false, session).await,
        Verb::Test { channel } => {
            let answer = client.post(&format!("{}/test", path(&channel)), &json!({})).await?;
            session.io.object(json, &answer)?;
            let ok = at(&answer, "ok").as_bool().unwrap_or(false);
            return Ok(if ok { Exit::Ok } else { Exit::Failed });
        }
        Verb::Delete { channel } => {
            let tagged = client.get_tagged(&path(&channel)).await?;
            client.delete(&path(&channel), &tagged).await?;
            session.io.say(&format!("deleted {channel}; its log stays"));
            if json {
                session.io.json(&json!({ "id": channel, "deleted": true }))?;
            }
        }
        Verb::Deliveries { channel, org, state, paging } => {
            let state = state.and_then(|state| state.to_possible_value());
            let state = state.map(|value| value.get_name().to_owned());
            let [limit, cursor] = paging.query();
            let query =
                [("channel", channel), ("organization", org), ("state", state), limit, cursor];
            let answer = client.get("/notifications/deliveries", &query).await?;
            let columns = [
                ("ID", "id"),
                ("CHANNEL", "channelId"),
                ("EVENTS", "events"),
                ("COUNT", "eventCount"),
                ("STATE", "state"),
                ("ATTEMPTS", "attempts"),
                ("NEXT", "nextAttemptAt"),
                ("LAST ERROR", "lastError"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
    }
    Ok(Exit::Ok)
}

fn path(channel: &str) -> String {
    format!("/notifications/channels/{}", segment(channel))
}

async fn switch(channel: &str, on: bool, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let tagged = client.get_tagged(&path(channel)).await?;
    let answer = client.patch(&path(channel), &tagged, &json!({ "enabled": on })).await?;
    session.io.object(session.json, &answer)?;
    Ok(Exit::Ok)
}

fn body(args: CreateArgs, session: &mut Session<'_>) -> Result<Map<String, Value>, Problem> {
    let CreateArgs { name, org, events, quiet, quiet_timezone, kind } = args;
    let mut body = given(&[("name", Some(name)), ("organizationId", org)]);
    if !events.is_empty() {
        body.insert("events".to_owned(), events.into());
    }
    if let Some(quiet) = quiet {
        let (from, to) = quiet.split_once('-').ok_or_else(|| {
            Problem::usage(format!("--quiet `{quiet}` is not of the form 22:00-07:00"))
        })?;
        let hours = [
            ("from", Some(from.to_owned())),
            ("to", Some(to.to_owned())),
            ("timezone", quiet_timezone),
        ];
        body.insert("quietHours".to_owned(), given(&hours).into());
    }
    let input = &mut *session.io.input;
    let (kind, config) = match kind {
        Kind::Email { host, port, tls, username, password_file, from, to } => {
            let tls = tls.to_possible_value().map(|value| value.get_name().to_owned());
            let password = password_file.map(|file| secret::from_file(&file, input)).transpose()?;
            let texts = [
                ("host", Some(host)),
                ("tls", tls),
                ("username", username),
                ("password", password),
                ("from", Some(from)),
            ];
            let mut config = given(&texts);
            config.insert("port".to_owned(), port.into());
            config.insert("to".to_owned(), to.into());
            ("email", config)
        }
        Kind::Slack { url_file } => {
            let url = secret::from_file(&url_file, input)?;
            ("slack", given(&[("url", Some(url))]))
        }
        Kind::Webhook { url, secret_file } => {
            let secret = secret::from_file(&secret_file, input)?;
            ("webhook", given(&[("url", Some(url)), ("secret", Some(secret))]))
        }
    };
    body.insert("kind".to_owned(), kind.into());
    body.insert("config".to_owned(), config.into());
    Ok(body)
}
