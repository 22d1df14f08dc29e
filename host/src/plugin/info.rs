//! What a person is shown of a plugin before and after approving it.

use super::load::{API_VERSION, Kind, Loaded};
use crate::model::manifest::{AuthSpec, Manifest, ManifestLimits};
use serde::Serialize;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Valid, waiting for approval; never run.
    Pending,
    /// New sessions use it.
    Active,
    /// Approved, but another version of the same name serves.
    Inactive,
    /// A file in the directory that is no plugin.
    Rejected,
}

/// One component: the row of `/plugins`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The manifest's id; of a rejected file its name without the ending.
    pub name: String,
    pub kind: Option<Kind>,
    pub version: Option<String>,
    pub title: Option<String>,
    pub sha256: String,
    pub bytes: u64,
    pub state: State,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// `embedded` or the file's name.
    pub source: String,
    pub approved_at: Option<String>,
    pub approved_by: Option<String>,
    pub asks: Option<Asks>,
}

/// What a component wants to be allowed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asks {
    pub api: &'static str,
    /// Interfaces beyond the required ones.
    pub abilities: Vec<&'static str>,
    pub hosts: Vec<String>,
    pub methods: Vec<String>,
    pub auth: Vec<&'static str>,
    pub entities: Vec<String>,
    pub limits: ManifestLimits,
    /// Strategies: other names that it answers to.
    pub aliases: Vec<String>,
    /// Strategies: whether it may answer with values of its own.
    pub values: bool,
}

impl Asks {
    pub(super) fn of(loaded: &Loaded) -> Asks {
        let mut asks = Asks { api: API_VERSION, ..Asks::default() };
        match &loaded.manifest {
            Manifest::Connector(connector) => {
                asks.abilities = loaded.abilities.names();
                asks.hosts.clone_from(&connector.hosts);
                asks.methods.clone_from(&connector.methods);
                asks.auth = connector.auth.iter().map(auth_kind).collect();
                asks.entities =
                    connector.entities.iter().map(|entity| entity.name.clone()).collect();
                asks.limits = connector.limits.clone();
            }
            Manifest::Strategy(strategy) => {
                asks.aliases.clone_from(&strategy.aliases);
                asks.values = strategy.values;
            }
        }
        asks
    }
}

fn auth_kind(auth: &AuthSpec) -> &'static str {
    match auth {
        AuthSpec::ApiKey { .. } => "apiKey",
        AuthSpec::Basic {} => "basic",
        AuthSpec::Bearer {} => "bearer",
        AuthSpec::OAuth2 { .. } => "oauth2",
        AuthSpec::None {} => "none",
    }
}

pub(super) fn title(manifest: &Manifest) -> &str {
    match manifest {
        Manifest::Connector(connector) => &connector.title,
        Manifest::Strategy(strategy) => &strategy.title,
    }
}

/// The text to read before approving.
impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map_or("file", Kind::as_str);
        let version = self.version.as_deref().unwrap_or("");
        writeln!(f, "{kind} {} {version}", self.name)?;
        if let Some(title) = &self.title {
            writeln!(f, "  {title}")?;
        }
        writeln!(f, "  sha256    {}", self.sha256)?;
        writeln!(f, "  source    {} ({} bytes)", self.source, self.bytes)?;
        if let Some(reason) = &self.reason {
            writeln!(f, "  rejected  {reason}")?;
        }
        let Some(asks) = &self.asks else {
            return Ok(());
        };
        for (label, words) in [
            ("hosts", asks.hosts.join(", ")),
            ("methods", asks.methods.join(", ")),
            ("auth", asks.auth.join(", ")),
            ("entities", asks.entities.join(", ")),
            ("abilities", asks.abilities.join(", ")),
            ("aliases", asks.aliases.join(", ")),
        ] {
            if !words.is_empty() {
                writeln!(f, "  {label:<9} {words}")?;
            }
        }
        if let Some(requests) = asks.limits.requests_per_minute {
            writeln!(f, "  limits    {requests} requests per minute")?;
        }
        if let Some(records) = asks.limits.records_per_page_max {
            writeln!(f, "  limits    {records} records per page")?;
        }
        if asks.values {
            writeln!(f, "  values    may decide for a value of its own")?;
        }
        Ok(())
    }
}
