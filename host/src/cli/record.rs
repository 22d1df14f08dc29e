//! `record`: the local copies.

use super::Session;
use super::args::Paging;
use super::client::{Client, segment};
use super::lookup::{self, text};
use super::problem::{Exit, Problem};
use crate::telemetry::escape_control;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Records of an organization
    List {
        #[command(flatten)]
        owner: Owner,
        #[arg(long)]
        entity: Option<String>,
        /// `active` or `inactive`
        #[arg(long)]
        status: Option<String>,
        /// Text to look for
        #[arg(long, short, value_name = "TEXT")]
        q: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// One record
    Show {
        id: String,
        #[command(flatten)]
        owner: Owner,
    },
    /// Edit a record here, as the owner of the token
    Edit {
        id: String,
        /// `name=text`, or `name:=JSON` for other types and `null`
        #[arg(required = true, value_name = "NAME=VALUE")]
        fields: Vec<String>,
        #[command(flatten)]
        owner: Owner,
    },
    /// What happened to a record
    History {
        id: String,
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        paging: Paging,
    },
    /// Why a record's values are what they are
    Why {
        id: String,
        /// Only this field
        #[arg(long, value_name = "NAME")]
        field: Option<String>,
        #[command(flatten)]
        owner: Owner,
    },
}

#[derive(Args, Debug)]
pub(super) struct Owner {
    /// Organization; may be left out if there is only one
    #[arg(long)]
    org: Option<String>,
}

impl Owner {
    async fn records(self, client: &Client) -> Result<String, Problem> {
        let org = lookup::organization(client, self.org).await?;
        Ok(format!("/organizations/{}/records", segment(&org)))
    }
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    match verb {
        Verb::List { owner, entity, status, q, paging } => {
            let path = owner.records(&client).await?;
            let [limit, cursor] = paging.query();
            let query = [("entity", entity), ("status", status), ("q", q), limit, cursor];
            let answer = client.get(&path, &query).await?;
            let columns = [
                ("ID", "id"),
                ("ENTITY", "entity"),
                ("STATUS", "status"),
                ("VERSION", "version"),
                ("FIELDS", "fields"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Show { id, owner } => {
            let path = format!("{}/{}", owner.records(&client).await?, segment(&id));
            session.io.object(json, &client.get(&path, &[]).await?)?;
        }
        Verb::Edit { id, fields, owner } => {
            let fields = assignments(&fields)?;
            let path = format!("{}/{}", owner.records(&client).await?, segment(&id));
            let tagged = client.get_tagged(&path).await?;
            let answer = client.patch(&path, &tagged, &json!({ "fields": fields })).await?;
            session.io.object(json, &answer)?;
        }
        Verb::History { id, owner, paging } => {
            let path = format!("{}/{}/history", owner.records(&client).await?, segment(&id));
            let answer = client.get(&path, &paging.query()).await?;
            let columns = [
                ("AT", "at"),
                ("KIND", "kind"),
                ("FIELDS", "fields"),
                ("BY", "by"),
                ("RUN", "runId"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Why { id, field, owner } => {
            let path = format!("{}/{}/why", owner.records(&client).await?, segment(&id));
            let answer = client.get(&path, &[("field", field)]).await?;
            if json {
                session.io.json(&answer)?;
            } else {
                let fields = answer.get("fields").and_then(Value::as_array);
                for field in fields.into_iter().flatten() {
                    session.io.line(&escape_control(&text(field, "explanation")))?;
                }
            }
        }
    }
    Ok(Exit::Ok)
}

/// `name=text` and `name:=JSON`.
fn assignments(pairs: &[String]) -> Result<Map<String, Value>, Problem> {
    let mut fields = Map::new();
    for pair in pairs {
        let named = pair.split_once('=').filter(|(name, _)| !matches!(*name, "" | ":"));
        let Some((name, value)) = named else {
            return Err(Problem::usage(format!("`{pair}` is not of the form NAME=VALUE")));
        };
        match name.strip_suffix(':') {
            None => fields.insert(name.to_owned(), value.into()),
            Some(name) => {
                let value = serde_json::from_str(value).map_err(|error| {
                    Problem::usage(format!("the value of `{name}` is not JSON")).caused_by(&error)
                })?;
                fields.insert(name.to_owned(), value)
            }
        };
    }
    Ok(fields)
}
