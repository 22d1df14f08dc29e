//! `template`: field mappings, from files or standard input.

use super::Session;
use super::args::Paging;
use super::client::{Client, segment};
use super::lookup;
use super::org::given;
use super::output::at;
use super::problem::{Exit, Problem};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::io::Read;

const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Stored templates
    List(Paging),
    /// A stored template, the default one of a plugin, or the one that a connector uses
    Show(Which),
    /// Store a template; one that `template show --json` printed is a good start
    Create {
        /// JSON with `name`, `plugin` and `entities`; `-` reads standard input
        file: String,
        /// Instead of the name in the file
        #[arg(long)]
        name: Option<String>,
        /// Instead of the plugin in the file
        #[arg(long)]
        plugin: Option<String>,
    },
    /// Replace a stored template; runs use it from the next one on
    Replace {
        id: String,
        /// JSON with `entities`, and `name` if it is to change; `-` reads standard input
        file: String,
    },
    /// Delete a stored template that no connector uses
    Delete { id: String },
    /// What a template makes of sample records
    Preview(PreviewArgs),
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    id: Option<String>,
    /// The default template of this plugin
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// The template that this connector uses
    #[arg(long, value_name = "NAME|ID")]
    connector: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct PreviewArgs {
    /// JSON: a list of records by source field; `-` reads standard input
    records: String,
    #[command(flatten)]
    which: Which,
    /// Only needed where the template maps several entities
    #[arg(long)]
    entity: Option<String>,
    /// Whose region phone numbers without a country code belong to
    #[arg(long)]
    org: Option<String>,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    match verb {
        Verb::List(paging) => {
            let answer = client.get("/templates", &paging.query()).await?;
            let columns = [
                ("ID", "id"),
                ("NAME", "name"),
                ("PLUGIN", "plugin"),
                ("VERSION", "version"),
                ("UPDATED", "updatedAt"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Show(which) => {
            let found = which.read(&client).await?;
            session.io.object(json, &found)?;
        }
        Verb::Create { file, name, plugin } => {
            let mut body = members(read_json(&file, session)?)?;
            body.extend(given(&[("name", name), ("plugin", plugin)]));
            session.io.object(json, &client.post("/templates", &body.into()).await?)?;
        }
        Verb::Replace { id, file } => {
            let path = path(&id);
            let tagged = client.get_tagged(&path).await?;
            let mut body = members(read_json(&file, session)?)?;
            for name in ["name", "plugin"] {
                body.entry(name).or_insert_with(|| at(&tagged.row, name).clone());
            }
            let answer = client.replace(&path, &tagged, &body.into()).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Delete { id } => {
            let path = path(&id);
            let tagged = client.get_tagged(&path).await?;
            client.delete(&path, &tagged).await?;
            session.io.say(&format!("{id} is deleted"));
            if json {
                session.io.json(&json!({ "id": id, "deleted": true }))?;
            }
        }
        Verb::Preview(args) => return preview(args, &client, session).await,
    }
    Ok(Exit::Ok)
}

fn path(id: &str) -> String {
    format!("/templates/{}", segment(id))
}

impl Which {
    async fn read(&self, client: &Client) -> Result<Value, Problem> {
        if let Some(id) = &self.id {
            return client.get(&path(id), &[]).await;
        }
        if let Some(named) = &self.connector {
            let connector = lookup::connector(client, named).await?;
            return client.get(&format!("/connectors/{}/template", segment(&connector)), &[]).await;
        }
        let plugin = self.plugin.clone().unwrap_or_default();
        let answer = client.get(&format!("/plugins/{}", segment(&plugin)), &[]).await?;
        let entities = at(&answer, "manifest.template.entities").clone();
        if entities.is_null() {
            let message = format!("`{plugin}` is no active connector plugin: it has no template");
            return Err(Problem::new(Exit::NotFound, message));
        }
        Ok(json!({ "name": plugin, "plugin": plugin, "entities": entities }))
    }
}

/// Exit code 3 where a record would be rejected.
async fn preview(
    args: PreviewArgs,
    client: &Client,
    session: &mut Session<'_>,
) -> Result<Exit, Problem> {
    let records = match read_json(&args.records, session)? {
        one @ Value::Object(_) => json!([one]),
        several => several,
    };
    let mut body = given(&[("entity", args.entity), ("organizationId", args.org)]);
    body.insert("records".to_owned(), records);
    let answer = match &args.which.id {
        Some(id) => client.post(&format!("{}/preview", path(id)), &body.into()).await?,
        None => {
            let template = args.which.read(client).await?;
            for name in ["plugin", "entities"] {
                body.insert(name.to_owned(), at(&template, name).clone());
            }
            client.post("/templates/preview", &body.into()).await?
        }
    };
    if session.json {
        session.io.json(&answer)?;
    } else {
        let columns = [
            ("ID", "externalId"),
            ("OUTCOME", "outcome"),
            ("STATUS", "status"),
            ("FIELDS", "fields"),
            ("ERRORS", "errors"),
            ("WARNINGS", "warnings"),
        ];
        session.io.list(false, &answer, &columns)?;
    }
    let rejected = at(&answer, "counts.rejected").as_u64().unwrap_or(0);
    Ok(if rejected == 0 { Exit::Ok } else { Exit::RecordFailures })
}

/// What the API takes of a template; what else a printed one has is left out.
fn members(file: Value) -> Result<Map<String, Value>, Problem> {
    let Value::Object(mut members) = file else {
        return Err(Problem::usage("a template is a JSON object with `entities`"));
    };
    members.retain(|name, _| matches!(name.as_str(), "name" | "plugin" | "entities"));
    Ok(members)
}

/// The JSON of a file; `-` is standard input.
pub(super) fn read_json(name: &str, session: &mut Session<'_>) -> Result<Value, Problem> {
    let place = if name == "-" { "standard input" } else { name };
    let unreadable =
        |error: std::io::Error| Problem::failed(format!("cannot read {place}")).caused_by(&error);
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX + 1;
    if name == "-" {
        session.io.input.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(name).map_err(unreadable)?;
        file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Problem::usage(format!("{place} is larger than {FILE_BYTES_MAX} bytes")));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::usage(format!("{place} is not JSON")).caused_by(&error))
}
