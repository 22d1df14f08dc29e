//! How a run speaks with the remote system: what the plugin is told, where its requests may go, with which credentials
//! and at which pace. A plugin never sees a credential.

use super::requests::RequestLog;
use super::setup::Parties;
use super::{Deps, Failure};
use crate::credentials;
use crate::egress::{Auth, Origin, Pace, Recorder, RunClient, RunSettings};
use crate::model::directory::{AuthType, Connection, Connector};
use crate::model::manifest::ConnectorManifest;
use crate::model::oauth::Holder;
use crate::model::remote::CallContext;
use crate::model::{ConnectionId, RunStatus};
use crate::oauth;
use crate::store::Read;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const HOST_KEYS: [&str; 5] =
    ["requestsPerMinute", "authIn", "oauth", "webhookScheme", "batchRecords"];

/// The connector's config without the host's keys.
pub fn plugin_config(config: &serde_json::Value) -> serde_json::Value {
    let mut config = config.clone();
    if let Some(object) = config.as_object_mut() {
        object.retain(|key, _| !HOST_KEYS.contains(&key.as_str()));
    }
    config
}

pub fn context(
    deps: &Deps,
    parties: &Parties,
    manifest: &ConnectorManifest,
    started_at: String,
) -> Result<CallContext, Failure> {
    let grant = match parties.connector.auth_type {
        AuthType::OAuth2 => oauth::grant_in_force(&deps.store.read()?, &holder(parties))?,
        _ => None,
    };
    Ok(CallContext {
        config: plugin_config(&parties.connector.config).to_string(),
        endpoints: endpoints(&parties.connector, manifest),
        organization: Some(parties.connection.federation_org_id.clone())
            .filter(|id| !id.is_empty()),
        started_at,
        extras: grant.map(|grant| grant.extras.into_iter().collect()).unwrap_or_default(),
    })
}

/// Whose authorization the requests of a connection use.
fn holder(parties: &Parties) -> Holder {
    let Connection { id, organization, .. } = &parties.connection;
    // A connector that is checked before it has any connection stands with number 0.
    match id.0 {
        0 => Holder::of_connector(parties.connector.id),
        _ => Holder::of_connection(parties.connector.id, organization, *id),
    }
}

/// A failure as its cause would have it: a plugin that gets no token can only guess why.
pub fn explained(deps: &Deps, parties: &Parties, failure: Failure) -> Failure {
    if parties.connector.auth_type == AuthType::OAuth2
        && let Some(error) = deps.oauth.trouble(&holder(parties))
    {
        return Failure { page: failure.page, ..Failure::from(error) };
    }
    match failure.auth {
        true => Failure { status: auth_status(&parties.connector), ..failure },
        false => failure,
    }
}

/// The configured endpoints, and the defaults of those that are not.
fn endpoints(connector: &Connector, manifest: &ConnectorManifest) -> Vec<(String, String)> {
    let configured = connector.endpoints.iter().map(|(name, url)| (name.clone(), url.clone()));
    let default = manifest
        .endpoints
        .iter()
        .filter(|spec| !connector.endpoints.contains_key(&spec.name))
        .filter_map(|spec| Some((spec.name.clone(), spec.default.clone()?)));
    configured.chain(default).collect()
}

/// The run's way to the remote system, with credentials that the plugin never sees.
pub fn outbound(
    deps: &Deps,
    parties: &Parties,
    manifest: &ConnectorManifest,
    requests: &RequestLog,
    by_person: bool,
    cancel: &CancellationToken,
) -> Result<Arc<RunClient>, Failure> {
    let config = |message: String| Failure::new("connector.config", message);
    let endpoints = endpoints(&parties.connector, manifest);
    let endpoint = |name: &str| endpoints.iter().find(|(known, _)| known == name);
    let (_, base) = endpoint("baseUrl")
        .ok_or_else(|| config("the connector has no endpoint `baseUrl`".to_owned()))?;
    let base_url = base.parse::<url::Url>();
    let base_url = base_url.map_err(|error| config(format!("baseUrl {base:?}: {error}")))?;
    let mut granted = Vec::new();
    for host in &manifest.hosts {
        let placeholder = host.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let origin = match placeholder {
            None => host.parse::<Origin>().map_err(|error| config(error.to_string()))?,
            Some(name) => {
                let Some((_, url)) = endpoint(name) else { continue };
                let url: url::Url =
                    url.parse().map_err(|error| config(format!("{name} {url:?}: {error}")))?;
                Origin::of(&url).ok_or_else(|| config(format!("{name} {url} is no HTTP URL")))?
            }
        };
        granted.push(origin);
    }
    // A connector that is checked before it has any connection stands with number 0.
    let connection = Some((parties.connection.organization.as_str(), parties.connection.id));
    let connection = connection.filter(|(_, id)| id.0 != 0);
    let pace = pace(&deps.store.read()?, &parties.connector, connection, manifest)?;
    let log = requests.clone();
    let recorder: Recorder = Arc::new(move |line| log.push(line));
    let auth = match parties.connector.auth_type {
        AuthType::OAuth2 => {
            let of = &parties.connection.federation_org_id;
            Auth::Token(deps.oauth.source(&holder(parties), of, Arc::clone(&recorder))?)
        }
        _ => {
            let read = deps.store.read()?;
            credentials::auth(&read, &deps.keys, &parties.connector, connection, &manifest.auth)
                .map_err(|error| Failure::new("connector.credentials", error.to_string()))?
        }
    };
    let client = deps.egress.run(RunSettings {
        base_url,
        granted,
        methods: manifest.methods.iter().filter_map(|method| method.parse().ok()).collect(),
        auth,
        pace: Pace { tries_pauses: by_person, ..pace },
        limits: deps.egress.limits(),
        cancel: cancel.clone(),
        recorder,
    });
    Ok(Arc::new(client))
}

/// All runs on one credential, or one authorization, share its rate limit, whatever their organizations.
fn pace(
    read: &dyn Read,
    connector: &Connector,
    connection: Option<(&str, ConnectionId)>,
    manifest: &ConnectorManifest,
) -> Result<Pace, Failure> {
    let own = match connection {
        Some(of) => credentials::is_own(read, connector.id, of)?.then_some(of.1),
        None => None,
    };
    let credential = match own {
        Some(id) => format!("{}/{id}", connector.id),
        None => connector.id.to_string(),
    };
    let configured = connector.config.get("requestsPerMinute").and_then(serde_json::Value::as_u64);
    let configured = configured.map(|wanted| u32::try_from(wanted).unwrap_or(u32::MAX));
    let requests_per_minute = configured.or(manifest.limits.requests_per_minute);
    Ok(Pace { credential: credential.into(), requests_per_minute, tries_pauses: false })
}

/// A login that a person has to renew is told apart from other refusals.
fn auth_status(connector: &Connector) -> RunStatus {
    match connector.auth_type {
        AuthType::OAuth2 => RunStatus::NeedsReauth,
        _ => RunStatus::Failed,
    }
}
