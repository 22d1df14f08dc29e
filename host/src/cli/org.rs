//! `org`: organizations and their connections.

use super::Session;
use super::args::Paging;
use super::client::{Client, segment};
use super::lookup::{self, connections_path};
use super::problem::{Exit, Problem};
use super::secret::SecretArgs;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// All organizations
    List(Paging),
    /// A new organization
    Create(CreateArgs),
    /// One organization
    Show { org: String },
    /// Change an organization
    Update(UpdateArgs),
    /// Delete an organization that nothing is connected to
    Delete { org: String },
    /// Connect an organization to a connector
    Connect(ConnectArgs),
    /// Change a connection
    Configure(ConfigureArgs),
    /// Credentials of one connection, which go before the connector's
    Credentials {
        org: String,
        /// Name or id
        connector: String,
        #[command(flatten)]
        secret: Box<SecretArgs>,
    },
    /// End a connection; its history stays
    Disconnect {
        org: String,
        /// Name or id
        connector: String,
    },
    /// The connections of an organization
    Connections {
        org: String,
        #[command(flatten)]
        paging: Paging,
    },
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    name: String,
    /// Id to use in addresses; made by the server if absent
    #[arg(long)]
    id: Option<String>,
    /// IANA time zone, such as Europe/Dublin
    #[arg(long)]
    timezone: Option<String>,
    /// Country whose form local phone numbers have, such as IE
    #[arg(long, value_name = "REGION")]
    default_region: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct UpdateArgs {
    org: String,
    #[arg(long)]
    name: Option<String>,
    /// IANA time zone, such as Europe/Dublin
    #[arg(long)]
    timezone: Option<String>,
    /// Country whose form local phone numbers have, such as IE
    #[arg(long, value_name = "REGION")]
    default_region: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct ConfigureArgs {
    org: String,
    /// Name or id
    connector: String,
    /// What the federation calls this organization
    #[arg(long, value_name = "ID")]
    federation_org_id: Option<String>,
    /// Conflict strategy of this connection; `default` goes back to the connector's
    #[arg(long)]
    strategy: Option<String>,
    /// Whether deliveries of the federation are heard
    #[arg(long, value_name = "true|false")]
    webhooks: Option<bool>,
    /// Settings by entity, as the API takes them
    #[arg(long, value_name = "JSON")]
    entities_json: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct ConnectArgs {
    org: String,
    /// Name or id
    connector: String,
    /// What the federation calls this organization
    #[arg(long, value_name = "ID")]
    federation_org_id: String,
    /// Conflict strategy of this connection
    #[arg(long)]
    strategy: Option<String>,
    /// Settings by entity, as the API takes them: {"member": {"direction": "pull", ...}}
    #[arg(long, value_name = "JSON")]
    entities_json: Option<String>,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    match verb {
        Verb::List(paging) => {
            let answer = client.get("/organizations", &paging.query()).await?;
            let columns = [("ID", "id"), ("NAME", "name"), ("TIMEZONE", "timezone")];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Create(args) => {
            let body = given(&[
                ("name", Some(args.name)),
                ("id", args.id),
                ("timezone", args.timezone),
                ("defaultRegion", args.default_region),
            ]);
            session.io.object(json, &client.post("/organizations", &body.into()).await?)?;
        }
        Verb::Show { org } => {
            let path = format!("/organizations/{}", segment(&org));
            session.io.object(json, &client.get(&path, &[]).await?)?;
        }
        Verb::Update(args) => {
            let path = format!("/organizations/{}", segment(&args.org));
            let body = given(&[
                ("name", args.name),
                ("timezone", args.timezone),
                ("defaultRegion", args.default_region),
            ]);
            if body.is_empty() {
                return Err(Problem::usage("nothing to change was given"));
            }
            let tagged = client.get_tagged(&path).await?;
            session.io.object(json, &client.patch(&path, &tagged, &body.into()).await?)?;
        }
        Verb::Delete { org } => {
            let path = format!("/organizations/{}", segment(&org));
            let tagged = client.get_tagged(&path).await?;
            client.delete(&path, &tagged).await?;
            session.io.say(&format!("{org} is deleted"));
            if json {
                session.io.json(&json!({ "id": org, "deleted": true }))?;
            }
        }
        Verb::Configure(args) => configure(args, &client, session).await?,
        Verb::Credentials { org, connector, secret } => {
            let Some(read) = secret.read(session)? else {
                return Err(Problem::usage("no credentials were given"));
            };
            let id = lookup::connection(&client, &org, &connector).await?;
            let path = format!("{}/{}/credentials", connections_path(&org), segment(&id));
            session.io.object(json, &client.put(&path, &read.credentials).await?)?;
        }
        Verb::Connect(args) => {
            let connector = lookup::connector(&client, &args.connector).await?;
            let mut body = given(&[("strategy", args.strategy)]);
            body.insert("connectorId".to_owned(), connector.into());
            body.insert("federationOrgId".to_owned(), args.federation_org_id.into());
            if let Some(text) = args.entities_json {
                body.insert("entities".to_owned(), object("--entities-json", &text)?.into());
            }
            let path = connections_path(&args.org);
            session.io.object(json, &client.post(&path, &body.into()).await?)?;
        }
        Verb::Disconnect { org, connector } => {
            let id = lookup::connection(&client, &org, &connector).await?;
            let path = format!("{}/{}", connections_path(&org), segment(&id));
            let tagged = client.get_tagged(&path).await?;
            client.delete(&path, &tagged).await?;
            session.io.say(&format!("disconnected {org} from {connector}; the history stays"));
            if json {
                session.io.json(&json!({ "id": id, "disconnected": true }))?;
            }
        }
        Verb::Connections { org, paging } => {
            let answer = client.get(&connections_path(&org), &paging.query()).await?;
            let columns = [
                ("ID", "id"),
                ("CONNECTOR", "connectorId"),
                ("FEDERATION ORG", "federationOrgId"),
                ("ENABLED", "enabledAt"),
                ("LAST SYNC", "lastSyncAt"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
    }
    Ok(Exit::Ok)
}

async fn configure(
    args: ConfigureArgs,
    client: &Client,
    session: &mut Session<'_>,
) -> Result<(), Problem> {
    let mut body = given(&[("federationOrgId", args.federation_org_id)]);
    if let Some(strategy) = args.strategy.as_deref() {
        let strategy = Some(strategy).filter(|strategy| *strategy != "default");
        body.insert("strategy".to_owned(), strategy.into());
    }
    body.extend(args.webhooks.map(|on| ("webhooksEnabled".to_owned(), on.into())));
    if let Some(text) = args.entities_json {
        body.insert("entities".to_owned(), object("--entities-json", &text)?.into());
    }
    if body.is_empty() {
        return Err(Problem::usage("nothing to change was given"));
    }
    let id = lookup::connection(client, &args.org, &args.connector).await?;
    let path = format!("{}/{}", connections_path(&args.org), segment(&id));
    let tagged = client.get_tagged(&path).await?;
    session.io.object(session.json, &client.patch(&path, &tagged, &body.into()).await?)
}

/// The members that were given, as texts.
pub(super) fn given(members: &[(&str, Option<String>)]) -> Map<String, Value> {
    let present = members.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
    present.map(|(name, value)| (name.to_owned(), Value::from(value.as_str()))).collect()
}

/// A JSON object that was typed as the value of a flag.
pub(super) fn object(flag: &str, text: &str) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Problem::usage(format!("{flag} must be a JSON object"))),
        Err(error) => Err(Problem::usage(format!("{flag} is not JSON")).caused_by(&error)),
    }
}
