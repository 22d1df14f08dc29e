//! The credentials of a run and how they are put on a request. Nothing here is ever shown to a plugin.

use crate::model::http::HttpFailure;
use crate::vault::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use url::Url;
use zeroize::Zeroizing;

/// How requests of a run authenticate.
#[derive(Default)]
pub enum Auth {
    #[default]
    None,
    /// A key in a header of its own, such as `X-API-Key`.
    Header {
        name: HeaderName,
        value: Secret<String>,
    },
    /// Keys in the query. They are added to each request and never appear in a request line.
    Query(Vec<(String, Secret<String>)>),
    Basic {
        user: String,
        password: Secret<String>,
    },
    Bearer(Secret<String>),
    /// Access tokens that change, such as those of OAuth 2, sent as `Bearer`.
    Token(TokenSource),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Auth::None => "None",
            Auth::Header { .. } => "Header",
            Auth::Query(_) => "Query",
            Auth::Basic { .. } => "Basic",
            Auth::Bearer(_) => "Bearer",
            Auth::Token(_) => "Token",
        })
    }
}

/// What is asked of a [`TokenSource`].
pub enum TokenAsk {
    /// A token that is valid now.
    Current,
    /// The remote system refused this one with 401: another one, refreshed unless somebody has done that by now.
    Replace(Arc<Secret<String>>),
}

/// What a [`TokenSource`] gives: a token, or why there is none. The failure is the request's and holds no secret.
pub(super) type Given =
    Pin<Box<dyn Future<Output = Result<Arc<Secret<String>>, HttpFailure>> + Send>>;

/// Gives out access tokens.
pub type TokenSource = Arc<dyn Fn(TokenAsk) -> Given + Send + Sync>;

impl Auth {
    /// The header that a plugin may not set beside the reserved ones.
    pub(super) fn header(&self) -> Option<&HeaderName> {
        match self {
            Auth::Header { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The query parameter of the host that the URL already has.
    pub(super) fn taken_parameter(&self, url: &Url) -> Option<&str> {
        let Auth::Query(keys) = self else { return None };
        let mut names = keys.iter().map(|(name, _)| name.as_str());
        names.find(|name| url.query_pairs().any(|(key, _)| key == *name))
    }

    /// A URL that a server made from ours, without the keys that ours had in its query.
    pub(super) fn strip(&self, mut url: Url) -> Url {
        if self.taken_parameter(&url).is_some() {
            let Auth::Query(keys) = self else { return url };
            let ours = |key: &str| keys.iter().any(|(name, _)| name == key);
            let kept: Vec<(String, String)> =
                url.query_pairs().into_owned().filter(|(key, _)| !ours(key)).collect();
            url.query_pairs_mut().clear().extend_pairs(kept);
        }
        url
    }

    /// Every text that a server which was sent the credentials could repeat.
    pub(super) fn secrets(&self, token: Option<&Secret<String>>) -> Vec<Zeroizing<String>> {
        let copy = |secret: &Secret<String>| Zeroizing::new(secret.expose().clone());
        match (self, token) {
            (Auth::None, _) | (Auth::Token(_), None) => Vec::new(),
            (Auth::Header { value, .. }, _) => vec![copy(value)],
            (Auth::Query(keys), _) => keys.iter().map(|(_, value)| copy(value)).collect(),
            (Auth::Basic { user, password }, _) => {
                let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
                vec![copy(password), Zeroizing::new(STANDARD.encode(pair.as_bytes()))]
            }
            (Auth::Bearer(token), _) | (Auth::Token(_), Some(token)) => vec![copy(token)],
        }
    }

    /// Puts the credentials on a request; `token` is what the token source gave.
    pub(super) fn apply(
        &self,
        token: Option<&Secret<String>>,
        url: &mut Url,
        headers: &mut HeaderMap,
    ) -> Result<(), String> {
        match (self, token) {
            (Auth::None, _) => Ok(()),
            (Auth::Header { name, value }, _) => put(headers, name.clone(), value.expose()),
            (Auth::Query(keys), _) => {
                let mut query = url.query_pairs_mut();
                for (name, value) in keys {
                    query.append_pair(name, value.expose());
                }
                Ok(())
            }
            (Auth::Basic { user, password }, _) => {
                let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
                let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                put(headers, AUTHORIZATION, &value)
            }
            (Auth::Bearer(token), _) | (Auth::Token(_), Some(token)) => {
                let value = Zeroizing::new(format!("Bearer {}", token.expose()));
                put(headers, AUTHORIZATION, &value)
            }
            (Auth::Token(_), None) => Err("there is no access token".to_owned()),
        }
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), String> {
    let Ok(mut value) = HeaderValue::from_bytes(value.as_bytes()) else {
        return Err(format!(
            "the stored credential for {name} has a line break or control character; set it anew"
        ));
    };
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}
