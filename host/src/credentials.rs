//! Credentials of connectors and connections: sealed before they are stored, opened only to build a run's way out.

use crate::egress::Auth;
use crate::model::directory::{AuthType, Connector};
use crate::model::manifest::AuthSpec;
use crate::model::oauth::Holder;
use crate::model::{ConnectionId, ConnectorId};
use crate::secrets;
use crate::store::{self, Read, Txn, directory, grants, lookup};
use crate::vault::{Keyring, Place, Secret};
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the credentials cannot be opened: {0}")]
    Secrets(#[from] secrets::Error),
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

/// Those that are sent in a header, or beside what is.
const SENT: [&str; 6] = ["apiKey", "username", "password", "token", "accessToken", "refreshToken"];

/// The longest value: a key in PEM form fits well.
const VALUE_CHARS_MAX: usize = 16_384;

/// What requests are authenticated with. Deliberately without `Debug` and `Serialize`; wiped on drop.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    api_key: Option<String>,
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    webhook_secret: Option<String>,
    webhook_secret_previous: Option<String>,
}

/// What a client of OAuth proves itself with.
pub struct OAuthClient {
    pub id: String,
    pub secret: Secret<String>,
}

/// Credentials as a request brought them: without `Debug` and `Serialize`, wiped on drop.
pub struct Given(serde_json::Value);

impl Given {
    pub fn new(json: serde_json::Value) -> Given {
        Given(json)
    }

    /// The object itself. What is made from it must not be logged or stored unsealed.
    pub fn expose(&self) -> &serde_json::Value {
        &self.0
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::String(text) => text.zeroize(),
        serde_json::Value::Array(items) => items.iter_mut().for_each(wipe),
        serde_json::Value::Object(members) => members.values_mut().for_each(wipe),
        _ => {}
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let Body { api_key, username, password, token, client_id, client_secret, .. } = self;
        for text in [api_key, username, password, token, client_id, client_secret] {
            text.zeroize();
        }
        self.webhook_secret.zeroize();
        self.webhook_secret_previous.zeroize();
    }
}

/// What keeps them from being what a connector with this auth type needs: (member, words), with an empty member for
/// the whole. Never repeats a value.
pub fn faults(auth_type: AuthType, given: &Given) -> Vec<(String, String)> {
    let Some(object) = given.expose().as_object() else {
        return vec![(String::new(), "must be an object of texts".to_owned())];
    };
    let mut faults = Vec::new();
    for (member, value) in object {
        let problem = match value {
            _ if !MEMBERS.contains(&member.as_str()) => {
                format!("is not known: known are {}", MEMBERS.join(", "))
            }
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) if text.chars().count() > VALUE_CHARS_MAX => {
                format!("must have at most {VALUE_CHARS_MAX} characters")
            }
            serde_json::Value::String(text) => match unsendable(member, text) {
                Some(problem) => problem.to_owned(),
                None => continue,
            },
            _ => "must be a text".to_owned(),
        };
        faults.push((member.clone(), problem));
    }
    let needed: &[&str] = match auth_type {
        AuthType::ApiKey => &["apiKey"],
        AuthType::Basic => &["username", "password"],
        AuthType::Bearer => &["token"],
        AuthType::OAuth2 => &["clientId", "clientSecret"],
        AuthType::None => &[],
    };
    for member in needed {
        let blank = match object.get(*member) {
            None | Some(serde_json::Value::Null) => true,
            Some(value) => value.as_str().is_some_and(|text| text.trim().is_empty()),
        };
        if blank {
            faults.push(((*member).to_owned(), "is missing".to_owned()));
        }
    }
    faults
}

/// What keeps a value from being sent, which every request would fail by.
fn unsendable(member: &str, text: &str) -> Option<&'static str> {
    match member {
        _ if SENT.contains(&member) && text.contains(char::is_control) => {
            Some("must not have line breaks or other control characters")
        }
        // RFC 7617, 2: the first colon ends the user name.
        "username" if text.contains(':') => Some("must not have a colon"),
        _ => None,
    }
}

/// Seals and stores them: for the connector, or for one connection of an organization.
pub fn put(
    txn: &Txn,
    keys: &Keyring,
    connector: ConnectorId,
    connection: Option<(&str, ConnectionId)>,
    given: &Given,
    now: i64,
) -> Result<(), Error> {
    let row = row_name(connector, connection);
    let text = Zeroizing::new(given.expose().to_string());
    Ok(secrets::put(txn, keys, place(connection, &row), text.as_bytes(), now)?)
}

/// When they were set, in milliseconds since the epoch; none where there are none.
pub fn updated_at(
    read: &dyn Read,
    connector: ConnectorId,
    connection: Option<(&str, ConnectionId)>,
) -> Result<Option<i64>, store::Error> {
    let row = row_name(connector, connection);
    secrets::updated_at(read, place(connection, &row))
}

/// Whether a connection logs in with something of its own: its credentials, or what was granted to it on the connector's
/// client. Such a login is its own affair, and so is the pace that the remote system allows it.
pub fn is_own(
    read: &dyn Read,
    connector: ConnectorId,
    (organization, connection): (&str, ConnectionId),
) -> Result<bool, store::Error> {
    if updated_at(read, connector, Some((organization, connection)))?.is_some() {
        return Ok(true);
    }
    let holder = Holder::of_connection(connector, organization, connection);
    Ok(grants::get(read, &holder)?.is_some())
}

/// Whether there were any. What was granted on them goes with them. They are gone for good when [`secrets::shred`] comes
/// back.
pub fn delete(
    txn: &Txn,
    connector: ConnectorId,
    connection: Option<(&str, ConnectionId)>,
) -> Result<bool, store::Error> {
    let holder = match connection {
        None => Holder::of_connector(connector),
        Some((organization, id)) => Holder::of_connection(connector, organization, id),
    };
    let row = row_name(connector, connection);
    grants::delete(txn, &holder)?;
    let granted = secrets::delete(txn, holder.tokens_place(&row))?;
    Ok(secrets::delete(txn, place(connection, &row))? || granted)
}

/// Deletes credentials that nobody has used since `before` (milliseconds since the epoch), `limit` rows at the most;
/// answers how many rows of the list it went through.
pub fn delete_left(txn: &Txn, before: i64, limit: usize) -> Result<usize, store::Error> {
    let left = directory::left_before(txn, before, limit)?;
    for (at, connector, connection) in &left {
        directory::delete_left(txn, *at, *connector, *connection)?;
        match connection {
            // What came into use again since is not left any more.
            Some(id) => {
                let row = lookup::former_connection_of_connector(txn, *connector, *id)?;
                if let Some(row) = row.filter(|row| row.disconnected_at == Some(*at)) {
                    delete(txn, *connector, Some((row.organization.as_str(), row.id)))?;
                }
            }
            None => {
                let row = directory::connector(txn, *connector)?;
                if row.is_some_and(|row| row.deleted_at == Some(*at)) {
                    delete_all(txn, *connector)?;
                }
            }
        }
    }
    Ok(left.len())
}

/// Deletes what a connector has, and what its connections have of their own, those that ended too. Answers whether there
/// was anything.
pub fn delete_all(txn: &Txn, connector: ConnectorId) -> Result<bool, store::Error> {
    let mut found = delete(txn, connector, None)?;
    let live = directory::connections_of(txn, connector)?;
    let former = lookup::former_connections_of_connector(txn, connector)?;
    for row in live.iter().chain(&former) {
        found |= delete(txn, connector, Some((row.organization.as_str(), row.id)))?;
    }
    Ok(found)
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
    read: &dyn Read,
    keys: &Keyring,
    connector: ConnectorId,
    connection: Option<(&str, ConnectionId)>,
) -> Result<Option<Body>, Error> {
    let row = row_name(connector, connection);
    let Some(opened) = secrets::open(read, keys, place(connection, &row))? else {
        return Ok(None);
    };
    serde_json::from_slice(opened.expose()).map(Some).map_err(|_| {
        Error::Wrong("the stored credentials cannot be read: set them again".to_owned())
    })
}

/// The secrets that deliveries are signed with, the one in use first: the connector's, or a connection's own. Empty where
/// none is set.
pub fn webhook_secrets(
    read: &dyn Read,
    keys: &Keyring,
    connector: ConnectorId,
    connection: Option<(&str, ConnectionId)>,
) -> Result<Vec<Secret<String>>, Error> {
    let Some(mut body) = open(read, keys, connector, connection)? else { return Ok(Vec::new()) };
    let both = [body.webhook_secret.take(), body.webhook_secret_previous.take()];
    let set = both.into_iter().flatten().filter(|secret| !secret.is_empty());
    Ok(set.map(Secret::new).collect())
}

/// Those of the connection if it has any, else the connector's.
fn in_force(
    read: &dyn Read,
    keys: &Keyring,
    connector: ConnectorId,
    connection: Option<(&str, ConnectionId)>,
) -> Result<Body, Error> {
    let own = match connection {
        Some(connection) => open(read, keys, connector, Some(connection))?,
        None => None,
    };
    let shared = || open(read, keys, connector, None);
    own.map_or_else(shared, |own| Ok(Some(own)))?.ok_or_else(|| {
        let hint = "the connector has no credentials: set them with PUT .../credentials";
        Error::Wrong(hint.to_owned())
    })
}

/// The client that a connection's tokens are asked for with.
pub fn oauth_client(
    read: &dyn Read,
    keys: &Keyring,
    connector: ConnectorId,
    connection: Option<(&str, ConnectionId)>,
) -> Result<OAuthClient, Error> {
    let mut body = in_force(read, keys, connector, connection)?;
    match (body.client_id.take(), body.client_secret.take()) {
        (Some(id), Some(secret)) => Ok(OAuthClient { id, secret: Secret::new(secret) }),
        _ => Err(Error::Wrong("the credentials have no `clientId` and `clientSecret`".to_owned())),
    }
}

/// How requests of a connection authenticate: with its own credentials if it has any, else with the connector's. The
/// tokens of OAuth are not credentials: their source is `oauth`.
pub fn auth(
    read: &dyn Read,
    keys: &Keyring,
    connector: &Connector,
    connection: Option<(&str, ConnectionId)>,
    specs: &[AuthSpec],
) -> Result<Auth, Error> {
    if matches!(connector.auth_type, AuthType::None | AuthType::OAuth2) {
        return Ok(Auth::None);
    }
    let mut body = in_force(read, keys, connector.id, connection)?;
    let missing = |member: &str| Error::Wrong(format!("the credentials have no `{member}`"));
    Ok(match connector.auth_type {
        AuthType::None | AuthType::OAuth2 => Auth::None,
        AuthType::ApiKey => {
            let secret = Secret::new(body.api_key.take().ok_or_else(|| missing("apiKey"))?);
            api_key(connector, specs, secret)?
        }
        AuthType::Basic => Auth::Basic {
            user: body.username.take().ok_or_else(|| missing("username"))?,
            password: Secret::new(body.password.take().ok_or_else(|| missing("password"))?),
        },
        AuthType::Bearer => {
            Auth::Bearer(Secret::new(body.token.take().ok_or_else(|| missing("token"))?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_that_cannot_be_sent_are_refused_by_their_member() {
        #[track_caller]
        fn check(auth_type: AuthType, given: serde_json::Value, expected: &[(&str, &str)]) {
            let found = faults(auth_type, &Given::new(given));
            let found: Vec<_> =
                found.iter().map(|(member, words)| (member.as_str(), words.as_str())).collect();
            assert_eq!(found, expected);
        }
        let control = "must not have line breaks or other control characters";
        check(AuthType::ApiKey, json!({"apiKey": "k\r"}), &[("apiKey", control)]);
        check(AuthType::Bearer, json!({"token": "abc\n"}), &[("token", control)]);
        let pair =
            |username: &str, password: &str| json!({"username": username, "password": password});
        check(AuthType::Basic, pair("Séan\0", "p"), &[("username", control)]);
        check(AuthType::Basic, pair("u", "a\u{7f}b"), &[("password", control)]);
        check(AuthType::Basic, pair("u:v", "p"), &[("username", "must not have a colon")]);
        check(AuthType::Basic, pair("Séan", "a: b"), &[]);
        let client = json!({
            "clientId": "a:b", "clientSecret": "c", "accessToken": "x\ty", "refreshToken": "r\n",
            "webhookSecret": "first line\nsecond line",
        });
        check(AuthType::OAuth2, client, &[("accessToken", control), ("refreshToken", control)]);
    }
}
