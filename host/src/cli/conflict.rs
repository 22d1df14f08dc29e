//! `conflict`: the inbox of conflicts that wait for a person.

use super::Session;
use super::args::Paging;
use super::client::segment;
use super::problem::{Exit, Problem};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Open conflicts
    List {
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// One conflict with the values of both sides
    Show { id: String },
    /// Decide a conflict
    Resolve(ResolveArgs),
}

#[derive(Args, Debug)]
pub(super) struct ResolveArgs {
    id: String,
    /// Whose value counts
    #[arg(value_enum)]
    choice: Choice,
    /// The value, as text; with `value`
    #[arg(long)]
    value: Option<String>,
    /// The value, as JSON; with `value`
    #[arg(long, value_name = "JSON", conflicts_with = "value")]
    value_json: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Choice {
    /// The federation's
    Remote,
    /// Ours
    Local,
    /// A new one
    Value,
}

impl ResolveArgs {
    fn body(&self) -> Result<Value, Problem> {
        let value =
            match (&self.value, &self.value_json) {
                (Some(text), _) => Some(Value::from(text.as_str())),
                (None, Some(text)) => Some(serde_json::from_str(text).map_err(|error| {
                    Problem::usage("--value-json is not JSON").caused_by(&error)
                })?),
                (None, None) => None,
            };
        match (self.choice, value) {
            (Choice::Remote, None) => Ok(json!({ "choice": "remote" })),
            (Choice::Local, None) => Ok(json!({ "choice": "local" })),
            (Choice::Value, Some(value)) => Ok(json!({ "choice": "value", "value": value })),
            (Choice::Value, None) => Err(Problem::usage("`value` needs --value or --value-json")),
            (Choice::Remote | Choice::Local, Some(_)) => {
                Err(Problem::usage("--value goes with the choice `value`"))
            }
        }
    }
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    match verb {
        Verb::List { org, paging } => {
            let [limit, cursor] = paging.query();
            let answer = client.get("/conflicts", &[("organization", org), limit, cursor]).await?;
            let columns = [
                ("ID", "id"),
                ("RECORD", "recordId"),
                ("ENTITY", "entity"),
                ("FIELD", "field"),
                ("REMOTE", "remoteValue"),
                ("LOCAL", "localValue"),
                ("NOTE", "note"),
            ];
            session.io.list(session.json, &answer, &columns)?;
        }
        Verb::Show { id } => {
            let answer = client.get(&format!("/conflicts/{}", segment(&id)), &[]).await?;
            session.io.object(session.json, &answer)?;
        }
        Verb::Resolve(args) => {
            let path = format!("/conflicts/{}/resolve", segment(&args.id));
            let answer = client.post(&path, &args.body()?).await?;
            session.io.object(session.json, &answer)?;
        }
    }
    Ok(Exit::Ok)
}
