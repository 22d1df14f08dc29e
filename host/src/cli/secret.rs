//! Reads credentials from files, variables or standard input: never from the command line itself,
//! which other users of the machine can see.

use super::problem::Problem;
use super::{Session, template};
use clap::Args;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;

const SECRET_BYTES_MAX: u64 = 64 << 10;

#[derive(Args, Debug)]
#[group(id = "credentials", multiple = true)]
pub(super) struct SecretArgs {
    /// File of the API key; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["api_key_env", "username", "token_file"])]
    api_key_file: Option<String>,
    /// Variable that holds the API key
    #[arg(long, value_name = "NAME", conflicts_with_all = ["username", "token_file"])]
    api_key_env: Option<String>,
    /// User name for Basic authentication
    #[arg(long, requires = "password_file", conflicts_with = "token_file")]
    username: Option<String>,
    /// File of the password; `-` reads standard input
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<String>,
    /// File of the bearer token; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// Client id of OAuth 2
    #[arg(long, value_name = "ID", requires = "client_secret_file",
        conflicts_with_all = ["api_key_file", "api_key_env", "username", "token_file"])]
    client_id: Option<String>,
    /// File of the client secret of OAuth 2; `-` reads standard input
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_secret_file: Option<String>,
    /// JSON file with credentials of any kind, as the API takes them; `-` reads standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["api_key_file", "api_key_env", "username", "token_file", "client_id"]
    )]
    credentials_file: Option<String>,
    /// File of the secret that deliveries are signed with; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "credentials_file")]
    webhook_secret_file: Option<String>,
    /// File of the secret before, valid as well while it is being changed
    #[arg(long, value_name = "FILE", requires = "webhook_secret_file")]
    webhook_secret_previous_file: Option<String>,
}

/// Credentials as the API takes them.
pub(super) struct Credentials {
    pub(super) auth_type: &'static str,
    pub(super) credentials: Value,
}

impl SecretArgs {
    /// `None` when no credentials were asked for.
    pub(super) fn read(&self, session: &mut Session<'_>) -> Result<Option<Credentials>, Problem> {
        let read = self.read_own(session)?;
        let Some(file) = &self.webhook_secret_file else { return Ok(read) };
        let none = || Credentials { auth_type: "none", credentials: json!({}) };
        let mut read = read.unwrap_or_else(none);
        let input = &mut *session.io.input;
        let previous = self.webhook_secret_previous_file.as_ref();
        let secrets = [("webhookSecret", Some(file)), ("webhookSecretPrevious", previous)];
        for (member, file) in secrets {
            if let (Some(file), Some(object)) = (file, read.credentials.as_object_mut()) {
                object.insert(member.to_owned(), from_file(file, input)?.into());
            }
        }
        Ok(Some(read))
    }

    /// What the requests are authenticated with.
    fn read_own(&self, session: &mut Session<'_>) -> Result<Option<Credentials>, Problem> {
        if let Some(file) = &self.credentials_file {
            let credentials = template::read_json(file, session)?;
            return Ok(Some(Credentials { auth_type: kind_of(&credentials), credentials }));
        }
        let input = &mut *session.io.input;
        let read = if let Some(file) = &self.api_key_file {
            Credentials {
                auth_type: "apiKey",
                credentials: json!({ "apiKey": from_file(file, input)? }),
            }
        } else if let Some(name) = &self.api_key_env {
            let found = session.environment.iter().find(|(known, _)| known == name.as_str());
            let key = found.and_then(|(_, value)| value.to_str());
            let key = key.ok_or_else(|| {
                Problem::usage(format!("there is no text in the variable {name}"))
            })?;
            Credentials {
                auth_type: "apiKey",
                credentials: json!({ "apiKey": trimmed(name, key)? }),
            }
        } else if let (Some(username), Some(file)) = (&self.username, &self.password_file) {
            let password = from_file(file, input)?;
            let credentials = json!({ "username": username, "password": password });
            Credentials { auth_type: "basic", credentials }
        } else if let Some(file) = &self.token_file {
            Credentials {
                auth_type: "bearer",
                credentials: json!({ "token": from_file(file, input)? }),
            }
        } else if let (Some(id), Some(file)) = (&self.client_id, &self.client_secret_file) {
            let secret = from_file(file, input)?;
            let credentials = json!({ "clientId": id, "clientSecret": secret });
            Credentials { auth_type: "oauth2", credentials }
        } else {
            return Ok(None);
        };
        Ok(Some(read))
    }
}

/// The auth type that these members belong to.
fn kind_of(credentials: &Value) -> &'static str {
    let kinds =
        [("apiKey", "apiKey"), ("username", "basic"), ("token", "bearer"), ("clientId", "oauth2")];
    let found = kinds.iter().find(|(member, _)| credentials.get(member).is_some());
    found.map_or("none", |(_, kind)| kind)
}

/// The secret in a file, or on standard input where the name is `-`.
pub(super) fn from_file(name: &str, input: &mut dyn Read) -> Result<String, Problem> {
    let place = if name == "-" { "standard input" } else { name };
    let unreadable = |error: std::io::Error| {
        Problem::failed(format!("cannot read the secret from {place}")).caused_by(&error)
    };
    let mut text = String::new();
    let mut read =
        |source: &mut dyn Read| source.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text);
    if name == "-" {
        read(input).map_err(unreadable)?;
    } else {
        let mut file = std::fs::File::open(Path::new(name)).map_err(unreadable)?;
        read(&mut file).map_err(unreadable)?;
    }
    trimmed(place, &text)
}

/// Without the line end that editors add.
fn trimmed(place: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() as u64 > SECRET_BYTES_MAX {
        return Err(Problem::usage(format!(
            "the secret in {place} is empty or longer than {SECRET_BYTES_MAX} bytes"
        )));
    }
    Ok(text.to_owned())
}
