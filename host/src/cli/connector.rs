//! `connector`: configured uses of a connector plugin.

use super::Session;
use super::args::Paging;
use super::client::{Client, segment};
use super::lookup;
use super::org::{given, object};
use super::output::{Io, at};
use super::problem::{Exit, Problem};
use super::secret::SecretArgs;
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
        secret: SecretArgs,
    },
    /// One cheap authenticated call; exit code 1 if it fails
    Check {
        /// Name or id
        connector: String,
        /// Ask on behalf of this organization instead of the first connected one
        #[arg(long)]
        org: Option<String>,
    },
    /// How a connector has fared
    Health {
        /// Name or id
        connector: String,
    },
    /// Make a connector inactive; its history stays
    Delete {
        /// Name or id
        connector: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Status {
    Active,
    Inactive,
    Error,
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
    /// Template of the field mapping
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
        if let Some(strategy) = &self.strategy {
            let mut sync = member("syncConfig");
            sync.insert("conflictStrategy".to_owned(), strategy.as_str().into());
            body.insert("syncConfig".to_owned(), sync.into());
        }
        body.extend(given(&[("templateId", self.template.clone())]));
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
        Verb::Health { connector } => {
            let path = path(&client, &connector).await?;
            session.io.object(json, &client.get(&format!("{path}/health"), &[]).await?)?;
        }
        Verb::Delete { connector } => {
            let path = path(&client, &connector).await?;
            let tagged = client.get_tagged(&path).await?;
            client.delete(&path, &tagged).await?;
            session.io.say(&format!("{connector} is inactive; its history stays"));
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

async fn path(client: &Client, named: &str) -> Result<String, Problem> {
    Ok(format!("/connectors/{}", segment(&lookup::connector(client, named).await?)))
}

/// A check that fails is data on standard output and exit code 1.
fn checked(answer: &Value, json: bool, io: &mut Io<'_>) -> Result<Exit, Problem> {
    io.object(json, answer)?;
    let ok = at(answer, "ok").as_bool().unwrap_or(false);
    Ok(if ok { Exit::Ok } else { Exit::Failed })
}
