//! `token`: what programs present to the server.

use super::Session;
use super::args::Paging;
use super::client::segment;
use super::org::given;
use super::problem::{Exit, Problem};
use super::user::Role;
use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Tokens, all or of one organization; never their secrets
    List {
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// A new token, shown only now
    Create(CreateArgs),
    /// End a token
    Delete { id: String },
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    name: String,
    #[arg(long, value_enum)]
    role: Role,
    /// Organization of an orgAdmin, or what a viewer sees
    #[arg(long)]
    org: Option<String>,
    /// What it edits does not count as edited by a person
    #[arg(long)]
    machine: bool,
    /// When it ends, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    expires_at: Option<String>,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let client = session.client()?;
    let json = session.json;
    match verb {
        Verb::List { org, paging } => {
            let mut query = paging.query().to_vec();
            query.push(("organization", org));
            let columns = [
                ("ID", "id"),
                ("NAME", "name"),
                ("ROLE", "role"),
                ("ORGANIZATION", "organizationId"),
                ("MACHINE", "machine"),
                ("EXPIRES", "expiresAt"),
                ("LAST USED", "lastUsedAt"),
            ];
            session.io.list(json, &client.get("/tokens", &query).await?, &columns)?;
        }
        Verb::Create(args) => {
            let mut body = given(&[
                ("name", Some(args.name)),
                ("role", Some(args.role.word())),
                ("organizationId", args.org),
                ("expiresAt", args.expires_at),
            ]);
            body.insert("machine".to_owned(), args.machine.into());
            let made = client.post("/tokens", &body.into()).await?;
            if json {
                session.io.json(&made)?;
            } else {
                session.io.say("API token, shown only now:");
                session.io.line(made["token"].as_str().unwrap_or_default())?;
            }
        }
        Verb::Delete { id } => {
            let path = format!("/tokens/{}", segment(&id));
            let tagged = client.get_tagged(&path).await?;
            client.delete(&path, &tagged).await?;
            session.io.say(&format!("ended {id}"));
        }
    }
    Ok(Exit::Ok)
}
