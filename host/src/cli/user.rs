//! `user`: people who log in with a password.

use super::Session;
use super::args::Paging;
use super::client::{Client, segment};
use super::org::given;
use super::problem::{Exit, Problem};
use super::secret;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Users, all or of one organization
    List {
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// A new user
    Create(CreateArgs),
    /// Change a user; a new role or organization ends the user's logins
    Update(UpdateArgs),
    /// Set a user's password and end the user's logins
    Password {
        /// Id or e-mail address
        user: String,
        /// File of the password; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        password_file: String,
    },
    /// Remove a user
    Delete {
        /// Id or e-mail address
        user: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Role {
    /// Reads, one organization or all
    #[value(name = "viewer")]
    Viewer,
    /// Manages one organization
    #[value(name = "orgAdmin", alias = "org-admin")]
    OrgAdmin,
    /// Manages everything
    #[value(name = "platformAdmin", alias = "platform-admin")]
    PlatformAdmin,
}

impl Role {
    pub(super) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    email: String,
    #[arg(long, value_enum)]
    role: Role,
    /// Organization of an orgAdmin, or what a viewer sees
    #[arg(long)]
    org: Option<String>,
    #[arg(long)]
    name: Option<String>,
    /// File of the password; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    password_file: String,
}

#[derive(Args, Debug)]
pub(super) struct UpdateArgs {
    /// Id or e-mail address
    user: String,
    #[arg(long)]
    email: Option<String>,
    #[arg(long)]
    name: Option<String>,
    #[arg(long, value_enum)]
    role: Option<Role>,
    #[arg(long)]
    org: Option<String>,
    /// Keep the user from logging in
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// Let a disabled user log in again
    #[arg(long)]
    enable: bool,
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
                ("E-MAIL", "email"),
                ("NAME", "name"),
                ("ROLE", "role"),
                ("ORGANIZATION", "organizationId"),
                ("DISABLED", "disabled"),
                ("LAST LOGIN", "lastLoginAt"),
            ];
            session.io.list(json, &client.get("/users", &query).await?, &columns)?;
        }
        Verb::Create(args) => {
            let password = secret::from_file(&args.password_file, &mut *session.io.input)?;
            let body = given(&[
                ("email", Some(args.email)),
                ("role", Some(args.role.word())),
                ("organizationId", args.org),
                ("name", args.name),
                ("password", Some(password)),
            ]);
            session.io.object(json, &client.post("/users", &body.into()).await?)?;
        }
        Verb::Update(args) => {
            let path = path(&client, &args.user).await?;
            let mut body = given(&[
                ("email", args.email),
                ("name", args.name),
                ("role", args.role.map(Role::word)),
                ("organizationId", args.org),
            ]);
            if args.disable || args.enable {
                body.insert("disabled".to_owned(), args.disable.into());
            }
            let tagged = client.get_tagged(&path).await?;
            session.io.object(json, &client.patch(&path, &tagged, &body.into()).await?)?;
        }
        Verb::Password { user, password_file } => {
            let password = secret::from_file(&password_file, &mut *session.io.input)?;
            let path = path(&client, &user).await?;
            client.put(&format!("{path}/password"), &json!({ "password": password })).await?;
            session.io.say("the password is set, and the user is logged out everywhere");
        }
        Verb::Delete { user } => {
            let path = path(&client, &user).await?;
            let tagged = client.get_tagged(&path).await?;
            client.delete(&path, &tagged).await?;
            session.io.say(&format!("removed {user}"));
        }
    }
    Ok(Exit::Ok)
}

/// The path of a user that is named by id or e-mail address.
async fn path(client: &Client, user: &str) -> Result<String, Problem> {
    if !user.contains('@') {
        return Ok(format!("/users/{}", segment(user)));
    }
    let mut cursor = None;
    loop {
        let query = [("limit", Some("200".to_owned())), ("cursor", cursor)];
        let page = client.get("/users", &query).await?;
        let rows = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        let is_named = |row: &&Value| {
            row["email"].as_str().is_some_and(|email| email.eq_ignore_ascii_case(user))
        };
        if let Some(id) = rows.iter().find(is_named).and_then(|row| row["id"].as_str()) {
            return Ok(format!("/users/{}", segment(id)));
        }
        cursor = page["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Err(Problem::new(Exit::NotFound, format!("there is no user {user}")));
        }
    }
}
