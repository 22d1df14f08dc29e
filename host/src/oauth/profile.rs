//! How one connector does OAuth 2: what its plugin declares, overlaid with what the operator configured.

use super::{Error, Profiles};
use crate::model::directory::Connector;
use crate::model::manifest::{AuthSpec, ClientAuth, ConnectorManifest, Manifest, OAuthSpec};
use crate::plugin::Registry;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

/// The endpoints that every connector with OAuth may set, whether or not its plugin declares them.
pub const ENDPOINTS: [&str; 3] = ["authorizeUrl", "tokenUrl", "revokeUrl"];

/// Parameters of the authorization request that belong to the host.
const OWN_PARAMETERS: [&str; 8] = [
    "response_type",
    "client_id",
    "client_secret",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// The host's key `oauth` in a connector's config: what a platform does differently from what the plugin declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overlay {
    scopes: Option<Vec<String>>,
    client_auth: Option<ClientAuth>,
    pkce: Option<bool>,
    issuer: Option<String>,
    organization_parameter: Option<String>,
    authorize_parameters: Option<BTreeMap<String, String>>,
}

impl Overlay {
    /// The value of `config.oauth`; the error says what is wrong with it.
    pub fn of(config: &serde_json::Value) -> Result<Overlay, String> {
        let Some(value) = config.get("oauth") else { return Ok(Overlay::default()) };
        let overlay: Overlay =
            serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        let parameters = overlay.authorize_parameters.iter().flat_map(BTreeMap::keys);
        match parameters.into_iter().find(|name| is_own_parameter(name)) {
            Some(name) => {
                Err(format!("`authorizeParameters` must not set `{name}`: the host does"))
            }
            None => Ok(overlay),
        }
    }
}

/// Whether the host sets this parameter of the authorization request itself.
pub fn is_own_parameter(name: &str) -> bool {
    OWN_PARAMETERS.contains(&name)
}

/// Everything that a flow needs to know of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub authorize_url: Option<Url>,
    pub token_url: Url,
    pub revoke_url: Option<Url>,
    pub issuer: Option<String>,
    pub scopes: Vec<String>,
    pub pkce: bool,
    pub client_auth: ClientAuth,
    pub organization_parameter: Option<String>,
    pub authorize_parameters: BTreeMap<String, String>,
}

impl Profile {
    pub fn resolve(connector: &Connector, manifest: &ConnectorManifest) -> Result<Profile, Error> {
        let spec = manifest.auth.iter().find_map(|spec| match spec {
            AuthSpec::OAuth2(spec) => Some(spec),
            _ => None,
        });
        let spec = spec.ok_or_else(|| {
            Error::Config(format!("the plugin `{}` does not offer OAuth", connector.plugin))
        })?;
        let overlay = Overlay::of(&connector.config).map_err(|error| {
            Error::Config(format!("the connector's config has a wrong member `oauth`: {error}"))
        })?;
        let url = |name: &str, declared: &Option<String>| {
            address(connector, manifest, name, declared.as_deref())
        };
        let token_url = url("tokenUrl", &spec.token_url)?.ok_or_else(|| {
            Error::Config("the connector has no endpoint `tokenUrl`: set it".to_owned())
        })?;
        let OAuthSpec { scopes, issuer, pkce, client_auth, .. } = spec.clone();
        Ok(Profile {
            authorize_url: url("authorizeUrl", &spec.authorize_url)?,
            token_url,
            revoke_url: url("revokeUrl", &spec.revoke_url)?,
            issuer: overlay.issuer.or(issuer),
            scopes: overlay.scopes.unwrap_or(scopes),
            pkce: overlay.pkce.unwrap_or(pkce),
            client_auth: overlay.client_auth.unwrap_or(client_auth),
            organization_parameter: overlay
                .organization_parameter
                .or_else(|| spec.organization_parameter.clone()),
            authorize_parameters: overlay
                .authorize_parameters
                .unwrap_or_else(|| spec.authorize_parameters.clone()),
        })
    }
}

/// How a connector does OAuth, by the plugin that is active when it is asked.
pub fn of_plugins(plugins: &Arc<Registry>) -> Profiles {
    let plugins = Arc::clone(plugins);
    Arc::new(move |connector| {
        let missing = || Error::Config(format!("the plugin `{}` is not active", connector.plugin));
        let plugin = plugins.connector(&connector.plugin).ok_or_else(missing)?;
        match &plugin.manifest {
            Manifest::Connector(manifest) => Profile::resolve(connector, manifest),
            Manifest::Strategy(_) => Err(missing()),
        }
    })
}

/// The configured endpoint of this name, else what the plugin declares.
fn address(
    connector: &Connector,
    manifest: &ConnectorManifest,
    name: &str,
    declared: Option<&str>,
) -> Result<Option<Url>, Error> {
    let wrong = |text: &str, reason: &str| Error::Config(format!("{name} {text:?}: {reason}"));
    let text = match (connector.endpoints.get(name), declared) {
        (Some(text), _) => text.clone(),
        (None, Some(template)) => filled(connector, manifest, template)
            .ok_or_else(|| wrong(template, "its endpoint is not configured"))?,
        (None, None) => return Ok(None),
    };
    let url: Url = text.parse().map_err(|_| wrong(&text, "it is no URL"))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(wrong(&text, "it must be an https URL"));
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(&text, "it must have no fragment, user name or password"));
    }
    Ok(Some(url))
}

/// `{baseUrl}/token` with the endpoint in braces put in its place.
fn filled(connector: &Connector, manifest: &ConnectorManifest, template: &str) -> Option<String> {
    let Some((name, rest)) = template.strip_prefix('{').and_then(|rest| rest.split_once('}'))
    else {
        return Some(template.to_owned());
    };
    let default = || {
        let spec = manifest.endpoints.iter().find(|spec| spec.name == name)?;
        spec.default.as_ref()
    };
    let base = connector.endpoints.get(name).or_else(default)?;
    Some(format!("{}{rest}", base.trim_end_matches('/')))
}
