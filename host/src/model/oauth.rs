//! What is stored of OAuth 2: authorizations under way, and what they granted. The tokens of a grant are stored beside it,
//! as secrets; times are milliseconds since the epoch.

use super::access::OrgKey;
use super::ids::{ConnectionId, ConnectorId, SessionId};
use super::secret::{Place, Sealed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a grant belongs to: a connector, or one of its connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    pub connector: ConnectorId,
    pub connection: Option<OfConnection>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfConnection {
    pub organization: String,
    pub id: ConnectionId,
}

impl Holder {
    pub fn of_connector(connector: ConnectorId) -> Holder {
        Holder { connector, connection: None }
    }

    pub fn of_connection(connector: ConnectorId, organization: &str, id: ConnectionId) -> Holder {
        let connection = Some(OfConnection { organization: organization.to_owned(), id });
        Holder { connector, connection }
    }

    /// Where the tokens of its grant are sealed; `row` is its name.
    pub fn tokens_place<'a>(&'a self, row: &'a str) -> Place<'a> {
        Place { table: "oauth-grants", organization: self.organization(), row, field: "tokens" }
    }

    pub fn organization(&self) -> Option<&str> {
        self.connection.as_ref().map(|connection| connection.organization.as_str())
    }

    pub fn connection_id(&self) -> Option<ConnectionId> {
        self.connection.as_ref().map(|connection| connection.id)
    }
}

/// `con_1` or `con_1/link_2`: also the name of the row that sealed values are bound to.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.connection {
            None => self.connector.fmt(f),
            Some(connection) => write!(f, "{}/{}", self.connector, connection.id),
        }
    }
}

/// An authorization that somebody started and the platform has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub holder: Holder,
    /// Of the connection.
    pub organization: Option<OrgKey>,
    pub initiator: Initiator,
    /// As it was sent: the code is exchanged with the same.
    pub redirect_uri: String,
    /// The PKCE verifier; none where the platform knows no PKCE. It is not among the stored secrets, because it is worth
    /// nothing after ten minutes: a change of the master key with a restart in between costs a new start.
    pub verifier: Option<Sealed>,
    pub created_at: i64,
    pub expires_at: i64,
}

/// Who started an authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Initiator {
    /// `user` or `token`.
    pub kind: String,
    pub id: String,
    pub name: String,
    /// Where a browser's session started it, the answer must come through the same.
    pub session: Option<SessionId>,
}

/// What a platform granted, and how its tokens fare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    pub holder: Holder,
    /// Never the same for two sets of tokens, of whichever holder.
    pub generation: u64,
    pub scope: Option<String>,
    /// What the authorization brought along, such as the platform's name for the organization.
    pub extras: BTreeMap<String, String>,
    /// None where the tokens came with the credentials.
    pub authorized_at: Option<i64>,
    pub authorized_by: Option<String>,
    /// When the present access token was asked for.
    pub issued_at: i64,
    /// None: it is used until the platform refuses it.
    pub expires_at: Option<i64>,
    /// When it is to be replaced: some time before it expires.
    pub refresh_at: Option<i64>,
    pub refreshable: bool,
    pub refresh_expires_at: Option<i64>,
    /// Set before a refresh is asked for, cleared by the commit of its answer: a crash in between can be told.
    pub refresh_started_at: Option<i64>,
    pub blocked: Option<Blocked>,
    /// The last warning that was given: so many days before the refresh token expires.
    pub warned_days: Option<u32>,
}

/// Why no refresh is tried any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    pub reason: BlockedReason,
    pub message: String,
    pub at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BlockedReason {
    /// A person has to authorize again.
    NeedsReauth,
    /// The platform refuses the client itself: its id, its secret, or what it may do.
    ClientRefused,
}
