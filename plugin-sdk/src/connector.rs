//! The traits of a connector and what the host hands it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{ConnectorManifest, Error, Page, Result};

/// Reads records of a remote system page by page.
///
/// All functions are stateless: the host may call each of them on a fresh instance, so that everything a call needs is
/// in its argument.
pub trait Connector {
    /// The connector's own settings; the host has checked them against the manifest's schema.
    type Config: DeserializeOwned;

    /// What the connector is and asks for. Pure: no request works here.
    fn manifest() -> ConnectorManifest;

    /// One cheap authenticated request that proves settings and credentials.
    fn check(context: &Context<Self::Config>) -> Result<()>;

    /// One page of a listing.
    fn fetch_page(request: &PageRequest<Self::Config>) -> Result<Page>;
}

/// A connector that can also fetch single records.
pub trait Fetch: Connector {
    /// The records with these ids (at most 100). An id that is not in the page does not exist there.
    fn by_ids(context: &Context<Self::Config>, entity: &str, ids: &[String]) -> Result<Page>;
}

/// A connector that understands the remote's webhooks.
pub trait Webhook: Connector {
    /// What a delivery says; the host has verified its signature. Pure: no request works here. Kinds and entities that
    /// the connector does not know are left out; an error means that nothing of the delivery can be read.
    fn parse(delivery: &Delivery<Self::Config>) -> Result<Vec<Event>>;
}

/// A delivery of the remote's webhook.
#[derive(Debug, Clone, Default)]
pub struct Delivery<C> {
    pub config: C,
    /// Names in lower case. Only what the signature covers can be believed, and most schemes cover the body alone.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl<C> Delivery<C> {
    /// The first header of this name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Something that happened to a record over there: a hint to look at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The remote's id of the organization; `None` where the delivery names none.
    pub organization: Option<String>,
    pub entity: String,
    pub id: String,
    pub kind: EventKind,
    /// Tells this event from others; only if the signature covers it.
    pub event_id: Option<String>,
}

/// What happened to a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EventKind {
    Created,
    #[default]
    Updated,
    Deleted,
    /// It became part of the record with this id.
    Merged {
        into: String,
    },
}

/// The same for every call of a run.
#[derive(Debug, Clone, Default)]
pub struct Context<C> {
    pub config: C,
    /// Base URL and path templates by name.
    pub endpoints: BTreeMap<String, String>,
    /// The organization's id on the remote side; `None` in a check without one.
    pub organization: Option<String>,
    /// When the run started, RFC 3339: the only clock that a plugin has.
    pub started_at: String,
    /// What the authorization brought along, by name.
    pub extras: BTreeMap<String, String>,
}

impl<C> Context<C> {
    /// The endpoint of that name, or the config error that says it is missing.
    pub fn endpoint(&self, name: &str) -> Result<&str> {
        match self.endpoints.get(name).map(|url| url.trim()) {
            Some(url) if !url.is_empty() => Ok(url),
            _ => Err(Error::config("", format!("the endpoint `{name}` is not set"))),
        }
    }
}

/// Which records a listing covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// All of them.
    #[default]
    Full,
    /// Those that changed since [`PageRequest::since`].
    Incremental,
}

/// Asks for one page of a listing.
#[derive(Debug, Clone, Default)]
pub struct PageRequest<C> {
    pub context: Context<C>,
    pub entity: String,
    pub mode: Mode,
    /// Incremental: the instant from which on changes are wanted, overlap already taken off; RFC 3339.
    pub since: Option<String>,
    /// What the last completed run of this entity returned as `checkpoint`.
    pub checkpoint: Option<String>,
    /// Restrictions to apply. A connector that cannot apply one answers [`Error::Unsupported`].
    pub filters: Filters,
    /// [`Page::next`] of the page before; `None` for the first.
    pub cursor: Option<String>,
    /// The page may have at most this many rows and rejects together.
    pub records_max: u32,
}

/// Restrictions of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Filters {
    /// Only what changed after this instant, RFC 3339.
    pub modified_after: Option<String>,
    /// Only what changed before this instant, RFC 3339.
    pub modified_before: Option<String>,
    /// Only records with one of these statuses.
    pub status: Option<Vec<String>>,
}

impl Filters {
    /// The name of the first filter that is set.
    #[must_use]
    pub fn first(&self) -> Option<&'static str> {
        if self.modified_after.is_some() {
            Some("modifiedAfter")
        } else if self.modified_before.is_some() {
            Some("modifiedBefore")
        } else {
            self.status.as_ref().map(|_| "status")
        }
    }
}
