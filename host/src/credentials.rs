//! Credentials of connectors and connections: sealed before they are stored, opened only to build a run's way out.

use crate::egress::Auth;
use crate::model::directory::{AuthType, Connector, SealedCredentials};
use crate::model::manifest::AuthSpec;
use crate::model::{ConnectionId, ConnectorId};
use crate::store::{self, Read, directory};
use crate::vault::{self, MasterKey, Place, Secret};
use serde::Deserialize;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the credentials cannot be opened: {0}")]
    Vault(#[from] vault::Error),
    #[error("{0}")]
    Wrong(String),
}

/// What `credentials` may hold, whatever the auth type.
const MEMBERS: [&str; 10] = [
    "apiKey",
    "username",
    "password",
    "token",
    "clientId",
    "clientSecret",
    "accessToken",
    "refreshToken",
    "webhookSecret",
    "webhookSecretPrevious",
];

/// What requests are authenticated with. Deliberately without `Debug` and `Serialize`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    api_key: Option<String>,
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
    access_token: Option<String>,
}

/// Whether `json` is what a connector with this auth type needs; says which member is missing or unknown, and never
/// repeats a value.
pub fn check(auth_type: AuthType, json: &serde_json::Value) -> Result<(), Error> {
    let wrong = |message: String| Err(Error::Wrong(message));
    let Some(object) = json.as_object() else {
        return wrong("credentials are an object of texts".to_owned());
    };
    for (member, value) in object {
        if !MEMBERS.contains(&member.as_str()) {
            return wrong(format!("unknown field `{member}`: known are {}", MEMBERS.join(", ")));
        }
        if !value.is_string() && !value.is_null() {
            return wrong(format!("`{member}` must be a text"));
        }
    }
    let needed: &[&str] = match auth_type {
        AuthType::ApiKey => &["apiKey"],
        AuthType::Basic => &["username", "password"],
        AuthType::Bearer => &["token"],
        AuthType::OAuth2 => &["clientId", "clientSecret"],
        AuthType::None => &[],
    };
    let blank = |member: &&&str| {
        object.get(**member).and_then(serde_json::Value::as_str).unwrap_or_default().is_empty()
    };
    match needed.iter().find(blank) {
        Some(member) => wrong(format!("`{member}` is missing")),
        None => Ok(()),
    }
}

/// Seals the JSON text for its row.
pub fn seal(
    key: &MasterKey,
    connector: ConnectorId,
    connection: Option<(&str, ConnectionId)>,
    json: &serde_json::Value,
    now: i64,
) -> Result<SealedCredentials, Error> {
    let row = row_name(connector, connection);
    let sealed = key.seal(place(connection, &row), json.to_string().as_bytes())?;
    Ok(SealedCredentials { sealed, updated_at: now })
}

fn row_name(connector: ConnectorId, connection: Option<(&str, ConnectionId)>) -> String {
    match connection {
        None => connector.to_string(),
        Some((_, connection)) => format!("{connector}/{connection}"),
    }
}

fn place<'a>(connection: Option<(&'a str, ConnectionId)>, row: &'a str) -> Place<'a> {
    Place {
        table: "credentials",
        organization: connection.map(|(org, _)| org),
        row,
        field: "credentials",
    }
}

fn open(
    key: &MasterKey,
    connector: ConnectorId,
    connection: Option<(&str, ConnectionId)>,
    sealed: &SealedCredentials,
) -> Result<Body, Error> {
    let row = row_name(connector, connection);
    let opened = key.open(place(connection, &row), &sealed.sealed)?;
    serde_json::from_slice(opened.expose()).map_err(|_| {
        Error::Wrong("the stored credentials cannot be read: set them again".to_owned())
    })
}

/// How requests of a connection authenticate: with its own credentials if it has any, else with the connector's.
pub fn auth(
    read: &dyn Read,
    key: &MasterKey,
    connector: &Connector,
    connection: Option<(&str, ConnectionId)>,
    specs: &[AuthSpec],
) -> Result<Auth, Error> {
    if connector.auth_type == AuthType::None {
        return Ok(Auth::None);
    }
    let own = match connection {
        Some((_, id)) => directory::credentials(read, connector.id, Some(id))?,
        None => None,
    };
    let body = match own {
        Some(sealed) => open(key, connector.id, connection, &sealed)?,
        None => match directory::credentials(read, connector.id, None)? {
            Some(sealed) => open(key, connector.id, None, &sealed)?,
            None => {
                let hint = "the connector has no credentials: set them with PUT .../credentials";
                return Err(Error::Wrong(hint.to_owned()));
            }
        },
    };
    let missing = |member: &str| Error::Wrong(format!("the credentials have no `{member}`"));
    Ok(match connector.auth_type {
        AuthType::None => Auth::None,
        AuthType::ApiKey => {
            let secret = Secret::new(body.api_key.ok_or_else(|| missing("apiKey"))?);
            api_key(connector, specs, secret)?
        }
        AuthType::Basic => Auth::Basic {
            user: body.username.ok_or_else(|| missing("username"))?,
            password: Secret::new(body.password.ok_or_else(|| missing("password"))?),
        },
        AuthType::Bearer => Auth::Bearer(Secret::new(body.token.ok_or_else(|| missing("token"))?)),
        AuthType::OAuth2 => {
            Auth::Bearer(Secret::new(body.access_token.ok_or_else(|| missing("accessToken"))?))
        }
    })
}

/// In the header or the query parameter that the connector's API wants; `config.authIn` chooses where it knows both.
fn api_key(
    connector: &Connector,
    specs: &[AuthSpec],
    secret: Secret<String>,
) -> Result<Auth, Error> {
    let wanted = connector.config.get("authIn").and_then(serde_json::Value::as_str);
    let (mut in_header, mut in_query) = (None, None);
    for spec in specs {
        if let AuthSpec::ApiKey { header, query } = spec {
            in_header = in_header.or_else(|| header.clone());
            in_query = in_query.or_else(|| query.clone());
        }
    }
    match (wanted, in_header, in_query) {
        (Some("query"), _, Some(name)) | (_, None, Some(name)) => {
            Ok(Auth::Query(vec![(name, secret)]))
        }
        (_, header, _) => {
            let name = header.unwrap_or_else(|| "X-API-Key".to_owned());
            let name =
                name.parse().map_err(|_| Error::Wrong(format!("{name:?} is no header name")))?;
            Ok(Auth::Header { name, value: secret })
        }
    }
}
