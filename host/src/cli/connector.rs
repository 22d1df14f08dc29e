//! `connector`: configured uses of a connector plugin.

use super::Session;
use super::args::Paging;
use super::client::{Client, segment};
use super::lookup;
use super::org::{given, object};
use super::output::{Io, at};
use super::problem::{Exit, Problem};
use super::secret::SecretArgs;
use crate::telemetry::escape_control;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// All connectors
    List {
        #[arg(long)]
        status: Option<Status>,
        #[arg(long, value_name = "CODE")]
        federation_code: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// A new connector
    Create(Box<CreateArgs>),
    /// One connector
    Show {
        /// Name or id
        connector: String,
    },
    /// Change a connector
    Update(Box<UpdateArgs>),
    /// Replace the credentials
    Credentials {
        /// Name or id
        connector: String,
        #[command(flatten)]
        secret: Box<SecretArgs>,
    },
    /// One cheap authenticated call; exit code 1 if it fails
    Check {
        /// Name or id
        connector: String,
        /// Ask on behalf of this organization instead of the first connected one
        #[arg(long)]
        org: Option<String>,
    },
    /// Authorize access over OAuth 2
    #[command(subcommand)]
    Oauth(Oauth),
    /// How a connector has fared
    Health {
        /// Name or id
        connector: String,
    },
    /// Switch a connector on or off
    Status {
        /// Name or id
        connector: String,
        #[arg(value_enum)]
        status: Switch,
    },
    /// A connector that was disabled is well again: it syncs from now on
    ClearErrors {
        /// Name or id
        connector: String,
    },
    /// Destroy the credentials for good, those of its connections too
    DestroyCredentials {
        /// Name or id
        connector: String,
        /// Only what the connection of this organization has of its own
        #[arg(long)]
        org: Option<String>,
    },
    /// Make a connector inactive; its history stays, its credentials for a while
    Delete {
        /// Name or id
        connector: String,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Oauth {
    /// Begin; prints the address to open in a browser
    Start(Whose),
    /// Ask for a new access token now
    Refresh(Whose),
}

#[derive(Args, Debug)]
pub(super) struct Whose {
    /// Name or id
    connector: String,
    /// Id of a connection that is authorized on its own
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Status {
    Active,
    Inactive,
    Error,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Switch {
    Active,
    Inactive,
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// Name for people
    #[arg(long)]
    name: String,
    /// Groups the connectors of one federation
    #[arg(long, value_name = "CODE")]
    federation_code: String,
    /// Connector plugin; `syncline plugin list` shows them
    #[arg(long)]
    plugin: String,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    secret: SecretArgs,
}

#[derive(Args, Debug)]
pub(super) struct UpdateArgs {
    /// Name or id
    connector: String,
    #[arg(long)]
    name: Option<String>,
    #[arg(long, value_name = "CODE")]
    federation_code: Option<String>,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args, Debug)]
struct Changes {
    /// Root of the federation's API
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Further endpoint or path template; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    endpoint: Vec<String>,
    /// The plugin's settings and the host's, as the API takes them
    #[arg(long, value_name = "JSON")]
    config_json: Option<String>,
    /// Conflict strategy of this connector
    #[arg(long)]
    strategy: Option<String>,
    /// When to sync by itself: five fields of cron, or a word such as @daily
    #[arg(long, value_name = "CRON")]
    schedule: Option<String>,
    /// IANA zone of the schedule, instead of each organization's
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Whether to sync by itself at all
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
    /// How often a run that failed is tried again
    #[arg(long, value_name = "COUNT")]
    max_retries: Option<u32>,
    /// Template of the field mapping; `default` goes back to the plugin's own
    #[arg(long, value_name = "ID")]
    template: Option<String>,
}

impl Changes {
    /// Lays what was given over the row `current`. Members that are objects are sent whole.
    fn over(&self, current: &Value) -> Result<Map<String, Value>, Problem> {
        let mut body = Map::new();
        let member = |name: &str| at(current, name).as_object().cloned().unwrap_or_default();
        if self.base_url.is_some() || !self.endpoint.is_empty() {
            let mut endpoints = member("endpoints");
            if let Some(url) = &self.base_url {
                endpoints.insert("baseUrl".to_owned(), url.as_str().into());
            }
            for pair in &self.endpoint {
                let (name, value) =
                    pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                        Problem::usage(format!("--endpoint `{pair}` is not of the form NAME=VALUE"))
                    })?;
                endpoints.insert(name.to_owned(), value.into());
            }
            body.insert("endpoints".to_owned(), endpoints.into());
        }
        if let Some(text) = &self.config_json {
            let mut config = member("config");
            config.extend(object("--config-json", text)?);
            body.insert("config".to_owned(), config.into());
        }
        let mut sync = given(&[
            ("conflictStrategy", self.strategy.clone()),
            ("schedule", self.schedule.clone()),
            ("timezone", self.timezone.clone()),
        ]);
        sync.extend(self.enabled.map(|enabled| ("enabled".to_owned(), enabled.into())));
        sync.extend(self.max_retries.map(|retries| ("maxRetries".to_owned(), retries.into())));
        if !sync.is_empty() {
            let mut whole = member("syncConfig");
            whole.append(&mut sync);
            body.insert("syncConfig".to_owned(), whole.into());
        }
        if let Some(template) = self.template.as_deref() {
            let id = Some(template).filter(|template| *template != "default");
            body.insert("templateId".to_owned(), id.into());
        }
        Ok(body)
    }
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    match verb {
        Verb::List { status, federation_code, paging } => {
            let status = status.and_then(|status| status.to_possible_value());
            let status = status.map(|value| value.get_name().to_owned());
            let [limit, cursor] = paging.query();
            let query = [("status", status), ("federationCode", federation_code), limit, cursor];
            let answer = client.get("/connectors", &query).await?;
            let columns = [
                ("ID", "id"),
                ("NAME", "name"),
                ("FEDERATION", "federationCode"),
                ("PLUGIN", "plugin"),
                ("AUTH", "authType"),
                ("STATUS", "status"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Create(args) => create(*args, &client, session).await?,
        Verb::Show { connector } => {
            let path = path(&client, &connector).await?;
            session.io.object(json, &client.get(&path, &[]).await?)?;
        }
        Verb::Update(args) => {
            let path = path(&client, &args.connector).await?;
            let tagged = client.get_tagged(&path).await?;
            let mut body = args.changes.over(&tagged.row)?;
            body.extend(given(&[("name", args.name), ("federationCode", args.federation_code)]));
            if body.is_empty() {
                return Err(Problem::usage("nothing to change was given"));
            }
            session.io.object(json, &client.patch(&path, &tagged, &body.into()).await?)?;
        }
        Verb::Credentials { connector, secret } => {
            let Some(read) = secret.read(session)? else {
                return Err(Problem::usage("no credentials were given"));
            };
            let path = path(&client, &connector).await?;
            let answer = client.put(&format!("{path}/credentials"), &read.credentials).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Check { connector, org } => {
            let path = path(&client, &connector).await?;
            let body = given(&[("organizationId", org)]);
            let answer = client.post(&format!("{path}/check"), &body.into()).await?;
            return checked(&answer, json, &mut session.io);
        }
        Verb::Oauth(verb) => oauth(verb, &client, session).await?,
        Verb::Health { connector } => {
            let path = path(&client, &connector).await?;
            session.io.object(json, &client.get(&format!("{path}/health"), &[]).await?)?;
        }
        Verb::Status { connector, status } => {
            let path = path(&client, &connector).await?;
            let status = status.to_possible_value();
            let status = status.map(|value| value.get_name().to_owned());
            let body = given(&[("status", status)]);
            let answer = client.post(&format!("{path}/status"), &body.into()).await?;
            session.io.object(json, &answer)?;
        }
        Verb::ClearErrors { connector } => {
            let path = path(&client, &connector).await?;
            let answer = client.post(&format!("{path}/clear-errors"), &json!({})).await?;
            session.io.object(json, &answer)?;
        }
        Verb::DestroyCredentials { connector, org } => {
            let path = match org {
                None => path(&client, &connector).await?,
                Some(org) => {
                    let id = lookup::connection(&client, &org, &connector).await?;
                    format!("{}/{}", lookup::connections_path(&org), segment(&id))
                }
            };
            let tagged = client.get_tagged(&path).await?;
            client.delete(&format!("{path}/credentials"), &tagged).await?;
            session.io.say("the credentials are destroyed");
            if json {
                session.io.json(&json!({ "id": tagged.row["id"], "credentials": "destroyed" }))?;
            }
        }
        Verb::Delete { connector } => {
            let path = path(&client, &connector).await?;
            let tagged = client.get_tagged(&path).await?;
            client.delete(&path, &tagged).await?;
            session.io.say(&format!(
                "{connector} is inactive; its history stays, its credentials for a while"
            ));
            if json {
                session.io.json(&json!({ "id": tagged.row["id"], "status": "inactive" }))?;
            }
        }
    }
    Ok(Exit::Ok)
}

async fn create(
    args: CreateArgs,
    client: &Client,
    session: &mut Session<'_>,
) -> Result<(), Problem> {
    if args.changes.base_url.is_none() {
        return Err(Problem::usage("--base-url is missing"));
    }
    let mut body = args.changes.over(&Value::Null)?;
    body.extend(given(&[
        ("name", Some(args.name)),
        ("federationCode", Some(args.federation_code)),
        ("plugin", Some(args.plugin)),
    ]));
    let read = args.secret.read(session)?;
    let auth_type = read.as_ref().map_or("none", |read| read.auth_type);
    body.insert("authType".to_owned(), auth_type.into());
    if let Some(read) = read {
        body.insert("credentials".to_owned(), read.credentials);
    }
    session.io.object(session.json, &client.post("/connectors", &body.into()).await?)
}

async fn oauth(verb: Oauth, client: &Client, session: &mut Session<'_>) -> Result<(), Problem> {
    let (name, whose) = match verb {
        Oauth::Start(whose) => ("start", whose),
        Oauth::Refresh(whose) => ("refresh", whose),
    };
    let path = path(client, &whose.connector).await?;
    let body = given(&[("connectionId", whose.connection)]);
    let answer = client.post(&format!("{path}/oauth/{name}"), &body.into()).await?;
    match at(&answer, "authorizationUrl").as_str() {
        Some(url) if !session.json => {
            session.io.say("open this address in a browser within ten minutes:");
            session.io.line(&escape_control(url))
        }
        _ => session.io.object(session.json, &answer),
    }
}

async fn path(client: &Client, named: &str) -> Result<String, Problem> {
    Ok(format!("/connectors/{}", segment(&lookup::connector(client, named).await?)))
}

/// A check that fails is data on standard output and exit code 1.
fn checked(answer: &Value, json: bool, io: &mut Io<'_>) -> Result<Exit, Problem> {
    io.object(json, answer)?;
    let ok = at(answer, "ok").as_bool().unwrap_or(false);
    Ok(if ok { Exit::Ok } else { Exit::Failed })
}
